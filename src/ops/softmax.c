/* Functions of whole lines: Softmax, LogSoftmax, Hardmax, LpNormalization.
 *
 * Below opset 13 the first three see the input as a matrix: all axes from `axis` on are one
 * line. */
#include <math.h>
#include <string.h>

#include "kernels/elementwise/elementwise_f32.h"
#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"

typedef struct softmax softmax;

typedef struct softmax_row {
    /* Result from x and what the line gave (its largest element, first place of it, or its norm;
     * and the sum of exponentials). */
    void (*line)(const softmax *s, int64_t start);
    void (*f32)(float *to, const float *from, int64_t n); /* a line of f32 without gaps; or NULL */
    int64_t default_axis;
    bool flatten;
} softmax_row;

struct softmax {
    const tensor *from;
    tensor *to;
    lines along;
    const softmax_row *row;
    int64_t p; /* of LpNormalization */
};

/* Calls for parts of one line that fit a block. */
static int64_t part_of(const softmax *s, int64_t done)
{
    int64_t left = s->along.length - done;

    return left < CONVERT_BLOCK ? left : CONVERT_BLOCK;
}

/* The largest element (NaN if there is one) and the first place that has it. */
static double largest_of(const softmax *s, int64_t start, int64_t *place)
{
    double block[CONVERT_BLOCK];
    double largest = -(double)INFINITY;

    *place = 0;
    for (int64_t done = 0; done < s->along.length; done += CONVERT_BLOCK) {
        int64_t n = part_of(s, done);

        lines_read_f64(s->from, start + done * s->along.inner, s->along.inner, n, block);
        for (int64_t i = 0; i < n; i++) {
            if (block[i] > largest || (block[i] != block[i] && largest == largest)) {
                largest = block[i];
                *place = done + i;
            }
        }
    }
    return largest;
}

static double sum_of_exponentials(const softmax *s, int64_t start, double largest)
{
    double block[CONVERT_BLOCK];
    double sum = 0.0;

    for (int64_t done = 0; done < s->along.length; done += CONVERT_BLOCK) {
        int64_t n = part_of(s, done);

        lines_read_f64(s->from, start + done * s->along.inner, s->along.inner, n, block);
        for (int64_t i = 0; i < n; i++) {
            sum += exp(block[i] - largest);
        }
    }
    return sum;
}

static void softmax_line(const softmax *s, int64_t start)
{
    double block[CONVERT_BLOCK];
    int64_t place;
    double largest = largest_of(s, start, &place);
    double sum = sum_of_exponentials(s, start, largest);

    for (int64_t done = 0; done < s->along.length; done += CONVERT_BLOCK) {
        int64_t n = part_of(s, done);
        int64_t at = start + done * s->along.inner;

        lines_read_f64(s->from, at, s->along.inner, n, block);
        for (int64_t i = 0; i < n; i++) {
            block[i] = exp(block[i] - largest) / sum;
        }
        lines_write_f64(s->to, at, s->along.inner, n, block);
    }
}

static void log_softmax_line(const softmax *s, int64_t start)
{
    double block[CONVERT_BLOCK];
    int64_t place;
    double largest = largest_of(s, start, &place);
    double log_sum = log(sum_of_exponentials(s, start, largest));

    for (int64_t done = 0; done < s->along.length; done += CONVERT_BLOCK) {
        int64_t n = part_of(s, done);
        int64_t at = start + done * s->along.inner;

        lines_read_f64(s->from, at, s->along.inner, n, block);
        for (int64_t i = 0; i < n; i++) {
            block[i] = block[i] - largest - log_sum;
        }
        lines_write_f64(s->to, at, s->along.inner, n, block);
    }
}

static void hardmax_line(const softmax *s, int64_t start)
{
    double block[CONVERT_BLOCK];
    int64_t place;

    (void)largest_of(s, start, &place);
    for (int64_t done = 0; done < s->along.length; done += CONVERT_BLOCK) {
        int64_t n = part_of(s, done);

        for (int64_t i = 0; i < n; i++) {
            block[i] = done + i == place;
        }
        lines_write_f64(s->to, start + done * s->along.inner, s->along.inner, n, block);
    }
}

/* A line of zeros stays one. */
static void norm_line(const softmax *s, int64_t start)
{
    double block[CONVERT_BLOCK];
    double norm = 0.0;

    for (int64_t done = 0; done < s->along.length; done += CONVERT_BLOCK) {
        int64_t n = part_of(s, done);

        lines_read_f64(s->from, start + done * s->along.inner, s->along.inner, n, block);
        for (int64_t i = 0; i < n; i++) {
            norm += s->p == 1 ? fabs(block[i]) : block[i] * block[i];
        }
    }
    norm = s->p == 1 ? norm : sqrt(norm);
    norm = norm == 0.0 ? 1.0 : norm;
    for (int64_t done = 0; done < s->along.length; done += CONVERT_BLOCK) {
        int64_t n = part_of(s, done);
        int64_t at = start + done * s->along.inner;

        lines_read_f64(s->from, at, s->along.inner, n, block);
        for (int64_t i = 0; i < n; i++) {
            block[i] /= norm;
        }
        lines_write_f64(s->to, at, s->along.inner, n, block);
    }
}

static void softmax_f32(float *to, const float *from, int64_t n)
{
    elementwise_f32_select()->softmax(to, from, n);
}

static void log_softmax_f32(float *to, const float *from, int64_t n)
{
    elementwise_f32_select()->log_softmax(to, from, n);
}

static void softmax_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const softmax *s = context;
    bool is_dense = s->from->dtype == SPRY_DTYPE_F32 && s->along.inner == 1;

    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        int64_t start = lines_start(&s->along, k);

        if (is_dense && s->row->f32 != NULL) {
            s->row->f32((float *)s->to->data + start, (const float *)s->from->data + start,
                        s->along.length);
        } else {
            s->row->line(s, start);
        }
    }
}

/* The axis in [0, rank], where rank itself is allowed only for the old matrix view and scalars. */
static bool find_axis(const graph_node *node, const softmax_row *row, int rank, int *axis)
{
    int64_t given = graph_attribute_int(node, "axis", row->default_axis);

    if (rank == 0 || (row->flatten && given == rank)) {
        *axis = rank;
        return given >= -1 && given <= 1;
    }
    return op_normalize_axis(given, rank, axis);
}

static spry_status run_softmax(op_call *call)
{
    softmax s = {.from = op_call_input(call, 0), .row = op_of_node(call->node)->detail};
    int axis;
    spry_status status;

    if (s.from == NULL || !find_axis(call->node, s.row, s.from->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the axis does not exist");
    }
    s.p = graph_attribute_int(call->node, "p", 2);
    if (s.p != 1 && s.p != 2) {
        return op_call_fail(call, SPRY_BAD_INPUT, "p is neither 1 nor 2");
    }
    status = op_call_output_like(call, 0, s.from->dtype, s.from, &s.to);
    if (status != SPRY_OK || s.to == NULL) {
        return status;
    }
    if (s.row->flatten || axis == s.from->rank) {
        s.along.count = tensor_span(s.from, 0, axis);
        s.along.length = tensor_span(s.from, axis, s.from->rank);
        s.along.inner = 1;
    } else {
        s.along = lines_along(s.from, axis);
    }
    if (s.along.length > 0) {
        threads_for(call->team, s.along.count, lines_grain(s.along.length, BROADCAST_GRAIN / 4),
                    softmax_piece, &s);
    }
    return SPRY_OK;
}

static spry_status infer_softmax(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    int axis;

    if (x != NULL && !find_axis(s->node, op_of_node(s->node)->detail, x->rank, &axis)) {
        return op_shapes_fail(s, "the axis does not exist");
    }
    return op_infer_same(s);
}

static void cost_softmax(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops += 5 * op_work_count(w->inputs[0]); /* compare, subtract, exponential, add, scale */
}

#define SOFTMAX(NAME, SINCE, LINE, F32, AXIS, FLATTEN)                                    \
    {                                                                                     \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = 1, .max_inputs = 1, \
        .min_outputs = 1, .max_outputs = 1, .flags = OP_IN_PLACE, .types = {OP_FLOATS},   \
        .infer = infer_softmax, .run = run_softmax, .cost = cost_softmax,                 \
        .detail = &((const softmax_row){LINE, F32, AXIS, FLATTEN})                        \
    }

/* clang-format off */
const op ops_softmax[] = {
    SOFTMAX("Hardmax", 1, hardmax_line, NULL, 1, true),
    SOFTMAX("Hardmax", 13, hardmax_line, NULL, -1, false),
    SOFTMAX("LogSoftmax", 1, log_softmax_line, log_softmax_f32, 1, true),
    SOFTMAX("LogSoftmax", 13, log_softmax_line, log_softmax_f32, -1, false),
    SOFTMAX("LpNormalization", 1, norm_line, NULL, -1, false),
    SOFTMAX("Softmax", 1, softmax_line, softmax_f32, 1, true),
    SOFTMAX("Softmax", 13, softmax_line, softmax_f32, -1, false),
    {.name = NULL},
};
/* clang-format on */
