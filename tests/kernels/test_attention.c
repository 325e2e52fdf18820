/* Every variant of attention against a reference in double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/threads.h"
#include "kernels/attention/attention_f32.h"
#include "spry/random.h"

enum { MOST_VARIANTS = 8 };

/* A problem, its memory, and what is to come out. */
typedef struct trial {
    attention_problem p;
    spry_random r;
    float *q, *k, *v, *out;
    float *added;  /* mask, or NULL */
    uint8_t *kept; /* mask, or NULL */
    int64_t lengths[4];
    double *weights; /* [batch][heads][rows][keys] */
    double *wanted;  /* [batch][heads][rows][value_size] */
    double tolerance;
} trial;

static int list_variants(const attention_kernel **kernels)
{
    int count = 0;

    for (int i = 0; i < attention_f32_variant_count; i++) {
        if (isa_usable(attention_f32_variants[i].level)) {
            kernels[count++] = attention_f32_variants[i].table;
        }
    }
    if (attention_select(true) != NULL) {
        kernels[count++] = attention_select(true);
    }
    return count;
}

static bool is_bf16(const attention_kernel *kernel)
{
    return kernel == attention_select(true);
}

static void *memory_of(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);

    assert_non_null(memory);
    return memory;
}

static float *random_floats(spry_random *r, int64_t count, float most)
{
    float *values = memory_of(count, sizeof *values);

    spry_random_fill_uniform(r, values, (size_t)count, -most, most);
    return values;
}

/* Operands [batch][positions][heads][size] when `is_joined`, else
 * [batch][heads][positions][size]. */
static void make_trial(trial *t, uint64_t seed, int64_t batch, int64_t heads, int64_t kv_heads,
                       int64_t rows, int64_t keys, int64_t size, int64_t value_size, bool is_joined)
{
    int64_t h = is_joined ? 1 : 0;

    *t = (trial){.r = spry_random_stream(seed, 0)};
    t->q = random_floats(&t->r, batch * heads * rows * size, 1.0f);
    t->k = random_floats(&t->r, batch * kv_heads * keys * size, 1.0f);
    t->v = random_floats(&t->r, batch * kv_heads * keys * value_size, 1.0f);
    t->out = memory_of(batch * heads * rows * value_size, sizeof *t->out);
    t->p = (attention_problem){
        .batch = batch,
        .heads = heads,
        .kv_heads = kv_heads,
        .rows = rows,
        .keys = keys,
        .size = size,
        .value_size = value_size,
        .scale = 1.0f / sqrtf((float)size),
        .q = {t->q, heads * rows * size, h ? size : rows * size, h ? heads * size : size},
        .k = {t->k, kv_heads * keys * size, h ? size : keys * size, h ? kv_heads * size : size},
        .v = {t->v, kv_heads * keys * value_size, h ? value_size : keys * value_size,
              h ? kv_heads * value_size : value_size},
        .out = t->out,
        .out_batch = heads * rows * value_size,
        .out_head = h ? value_size : rows * value_size,
        .out_token = h ? heads * value_size : value_size};
    t->weights = memory_of(batch * heads * rows * keys, sizeof *t->weights);
    t->wanted = memory_of(batch * heads * rows * value_size, sizeof *t->wanted);
}

static void free_trial(trial *t)
{
    free(t->q);
    free(t->k);
    free(t->v);
    free(t->out);
    free(t->added);
    free(t->kept);
    free(t->weights);
    free(t->wanted);
}

/* ---- the reference ---- */

static double score(const trial *t, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const attention_problem *p = &t->p;
    const float *q = p->q.data + b * p->q.batch + h * p->q.head + i * p->q.token;
    const float *k =
        p->k.data + b * p->k.batch + h / (p->heads / p->kv_heads) * p->k.head + j * p->k.token;
    int64_t at = b * p->mask.batch + h * p->mask.head + i * p->mask.row + j;
    double sum = 0;

    if ((p->is_causal && j > i + p->past) || (p->lengths != NULL && j >= p->lengths[b])) {
        return -INFINITY;
    }
    if (t->kept != NULL && (t->kept[at] != 0) == (p->mask.kind == ATTENTION_HIDE)) {
        return (double)p->mask.fill;
    }
    for (int64_t e = 0; e < p->size; e++) {
        sum += (double)q[e] * (double)k[e];
    }
    return sum * (double)p->scale + (t->added != NULL ? (double)t->added[at] : 0.0);
}

static void expect_row(trial *t, int64_t b, int64_t h, int64_t i)
{
    const attention_problem *p = &t->p;
    double *weights = t->weights + ((b * p->heads + h) * p->rows + i) * p->keys;
    double *out = t->wanted + ((b * p->heads + h) * p->rows + i) * p->value_size;
    const float *v = p->v.data + b * p->v.batch + h / (p->heads / p->kv_heads) * p->v.head;
    double most = -INFINITY;
    double sum = 0;

    for (int64_t j = 0; j < p->keys; j++) {
        weights[j] = score(t, b, h, i, j);
        most = fmax(most, weights[j]);
    }
    for (int64_t j = 0; j < p->keys; j++) {
        weights[j] = most == -INFINITY ? 0 : exp(weights[j] - most);
        sum += weights[j];
    }
    for (int64_t e = 0; e < p->value_size; e++) {
        out[e] = most == -INFINITY ? (double)p->blind : 0;
    }
    for (int64_t j = 0; j < p->keys && most > -INFINITY; j++) {
        weights[j] /= sum;
        for (int64_t e = 0; e < p->value_size; e++) {
            out[e] += weights[j] * (double)v[j * p->v.token + e];
        }
    }
}

static void expect(trial *t)
{
    for (int64_t i = 0; i < t->p.batch * t->p.heads * t->p.rows; i++) {
        expect_row(t, i / t->p.rows / t->p.heads, i / t->p.rows % t->p.heads, i % t->p.rows);
    }
}

/* ---- running and checking ---- */

typedef struct job {
    const attention_kernel *kernel;
    const attention_problem *p;
    float *workspace;
    int64_t size;
} job;

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;

    for (int64_t i = begin; i < end; i++) {
        attention_run(j->kernel, j->p, i, j->workspace + worker * j->size);
    }
}

static void run(const attention_kernel *kernel, attention_problem *p, int workers)
{
    job j = {.kernel = kernel, .p = p};
    threads *team;
    spry_error error;

    assert_int_equal(threads_create(NULL, workers, &team, &error), SPRY_OK);
    p->slice = attention_slice(kernel, p, workers);
    j.size = (attention_workspace(kernel, p) + 15) / 16 * 16;
    j.workspace = aligned_alloc(64, (size_t)(j.size * workers) * sizeof(float));
    assert_non_null(j.workspace);
    /* What lies in the workspace must not matter. */
    memset(j.workspace, 0xFF, (size_t)(j.size * workers) * sizeof(float));
    threads_for(team, attention_pieces(p), 1, run_pieces, &j);
    free(j.workspace);
    threads_destroy(team);
}

static void check(const trial *t, const attention_kernel *kernel)
{
    const attention_problem *p = &t->p;
    double tolerance = is_bf16(kernel) ? 2e-2 : 3e-6;

    tolerance = t->tolerance > tolerance ? t->tolerance : tolerance;
    for (int64_t i = 0; i < p->batch * p->heads * p->rows; i++) {
        const float *out = p->out + i / p->rows / p->heads * p->out_batch +
                           i / p->rows % p->heads * p->out_head + i % p->rows * p->out_token;

        for (int64_t e = 0; e < p->value_size; e++) {
            double wanted = t->wanted[i * p->value_size + e];
            double got = (double)out[e];

            if (isnan(wanted) ? !isnan(got) : !(fabs(got - wanted) <= tolerance)) {
                fail_msg("%s, %lld x %lld keys, sizes %lld and %lld, query %lld: %g, expected %g",
                         kernel->name, (long long)p->rows, (long long)p->keys, (long long)p->size,
                         (long long)p->value_size, (long long)i, got, wanted);
            }
        }
    }
}

static void check_all(trial *t)
{
    const attention_kernel *kernels[MOST_VARIANTS];
    int count = list_variants(kernels);

    expect(t);
    for (int i = 0; i < count; i++) {
        memset(t->out, 0xFF, (size_t)(t->p.batch * t->p.out_batch) * sizeof *t->out);
        run(kernels[i], &t->p, 1);
        check(t, kernels[i]);
    }
}

static const int64_t extents[] = {1, 2, 7, 17, 64, 127, 128, 384};
static const int64_t sizes[] = {1, 8, 16, 32, 33, 64, 80, 128};
enum { EXTENTS = sizeof extents / sizeof *extents };

static void test_sizes(void **state)
{
    (void)state;
    for (int i = 0; i < EXTENTS; i++) {
        trial t;

        make_trial(&t, 1, 1, 2, 2, extents[i], extents[(i + 3) % EXTENTS], sizes[i], sizes[7 - i],
                   i % 2 != 0);
        check_all(&t);
        free_trial(&t);
        make_trial(&t, 2, 2, 1, 1, extents[(i + 1) % EXTENTS], extents[i], 64, 64, i % 2 == 0);
        check_all(&t);
        free_trial(&t);
    }
}

/* More keys than a block, so that rows are rescaled; scores that grow from block to block. */
static void test_many_blocks(void **state)
{
    (void)state;
    for (int grows = 0; grows < 2; grows++) {
        trial t;

        make_trial(&t, 3, 1, 1, 1, 30, 3 * ATTENTION_BLOCK + 5, 20, 12, true);
        for (int64_t j = 0; grows && j < t.p.keys; j++) {
            for (int64_t e = 0; e < t.p.size; e++) {
                t.k[j * t.p.size + e] *= (float)(j / ATTENTION_BLOCK) * 4.0f;
            }
        }
        t.tolerance = grows ? 2e-5 : 0;
        /* Large scores lose too many digits in bf16 to be compared with exact ones. */
        if (grows) {
            const attention_kernel *kernel = attention_select(false);

            expect(&t);
            run(kernel, &t.p, 1);
            check(&t, kernel);
        } else {
            check_all(&t);
        }
        free_trial(&t);
    }
}

/* Packed queries of several strips lie between each other's rows, and serve more than one block. */
static void test_many_strips(void **state)
{
    const int64_t widths[] = {3, 64, 130, ATTENTION_MOST_SIZE};

    (void)state;
    for (int i = 0; i < 4; i++) {
        trial t;

        make_trial(&t, 8, 1, 2, 2, 131, ATTENTION_BLOCK + 5, widths[i], 16, i % 2 == 0);
        check_all(&t);
        free_trial(&t);
    }
}

/* Neighbouring heads that share keys: alone, with masks, and as single queries. */
static void test_groups(void **state)
{
    (void)state;
    for (int64_t rows = 1; rows <= 29; rows += 7) {
        trial t;

        make_trial(&t, 4, 2, 6, 2, rows, 40 + rows, 24, 40, rows % 2 != 0);
        t.p.is_causal = true;
        t.p.past = 40;
        check_all(&t);
        free_trial(&t);
    }
}

static void test_causal(void **state)
{
    const int64_t past[] = {0, 3, -5, 400};

    (void)state;
    for (int i = 0; i < 4; i++) {
        trial t;

        make_trial(&t, 5, 1, 2, 2, 50, i < 3 ? 50 : 450, 16, 16, true);
        t.p.is_causal = true;
        t.p.past = past[i];
        t.p.blind = i % 2 != 0 ? NAN : 0.0f;
        check_all(&t);
        free_trial(&t);
    }
}

/* Masks of every broadcast form; some rows see nothing. */
static void test_masks(void **state)
{
    (void)state;
    for (int form = 0; form < 16; form++) {
        trial t;
        int64_t count;

        make_trial(&t, 6 + (uint64_t)form, 2, 3, 3, 19, 45, 16, 24, form % 3 == 0);
        t.p.mask.row = form & 1 ? t.p.keys : 0;
        t.p.mask.head = form & 2 ? t.p.rows * t.p.keys : 0;
        t.p.mask.batch = form & 4 ? t.p.heads * t.p.rows * t.p.keys : 0;
        count = t.p.batch * t.p.heads * t.p.rows * t.p.keys;
        if (form & 8) {
            t.kept = memory_of(count, 1);
            for (int64_t i = 0; i < count; i++) {
                t.kept[i] = spry_random_below(&t.r, 3) != 0 && i / t.p.keys % 5 != 2;
            }
            t.p.mask.kind = form & 2 ? ATTENTION_KEEP : ATTENTION_HIDE;
            t.p.mask.data = t.kept;
            t.p.mask.fill = form & 1 ? -INFINITY : form & 4 ? -3.4028235e38f : -2.0f;
        } else {
            t.added = random_floats(&t.r, count, 2.0f);
            for (int64_t i = 0; i < count; i++) {
                t.added[i] = i / t.p.keys % 5 == 2 ? -INFINITY : t.added[i];
            }
            t.p.mask.kind = ATTENTION_ADD;
            t.p.mask.data = t.added;
        }
        t.p.blind = form & 4 ? NAN : 0.0f;
        check_all(&t);
        free_trial(&t);
    }
}

static void test_lengths(void **state)
{
    trial t;

    (void)state;
    make_trial(&t, 7, 4, 1, 1, 9, 33, 16, 16, true);
    memcpy(t.lengths, (int64_t[]){33, 0, 1, 20}, sizeof t.lengths);
    t.p.lengths = t.lengths;
    check_all(&t);
    free_trial(&t);
}

/* Scores far beyond what exp can take; the smallest floats as masks of all keys. */
static void test_huge(void **state)
{
    trial t;

    (void)state;
    make_trial(&t, 8, 1, 1, 1, 5, 40, 4, 8, true);
    t.added = memory_of(40, sizeof(float));
    t.p.mask = (attention_mask){.kind = ATTENTION_ADD, .data = t.added};
    for (int i = 0; i < 40; i++) {
        t.added[i] = i == 17 ? 1e30f : -3e38f;
    }
    check_all(&t);
    for (int64_t e = 0; e < 8; e++) {
        assert_float_equal(t.out[e], t.v[17 * 8 + e], 1e-2f);
    }
    for (int i = 0; i < 40; i++) {
        t.added[i] = -3.4028235e38f; /* swallows the scores: all keys weigh the same */
    }
    memset(t.q, 0, 5 * 4 * sizeof(float));
    check_all(&t);
    free_trial(&t);
}

static void test_nan(void **state)
{
    const attention_kernel *kernels[MOST_VARIANTS];
    int count = list_variants(kernels);
    trial t;

    (void)state;
    make_trial(&t, 9, 1, 1, 1, 20, 20, 8, 8, true);
    t.q[3 * 8 + 1] = NAN;
    t.q[5 * 8 + 1] = INFINITY;
    for (int i = 0; i < count; i++) {
        run(kernels[i], &t.p, 1);
        assert_true(isnan(t.out[3 * 8]) && isnan(t.out[5 * 8 + 7]) && !isnan(t.out[4 * 8]));
    }
    free_trial(&t);
}

/* ---- threads and observers ---- */

static void test_threads(void **state)
{
    const attention_kernel *kernels[MOST_VARIANTS];
    int count = list_variants(kernels);

    (void)state;
    for (int i = 0; i < count; i++) {
        trial t;
        float *first;
        size_t bytes;

        make_trial(&t, 10, 1, 4, 2, 300, 301, 20, 20, true);
        t.p.is_causal = true;
        t.p.past = 1;
        bytes = (size_t)t.p.out_batch * sizeof(float);
        run(kernels[i], &t.p, 1);
        first = memory_of(t.p.out_batch, sizeof *first);
        memcpy(first, t.out, bytes);
        for (int workers = 2; workers < 5; workers++) {
            memset(t.out, 0xFF, bytes);
            run(kernels[i], &t.p, workers);
            assert_memory_equal(first, t.out, bytes);
        }
        free(first);
        free_trial(&t);
    }
}

typedef struct seen {
    const trial *t;
    double *sums;  /* of weights per query */
    int64_t *keys; /* weights seen per query */
    double tolerance;
} seen;

static void see(void *context, int64_t batch, int64_t head, int64_t row, int64_t rows, int64_t key,
                int64_t keys, const float *weights, int64_t stride)
{
    seen *s = context;
    const attention_problem *p = &s->t->p;

    for (int64_t r = 0; r < rows; r++) {
        int64_t query = (batch * p->heads + head) * p->rows + row + r;

        for (int64_t j = 0; j < keys; j++) {
            double wanted = s->t->weights[query * p->keys + key + j];

            assert_true(fabs((double)weights[r * stride + j] - wanted) <= s->tolerance);
            s->sums[query] += (double)weights[r * stride + j];
        }
        s->keys[query] += keys;
    }
}

/* The block on the diagonal, of 16 queries. */
static void near_diagonal(void *context, int64_t batch, int64_t head, int64_t row, int64_t rows,
                          int64_t *first, int64_t *end)
{
    (void)context;
    (void)batch;
    (void)head;
    *first = row / 16 * 16;
    *end = (row + rows - 1) / 16 * 16 + 16;
}

static void test_observer(void **state)
{
    const attention_kernel *kernels[MOST_VARIANTS];
    int count = list_variants(kernels);

    (void)state;
    for (int i = 0; i < 2 * count; i++) {
        const attention_kernel *kernel = kernels[i / 2];
        trial t;
        seen s;
        attention_observer observer = {&s, i % 2 != 0 ? near_diagonal : NULL, see};
        float *first;
        int64_t queries = 2 * 4 * 60;
        size_t bytes;

        make_trial(&t, 11, 2, 4, 2, 60, ATTENTION_BLOCK + 30, 16, 16, true);
        memcpy(t.lengths, (int64_t[]){ATTENTION_BLOCK + 30, 50}, 2 * sizeof(int64_t));
        t.p.lengths = t.lengths;
        expect(&t);
        bytes = (size_t)(t.p.batch * t.p.out_batch) * sizeof(float);
        run(kernel, &t.p, 2);
        first = memory_of(t.p.batch * t.p.out_batch, sizeof *first);
        memcpy(first, t.out, bytes);
        s = (seen){&t, memory_of(queries, sizeof(double)), memory_of(queries, sizeof(int64_t)),
                   is_bf16(kernel) ? 1e-2 : 1e-6};
        t.p.observer = &observer;
        run(kernel, &t.p, 2);
        assert_memory_equal(first, t.out, bytes);
        for (int64_t q = 0; q < queries; q++) {
            if (observer.range == NULL) {
                assert_true(fabs(s.sums[q] - 1.0) < 1e-5);
                assert_int_equal(s.keys[q], t.p.keys);
            } else {
                assert_true(s.keys[q] >= 16 && s.keys[q] <= 64);
            }
        }
        free(first);
        free(s.sums);
        free(s.keys);
        free_trial(&t);
    }
}

/* Workspace grows with the queries of a slice, not with the keys. */
static void test_workspace(void **state)
{
    const attention_kernel *kernel = attention_select(false);
    attention_problem p = {.batch = 1, .heads = 12, .kv_heads = 12, .size = 64, .value_size = 64};
    int64_t floats[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        p.rows = p.keys = i == 0 ? 1024 : 65536;
        p.slice = attention_slice(kernel, &p, 1);
        floats[i] = attention_workspace(kernel, &p);
    }
    assert_int_equal(floats[0], floats[1]);
    assert_true(floats[1] < 1024 * 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_many_blocks),
        cmocka_unit_test(test_many_strips), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_causal),      cmocka_unit_test(test_masks),
        cmocka_unit_test(test_lengths),     cmocka_unit_test(test_huge),
        cmocka_unit_test(test_nan),         cmocka_unit_test(test_threads),
        cmocka_unit_test(test_observer),    cmocka_unit_test(test_workspace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
