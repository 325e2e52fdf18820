/* The report of spry quantize as text. */
#include "cli/quantize_report.h"

#include <inttypes.h>

#include "cli/output.h"
#include "cli/table.h"

enum { WORST_LAYERS = 8 };

/* The rows with the lowest ratio of signal to noise, worst first. */
static int32_t worst_rows(const spry_quantize_row *rows, int32_t count, int32_t *worst)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < count; i++) {
        int32_t place = kept < WORST_LAYERS ? kept++ : WORST_LAYERS;

        while (place > 0 && rows[i].sqnr_db < rows[worst[place - 1]].sqnr_db) {
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

static spry_status print_layers(const cli_call *call, const quantize_result *r, spry_error *error)
{
    static const table_column columns[] = {{"worst layers", false}, {"weights", true},
                                           {"SQNR dB", true},       {"kernel sum", true},
                                           {"channel sum", true},   {NULL, false}};
    const spry_quantize_row *rows;
    int32_t count = spry_quantization_rows(r->facts, &rows);
    int32_t worst[WORST_LAYERS];
    int32_t kept = worst_rows(rows, count, worst);
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < kept; i++) {
        const spry_quantize_row *row = &rows[worst[i]];

        table_cell(&t, "%s", row->node);
        table_cell(&t, "%" PRId64, row->weights);
        table_cell(&t, "%.1f", row->sqnr_db);
        table_cell(&t, "%.2f -> %.2f", row->kernel_error_before, row->kernel_error_after);
        table_cell(&t, "%.2f -> %.2f", row->channel_error_before, row->channel_error_after);
    }
    spry_status status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

/* Products that a search was made for, those with the largest errors first. */
static int32_t worst_products(const spry_quantize_layer *layers, int32_t count, int32_t *worst)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < count; i++) {
        int32_t place = kept < WORST_LAYERS ? kept++ : WORST_LAYERS;

        while (place > 0 && layers[i].error_after > layers[worst[place - 1]].error_after) {
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
    int32_t kept = worst_products(layers, count, worst);
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
    table t;

    table_init(&t, columns);
    table_cell(&t, "file, MB");
    table_cell(&t, "%.2f", (double)r->before.bytes * 1e-6);
    table_cell(&t, "%.2f", (double)r->after.bytes * 1e-6);
    table_cell(&t, "%.2f x smaller", (double)r->before.bytes / (double)r->after.bytes);
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
    spry_status status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

spry_status quantize_report_text(const cli_call *call, const quantize_result *r, spry_error *error)
{
    const spry_quantize_row *rows;
    const spry_quantize_skip *skips;
    int32_t count = spry_quantization_rows(r->facts, &rows);
    int32_t skipped = spry_quantization_skipped(r->facts, &skips);

    (void)fprintf(call->out, "%s: %" PRId32 " weight tensors of %d bits", r->options->method, count,
                  r->options->weight_bits);
    if (r->options->activation_bits != 0) {
        (void)fprintf(call->out, ", %" PRId32 " activations of %d bits",
                      spry_quantization_activations(r->facts), r->options->activation_bits);
    }
    (void)fprintf(call->out, " in %.2f s\n\n", r->seconds);
    spry_status status = print_layers(call, r, error);
    if (status == SPRY_OK) {
        (void)fputc('\n', call->out);
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
