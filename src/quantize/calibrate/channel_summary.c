/* Sums of channels, batch by batch. */
#include "quantize/calibrate/channel_summary.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/calibrate/samples.h"

typedef struct summer {
    channel_summary *of;
    int32_t count;
} summer;

bool channel_summary_last(const graph_node *n)
{
    return strcmp(n->type, "Gemm") == 0 || strcmp(n->type, "MatMul") == 0;
}

static double sum_of(const float *x, int64_t count)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i];
    }
    return sum;
}

static spry_status add_up(const spry_tensor *t, channel_summary *of, spry_error *error)
{
    const float *x = t->data;
    int64_t count = tensor_count(t);
    bool has_channels = of->channels_last ? t->rank >= 1 : t->rank >= 2;
    int64_t inner = of->channels_last || !has_channels ? 1 : tensor_span(t, 2, t->rank);

    if (!has_channels || t->shape[of->channels_last ? t->rank - 1 : 1] != of->channels) {
        return spry_fail(error, SPRY_BAD_INPUT, "calibration", NULL,
                         "a value has other channels than the weights that meet it");
    }
    for (int64_t i = 0; i < count; i += inner) {
        int64_t c = i / inner % of->channels;

        if (of->means != NULL) {
            of->means[c] += sum_of(x + i, inner);
        }
        for (int64_t k = 0; of->low != NULL && k < inner; k++) {
            of->low[c] = x[i + k] < of->low[c] ? x[i + k] : of->low[c];
            of->high[c] = x[i + k] > of->high[c] ? x[i + k] : of->high[c];
        }
    }
    of->numbers += (double)count / (double)of->channels;
    return SPRY_OK;
}

static spry_status watch(void *context, const samples_view *view, spry_error *error)
{
    summer *s = context;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < s->count; i++) {
        status = add_up(view->tensors[i], &s->of[i], error);
    }
    return status;
}

static void clear(channel_summary *of)
{
    of->numbers = 0.0;
    for (int64_t c = 0; c < of->channels; c++) {
        if (of->means != NULL) {
            of->means[c] = 0.0;
        }
        if (of->low != NULL) {
            of->low[c] = INFINITY;
            of->high[c] = -INFINITY;
        }
    }
}

spry_status channel_summary_find(const model *m, const spry_quantize_options *options,
                                 channel_summary *of, int32_t count, const char *what,
                                 spry_error *error)
{
    size_t bytes = ((size_t)count + 1) * sizeof(int32_t);
    int32_t *values = alloc_bytes(&m->allocator, bytes);
    summer s = {of, count};
    spry_status status;

    if (values == NULL) {
        return alloc_failed(error, bytes);
    }
    for (int32_t i = 0; i < count; i++) {
        values[i] = of[i].value;
        clear(&of[i]);
    }
    status = samples_visit(m, options, values, count, what, watch, &s, error);
    alloc_release(&m->allocator, values, bytes);
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        for (int64_t k = 0; of[i].means != NULL && of[i].numbers > 0.0 && k < of[i].channels; k++) {
            of[i].means[k] /= of[i].numbers;
        }
    }
    return status;
}
