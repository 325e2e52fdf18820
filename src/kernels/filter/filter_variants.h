/* The variants of filtered attention that live in files of their own. */
#ifndef KERNELS_FILTER_FILTER_VARIANTS_H
#define KERNELS_FILTER_FILTER_VARIANTS_H

#include "kernels/filter/filter.h"

extern const filter_kernel filter__avx2;
extern const filter_kernel filter__avx512vnni;

/* The portable selection, which variants without an instruction for it use too. */
int64_t filter_select_keys(const int32_t *s, const int32_t *index, int32_t first, int64_t n,
                           int32_t least, int32_t *to_s, int32_t *to_index);

#endif
