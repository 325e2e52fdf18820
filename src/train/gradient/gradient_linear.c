/* Products and convolutions: linear in each of two operands, so each derivative is a product or
 * convolution with the other. */
#include <string.h>

#include "ops/sliding_window.h"
#include "train/gradient/gradient_step.h"

/* ---- MatMul ---- */

/* `id` with an axis of size 1 at `axis`; its type becomes known. */
static int32_t add_axis(gradient_step *s, int32_t id, graph_type *type, int axis)
{
    int32_t to = emit_binary(&s->e, "Unsqueeze", id, emit_ints(&s->e, 1, &(int64_t){axis}));

    memmove(&type->dims[axis + 1], &type->dims[axis],
            (size_t)(type->rank - axis) * sizeof *type->dims);
    type->dims[axis] = (graph_dim){.size = 1};
    type->rank++;
    if (s->e.status == SPRY_OK) {
        s->e.g->values[to].type = *type;
    }
    return to;
}

typedef struct product_sides {
    int32_t a, b, dy; /* as matrices: at least two axes */
    graph_type a_type, b_type, dy_type;
} product_sides;

static product_sides as_matrices(gradient_step *s)
{
    product_sides p = {.a = s->node.inputs[0], .b = s->node.inputs[1], .dy = s->dy[0]};
    bool row;
    bool column;

    p.a_type = gradient_ranked(s, p.a);
    p.b_type = gradient_ranked(s, p.b);
    p.dy_type = gradient_ranked(s, s->node.outputs[0]);
    if (p.a_type.rank == 0 || p.b_type.rank == 0) {
        gradient_refuse(s, "an operand has no axis");
    }
    row = p.a_type.rank == 1;
    column = p.b_type.rank == 1;
    if (s->e.status == SPRY_OK && column) {
        p.b = add_axis(s, p.b, &p.b_type, 1);
        p.dy = add_axis(s, p.dy, &p.dy_type, p.dy_type.rank);
    }
    if (s->e.status == SPRY_OK && row) {
        p.a = add_axis(s, p.a, &p.a_type, 0);
        p.dy = add_axis(s, p.dy, &p.dy_type, p.dy_type.rank - 1);
    }
    return p;
}

/* dA = dY B^T, with the batches of Y: one matrix for all batches sees them as further rows. */
static void give_left(gradient_step *s, const product_sides *p)
{
    graph_type type = p->dy_type;
    const graph_dim *n = &p->dy_type.dims[p->dy_type.rank - 1];
    int32_t share;

    if (p->b_type.rank == 2 && p->a_type.rank == p->dy_type.rank && n->size > 0) {
        int32_t dy = emit_reshape(&s->e, p->dy, 2, (const int64_t[]){-1, n->size});

        share = emit_binary(&s->e, "Gemm", dy, p->b);
        emit_set_int(&s->e, share, "transB", 1);
        gradient_give(s, 0, emit_reshape_like(&s->e, share, s->node.inputs[0]));
        return;
    }
    share = emit_binary(&s->e, "MatMul", p->dy, emit_transpose_matrix(&s->e, p->b, p->b_type.rank));

    type.dims[type.rank - 1] = p->a_type.dims[p->a_type.rank - 1];
    share = emit_sum_to(&s->e, share, &type, p->a);
    gradient_give(s, 0,
                  p->a == s->node.inputs[0] ? share
                                            : emit_reshape_like(&s->e, share, s->node.inputs[0]));
}

/* dB = A^T dY. One matrix for all batches sees them as further rows. */
static void give_right(gradient_step *s, const product_sides *p)
{
    graph_type type = p->dy_type;
    const graph_dim *k = &p->a_type.dims[p->a_type.rank - 1];
    const graph_dim *n = &p->dy_type.dims[p->dy_type.rank - 1];
    int32_t share;

    if (p->b_type.rank == 2 && p->a_type.rank == p->dy_type.rank && k->size > 0 && n->size > 0) {
        int32_t a = emit_reshape(&s->e, p->a, 2, (const int64_t[]){-1, k->size});
        int32_t dy = emit_reshape(&s->e, p->dy, 2, (const int64_t[]){-1, n->size});

        share = emit_binary(&s->e, "Gemm", a, dy);
        emit_set_int(&s->e, share, "transA", 1);
    } else {
        share =
            emit_binary(&s->e, "MatMul", emit_transpose_matrix(&s->e, p->a, p->a_type.rank), p->dy);
        type.dims[type.rank - 2] = *k;
        share = emit_sum_to(&s->e, share, &type, p->b);
    }
    gradient_give(s, 1,
                  p->b == s->node.inputs[1] ? share
                                            : emit_reshape_like(&s->e, share, s->node.inputs[1]));
}

static void give_matmul(gradient_step *s)
{
    product_sides p = as_matrices(s);

    if (s->e.status == SPRY_OK && gradient_wanted(s, 0)) {
        give_left(s, &p);
    }
    if (s->e.status == SPRY_OK && gradient_wanted(s, 1)) {
        give_right(s, &p);
    }
}

/* ---- Gemm: Y = alpha op(A) op(B) + beta C ---- */

static int32_t gemm(gradient_step *s, int32_t a, bool a_turned, int32_t b, bool b_turned)
{
    int32_t product = emit_binary(&s->e, "Gemm", a, b);

    emit_set_int(&s->e, product, "transA", a_turned);
    emit_set_int(&s->e, product, "transB", b_turned);
    emit_set_float(&s->e, product, "alpha", graph_attribute_float(&s->node, "alpha", 1.0f));
    return product;
}

static void give_gemm(gradient_step *s)
{
    bool a_turned = graph_attribute_int(&s->node, "transA", 0) != 0;
    bool b_turned = graph_attribute_int(&s->node, "transB", 0) != 0;
    float beta = graph_attribute_float(&s->node, "beta", 1.0f);
    int32_t a = s->node.inputs[0];
    int32_t b = s->node.inputs[1];
    int32_t dy = s->dy[0];

    if (gradient_wanted(s, 0)) {
        gradient_give(s, 0,
                      a_turned ? gemm(s, b, b_turned, dy, true) : gemm(s, dy, false, b, !b_turned));
    }
    if (gradient_wanted(s, 1)) {
        gradient_give(s, 1,
                      b_turned ? gemm(s, dy, true, a, a_turned) : gemm(s, a, !a_turned, dy, false));
    }
    if (gradient_wanted(s, 2)) {
        gradient_give_sum(
            s, 2, beta == 1.0f ? dy : emit_scaled(&s->e, gradient_dtype(s, a), dy, (double)beta));
    }
}

/* ---- Conv, ConvTranspose ---- */

/* Sizes of axes 2 and on; -1 where not known. */
static void spatial_sizes(const graph_type *type, int64_t *sizes)
{
    for (int i = 2; i < type->rank; i++) {
        sizes[i - 2] = type->dims[i].size;
    }
}

static void set_window(gradient_step *s, int32_t id, const window *w)
{
    int64_t pads[2 * WINDOW_MOST_AXES];

    for (int i = 0; i < w->rank; i++) {
        pads[i] = w->pad_begin[i];
        pads[w->rank + i] = w->pad_end[i];
    }
    emit_set_ints(&s->e, id, "kernel_shape", w->rank, w->kernel);
    emit_set_ints(&s->e, id, "strides", w->rank, w->stride);
    emit_set_ints(&s->e, id, "dilations", w->rank, w->dilation);
    emit_set_ints(&s->e, id, "pads", 2 * w->rank, pads);
    emit_set_int(&s->e, id, "group", graph_attribute_int(&s->node, "group", 1));
}

/* The weights' derivative of a convolution that turns `wide` into `narrow`. */
static int32_t weights_share(gradient_step *s, const window *w, int32_t wide, int32_t narrow)
{
    int32_t share;

    (void)emit_own(&s->e, "ConvWeightGradient", 2, (const int32_t[]){wide, narrow}, 1, &share);
    set_window(s, share, w);
    return share;
}

static void give_channel_sums(gradient_step *s, int port, int rank)
{
    int64_t axes[SPRY_TENSOR_MAX_RANK] = {0};

    for (int i = 2; i < rank; i++) {
        axes[i - 1] = i;
    }
    if (gradient_wanted(s, port)) {
        gradient_give(s, port, emit_reduce(&s->e, "ReduceSum", s->dy[0], rank - 1, axes, false));
    }
}

/* The window as the node means it. Its sizes of the input may be unknown (-1). */
static bool read_window(gradient_step *s, bool transposed, window *w)
{
    graph_type x = gradient_ranked(s, s->node.inputs[0]);
    graph_type weights = gradient_sized(s, s->node.inputs[1], 2);
    int64_t in[SPRY_TENSOR_MAX_RANK];
    int64_t kernel[SPRY_TENSOR_MAX_RANK];
    const char *reason = "";
    bool fits;

    if (s->e.status != SPRY_OK || x.rank < 3 || weights.rank != x.rank) {
        gradient_refuse(s, "its operands have no image axes");
        return false;
    }
    spatial_sizes(&x, in);
    spatial_sizes(&weights, kernel);
    fits = transposed ? window_transposed_from_node(&s->node, x.rank - 2, in, kernel, w, &reason)
                      : window_from_node(&s->node, x.rank - 2, in, kernel, false, w, &reason);
    if (!fits) {
        gradient_refuse(s, "%s", reason);
    }
    return fits;
}

/* Pixels at the end that no window reached, which the transposed convolution would leave out. */
static bool unreached(gradient_step *s, const window *w, int64_t *count)
{
    const char *padding = graph_attribute_string(&s->node, "auto_pad", "NOTSET");
    bool explicit_pads = strcmp(padding, "NOTSET") == 0 || strcmp(padding, "VALID") == 0;

    for (int i = 0; i < w->rank; i++) {
        int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;

        if (w->in[i] < 0 && (w->stride[i] != 1 || !explicit_pads)) {
            gradient_refuse(s, "the size of its input is not known");
            return false;
        }
        count[i] = w->in[i] < 0 ? 0
                                : w->in[i] - ((w->out[i] - 1) * w->stride[i] + reach -
                                              w->pad_begin[i] - w->pad_end[i]);
    }
    return true;
}

static void give_conv(gradient_step *s)
{
    int64_t rest[WINDOW_MOST_AXES];
    window w;

    if (!read_window(s, false, &w) || !unreached(s, &w, rest)) {
        return;
    }
    if (gradient_wanted(s, 0)) {
        int32_t share = emit_binary(&s->e, "ConvTranspose", s->dy[0], s->node.inputs[1]);

        set_window(s, share, &w);
        emit_set_ints(&s->e, share, "output_padding", w.rank, rest);
        gradient_give(s, 0, share);
    }
    if (gradient_wanted(s, 1)) {
        gradient_give(s, 1, weights_share(s, &w, s->node.inputs[0], s->dy[0]));
    }
    give_channel_sums(s, 2, w.rank + 2);
}

static void give_conv_transpose(gradient_step *s)
{
    window w;
    bool odd = false;

    if (!read_window(s, true, &w)) {
        return;
    }
    for (int i = 0; i < w.rank; i++) {
        int64_t reach = (w.kernel[i] - 1) * w.dilation[i] + 1;
        int64_t back = (w.out[i] + w.pad_begin[i] + w.pad_end[i] - reach) / w.stride[i] + 1;

        odd = odd || w.in[i] < 0 || back != w.in[i] || w.pad_begin[i] < 0 || w.pad_end[i] < 0;
    }
    if (odd) {
        gradient_refuse(s, "its output's size does not lead back to its input's");
        return;
    }
    if (gradient_wanted(s, 0)) {
        int32_t share = emit_binary(&s->e, "Conv", s->dy[0], s->node.inputs[1]);

        set_window(s, share, &w);
        gradient_give(s, 0, share);
    }
    if (gradient_wanted(s, 1)) {
        gradient_give(s, 1, weights_share(s, &w, s->dy[0], s->node.inputs[0]));
    }
    give_channel_sums(s, 2, w.rank + 2);
}

const gradient_rule gradient_linear_rules[] = {
    {.name = "Conv", .domain = "", .run = give_conv},
    {.name = "ConvTranspose", .domain = "", .run = give_conv_transpose},
    {.name = "Gemm", .domain = "", .run = give_gemm},
    {.name = "MatMul", .domain = "", .run = give_matmul},
    {.name = NULL},
};
