#include "simulate/mlu/mlu.h"

#include <math.h>

#include "base/alloc.h"

static const double share_at_critical = 9; /* critical / 9 to fill: f(critical) = 0.9 */
static const double most_operations = 4e9; /* of a synthetic layer */
static const double overlap = 0.8;         /* of computing and moving: the share that is hidden */
static const double most_twice = 1; /* of a block's operations, at most as many again at seams */

/* ---- computing ---- */

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Operations of the core that has most, where filters are shared. */
static double by_channels(const mlu_machine *m, const spry_layer *l, int32_t cores)
{
    int64_t pieces = ceil_div(l->out[0], m->grain);
    int64_t mine = ceil_div(pieces, cores) * m->grain;

    return fusion_layer_operations(l) * (double)(mine < l->out[0] ? mine : l->out[0]) /
           (double)l->out[0];
}

/* The same where the rows of the last layer are; *all becomes the sum over cores, *spilled the
 * bytes of images in between that do not stay on the chip. */
static double by_rows(const mlu_context *c, int32_t first, int32_t last, int32_t cores, double *all,
                      double *spilled)
{
    const spry_layer *layers = c->network.layers;
    double most = 0;

    *all = 0;
    *spilled = 0;
    for (int32_t t = 0; t < cores; t++) {
        fusion_rows made = fusion_rows_part(layers[last].out[1], cores, t);
        double mine = 0;

        if (made.from == made.to) {
            continue;
        }
        (void)fusion_rows_needed(&c->network, first, last, made, c->rows);
        for (int32_t i = first; i <= last; i++) {
            const spry_layer *l = &layers[i];
            fusion_rows out = c->rows[i - first];
            fusion_rows in = fusion_rows_clip(fusion_rows_read(l, out), l->in[1]);
            double share = (double)(out.to - out.from) / (double)l->out[1];
            double into = (double)(in.to - in.from) / (double)l->in[1] * fusion_layer_in_bytes(l);
            double from = share * fusion_layer_out_bytes(l);

            mine += share * fusion_layer_operations(l);
            /* Written, and read again by the next layer. */
            *spilled += i < last && into + from > c->machine->on_chip ? 2 * from : 0;
        }
        *all += mine;
        most = fmax(most, mine);
    }
    return most;
}

/* ---- moving ---- */

static double outside_bytes(const mlu_context *c, int32_t first, int32_t last)
{
    const spry_layer *layers = c->network.layers;
    double bytes = fusion_layer_out_bytes(&layers[last]) + fusion_layer_in_bytes(&layers[first]);

    for (int32_t i = first; i <= last; i++) {
        const spry_layer *l = &layers[i];

        bytes += (double)l->weight_bytes;
        for (int32_t k = 1; k < l->input_count; k++) {
            bool is_inside = l->inputs[k] >= first && l->inputs[k] <= last;

            if (!is_inside && l->inputs[k] != layers[first].inputs[0]) {
                bytes += fusion_layer_out_bytes(l); /* an addend of the result's size */
            }
        }
    }
    return bytes;
}

void mlu_block_cost(const mlu_context *c, int32_t first, int32_t last, int32_t cores,
                    mlu_cost *cost)
{
    const mlu_machine *m = c->machine;
    double spilled;
    double most = by_rows(c, first, last, cores, &cost->operations, &spilled);

    if (first == last && m->split != MLU_SPLIT_ROWS) {
        double other = by_channels(m, &c->network.layers[first], cores);

        if (other < most || m->split == MLU_SPLIT_CHANNELS) {
            most = other;
            cost->operations = fusion_layer_operations(&c->network.layers[first]);
        }
    }
    cost->compute = (most + m->critical / share_at_critical) / (m->core_peak * m->efficiency);
    cost->moved = outside_bytes(c, first, last) + spilled;
    cost->traffic = cost->moved / m->bandwidth;
    cost->launch = m->launch;
    cost->synchronize = m->synchronize * (last - first + 1) * log2(cores);
    cost->total = fmax(cost->compute, cost->traffic) +
                  (1 - overlap) * fmin(cost->compute, cost->traffic) + cost->launch +
                  cost->synchronize;
}

double mlu_block_seconds(const void *context, int32_t first, int32_t last, int32_t cores)
{
    mlu_cost cost;

    mlu_block_cost(context, first, last, cores, &cost);
    return cost.total;
}

bool mlu_block_fits(const void *context, int32_t first, int32_t last, int32_t cores)
{
    const mlu_context *c = context;
    double all;
    double useful = 0;
    double spilled;

    (void)by_rows(c, first, last, cores, &all, &spilled);
    for (int32_t i = first; i <= last; i++) {
        useful += fusion_layer_operations(&c->network.layers[i]);
    }
    return !(spilled > 0) && all <= (1 + most_twice) * useful;
}

/* ---- cores by layer ---- */

static spry_layer layer_of(const mlu_machine *m, const scaling_layer *s)
{
    return (spry_layer){
        .name = "synthetic",
        .type = "Conv",
        .inputs = {-1, -1, -1, -1},
        .input_count = 1,
        .in = {s->inputs, s->side, s->side},
        .out = {s->outputs, s->side, s->side},
        .kernel = {s->kernel, s->kernel},
        .stride = {1, 1},
        .pad = {s->kernel / 2, s->kernel / 2},
        .dilation = {1, 1},
        .groups = s->groups,
        .macs = (int64_t)(scaling_layer_operations(s) / 2),
        .weight_bytes =
            s->inputs / s->groups * s->outputs * s->kernel * s->kernel * m->element_bytes,
        .element_bytes = (int32_t)m->element_bytes,
        .can_stream = true,
    };
}

spry_status mlu_fit(const mlu_machine *m, scaling *s, spry_error *error)
{
    size_t bytes = SCALING_POINTS_MOST * (sizeof(scaling_layer) + sizeof(scaling_point));
    scaling_layer *layers = alloc_zeroed(spry_allocator_system(), bytes);
    scaling_point *points;
    int32_t count;

    if (layers == NULL) {
        return alloc_failed(error, bytes);
    }
    points = (scaling_point *)(layers + SCALING_POINTS_MOST);
    count = scaling_layers(most_operations, layers);
    *s = (scaling){.team_count = m->team_count};
    for (int32_t k = 0; k < m->team_count; k++) {
        s->teams[k] = m->teams[k];
    }
    for (int32_t i = 0; i < count; i++) {
        const spry_layer layer = layer_of(m, &layers[i]);
        fusion_rows rows;
        const mlu_context c = {m, {&layer, 1, false}, &rows};

        points[i].operations = scaling_layer_operations(&layers[i]);
        points[i].channels = (double)layers[i].outputs;
        for (int32_t k = 0; k < m->team_count; k++) {
            points[i].seconds[k] = mlu_block_seconds(&c, 0, 0, m->teams[k]);
        }
    }
    scaling_fit(s, points, count);
    s->critical = m->critical; /* known here, not to be read off layers */
    alloc_release(spry_allocator_system(), layers, bytes);
    return SPRY_OK;
}
