/* The variants of sparse_lanes that live in files of their own. */
#ifndef KERNELS_SPARSE_SPARSE_LANES_VARIANTS_H
#define KERNELS_SPARSE_SPARSE_LANES_VARIANTS_H

#include "kernels/sparse/sparse_lanes.h"

extern const sparse_lanes_kernel sparse_lanes_f32__avx512;

#endif
