/* The exact search beside the other one, headers, tables that are full, sums on the way, and
 * schedules that are written and read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/metro/baseline.h"
#include "simulate/metro/exact.h"
#include "simulate/metro/fit.h"
#include "simulate/metro/schedule_file.h"
#include "simulate/metro/search.h"
#include "spry/random.h"

static const metro_options plain = {.flit_bits = 8, .chunk_flits = 64};

static void put(metro_flows *f, bool is_reduce, int one, int *many, int count, int64_t bytes)
{
    const metro_flow flow = {.id = f->count,
                             .is_reduce = is_reduce,
                             .one = one,
                             .many = many,
                             .count = count,
                             .bytes = bytes,
                             .due = METRO_CYCLE_MOST};

    assert_int_equal(metro_flows_add(f, &flow, NULL), SPRY_OK);
}

static void fill_random(metro_flows *f, int count, spry_random *random)
{
    uint64_t nodes = (uint64_t)(f->width * f->height);

    for (int i = 0; i < count; i++) {
        int many[4];
        int ends = 1 + (int)spry_random_below(random, 4);

        for (int k = 0; k < ends; k++) {
            many[k] = (int)spry_random_below(random, nodes);
        }
        put(f, spry_random_below(random, 4) == 0, (int)spry_random_below(random, nodes), many, ends,
            1 + (int64_t)spry_random_below(random, 30));
    }
}

static metro_exact exact(const metro_flows *f, const metro_options *o, int64_t known, arena *memory)
{
    metro_exact found;
    spry_error error = {0};

    if (metro_exact_find(f, o, known, 2000000, memory, &found, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return found;
}

/* Two flows over one link: 22 in one order, 24 in the other. All of a 3 x 3 mesh to its corner:
 * the link there carries 8 x 4 flits, the first after 4 cycles. */
static void test_hand(void **state)
{
    metro_flows f;
    arena memory;
    metro_exact found;

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, (int[]){3}, 1, 8);
    put(&f, false, 1, (int[]){3}, 1, 8);
    found = exact(&f, &plain, INT64_MAX, &memory);
    assert_true(found.is_proven);
    assert_int_equal(found.makespan, 22);
    assert_true(found.order[1] < found.order[0]);
    metro_flows_fini(&f);
    metro_flows_init(&f, 3, 3);
    for (int i = 1; i < 9; i++) {
        put(&f, false, i, (int[]){0}, 1, 4);
    }
    found = exact(&f, &plain, INT64_MAX, &memory);
    assert_true(found.is_proven);
    assert_int_equal(found.makespan, 4 + 8 * 4);
    metro_flows_fini(&f);
    arena_fini(&memory);
}

/* Every order and every route of three flows, one by one. */
static int64_t exhaustive(const metro_flows *f)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    metro_route routes[3][METRO_ROUTES_MOST];
    int counts[3];
    int64_t best = INT64_MAX;

    for (int i = 0; i < 3; i++) {
        counts[i] = metro_routes(f, &f->items[i], routes[i]);
    }
    for (int n = 0; n < 6 * counts[0] * counts[1] * counts[2]; n++) {
        const metro_route chosen[3] = {routes[0][n / 6 % counts[0]],
                                       routes[1][n / 6 / counts[0] % counts[1]],
                                       routes[2][n / 6 / counts[0] / counts[1]]};
        int64_t order[3];
        metro_schedule s;

        for (int i = 0; i < 3; i++) {
            order[i] = orders[n % 6][i];
        }
        assert_int_equal(metro_schedule_make(f, &plain, chosen, order, &s, NULL), SPRY_OK);
        best = s.makespan < best ? s.makespan : best;
        metro_schedule_fini(&s);
    }
    return best;
}

static void test_against_all(void **state)
{
    spry_random random = spry_random_stream(8, 0);

    (void)state;
    for (int round = 0; round < 30; round++) {
        metro_flows f;
        arena memory;
        metro_exact found;
        metro_schedule s;

        arena_init(&memory, NULL, SIZE_MAX);
        metro_flows_init(&f, 3, 3);
        fill_random(&f, 3, &random);
        found = exact(&f, &plain, INT64_MAX, &memory);
        assert_true(found.is_proven);
        assert_int_equal(found.makespan, exhaustive(&f));
        assert_int_equal(metro_schedule_make(&f, &plain, found.routes, found.order, &s, NULL),
                         SPRY_OK);
        assert_int_equal(s.makespan, found.makespan);
        metro_schedule_fini(&s);
        metro_flows_fini(&f);
        arena_fini(&memory);
    }
}

/* Up to twelve flows: the search is never better than what is proven, and nearly always as good. */
static void test_search_is_close(void **state)
{
    spry_random random = spry_random_stream(9, 0);
    int proven = 0;
    int equal = 0;

    (void)state;
    for (int round = 0; round < 16; round++) {
        metro_search_options settings = metro_search_options_default();
        metro_flows f;
        arena memory;
        metro_found found;
        metro_exact best;
        int64_t optimum;

        arena_init(&memory, NULL, SIZE_MAX);
        metro_flows_init(&f, 4, 4);
        fill_random(&f, 4 + round % 9, &random);
        assert_int_equal(metro_search(&f, &plain, &settings, &memory, &found, NULL), SPRY_OK);
        assert_int_equal(metro_exact_find(&f, &plain, found.makespan, 20000, &memory, &best, NULL),
                         SPRY_OK);
        optimum = best.makespan < found.makespan ? best.makespan : found.makespan;
        assert_true(optimum >= found.floor);
        proven += best.is_proven;
        equal += best.is_proven && found.makespan == optimum;
        if (best.is_proven) {
            assert_true((double)found.makespan <= 1.06 * (double)optimum);
        }
        metro_flows_fini(&f);
        arena_fini(&memory);
    }
    assert_true(proven >= 10);
    assert_true(equal >= proven - 3);
}

static void test_too_many(void **state)
{
    metro_flows f;
    arena memory;
    metro_exact found;
    spry_error error = {0};

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    metro_flows_init(&f, 4, 4);
    for (int i = 0; i < 13; i++) {
        put(&f, false, 0, (int[]){1}, 1, 1);
    }
    assert_int_equal(metro_exact_find(&f, &plain, INT64_MAX, 10, &memory, &found, &error),
                     SPRY_USAGE);
    assert_non_null(strstr(error.what, "12 flows"));
    metro_flows_fini(&f);
    arena_fini(&memory);
}

static metro_schedule rows_first(const metro_flows *f, const metro_options *o)
{
    metro_route routes[16];
    metro_schedule s;

    for (int i = 0; i < f->count; i++) {
        routes[i] = (metro_route){f->items[i].one, false, false};
    }
    assert_int_equal(metro_schedule_make(f, o, routes, NULL, &s, NULL), SPRY_OK);
    return s;
}

/* 20 flits in chunks of 6 are four chunks; with a header each 24 flits, with one per 8 flits 23. */
static void test_headers(void **state)
{
    static const int64_t expected[METRO_HEADERS_COUNT] = {20, 24, 23};
    metro_flows f;

    (void)state;
    metro_flows_init(&f, 4, 1);
    put(&f, false, 0, (int[]){3}, 1, 20);
    for (int i = 0; i < METRO_HEADERS_COUNT; i++) {
        const metro_options o = {.flit_bits = 8, .chunk_flits = 6, .headers = (metro_headers)i};
        metro_schedule s = rows_first(&f, &o);
        metro_program p;
        metro_replayed replayed;

        assert_int_equal(metro_payload(&o, &f.items[0]), 20);
        assert_int_equal(metro_flits(&o, &f.items[0]), expected[i]);
        assert_int_equal(s.makespan, METRO_HOP * 4 + expected[i]);
        assert_int_equal(metro_program_make(&s, &p, NULL), SPRY_OK);
        assert_int_equal(metro_replay(&s, &p, &replayed, NULL), SPRY_OK);
        assert_int_equal(replayed.finish, s.makespan);
        metro_program_fini(&p);
        metro_schedule_fini(&s);
    }
    metro_flows_fini(&f);
}

static int entries_of(const metro_flows *f, const metro_route *routes, int chunk, int limit)
{
    const metro_options o = {.flit_bits = 8, .chunk_flits = chunk};
    metro_schedule s;
    metro_program p;
    int entries;
    spry_error error = {0};

    if (metro_schedule_fit(f, &o, routes, NULL, limit, &s, &p, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    entries = p.most_entries;
    assert_true(limit == 0 || (entries <= limit && s.options.chunk_flits >= chunk));
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    return entries;
}

/* Flows in turns, in chunks of one flit: many entries, until chunks are longer. Where whole flows
 * are still too many, the fullest router is named. */
static void test_tables(void **state)
{
    const metro_options o = {.flit_bits = 8, .chunk_flits = 1};
    spry_random random = spry_random_stream(11, 0);
    metro_route routes[40];
    metro_flows f;
    metro_schedule s;
    metro_program p;
    int few;
    spry_error error = {0};

    (void)state;
    metro_flows_init(&f, 3, 3);
    fill_random(&f, 40, &random);
    for (int i = 0; i < 40; i++) {
        routes[i] = (metro_route){f.items[i].one, false, false};
    }
    few = entries_of(&f, routes, 1000, 0);
    assert_true(entries_of(&f, routes, 1, 0) > few + 4);
    assert_true(entries_of(&f, routes, 1, few + 4) > 0);
    assert_int_equal(metro_schedule_fit(&f, &o, routes, NULL, few - 1, &s, &p, &error),
                     SPRY_UNSUPPORTED);
    assert_string_equal(error.where, "interconnect.table");
    assert_non_null(strstr(error.what, "router "));
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    metro_flows_fini(&f);
}

/* Tiles 1, 2, 3 of a row add up in tile 0: three times a hop of 2 + 5 x 2 + 8 cycles, and a cycle
 * for each of the sums on the way. */
static void test_sums(void **state)
{
    const mesh_options network = {
        .width = 4, .height = 4, .channels = 4, .depth = 8, .routing_delay = 1};
    metro_baseline each;
    metro_baseline sums;
    metro_flows f;

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, true, 0, (int[]){1, 2, 3}, 3, 8);
    assert_int_equal(metro_packets(&f, &plain, &network, METRO_TREES, &each, NULL), SPRY_OK);
    assert_int_equal(metro_packets(&f, &plain, &network, METRO_TREES_SUMS, &sums, NULL), SPRY_OK);
    assert_int_equal(sums.makespan, 3 * (2 + 5 * 2 + 8) + 2);
    assert_int_equal(sums.flit_hops, 3 * 2 * 9);
    assert_true(each.flit_hops > sums.flit_hops);
    metro_flows_fini(&f);
    /* Many sums to one node: what it must take in shrinks from 24 packets to 4 ways, of which the
     * link to the node lets through one flit a cycle. */
    metro_flows_init(&f, 5, 5);
    put(&f, true, 12, (int[]){0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                              13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24},
        24, 640);
    {
        const mesh_options five = {
            .width = 5, .height = 5, .channels = 4, .depth = 8, .routing_delay = 1};

        assert_int_equal(metro_packets(&f, &plain, &five, METRO_EACH, &each, NULL), SPRY_OK);
        assert_int_equal(metro_packets(&f, &plain, &five, METRO_TREES_SUMS, &sums, NULL), SPRY_OK);
    }
    assert_true(each.makespan >= 24 * 720 && sums.makespan < each.makespan / 4);
    metro_flows_fini(&f);
}

/* ---- files ---- */

static spry_status read_back(const char *bytes, size_t size, metro_replayed *replayed,
                             int64_t *makespan, spry_error *error)
{
    json_document *document;
    json_node root;
    metro_flows f;
    metro_schedule s = {0};
    metro_program p = {0};
    spry_status status = json_open_bytes(bytes, size, "s.json", &document, error);

    assert_int_equal(status, SPRY_OK);
    json_root(document, &root);
    metro_flows_init(&f, 1, 1);
    metro_flows_fini(&f);
    status = metro_schedule_read(&root, &f, &s, &p, error);
    if (status == SPRY_OK) {
        status = metro_replay(&s, &p, replayed, error);
    }
    *makespan = s.makespan;
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    metro_flows_fini(&f);
    json_close(document);
    return status;
}

static void write_schedule(const metro_schedule *s, text *to)
{
    metro_program p;
    json_writer json;

    assert_int_equal(metro_program_make(s, &p, NULL), SPRY_OK);
    text_init(to, NULL, 1 << 24);
    json_writer_init(&json, to, 0);
    json_write_object(&json, NULL);
    metro_schedule_write(s, &p, &json);
    json_write_end(&json);
    metro_program_fini(&p);
    assert_int_equal(text_status(to, "schedule", NULL), SPRY_OK);
}

static void test_files(void **state)
{
    spry_random random = spry_random_stream(10, 0);

    (void)state;
    for (int round = 0; round < 20; round++) {
        const metro_options o = {.flit_bits = 8,
                                 .chunk_flits = 1 + (int)spry_random_below(&random, 20),
                                 .headers = (metro_headers)(round % METRO_HEADERS_COUNT)};
        metro_flows f;
        metro_schedule s;
        metro_replayed replayed;
        int64_t makespan;
        text to;

        metro_flows_init(&f, 1 + (int)spry_random_below(&random, 5), 4);
        fill_random(&f, 8, &random);
        s = rows_first(&f, &o);
        write_schedule(&s, &to);
        assert_int_equal(read_back(to.data, to.length, &replayed, &makespan, NULL), SPRY_OK);
        assert_int_equal(makespan, s.makespan);
        assert_int_equal(replayed.finish, s.makespan);
        assert_int_equal(replayed.flit_links, s.flit_links);
        text_fini(&to);
        metro_schedule_fini(&s);
        metro_flows_fini(&f);
    }
}

/* `from` becomes `to` in the file, which is then refused. */
static void expect_refused(const text *file, const char *from, const char *to, spry_status code,
                           const char *says)
{
    const char *at = strstr(file->data, from);
    metro_replayed replayed;
    int64_t makespan;
    spry_error error = {0};
    text changed;

    assert_non_null(at);
    text_init(&changed, NULL, 1 << 20);
    text_append(&changed, file->data, (size_t)(at - file->data));
    text_append_string(&changed, to);
    text_append_string(&changed, at + strlen(from));
    assert_int_equal(read_back(changed.data, changed.length, &replayed, &makespan, &error), code);
    if (strstr(error.what, says) == NULL && strstr(error.where, says) == NULL) {
        fail_msg("\"%s: %s\" does not say %s", error.where, error.what, says);
    }
    text_fini(&changed);
}

static void test_broken_files(void **state)
{
    metro_flows f;
    metro_schedule s;
    text to;

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, (int[]){3}, 1, 8);
    put(&f, false, 1, (int[]){3}, 1, 8);
    s = rows_first(&f, &plain);
    write_schedule(&s, &to);
    expect_refused(&to, "[0,0,8]", "[0,1,8]", SPRY_INTERNAL, "cycle"); /* too late */
    expect_refused(&to, "[0,0,8]", "[0,0,7]", SPRY_BAD_INPUT, "as a whole");
    expect_refused(&to, "[0,0,8]", "[2,0,8]", SPRY_BAD_INPUT, "no flow");
    expect_refused(&to, "[0,0,8]", "[0,0]", SPRY_BAD_INPUT, "numbers");
    expect_refused(&to, "\"many\":[3]", "\"many\":[16]", SPRY_BAD_INPUT, "many");
    expect_refused(&to, "\"many\":[3]", "\"many\":[2]", SPRY_BAD_INPUT, "no tree");
    expect_refused(&to, "\"type\":\"move\"", "\"type\":\"fly\"", SPRY_BAD_INPUT, "type");
    expect_refused(&to, "\"width\":4", "\"width\":0", SPRY_BAD_INPUT, "width");
    expect_refused(&to, "\"headers\":\"none\"", "\"headers\":\"all\"", SPRY_BAD_INPUT, "headers");
    expect_refused(&to, "\"hop_cycles\":2", "\"hop_cycles\":1", SPRY_BAD_INPUT, "hop_cycles");
    expect_refused(&to, "\"makespan\"", "\"makespans\"", SPRY_BAD_INPUT, "makespans");
    expect_refused(&to, "[0,1]", "[0,2]", SPRY_BAD_INPUT, "no tree"); /* a link at another depth */
    text_fini(&to);
    metro_schedule_fini(&s);
    metro_flows_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand),
        cmocka_unit_test(test_against_all),
        cmocka_unit_test(test_search_is_close),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_broken_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
