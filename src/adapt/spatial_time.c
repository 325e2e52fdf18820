/* Blocks as the latency predictor sees them, and lines through what it says. */
#include "adapt/spatial_time.h"

#include "ops/op.h"

enum { MILLI = 1000, STEPS = 8 };

spry_status spatial_time_open(const spry_allocator *allocator, const char *name, latency_memo *memo,
                              latency_machine *m, spry_error *error)
{
    target *t;
    spry_status status = target_load(allocator, name, &t, error);

    if (status == SPRY_OK) {
        status = latency_machine_read(m, t, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    m->device.memo = memo;
    target_destroy(t);
    return status;
}

/* ---- blocks ---- */

static int32_t before(const graph *s, int32_t id)
{
    int32_t producer = s->values[id].producer;

    return producer != GRAPH_NONE && s->nodes[producer].input_count > 0
               ? s->nodes[producer].inputs[0]
               : GRAPH_NONE;
}

/* The first convolution on the way back from `id` to `end`, or GRAPH_NONE. */
static int32_t conv_before(const graph *s, int32_t id, int32_t end)
{
    for (int i = 0; i < STEPS && id != GRAPH_NONE && id != end; i++) {
        if (spatial_conv(s, id) != NULL) {
            return id;
        }
        id = before(s, id);
    }
    return GRAPH_NONE;
}

int32_t spatial_logits(const graph *s, const spatial_block *b)
{
    return b->map != GRAPH_NONE ? conv_before(s, b->map, GRAPH_NONE) : GRAPH_NONE;
}

const graph_type *spatial_cells(const graph *s, const spatial_block *b)
{
    return &s->values[s->nodes[s->values[b->map].producer].inputs[0]].type;
}

static latency_conv describe(const graph *s, int32_t id)
{
    const graph_node *n = spatial_conv(s, id);
    const tensor *weights = graph_constant(s, n->inputs[1]);
    const graph_dim *out = s->values[id].type.dims;
    int64_t count;
    const int64_t *strides = graph_attribute_ints(n, "strides", &count);
    int64_t groups = graph_attribute_int(n, "group", 1);

    return (latency_conv){.inputs = weights->shape[1] * groups,
                          .outputs = weights->shape[0],
                          .height = out[2].size,
                          .width = out[3].size,
                          .kernel_height = weights->shape[2],
                          .kernel_width = weights->shape[3],
                          .stride = strides != NULL ? strides[0] : 1,
                          .groups = groups};
}

static latency_block block_of(const graph *s, const spatial_block *b)
{
    int32_t shortcut = conv_before(s, b->shortcut, b->x);
    latency_block made = {.inputs = b->channels,
                          .in_height = b->from_height,
                          .in_width = b->from_width,
                          .conv_count = b->conv_count,
                          .has_shortcut = shortcut != GRAPH_NONE};

    for (int i = 0; i < b->conv_count; i++) {
        made.convs[i] = describe(s, b->convs[i]);
    }
    if (made.has_shortcut) {
        made.shortcut = describe(s, shortcut);
    }
    return made;
}

/* Pixels along the side of a cell. */
static int64_t side_of(const graph *s, const spatial_block *b)
{
    int64_t cells = spatial_cells(s, b)->dims[2].size;

    return (b->height + cells - 1) / cells;
}

static double per_image(const latency_machine *m, double seconds)
{
    return MILLI * seconds / (double)m->batch;
}

spatial_cost spatial_time_block(const latency_machine *m, const graph *s, const spatial_block *b)
{
    enum { POINTS = 10 };
    latency_block block = block_of(s, b);
    spatial_cost cost = {.dense = per_image(m, latency_machine_dense(m, &block))};
    double r_sum = 0, t_sum = 0, rr_sum = 0, rt_sum = 0;
    double around = 0, around_squared = 0; /* pixels beside the mask, and what they cost */
    double slope, border;

    for (int i = 1; i <= POINTS; i++) {
        double r = (double)i / POINTS;
        latency_plan plan = {LATENCY_SKIP_SQUARES, {side_of(s, b), r}, LATENCY_HALO_IGNORE};
        double t = per_image(m, latency_machine_sparse(m, &block, &plan, NULL));
        double more = latency_dilated(&block.convs[1], plan.squares) - r;

        plan.halo = LATENCY_HALO_RANDOM;
        around += more * (per_image(m, latency_machine_sparse(m, &block, &plan, NULL)) - t);
        around_squared += more * more;
        r_sum += r;
        t_sum += t;
        rr_sum += r * r;
        rt_sum += r * t;
    }
    slope = (POINTS * rt_sum - r_sum * t_sum) / (POINTS * rr_sum - r_sum * r_sum);
    slope = slope > 0 ? slope : 0;
    border = around_squared > 0 ? around / around_squared : 0;
    cost.fixed = (t_sum - slope * r_sum) / POINTS;
    cost.fixed = cost.fixed > 0 ? cost.fixed : 0;
    cost.by_conv[0] = border;
    cost.by_conv[b->conv_count - 1] += slope - border;
    return cost;
}

/* ---- the rest ---- */

static bool is_masked(const graph *s, const spatial_blocks *blocks, int32_t product)
{
    for (int32_t i = 0; i < blocks->count; i++) {
        const spatial_block *b = &blocks->items[i];

        if (b->map == GRAPH_NONE) {
            continue;
        }
        if (product == spatial_logits(s, b) || product == conv_before(s, b->shortcut, b->x)) {
            return true;
        }
        for (int k = 0; k < b->conv_count; k++) {
            if (product == b->convs[k]) {
                return true;
            }
        }
    }
    return false;
}

double spatial_time_rest(const latency_machine *m, const graph *s, const spatial_blocks *blocks,
                         const structure *all, double batch)
{
    double total = 0;

    for (int32_t i = 0; i < all->linear_count; i++) {
        const structure_linear *l = &all->linears[i];
        const graph_type *type = &s->values[l->product].type;
        latency_conv c = {l->inputs, l->outputs, 1, 1, 1, 1, 1, 1};

        if (!graph_type_is_static(type) || is_masked(s, blocks, l->product)) {
            continue;
        }
        if (l->is_conv && spatial_conv(s, l->product) != NULL) {
            c = describe(s, l->product);
        } else {
            double rows = (double)op_work_count(type) / (double)l->outputs / batch;

            c.height = rows > 1 ? (int64_t)rows : 1;
        }
        total += per_image(m, latency_machine_conv(m, &c));
    }
    return total;
}
