/* The variants of peak that live in files of their own. */
#ifndef KERNELS_PEAK_PEAK_VARIANTS_H
#define KERNELS_PEAK_PEAK_VARIANTS_H

#include "kernels/peak/peak.h"

extern const peak_kernel peak_f32__avx2;
extern const peak_kernel peak_f32__avx512;
extern const peak_kernel peak_bf16__avx512bf16;
extern const peak_kernel peak_bf16__amx;
extern const peak_kernel peak_s8__avx2;
extern const peak_kernel peak_s8__avxvnni;
extern const peak_kernel peak_s8__avx512vnni;
extern const peak_kernel peak_s8__amx;
extern const peak_reader peak_read__avx2;
extern const peak_reader peak_read__avx512;

#endif
