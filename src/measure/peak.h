/* This machine's peak, measured in a few milliseconds: what speeds are told as a share of. */
#ifndef MEASURE_PEAK_H
#define MEASURE_PEAK_H

#include "kernels/peak/peak.h"

/* Of one core. */
typedef struct peak {
    const char *kernel[PEAK_TYPES]; /* NULL: nothing computes this type here */
    double gigaflops[PEAK_TYPES];   /* a multiply-add counts as two; 0 where `kernel` is NULL */
    double gigahertz;
} peak;

/* Takes about 30 ms. The best of several repeats counts: others were disturbed. */
void peak_measure(peak *p);

/* Gigabytes per second of reading `bytes` (whole 64-byte lines) again and again. */
double peak_read_rate(const void *data, size_t bytes);

/* The type of number that a kernel of that name computes with, as the name says it
 * ("brgemm_bf16_14x32__avx512bf16"); PEAK_TYPES when it says none. */
peak_type peak_type_of(const char *kernel);

/* "f32", "bf16", "s8" */
const char *peak_type_name(peak_type type);

#endif
