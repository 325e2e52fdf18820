/* Keeping and handing out facts. */
#include "quantize/facts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

spry_status facts_create(const spry_allocator *allocator, const graph *g, spry_quantization **facts,
                         spry_error *error)
{
    spry_quantization *f = alloc_zeroed(allocator, sizeof *f);
    size_t nodes = (size_t)g->node_count + 1;

    if (f == NULL) {
        return alloc_failed(error, sizeof *f);
    }
    f->allocator = *allocator;
    arena_init(&f->memory, allocator, SIZE_MAX);
    *facts = f;
    f->rows = arena_array(&f->memory, nodes, sizeof *f->rows);
    f->skips = arena_array(&f->memory, nodes, sizeof *f->skips);
    f->layers = arena_array(&f->memory, nodes, sizeof *f->layers);
    return f->rows != NULL && f->skips != NULL && f->layers != NULL
               ? SPRY_OK
               : alloc_failed(error, nodes * sizeof *f->rows);
}

spry_status facts_add_row(spry_quantization *f, const graph *g, const weight_record *r,
                          const float *dense, const squant_report *report, int64_t begun,
                          spry_error *error)
{
    const char *name = g->values[r->w.value].name;
    spry_quantize_row *row = &f->rows[f->row_count];
    char label[256];

    (void)graph_node_label(g, &g->nodes[r->w.node], label, sizeof label);
    *row = (spry_quantize_row){.node = arena_text(&f->memory, label, strlen(label)),
                               .weight = arena_text(&f->memory, name, strlen(name)),
                               .weights = weight_count(&r->w),
                               .bits = r->bits,
                               .least_step = r->steps[0],
                               .most_step = r->steps[0],
                               .kernel_flips = report->kernel_flips,
                               .channel_flips = report->channel_flips,
                               .kernel_error_before = report->kernel_error_before,
                               .kernel_error_after = report->kernel_error_after,
                               .channel_error_before = report->channel_error_before,
                               .channel_error_after = report->channel_error_after,
                               .milliseconds = (double)(clock_ns() - begun) * 1e-6,
                               .bits_per_weight = record_bits_per_weight(r)};
    for (int64_t i = 1; i < record_blocks(r); i++) {
        row->least_step = r->steps[i] < row->least_step ? r->steps[i] : row->least_step;
        row->most_step = r->steps[i] > row->most_step ? r->steps[i] : row->most_step;
    }
    row->blocks = record_blocks(r);
    row->remark = r->story != NULL && r->story->remark != NULL
                      ? arena_text(&f->memory, r->story->remark, strlen(r->story->remark))
                      : "";
    if (r->story != NULL) {
        row->order_before = r->story->order_before;
        row->order_sorted = r->story->order_sorted;
        row->order_after = r->story->order_after;
        row->output_error_before = r->story->error_before;
        row->output_error_after = r->story->error_after;
    }
    f->row_count++;
    if (row->node == NULL || row->weight == NULL || row->remark == NULL) {
        return alloc_failed(error, sizeof *row);
    }
    return facts_measure(f, r, dense, row, error);
}

spry_status facts_add_skip(spry_quantization *f, const graph *g, int32_t node, const char *reason,
                           spry_error *error)
{
    spry_quantize_skip *skip = &f->skips[f->skip_count];
    char label[256];

    (void)graph_node_label(g, &g->nodes[node], label, sizeof label);
    *skip = (spry_quantize_skip){arena_text(&f->memory, label, strlen(label)), reason};
    f->skip_count++;
    return skip->node != NULL ? SPRY_OK : alloc_failed(error, sizeof label);
}

spry_status facts_add_layer(spry_quantization *f, const graph *g, int32_t node,
                            const spry_quantize_layer *row, spry_error *error)
{
    spry_quantize_layer *to = &f->layers[f->layer_count];
    char label[256];

    (void)graph_node_label(g, &g->nodes[node], label, sizeof label);
    *to = *row;
    to->node = arena_text(&f->memory, label, strlen(label));
    to->remark = arena_text(&f->memory, row->remark, strlen(row->remark));
    f->layer_count++;
    return to->node != NULL && to->remark != NULL ? SPRY_OK : alloc_failed(error, sizeof label);
}

void spry_quantization_destroy(spry_quantization *facts)
{
    if (facts != NULL) {
        spry_allocator allocator = facts->allocator;

        arena_fini(&facts->memory);
        alloc_release(&allocator, facts, sizeof *facts);
    }
}

int32_t spry_quantization_rows(const spry_quantization *facts, const spry_quantize_row **rows)
{
    *rows = facts->rows;
    return facts->row_count;
}

int32_t spry_quantization_skipped(const spry_quantization *facts,
                                  const spry_quantize_skip **skipped)
{
    *skipped = facts->skips;
    return facts->skip_count;
}

void spry_quantization_macs(const spry_quantization *facts, int64_t *all, int64_t *of_integers)
{
    *all = facts->macs;
    *of_integers = facts->integer_macs;
}

int32_t spry_quantization_layers(const spry_quantization *facts, const spry_quantize_layer **layers)
{
    *layers = facts->layers;
    return facts->layer_count;
}

spry_quantize_sources spry_quantization_sources(const spry_quantization *facts)
{
    return facts->sources;
}

int32_t spry_quantization_activations(const spry_quantization *facts)
{
    return facts->activations;
}
