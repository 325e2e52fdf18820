/* The inside of spry_comparison: sums per name. */
#ifndef MEASURE_COMPARE_H
#define MEASURE_COMPARE_H

#include "base/arena.h"
#include "spry/compare.h"
#include "tensor/tensor.h"

/* Sums over pairs of elements that are finite on both sides. */
typedef struct compare_sums {
    const char *name;
    int64_t elements;
    int64_t odd;
    double reference2; /* sum of squares */
    double other2;
    double product;
    double difference2;
    double difference; /* sum of distances */
    double max_abs;
    double least; /* of the reference */
    double most;
    int64_t finite;
    int64_t rows;
    int64_t agreeing;
} compare_sums;

struct spry_comparison {
    spry_allocator allocator;
    arena memory;
    compare_sums *sums;
    size_t count;
    size_t capacity;
    spry_difference *rows;
    size_t row_capacity;
};

#endif
