/* The report of spry quantize as text. */
#include "cli/quantize/report.h"

#include <inttypes.h>
#include <math.h>

#include "cli/output.h"
#include "cli/table.h"

enum { WORST_LAYERS = 8 };

/* Prints what was collected, and ends the table. */
static spry_status finish(table *t, const cli_call *call, spry_error *error)
{
    spry_status status = table_print(t, TABLE_PLAIN, call->out, error);

    table_fini(t);
    return status;
}

/* The same, with an empty line behind it. */
static spry_status finish_part(table *t, const cli_call *call, spry_error *error)
{
    spry_status status = finish(t, call, error);

    (void)fputc('\n', call->out);
    return status;
}

/* Indices of the rows whose loss is largest, worst first; returns how many. */
static int32_t find_worst(const void *rows, int32_t count,
                          double (*loss)(const void *rows, int32_t index), int32_t *worst)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < count; i++) {
        int32_t place = kept < WORST_LAYERS ? kept++ : WORST_LAYERS;

        while (place > 0 && loss(rows, i) > loss(rows, worst[place - 1])) {
            if (place < WORST_LAYERS) {
                worst[place] = worst[place - 1];
            }
            place--;
        }
        if (place < WORST_LAYERS) {
            worst[place] = i;
        }
    }
    return kept;
}

static double loss_of_row(const void *rows, int32_t index)
{
    return -((const spry_quantize_row *)rows)[index].sqnr_db;
}

static double loss_of_product(const void *rows, int32_t index)
{
    return ((const spry_quantize_layer *)rows)[index].error_after;
}

static spry_status print_layers(const cli_call *call, const quantize_result *r, spry_error *error)
{
    const table_column columns[] = {{cli_given(call, "dry-run") ? "layers" : "worst layers", false},
                                    {"weights", true},
                                    {"bits", true},
                                    {"SQNR dB", true},
                                    {"kernel sum", true},
                                    {"channel sum", true},
                                    {NULL, false}};
    const spry_quantize_row *rows;
    int32_t count = spry_quantization_rows(r->facts, &rows);
    bool all = cli_given(call, "dry-run");
    int32_t worst[WORST_LAYERS];
    int32_t kept = all ? count : find_worst(rows, count, loss_of_row, worst);
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < kept; i++) {
        const spry_quantize_row *row = &rows[all ? i : worst[i]];

        table_cell(&t, "%s", row->node);
        table_cell(&t, "%" PRId64, row->weights);
        table_cell(&t, "%.2f", row->bits_per_weight);
        table_cell(&t, "%.1f", row->sqnr_db);
        table_cell(&t, "%.2f -> %.2f", row->kernel_error_before, row->kernel_error_after);
        table_cell(&t, "%.2f -> %.2f", row->channel_error_before, row->channel_error_after);
    }
    return finish(&t, call, error);
}

static bool has_integers(const quantize_result *r)
{
    int64_t macs;
    int64_t of_integers;

    spry_quantization_macs(r->facts, &macs, &of_integers);
    return of_integers > 0 && !r->options->requantize;
}

static void put_product(table *t, const spry_quantize_layer *l)
{
    table_cell(t, "%s", l->node);
    table_cell(t, "%s", l->grid);
    table_cell(t, "%.4g", (double)l->step);
    if (l->fine_step > 0.0f) {
        table_cell(t, "%.3g", (double)(l->step / l->fine_step));
    } else {
        table_cell(t, "-");
    }
    table_cell(t, "%.3g -> %.3g", l->error_before, l->error_after);
}

static spry_status print_products(const cli_call *call, const quantize_result *r, spry_error *error)
{
    static const table_column columns[] = {
        {"worst products", false}, {"grid", false}, {"step", true},
        {"twin ratio", true},      {"error", true}, {NULL, false}};
    const spry_quantize_layer *layers;
    int32_t count = spry_quantization_layers(r->facts, &layers);
    int32_t worst[WORST_LAYERS];
    int32_t kept = find_worst(layers, count, loss_of_product, worst);
    int32_t twins = 0;
    const char *remark = "";
    spry_status status;
    table t;

    if (count == 0) {
        return SPRY_OK;
    }
    table_init(&t, columns);
    for (int32_t i = 0; i < kept; i++) {
        put_product(&t, &layers[worst[i]]);
    }
    status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    for (int32_t i = 0; i < count; i++) {
        twins += layers[i].fine_step > 0.0f;
        remark = layers[i].remark[0] != '\0' ? layers[i].remark : remark;
    }
    (void)fprintf(call->out, "\n%" PRId32 " products, %" PRId32 " of them with twin ranges\n\n",
                  count, twins);
    if (remark[0] != '\0') {
        output_note(call, "squared error instead of the metric: %s", remark);
    }
    return status;
}

static spry_status print_sides(const cli_call *call, const quantize_result *r, spry_error *error)
{
    static const table_column columns[] = {
        {"", false}, {"before", true}, {"after", true}, {"", true}, {NULL, false}};
    int64_t macs;
    int64_t of_integers;
    table t;

    table_init(&t, columns);
    if (r->after.bytes > 0) {
        table_cell(&t, "file, MB");
        table_cell(&t, "%.2f", (double)r->before.bytes * 1e-6);
        table_cell(&t, "%.2f", (double)r->after.bytes * 1e-6);
        table_cell(&t, "%.2f x smaller", (double)r->before.bytes / (double)r->after.bytes);
    }
    spry_quantization_macs(r->facts, &macs, &of_integers);
    if (has_integers(r)) {
        table_cell(&t, "%s", "integer MACs, %");
        table_cell(&t, "0");
        table_cell(&t, "%.1f", 100.0 * (double)of_integers / (double)macs);
        table_cell(&t, "%s", "");
    }
    if (r->speed_up > 0.0) {
        table_cell(&t, "one run, ms");
        table_cell(&t, "%.3f", r->before.median_ms);
        table_cell(&t, "%.3f", r->after.median_ms);
        table_cell(&t, "%.2f x faster", r->speed_up);
    }
    if (r->after.top1 >= 0.0) {
        table_cell(&t, "%s", "top-1, %");
        table_cell(&t, "%.2f", 100.0 * r->before.top1);
        table_cell(&t, "%.2f", 100.0 * r->after.top1);
        table_cell(&t, "%+.2f points", 100.0 * (r->after.top1 - r->before.top1));
    }
    return finish(&t, call, error);
}

/* ---- what was searched and measured ---- */

static spry_status print_sensitivity(const cli_call *call, const spry_sensitivity *s,
                                     spry_error *error)
{
    static const table_column columns[] = {{"quantized alone", false}, {"divergence", true},
                                           {"SQNR dB", true},          {"same best %", true},
                                           {"top-1 points", true},     {NULL, false}};
    const spry_sensitivity_row *rows;
    int32_t count = spry_sensitivity_rows(s, &rows);
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s", rows[i].node);
        table_cell(&t, "%.2e", rows[i].divergence);
        table_cell(&t, "%.1f", rows[i].sqnr_db);
        if (rows[i].agreement >= 0.0) {
            table_cell(&t, "%.1f", 100.0 * rows[i].agreement);
            table_cell(&t, "%+.2f", 100.0 * (rows[i].top1 - spry_sensitivity_float_top1(s)));
        } else {
            table_cell(&t, "%s", "");
            table_cell(&t, "%s", "");
        }
    }
    return finish_part(&t, call, error);
}

static void add_ms(table *t, double ms)
{
    if (ms > 0.0) {
        table_cell(t, "%.4f", ms);
    } else {
        table_cell(t, "%s", "");
    }
}

static spry_status print_bits(const cli_call *call, const spry_mixed *mixed, spry_error *error)
{
    static const table_column columns[] = {
        {"chosen bits", false}, {"bits", true}, {"KL at 8", true}, {"KL at least", true},
        {"ms f32", true},       {"ms 8", true}, {"", false},       {NULL, false}};
    const spry_mixed_row *rows;
    int32_t count = spry_mixed_rows(mixed, &rows);
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s", rows[i].node);
        if (rows[i].bits == 0) {
            table_cell(&t, "%s", "f32");
        } else {
            table_cell(&t, "%d", rows[i].bits);
        }
        table_cell(&t, "%.1e", rows[i].divergence[1]);
        table_cell(&t, "%.1e", rows[i].divergence[2]);
        add_ms(&t, rows[i].ms[0]);
        add_ms(&t, rows[i].ms[1]);
        table_cell(&t, "%s", rows[i].is_slowed ? "slower in integers" : "");
    }
    return finish_part(&t, call, error);
}

static spry_status print_trials(const cli_call *call, const spry_mixed *mixed, spry_error *error)
{
    static const table_column columns[] = {
        {"whole models tried", false}, {"f32", true}, {"8 bits", true}, {"fewer", true},
        {"top-1 points", true},        {"ms", true},  {"", false},      {NULL, false}};
    const spry_mixed_trial *trials;
    int32_t count = spry_mixed_trials(mixed, &trials);
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s", trials[i].what);
        for (int level = 0; level < SPRY_MIXED_LEVELS; level++) {
            table_cell(&t, "%" PRId32, trials[i].count[level]);
        }
        if (isnan(trials[i].drop)) {
            table_cell(&t, "%s", "");
        } else {
            table_cell(&t, "%+.2f", 0.0 - trials[i].drop);
        }
        add_ms(&t, trials[i].ms);
        table_cell(&t, "%s", trials[i].is_kept ? "kept" : "");
    }
    return finish_part(&t, call, error);
}

static spry_status print_measured(const cli_call *call, const quantize_result *r, spry_error *error)
{
    spry_status status = SPRY_OK;

    if (r->sensitivity != NULL) {
        status = print_sensitivity(call, r->sensitivity, error);
    }
    if (status == SPRY_OK && r->mixed != NULL) {
        status = print_bits(call, r->mixed, error);
    }
    if (status == SPRY_OK && r->mixed != NULL) {
        status = print_trials(call, r->mixed, error);
    }
    return status;
}

/* ---- the whole ---- */

/* Counts stand there only where there are several sources. */
static void print_sources(const cli_call *call, const quantize_result *r)
{
    spry_quantize_sources sources = spry_quantization_sources(r->facts);
    const struct {
        const char *name;
        int32_t count;
    } rows[] = {{"samples", sources.samples},
                {"batch-norm statistics", sources.batch_norms},
                {"noise", sources.noise}};
    int32_t all = sources.samples + sources.batch_norms + sources.noise;
    const char *before = "ranges from: ";

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].count > 0) {
            (void)fprintf(call->out, "%s%s", before, rows[i].name);
            before = ", ";
        }
        if (rows[i].count > 0 && rows[i].count < all) {
            (void)fprintf(call->out, " (%" PRId32 ")", rows[i].count);
        }
    }
    (void)fputs(all > 0 ? "\n" : "", call->out);
}

static void print_head(const cli_call *call, const quantize_result *r)
{
    const spry_quantize_row *rows;
    int32_t count = spry_quantization_rows(r->facts, &rows);
    int32_t activations = spry_quantization_activations(r->facts);
    int least = rows[0].bits;
    int most = rows[0].bits;

    for (int32_t i = 1; i < count; i++) {
        least = rows[i].bits < least ? rows[i].bits : least;
        most = rows[i].bits > most ? rows[i].bits : most;
    }
    (void)fprintf(call->out, "%s: %" PRId32 " weight tensors of ", r->options->method, count);
    if (least != most) {
        (void)fprintf(call->out, "%d to ", least);
    }
    (void)fprintf(call->out, "%d bits", most);
    if (activations > 0) {
        (void)fprintf(call->out, ", %" PRId32 " activations", activations);
    }
    if (r->options->activation_bits != 0) {
        (void)fprintf(call->out, " of %d bits", r->options->activation_bits);
    }
    (void)fprintf(call->out, " in %.2f s\n", r->seconds);
    print_sources(call, r);
    (void)fputc('\n', call->out);
}

spry_status quantize_report_text(const cli_call *call, const quantize_result *r, spry_error *error)
{
    const spry_quantize_skip *skips;
    int32_t skipped = spry_quantization_skipped(r->facts, &skips);

    print_head(call, r);
    spry_status status = print_measured(call, r, error);
    if (status == SPRY_OK) {
        status = print_layers(call, r, error);
    }
    if (status == SPRY_OK && (r->after.bytes > 0 || has_integers(r))) {
        (void)fputc('\n', call->out);
    }
    if (status == SPRY_OK) {
        status = print_products(call, r, error);
    }
    if (status == SPRY_OK) {
        status = print_sides(call, r, error);
    }
    for (int32_t i = 0; i < skipped; i++) {
        output_note(call, "%s stays f32: %s", skips[i].node, skips[i].reason);
    }
    return status;
}
