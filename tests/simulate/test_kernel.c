/* The simulation kernel: time, order, ports, deadlock, counting, drawing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/text.h"
#include "simulate/kernel/agenda.h"
#include "simulate/kernel/port.h"
#include "simulate/kernel/simulation.h"
#include "simulate/kernel/statistics.h"
#include "simulate/kernel/timeline.h"

enum { RING_MOST = 64 };

/* A node hands each token on in the cycle in which it arrives. */
typedef struct node {
    port *in;
    port *out;
    uint64_t tokens; /* to start with */
    uint64_t seen;
    uint64_t last;  /* cycle of the last token */
    uint64_t trail; /* a hash of (cycle, token) */
    uint64_t until; /* tokens that arrive from this cycle on are kept */
} node;

static uint64_t node_evaluate(void *self, const edge *at)
{
    node *n = self;
    const uint64_t *token;

    while (n->tokens > 0 && port_has_room(n->out)) {
        port_push(n->out, &n->tokens, at);
        n->tokens--;
    }
    token = port_front(n->in, at);
    if (token != NULL && (at->cycle >= n->until || port_has_room(n->out))) {
        n->seen++;
        n->last = at->cycle;
        n->trail = (n->trail ^ (at->cycle * 31 + *token)) * 1099511628211U;
        if (at->cycle < n->until) {
            port_push(n->out, token, at);
        }
        port_pop(n->in);
    }
    if (n->tokens > 0) {
        return SIMULATION_FOREVER; /* room wakes it */
    }
    return port_front(n->in, at) != NULL ? at->cycle + 1 : SIMULATION_FOREVER;
}

static bool node_waiting(const void *self)
{
    return ((const node *)self)->tokens > 0;
}

static const component_type node_type = {node_evaluate, NULL, node_waiting};

typedef struct ring {
    simulation *s;
    node nodes[RING_MOST];
    port *ports[RING_MOST];
    int count;
} ring;

typedef struct ring_shape {
    int count;
    uint32_t latency;
    uint32_t capacity;
    bool backwards; /* added in the opposite order */
    uint64_t until;
    uint64_t slow; /* period of every third node's clock; 0: of no node's */
    threads *team;
} ring_shape;

static void ring_make(ring *r, const ring_shape *shape)
{
    component *components[RING_MOST];
    int clocks[2];

    memset(r, 0, sizeof *r);
    r->count = shape->count;
    assert_int_equal(
        simulation_create(NULL, &(simulation_options){.team = shape->team}, &r->s, NULL), SPRY_OK);
    assert_int_equal(simulation_add_clock(r->s, "fast", 1000, 0, &clocks[0], NULL), SPRY_OK);
    assert_int_equal(
        simulation_add_clock(r->s, "slow", shape->slow ? shape->slow : 1000, 0, &clocks[1], NULL),
        SPRY_OK);
    for (int k = 0; k < shape->count; k++) {
        int i = shape->backwards ? shape->count - 1 - k : k;
        char path[32];

        (void)snprintf(path, sizeof path, "ring.node%02d", i);
        r->nodes[i].until = shape->until;
        assert_int_equal(simulation_add(r->s, path, &node_type, &r->nodes[i],
                                        clocks[shape->slow != 0 && i % 3 == 2], &components[i],
                                        NULL),
                         SPRY_OK);
    }
    for (int k = 0; k < shape->count; k++) {
        int i = shape->backwards ? shape->count - 1 - k : k;
        int next = (i + 1) % shape->count;
        port_options options = {components[i], components[next], sizeof(uint64_t), shape->latency,
                                shape->capacity};

        assert_int_equal(simulation_add_port(r->s, &options, &r->ports[i], NULL), SPRY_OK);
        r->nodes[i].out = r->ports[i];
        r->nodes[next].in = r->ports[i];
    }
}

static uint64_t ring_trail(const ring *r)
{
    uint64_t trail = 0;

    for (int i = 0; i < r->count; i++) {
        trail = trail * 31 + r->nodes[i].trail;
    }
    return trail;
}

/* One token in a ring of n ports of latency 1 comes round every n cycles. */
static void test_ring_period(void **state)
{
    static const int counts[] = {2, 3, 7, 64};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        ring r;
        spry_error error = {0};

        ring_make(&r,
                  &(ring_shape){.count = counts[i], .latency = 1, .capacity = 2, .until = 1000});
        r.nodes[0].tokens = 1;
        assert_int_equal(simulation_run(r.s, SIMULATION_FOREVER, &error), SPRY_OK);
        assert_int_equal(r.nodes[1].seen, (1000 - 1) / counts[i] + 1);
        /* One evaluation per hop, the first cycle of all, and the wake that room gives. */
        assert_true(simulation_evaluations(r.s) <= 2 * 1001 + (uint64_t)counts[i]);
        simulation_destroy(r.s);
    }
}

/* The same to the bit for any order of adding, one thread or three, clocks that differ. */
static void test_order_and_threads(void **state)
{
    uint64_t expected = 0;
    threads *team = NULL;

    (void)state;
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    for (int variant = 0; variant < 4; variant++) {
        ring r;

        ring_make(&r, &(ring_shape){.count = 13,
                                    .latency = 2,
                                    .capacity = 3,
                                    .backwards = (variant & 1) != 0,
                                    .until = 3000,
                                    .slow = 1500,
                                    .team = (variant & 2) != 0 ? team : NULL});
        r.nodes[0].tokens = 5;
        r.nodes[6].tokens = 9;
        assert_int_equal(simulation_run(r.s, SIMULATION_FOREVER, NULL), SPRY_OK);
        if (variant == 0) {
            expected = ring_trail(&r);
        }
        assert_int_equal(ring_trail(&r), expected);
        for (int i = 0; i < r.count; i++) {
            assert_int_equal(port_pushed(r.ports[i]), port_popped(r.ports[i]));
        }
        simulation_destroy(r.s);
    }
    threads_destroy(team);
}

/* In a full ring nobody has room: the nodes that still hold tokens are named. */
static void test_deadlock(void **state)
{
    ring r;
    spry_error error = {0};

    (void)state;
    ring_make(&r, &(ring_shape){.count = 3, .latency = 1, .capacity = 2, .until = UINT64_MAX});
    for (int i = 0; i < 3; i++) {
        r.nodes[i].tokens = 9;
    }
    assert_int_equal(simulation_run(r.s, SIMULATION_FOREVER, &error), SPRY_NEGATIVE);
    assert_non_null(strstr(error.what, "3 components"));
    assert_non_null(strstr(error.what, "ring.node00, ring.node01, ring.node02"));
    simulation_destroy(r.s);
}

typedef struct counting {
    uint64_t cycles;
    uint64_t last;
    uint64_t stop_at;
} counting;

static uint64_t count_cycle(void *self, const edge *at)
{
    counting *c = self;

    c->cycles++;
    c->last = at->now;
    if (c->cycles == c->stop_at) {
        simulation_stop(at->simulation);
    }
    return at->cycle + 1;
}

static uint64_t count_far(void *self, const edge *at)
{
    counting *c = self;

    c->cycles++;
    c->last = at->now;
    return at->cycle + 100000000;
}

/* Clocks of 3 : 2 do not drift apart over 10^9 cycles, most of which are skipped. */
static void test_clocks(void **state)
{
    static const component_type every = {count_cycle, NULL, NULL};
    static const component_type far = {count_far, NULL, NULL};
    simulation *s = NULL;
    counting a = {0};
    counting b = {0};
    counting c = {.stop_at = 1000};
    component *made;
    int clock[2];

    (void)state;
    assert_int_equal(simulation_create(NULL, NULL, &s, NULL), SPRY_OK);
    assert_int_equal(simulation_add_clock(s, "a", 500000, 7, &clock[0], NULL), SPRY_OK);
    assert_int_equal(simulation_add_clock(s, "b", 750000, 7, &clock[1], NULL), SPRY_OK);
    assert_int_equal(simulation_add(s, "a", &far, &a, clock[0], &made, NULL), SPRY_OK);
    assert_int_equal(simulation_add(s, "b", &far, &b, clock[1], &made, NULL), SPRY_OK);
    assert_int_equal(simulation_run(s, 7 + 1000000000ULL * 500000 + 1, NULL), SPRY_OK);
    assert_int_equal(a.cycles, 11);
    assert_int_equal(a.last, 7 + 1000000000ULL * 500000);
    assert_int_equal(b.last, 7 + 600000000ULL * 750000);
    assert_int_equal(simulation_evaluations(s), 11 + 7);
    simulation_destroy(s);

    assert_int_equal(simulation_create(NULL, NULL, &s, NULL), SPRY_OK);
    assert_int_equal(simulation_add_clock(s, "c", 3, 0, &clock[0], NULL), SPRY_OK);
    assert_int_equal(simulation_add(s, "c", &every, &c, clock[0], &made, NULL), SPRY_OK);
    assert_int_equal(simulation_run(s, SIMULATION_FOREVER, NULL), SPRY_OK);
    assert_int_equal(simulation_now(s), 999 * 3);
    simulation_destroy(s);
}

typedef struct journal {
    text said;
} journal;

static journal *written;

static void say(simulation *s, void *argument)
{
    text_append_format(&written->said, "%s@%d ", (const char *)argument, (int)simulation_now(s));
}

/* Events: by time, then priority, then the order of asking; never into the past. */
static void test_events(void **state)
{
    simulation *s = NULL;
    journal j;
    spry_error error = {0};

    (void)state;
    text_init(&j.said, NULL, 1000);
    written = &j;
    assert_int_equal(simulation_create(NULL, NULL, &s, NULL), SPRY_OK);
    assert_int_equal(simulation_at(s, 9, 0, say, (char[]){"late"}, NULL), SPRY_OK);
    assert_int_equal(simulation_at(s, 5, 1, say, (char[]){"third"}, NULL), SPRY_OK);
    assert_int_equal(simulation_at(s, 5, -1, say, (char[]){"first"}, NULL), SPRY_OK);
    assert_int_equal(simulation_at(s, 5, 0, say, (char[]){"second"}, NULL), SPRY_OK);
    assert_int_equal(simulation_run(s, SIMULATION_FOREVER, NULL), SPRY_OK);
    assert_string_equal(j.said.data, "first@5 second@5 third@5 late@9 ");
    assert_int_equal(simulation_at(s, 8, 0, say, (char[]){"past"}, &error), SPRY_USAGE);
    simulation_destroy(s);
    text_fini(&j.said);
}

/* A heap against sorting, with equal times. */
static void test_agenda(void **state)
{
    spry_allocator allocator = *spry_allocator_system();
    agenda a = {0};
    spry_random random = spry_random_stream(1, 0);
    agenda_entry last = {0};

    (void)state;
    for (int i = 0; i < 10000; i++) {
        agenda_entry e = {.time = spry_random_below(&random, 500),
                          .rank = (int64_t)spry_random_below(&random, 3) - 1,
                          .sequence = (uint64_t)i};

        assert_int_equal(agenda_add(&a, &allocator, &e, NULL), SPRY_OK);
        if (i % 7 == 0) {
            (void)agenda_take(&a);
        }
    }
    last = agenda_take(&a);
    while (agenda_first(&a) != NULL) {
        agenda_entry e = agenda_take(&a);

        assert_true(last.time < e.time ||
                    (last.time == e.time &&
                     (last.rank < e.rank || (last.rank == e.rank && last.sequence < e.sequence))));
        last = e;
    }
    agenda_fini(&a, &allocator);
}

static void test_refusals(void **state)
{
    simulation *s = NULL;
    component *c = NULL;
    component *d = NULL;
    port *p = NULL;
    int clock = -1;
    counting self = {0};
    static const component_type every = {count_cycle, NULL, NULL};
    spry_error error = {0};

    (void)state;
    assert_int_equal(simulation_create(NULL, NULL, &s, NULL), SPRY_OK);
    assert_int_equal(simulation_add_clock(s, "still", 0, 0, &clock, &error), SPRY_USAGE);
    assert_int_equal(simulation_add(s, "x", &every, &self, 0, &c, &error), SPRY_USAGE);
    assert_int_equal(simulation_add_clock(s, "core", 10, 0, &clock, &error), SPRY_OK);
    assert_int_equal(simulation_add(s, "x", &every, &self, clock, &c, &error), SPRY_OK);
    assert_int_equal(simulation_add(s, "x", &every, &self, clock, &d, &error), SPRY_OK);
    assert_int_equal(simulation_add_port(s, &(port_options){c, d, 0, 1, 1}, &p, &error),
                     SPRY_USAGE);
    assert_int_equal(simulation_add_port(s, &(port_options){c, d, 8, 0, 1}, &p, &error),
                     SPRY_USAGE);
    assert_int_equal(simulation_add_port(s, &(port_options){c, d, 8, 1, 0}, &p, &error),
                     SPRY_USAGE);
    assert_int_equal(simulation_run(s, 100, &error), SPRY_USAGE);
    assert_string_equal(error.where, "x");
    simulation_destroy(s);
}

static void test_statistics(void **state)
{
    static const energy_price prices[] = {{"mac", 0.3, "a table"}, {"sram", 10.0, "a table"}};
    statistics *s = NULL;
    uint64_t *macs = NULL;
    uint64_t *reads = NULL;
    uint64_t *again = NULL;
    histogram *h = NULL;
    double joules = 0.0;
    text out;
    json_writer writer;
    spry_error error = {0};

    (void)state;
    assert_int_equal(statistics_create(NULL, &s, NULL), SPRY_OK);
    assert_int_equal(statistics_counter(s, "npu.z", "reads", "sram", &reads, NULL), SPRY_OK);
    assert_int_equal(statistics_counter(s, "npu.a", "macs", "mac", &macs, NULL), SPRY_OK);
    assert_int_equal(statistics_counter(s, "npu.a", "macs", "mac", &again, NULL), SPRY_OK);
    assert_ptr_equal(macs, again);
    assert_int_equal(statistics_histogram(s, "npu.a", "wait", &h, NULL), SPRY_OK);
    *macs = 1000;
    *reads = 7;
    histogram_add(h, 0);
    histogram_add(h, 5);
    histogram_add(h, 7);
    assert_int_equal(h->buckets[3], 2);
    assert_int_equal(statistics_energy(s, prices, 2, &joules, NULL), SPRY_OK);
    assert_true(joules > 369.9e-12 && joules < 370.1e-12);
    assert_int_equal(statistics_energy(s, prices, 1, &joules, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.where, "npu.z");
    text_init(&out, NULL, 10000);
    json_writer_init(&writer, &out, 0);
    statistics_write(s, prices, 2, &writer, NULL);
    assert_string_equal(out.data,
                        "{\"npu.a\":{\"macs\":1000,\"wait\":{\"count\":3,\"sum\":12,\"mean\":4,"
                        "\"least\":0,\"most\":7},\"energy_pj\":{\"macs\":300}},"
                        "\"npu.z\":{\"reads\":7,\"energy_pj\":{\"reads\":70}}}");
    text_fini(&out);
    statistics_destroy(s);
}

static void test_timeline(void **state)
{
    char path[] = "/tmp/spry-timeline-XXXXXX";
    int file = mkstemp(path);
    timeline *t = NULL;
    json_document *document = NULL;
    json_node root;
    json_node events;
    json_node event;
    double start = 0.0;
    int track;

    (void)state;
    assert_true(file >= 0);
    (void)close(file);
    assert_int_equal(timeline_create(NULL, 0, 9000000000, 3, &t, NULL), SPRY_OK);
    track = timeline_track(t, "npu.\"dma\"");
    timeline_span(t, track, 2000000001, 3000000000, "load", "k4");
    timeline_span(t, track, 1000000000, 1500000000, "load", "k16");
    timeline_value(t, track, 5, "queue", 3);
    timeline_span(t, track, 2000000002, 3000000000, "load", "too many");
    timeline_span(t, track, 9000000000, 9000000001, "load", "too late");
    timeline_span(NULL, timeline_track(NULL, "nowhere"), 0, 1, "load", "nothing");
    assert_int_equal(timeline_dropped(t), 2);
    assert_int_equal(timeline_write(t, "a model", path, NULL), SPRY_OK);
    assert_int_equal(json_open_file(path, &document, NULL), SPRY_OK);
    json_root(document, &root);
    assert_int_equal(json_get_array(&root, "traceEvents", &events, NULL), SPRY_OK);
    assert_int_equal(json_length(&events), 2 + 3);
    json_item(&events, 4, &event);
    assert_int_equal(json_get_f64(&event, "ts", 0, 10, &start, NULL), SPRY_OK);
    assert_true(start == 2.000000001);
    json_close(document);
    timeline_destroy(t);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agenda),
        cmocka_unit_test(test_ring_period),
        cmocka_unit_test(test_order_and_threads),
        cmocka_unit_test(test_deadlock),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_timeline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
