/* Scheduling the bursts of spry simulate metro, one after the other. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/progress_bar.h"
#include "cli/simulate/metro.h"
#include "simulate/metro/exact.h"
#include "simulate/metro/fit.h"
#include "simulate/metro/search.h"
#include "simulate/noc/traffic.h"

enum { EXACT_VISITS = 4000000 };

const metro_rival metro_rivals[METRO_RIVALS] = {{"tree", MESH_DOR, METRO_TREES},
                                                {"tree_sums", MESH_DOR, METRO_TREES_SUMS},
                                                {"dor", MESH_DOR, METRO_EACH},
                                                {"xy_yx", MESH_XY_YX, METRO_EACH},
                                                {"romm", MESH_ROMM, METRO_EACH},
                                                {"valiant", MESH_VALIANT, METRO_EACH},
                                                {"min_adapt", MESH_MIN_ADAPT, METRO_EACH},
                                                {"adaptive", MESH_ADAPTIVE, METRO_EACH}};

bool metro_compares(const metro_job *j)
{
    return cli_given(j->call, "compare");
}

double metro_gap(const metro_row *row)
{
    return row->bound > 0 ? (double)row->makespan / (double)row->bound - 1.0 : 0.0;
}

/* ---- one burst ---- */

/* When each link is in use, chunk by chunk. */
static void draw_links(const metro_job *j, const metro_schedule *s)
{
    static const char *const names[METRO_LINKS] = {"east", "west", "north", "south", "in", "out"};
    timeline *t = j->r.timeline;

    for (int link = 0; t != NULL && link < s->link_count; link++) {
        for (size_t i = 0; i < s->count && s->links[link].count > 0; i++) {
            const metro_injection *c = &s->items[i];
            const metro_tree *tree = s->trees[c->flow];
            char name[48];

            for (int k = 0; k < tree->count; k++) {
                uint64_t start = (uint64_t)(c->start + (int64_t)METRO_HOP * tree->steps[k].depth);

                if (tree->steps[k].link != link) {
                    continue;
                }
                if (j->tracks[link] == 0) {
                    (void)snprintf(name, sizeof name, "node %d %s", link / METRO_LINKS,
                                   names[link % METRO_LINKS]);
                    j->tracks[link] = timeline_track(t, name) + 1;
                }
                (void)snprintf(name, sizeof name, "flow %" PRId64, s->flows->items[c->flow].id);
                timeline_span(t, j->tracks[link] - 1, j->clock + start * TRAFFIC_CYCLE,
                              j->clock + (start + (uint64_t)c->flits) * TRAFFIC_CYCLE,
                              s->flows->items[c->flow].is_reduce ? "sums" : "flits",
                              timeline_keep(t, name));
            }
        }
    }
}

static void count_links(const metro_schedule *s, metro_row *row)
{
    for (int i = 0; i < s->flows->count; i++) {
        const metro_tree *tree = s->trees[i];
        int64_t flits = metro_flits(&s->options, &s->flows->items[i]);

        for (int k = 0; k < tree->count; k++) {
            int node = tree->steps[k].link / METRO_LINKS;
            int way = tree->steps[k].link % METRO_LINKS;

            row->router_flits += way != METRO_INJECT ? flits : 0;
            row->mesh_flits += way < METRO_INJECT ? flits : 0;
            if (way < METRO_INJECT) {
                row->links[node * REPORT_WAYS + way] += (double)flits;
            } else if (way == METRO_EJECT) {
                row->nodes[node] += (double)flits;
            }
        }
    }
}

/* What was found is scheduled once more, fitted into tables, and put to the test. */
static spry_status confirm(metro_job *j, const metro_flows *f, const metro_found *found,
                           metro_row *row, spry_error *error)
{
    metro_schedule s = {0};
    metro_program p = {0};
    metro_replayed replayed = {0};
    spry_status status = metro_schedule_fit(f, &j->options, found->routes, found->order,
                                            j->hardware.table, &s, &p, error);

    if (status == SPRY_OK) {
        status = metro_replay(&s, &p, &replayed, error);
    }
    if (status == SPRY_OK && s.count > 0 && replayed.finish > s.makespan) {
        status = spry_fail(error, SPRY_INTERNAL, "replay", NULL,
                           "it took %" PRId64 " cycles, not %" PRId64, replayed.finish, s.makespan);
    }
    if (status == SPRY_OK) {
        row->makespan = s.makespan;
        row->bound = s.bound;
        row->tardiness = s.tardiness;
        row->flit_links = s.flit_links;
        row->entries = (int64_t)p.count;
        row->most_entries = p.most_entries;
        row->chunk = s.options.chunk_flits;
        count_links(&s, row);
        draw_links(j, &s);
        if (j->file != NULL) {
            json_write_object(&j->file->json, NULL);
            json_write_string(&j->file->json, "name", row->name);
            metro_schedule_write(&s, &p, &j->file->json);
            json_write_end(&j->file->json);
        }
    }
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    return status;
}

/* The same routes and order with headers of other kinds: what it saves to have none. */
static spry_status compare_headers(const metro_job *j, const metro_flows *f,
                                   const metro_found *found, metro_row *row, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < METRO_HEADERS_COUNT && status == SPRY_OK; i++) {
        metro_options options = j->options;
        metro_schedule s = {0};

        options.headers = (metro_headers)i;
        options.chunk_flits = row->chunk;
        status = metro_schedule_make(f, &options, found->routes, found->order, &s, error);
        row->headers[i] = s.makespan;
        metro_schedule_fini(&s);
    }
    return status;
}

static spry_status compare(const metro_job *j, const metro_flows *f, const metro_found *found,
                           metro_row *row, spry_error *error)
{
    spry_status status = compare_headers(j, f, found, row, error);

    for (int i = 0; i < METRO_RIVALS && status == SPRY_OK; i++) {
        mesh_options network = j->network;

        network.routing = metro_rivals[i].routing;
        status =
            metro_packets(f, &j->options, &network, metro_rivals[i].how, &row->rivals[i], error);
    }
    return status;
}

static spry_status find_optimum(const metro_job *j, const metro_flows *f, arena *memory,
                                metro_row *row, spry_error *error)
{
    metro_exact exact = {0};
    spry_status status =
        metro_exact_find(f, &j->options, row->makespan, EXACT_VISITS, memory, &exact, error);

    row->optimum = !exact.is_proven                 ? -1
                   : exact.makespan < row->makespan ? exact.makespan
                                                    : row->makespan;
    return status;
}

static spry_status schedule_burst(metro_job *j, const metro_flows *f, metro_row *row,
                                  spry_error *error)
{
    metro_search_options search = metro_search_options_default();
    size_t nodes = (size_t)f->width * (size_t)f->height;
    metro_found found = {0};
    arena memory;
    int64_t begin = clock_ns();
    spry_status status;

    arena_init(&memory, NULL, (size_t)1 << 30);
    search.seed = (uint64_t)cli_integer(j->call, "seed");
    search.generations = (int)cli_integer(j->call, "generations");
    search.team = j->team;
    row->flows = f->count;
    row->links = arena_array(&j->layers.memory, nodes * REPORT_WAYS, sizeof *row->links);
    row->nodes = arena_array(&j->layers.memory, nodes, sizeof *row->nodes);
    status = row->links == NULL || row->nodes == NULL
                 ? spry_fail(error, SPRY_LIMIT, "metro", NULL, "no memory for %zu nodes", nodes)
                 : metro_search(f, &j->options, &search, &memory, &found, error);
    j->seconds += (double)(clock_ns() - begin) * 1e-9;
    row->floor = found.floor;
    row->first = found.first;
    row->generations = found.generations;
    if (status == SPRY_OK) {
        status = confirm(j, f, &found, row, error);
    }
    if (status == SPRY_OK && metro_compares(j)) {
        status = compare(j, f, &found, row, error);
    }
    if (status == SPRY_OK && cli_given(j->call, "exact")) {
        status = find_optimum(j, f, &memory, row, error);
    }
    arena_fini(&memory);
    return status;
}

static spry_status schedule_layer(metro_job *j, const simulate_layer *l, metro_row *row,
                                  spry_error *error)
{
    metro_flows f;
    spry_status status;

    metro_flows_init(&f, j->network.width, j->network.height);
    row->parts = metro_parts_of(l, j->network.width, j->network.height);
    row->compute = metro_layer_compute(l, &j->tiles, row->parts);
    status = metro_layer_flows(&f, l, &j->tiles, row->parts, error);
    if (status == SPRY_OK) {
        status = schedule_burst(j, &f, row, error);
    }
    metro_flows_fini(&f);
    return status;
}

/* ---- all of them ---- */

/* A burst's computing and moving, side by side; the next begins when both have ended. */
static void draw_row(metro_job *j, const metro_row *row, const int tracks[2])
{
    const char *name = timeline_keep(j->r.timeline, row->name);
    uint64_t compute = (uint64_t)row->compute * TRAFFIC_CYCLE;
    uint64_t moving = (uint64_t)row->makespan * TRAFFIC_CYCLE;

    timeline_span(j->r.timeline, tracks[0], j->clock, j->clock + compute, "computing", name);
    timeline_span(j->r.timeline, tracks[1], j->clock, j->clock + moving, "moving", name);
    j->clock += compute > moving ? compute : moving;
}

spry_status metro_schedule_all(metro_job *j, spry_error *error)
{
    const int tracks[2] = {timeline_track(j->r.timeline, "computing"),
                           timeline_track(j->r.timeline, "moving")};
    spry_status status = SPRY_OK;
    progress_bar bar;

    progress_bar_begin(&bar, j->call);
    for (int32_t i = 0; i < j->count && status == SPRY_OK; i++) {
        const char *name = j->rows[i].name;
        int32_t twin = 0;

        j->rows[i] = (metro_row){.name = name};
        while (!j->is_file &&
               !simulate_layers_are_alike(&j->layers.items[twin], &j->layers.items[i])) {
            twin++;
        }
        if (j->is_file) {
            status = schedule_burst(j, &j->flows, &j->rows[i], error);
        } else if (twin < i) {
            j->rows[i] = j->rows[twin];
            j->rows[i].name = name;
        } else {
            status = schedule_layer(j, &j->layers.items[i], &j->rows[i], error);
        }
        draw_row(j, &j->rows[i], tracks);
        if (status == SPRY_OK) {
            status = progress_report(&bar.hook, "scheduling", i + 1, j->count, error);
        }
    }
    progress_bar_end(&bar);
    return status;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static double joules_of_packets(const mesh_hardware *h, const metro_options *o,
                                const mesh_counts *c)
{
    double bits = (double)o->flit_bits;

    return bits * ((double)c->flit_hops * (h->crossbar_bit + h->buffer_bit) +
                   (double)(c->flit_hops - c->ejected_flits) * h->link_bit) +
           (double)c->packet_hops * h->allocation;
}

metro_total metro_sum_up(const metro_job *j)
{
    metro_total t = {0};

    for (int32_t i = 0; i < j->count; i++) {
        const metro_row *r = &j->rows[i];

        t.compute += r->compute;
        t.makespan += r->makespan;
        t.bound += r->bound;
        t.floor += r->floor;
        t.tardiness += r->tardiness;
        t.processing += larger(r->compute, r->makespan);
        t.router_flits += r->router_flits;
        t.mesh_flits += r->mesh_flits;
        t.entries += r->entries;
        t.worst_gap = fmax(t.worst_gap, metro_gap(r));
        for (int k = 0; k < METRO_HEADERS_COUNT; k++) {
            t.headers[k] += r->headers[k];
        }
        for (int k = 0; k < METRO_RIVALS && r->makespan > 0 && metro_compares(j); k++) {
            uint64_t packets = r->rivals[k].makespan;

            t.packets[k] += packets;
            t.packets_processing[k] += (uint64_t)larger(r->compute, (int64_t)packets);
            t.log_ratio[k] += log((double)packets / (double)r->makespan);
            t.joules[k] += joules_of_packets(&j->hardware, &j->options, &r->rivals[k].counts);
        }
    }
    return t;
}
