/* What spry simulate metro reports. */
#include <math.h>
#include <stdio.h>

#include "cli/simulate/metro.h"

static const report_column layer_columns[] = {
    {"name", "layer", -1, REPORT_PLAIN},           {"parts", "parts", -1, REPORT_PLAIN},
    {"flows", "flows", 0, REPORT_PLAIN},           {"compute", "compute", 0, REPORT_BAR},
    {"makespan", "moving", 0, REPORT_BAR},         {"bound", "bound", 0, REPORT_PLAIN},
    {"floor", "floor", 0, REPORT_PLAIN},           {"gap", "gap %", 2, REPORT_PLAIN},
    {"rule_of_thumb", "rule", 0, REPORT_PLAIN},    {"generations", "gen", 0, REPORT_PLAIN},
    {"flit_links", "flit-links", 0, REPORT_PLAIN}, {"most_entries", "entries", 0, REPORT_PLAIN},
    {"chunk", "chunk", 0, REPORT_PLAIN},           {NULL, NULL, 0, REPORT_PLAIN}};

static void tell_layers(metro_job *j)
{
    report *r = &j->r;

    report_table_begin(r, "layers", "Layers, in cycles", layer_columns);
    for (int32_t i = 0; i < j->count; i++) {
        const metro_row *row = &j->rows[i];
        char parts[32] = "-";

        if (!j->is_file) {
            (void)snprintf(parts, sizeof parts, "%dx%dx%d", row->parts.filters, row->parts.pixels,
                           row->parts.channels);
        }
        report_cell_word(r, row->name);
        report_cell_word(r, parts);
        report_cell(r, row->flows);
        report_cell(r, (double)row->compute);
        report_cell(r, (double)row->makespan);
        report_cell(r, (double)row->bound);
        report_cell(r, (double)row->floor);
        report_cell(r, 100.0 * metro_gap(row));
        report_cell(r, (double)row->first);
        report_cell(r, row->generations);
        report_cell(r, (double)row->flit_links);
        report_cell(r, row->most_entries);
        report_cell(r, row->chunk);
    }
}

/* By layer: times of packets over that of the schedule. */
static void tell_layer_ratios(metro_job *j)
{
    report_column columns[METRO_RIVALS + 2] = {{"name", "layer", -1, REPORT_PLAIN}};
    report *r = &j->r;

    for (int k = 0; k < METRO_RIVALS; k++) {
        columns[k + 1] =
            (report_column){metro_rivals[k].name, metro_rivals[k].name, 0, REPORT_PLAIN};
    }
    report_table_begin(r, "packets", "The same as packets on routers, in cycles", columns);
    for (int32_t i = 0; i < j->count; i++) {
        report_cell_word(r, j->rows[i].name);
        for (int k = 0; k < METRO_RIVALS; k++) {
            report_cell(r, (double)j->rows[i].rivals[k].makespan);
        }
    }
}

static double joules_of_schedule(const metro_job *j, const metro_total *t)
{
    const mesh_hardware *h = &j->hardware;
    double bits = (double)j->options.flit_bits;

    return bits *
               ((double)t->router_flits * h->crossbar_bit + (double)t->mesh_flits * h->link_bit) +
           (double)t->entries * h->entry;
}

static void tell_rivals(metro_job *j, const metro_total *t)
{
    static const report_column columns[] = {{"name", "against", -1, REPORT_PLAIN},
                                            {"makespan", "cycles", 0, REPORT_BAR},
                                            {"ratio", "times", 2, REPORT_PLAIN},
                                            {"geometric_mean", "geometric", 2, REPORT_PLAIN},
                                            {"saved", "saved %", 1, REPORT_PLAIN},
                                            {"processing", "computing too", 0, REPORT_PLAIN},
                                            {"processing_ratio", "times", 2, REPORT_PLAIN},
                                            {"energy_ratio", "energy, times", 2, REPORT_PLAIN},
                                            {NULL, NULL, 0, REPORT_PLAIN}};
    double joules = joules_of_schedule(j, t);
    report *r = &j->r;

    report_table_begin(r, "rivals", "Packets on routers, all layers together", columns);
    for (int k = 0; k < METRO_RIVALS; k++) {
        double ratio = t->makespan > 0 ? (double)t->packets[k] / (double)t->makespan : 0.0;

        report_cell_word(r, metro_rivals[k].name);
        report_cell(r, (double)t->packets[k]);
        report_cell(r, ratio);
        report_cell(r, exp(t->log_ratio[k] / (double)j->count));
        report_cell(r, ratio > 0 ? 100.0 * (1.0 - 1.0 / ratio) : 0.0);
        report_cell(r, (double)t->packets_processing[k]);
        report_cell(r, t->processing > 0 ? (double)t->packets_processing[k] / (double)t->processing
                                         : 0.0);
        report_cell(r, joules > 0 ? t->joules[k] / joules : 0.0);
    }
}

static void tell_headers(metro_job *j, const metro_total *t)
{
    static const report_column columns[] = {{"headers", "headers", -1, REPORT_PLAIN},
                                            {"makespan", "cycles", 0, REPORT_BAR},
                                            {"over", "more %", 2, REPORT_PLAIN},
                                            {NULL, NULL, 0, REPORT_PLAIN}};
    report *r = &j->r;

    report_table_begin(r, "headers", "The schedule with headers", columns);
    for (int k = 0; k < METRO_HEADERS_COUNT; k++) {
        double over = t->headers[0] > 0 ? (double)t->headers[k] / (double)t->headers[0] - 1.0 : 0.0;

        report_cell_word(r, metro_headers_names[k]);
        report_cell(r, (double)t->headers[k]);
        report_cell(r, 100.0 * over);
    }
}

static void tell_energy(metro_job *j, const metro_total *t)
{
    const mesh_hardware *h = &j->hardware;
    double bits = (double)j->options.flit_bits;
    report *r = &j->r;

    if (h->has_prices) {
        report_energy(r, "links", "bit over a link", bits * (double)t->mesh_flits,
                      h->link_bit * 1e12, h->source);
        report_energy(r, "routers", "bit through a crossbar", bits * (double)t->router_flits,
                      h->crossbar_bit * 1e12, h->source);
        report_energy(r, "tables", "entry read", (double)t->entries, h->entry * 1e12, h->source);
    }
}

static void tell_load(metro_job *j)
{
    size_t nodes = (size_t)j->network.width * (size_t)j->network.height;
    double *links = arena_array(&j->r.memory, nodes * REPORT_WAYS, sizeof *links);
    double *ends = arena_array(&j->r.memory, nodes, sizeof *ends);

    j->r.failed |= links == NULL || ends == NULL;
    for (int32_t i = 0; i < j->count && !j->r.failed; i++) {
        for (size_t k = 0; k < nodes * REPORT_WAYS; k++) {
            links[k] += j->rows[i].links[k];
        }
        for (size_t k = 0; k < nodes; k++) {
            ends[k] += j->rows[i].nodes[k];
        }
    }
    report_heat(&j->r, &(report_heat_map){.key = "links",
                                          .title = "Load of links, and what reaches nodes",
                                          .unit = "flits",
                                          .width = j->network.width,
                                          .height = j->network.height,
                                          .cells = ends,
                                          .links = links});
}

static void tell_optimum(metro_job *j)
{
    const metro_row *row = &j->rows[0];

    if (j->count == 1 && cli_given(j->call, "exact") && row->optimum >= 0) {
        report_number(&j->r, "optimum", "optimum", (double)row->optimum, 0,
                      "cycles: no order and no routes end sooner");
    } else if (j->count == 1 && cli_given(j->call, "exact")) {
        report_word(&j->r, "optimum", "optimum", "not proven within the limit of the search");
    }
}

void metro_tell_rows(metro_job *j)
{
    const metro_total t = metro_sum_up(j);
    int64_t starts = (int64_t)j->count * METRO_HOP * (j->network.width + j->network.height - 2);
    report *r = &j->r;

    tell_layers(j);
    if (metro_compares(j)) {
        tell_layer_ratios(j);
        tell_rivals(j, &t);
        tell_headers(j, &t);
    }
    report_number(r, "makespan", "moving", (double)t.makespan, 0, "cycles");
    report_number(r, "bound", "bound", (double)t.bound, 0, "cycles, of these routes");
    report_number(r, "floor", "floor", (double)t.floor, 0, "cycles, of any routes");
    report_number(r, "gap", "gap",
                  t.bound > 0 ? 100.0 * ((double)t.makespan / (double)t.bound - 1.0) : 0.0, 2,
                  "% above the bound");
    report_number(r, "worst_gap", "worst", 100.0 * t.worst_gap, 2, "% of a layer");
    tell_optimum(j);
    report_number(r, "tardiness", "late", (double)t.tardiness, 0, "cycles over all flows");
    if (!j->is_file) {
        report_number(r, "compute", "computing", (double)t.compute, 0, "cycles");
        report_number(r, "processing", "both", (double)t.processing, 0,
                      "cycles, one beside the other");
    }
    report_number(r, "starts", "starting", (double)starts, 0,
                  "cycles of pulses to all routers, not counted above");
    report_number(r, "entries", "tables", (double)t.entries, 0, "entries");
    tell_energy(j, &t);
    tell_load(j);
}

/* ---- widths ---- */

enum { LINES = 3 };

void metro_tell_widths(metro_job *j, const int *widths, const metro_total *totals, int count)
{
    static const int shown[LINES] = {0, 1, 2}; /* of the rivals */
    static const report_column columns[] = {
        {"flit", "flit", 0, REPORT_PLAIN},        {"makespan", "moving", 0, REPORT_BAR},
        {"bound", "bound", 0, REPORT_PLAIN},      {"processing", "with computing", 0, REPORT_BAR},
        {"tree", "tree, times", 3, REPORT_PLAIN}, {"tree_sums", "tree+sums", 3, REPORT_PLAIN},
        {"dor", "dor", 3, REPORT_PLAIN},          {NULL, NULL, 0, REPORT_PLAIN}};
    double *x = arena_array(&j->r.memory, (size_t)count * (LINES + 2), sizeof *x);
    report *r = &j->r;

    if (x == NULL) {
        r->failed = true;
        return;
    }
    report_table_begin(r, "widths",
                       "Widths of links; packets with computing beside them, in "
                       "times of the schedule",
                       columns);
    for (int i = 0; i < count; i++) {
        const metro_total *t = &totals[i];

        x[i] = widths[i];
        x[count + i] = (double)t->makespan;
        report_cell(r, widths[i]);
        report_cell(r, (double)t->makespan);
        report_cell(r, (double)t->bound);
        report_cell(r, (double)t->processing);
        for (int k = 0; k < LINES; k++) {
            double ratio = (double)t->packets_processing[shown[k]] / (double)t->processing;

            x[(2 + k) * count + i] = metro_compares(j) ? ratio : (double)NAN;
            report_cell(r, metro_compares(j) ? ratio : 0.0);
        }
    }
    report_chart_begin(r, &(report_chart_names){.key = "moving_by_width",
                                                .title = "Moving against the width of links",
                                                .x_name = "bits of a flit",
                                                .y_name = "cycles",
                                                .log_x = true,
                                                .log_y = true});
    report_line(r, "scheduled", x, x + count, count);
    if (metro_compares(j)) {
        report_chart_begin(
            r, &(report_chart_names){.key = "ratio_by_width",
                                     .title = "Time of packets over that of the schedule",
                                     .x_name = "bits of a flit",
                                     .y_name = "times, computing beside both",
                                     .log_x = true});
        for (int k = 0; k < LINES; k++) {
            report_line(r, metro_rivals[shown[k]].name, x, x + (2 + k) * count, count);
        }
    }
}
