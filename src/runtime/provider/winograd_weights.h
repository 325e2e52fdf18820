/* Weights for Winograd's method, packed where they are accurate enough. */
#ifndef RUNTIME_PROVIDER_WINOGRAD_WEIGHTS_H
#define RUNTIME_PROVIDER_WINOGRAD_WEIGHTS_H

#include "kernels/conv/conv_winograd.h"
#include "runtime/cache/packed.h"

/* Packs the f32 weights [filters][channels][3][3] of a plan. p->data is NULL where that would make
 * the layer much less accurate. Fails as packed_make. */
SPRY_MUST_USE spry_status winograd_weights_make(const provider_site *site, const char *kind,
                                                const conv_winograd *plan, const float *weights,
                                                packed_memory *p, spry_error *error);

#endif
