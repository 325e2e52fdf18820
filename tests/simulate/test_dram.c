/* The memory: the figures of DRAMsim3 (commit 29817593), a checker of constraints that knows
 * nothing of the scheduler, and what follows from the constraints by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/dram/dram.h"
#include "simulate/dram/dram_target.h"
#include "spry/random.h"

enum { LOG_MOST = 1 << 20, CYCLES = 50000 };

static dram_options options_of(const char *name)
{
    dram_options options;
    target *t = NULL;
    spry_error error = {0};

    assert_int_equal(target_load(NULL, name, &t, &error), SPRY_OK);
    if (dram_options_read(t, &options, &error) != SPRY_OK || target_finish(t, &error) != SPRY_OK) {
        fail_msg("%s: %s: %s", name, error.where, error.what);
    }
    target_destroy(t);
    return options;
}

typedef struct recorder {
    dram_issue *log; /* LOG_MOST; NULL: none is kept */
    size_t count;
    uint64_t *created; /* by tag */
    uint64_t latency;
    uint64_t reads;
    uint64_t writes;
} recorder;

static void record_issue(void *context, const dram_issue *issue)
{
    recorder *r = context;

    if (r->log != NULL) {
        assert_true(r->count < LOG_MOST);
        r->log[r->count++] = *issue;
    }
}

static void record_done(void *context, uint64_t tag, bool is_write, uint64_t cycle)
{
    recorder *r = context;

    r->reads += !is_write;
    r->writes += is_write;
    if (!is_write) {
        r->latency += cycle - r->created[tag];
    }
}

/* The rules, each looked up in the log by brute force. */

static bool same_bank(const dram_issue *a, const dram_issue *b)
{
    return a->channel == b->channel && a->rank == b->rank && a->group == b->group &&
           a->bank == b->bank;
}

/* How near two banks are. */
enum relation { OTHER_RANK, SAME_RANK, SAME_GROUP, SAME_BANK, RELATIONS };

static enum relation relation_of(const dram_issue *a, const dram_issue *b)
{
    return a->rank != b->rank     ? OTHER_RANK
           : a->group != b->group ? SAME_RANK
           : a->bank != b->bank   ? SAME_GROUP
                                  : SAME_BANK;
}

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

/* Cycles that must lie between a command and a later one, by how near their banks are. */
typedef struct gap_table {
    int cycles[DRAM_COMMANDS][DRAM_COMMANDS][RELATIONS];
} gap_table;

static gap_table gaps_of(const dram_options *o)
{
    int rd = o->AL + o->CL + o->burst;
    int wr = o->AL + o->CWL + o->burst;
    int near = at_least(o->burst, o->tCCD_L);
    int far = at_least(o->burst, o->tCCD_S);
    int turn = o->CL + o->burst - o->CWL + o->tRTRS;
    int row = o->tRAS + o->tRP;
    gap_table t = {
        .cycles = {
            [DRAM_READ] = {[DRAM_READ] = {o->burst + o->tRTRS, far, near, near},
                           [DRAM_WRITE] = {rd + o->burst + o->tRTRS - wr, turn, turn, turn},
                           [DRAM_PRECHARGE] = {0, 0, 0, o->AL + o->tRTP}},
            [DRAM_WRITE] = {[DRAM_WRITE] = {o->burst, far, near, near},
                            [DRAM_READ] = {wr + o->burst + o->tRTRS - rd, wr + o->tWTR_S,
                                           wr + o->tWTR_L, wr + o->tWTR_L},
                            [DRAM_PRECHARGE] = {0, 0, 0, wr + o->tWR}},
            [DRAM_ACTIVATE] = {[DRAM_ACTIVATE] = {0, o->tRRD_S, o->tRRD_L, row},
                               [DRAM_READ] = {0, 0, 0, o->tRCDRD - o->AL},
                               [DRAM_WRITE] = {0, 0, 0, o->tRCDWR - o->AL},
                               [DRAM_PRECHARGE] = {0, 0, 0, o->tRAS}},
            [DRAM_PRECHARGE] =
                {[DRAM_ACTIVATE] = {0, 0, 0, o->tRP}, [DRAM_REFRESH] = {0, o->tRP, o->tRP, o->tRP}},
            [DRAM_REFRESH] = {[DRAM_ACTIVATE] = {0, o->tRFC, o->tRFC, o->tRFC},
                              [DRAM_REFRESH] = {0, o->tREFI, o->tREFI, o->tREFI}},
        }};

    return t;
}

static bool is_column(const dram_issue *i)
{
    return i->command == DRAM_READ || i->command == DRAM_WRITE;
}

/* The page that is open when entry `at` is issued; -1 for none. Walks back through the log. */
static int open_row(const dram_issue *log, size_t at)
{
    for (size_t i = at; i > 0; i--) {
        const dram_issue *before = &log[i - 1];

        if (same_bank(before, &log[at]) && before->command == DRAM_ACTIVATE) {
            return before->row;
        }
        if (same_bank(before, &log[at]) && before->command == DRAM_PRECHARGE) {
            return -1;
        }
    }
    return -1;
}

static void check_entry(const dram_options *o, const gap_table *gaps, const dram_issue *log,
                        size_t at)
{
    const dram_issue *now = &log[at];
    int activations = 0;
    int commands = 0;

    for (size_t i = at; i > 0; i--) {
        const dram_issue *before = &log[i - 1];
        uint64_t passed = now->cycle - before->cycle;

        if (passed > (uint64_t)(o->tREFI + 1)) {
            break;
        }
        if (before->channel != now->channel) {
            continue;
        }
        if ((int64_t)passed <
            gaps->cycles[before->command][now->command][relation_of(before, now)]) {
            fail_msg("cycle %llu: command %d only %llu after command %d",
                     (unsigned long long)now->cycle, now->command, (unsigned long long)passed,
                     before->command);
        }
        if (passed == 0) {
            commands++;
            assert_true(o->two_commands && is_column(now) != is_column(before));
        }
        activations += before->command == DRAM_ACTIVATE && before->rank == now->rank &&
                       passed < (uint64_t)o->tFAW;
    }
    assert_true(now->command != DRAM_ACTIVATE || activations < 4);
    assert_true(commands < 2);
    if (is_column(now)) {
        assert_int_equal(open_row(log, at), now->row);
    } else if (now->command == DRAM_ACTIVATE) {
        assert_int_equal(open_row(log, at), -1);
    }
}

/* The traces of the table. */

typedef enum trace_kind { SEQUENTIAL, RANDOM, MIXED, ONE_BANK } trace_kind;

typedef struct trace_state {
    uint64_t x;
    uint64_t next;
} trace_state;

static uint64_t next_address(trace_kind kind, bool writes, trace_state *t, bool *is_write)
{
    *is_write = writes;
    if (kind == SEQUENTIAL) {
        return t->next++ * 64;
    }
    if (kind == ONE_BANK) {
        return t->next++ << 18;
    }
    t->x = t->x * 6364136223846793005U + 1442695040888963407U;
    *is_write = kind == MIXED && (t->x >> 60) % 4 == 0;
    return (t->x >> 33) % (1U << 26) * 64;
}

typedef struct run_result {
    recorder done;
    dram_counts counts;
} run_result;

/* A request each cycle as long as the queues take them, or one each `every` cycles. */
static run_result run(const dram_options *o, trace_kind kind, bool writes, uint64_t cycles,
                      uint64_t every, dram_issue *log)
{
    recorder r = {.log = log, .created = calloc(cycles, sizeof(uint64_t))};
    dram_events events = {record_done, record_issue, &r};
    trace_state t = {.x = 1};
    run_result result;
    uint64_t tag = 0;
    uint64_t address;
    bool is_write;
    dram *d = NULL;

    assert_non_null(r.created);
    assert_int_equal(dram_create(NULL, o, &events, &d, NULL), SPRY_OK);
    address = next_address(kind, writes, &t, &is_write);
    while (dram_cycle(d) < cycles) {
        if (dram_cycle(d) % every == 0 && dram_accepts(d, address, is_write) &&
            (every == 1 || tag < 2000)) {
            r.created[tag] = dram_cycle(d);
            assert_int_equal(dram_request(d, address, is_write, tag++, NULL), SPRY_OK);
            address = next_address(kind, writes, &t, &is_write);
        }
        dram_tick(d);
        (void)dram_skip(d, (every - dram_cycle(d) % every) % every);
    }
    result = (run_result){r, *dram_count(d)};
    free(r.created);
    dram_destroy(d);
    return result;
}

static void check_log(const char *name, trace_kind kind, bool writes, uint64_t cycles)
{
    dram_options o = options_of(name);
    gap_table gaps = gaps_of(&o);
    dram_issue *log = calloc(LOG_MOST, sizeof *log);
    run_result r;

    assert_non_null(log);
    r = run(&o, kind, writes, cycles, 1, log);
    assert_true(r.done.count > 0);
    for (size_t i = 0; i < r.done.count; i++) {
        check_entry(&o, &gaps, log, i);
    }
    free(log);
}

static const char *const names[] = {"ddr4-2400", "ddr4-3200", "hbm2"};

static void test_no_constraint_is_broken(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        check_log(names[i], SEQUENTIAL, false, 14000);
        check_log(names[i], SEQUENTIAL, true, 5000);
        check_log(names[i], MIXED, false, 14000);
        check_log(names[i], ONE_BANK, false, 5000);
    }
}

typedef struct row {
    trace_kind kind;
    bool writes;
    double reads[3]; /* of the three memories */
    double written[3];
    double latency[3]; /* cycles; 0: not compared */
    double activations[3];
    uint64_t every; /* cycles between requests */
} row;

static const row rows[] = {
    {.kind = SEQUENTIAL, .reads = {9734, 8270, 49194}, .activations = {84, 69, 1565}, .every = 1},
    {.kind = SEQUENTIAL, .writes = true, .written = {9812, 8341, 49098}, .every = 1},
    {.kind = RANDOM, .reads = {11065, 10417, 48515}, .latency = {552, 550, 355}, .every = 1},
    {.kind = MIXED, .reads = {7635, 6961, 36065}, .written = {2659, 2443, 12040}, .every = 1},
    {.kind = RANDOM, .latency = {57.34, 77.54, 45.07}, .every = 200},
    {.kind = SEQUENTIAL, .latency = {34.32, 42.98, 31.65}, .every = 200},
    {.kind = ONE_BANK, .reads = {853, 644, 972}, .every = 1},
};

static void compare(const char *what, int memory, double is, double reference, double tolerance)
{
    if (reference == 0.0) {
        return;
    }
    print_message("%s %s: %.2f, DRAMsim3 %.2f (%+.2f %%)\n", names[memory], what, is, reference,
                  100.0 * (is / reference - 1.0));
    if (is / reference > 1.0 + tolerance || is / reference < 1.0 - tolerance) {
        fail_msg("off by more than %.0f %%", 100.0 * tolerance);
    }
}

static void test_against_dramsim3(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *p = &rows[i];

        for (int m = 0; m < 3; m++) {
            dram_options o = options_of(names[m]);
            run_result r =
                run(&o, p->kind, p->writes, p->every == 1 ? CYCLES : 400000, p->every, NULL);

            compare("reads", m, (double)r.done.reads, p->reads[m], 0.05);
            compare("writes", m, (double)r.done.writes, p->written[m], 0.05);
            compare("activations", m, (double)r.counts.commands[DRAM_ACTIVATE], p->activations[m],
                    0.05);
            compare("latency", m, (double)r.done.latency / (double)r.done.reads, p->latency[m],
                    p->every == 1 ? 0.15 : 0.03);
        }
    }
}

/* Passing over idle cycles changes nothing but the time that it takes. */
static void test_skipping(void **state)
{
    (void)state;
    for (int m = 0; m < 3; m++) {
        dram_options o = options_of(names[m]);
        dram_issue *logs[2];
        size_t counts[2];

        for (int way = 0; way < 2; way++) {
            recorder r = {.log = calloc(LOG_MOST, sizeof *r.log),
                          .created = calloc(1000, sizeof(uint64_t))};
            dram_events events = {record_done, record_issue, &r};
            spry_random random = spry_random_stream(4, (uint64_t)m);
            dram *d = NULL;

            assert_int_equal(dram_create(NULL, &o, &events, &d, NULL), SPRY_OK);
            for (uint64_t tag = 0; tag < 1000; tag++) {
                uint64_t until = dram_cycle(d) + spry_random_below(&random, 300);
                uint64_t address = spry_random_below(&random, 1 << 20) * 64;
                bool is_write = spry_random_below(&random, 3) == 0;

                while (dram_cycle(d) < until) {
                    if (way == 0 || dram_skip(d, until - dram_cycle(d)) == 0) {
                        dram_tick(d);
                    }
                }
                r.created[tag] = dram_cycle(d);
                assert_int_equal(dram_request(d, address, is_write, tag, NULL), SPRY_OK);
            }
            logs[way] = r.log;
            counts[way] = r.count;
            free(r.created);
            dram_destroy(d);
        }
        assert_int_equal(counts[0], counts[1]);
        for (size_t i = 0; i < counts[0]; i++) {
            /* Without the struct's padding. */
            assert_memory_equal(&logs[0][i], &logs[1][i],
                                offsetof(dram_issue, column) + sizeof(int));
        }
        free(logs[0]);
        free(logs[1]);
    }
}

/* A read behind a write of the same place finds its data among the writes; reads of one place are
 * done by one burst. */
static void test_same_address(void **state)
{
    dram_options o = options_of("ddr4-2400");
    recorder r = {.created = calloc(8, sizeof(uint64_t))};
    dram_events events = {record_done, NULL, &r};
    dram *d = NULL;

    (void)state;
    assert_non_null(r.created);
    assert_int_equal(dram_create(NULL, &o, &events, &d, NULL), SPRY_OK);
    assert_int_equal(dram_request(d, 640, true, 0, NULL), SPRY_OK);
    assert_int_equal(dram_request(d, 650, false, 1, NULL), SPRY_OK);
    dram_tick(d);
    dram_tick(d);
    assert_int_equal(r.reads, 1);
    assert_int_equal(r.latency, 1);
    for (uint64_t tag = 2; tag < 5; tag++) {
        r.created[tag] = dram_cycle(d);
        assert_int_equal(dram_request(d, 1 << 20, false, tag, NULL), SPRY_OK);
    }
    while (dram_underway(d) > 0) {
        dram_tick(d);
    }
    assert_int_equal(r.reads, 4);
    assert_int_equal(r.latency, 1 + 3 * 39); /* queue, activation 17, column 17, data 4 */
    assert_int_equal(dram_count(d)->commands[DRAM_READ], 1);
    free(r.created);
    dram_destroy(d);
}

static void test_refusals(void **state)
{
    static const char *const broken[] = {
        "memory.dram.timing.tRCDRD=0",
        "memory.dram.timing.tCK=0.83",
        "memory.dram.timing.tCK=0.83 GHz",
        "memory.dram.address.0=column",
        "memory.dram.rows=-1",
        "memory.dram.timing.tXYZ=7",
        "memory.dram.banks=3",
    };

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        dram_options o;
        dram_events events = {0};
        target *t = NULL;
        dram *d = NULL;
        spry_error error = {0};
        spry_status status;

        assert_int_equal(target_load(NULL, "ddr4-2400", &t, NULL), SPRY_OK);
        assert_int_equal(target_set(t, broken[i], NULL), SPRY_OK);
        status = dram_options_read(t, &o, &error);
        status = status == SPRY_OK ? target_finish(t, &error) : status;
        status = status == SPRY_OK ? dram_create(NULL, &o, &events, &d, &error) : status;
        assert_int_not_equal(status, SPRY_OK);
        print_message("%s: %s: %s\n", broken[i], error.where, error.what);
        target_destroy(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_constraint_is_broken),
        cmocka_unit_test(test_against_dramsim3),
        cmocka_unit_test(test_skipping),
        cmocka_unit_test(test_same_address),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
