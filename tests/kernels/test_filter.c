/* Filtering keys by low-bit scores, and attention to the survivors: hand-checked examples,
 * properties of the method, every variant against the portable one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/filter/filter_bound.h"
#include "spry/random.h"

enum { MOST_KEYS = 5000, MOST_SIZE = 200, MOST_WORDS = 4 * 256 };

/* A head with memory for it. */
typedef struct head {
    filter_keys keys;
    float *k, *v;
    float q[MOST_SIZE];
    int8_t q4[MOST_WORDS];
} head;

static void *room(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);

    assert_non_null(memory);
    memset(memory, 0, (bytes + 63) / 64 * 64 + 64);
    return memory;
}

static void hold(head *h, int64_t n)
{
    h->keys.count = 0;
    assert_int_equal(filter_append(&h->keys, h->k, h->keys.size, h->v, h->keys.size, n), n);
}

static void make(head *h, int64_t n, int64_t size, bool is_bf16, uint64_t seed)
{
    spry_random r = spry_random_stream(seed, 0);
    size_t codes = (size_t)(n * filter_row_bytes(size));
    size_t rows = (size_t)(n * filter_pitch(size)) * sizeof(float);

    *h = (head){.keys = {.size = size, .capacity = n, .is_bf16 = is_bf16, .plane_count = 4}};
    for (int p = 0; p < FILTER_PLANES; p++) {
        h->keys.planes[p] = room(codes);
    }
    h->keys.k = room(rows);
    h->keys.v = room(rows);
    h->k = room((size_t)(n * size) * sizeof(float));
    h->v = room((size_t)(n * size) * sizeof(float));
    for (int64_t i = 0; i < n * size; i++) {
        h->k[i] = (float)spry_random_normal(&r);
        h->v[i] = (float)spry_random_normal(&r);
    }
    for (int64_t t = 0; t < size; t++) {
        h->q[t] = (float)spry_random_normal(&r);
    }
    assert_true(filter_query(h->q, size, h->q4));
    h->keys.scale = filter_scale(h->k, n * size);
    hold(h, n);
}

static void drop(head *h)
{
    for (int p = 0; p < FILTER_PLANES; p++) {
        free(h->keys.planes[p]);
    }
    free(h->keys.k);
    free(h->keys.v);
    free(h->k);
    free(h->v);
}

static filter_stats stats_of(const int32_t *s, int64_t n)
{
    filter_stats stats = {.most = INT32_MIN, .least = INT32_MAX};

    for (int64_t i = 0; i < n; i++) {
        stats.most = s[i] > stats.most ? s[i] : stats.most;
        stats.least = s[i] < stats.least ? s[i] : stats.least;
        stats.sum += s[i];
        stats.count++;
    }
    return stats;
}

static void assert_kept(const int32_t *s, int64_t n, double alpha, const int32_t *wanted,
                        int64_t count)
{
    filter_stats stats = stats_of(s, n);
    int32_t threshold = filter_threshold(&stats, alpha);

    for (int i = 0; i < filter_variant_count; i++) {
        const filter_kernel *kernel = filter_variants[i].table;
        int32_t to[64], index[64];

        if (isa_usable(filter_variants[i].level)) {
            assert_int_equal(kernel->select(s, NULL, 0, n, threshold, to, index), count);
            assert_memory_equal(index, wanted, (size_t)count * sizeof *wanted);
        }
    }
}

static void thresholds_are_those_worked_by_hand(void **state)
{
    static const int32_t s[] = {4, 3, 2, 1, 0, 0, 0, 6};
    static const int32_t flat[] = {-7, -7, -7};
    static const int32_t left[] = {4, 3, 2, 6};

    (void)state;
    assert_kept(s, 8, 0.0, (const int32_t[]){0, 1, 2, 7}, 4);
    assert_kept(s, 8, 0.5, (const int32_t[]){0, 7}, 2);
    assert_kept(s, 8, -0.5, (const int32_t[]){0, 1, 2, 3, 7}, 5);
    assert_kept(left, 4, 0.0, (const int32_t[]){0, 3}, 2); /* mean 3.75: of survivors only */
    for (int i = -9; i <= 9; i++) {
        assert_kept(flat, 3, i / 10.0, (const int32_t[]){0, 1, 2}, 3);
    }
    assert_kept((const int32_t[]){-3, -2}, 2, 0.0, (const int32_t[]){1}, 1);
    assert_kept((const int32_t[]){5, 1, 5}, 3, 0.999, (const int32_t[]){0, 2}, 2);
}

static unsigned bits(const head *h, int plane, int64_t key, int64_t t)
{
    int64_t bytes = filter_row_bytes(h->keys.size);

    return h->keys.planes[plane][key * bytes + t % bytes] >> 2 * (t / bytes) & 3U;
}

static void planes_hold_the_leading_bits(void **state)
{
    static const int sizes[] = {1, 3, 64, 65, 130};
    head h;

    (void)state;
    assert_int_equal(filter_code(0.5f, 0.0f), 0);
    assert_int_equal(filter_code(9.0f, 1e-5f), 32767);
    assert_int_equal(filter_query_code(32767), 7);
    assert_int_equal(filter_query_code(-32767), -8);
    assert_int_equal(filter_query_code(2047), 0);
    assert_int_equal(filter_query_code(2048), 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        make(&h, 40, sizes[i], false, 3);
        for (int64_t e = 0; e < (int64_t)40 * sizes[i]; e++) {
            int code = filter_code(h.k[e], h.keys.scale);
            int k4 = (code + 32768) / 4096 - 8;
            int k2 = (int)bits(&h, 0, e / sizes[i], e % sizes[i]) - 2;
            int low = (int)bits(&h, 1, e / sizes[i], e % sizes[i]);

            assert_int_equal(4 * k2 + low, k4);
            assert_int_equal(k2, (k4 + 8) / 4 - 2);
            assert_int_equal(bits(&h, 2, e / sizes[i], e % sizes[i]) * 4 +
                                 bits(&h, 3, e / sizes[i], e % sizes[i]),
                             ((code + 32768) / 256) % 16);
        }
        drop(&h);
    }
}

/* The method as it is written, with codes of `width` bits as signed numbers plus `offset`. */
static int64_t naive(const head *h, const filter_rule *rule, int64_t n, int offset, int32_t *index,
                     int32_t *s)
{
    static const int shift[] = {14, 12, 8};

    for (int64_t i = 0; i < n; i++) {
        index[i] = (int32_t)i;
    }
    for (int r = 0; r < rule->rounds && n >= FILTER_LEAST_KEYS - (r > 0) * FILTER_LEAST_KEYS; r++) {
        int64_t kept = 0;

        for (int64_t i = 0; i < n; i++) {
            s[i] = 0;
            for (int64_t t = 0; t < h->keys.size; t++) {
                float x = h->k[index[i] * h->keys.size + t];
                int code = (filter_code(x, h->keys.scale) + 32768) / (1 << shift[r]) -
                           (1 << (15 - shift[r]));

                s[i] += h->q4[t] * (code + offset);
            }
        }
        filter_stats stats = stats_of(s, n);
        int32_t threshold = filter_threshold(&stats, rule->alpha[r]);

        for (int64_t i = 0; i < n; i++) {
            if (s[i] >= threshold) {
                index[kept] = index[i];
                s[kept++] = s[i];
            }
        }
        n = kept;
    }
    return n;
}

static int32_t index_a[MOST_KEYS], index_b[MOST_KEYS], s_a[MOST_KEYS], s_b[MOST_KEYS];

static void survivors_are_those_of_the_method(void **state)
{
    static const int sizes[] = {64, 1, 6, 17, 100, 128, 200};
    static const int counts[] = {1, 15, 16, 17, 31, 33, 100, 257, 2047, 2049, 4500};
    spry_random r = spry_random_stream(5, 0);

    (void)state;
    for (size_t i = 0; i < 40; i++) {
        int64_t n = counts[i % (sizeof counts / sizeof *counts)];
        int64_t size = n > 300 ? 64 : sizes[i % (sizeof sizes / sizeof *sizes)];
        filter_rule rule = {.rounds = (int)(i % 4)};
        head h;

        for (int k = 0; k < 3; k++) {
            rule.alpha[k] = i % 2 == 0 ? 0.0 : (double)spry_random_f32(&r) - 0.7;
        }
        make(&h, n, size, false, i);
        int64_t kept = naive(&h, &rule, n, 0, index_a, s_a);

        for (int v = 0; v < filter_variant_count; v++) {
            filter_work work = {0};

            if (!isa_usable(filter_variants[v].level)) {
                continue;
            }
            assert_int_equal(filter_run(filter_variants[v].table, &h.keys, &rule, h.q4,
                                        &(filter_candidates){.n = n}, index_b, s_b, &work),
                             kept);
            assert_memory_equal(index_a, index_b, (size_t)kept * sizeof *index_a);
            if (rule.rounds > 0 && n >= FILTER_LEAST_KEYS) {
                int64_t scored = n + (rule.rounds > 1 ? work.kept[0] : 0) +
                                 (rule.rounds > 2 ? 2 * work.kept[1] : 0);

                assert_memory_equal(s_a, s_b, (size_t)kept * sizeof *s_a);
                assert_int_equal(work.low_products, scored * size);
                assert_int_equal(work.code_bytes, scored * filter_row_bytes(size));
            }
        }
        /* A constant on all codes of keys, as the unsigned ones have, changes nothing. */
        assert_int_equal(naive(&h, &rule, n, 8, index_b, s_b), kept);
        assert_memory_equal(index_a, index_b, (size_t)kept * sizeof *index_a);
        /* Nor does the size of the query. */
        for (int64_t t = 0; t < size; t++) {
            h.q[t] *= 4.0f;
        }
        int8_t again[MOST_WORDS];

        assert_true(filter_query(h.q, size, again));
        assert_memory_equal(again, h.q4, (size_t)(4 * filter_row_bytes(size)));
        drop(&h);
    }
}

static void survivors_are_nested(void **state)
{
    filter_work work = {0};
    head h;
    int64_t before = 1000;

    (void)state;
    make(&h, 1000, 64, false, 8);
    for (int64_t i = 0; i < before; i++) {
        index_a[i] = (int32_t)i;
    }
    for (int step = -9; step <= 9; step++) {
        filter_rule rule = {.rounds = 2, .alpha = {0.0, step / 10.0}};
        int64_t n = filter_run(filter_select(), &h.keys, &rule, h.q4,
                               &(filter_candidates){.n = 1000}, index_b, s_b, &work);
        int64_t at = 0;

        assert_in_range(n, 1, before);
        for (int64_t i = 0; i < n; i++) {
            while (at < before && index_a[at] < index_b[i]) {
                at++;
            }
            assert_int_equal(index_a[at], index_b[i]);
        }
        memcpy(index_a, index_b, (size_t)n * sizeof *index_a);
        before = n;
    }
    drop(&h);
}

/* Softmax over listed keys in doubles; bf16 rows as they are held. */
static void exact(const head *h, const int32_t *index, int64_t n, float scale, double *out)
{
    int64_t pitch = filter_pitch(h->keys.size);
    double most = -INFINITY, sum = 0.0;

    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < n; i++) {
            double score = 0.0;

            for (int64_t t = 0; t < h->keys.size; t++) {
                float k = ((const float *)h->keys.k)[index[i] * pitch + t];

                score += (double)h->q[t] * (double)k;
            }
            score *= (double)scale;
            most = pass == 0 && score > most ? score : most;
            for (int64_t t = 0; t < h->keys.size && pass == 1; t++) {
                float v = ((const float *)h->keys.v)[index[i] * pitch + t];

                out[t] = (i == 0 ? 0.0 : out[t]) + exp(score - most) * (double)v;
            }
            sum += pass == 1 ? exp(score - most) : 0.0;
        }
    }
    for (int64_t t = 0; t < h->keys.size; t++) {
        out[t] /= sum;
    }
}

/* The head's rows again as floats, rounded as rows of bf16 are. */
static void as_floats(head *h)
{
    int64_t count = h->keys.count * filter_pitch(h->keys.size);
    float *wide[2] = {room((size_t)count * sizeof(float)), room((size_t)count * sizeof(float))};
    const uint16_t *from[2] = {h->keys.k, h->keys.v};

    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < count; i++) {
            uint32_t word = (uint32_t)from[side][i] << 16;

            memcpy(&wide[side][i], &word, sizeof word);
        }
    }
    free(h->keys.k);
    free(h->keys.v);
    h->keys.k = wide[0];
    h->keys.v = wide[1];
    h->keys.is_bf16 = false;
}

static void attention_is_softmax_over_survivors(void **state)
{
    static const int sizes[] = {64, 1, 33, 96, 128, 200};
    static const int counts[] = {1, 16, 17, 127, 129, 400};
    static const double everything = -1.0 + 0x1p-50;

    (void)state;
    for (int i = 0; i < 48; i++) {
        int64_t n = counts[i % 6], size = sizes[i / 8];
        filter_rule rule = {.rounds = 2};
        float out[MOST_SIZE];
        double wanted[MOST_SIZE];
        head h;

        if (i % 4 >= 2) {
            rule.alpha[0] = rule.alpha[1] = everything;
        }
        make(&h, n, size, i % 2 == 1, (uint64_t)i);
        filter_call call = {.keys = &h.keys,
                            .rule = rule,
                            .q = h.q,
                            .rows = 1,
                            .scale = 1.0f / sqrtf((float)size),
                            .limit = n,
                            .out = out,
                            .q_token = size,
                            .out_token = size};
        int32_t *workspace = room((size_t)filter_workspace(&h.keys) * sizeof *workspace);
        float results[8][MOST_SIZE];

        for (int v = 0; v < filter_variant_count; v++) {
            filter_work work = {0};

            if (isa_usable(filter_variants[v].level)) {
                assert_int_equal(
                    filter_attention(filter_variants[v].table, &call, 0, 1, workspace, &work), 1);
                memcpy(results[v], out, sizeof out);
                assert_int_equal(work.exact_products, 2 * work.kept[2] * size);
                assert_int_equal(work.key_bytes,
                                 work.kept[2] * filter_pitch(size) * (h.keys.is_bf16 ? 2 : 4));
            }
        }
        int64_t kept = filter_run(filter_select(), &h.keys, &rule, h.q4,
                                  &(filter_candidates){.n = n}, index_a, s_a, &(filter_work){0});

        assert_true(i % 4 < 2 || kept == n);
        if (h.keys.is_bf16) {
            as_floats(&h);
        }
        exact(&h, index_a, kept, call.scale, wanted);
        for (int v = 0; v < filter_variant_count; v++) {
            for (int64_t t = 0; t < size && isa_usable(filter_variants[v].level); t++) {
                assert_true(fabs((double)results[v][t] - wanted[t]) < 2e-6);
            }
        }
        free(workspace);
        drop(&h);
    }
}

static void limits_hide_keys(void **state)
{
    enum { ROWS = 40, SIZE = 64 };
    static float q[ROWS * SIZE], all[ROWS * SIZE], one[SIZE];
    filter_work work = {0};
    head h;

    (void)state;
    make(&h, ROWS, SIZE, false, 21);
    memcpy(q, h.k, sizeof q);
    filter_call call = {.keys = &h.keys,
                        .rule = {.rounds = 2},
                        .q = q,
                        .q_token = SIZE,
                        .rows = ROWS,
                        .scale = 0.125f,
                        .limit = 1000,
                        .is_causal = true,
                        .past = -3,
                        .out = all,
                        .out_token = SIZE};
    int32_t *workspace = room((size_t)filter_workspace(&h.keys) * sizeof *workspace);

    assert_int_equal(filter_attention(filter_select(), &call, 0, ROWS, workspace, &work), ROWS);
    call.is_causal = false;
    call.out = one;
    for (int i = 0; i < ROWS; i++) {
        call.q = q + (int64_t)i * SIZE;
        call.limit = i - 2;
        assert_int_equal(filter_attention(filter_select(), &call, 0, 1, workspace, &work), 1);
        assert_memory_equal(one, all + (int64_t)i * SIZE, sizeof one);
    }
    call.q = q;
    q[5 * SIZE + 3] = NAN;
    q[7 * SIZE + 3] = INFINITY;
    assert_int_equal(filter_attention(filter_select(), &call, 6, ROWS, workspace, &work), 7);
    call.out = all;
    assert_int_equal(filter_attention(filter_select(), &call, 0, ROWS, workspace, &work), 5);
    free(workspace);
    drop(&h);
}

/* No exact score lies above its bound, nor far below; keys beyond the scale's range included. */
static void bounds_hold(void **state)
{
    static const int sizes[] = {64, 1, 33, 130, 200};

    (void)state;
    for (int i = 0; i < 20; i++) {
        int64_t n = 1 + 37 * i, size = sizes[i % 5];
        float scale = i % 2 == 0 ? 0.125f : 1.0f;
        float upper[2][1000];
        int8_t room_of_digits[FILTER_DIGITS * MOST_WORDS];
        bool has_first = false;
        head h;

        make(&h, n, size, false, (uint64_t)(100 + i));
        h.keys.scale *= i % 3 == 0 ? 0.5f : 1.0f;
        hold(&h, n);
        for (int64_t j = 0; j < n; j++) {
            index_a[j] = (int32_t)(n - 1 - j);
        }
        for (int v = 0; v < filter_variant_count; v++) {
            filter_bound bound;
            filter_work work = {0};

            if (!isa_usable(filter_variants[v].level)) {
                continue;
            }
            assert_true(filter_bound_query(&h.keys, h.q, scale, room_of_digits, &bound));
            filter_bound_scores(filter_variants[v].table, &h.keys, &bound, index_a, n, s_a,
                                upper[has_first], &work);
            assert_true(!has_first || memcmp(upper[0], upper[1], (size_t)n * sizeof(float)) == 0);
            assert_int_equal(work.low_products, 6 * n * size);
            has_first = true;
            for (int64_t j = 0; j < n; j++) {
                double score = 0.0;

                for (int64_t t = 0; t < size; t++) {
                    score += (double)h.q[t] * (double)h.k[index_a[j] * size + t];
                }
                score *= (double)scale / log(2.0);
                assert_true((double)upper[0][j] >= score);
                assert_true((double)upper[0][j] <= score + 2.001 * (double)bound.radius);
            }
        }
        h.q[0] = NAN;
        assert_false(filter_bound_query(&h.keys, h.q, scale, room_of_digits, &(filter_bound){0}));
        drop(&h);
    }
}

static void odd_input_is_harmless(void **state)
{
    filter_rule rule = {.rounds = 2};
    filter_work work = {0};
    head h;

    (void)state;
    make(&h, 100, 64, false, 31);
    assert_int_equal(filter_run(filter_select(), &h.keys, &rule, h.q4, &(filter_candidates){0},
                                index_a, s_a, &work),
                     0);
    memset(h.k, 0, (size_t)(100 * 64) * sizeof *h.k);
    h.keys.scale = filter_scale(h.k, 100 * 64);
    assert_true(h.keys.scale == 0.0f);
    hold(&h, 100);
    assert_int_equal(filter_run(filter_select(), &h.keys, &rule, h.q4,
                                &(filter_candidates){.n = 100}, index_a, s_a, &work),
                     100);
    assert_int_equal(filter_append(&h.keys, h.k, 64, h.v, 64, 1), 0);
    h.k[70] = INFINITY;
    assert_true(isnan(filter_scale(h.k, 100 * 64)));
    assert_true(filter_rule_is_valid(&rule, &h.keys));
    for (int i = 0; i < 4; i++) {
        rule.alpha[1] = (double[]){1.0, -1.0, 3.0, NAN}[i];
        assert_false(filter_rule_is_valid(&rule, &h.keys));
    }
    rule = (filter_rule){.rounds = 3};
    h.keys.plane_count = 2;
    assert_false(filter_rule_is_valid(&rule, &h.keys));
    h.keys.plane_count = FILTER_PLANES;
    rule.rounds = 4;
    assert_false(filter_rule_is_valid(&rule, &h.keys));
    drop(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_are_those_worked_by_hand),
        cmocka_unit_test(planes_hold_the_leading_bits),
        cmocka_unit_test(survivors_are_those_of_the_method),
        cmocka_unit_test(survivors_are_nested),
        cmocka_unit_test(attention_is_softmax_over_survivors),
        cmocka_unit_test(limits_hide_keys),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(odd_input_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
