/* Features, clusters and names of attention heads, on maps that are known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/heads_cluster.h"
#include "inspect/heads_name.h"
#include "support/planted.h"

static void near(double a, double b)
{
    assert_true(fabs(a - b) < 1e-5);
}

static void features_of(const double *map, int64_t t, int64_t boundary, double *f)
{
    heads_view v = planted_view(map, t, boundary);
    double offsets[256];

    assert_true(heads_features(&v, f, offsets));
    planted_free(&v);
}

/* ---- maps of four tokens, by hand ---- */

static void test_identity(void **state)
{
    const double map[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    double f[SPRY_HEAD_FEATURES];

    (void)state;
    features_of(map, 4, 0, f);
    near(f[SPRY_HEAD_DISTANCE], 0);
    near(f[SPRY_HEAD_WIDTH], 0);
    near(f[SPRY_HEAD_ENTROPY], 0);
    near(f[SPRY_HEAD_COLUMNS], 0);
    near(f[SPRY_HEAD_BAND_0], 1);
    near(f[SPRY_HEAD_DIRECTION], 0.5);
    near(f[SPRY_HEAD_CONSISTENCY], 1);
}

static void test_uniform(void **state)
{
    double map[16];
    double f[SPRY_HEAD_FEATURES];

    (void)state;
    for (int i = 0; i < 16; i++) {
        map[i] = 0.25;
    }
    features_of(map, 4, 0, f);
    near(f[SPRY_HEAD_DISTANCE], 1.25 / 3);
    near(f[SPRY_HEAD_DISTANCE_SPREAD], 0.25 / 3);
    near(f[SPRY_HEAD_ENTROPY], 1);
    near(f[SPRY_HEAD_COLUMNS], 0);
    near(f[SPRY_HEAD_BAND_1], 0.625);
    features_of(map, 4, 2, f);
    near(f[SPRY_HEAD_BLOCK], 0);
}

static void test_first_column(void **state)
{
    double map[16] = {0};
    double f[SPRY_HEAD_FEATURES];

    (void)state;
    map[0] = map[4] = map[8] = map[12] = 1;
    features_of(map, 4, 0, f);
    near(f[SPRY_HEAD_DISTANCE], 0.5);
    near(f[SPRY_HEAD_ENTROPY], 0);
    near(f[SPRY_HEAD_COLUMNS], 1);
    near(f[SPRY_HEAD_DIRECTION], 0.25);
    near(f[SPRY_HEAD_WIDTH], 0);
    near(f[SPRY_HEAD_FIRST], 1);
    near(f[SPRY_HEAD_REACH], 1.5 / 64);
}

static void test_previous(void **state)
{
    const double map[16] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    double f[SPRY_HEAD_FEATURES];

    (void)state;
    features_of(map, 4, 0, f);
    near(f[SPRY_HEAD_DISTANCE], 0.25);
    near(f[SPRY_HEAD_PREVIOUS], 0.75);
    near(f[SPRY_HEAD_COLUMNS], 0.25);
}

static void test_blocks(void **state)
{
    const double h = 0.5;
    const double map[16] = {h, h, 0, 0, h, h, 0, 0, 0, 0, h, h, 0, 0, h, h};
    double f[SPRY_HEAD_FEATURES];

    (void)state;
    features_of(map, 4, 2, f);
    near(f[SPRY_HEAD_BLOCK], 1);
    features_of(map, 4, 0, f); /* one segment */
    near(f[SPRY_HEAD_BLOCK], 0);
}

static void test_causal(void **state)
{
    const double third = 1.0 / 3.0;
    const double map[9] = {1, 0, 0, 0.5, 0.5, 0, third, third, third};
    const int8_t classes[3] = {-1, 0, 0};
    heads_view v = planted_view(map, 3, 0);
    double f[SPRY_HEAD_FEATURES];
    double offsets[5];

    (void)state;
    v.is_causal = true;
    v.classes = classes;
    assert_true(heads_features(&v, f, offsets));
    near(f[SPRY_HEAD_DISTANCE], 0.5);
    near(f[SPRY_HEAD_ENTROPY], 1);
    planted_free(&v);
    features_of(map, 3, 0, f);
    near(f[SPRY_HEAD_DISTANCE], 0.25);
}

static void test_divergence(void **state)
{
    const double a[] = {1, 0};
    const double b[] = {0, 1};
    spry_random r = spry_random_stream(1, 0);

    (void)state;
    near(heads_divergence(a, b, 2), log(2));
    near(heads_divergence(a, a, 2), 0);
    for (int n = 0; n < 200; n++) {
        double p[3][5];
        double d[3];

        for (int i = 0; i < 3; i++) {
            double total = 0;

            for (int j = 0; j < 5; j++) {
                p[i][j] = spry_random_f64(&r);
                total += p[i][j];
            }
            for (int j = 0; j < 5; j++) {
                p[i][j] /= total;
            }
        }
        for (int i = 0; i < 3; i++) {
            d[i] = heads_divergence(p[i], p[(i + 1) % 3], 5);
            near(d[i], heads_divergence(p[(i + 1) % 3], p[i], 5));
        }
        assert_true(sqrt(d[0]) <= sqrt(d[1]) + sqrt(d[2]) + 1e-12);
    }
}

/* Padding changes nothing; turning the text around turns directions around. */
static void test_invariances(void **state)
{
    enum { T = 24 };
    spry_random r = spry_random_stream(2, 0);
    double map[T * T];
    double turned[T * T];
    double f[SPRY_HEAD_FEATURES];
    double g[SPRY_HEAD_FEATURES];

    (void)state;
    for (int kind = 0; kind < PLANTED_KINDS; kind++) {
        planted_map((planted_kind)kind, T, 12, 0.3, &r, map);
        for (int n = 0; n < T * T; n++) {
            turned[n] = map[T * T - 1 - n];
        }
        features_of(map, T, 12, f);
        features_of(turned, T, 12, g);
        near(f[SPRY_HEAD_DIRECTION], 1 - g[SPRY_HEAD_DIRECTION]);
        near(f[SPRY_HEAD_PREVIOUS], g[SPRY_HEAD_NEXT]);
        for (int i = 0; i < SPRY_HEAD_FEATURES; i++) {
            if (i != SPRY_HEAD_DIRECTION && i != SPRY_HEAD_PREVIOUS && i != SPRY_HEAD_NEXT &&
                i != SPRY_HEAD_FIRST) {
                near(f[i], g[i]);
            }
        }
        /* The same map among 8 rows and keys more, which are padding. */
        enum { WIDE = T + 8 };
        double wide[WIDE * WIDE] = {0};
        int8_t classes[WIDE];
        double offsets[2 * WIDE];

        for (int i = 0; i < WIDE; i++) {
            classes[i] = (int8_t)(i >= T ? -1 : i >= 12);
            memcpy(wide + i * WIDE, map + (i < T ? i : 0) * T, T * sizeof *map);
        }
        heads_view v = planted_view(wide, WIDE, 12);
        double *profile = calloc(2 * WIDE - 1, sizeof *profile);
        double *columns = calloc(2 * WIDE, sizeof *columns);

        assert_non_null(profile);
        assert_non_null(columns);
        for (int i = 0; i < T; i++) {
            for (int j = 0; j < T; j++) {
                profile[j - i + WIDE - 1] += map[i * T + j];
                columns[classes[i] * WIDE + j] += map[i * T + j];
            }
        }
        heads_view padded = v;
        padded.tokens = T;
        padded.classes = classes;
        padded.profile = profile;
        padded.columns = columns;
        assert_true(heads_features(&padded, g, offsets));
        for (int i = 0; i < SPRY_HEAD_FEATURES; i++) {
            near(f[i], g[i]);
        }
        planted_free(&v);
        free(profile);
        free(columns);
    }
}

/* ---- clusters ---- */

static void test_worked_clusters(void **state)
{
    const double points[] = {0, 0.1, 1, 1.1};
    const int32_t a[] = {0, 0, 1, 1};
    const int32_t swapped[] = {1, 1, 0, 0};
    const int32_t crossed[] = {0, 1, 0, 1};
    spry_random r = spry_random_stream(3, 0);
    int32_t labels[4];
    double inertia;
    spry_error error;
    arena memory;

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    assert_int_equal(cluster_means(points, 4, 1, 2, &r, &memory, labels, &inertia, &error),
                     SPRY_OK);
    near(cluster_agreement(labels, a, 4, 2), 1);
    near(inertia, 0.01);
    near(cluster_silhouette(points, 4, 1, labels, 2), 0.8997493);
    near(cluster_agreement(a, swapped, 4, 2), 1);
    near(cluster_agreement(a, crossed, 4, 2), -0.5);
    double distances[16];
    for (int i = 0; i < 16; i++) {
        distances[i] = fabs(points[i / 4] - points[i % 4]);
    }
    assert_int_equal(cluster_linkage(distances, 4, 2, &memory, labels, &error), SPRY_OK);
    assert_memory_equal(labels, a, sizeof a);
    arena_fini(&memory);
}

enum { KINDS = 7, EACH = 6, HEADS = KINDS * EACH };

/* Mean features of six heads of each kind over sequences of 32 to 128 tokens. */
static void plant(double noise, int sequences, uint64_t seed, double *points)
{
    spry_random r = spry_random_stream(seed, 0);
    double *map = malloc(128 * 128 * sizeof *map);
    double sums[HEADS][SPRY_HEAD_FEATURES] = {{0}};
    double squares[HEADS][SPRY_HEAD_FEATURES] = {{0}};

    assert_non_null(map);
    for (int s = 0; s < sequences; s++) {
        int64_t t = 32 + (int64_t)spry_random_below(&r, 97);
        int64_t boundary = t / 4 + (int64_t)spry_random_below(&r, (uint64_t)t / 2 + 1);

        for (int h = 0; h < HEADS; h++) {
            double f[SPRY_HEAD_FEATURES];

            planted_map((planted_kind)(h / EACH), t, boundary, noise, &r, map);
            features_of(map, t, boundary, f);
            for (int i = 0; i < SPRY_HEAD_FEATURES; i++) {
                sums[h][i] += f[i] / sequences;
                squares[h][i] += f[i] * f[i] / sequences;
            }
        }
    }
    for (int h = 0; h < HEADS; h++) {
        double change = 0;

        for (int i = 0; i < SPRY_HEAD_FEATURES; i++) {
            double deviation = sqrt(fmax(squares[h][i] - sums[h][i] * sums[h][i], 0));

            points[h * SPRY_HEAD_FEATURES + i] = sums[h][i];
            change += i == SPRY_HEAD_DISTANCE || i == SPRY_HEAD_COLUMNS ? deviation / 2 : 0;
        }
        points[h * SPRY_HEAD_FEATURES + SPRY_HEAD_CHANGE] = change;
    }
    free(map);
}

static void cluster(double *points, cluster_choice *choice, int32_t *labels)
{
    int64_t size = cluster_standardise(points, HEADS, SPRY_HEAD_FEATURES);
    spry_error error;
    arena memory;

    arena_init(&memory, NULL, SIZE_MAX);
    assert_int_equal(cluster_principal(points, HEADS, &size, &memory, &error), SPRY_OK);
    assert_int_equal(cluster_choose(points, HEADS, size, 10, 0, 7, &memory, labels, choice, &error),
                     SPRY_OK);
    arena_fini(&memory);
}

static void test_planted(void **state)
{
    static const char *const names[KINDS] = {
        "diagonal (previous)", "diagonal (next)", "local band", "vertical", "uniform", "block",
        "heterogeneous"};
    static const double noises[] = {0, 0.2};
    double points[HEADS * SPRY_HEAD_FEATURES];
    int32_t labels[HEADS];
    int32_t planted[HEADS];
    cluster_choice choice;

    (void)state;
    for (int h = 0; h < HEADS; h++) {
        planted[h] = h / EACH;
    }
    for (int i = 0; i < 2; i++) {
        plant(noises[i], 12, 11, points);
        for (int h = 0; i == 0 && h < HEADS; h++) {
            assert_string_equal(heads_pattern(points + h * SPRY_HEAD_FEATURES), names[h / EACH]);
        }
        cluster(points, &choice, labels);
        assert_int_equal(choice.k, KINDS);
        assert_true(cluster_agreement(labels, planted, HEADS, 10) >= (i == 0 ? 1.0 : 0.95));
    }
    /* Nothing but noise has no structure. */
    plant(1.0, 8, 12, points);
    cluster(points, &choice, labels);
    assert_int_equal(choice.k, 1);
    assert_true(choice.tries[0].silhouette < 0.2);
}

static void test_planted_values(void **state)
{
    double points[HEADS * SPRY_HEAD_FEATURES];
    const double *f = points;

    (void)state;
    plant(0, 6, 13, points);
    assert_true(f[SPRY_HEAD_BAND_1] > 0.999 && f[SPRY_HEAD_ENTROPY] < 1e-9);
    f = points + PLANTED_BAND * EACH * SPRY_HEAD_FEATURES;
    near(f[SPRY_HEAD_BAND_4], 1);
    f = points + PLANTED_SINK * EACH * SPRY_HEAD_FEATURES;
    assert_true(f[SPRY_HEAD_COLUMNS] > 0.85 && f[SPRY_HEAD_COLUMNS] <= 0.95);
    assert_true(fabs(f[SPRY_HEAD_DISTANCE] - 0.5) < 0.02);
    f = points + PLANTED_UNIFORM * EACH * SPRY_HEAD_FEATURES;
    near(f[SPRY_HEAD_ENTROPY], 1);
    assert_true(fabs(f[SPRY_HEAD_DISTANCE] - 1.0 / 3) < 0.02);
    f = points + PLANTED_BLOCK * EACH * SPRY_HEAD_FEATURES;
    near(f[SPRY_HEAD_BLOCK], 1);
    f = points + PLANTED_CONTENT * EACH * SPRY_HEAD_FEATURES;
    assert_true(f[SPRY_HEAD_CONSISTENCY] < 0.5 && f[SPRY_HEAD_CHANGE] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_first_column),    cmocka_unit_test(test_previous),
        cmocka_unit_test(test_blocks),          cmocka_unit_test(test_causal),
        cmocka_unit_test(test_divergence),      cmocka_unit_test(test_invariances),
        cmocka_unit_test(test_worked_clusters), cmocka_unit_test(test_planted),
        cmocka_unit_test(test_planted_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
