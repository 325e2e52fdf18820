/* The variants of the predictor that live in files of their own. */
#ifndef KERNELS_ATTENTION_BLOCK_PREDICTOR_VARIANTS_H
#define KERNELS_ATTENTION_BLOCK_PREDICTOR_VARIANTS_H

#include "kernels/attention/block_predictor.h"

extern const block_predictor_kernel block_predictor__avx2;
extern const block_predictor_kernel block_predictor__avx512;

#endif
