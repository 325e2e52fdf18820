/* What a core can do at most: loops that multiply and add in registers only, and loops that only
 * read. Speed is told as a share of these, so they are measured, not taken from a data sheet.
 *
 * All factors are 1: the sum of the accumulators is the number of multiply-adds, which shows that
 * each was done. */
#ifndef KERNELS_PEAK_PEAK_H
#define KERNELS_PEAK_PEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/isa.h"

typedef enum peak_type {
    PEAK_F32,
    PEAK_BF16, /* products of bf16, sums f32 */
    PEAK_S8,   /* products of bytes, sums i32, exact */
    PEAK_TYPES
} peak_type;

typedef struct peak_kernel {
    const char *name; /* "peak_f32__avx512" */
    peak_type type;
    int64_t operations; /* per round; a multiply-add counts as two */
    /* The number of multiply-adds in so many rounds; exact up to about a million rounds. */
    double (*run)(int64_t rounds);
    bool (*present)(void); /* NULL: the variant's level says all */
} peak_kernel;

/* The list that measurements and tests share: lowest level first. `table` points to a
 * peak_kernel. */
extern const isa_variant peak_variants[];
extern const int peak_variant_count;

/* True when the variant may run now. */
bool peak_usable(const isa_variant *variant);

/* The best variant of that type that may run now, or NULL. */
const peak_kernel *peak_select(peak_type type);

/* Reads `count` 64-byte lines and returns the wrapping sum of their 64-bit words. */
typedef struct peak_reader {
    const char *name; /* "peak_read__avx512" */
    uint64_t (*read)(const void *lines, size_t count);
} peak_reader;
extern const isa_variant peak_read_variants[]; /* `table` points to a peak_reader */
extern const int peak_read_variant_count;
const peak_reader *peak_read_select(void);

enum { PEAK_CYCLES = 64 }; /* per round of peak_wait */
/* Takes PEAK_CYCLES cycles per round on every processor that adds in one: a chain of additions,
 * each of which needs the one before. Returns their sum. */
uint64_t peak_wait(int64_t rounds);

#endif
