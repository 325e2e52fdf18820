/* Sparse products for peers. */
#include "sparse_matrix.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

enum { MOST = 1 << 14, ALIGNMENT = 64 };

static float *room(long rows, long columns)
{
    size_t bytes = (size_t)rows * (size_t)columns * sizeof(float);

    return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

/* Uniform in [0, 1). */
static double draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

static void fill(float *x, long count, double density, uint64_t seed)
{
    for (long i = 0; i < count; i++) {
        float number = (float)(2.0 * draw(&seed) - 1.0);

        x[i] = draw(&seed) < density ? number : 0.0f;
    }
}

bool sparse_matrix_make(sparse_matrix *s, const char *line, char *reason)
{
    double inputs;
    double panels;

    *s = (sparse_matrix){0};
    if (sscanf(line, "gemm %ld %ld %ld %lf %lf %lf", &s->m, &s->n, &s->k, &inputs, &s->density,
               &panels) != 6 ||
        s->m < 1 || s->n < 1 || s->k < 1 || s->m > MOST || s->n > MOST || s->k > MOST ||
        inputs < 1.0 || panels < 1.0) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "not a product with sparse weights: %.100s",
                       line);
        return false;
    }
    s->a = room(s->n, s->k);
    s->b = room(s->k, s->m);
    s->c = room(s->n, s->m);
    if (s->a == NULL || s->b == NULL || s->c == NULL) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "no memory");
        sparse_matrix_clear(s);
        return false;
    }
    fill(s->a, s->n * s->k, s->density, 1);
    fill(s->b, s->k * s->m, 1.0, 2);
    memset(s->c, 0, (size_t)(s->n * s->m) * sizeof(float));
    return true;
}

void sparse_matrix_clear(sparse_matrix *s)
{
    free(s->a);
    free(s->b);
    free(s->c);
    *s = (sparse_matrix){0};
}
