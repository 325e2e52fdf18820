/* Normal numbers compiled for AVX-512. */
#include "kernels/random/normal_f64_body.h"
#include "kernels/random/normal_f64_variants.h"

const normal_f64_kernel normal_f64__avx512 = NORMAL_F64("normal_f64__avx512");
