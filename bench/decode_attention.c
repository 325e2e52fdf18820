#define _GNU_SOURCE
/* Attention of one query per head over many keys: survivors of filtering against all keys.
 *
 *     decode_attention [--heads N] [KEYS ...]
 *
 * Dense rows are read by the same kernel without a list, which has nothing to pack, and by the
 * blocked kernel of bf16 (attention_f32.h), which reads f32 and packs: the quicker one counts.
 * Queries lean towards one key, keys are Gaussian; alpha is bisected to the share that is kept. One
 * thread; runs take turns. Prints the table of docs/methods/energon.md. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "kernels/attention/attention_f32.h"
#include "kernels/filter/filter.h"
#include "spry/random.h"

enum { MOST_HEADS = 32, SIZE = 64, WAYS = 4, PAGE = 2 << 20 };
enum { BLOCKED, DENSE, TENTH, QUARTER };

static const float SCALE = 0.125F;

typedef struct bench {
    int heads;
    int64_t n;
    filter_keys keys[MOST_HEADS];
    float *k, *v; /* [heads][n][SIZE] */
    float q[MOST_HEADS * SIZE];
    float out[WAYS][MOST_HEADS * SIZE];
    filter_rule rules[WAYS];
    filter_work work[WAYS];
    int32_t *workspace;
    float *blocked;
} bench;

static void *room(int64_t bytes)
{
    size_t whole = (size_t)((bytes + PAGE - 1) / PAGE * PAGE);
    void *memory = aligned_alloc(PAGE, whole);

    if (memory == NULL) {
        (void)fprintf(stderr, "decode_attention: no memory\n");
        exit(EXIT_FAILURE);
    }
    /* Small pages cost both ways walks of the page table that hide what is compared. */
    (void)madvise(memory, whole, MADV_HUGEPAGE);
    return memory;
}

static void make(bench *b, int64_t n)
{
    spry_random r = spry_random_stream(1, 0);

    b->n = n;
    b->k = room(b->heads * n * SIZE * (int64_t)sizeof(float));
    b->v = room(b->heads * n * SIZE * (int64_t)sizeof(float));
    spry_random_fill_normal(&r, b->k, (size_t)(b->heads * n * SIZE), 0.0F, 1.0F);
    spry_random_fill_normal(&r, b->v, (size_t)(b->heads * n * SIZE), 0.0F, 1.0F);
    spry_random_fill_normal(&r, b->q, (size_t)b->heads * SIZE, 0.0F, 1.0F);
    for (int64_t h = 0; h < b->heads; h++) {
        filter_keys *keys = &b->keys[h];
        const float *k = b->k + h * n * SIZE;
        int64_t chosen = (int64_t)spry_random_below(&r, (uint64_t)n);

        *keys = (filter_keys){.size = SIZE,
                              .capacity = n,
                              .scale = filter_scale(k, n * SIZE),
                              .is_bf16 = true,
                              .plane_count = 2};
        for (int p = 0; p < keys->plane_count; p++) {
            keys->planes[p] = room(n * filter_row_bytes(SIZE));
        }
        keys->k = room(n * SIZE * (int64_t)sizeof(uint16_t));
        keys->v = room(n * SIZE * (int64_t)sizeof(uint16_t));
        (void)filter_append(keys, k, SIZE, b->v + h * n * SIZE, SIZE, n);
        for (int64_t t = 0; t < SIZE; t++) {
            b->q[h * SIZE + t] += k[chosen * SIZE + t];
        }
    }
    b->workspace = room(filter_workspace(&b->keys[0]) * (int64_t)sizeof(int32_t));
}

static void drop(bench *b)
{
    for (int h = 0; h < b->heads; h++) {
        for (int p = 0; p < b->keys[h].plane_count; p++) {
            free(b->keys[h].planes[p]);
        }
        free(b->keys[h].k);
        free(b->keys[h].v);
    }
    free(b->k);
    free(b->v);
    free(b->workspace);
    free(b->blocked);
    b->blocked = NULL;
}

static void run_blocked(bench *b)
{
    const attention_kernel *kernel = attention_select(true);
    int64_t n = b->n;
    attention_problem p = {.batch = 1,
                           .heads = b->heads,
                           .kv_heads = b->heads,
                           .rows = 1,
                           .keys = n,
                           .size = SIZE,
                           .value_size = SIZE,
                           .scale = SCALE,
                           .q = {b->q, 0, SIZE, SIZE},
                           .k = {b->k, 0, n * SIZE, SIZE},
                           .v = {b->v, 0, n * SIZE, SIZE},
                           .out = b->out[BLOCKED],
                           .out_head = SIZE,
                           .out_token = SIZE};

    if (kernel == NULL) {
        return;
    }
    p.slice = attention_slice(kernel, &p, 1);
    if (b->blocked == NULL) {
        b->blocked = room(attention_workspace(kernel, &p) * (int64_t)sizeof(float));
    }
    for (int64_t i = 0; i < attention_pieces(&p); i++) {
        attention_run(kernel, &p, i, b->blocked);
    }
}

static void run_dense(bench *b)
{
    float q[SIZE];

    for (int h = 0; h < b->heads; h++) {
        for (int t = 0; t < SIZE; t++) {
            q[t] = b->q[h * SIZE + t] * SCALE * 1.44269504F;
        }
        filter_select()->attend(&b->keys[h], q, NULL, NULL, b->n, b->out[DENSE] + (size_t)h * SIZE);
    }
}

static void run(bench *b, int way)
{
    if (way == BLOCKED) {
        run_blocked(b);
        return;
    }
    if (way == DENSE) {
        run_dense(b);
        return;
    }
    b->work[way] = (filter_work){0};
    for (int64_t h = 0; h < b->heads; h++) {
        filter_call call = {.keys = &b->keys[h],
                            .rule = b->rules[way],
                            .q = b->q + h * SIZE,
                            .rows = 1,
                            .scale = SCALE,
                            .limit = b->n,
                            .out = b->out[way] + h * SIZE};

        (void)filter_attention(filter_select(), &call, 0, 1, b->workspace, &b->work[way]);
    }
}

static double kept(const bench *b, int way)
{
    return (double)b->work[way].kept[FILTER_ROUNDS - 1] / (double)b->work[way].keys;
}

/* The alpha of all rounds that keeps this share. */
static void calibrate(bench *b, int way, int rounds, double wanted)
{
    double low = -0.9;
    double high = 0.9;

    for (int i = 0; i < 12; i++) {
        double middle = (low + high) / 2;

        b->rules[way] = (filter_rule){rounds, {middle, middle, middle}};
        run(b, way);
        *(kept(b, way) > wanted ? &low : &high) = middle;
    }
}

static double cosine(const float *x, const float *y, int heads)
{
    double xy = 0.0;
    double xx = 0.0;
    double yy = 0.0;

    for (int i = 0; i < heads * SIZE; i++) {
        xy += (double)x[i] * (double)y[i];
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
    }
    return xy / sqrt(xx * yy);
}

static void measure(bench *b, int rounds)
{
    enum { RUNS = 9 };
    double best[WAYS] = {INFINITY, INFINITY, INFINITY, INFINITY};

    calibrate(b, TENTH, rounds, 0.1);
    calibrate(b, QUARTER, rounds, 0.25);
    for (int i = 0; i < RUNS; i++) {
        for (int way = 0; way < WAYS; way++) {
            int64_t start = clock_ns();

            run(b, way);
            best[way] = fmin(best[way], (double)(clock_ns() - start) * 1e-6);
        }
    }
    for (int way = TENTH; way < WAYS; way++) {
        const filter_work *w = &b->work[way];
        double bytes = (double)(w->code_bytes + w->key_bytes + w->value_bytes) / (double)w->keys;

        printf("| %6lld | %5d | %.3f | %6.3f | %7.3f | %8.3f | %8.3f | %5.2f | %14.1f | %6.4f |\n",
               (long long)b->n, b->heads, kept(b, way), b->rules[way].alpha[0], best[BLOCKED],
               best[DENSE], best[way],
               fmin(best[DENSE], attention_select(true) ? best[BLOCKED] : INFINITY) / best[way],
               bytes, cosine(b->out[way], b->out[DENSE], b->heads));
    }
}

int main(int argc, char **argv)
{
    static bench b;
    bool has_heads = argc > 2 && strcmp(argv[1], "--heads") == 0;
    long heads = has_heads ? strtol(argv[2], NULL, 10) : 8;
    int at = has_heads ? 3 : 1;

    if (heads < 1 || heads > MOST_HEADS) {
        (void)fprintf(stderr, "usage: decode_attention [--heads 1..%d] [KEYS ...]\n",
                      (int)MOST_HEADS);
        return 2;
    }
    b.heads = (int)heads;
    printf("| keys   | heads | kept  | alpha  | blocked | dense ms | filtered | ratio | bytes per "
           "key  | cosine |\n");
    printf("| -----: | ----: | ----: | -----: | ------: | -------: | -------: | ----: | "
           "-------------: | -----: |\n");
    for (int i = 0; i < (argc > at ? argc - at : 6); i++) {
        make(&b, argc > at ? strtol(argv[at + i], NULL, 10) : 4096L << i);
        measure(&b, 2);
        drop(&b);
    }
    return EXIT_SUCCESS;
}
