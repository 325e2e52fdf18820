/* spry simulate noc: latency against load. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/parse.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/simulate/models.h"
#include "cli/table.h"
#include "simulate/noc/mesh_target.h"
#include "simulate/noc/traffic.h"

enum { SWEEP_MOST = 1000 };

static const char *const taken[] = {"target", "set",   "routing", "traffic", "rate", "packet",
                                    "cycles", "sweep", "csv",     "force",   "seed", NULL};

typedef struct sweep {
    double from, step;
    int count;
} sweep;

static spry_status parse_sweep(const cli_call *call, sweep *s, spry_error *error)
{
    const char *rest = cli_text(call, "sweep");
    double numbers[3] = {0};
    int count = 0;

    *s = (sweep){.from = cli_number(call, "rate"), .count = 1};
    if (rest == NULL) {
        return cli_given(call, "csv") ? spry_fail(error, SPRY_USAGE, "--csv", NULL,
                                                  "there are no rows without --sweep")
                                      : SPRY_OK;
    }
    while (rest != NULL && count < 3) {
        size_t length = strcspn(rest, ":");
        char number[32] = "";

        if (length < sizeof number) {
            memcpy(number, rest, length);
        }
        if (!parse_f64(number, 1e-6, 1.0, &numbers[count])) {
            break;
        }
        count++;
        rest = rest[length] == ':' ? rest + length + 1 : NULL;
    }
    if (count != 3 || rest != NULL || numbers[1] < numbers[0] ||
        (numbers[1] - numbers[0]) / numbers[2] > SWEEP_MOST) {
        return spry_fail(error, SPRY_USAGE, "--sweep", "write three rates up to 1: 0.02:0.4:0.02",
                         "'%.40s' is no FROM:TO:STEP of at most %d rows", cli_text(call, "sweep"),
                         (int)SWEEP_MOST);
    }
    s->from = numbers[0];
    s->step = numbers[2];
    s->count = (int)((numbers[1] - numbers[0]) / numbers[2] + 1e-6) + 1;
    return SPRY_OK;
}

static spry_status gather(const cli_call *call, target *t, mesh_options *network,
                          traffic_options *traffic, spry_error *error)
{
    const char *routing = cli_text(call, "routing");
    const char *pattern = cli_text(call, "traffic");
    uint64_t cycles = (uint64_t)cli_integer(call, "cycles");
    spry_status status = mesh_options_read(t, network, error);

    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    *traffic = (traffic_options){.pattern = traffic_pattern_find(pattern ? pattern : "uniform"),
                                 .rate = cli_number(call, "rate"),
                                 .packet_flits = (int)cli_integer(call, "packet"),
                                 .warm_up = cycles / 2,
                                 .measured = cycles,
                                 .drain = cycles,
                                 .seed = (uint64_t)cli_integer(call, "seed")};
    network->seed = traffic->seed;
    if (routing != NULL) {
        network->routing = mesh_routing_find(routing);
    }
    if (network->routing == MESH_ROUTINGS) {
        return spry_fail(error, SPRY_USAGE, "--routing",
                         "there are dor, xy_yx, romm, valiant, min_adapt and adaptive",
                         "there is no routing '%.40s'", routing);
    }
    return traffic->pattern == TRAFFIC_PATTERNS
               ? spry_fail(error, SPRY_USAGE, "--traffic", "there are uniform and transpose",
                           "'%s' is nothing for a network", pattern)
               : SPRY_OK;
}

typedef struct point {
    double rate;
    traffic_result result;
    double speed; /* flit-hops a second of this machine's time */
} point;

static spry_status measure(const mesh_options *network, traffic_options *traffic, point *p,
                           spry_error *error)
{
    int64_t begin = clock_ns();
    spry_status status;

    traffic->rate = p->rate;
    status = traffic_run(NULL, network, traffic, &p->result, error);
    p->speed = (double)p->result.flit_hops / ((double)(clock_ns() - begin + 1) * 1e-9);
    return status;
}

static void print_one(const cli_call *call, const point *p)
{
    const traffic_result *r = &p->result;

    (void)fprintf(call->out, "latency          %.2f cycles\n", r->latency);
    (void)fprintf(call->out, "network latency  %.2f cycles\n", r->network_latency);
    (void)fprintf(call->out, "accepted         %.4f flits per node and cycle\n", r->accepted);
    (void)fprintf(call->out, "hops             %.3f routers\n", r->hops);
    (void)fprintf(call->out, "packets          %" PRIu64 "%s\n", r->packets,
                  r->drained ? "" : ", and some that did not arrive");
    (void)fprintf(call->out, "simulated at     %.1f M flit-hops/s\n", p->speed * 1e-6);
}

static spry_status print_points(const cli_call *call, const point *points, int count,
                                spry_error *error)
{
    static const table_column columns[] = {
        {"rate", true}, {"latency", true},  {"network", true},       {"accepted", true},
        {"hops", true}, {"drained", false}, {"M flit-hops/s", true}, {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int i = 0; i < count; i++) {
        const traffic_result *r = &points[i].result;

        table_cell(&t, "%.4g", points[i].rate);
        table_cell(&t, "%.2f", r->latency);
        table_cell(&t, "%.2f", r->network_latency);
        table_cell(&t, "%.4f", r->accepted);
        table_cell(&t, "%.3f", r->hops);
        table_cell(&t, "%s", r->drained ? "yes" : "no");
        table_cell(&t, "%.1f", points[i].speed * 1e-6);
    }
    status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

/* What the machine's speed is not part of: the same options give the same bytes. */
static spry_status write_csv(const char *path, const point *points, int count, spry_error *error)
{
    text t;
    spry_status status;

    text_init(&t, NULL, 1 << 20);
    text_append_string(&t, "rate,latency,network_latency,accepted,hops,packets,drained\n");
    for (int i = 0; i < count; i++) {
        const traffic_result *r = &points[i].result;

        text_append_format(&t, "%.6g,%.4f,%.4f,%.6f,%.4f,%" PRIu64 ",%d\n", points[i].rate,
                           r->latency, r->network_latency, r->accepted, r->hops, r->packets,
                           r->drained);
    }
    status = text_status(&t, path, error);
    if (status == SPRY_OK) {
        status = file_replace(path, t.data, t.length, error);
    }
    text_fini(&t);
    return status;
}

static void write_point(json_writer *json, const point *p)
{
    const traffic_result *r = &p->result;

    json_write_object(json, NULL);
    json_write_f64(json, "rate", p->rate);
    json_write_f64(json, "latency", r->latency);
    json_write_f64(json, "network_latency", r->network_latency);
    json_write_f64(json, "accepted", r->accepted);
    json_write_f64(json, "hops", r->hops);
    json_write_u64(json, "packets", r->packets);
    json_write_bool(json, "drained", r->drained);
    json_write_u64(json, "cycles", r->cycles);
    json_write_u64(json, "flit_hops", r->flit_hops);
    json_write_f64(json, "flit_hops_per_second", p->speed);
    json_write_end(json);
}

static spry_status print_json(const cli_call *call, const target *t, const mesh_options *network,
                              const traffic_options *traffic, const point *points, int count,
                              spry_error *error)
{
    output_record record = {.is_seeded = true, .seed = traffic->seed};
    output_document document;
    spry_status status;

    output_begin(&document, call);
    json_write_string(&document.json, "model", "noc");
    target_write_resolved(t, &document.json, "target");
    json_write_string(&document.json, "routing", mesh_routing_name(network->routing));
    json_write_string(&document.json, "traffic", traffic_pattern_name(traffic->pattern));
    json_write_i64(&document.json, "packet", traffic->packet_flits);
    json_write_array(&document.json, "points");
    for (int i = 0; i < count; i++) {
        write_point(&document.json, &points[i]);
    }
    json_write_end(&document.json);
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const char *csv = cli_text(call, "csv");
    mesh_options network;
    traffic_options traffic;
    point points[SWEEP_MOST + 1];
    sweep s;
    target *t = NULL;
    spry_status status = parse_sweep(call, &s, error);

    if (status == SPRY_OK && csv != NULL) {
        status = output_check_free(call, csv, error);
    }
    if (status == SPRY_OK) {
        status = simulate_target(call, "mesh-8x8", &t, error);
    }
    if (status == SPRY_OK) {
        status = gather(call, t, &network, &traffic, error);
    }
    for (int i = 0; status == SPRY_OK && i < s.count; i++) {
        points[i] = (point){.rate = s.from + s.step * i};
        status = measure(&network, &traffic, &points[i], error);
    }
    if (status == SPRY_OK && csv != NULL) {
        status = write_csv(csv, points, s.count, error);
    }
    if (status == SPRY_OK && cli_given(call, "json")) {
        status = print_json(call, t, &network, &traffic, points, s.count, error);
    } else if (status == SPRY_OK && cli_given(call, "sweep")) {
        status = print_points(call, points, s.count, error);
    } else if (status == SPRY_OK) {
        print_one(call, &points[0]);
    }
    target_destroy(t);
    return status;
}

const simulate_model simulate_noc = {.name = "noc", .options = taken, .run = run};
