/* Surveys of heads and policies for heads against whole maps in double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/threads.h"
#include "kernels/attention/attention_heads.h"
#include "spry/random.h"

enum { MOST_VARIANTS = 8, MOST_HEADS = 8 };

/* A problem with [batch][positions][heads][size] operands, its maps and its survey. */
typedef struct trial {
    attention_problem p;
    attention_survey survey;
    attention_policy policies[MOST_HEADS];
    spry_random r;
    float *q, *k, *v, *out, *mask;
    int64_t lengths[4];
    double *maps, *wanted; /* [batch][heads][rows][keys], [...][value_size] */
    int8_t *classes;
} trial;

static int list_variants(const attention_kernel **kernels)
{
    int count = 0;

    for (int i = 0; i < attention_f32_variant_count; i++) {
        if (isa_usable(attention_f32_variants[i].level)) {
            kernels[count++] = attention_f32_variants[i].table;
        }
    }
    return count;
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

/* `sharp`: how far scores lie apart. */
static void make_trial(trial *t, uint64_t seed, int64_t batch, int64_t heads, int64_t kv_heads,
                       int64_t rows, int64_t keys, int64_t size, float sharp)
{
    int64_t all = batch * heads * rows;

    *t = (trial){.r = spry_random_stream(seed, 0)};
    t->q = random_floats(&t->r, all * size, sharp);
    t->k = random_floats(&t->r, batch * kv_heads * keys * size, 1.0f);
    t->v = random_floats(&t->r, batch * kv_heads * keys * size, 1.0f);
    t->out = memory_of(all * size, sizeof *t->out);
    t->p = (attention_problem){.batch = batch,
                               .heads = heads,
                               .kv_heads = kv_heads,
                               .rows = rows,
                               .keys = keys,
                               .size = size,
                               .value_size = size,
                               .scale = 1.0f / sqrtf((float)size),
                               .q = {t->q, heads * rows * size, size, heads * size},
                               .k = {t->k, kv_heads * keys * size, size, kv_heads * size},
                               .v = {t->v, kv_heads * keys * size, size, kv_heads * size},
                               .out = t->out,
                               .out_batch = heads * rows * size,
                               .out_head = size,
                               .out_token = heads * size};
    t->maps = memory_of(all * keys, sizeof *t->maps);
    t->wanted = memory_of(all * size, sizeof *t->wanted);
    t->classes = memory_of(batch * rows, 1);
    t->survey = (attention_survey){
        .class_count = 1,
        .distance = memory_of(all, sizeof(double)),
        .offset = memory_of(all, sizeof(double)),
        .variance = memory_of(all, sizeof(double)),
        .entropy = memory_of(all, sizeof(double)),
        .columns = memory_of(batch * heads * ATTENTION_MOST_CLASSES * keys, sizeof(double)),
        .profile = memory_of(batch * heads * (rows + keys - 1), sizeof(double)),
        .sample_stride = 5,
        .sample_count = (rows + 4) / 5,
        .samples = memory_of(batch * heads * ((rows + 4) / 5) * keys, sizeof(float))};
    for (int h = 0; h < MOST_HEADS; h++) {
        t->policies[h].is_dense = true;
    }
}

static void free_trial(trial *t)
{
    const void *const all[] = {t->q,
                               t->k,
                               t->v,
                               t->out,
                               t->mask,
                               t->maps,
                               t->wanted,
                               t->classes,
                               t->survey.distance,
                               t->survey.offset,
                               t->survey.variance,
                               t->survey.entropy,
                               t->survey.columns,
                               t->survey.profile,
                               t->survey.samples};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free((void *)(uintptr_t)all[i]);
    }
}

/* ---- the reference ---- */

static double score(const trial *t, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const attention_problem *p = &t->p;
    const float *q = p->q.data + b * p->q.batch + h * p->q.head + i * p->q.token;
    const float *k =
        p->k.data + b * p->k.batch + h / (p->heads / p->kv_heads) * p->k.head + j * p->k.token;
    double sum = 0;

    if ((p->is_causal && j > i + p->past) || (p->lengths != NULL && j >= p->lengths[b]) ||
        (p->policies != NULL &&
         !attention_policy_sees(&p->policies[h], i + p->past, j,
                                p->lengths != NULL ? p->lengths[b] : p->keys))) {
        return -INFINITY;
    }
    for (int64_t e = 0; e < p->size; e++) {
        sum += (double)q[e] * (double)k[e];
    }
    sum = p->policies != NULL && p->policies[h].is_flat ? 0.0 : sum * (double)p->scale;
    return sum + (t->mask != NULL ? (double)t->mask[i * p->keys + j] : 0.0);
}

static void expect(trial *t)
{
    const attention_problem *p = &t->p;

    for (int64_t n = 0; n < p->batch * p->heads * p->rows; n++) {
        int64_t b = n / p->rows / p->heads;
        int64_t h = n / p->rows % p->heads;
        double *map = t->maps + n * p->keys;
        double most = -INFINITY;
        double sum = 0;

        for (int64_t j = 0; j < p->keys; j++) {
            map[j] = score(t, b, h, n % p->rows, j);
            most = fmax(most, map[j]);
        }
        for (int64_t j = 0; j < p->keys; j++) {
            map[j] = most == -INFINITY ? 0.0 : exp(map[j] - most);
            sum += map[j];
        }
        memset(t->wanted + n * p->size, 0, (size_t)p->size * sizeof *t->wanted);
        for (int64_t j = 0; j < p->keys; j++) {
            const float *v = p->v.data + b * p->v.batch + h / (p->heads / p->kv_heads) * p->v.head +
                             j * p->v.token;

            map[j] = sum > 0 ? map[j] / sum : 0.0;
            for (int64_t e = 0; e < p->size; e++) {
                t->wanted[n * p->size + e] +=
                    p->policies != NULL && p->policies[h].is_off ? 0.0 : map[j] * (double)v[e];
            }
        }
    }
}

static void check_results(const trial *t)
{
    const attention_problem *p = &t->p;

    for (int64_t n = 0; n < p->batch * p->heads * p->rows; n++) {
        const float *out = t->out + n / p->rows / p->heads * p->out_batch +
                           n / p->rows % p->heads * p->out_head + n % p->rows * p->out_token;

        for (int64_t e = 0; e < p->size; e++) {
            assert_true(fabs((double)out[e] - t->wanted[n * p->size + e]) < 1e-5);
        }
    }
}

static void check_row(const trial *t, int64_t n)
{
    const attention_problem *p = &t->p;
    const attention_survey *s = &t->survey;
    const double *map = t->maps + n * p->keys;
    double unit = (double)p->keys;
    double here = (double)(n % p->rows + p->past);
    double mean = 0;
    double distance = 0;
    double variance = 0;
    double entropy = 0;

    for (int64_t j = 0; j < p->keys; j++) {
        mean += map[j] * ((double)j - here);
        distance += map[j] * fabs((double)j - here);
        entropy -= map[j] > 0 ? map[j] * log(map[j]) : 0.0;
    }
    for (int64_t j = 0; j < p->keys; j++) {
        variance += map[j] * ((double)j - here - mean) * ((double)j - here - mean);
    }
    assert_true(fabs(s->distance[n] - distance) < 1e-5 * unit);
    assert_true(fabs(s->offset[n] - mean) < 1e-5 * unit);
    assert_true(fabs(sqrt(s->variance[n]) - sqrt(variance)) < 1e-5 * unit);
    assert_true(fabs(s->entropy[n] - entropy) < 1e-5);
    for (int64_t j = 0; n % p->rows % s->sample_stride == 0 && j < p->keys; j++) {
        int64_t at = n / p->rows * s->sample_count + n % p->rows / s->sample_stride;

        assert_true(fabs((double)s->samples[at * p->keys + j] - map[j]) < 1e-5);
    }
}

static void check_sums(const trial *t, int64_t head)
{
    const attention_problem *p = &t->p;
    const attention_survey *s = &t->survey;
    int64_t offsets = p->rows + p->keys - 1;
    double tolerance = 1e-5 + 1e-6 * (double)p->rows;
    double *columns = memory_of(ATTENTION_MOST_CLASSES * p->keys, sizeof *columns);
    double *profile = memory_of(offsets, sizeof *profile);

    for (int64_t i = 0; i < p->rows; i++) {
        int class = s->classes != NULL ? s->classes[head / p->heads * p->rows + i] : 0;

        for (int64_t j = 0; class >= 0 && j < p->keys; j++) {
            double weight = t->maps[(head * p->rows + i) * p->keys + j];

            columns[class * p->keys + j] += weight;
            profile[j - i + p->rows - 1] += weight;
        }
    }
    for (int64_t j = 0; j < s->class_count * p->keys; j++) {
        assert_true(fabs(s->columns[head * s->class_count * p->keys + j] - columns[j]) < tolerance);
    }
    for (int64_t o = 0; o < offsets; o++) {
        assert_true(fabs(s->profile[head * offsets + o] - profile[o]) < tolerance);
    }
    free(columns);
    free(profile);
}

/* ---- running ---- */

typedef struct work {
    const attention_kernel *kernel;
    const attention_problem *p;
    float *memory;
    int64_t floats;
} work;

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const work *w = context;

    for (int64_t i = begin; i < end; i++) {
        attention_run(w->kernel, w->p, i, w->memory + worker * w->floats);
    }
}

static void run(const attention_kernel *kernel, attention_problem *p, int workers)
{
    work w = {.kernel = kernel, .p = p};
    spry_error error;
    threads *team = NULL;
    size_t bytes;

    assert_int_equal(threads_create(NULL, workers, &team, &error), SPRY_OK);
    workers = threads_count(team);
    p->slice = attention_slice(kernel, p, workers);
    w.floats = (attention_workspace(kernel, p) + 15) / 16 * 16;
    bytes = (size_t)(workers * w.floats) * sizeof(float);
    w.memory = aligned_alloc(64, bytes);
    assert_non_null(w.memory);
    memset(w.memory, 0xFF, bytes); /* NaN: nothing may depend on it */
    threads_for(team, attention_pieces(p), 1, run_pieces, &w);
    threads_destroy(team);
    free(w.memory);
}

static void clear_survey(trial *t)
{
    const attention_problem *p = &t->p;
    int64_t heads = p->batch * p->heads;

    memset(t->survey.columns, 0,
           (size_t)(heads * ATTENTION_MOST_CLASSES * p->keys) * sizeof(double));
    memset(t->survey.profile, 0, (size_t)(heads * (p->rows + p->keys - 1)) * sizeof(double));
}

static void check(trial *t, bool is_surveyed)
{
    const attention_kernel *kernels[MOST_VARIANTS];
    int count = list_variants(kernels);

    expect(t);
    for (int i = 0; i < count; i++) {
        t->p.survey = is_surveyed ? &t->survey : NULL;
        clear_survey(t);
        memset(t->out, 0xFF, (size_t)(t->p.batch * t->p.out_batch) * sizeof *t->out);
        run(kernels[i], &t->p, 1 + i % 2);
        check_results(t);
        for (int64_t n = 0; is_surveyed && n < t->p.batch * t->p.heads * t->p.rows; n++) {
            check_row(t, n);
        }
        for (int64_t h = 0; is_surveyed && h < t->p.batch * t->p.heads; h++) {
            check_sums(t, h);
        }
    }
}

static void test_shapes(void **state)
{
    static const int64_t sizes[][3] = {{1, 1, 1},     {2, 2, 3},    {13, 13, 5},    {14, 14, 8},
                                       {15, 15, 16},  {17, 31, 7},  {61, 61, 33},   {64, 64, 64},
                                       {352, 352, 4}, {20, 353, 9}, {360, 360, 16}, {31, 800, 8}};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int sharp = 0; sharp < 3; sharp++) {
            trial t;

            make_trial(&t, i, 1, 2, 2, sizes[i][0], sizes[i][1], sizes[i][2],
                       sharp == 0 ? 0.0f : (float)(sharp * sharp * 4));
            check(&t, true);
            free_trial(&t);
        }
    }
}

static void test_causal_groups_lengths(void **state)
{
    trial t;

    (void)state;
    make_trial(&t, 40, 2, 4, 2, 75, 80, 12, 6.0f);
    t.p.is_causal = true;
    t.p.past = 5;
    check(&t, true);
    memcpy(t.lengths, (int64_t[]){80, 30}, 2 * sizeof(int64_t));
    t.p.lengths = t.lengths;
    check(&t, true);
    free_trial(&t);
    make_trial(&t, 41, 1, 2, 1, 400, 400, 6, 20.0f);
    t.p.is_causal = true;
    check(&t, true);
    free_trial(&t);
}

static void test_classes_and_masks(void **state)
{
    trial t;

    (void)state;
    make_trial(&t, 50, 2, 2, 2, 70, 70, 10, 4.0f);
    for (int64_t i = 0; i < 140; i++) {
        t.classes[i] = (int8_t)(i % 9 == 4 ? -1 : i % 70 / 25);
    }
    t.survey.classes = t.classes;
    t.survey.class_count = 3;
    t.mask = random_floats(&t.r, 70 * 70, 3.0f);
    for (int64_t i = 0; i < 70 * 70; i += 3) {
        t.mask[i] = -INFINITY;
    }
    t.p.mask = (attention_mask){.kind = ATTENTION_ADD, .data = t.mask, .row = 70};
    check(&t, true);
    free_trial(&t);
}

/* A head that looks one key back has no variance, wherever its keys lie. */
static void test_one_key(void **state)
{
    static const int64_t steps[] = {0, 1, 300};
    const attention_kernel *kernels[MOST_VARIANTS];
    int count = list_variants(kernels);

    (void)state;
    for (int i = 0; i < 3 * count; i++) {
        trial t;

        make_trial(&t, 60, 1, 1, 1, 700, 700, 4, 5.0f);
        t.policies[0] = (attention_policy){.before = steps[i / count], .after = -steps[i / count]};
        t.p.policies = t.policies;
        t.p.survey = &t.survey;
        run(kernels[i % count], &t.p, 1);
        for (int64_t n = steps[i / count]; n < 700; n++) {
            assert_true(fabs(t.survey.distance[n] - (double)steps[i / count]) < 1e-4);
            assert_true(sqrt(t.survey.variance[n]) < 1e-3 && fabs(t.survey.entropy[n]) < 1e-6);
        }
        free_trial(&t);
    }
}

static void test_policies(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        static const int64_t lengths[] = {1, 29, 64, 250, 400, 720};
        trial t;
        int64_t n = lengths[i / 2];

        make_trial(&t, 70 + (uint64_t)i, 1 + i % 2, 6, i % 3 == 0 ? 6 : 3, n, n, 8, 8.0f);
        t.policies[1] = (attention_policy){.before = 3, .after = 3};
        t.policies[2] = (attention_policy){.before = 0, .after = 0, .sink_count = 1};
        t.policies[3] = (attention_policy){
            .before = 40, .after = 9, .sink_count = 3, .sinks = {0, 7, n > 9 ? n - 1 : 9}};
        t.policies[4] =
            (attention_policy){.is_flat = true, .before = 2, .after = 1, .sink_count = 1};
        t.policies[5] = (attention_policy){.is_dense = true, .is_off = i % 2 != 0, .is_flat = true};
        if (i % 3 == 1) {
            t.policies[0] = (attention_policy){.before = 1, .after = -1, .is_flat = true};
            t.policies[1] = (attention_policy){.before = -1, .after = 0, .sink_count = 1};
        }
        t.p.policies = t.policies;
        t.p.is_causal = i % 4 == 3;
        check(&t, false);
        check(&t, true);
        free_trial(&t);
    }
}

/* The numbers do not change with the team, and memory grows with keys alone. */
static void test_threads(void **state)
{
    const attention_kernel *kernel = attention_select(false);
    trial a;
    trial b;

    (void)state;
    make_trial(&a, 80, 1, 3, 3, 500, 500, 16, 9.0f);
    make_trial(&b, 80, 1, 3, 3, 500, 500, 16, 9.0f);
    a.p.survey = &a.survey;
    b.p.survey = &b.survey;
    run(kernel, &a.p, 1);
    run(kernel, &b.p, 3);
    assert_memory_equal(a.out, b.out, 500 * 48 * sizeof(float));
    assert_memory_equal(a.survey.columns, b.survey.columns, 3 * 500 * sizeof(double));
    assert_memory_equal(a.survey.profile, b.survey.profile, 3 * 999 * sizeof(double));
    assert_memory_equal(a.survey.entropy, b.survey.entropy, 1500 * sizeof(double));
    a.p.rows = a.p.keys = 4096;
    b.p.rows = b.p.keys = 8192;
    a.p.slice = b.p.slice = 1024;
    assert_true(attention_workspace(kernel, &b.p) < 21 * attention_workspace(kernel, &a.p) / 10);
    free_trial(&a);
    free_trial(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),   cmocka_unit_test(test_causal_groups_lengths),
        cmocka_unit_test(test_one_key),  cmocka_unit_test(test_classes_and_masks),
        cmocka_unit_test(test_policies), cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
