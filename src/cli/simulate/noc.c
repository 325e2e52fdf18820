/* spry simulate noc: latency against load. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "simulate/noc/mesh_target.h"
#include "simulate/noc/traffic.h"

enum { SWEEP_MOST = 1000 };

static const char *const taken[] = {"traffic", "seed", NULL};

static const cli_option own[] = {
    {.name = "routing",
     .kind = CLI_TEXT,
     .value = "NAME",
     .help = "dor, xy_yx, romm, valiant, min_adapt or adaptive, in place of the target's"},
    {.name = "rate",
     .kind = CLI_NUMBER,
     .value = "R",
     .fallback = "0.1",
     .lowest = 1e-6,
     .highest = 1,
     .help = "flits per node and cycle"},
    {.name = "packet",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 65535,
     .help = "flits of a packet"},
    {.name = "cycles",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "20000",
     .lowest = 1,
     .highest = 1e9,
     .help = "cycles that are measured, after half as many"},
    {.name = "sweep", .kind = CLI_TEXT, .value = "FROM:TO:STEP", .help = "one row per rate"},
    {0},
};

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
        return SPRY_OK;
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
                          mesh_hardware *hardware, traffic_options *traffic, spry_error *error)
{
    const char *routing = cli_text(call, "routing");
    const char *pattern = cli_text(call, "traffic");
    uint64_t cycles = (uint64_t)cli_integer(call, "cycles");
    spry_status status = mesh_options_read(t, network, error);

    if (status == SPRY_OK) {
        status = mesh_hardware_read(t, hardware, error);
    }
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

static void tell_one(report *r, const traffic_result *t)
{
    report_number(r, "latency", "latency", t->latency, 2, "cycles");
    report_number(r, "network_latency", "network latency", t->network_latency, 2, "cycles");
    report_number(r, "accepted", "accepted", t->accepted, 4, "flits per node and cycle");
    report_number(r, "hops", "hops", t->hops, 3, "routers");
    report_number(r, "packets", "packets", (double)t->packets, 0,
                  t->drained ? "" : ", and some that did not arrive");
}

static void tell_row(report *r, double rate, const traffic_result *t)
{
    report_cell(r, rate);
    report_cell(r, t->latency);
    report_cell(r, t->network_latency);
    report_cell(r, t->accepted);
    report_cell(r, t->hops);
    report_cell(r, (double)t->packets);
    report_cell_word(r, t->drained ? "yes" : "no");
    report_cell(r, (double)t->cycles);
    report_cell(r, (double)t->flit_hops);
}

/* Latency against load. Where not all packets arrived, latencies are of those that did: the curve
 * ends there. */
static void tell_curve(report *r, const report_table *points)
{
    double rates[SWEEP_MOST + 1];
    double lines[3][SWEEP_MOST + 1];
    int32_t count = (int32_t)report_rows(points);

    for (int32_t i = 0; i < count; i++) {
        const report_value *row = &points->values[i * points->column_count];
        bool is_drained = strcmp(row[6].word, "yes") == 0;

        rates[i] = row[0].number;
        for (int k = 0; k < 2; k++) {
            lines[k][i] = is_drained ? row[1 + k].number : (double)NAN;
        }
        lines[2][i] = row[3].number;
    }
    report_chart_begin(r, &(report_chart_names){.key = "latency_curve",
                                                .title = "Latency against load",
                                                .x_name = "offered, flits per node and cycle",
                                                .y_name = "cycles"});
    report_line(r, "from a packet's making", rates, lines[0], count);
    report_line(r, "from its leaving", rates, lines[1], count);
    report_chart_begin(r, &(report_chart_names){.key = "throughput_curve",
                                                .title = "Throughput against load",
                                                .x_name = "offered, flits per node and cycle",
                                                .y_name = "accepted, flits per node and cycle"});
    report_line(r, "accepted", rates, lines[2], count);
}

typedef struct sight {
    report *r;
    const mesh_options *network;
    const mesh_hardware *hardware;
} sight;

static void tell_energy(const sight *s, const mesh *m)
{
    const mesh_hardware *h = s->hardware;
    const mesh_counts *c = mesh_count(m);
    double bits = (double)h->flit_bits;

    if (h->has_prices) {
        report_energy(s->r, "links", "bit over a link",
                      bits * (double)(c->flit_hops - c->ejected_flits), h->link_bit * 1e12,
                      h->source);
        report_energy(s->r, "routers", "bit through a crossbar", bits * (double)c->flit_hops,
                      h->crossbar_bit * 1e12, h->source);
        report_energy(s->r, "routers", "bit written to a buffer and read",
                      bits * (double)c->flit_hops, h->buffer_bit * 1e12, h->source);
        report_energy(s->r, "routers", "allocation for a packet", (double)c->packet_hops,
                      h->allocation * 1e12, h->source);
    }
}

/* Flits per cycle over every link of the mesh, and into every node. */
static void tell_mesh(void *context, const mesh *m)
{
    const sight *s = context;
    int count = s->network->width * s->network->height;
    double cycles = (double)mesh_cycle(m);
    double *nodes = arena_array(&s->r->memory, (size_t)count, sizeof *nodes);
    double *links = arena_array(&s->r->memory, (size_t)count * REPORT_WAYS, sizeof *links);

    s->r->failed |= nodes == NULL || links == NULL;
    for (int n = 0; n < count && !s->r->failed; n++) {
        for (int way = 0; way < REPORT_WAYS; way++) {
            links[n * REPORT_WAYS + way] = (double)mesh_link_flits(m, n, way) / cycles;
        }
        nodes[n] = (double)mesh_link_flits(m, n, REPORT_WAYS) / cycles;
    }
    report_heat(s->r, &(report_heat_map){.key = "links",
                                         .title = "Load of links and nodes, at the last rate",
                                         .unit = "flits per cycle",
                                         .width = s->network->width,
                                         .height = s->network->height,
                                         .cells = nodes,
                                         .links = links});
    tell_energy(s, m);
}

/* Every rate in turn; links and packets are those of the last. */
static spry_status measure(const cli_call *call, const sweep *s, const mesh_options *network,
                           const mesh_hardware *hardware, traffic_options *traffic, report *r,
                           spry_error *error)
{
    static const report_column columns[] = {{"rate", "rate", 4, REPORT_PLAIN},
                                            {"latency", "latency", 2, REPORT_BAR},
                                            {"network_latency", "network", 2, REPORT_PLAIN},
                                            {"accepted", "accepted", 4, REPORT_BAR},
                                            {"hops", "hops", 3, REPORT_PLAIN},
                                            {"packets", "packets", 0, REPORT_PLAIN},
                                            {"drained", "drained", -1, REPORT_PLAIN},
                                            {"cycles", "cycles", 0, REPORT_PLAIN},
                                            {"flit_hops", "flit-hops", 0, REPORT_PLAIN},
                                            {NULL, NULL, 0, REPORT_PLAIN}};
    sight seen = {r, network, hardware};
    spry_status status = SPRY_OK;

    report_table_begin(r, "points", "Rates", columns);
    for (int i = 0; i < s->count && status == SPRY_OK; i++) {
        traffic_result result;
        double begin = simulate_seconds();

        traffic->rate = round((s->from + s->step * i) * 1e9) * 1e-9; /* 0.14, not 0.13999... */
        if (i + 1 == s->count) {
            traffic->timeline = r->timeline;
            traffic->look = tell_mesh;
            traffic->context = &seen;
        }
        status = traffic_run(NULL, network, traffic, &result, error);
        tell_row(r, traffic->rate, &result);
        output_detail(call, "rate %.4g at %.1f M flit-hops/s", traffic->rate,
                      (double)result.flit_hops / ((simulate_seconds() - begin) * 1e6 + 1e-3));
        if (s->count == 1) {
            report_table_quiet(r);
            tell_one(r, &result);
        }
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const output_record record = {.is_seeded = true, .seed = (uint64_t)cli_integer(call, "seed")};
    mesh_options network;
    mesh_hardware hardware;
    traffic_options traffic;
    char title[64];
    sweep s;
    report r = {0};
    target *t = NULL;
    spry_status status = parse_sweep(call, &s, error);

    if (status == SPRY_OK) {
        status = simulate_target(call, "mesh-8x8", &t, error);
    }
    if (status == SPRY_OK) {
        status = gather(call, t, &network, &hardware, &traffic, error);
    }
    if (status == SPRY_OK) {
        (void)snprintf(title, sizeof title, "Mesh of %d x %d routers", network.width,
                       network.height);
        simulate_report(&r, call, title);
        status = measure(call, &s, &network, &hardware, &traffic, &r, error);
    }
    if (status == SPRY_OK && s.count > 1) {
        tell_curve(&r, &r.tables[0]);
    }
    if (status == SPRY_OK) {
        report_word(&r, "routing", "routing", mesh_routing_name(network.routing));
        report_word(&r, "traffic", "traffic", traffic_pattern_name(traffic.pattern));
        report_number(&r, "packet", "packet", traffic.packet_flits, 0, "flits");
        status = simulate_tell(call, &r, t, &record, error);
    }
    report_fini(&r);
    target_destroy(t);
    return status;
}

const simulate_model simulate_noc = {
    .name = "noc",
    .part = {.title = "noc",
             .about = "A mesh of routers with virtual channels under synthetic traffic: latency "
                      "from a packet's making, and from its leaving, flits that arrive, routers on "
                      "the way.",
             .options = own},
    .options = taken,
    .run = run};
