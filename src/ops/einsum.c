/* Einsum: operands are contracted one after the other. Each contraction is arranged as a batched
 * matrix product, [batch][m][k] times [batch][k][n], in f64 (so integers are exact below 2^53). */
#include <string.h>

#include "base/checked.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

enum {
    LETTERS = 52,                            /* a-z, A-Z; axes under the ellipsis follow */
    LABELS = LETTERS + SPRY_TENSOR_MAX_RANK, /* fits a 64-bit mask */
    OPERANDS = 16,
    ROWS_PER_TASK = 16
};

typedef struct einsum_labels {
    int count;
    unsigned char label[MOVE_MAX_RANK];
} einsum_labels;

typedef struct einsum_plan {
    int operands;
    einsum_labels in[OPERANDS];
    einsum_labels out;
    int64_t size[LABELS];
} einsum_plan;

/* ---- the equation ---- */

static int letter_label(char c)
{
    return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? 26 + c - 'A' : -1;
}

/* Reads one term up to ',' or '-' or the end. `axes` is the rank of the operand, or for the output
 * the letters do not tell (-1) and the ellipsis has `hidden` axes. NULL, or what is wrong. */
static const char *read_term(const char **text, int axes, int hidden, einsum_labels *to)
{
    const char *at = *text;
    int letters = 0;
    bool dots = false;

    for (const char *c = at; *c != '\0' && *c != ',' && *c != '-'; c++) {
        letters += letter_label(*c) >= 0;
    }
    if (axes >= 0) {
        hidden = axes - letters;
    }
    if (hidden < 0 || letters + hidden > SPRY_TENSOR_MAX_RANK) {
        return "a term has too many labels";
    }
    to->count = 0;
    for (; *at != '\0' && *at != ',' && *at != '-'; at++) {
        if (letter_label(*at) >= 0) {
            to->label[to->count++] = (unsigned char)letter_label(*at);
        } else if (strncmp(at, "...", 3) == 0 && !dots) {
            for (int i = hidden - 1; i >= 0; i--) {
                to->label[to->count++] = (unsigned char)(LETTERS + i);
            }
            dots = true;
            at += 2;
        } else if (*at != ' ') {
            return "the equation has an unknown character";
        }
    }
    *text = at;
    return axes >= 0 && to->count != axes ? "a term has other labels than its operand has axes"
                                          : NULL;
}

/* Without an arrow: the ellipsis, then all labels that occur once, by letter. */
static void implicit_output(einsum_plan *p, int hidden)
{
    static const char order[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    p->out.count = 0;
    for (int i = hidden - 1; i >= 0; i--) {
        p->out.label[p->out.count++] = (unsigned char)(LETTERS + i);
    }
    for (const char *c = order; *c != '\0' && p->out.count < MOVE_MAX_RANK; c++) {
        int uses = 0;

        for (int i = 0; i < p->operands; i++) {
            for (int k = 0; k < p->in[i].count; k++) {
                uses += p->in[i].label[k] == letter_label(*c);
            }
        }
        if (uses == 1) {
            p->out.label[p->out.count++] = (unsigned char)letter_label(*c);
        }
    }
}

static uint64_t label_mask(const einsum_labels *labels)
{
    uint64_t mask = 0;

    for (int i = 0; i < labels->count; i++) {
        mask |= (uint64_t)1 << labels->label[i];
    }
    return mask;
}

/* Reads the equation for operands of those ranks. NULL, or what is wrong. */
static const char *read_equation(const graph_node *node, const int *ranks, int count,
                                 einsum_plan *p)
{
    const char *text = graph_attribute_string(node, "equation", "");
    uint64_t all = 0;
    uint64_t seen = 0;
    int hidden = 0;
    const char *wrong = count > OPERANDS ? "there are too many operands" : NULL;

    p->operands = count;
    for (int i = 0; i < count && wrong == NULL; i++) {
        wrong = read_term(&text, ranks[i], 0, &p->in[i]);
        for (int k = 0; wrong == NULL && k < p->in[i].count; k++) {
            int axis = p->in[i].label[k] - LETTERS + 1;

            hidden = axis > hidden ? axis : hidden;
        }
        if (wrong == NULL && i + 1 < count && *text++ != ',') {
            wrong = "the equation has fewer terms than operands";
        }
        all |= wrong == NULL ? label_mask(&p->in[i]) : 0;
    }
    if (wrong != NULL) {
        return wrong;
    }
    if (*text == '\0') {
        implicit_output(p, hidden);
    } else if (strncmp(text, "->", 2) == 0) {
        text += 2;
        wrong = read_term(&text, -1, hidden, &p->out);
    }
    if (wrong != NULL || *text != '\0' || p->out.count > SPRY_TENSOR_MAX_RANK) {
        return wrong != NULL ? wrong : "the equation does not end where it should";
    }
    for (int i = 0; i < p->out.count; i++) {
        uint64_t bit = (uint64_t)1 << p->out.label[i];

        if ((seen & bit) != 0 || (all & bit) == 0) {
            return "the result repeats a label or has an unknown one";
        }
        seen |= bit;
    }
    return NULL;
}

/* ---- shape rule ---- */

static spry_status infer_einsum(op_shapes *s)
{
    einsum_plan p = {.operands = 0};
    int ranks[OPERANDS] = {0};
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    const char *wrong;

    for (int i = 0; i < s->input_count && i < OPERANDS; i++) {
        const graph_type *x = op_shapes_ranked(s, i);

        if (x == NULL) {
            return operand_unranked(s, 0, operand_dtype(s, 0));
        }
        ranks[i] = x->rank;
    }
    wrong = read_equation(s->node, ranks, s->input_count, &p);
    if (wrong != NULL) {
        return op_shapes_fail(s, "%s", wrong);
    }
    for (int o = 0; o < p.out.count; o++) {
        graph_dim dim = {.size = 1};

        for (int i = 0; i < p.operands; i++) {
            for (int k = 0; k < p.in[i].count; k++) {
                graph_dim own = s->inputs[i]->dims[k];

                if (p.in[i].label[k] == p.out.label[o] && own.size != 1 &&
                    (dim.size == 1 || dim.size < 0)) {
                    dim = own.size >= 0 || dim.size == 1 ? own : operand_unknown;
                }
            }
        }
        dims[o] = dim;
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), p.out.count, dims);
    return SPRY_OK;
}

/* ---- execution ---- */

/* Numbers with labelled axes: stride[i] belongs to axes.label[i]. */
typedef struct einsum_term {
    einsum_labels axes;
    int64_t stride[MOVE_MAX_RANK];
    const double *data;
} einsum_term;

/* Finds the size of every label; false when operands contradict. */
static bool read_sizes(op_call *call, einsum_plan *p)
{
    for (int i = 0; i < LABELS; i++) {
        p->size[i] = 1;
    }
    for (int i = 0; i < p->operands; i++) {
        const tensor *x = op_call_input(call, i);

        for (int k = 0; k < x->rank; k++) {
            int64_t *size = &p->size[p->in[i].label[k]];

            if (x->shape[k] != 1 && *size != 1 && *size != x->shape[k]) {
                return false;
            }
            *size = x->shape[k] != 1 ? x->shape[k] : *size;
        }
    }
    return true;
}

/* Operand `i` as f64; a repeated label becomes one axis along the diagonal. */
static spry_status load_term(op_call *call, const einsum_plan *p, int i, einsum_term *t)
{
    const tensor *x = op_call_input(call, i);
    void *memory;
    spry_status status = op_call_scratch(call, (size_t)tensor_count(x) * sizeof(double), &memory);

    if (status != SPRY_OK) {
        return status;
    }
    convert_read_f64(x, 0, tensor_count(x), memory);
    t->data = memory;
    t->axes.count = 0;
    for (int k = 0; k < x->rank; k++) {
        unsigned char label = p->in[i].label[k];
        int at = 0;

        while (at < t->axes.count && t->axes.label[at] != label) {
            at++;
        }
        if (at == t->axes.count) {
            t->axes.label[t->axes.count++] = label;
            t->stride[at] = 0;
        }
        t->stride[at] += x->shape[k] == 1 ? 0 : tensor_span(x, k + 1, x->rank);
    }
    return SPRY_OK;
}

/* The labels of `from` that are in `mask`, appended to `to`. */
static void append_labels(einsum_labels *to, const einsum_labels *from, uint64_t mask)
{
    for (int i = 0; i < from->count; i++) {
        if ((mask >> from->label[i] & 1) != 0 && to->count < MOVE_MAX_RANK) {
            to->label[to->count++] = from->label[i];
        }
    }
}

/* Product of the sizes of all labels in `mask`; -1 when it is too large. */
static int64_t mask_count(const einsum_plan *p, uint64_t mask)
{
    int64_t count = 1;

    for (int i = 0; i < LABELS; i++) {
        if ((mask >> i & 1) != 0 && !checked_mul_i64(count, p->size[i], &count)) {
            return -1;
        }
    }
    return count;
}

/* Makes the term dense with its axes in that order (a permutation of them). */
static spry_status arrange(op_call *call, const einsum_plan *p, const einsum_labels *order,
                           einsum_term *t)
{
    int64_t count = mask_count(p, label_mask(order));
    int64_t stride[MOVE_MAX_RANK];
    int64_t step = 1;
    move_plan plan = {.rank = 0};
    void *memory;
    size_t bytes;
    spry_status status;

    if (count < 0 || !checked_mul((size_t)count, sizeof(double), &bytes)) {
        return op_call_fail(call, SPRY_LIMIT, "an intermediate result is too large");
    }
    status = op_call_scratch(call, bytes, &memory);
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = order->count - 1; i >= 0; i--) {
        stride[i] = step;
        step *= p->size[order->label[i]];
    }
    for (int i = 0; i < order->count; i++) {
        int at = 0;

        while (t->axes.label[at] != order->label[i]) {
            at++;
        }
        move_add_axis(&plan, p->size[order->label[i]], stride[i], t->stride[at]);
    }
    move_strided(call->team, &plan, sizeof(double), memory, t->data);
    t->axes = *order;
    memcpy(t->stride, stride, sizeof stride);
    t->data = memory;
    return SPRY_OK;
}

typedef struct einsum_product {
    const double *a, *b; /* a[batch][m][k], b[batch][k][n] */
    double *c;           /* c[batch][m][n] */
    int64_t m, n, k;
} einsum_product;

static void product_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const einsum_product *p = context;

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const double *b = p->b + row / p->m * p->k * p->n;
        double *c = p->c + row * p->n;

        for (int64_t j = 0; j < p->n; j++) {
            c[j] = 0;
        }
        for (int64_t i = 0; i < p->k; i++) {
            double factor = p->a[row * p->k + i];

            for (int64_t j = 0; j < p->n; j++) {
                c[j] += factor * b[i * p->n + j];
            }
        }
    }
}

/* a = a times b, summed over all labels that are not in `keep`. */
static spry_status contract(op_call *call, const einsum_plan *p, einsum_term *a, einsum_term *b,
                            uint64_t keep)
{
    uint64_t in_a = label_mask(&a->axes);
    uint64_t in_b = label_mask(&b->axes);
    uint64_t batch = in_a & in_b & keep;
    uint64_t summed = (in_a | in_b) & ~keep;
    einsum_labels order_a = {.count = 0};
    einsum_labels order_b = {.count = 0};
    einsum_product product = {.c = NULL};
    int64_t batches = mask_count(p, batch);
    int64_t count;
    void *memory;
    spry_status status;

    /* A summed label that only one side has is of stride 0 on the other. */
    for (int i = 0; i < LABELS; i++) {
        uint64_t bit = (uint64_t)1 << i;
        einsum_term *lacking = (summed & bit) == 0 ? NULL
                               : (in_a & bit) == 0 ? a
                               : (in_b & bit) == 0 ? b
                                                   : NULL;

        if (lacking != NULL && lacking->axes.count < MOVE_MAX_RANK) {
            lacking->stride[lacking->axes.count] = 0;
            lacking->axes.label[lacking->axes.count++] = (unsigned char)i;
        }
    }
    append_labels(&order_a, &a->axes, batch);
    order_b = order_a;
    append_labels(&order_a, &a->axes, keep & ~in_b);
    append_labels(&order_a, &a->axes, summed);
    append_labels(&order_b, &a->axes, summed);
    append_labels(&order_b, &b->axes, keep & ~in_a);
    product.m = mask_count(p, in_a & keep & ~in_b);
    product.n = mask_count(p, in_b & keep & ~in_a);
    product.k = mask_count(p, summed);
    if (order_a.count != a->axes.count || order_b.count != b->axes.count ||
        !checked_mul_i64(batches, product.m, &count) ||
        !checked_mul_i64(count, product.n, &count) || count > INT64_MAX / 8) {
        return op_call_fail(call, SPRY_LIMIT, "an intermediate result is too large");
    }
    status = arrange(call, p, &order_a, a);
    if (status == SPRY_OK) {
        status = arrange(call, p, &order_b, b);
    }
    if (status == SPRY_OK) {
        status = op_call_scratch(call, (size_t)count * sizeof(double), &memory);
    }
    if (status != SPRY_OK) {
        return status;
    }
    product.a = a->data;
    product.b = b->data;
    product.c = memory;
    if (count > 0) {
        threads_for(call->team, batches * product.m, ROWS_PER_TASK, product_rows, &product);
    }
    a->data = memory;
    a->axes.count = 0;
    append_labels(&a->axes, &order_a, keep);
    append_labels(&a->axes, &order_b, keep & ~in_a);
    count = 1;
    for (int i = a->axes.count - 1; i >= 0; i--) {
        a->stride[i] = count;
        count *= p->size[a->axes.label[i]];
    }
    return SPRY_OK;
}

static spry_status run_einsum(op_call *call)
{
    static const double one = 1;
    einsum_plan p = {.operands = 0};
    einsum_term total = {.data = &one};
    int ranks[OPERANDS] = {0};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    tensor *out;
    const char *wrong;
    spry_status status;

    for (int i = 0; i < call->input_count && i < OPERANDS; i++) {
        ranks[i] = op_call_input(call, i)->rank;
    }
    wrong = read_equation(call->node, ranks, call->input_count, &p);
    if (wrong != NULL || !read_sizes(call, &p)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s",
                            wrong != NULL ? wrong : "axes of one label differ in size");
    }
    for (int i = 0; i < p.out.count; i++) {
        shape[i] = p.size[p.out.label[i]];
    }
    status = op_call_output(call, 0, op_call_input(call, 0)->dtype, p.out.count, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int i = 0; i < p.operands && status == SPRY_OK; i++) {
        uint64_t keep = label_mask(&p.out);
        einsum_term next;

        for (int k = i + 1; k < p.operands; k++) {
            keep |= label_mask(&p.in[k]);
        }
        status = load_term(call, &p, i, &next);
        if (status == SPRY_OK && i == 0 && (label_mask(&next.axes) & ~keep) == 0) {
            total = next; /* nothing to sum yet */
        } else if (status == SPRY_OK) {
            status = contract(call, &p, &total, &next, keep);
        }
    }
    if (status == SPRY_OK) {
        status = arrange(call, &p, &p.out, &total);
    }
    if (status == SPRY_OK) {
        convert_write_f64(out, 0, tensor_count(out), total.data);
    }
    return status;
}

/* Products and sums of the contraction of all labels at once. */
static void cost_einsum(const op_work *w, int64_t *macs, int64_t *flops)
{
    einsum_plan p = {.operands = 0};
    int ranks[OPERANDS] = {0};
    uint64_t all = 0;
    int64_t count;

    for (int i = 0; i < w->input_count && i < OPERANDS; i++) {
        ranks[i] = w->inputs[i]->rank;
    }
    if (read_equation(w->node, ranks, w->input_count, &p) != NULL) {
        return;
    }
    for (int i = 0; i < p.operands; i++) {
        all |= label_mask(&p.in[i]);
        for (int k = 0; k < p.in[i].count; k++) {
            int64_t *size = &p.size[p.in[i].label[k]];

            *size = w->inputs[i]->dims[k].size > *size ? w->inputs[i]->dims[k].size : *size;
        }
    }
    count = mask_count(&p, all);
    *macs += count > 0 ? count : 0;
    *flops += count > 0 ? 2 * count : 0;
}

/* clang-format off */
const op ops_einsum[] = {
    {.name = "Einsum", .domain = "", .since = 12, .min_inputs = 1, .max_inputs = OP_VARIADIC,
     .min_outputs = 1, .max_outputs = 1, .flags = OP_LAST_TYPES_REPEAT, .types = {OP_NUMERIC},
     .infer = infer_einsum, .run = run_einsum, .cost = cost_einsum},
    {.name = NULL},
};
/* clang-format on */
