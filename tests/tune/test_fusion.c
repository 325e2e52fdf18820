/* Blocks of layers: rows, which runs are blocks, the pass of DLFusion, the best partition against
 * trying all, and how many cores suit a layer. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/random.h"
#include "tune/fusion/partition.h"
#include "tune/fusion/scaling.h"

enum { MOST = 64 };

/* A convolution of `kernel` taps a side that reads layer `from`. */
static spry_layer conv(int32_t from, int64_t height, int64_t kernel, int64_t stride, int64_t pad)
{
    int64_t made = (height + 2 * pad - kernel) / stride + 1;

    return (spry_layer){.name = "layer",
                        .type = "Conv",
                        .inputs = {from, -1, -1, -1},
                        .input_count = 1,
                        .in = {16, height, height},
                        .out = {16, made, made},
                        .kernel = {kernel, kernel},
                        .stride = {stride, stride},
                        .pad = {pad, pad},
                        .dilation = {1, 1},
                        .groups = 1,
                        .macs = made * made * 16 * 16 * kernel * kernel,
                        .weight_bytes = 16 * 16 * kernel * kernel * 4,
                        .element_bytes = 4,
                        .readers = 1,
                        .can_stream = true};
}

static void chain(spry_layer *layers, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        layers[i] = conv(i - 1, 8, 3, 1, 1);
    }
    layers[count - 1].is_output = true;
}

static void rows_are(fusion_rows r, int64_t from, int64_t to)
{
    assert_int_equal(r.from, from);
    assert_int_equal(r.to, to);
}

static void rows(void **state)
{
    spry_layer layers[2];
    fusion_network n = {layers, 2, false};
    fusion_rows need[2];

    (void)state;
    chain(layers, 2);
    rows_are(fusion_rows_needed(&n, 0, 1, (fusion_rows){4, 6}, need), 2, 8);
    rows_are(need[1], 4, 6);
    rows_are(need[0], 3, 7);
    rows_are(fusion_rows_read(&layers[1], (fusion_rows){0, 2}), -1, 3); /* one row of padding */
    rows_are(fusion_rows_needed(&n, 0, 1, (fusion_rows){0, 2}, need), 0, 4);
    rows_are(need[0], 0, 3);
    /* A stride of two behind a convolution of single pixels. */
    layers[0] = conv(-1, 16, 1, 1, 0);
    layers[1] = conv(0, 16, 3, 2, 1);
    rows_are(fusion_rows_needed(&n, 0, 1, (fusion_rows){1, 3}, need), 1, 6);
    /* Nothing is wanted, so nothing is read. */
    rows_are(fusion_rows_needed(&n, 0, 1, (fusion_rows){3, 3}, need), 0, 0);
    for (int64_t height = 0; height < 20; height++) {
        for (int64_t parts = 1; parts < 7; parts++) {
            int64_t end = 0;

            for (int64_t i = 0; i < parts; i++) {
                fusion_rows part = fusion_rows_part(height, parts, i);

                assert_int_equal(part.from, end);
                assert_in_range(part.to - part.from, height / parts, (height + parts - 1) / parts);
                end = part.to;
            }
            assert_int_equal(end, height);
        }
    }
}

/* Every row that a layer computes is among those asked of the layers before, at any depth, whatever
 * kernels, strides and dilations: by following single rows back. */
static void rows_of_chains(void **state)
{
    spry_random random = {.seed = 7};

    (void)state;
    for (int turn = 0; turn < 300; turn++) {
        spry_layer layers[5];
        fusion_network n = {layers, 5, false};
        fusion_rows need[5];
        int64_t height = 20 + (int64_t)(spry_random_u32(&random) % 30);
        fusion_rows made;

        for (int32_t i = 0; i < 5; i++) {
            static const int64_t kernels[] = {1, 3, 5};
            int64_t kernel = kernels[spry_random_u32(&random) % 3];
            int64_t dilation = 1 + (int64_t)(spry_random_u32(&random) % 2);

            layers[i] =
                conv(i - 1, height, kernel, 1 + (int64_t)(spry_random_u32(&random) % 8 == 0),
                     kernel / 2 * dilation);
            layers[i].dilation[0] = dilation;
            layers[i].out[1] = (height + 2 * layers[i].pad[0] - dilation * (kernel - 1) - 1) /
                                   layers[i].stride[0] +
                               1;
            height = layers[i].out[1];
        }
        made.from = (int64_t)(spry_random_u32(&random) % (uint64_t)height);
        made.to =
            made.from + 1 + (int64_t)(spry_random_u32(&random) % (uint64_t)(height - made.from));
        (void)fusion_rows_needed(&n, 0, 4, made, need);
        for (int32_t i = 4; i > 0; i--) {
            const spry_layer *l = &layers[i];
            int64_t least = l->in[1];
            int64_t most = -1;

            for (int64_t y = need[i].from; y < need[i].to; y++) {
                for (int64_t k = 0; k < l->kernel[0]; k++) {
                    int64_t row = y * l->stride[0] - l->pad[0] + k * l->dilation[0];

                    if (row >= 0 && row < l->in[1]) {
                        least = row < least ? row : least;
                        most = row > most ? row : most;
                    }
                }
            }
            assert_true(need[i - 1].from <= least && need[i - 1].to >= most + 1);
            assert_true(l->dilation[0] > 1 || need[i - 1].to == most + 1); /* taps may skip it */
        }
    }
}

/* 0: entry, 1 and 2: the branch, 3: its shortcut, 4: the sum, 5: behind it */
static void residual(spry_layer *layers)
{
    chain(layers, 6);
    layers[0].readers = 2;
    layers[3] = conv(0, 8, 1, 1, 0);
    layers[4] = conv(2, 8, 1, 1, 0);
    layers[4].type = "Add";
    layers[4].inputs[1] = 3;
    layers[4].input_count = 2;
}

static void blocks(void **state)
{
    spry_layer layers[6];
    fusion_network n = {layers, 6, false};

    (void)state;
    residual(layers);
    assert_true(fusion_is_block(&n, 1, 4)); /* the region between fork and join */
    assert_true(fusion_is_block(&n, 0, 4));
    assert_true(fusion_is_block(&n, 0, 5));
    assert_true(fusion_is_block(&n, 1, 2));
    assert_false(fusion_is_block(&n, 0, 1)); /* the entry is also read by the shortcut */
    assert_false(fusion_is_block(&n, 1, 3)); /* the branch's end escapes */
    assert_false(fusion_is_block(&n, 3, 4)); /* an addend from outside */
    n.outside_addends = true;
    assert_false(fusion_is_block(&n, 3, 4)); /* but what it convolves must be inside */
    assert_true(fusion_is_block(&n, 4, 5));
    layers[4].inputs[0] = 3;
    layers[4].inputs[1] = 2;
    assert_true(fusion_is_block(&n, 3, 4));
    n.outside_addends = false;
    residual(layers);
    assert_int_equal(fusion_next_end(&n, 0, 0, 12), 4);
    assert_int_equal(fusion_next_end(&n, 0, 0, 4), -1); /* five layers are too many */
    assert_int_equal(fusion_next_end(&n, 0, 4, 12), 5);
    assert_int_equal(fusion_next_end(&n, 0, 5, 12), -1);
    layers[2].can_stream = false; /* an unknown operator is a barrier */
    assert_false(fusion_is_block(&n, 1, 4));
    assert_true(fusion_is_block(&n, 2, 2));
    assert_int_equal(fusion_next_end(&n, 1, 1, 12), -1);
    residual(layers);
    layers[1].is_output = true;
    assert_false(fusion_is_block(&n, 1, 2));
    assert_false(fusion_is_block(&n, -1, 2));
    assert_false(fusion_is_block(&n, 3, 6));
    assert_false(fusion_is_block(&n, 3, 2));
}

/* ---- partitions ---- */

/* A cost for each run and team, drawn. */
typedef struct drawn {
    double seconds[16][16][3];
} drawn;

static double drawn_cost(const void *context, int32_t first, int32_t last, int32_t team)
{
    const drawn *d = context;

    return d->seconds[first][last][team / 2];
}

static double no_cost(const void *context, int32_t first, int32_t last, int32_t team)
{
    (void)context;
    return last - first + team;
}

static void pass_is(double critical, const int32_t *ends, int32_t count)
{
    static const int64_t operations[] = {1, 1, 1, 1, 4, 4};
    static const int32_t wanted[] = {2, 2, 2, 2, 2, 2};
    spry_layer layers[6];
    partition_problem p = {.network = {layers, 6, false},
                           .teams = {1, 2, 4},
                           .team_count = 3,
                           .longest = 12,
                           .cost = no_cost,
                           .wanted = wanted,
                           .critical = critical * 1e9};
    spry_error error = {0};
    partition r;
    arena memory;

    chain(layers, 6);
    for (int i = 0; i < 6; i++) {
        layers[i].macs = operations[i] * 500000000;
    }
    arena_init(&memory, NULL, SIZE_MAX);
    assert_int_equal(partition_by(&p, PARTITION_S6, &memory, &r, &error), SPRY_OK);
    assert_int_equal(r.count, count);
    for (int32_t i = 0; i < count; i++) {
        assert_int_equal(r.blocks[i].last, ends[i]);
        assert_int_equal(r.blocks[i].team, 2);
    }
    arena_fini(&memory);
}

static void the_pass(void **state)
{
    (void)state;
    pass_is(1, (const int32_t[]){1, 3, 4, 5}, 4);
    pass_is(2, (const int32_t[]){3, 4, 5}, 3);
    pass_is(100, (const int32_t[]){5}, 1);
    pass_is(0, (const int32_t[]){0, 1, 2, 3, 4, 5}, 6);
}

static bool short_fits(const void *context, int32_t first, int32_t last, int32_t team)
{
    (void)context;
    (void)team;
    return last - first < 2;
}

/* A block that would not fit is cut; layers that cannot stream stand alone; no layers, no
 * blocks. */
static void limits(void **state)
{
    spry_layer layers[6];
    static const int32_t wanted[] = {1, 1, 1, 1, 1, 1};
    partition_problem p = {.network = {layers, 6, false},
                           .teams = {1},
                           .team_count = 1,
                           .longest = 12,
                           .cost = no_cost,
                           .fits = short_fits,
                           .wanted = wanted,
                           .critical = 1e18,
                           .fixed_team = 1,
                           .fixed_length = 4};
    spry_error error = {0};
    partition r;
    arena memory;

    (void)state;
    chain(layers, 6);
    arena_init(&memory, NULL, SIZE_MAX);
    assert_int_equal(partition_by(&p, PARTITION_S6, &memory, &r, &error), SPRY_OK);
    assert_int_equal(r.count, 3);
    layers[3].can_stream = false;
    assert_int_equal(partition_by(&p, PARTITION_S4, &memory, &r, &error), SPRY_OK);
    assert_int_equal(r.count, 3);
    assert_int_equal(r.blocks[0].last, 2);
    assert_int_equal(r.blocks[1].last, 3);
    for (int s = 0; s < PARTITION_STRATEGIES; s++) {
        p.network.count = 6;
        assert_int_equal(partition_by(&p, (partition_strategy)s, &memory, &r, &error), SPRY_OK);
        for (int32_t i = 0; i < r.count; i++) {
            assert_int_equal(r.blocks[i].team, 1);
            assert_int_equal(r.blocks[i].first, i == 0 ? 0 : r.blocks[i - 1].last + 1);
        }
        assert_int_equal(r.blocks[r.count - 1].last, 5);
        p.network.count = 0;
        assert_int_equal(partition_by(&p, (partition_strategy)s, &memory, &r, &error), SPRY_OK);
        assert_int_equal(r.count, 0);
        assert_true(r.seconds == 0);
    }
    p.network.count = 20;
    assert_int_equal(partition_by_trying(&p, &memory, &r, &error), SPRY_LIMIT);
    arena_fini(&memory);
}

/* The search against trying all partitions, of chains and of residual networks, with random costs;
 * and never worse than the pass, which is allowed to be worse than no fusion. */
static void the_best(void **state)
{
    spry_random random = {.seed = 3};
    drawn *d = calloc(1, sizeof *d);

    (void)state;
    assert_non_null(d);
    for (int turn = 0; turn < 60; turn++) {
        spry_layer layers[12];
        int32_t wanted[12];
        int32_t count = 1 + (int32_t)(spry_random_u32(&random) % 12);
        partition_problem p = {.network = {layers, count, false},
                               .teams = {1, 2, 4},
                               .team_count = 3,
                               .longest = 1 + (int32_t)(spry_random_u32(&random) % 12),
                               .cost = drawn_cost,
                               .context = d,
                               .wanted = wanted,
                               .critical = 1e5};
        partition best;
        partition tried;
        partition other;
        spry_error error = {0};
        arena memory;

        chain(layers, count);
        if (turn % 2 == 1 && count >= 6) {
            residual(layers);
        }
        for (int32_t i = 0; i < 12; i++) {
            wanted[i] = 1 << spry_random_u32(&random) % 3;
            for (int32_t k = i; k < 12; k++) {
                for (int t = 0; t < 3; t++) {
                    d->seconds[i][k][t] =
                        (k - i + 1.2) * (1 + (double)(spry_random_u32(&random) % 1000) / 1000);
                }
            }
        }
        arena_init(&memory, NULL, SIZE_MAX);
        assert_int_equal(partition_by(&p, PARTITION_S7, &memory, &best, &error), SPRY_OK);
        assert_int_equal(partition_by_trying(&p, &memory, &tried, &error), SPRY_OK);
        assert_true(fabs(best.seconds - tried.seconds) < 1e-9);
        assert_int_equal(best.blocks[best.count - 1].last, count - 1);
        p.fixed_team = 2;
        p.fixed_length = p.longest;
        for (int s = 0; s < PARTITION_S7; s++) {
            if (s != PARTITION_S4) { /* whose blocks may be longer */
                assert_int_equal(partition_by(&p, (partition_strategy)s, &memory, &other, &error),
                                 SPRY_OK);
                assert_true(best.seconds <= other.seconds + 1e-9);
            }
        }
        assert_int_equal(partition_alone(&p, &memory, &other, &error), SPRY_OK);
        assert_true(best.seconds <= other.seconds + 1e-9);
        arena_fini(&memory);
    }
    free(d);
}

/* ---- cores ---- */

static void no_memory(void **state)
{
    spry_layer layers[6];
    partition_problem p = {.network = {layers, 6, false},
                           .teams = {1},
                           .team_count = 1,
                           .longest = 12,
                           .cost = no_cost};
    spry_error error = {0};
    partition r;
    arena memory;

    (void)state;
    chain(layers, 6);
    arena_init(&memory, NULL, 8);
    assert_int_equal(partition_by(&p, PARTITION_S7, &memory, &r, &error), SPRY_LIMIT);
    assert_int_equal(partition_alone(&p, &memory, &r, &error), SPRY_LIMIT);
    arena_fini(&memory);
}

static void teams_round(void **state)
{
    const partition_problem p = {.teams = {1, 2, 4, 8}, .team_count = 4};

    (void)state;
    assert_int_equal(partition_round_team(&p, 0.1), 1);
    assert_int_equal(partition_round_team(&p, 1.3), 1);
    assert_int_equal(partition_round_team(&p, 1.5), 2);
    assert_int_equal(partition_round_team(&p, 5), 4);
    assert_int_equal(partition_round_team(&p, 6), 8);
    assert_int_equal(partition_round_team(&p, 100), 8);
}

/* Times whose best team is what the formula says: the fit gets the formula back. */
static void the_line(void **state)
{
    static const double alpha = 0.316;
    static const double beta = 0.659;
    static const double gamma = -3.2;
    static scaling_point points[SCALING_POINTS_MOST];
    static scaling_layer layers[SCALING_POINTS_MOST];
    scaling s = {.team_count = 11};
    int32_t count = scaling_layers(4e9, layers);

    (void)state;
    assert_in_range(count, 100, 140);
    for (int k = 0; k < s.team_count; k++) {
        s.teams[k] = 1 << k;
    }
    for (int32_t i = 0; i < count; i++) {
        double wanted;

        points[i].operations = scaling_layer_operations(&layers[i]);
        points[i].channels = (double)layers[i].outputs;
        assert_true(points[i].operations <= 4e9 && points[i].operations > 0);
        wanted = alpha * log10(points[i].channels) + beta * log10(points[i].operations) + gamma;
        for (int k = 0; k < s.team_count; k++) {
            points[i].seconds[k] = 1 + fabs(k - wanted);
        }
    }
    scaling_fit(&s, points, count);
    assert_true(s.accuracy > 0.85 && s.r_squared > 0.8);
    assert_false(s.by_neighbour);
    for (int32_t i = 0; i < count; i++) {
        assert_in_range(scaling_team(&s, points[i].operations, points[i].channels), 1, 1024);
    }
    assert_in_range(scaling_team(&s, 0, 0), 1, 1024);
}

/* With teams as fine as the formula the coefficients come back within 5 %. */
static void the_coefficients(void **state)
{
    static scaling_point points[SCALING_POINTS_MOST];
    scaling s = {.team_count = 16};
    spry_random random = {.seed = 11};

    (void)state;
    for (int k = 0; k < s.team_count; k++) {
        s.teams[k] = 1 << k;
    }
    for (int32_t i = 0; i < SCALING_POINTS_MOST; i++) {
        double wanted;

        points[i].operations = pow(10, 5 + 10 * (double)(spry_random_u32(&random) % 1000) / 1000);
        points[i].channels = pow(10, 1 + 12 * (double)(spry_random_u32(&random) % 1000) / 1000);
        wanted = 0.316 * log10(points[i].channels) + 0.659 * log10(points[i].operations);
        for (int k = 0; k < s.team_count; k++) {
            points[i].seconds[k] = 1 + fabs(k - wanted);
        }
    }
    scaling_fit(&s, points, SCALING_POINTS_MOST);
    assert_true(fabs(s.alpha / 0.316 - 1) < 0.05);
    assert_true(fabs(s.beta / 0.659 - 1) < 0.05);
}

/* Where the best team follows no line, the nearest layer decides; and what one team gives. */
static void the_neighbour(void **state)
{
    static scaling_point points[40];
    scaling s = {.teams = {1, 2, 4}, .team_count = 3};

    (void)state;
    for (int i = 0; i < 40; i++) {
        int best = i % 3;

        points[i] = (scaling_point){.operations = pow(10, 6 + 0.05 * i), .channels = 64};
        for (int k = 0; k < 3; k++) {
            points[i].seconds[k] = points[i].operations / 1e9 * (k == best ? 1 : 2);
        }
    }
    scaling_fit(&s, points, 40);
    assert_true(s.by_neighbour);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(scaling_team(&s, 1.01 * points[i].operations, 64), 1 << i % 3);
    }
    s = (scaling){.teams = {1}, .team_count = 1};
    scaling_fit(&s, points, 40);
    assert_int_equal(scaling_team(&s, 1e8, 64), 1);
    assert_true(s.accuracy == 1 && !s.by_neighbour);
    s = (scaling){.teams = {1, 2}, .team_count = 2};
    scaling_fit(&s, points, 0);
    assert_int_equal(scaling_team(&s, 1e8, 64), 1);
}

/* Speed grows with operations as op / (op + h): nine tenths of it is at 9 h. */
static void the_critical(void **state)
{
    static scaling_point points[100];
    scaling s = {.teams = {1}, .team_count = 1};

    (void)state;
    for (int i = 0; i < 100; i++) {
        points[i].operations = pow(10, 5 + 0.05 * i);
        points[i].channels = 8;
        points[i].seconds[0] = (points[i].operations + 1e6) / 1e9;
    }
    scaling_fit(&s, points, 100);
    assert_true(s.critical > 0.8 * 9e6 && s.critical < 1.2 * 9e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),          cmocka_unit_test(rows_of_chains),
        cmocka_unit_test(blocks),        cmocka_unit_test(the_pass),
        cmocka_unit_test(limits),        cmocka_unit_test(the_best),
        cmocka_unit_test(no_memory),     cmocka_unit_test(teams_round),
        cmocka_unit_test(the_line),      cmocka_unit_test(the_coefficients),
        cmocka_unit_test(the_neighbour), cmocka_unit_test(the_critical),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
