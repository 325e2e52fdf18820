/* The co-processor: cycles that hands can count, bounds that must hold, what its parts do when they
 * shrink, and traces against the survivors that they come from. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "simulate/energon/row_buffer.h"
#include "simulate/energon/study.h"
#include "spry/random.h"
#include "spry/tensor_file.h"

enum { CASES = 40 };

static spry_random numbers = {.seed = 3};

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(spry_random_u32(&numbers) % (uint32_t)(high - low + 1));
}

static energon_machine machine(void)
{
    target *t = NULL;
    energon_machine m;
    spry_error error;

    assert_int_equal(target_load(NULL, "energon", &t, &error), SPRY_OK);
    assert_int_equal(energon_machine_read(t, &m, &error), SPRY_OK);
    assert_int_equal(target_finish(t, &error), SPRY_OK);
    target_destroy(t);
    return m;
}

/* A machine whose memory is never waited for. */
static energon_machine fast_memory(void)
{
    energon_machine m = machine();

    m.memory_bytes = 1e30;
    m.memory_latency = 0;
    return m;
}

static energon_trace drawn(int64_t heads, int64_t queries, int64_t keys, int64_t size, double keep,
                           double locality)
{
    energon_trace t;
    spry_error error;

    energon_trace_init(&t);
    assert_int_equal(energon_trace_draw(&t, heads, queries, keys, size, keep, locality,
                                        spry_random_u32(&numbers), &error),
                     SPRY_OK);
    return t;
}

static energon_cost run(const energon_machine *m, const energon_trace *t, bool is_dense)
{
    energon_cost cost = {0};
    spry_error error;

    assert_int_equal(energon_run(m, t, is_dense, &cost, &error), SPRY_OK);
    return cost;
}

/* ---- by hand ---- */

/* Four queries of four keys, of which two survive the first round and one the second: choosing
 * takes 1 + 1 cycles, attending 1 + 1 + 1, and the second is never waited for again: 2 + 4 x 3. */
static void four_queries_by_hand(void **state)
{
    const uint8_t fate[] = {3, 2, 1, 1, 1, 3, 2, 1, 1, 1, 3, 2, 2, 1, 1, 3};
    energon_machine m = fast_memory();
    energon_trace t;
    energon_cost cost;
    spry_error error;

    (void)state;
    m.filter_lanes = 8;
    m.filter_width = 64;
    m.drain = 0;
    m.lanes = 1;
    m.softmax_latency = 0;
    m.is_pipelined = false;
    energon_trace_init(&t);
    assert_int_equal(energon_trace_add(&t, fate, 4, 4, 64, 0, 2, &error), SPRY_OK);
    assert_int_equal(t.heads[0].scored[0], 4);
    assert_int_equal(t.heads[0].scored[1], 2);
    assert_int_equal(t.heads[0].begin[4], 4);
    cost = run(&m, &t, false);
    assert_int_equal(cost.cycles, 14);
    assert_int_equal(cost.choosing, 8);
    assert_int_equal(cost.attending, 12);
    assert_int_equal(cost.low_products, 4 * (4 + 2) * 64);
    assert_int_equal(cost.products, 4 * 2 * 64);
    energon_trace_fini(&t);
}

/* Without a filter, and a memory that is never waited for: queries follow each other without a
 * gap. */
static void dense_attention_in_closed_form(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        energon_machine m = fast_memory();
        int64_t queries = between(1, 40);
        int64_t keys = between(1, 90);
        energon_trace t = drawn(1, queries, keys, 64, 1.0, 0.0);
        energon_step step = {.scored = keys, .weighed = keys};
        uint64_t phases[3];
        uint64_t all;
        energon_cost cost;

        m.is_pipelined = false;
        energon_phases(&m, &step, 64, phases);
        all = phases[0] + phases[1] + phases[2];
        cost = run(&m, &t, true);
        assert_int_equal(cost.cycles, (uint64_t)queries * all);
        assert_true(cost.bytes == (double)(keys * 64 * 4));
        energon_trace_fini(&t);
    }
}

/* ---- bounds ---- */

static void no_engine_does_more_than_it_can(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        energon_machine m = machine();
        int64_t size = 16 * between(1, 8);
        energon_trace t = drawn(between(1, 4), between(1, 60), between(1, 100), size,
                                (double)between(0, 10) / 10.0, (double)between(0, 4) / 4.0);
        energon_cost cost = run(&m, &t, i % 2 == 0);
        energon_cost again;

        m.is_pipelined = i % 3 != 0;
        cost = run(&m, &t, i % 2 == 0);
        assert_true(cost.cycles >= cost.choosing);
        assert_true(cost.cycles >= cost.attending);
        assert_true((double)cost.cycles + 1.0 >= cost.memory);
        assert_true(fabs(cost.bytes / m.memory_bytes - cost.memory) < 1e-6 * (cost.memory + 1.0));
        m.filter_lanes *= 2;
        again = run(&m, &t, i % 2 == 0);
        assert_true(again.cycles <= cost.cycles);
        m.memory_bytes *= 4;
        assert_true(run(&m, &t, i % 2 == 0).cycles <= again.cycles);
        energon_trace_fini(&t);
    }
}

/* With room for all, each row comes once: key rows without the four bits that are there already. */
static void rows_come_once(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        energon_machine m = machine();
        int64_t keys = between(1, 80);
        energon_trace t = drawn(1, between(1, 50), keys, 64, 0.3, 0.5);
        const energon_head *h = &t.heads[0];
        uint8_t *wanted = calloc((size_t)keys, 1);
        uint64_t distinct = 0;
        energon_cost cost = run(&m, &t, false);

        assert_non_null(wanted);
        for (int64_t k = 0; k < h->begin[h->queries]; k++) {
            distinct += wanted[h->kept[k]] == 0;
            wanted[h->kept[k]] = 1;
        }
        assert_int_equal(cost.key_rows, distinct);
        assert_int_equal(cost.value_rows, distinct);
        assert_true(cost.bytes == (double)(distinct * (96 + 128) + (uint64_t)keys * 32));
        free(wanted);
        energon_trace_fini(&t);
    }
}

/* Rows that are fetched for a query, on average, when each chooses for itself. */
static void independent_choices_follow_the_formula(void **state)
{
    enum { KEYS = 384, QUERIES = 4 };
    energon_machine m = machine();
    energon_trace t = drawn(60, QUERIES, KEYS, 64, 0.25, 0.0);
    energon_cost cost = run(&m, &t, false);
    double expected = KEYS * (1.0 - pow(0.75, QUERIES)) / QUERIES;

    (void)state;
    assert_true(fabs((double)cost.key_rows / (60.0 * QUERIES) / expected - 1.0) < 0.01);
    energon_trace_fini(&t);
}

/* ---- what shrinks, stalls ---- */

static void small_parts_stall(void **state)
{
    energon_machine m = machine();
    energon_machine small;
    energon_trace t = drawn(4, 200, 384, 64, 0.2, 0.3);
    energon_cost whole = run(&m, &t, false);
    energon_cost cost;

    (void)state;
    small = m;
    small.memory_bytes /= 64.0;
    cost = run(&small, &t, false);
    assert_true(cost.waits_for_rows > 2 * whole.waits_for_rows && cost.cycles > whole.cycles);
    small = m;
    small.key_bytes = 64 * 2 * 64;
    small.value_bytes = 64 * 2 * 64;
    cost = run(&small, &t, false);
    assert_true(cost.key_rows > 2 * whole.key_rows && cost.bytes > whole.bytes);
    small = m;
    small.fifo = 1;
    cost = run(&small, &t, false);
    assert_true(cost.waits_for_room > whole.waits_for_room && cost.cycles > whole.cycles);
    small = m;
    small.select_overlaps = false;
    assert_true(run(&small, &t, false).choosing > whole.choosing);
    energon_trace_fini(&t);
}

/* The fewer keys survive, the faster, until choosing alone decides. */
static void speed_grows_and_saturates(void **state)
{
    static const double keeps[] = {1.0, 0.5, 0.23, 0.1, 0.03};
    energon_machine m = machine();
    double before = 0.0;
    double last = 0.0;

    (void)state;
    for (size_t i = 0; i < sizeof keeps / sizeof *keeps; i++) {
        energon_trace t = drawn(8, 384, 384, 64, keeps[i], 0.5);
        double speed = (double)run(&m, &t, true).cycles / (double)run(&m, &t, false).cycles;

        assert_true(speed >= before * 0.999);
        last = speed / before;
        before = speed;
        energon_trace_fini(&t);
    }
    assert_true(before > 2.0 && last < 1.2);
}

/* Other survivors in other places: other cycles, though there are as many. */
static void places_count(void **state)
{
    energon_machine m = machine();
    energon_trace same = drawn(1, 100, 384, 64, 0.2, 1.0);
    energon_trace other;
    uint64_t cycles;
    spry_error error;
    uint8_t *fate = calloc(100 * 384, 1);

    (void)state;
    assert_non_null(fate);
    m.memory_bytes /= 16.0;
    cycles = run(&m, &same, false).cycles;
    for (int64_t q = 0; q < 100; q++) {
        const energon_head *h = &same.heads[0];

        memset(fate + q * 384, 1, 384);
        for (int64_t i = h->begin[q]; i < h->begin[q + 1]; i++) {
            fate[q * 384 + (h->kept[i] + 7 * q) % 384] = 3;
        }
    }
    energon_trace_init(&other);
    assert_int_equal(energon_trace_add(&other, fate, 100, 384, 64, 0, 2, &error), SPRY_OK);
    assert_true(run(&m, &other, false).cycles > cycles);
    energon_trace_fini(&other);
    energon_trace_fini(&same);
    free(fate);
}

static void codes_must_fit(void **state)
{
    energon_machine m = machine();
    energon_trace t = drawn(1, 1, 600, 64, 0.2, 0.0);
    energon_cost cost = {0};
    spry_error error;

    (void)state;
    assert_int_equal(energon_run(&m, &t, false, &cost, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.where, "coprocessor.codes"));
    energon_trace_fini(&t);
}

/* ---- the buffer ---- */

static void the_oldest_row_goes(void **state)
{
    enum { ROWS = 20, ROOM = 7 };
    int64_t last_use[ROWS];
    row_buffer b;
    arena memory;
    spry_error error;

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    assert_int_equal(row_buffer_make(&b, &memory, ROWS, ROOM, &error), SPRY_OK);
    for (int i = 0; i < ROWS; i++) {
        last_use[i] = -1;
    }
    for (int64_t use = 0; use < 2000; use++) {
        int32_t row = (int32_t)between(0, ROWS - 1);
        int newer = 0;

        for (int i = 0; i < ROWS; i++) {
            newer += last_use[i] > last_use[row];
        }
        assert_int_equal(row_buffer_use(&b, row), last_use[row] < 0 || newer >= ROOM);
        last_use[row] = use;
    }
    arena_fini(&memory);
}

/* ---- rivals ---- */

/* One head whose queries look for one key each. */
static void rivals_find_what_stands_out(void **state)
{
    enum { KEYS = 64, SIZE = 16 };
    static float q[KEYS * SIZE];
    static float k[KEYS * SIZE];
    static float weights[KEYS * KEYS];
    static uint8_t visible[KEYS * KEYS];
    energon_machine m = machine();
    energon_study s = {.options = energon_study_options_default(&m), .layer_count = 2};
    energon_operands o = {.queries = KEYS,
                          .keys = KEYS,
                          .size = SIZE,
                          .scale = 1.0F,
                          .q = q,
                          .k = k,
                          .v = k,
                          .visible = visible,
                          .weights = weights,
                          .dense = k,
                          .is_new = true};
    spry_error error;

    (void)state;
    for (int i = 0; i < KEYS * SIZE; i++) {
        k[i] = (float)between(-100, 100) / 25.0F;
        q[i] = k[i];
    }
    memset(visible, 1, sizeof visible);
    for (int i = 0; i < KEYS; i++) {
        weights[i * KEYS + i] = 1.0F;
    }
    energon_trace_init(&s.trace);
    for (int i = 0; i < ENERGON_WAYS; i++) {
        energon_pipeline_begin(&s.pipelines[i], &m, s.begun[i], &s.costs[i]);
    }
    assert_int_equal(energon_a3_head(&s, &o, &error), SPRY_OK);
    assert_int_equal(energon_spatten_head(&s, &o, &error), SPRY_OK);
    assert_true(s.quality[ENERGON_A3].mass > 0.95 * KEYS);
    assert_true(s.quality[ENERGON_A3].cosine > 0.95 * KEYS);
    assert_true(s.quality[ENERGON_SPATTEN].mass > 0.999 * KEYS);
    assert_int_equal(s.costs[ENERGON_A3].choosing, KEYS * KEYS / 2);
    assert_int_equal(s.costs[ENERGON_SPATTEN].kept, KEYS * KEYS / 2);
    assert_true(s.costs[ENERGON_A3].kept < KEYS * KEYS / 4);
    s.layers = 1;
    energon_spatten_prune(&s); /* the last of two layers: half of the tokens are left */
    assert_int_equal(energon_spatten_head(&s, &o, &error), SPRY_OK);
    assert_int_equal(s.costs[ENERGON_SPATTEN].kept, KEYS * KEYS / 2 + KEYS / 2 * KEYS / 4);
    energon_trace_fini(&s.trace);
}

/* ---- files ---- */

typedef struct file_arrays {
    int64_t form[7];
    int32_t visible[2];
    int64_t offsets[3];
    int32_t keys[4];
    uint8_t rounds[4];
} file_arrays;

static void write_file(const char *path, const file_arrays *a)
{
    const char *names[] = {"000.form", "000.visible", "000.offsets", "000.keys", "000.rounds"};
    const spry_dtype types[] = {SPRY_DTYPE_I64, SPRY_DTYPE_I32, SPRY_DTYPE_I64, SPRY_DTYPE_I32,
                                SPRY_DTYPE_U8};
    const int64_t counts[] = {7, 2, 3, 4, 4};
    const void *data[] = {a->form, a->visible, a->offsets, a->keys, a->rounds};
    spry_tensor *tensors[5];
    const spry_tensor *list[5];
    spry_error error;

    for (int i = 0; i < 5; i++) {
        assert_int_equal(spry_tensor_create(NULL, types[i], 1, &counts[i], &tensors[i], &error),
                         SPRY_OK);
        memcpy(spry_tensor_data(tensors[i]), data[i], spry_tensor_bytes(tensors[i]));
        list[i] = tensors[i];
    }
    assert_int_equal(spry_archive_save(path, 5, names, list, &error), SPRY_OK);
    for (int i = 0; i < 5; i++) {
        spry_tensor_destroy(tensors[i]);
    }
}

static spry_status load(const file_arrays *a, energon_trace *t)
{
    char path[64];
    spry_error error;
    spry_status status;

    (void)snprintf(path, sizeof path, "survivors-%d.npz", (int)getpid());
    write_file(path, a);
    energon_trace_init(t);
    status = energon_trace_load(t, path, &error);
    (void)unlink(path);
    return status;
}

static void files_are_read_and_refused(void **state)
{
    /* Two queries of three keys, two rounds. */
    const file_arrays good = {.form = {1, 1, 1, 2, 3, 64, 2},
                              .visible = {3, 3},
                              .offsets = {0, 2, 4},
                              .keys = {0, 2, 1, 2},
                              .rounds = {2, 1, 1, 2}};
    file_arrays bad;
    energon_trace t;

    (void)state;
    assert_int_equal(load(&good, &t), SPRY_OK);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.heads[0].scored[0], 3);
    assert_int_equal(t.heads[0].scored[1], 2);
    assert_int_equal(t.heads[0].begin[2], 2);
    assert_int_equal(t.heads[0].kept[0], 0);
    assert_int_equal(t.heads[0].kept[1], 2);
    energon_trace_fini(&t);
    for (int i = 0; i < 8; i++) {
        bad = good;
        if (i == 0) {
            bad.form[3] = 3;
        } else if (i == 1) {
            bad.form[6] = 9;
        } else if (i == 2) {
            bad.offsets[1] = 5;
        } else if (i == 3) {
            bad.offsets[2] = 3;
        } else if (i == 4) {
            bad.keys[3] = 3;
        } else if (i == 5) {
            bad.keys[1] = 0;
        } else if (i == 6) {
            bad.rounds[0] = 3;
        } else {
            bad.visible[0] = 4;
        }
        assert_int_equal(load(&bad, &t), SPRY_BAD_INPUT);
        energon_trace_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_queries_by_hand),
        cmocka_unit_test(dense_attention_in_closed_form),
        cmocka_unit_test(no_engine_does_more_than_it_can),
        cmocka_unit_test(rows_come_once),
        cmocka_unit_test(independent_choices_follow_the_formula),
        cmocka_unit_test(small_parts_stall),
        cmocka_unit_test(speed_grows_and_saturates),
        cmocka_unit_test(places_count),
        cmocka_unit_test(codes_must_fit),
        cmocka_unit_test(the_oldest_row_goes),
        cmocka_unit_test(rivals_find_what_stands_out),
        cmocka_unit_test(files_are_read_and_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
