/* The loops over quantised bytes compiled for AVX2. */
#include "kernels/elementwise/linear_s8_body.h"
#include "kernels/elementwise/linear_s8_variants.h"

const linear_s8_kernel linear_s8__avx2 = {"linear_s8__avx2",    linear_s8_quantize,
                                          linear_s8_dequantize, linear_s8_look_up,
                                          linear_s8_add,        NULL};
