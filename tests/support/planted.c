#include "support/planted.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double pure(planted_kind kind, int64_t t, int64_t boundary, int64_t i, int64_t j)
{
    double previous = j == (i > 0 ? i - 1 : 0) ? 1.0 : 0.0;
    double sink = j == 0 ? 0.95 : 0.05 / (double)(t - 1);
    int64_t low = i > 3 ? i - 3 : 0;
    int64_t high = i + 3 < t - 1 ? i + 3 : t - 1;

    switch (kind) {
    case PLANTED_PREVIOUS: return previous;
    case PLANTED_NEXT: return j == (i + 1 < t ? i + 1 : t - 1) ? 1.0 : 0.0;
    case PLANTED_SELF: return j == i ? 1.0 : 0.0;
    case PLANTED_BAND: return j >= low && j <= high ? 1.0 / (double)(high - low + 1) : 0.0;
    case PLANTED_SINK: return sink;
    case PLANTED_BLOCK:
        if ((i < boundary) != (j < boundary)) {
            return 0.0;
        }
        return 1.0 / (double)(i < boundary ? boundary : t - boundary);
    case PLANTED_MIXED: return 0.5 * previous + 0.5 * sink;
    default: return 1.0 / (double)t;
    }
}

void planted_map(planted_kind kind, int64_t tokens, int64_t boundary, double noise,
                 spry_random *random, double *map)
{
    for (int64_t i = 0; i < tokens; i++) {
        double *row = map + i * tokens;
        int64_t content = (int64_t)spry_random_below(random, (uint64_t)tokens);
        double total = 0.0;

        for (int64_t j = 0; j < tokens; j++) {
            row[j] = noise > 0.0 ? -log(1.0 - spry_random_f64(random)) : 0.0;
            total += row[j];
        }
        for (int64_t j = 0; j < tokens; j++) {
            double own = kind == PLANTED_CONTENT ? (j == content ? 0.8 : 0.2 / (double)(tokens - 1))
                                                 : pure(kind, tokens, boundary, i, j);

            row[j] = (1.0 - noise) * own + (total > 0.0 ? noise * row[j] / total : 0.0);
        }
    }
}

static void *memory_of(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);

    assert_non_null(memory);
    return memory;
}

heads_view planted_view(const double *map, int64_t t, int64_t boundary)
{
    double *rows = memory_of(4 * t, sizeof *rows);
    double *columns = memory_of(2 * t, sizeof *columns);
    double *profile = memory_of(2 * t - 1, sizeof *profile);
    float *samples = memory_of(t * t, sizeof *samples);
    int8_t *segments = memory_of(t, 1);

    for (int64_t i = 0; i < t; i++) {
        segments[i] = (int8_t)(boundary > 0 && i >= boundary);
        for (int64_t j = 0; j < t; j++) {
            double weight = map[i * t + j];

            rows[i] += weight * fabs((double)(j - i));
            rows[t + i] += weight * (double)(j - i);
            rows[3 * t + i] -= weight > 0.0 ? weight * log(weight) : 0.0;
            columns[segments[i] * t + j] += weight;
            profile[j - i + t - 1] += weight;
            samples[i * t + j] = (float)weight;
        }
        for (int64_t j = 0; j < t; j++) {
            double away = (double)(j - i) - rows[t + i];

            rows[2 * t + i] += map[i * t + j] * away * away;
        }
    }
    return (heads_view){.tokens = t,
                        .classes = segments,
                        .class_count = boundary > 0 ? 2 : 1,
                        .segments = segments,
                        .distance = rows,
                        .offset = rows + t,
                        .variance = rows + 2 * t,
                        .entropy = rows + 3 * t,
                        .columns = columns,
                        .profile = profile,
                        .samples = samples,
                        .rows = t,
                        .keys = t,
                        .sample_stride = 1,
                        .sample_count = t};
}

void planted_free(heads_view *v)
{
    free((void *)(uintptr_t)v->distance);
    free((void *)(uintptr_t)v->columns);
    free((void *)(uintptr_t)v->profile);
    free((void *)(uintptr_t)v->samples);
    free((void *)(uintptr_t)v->segments);
}
