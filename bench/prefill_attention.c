#define _GNU_SOURCE
/* Attention of as many queries as keys: survivors of filtering against all keys.
 *
 *     prefill_attention [--keep SHARE] [N ...]
 *
 * Dense is the blocked kernel that streams over keys (attention_f32.h), in f32 and in bf16.
 * Filtered includes storing keys in planes and rows, of f32 and of bf16. Queries lean towards one
 * key each, keys are Gaussian; alpha is bisected to the share that is kept. One head, one thread;
 * runs take turns, the least time counts. Prints a table of docs/methods/energon.md. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "kernels/attention/attention_f32.h"
#include "kernels/filter/filter.h"
#include "spry/random.h"

enum { SIZE = 64, PAGE = 2 << 20, RUNS = 5, WAYS = 4, FILTERED = 2 };

static const float SCALE = 0.125F;

typedef struct bench {
    int64_t n;
    float *q, *k, *v, *out;
    filter_keys keys[2]; /* rows of f32, of bf16 */
    filter_rule rule;
    filter_work work;
    int32_t *workspace;
    float *dense;
} bench;

static void *room(int64_t bytes)
{
    size_t whole = (size_t)((bytes + PAGE - 1) / PAGE * PAGE);
    void *memory = aligned_alloc(PAGE, whole);

    if (memory == NULL) {
        (void)fprintf(stderr, "prefill_attention: no memory\n");
        exit(EXIT_FAILURE);
    }
    (void)madvise(memory, whole, MADV_HUGEPAGE);
    memset(memory, 0, whole);
    return memory;
}

static attention_problem problem_of(const bench *b)
{
    return (attention_problem){.batch = 1,
                               .heads = 1,
                               .kv_heads = 1,
                               .rows = b->n,
                               .keys = b->n,
                               .size = SIZE,
                               .value_size = SIZE,
                               .scale = SCALE,
                               .q = {b->q, 0, 0, SIZE},
                               .k = {b->k, 0, 0, SIZE},
                               .v = {b->v, 0, 0, SIZE},
                               .out = b->out,
                               .out_token = SIZE};
}

static void make(bench *b, int64_t n)
{
    spry_random r = spry_random_stream(1, 0);
    attention_problem p;

    *b = (bench){.n = n};
    b->q = room(n * SIZE * (int64_t)sizeof(float));
    b->k = room(n * SIZE * (int64_t)sizeof(float));
    b->v = room(n * SIZE * (int64_t)sizeof(float));
    b->out = room(n * SIZE * (int64_t)sizeof(float));
    spry_random_fill_normal(&r, b->q, (size_t)(n * SIZE), 0.0F, 1.0F);
    spry_random_fill_normal(&r, b->k, (size_t)(n * SIZE), 0.0F, 1.0F);
    spry_random_fill_normal(&r, b->v, (size_t)(n * SIZE), 0.0F, 1.0F);
    for (int64_t i = 0; i < n * SIZE; i++) {
        b->q[i] += b->k[(i / SIZE * 31 + 7) % n * SIZE + i % SIZE];
    }
    for (int i = 0; i < 2; i++) {
        b->keys[i] = (filter_keys){.size = SIZE,
                                   .capacity = n,
                                   .scale = filter_scale(b->k, n * SIZE),
                                   .is_bf16 = i == 1,
                                   .plane_count = 2};
        for (int plane = 0; plane < 2; plane++) {
            b->keys[i].planes[plane] = room(n * filter_row_bytes(SIZE));
        }
        b->keys[i].k = room(n * SIZE * (int64_t)sizeof(float));
        b->keys[i].v = room(n * SIZE * (int64_t)sizeof(float));
    }
    b->workspace = room(filter_workspace(&b->keys[0]) * (int64_t)sizeof(int32_t));
    p = problem_of(b);
    b->dense = room(2 * attention_workspace(attention_select(false), &p) * (int64_t)sizeof(float));
}

static void drop(bench *b)
{
    for (int i = 0; i < 2; i++) {
        free(b->keys[i].planes[0]);
        free(b->keys[i].planes[1]);
        free(b->keys[i].k);
        free(b->keys[i].v);
    }
    free(b->q);
    free(b->k);
    free(b->v);
    free(b->out);
    free(b->workspace);
    free(b->dense);
}

static void run(bench *b, int way)
{
    if (way < FILTERED) {
        const attention_kernel *kernel = attention_select(way == 1);
        attention_problem p = problem_of(b);

        p.slice = kernel != NULL ? attention_slice(kernel, &p, 1) : 0;
        for (int64_t i = 0; kernel != NULL && i < attention_pieces(&p); i++) {
            attention_run(kernel, &p, i, b->dense);
        }
        return;
    }
    filter_keys *keys = &b->keys[way - FILTERED];
    filter_call call = {.keys = keys,
                        .rule = b->rule,
                        .q = b->q,
                        .q_token = SIZE,
                        .rows = b->n,
                        .scale = SCALE,
                        .limit = b->n,
                        .out = b->out,
                        .out_token = SIZE};

    keys->count = 0;
    (void)filter_append(keys, b->k, SIZE, b->v, SIZE, b->n);
    b->work = (filter_work){0};
    (void)filter_attention(filter_select(), &call, 0, b->n, b->workspace, &b->work);
}

static double kept(const bench *b)
{
    return (double)b->work.kept[FILTER_ROUNDS - 1] / (double)b->work.keys;
}

static void measure(bench *b, double wanted)
{
    double best[WAYS] = {INFINITY, INFINITY, INFINITY, INFINITY};
    double low = -0.9;
    double high = 0.9;

    for (int i = 0; i < 10; i++) {
        double middle = (low + high) / 2;

        b->rule = (filter_rule){2, {middle, middle}};
        run(b, FILTERED);
        *(kept(b) > wanted ? &low : &high) = middle;
    }
    for (int i = 0; i < RUNS; i++) {
        for (int way = 0; way < WAYS; way++) {
            int64_t start = clock_ns();

            run(b, way);
            best[way] = fmin(best[way], (double)(clock_ns() - start) * 1e-6);
        }
    }
    printf("| %5lld | %.3f | %8.2f | %8.2f | %8.2f | %8.2f | %5.2f | %5.2f |\n", (long long)b->n,
           kept(b), best[0], best[1], best[2], best[3], best[0] / best[2], best[1] / best[3]);
}

int main(int argc, char **argv)
{
    static bench b;
    double keep = 0.2;
    int at = 1;

    if (argc > 2 && strcmp(argv[1], "--keep") == 0) {
        keep = strtod(argv[2], NULL);
        at = 3;
    }
    printf("| keys  | kept  | f32 ms   | bf16 ms  | filtered | of bf16  | ratio | bf16  |\n");
    printf("| ----: | ----: | -------: | -------: | -------: | -------: | ----: | ----: |\n");
    for (int i = at; i < (argc > at ? argc : at + 4); i++) {
        make(&b, argc > at ? strtol(argv[i], NULL, 10) : 512 << (i - at));
        measure(&b, keep);
        drop(&b);
    }
    return EXIT_SUCCESS;
}
