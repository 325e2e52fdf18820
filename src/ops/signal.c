/* Signal operators: DFT, STFT, the window functions, MelWeightMatrix, and Det. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "tensor/convert.h"

#define TWO_PI 6.283185307179586476925286766559

/* ---- the transform ---- */

/* Complex numbers are pairs: real, imaginary. */
typedef struct signal_line {
    double *data;  /* `size` numbers, replaced by their transform */
    double *spare; /* as many */
    double *roots; /* roots[k] = exp(-2 pi i k / size) */
    int64_t size;
} signal_line;

/* One line of `size` and room for its transform in scratch memory. */
static spry_status make_line(op_call *call, int64_t size, bool inverse, signal_line *line)
{
    size_t pair = 2 * sizeof(double);
    void *memory;
    spry_status status = op_call_scratch(call, 3 * ((size_t)size + 1) * pair, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    line->data = memory;
    line->spare = line->data + 2 * size;
    line->roots = line->spare + 2 * size;
    line->size = size;
    for (int64_t k = 0; k < size; k++) {
        double angle = TWO_PI * (double)k / (double)size;

        line->roots[2 * k] = cos(angle);
        line->roots[2 * k + 1] = inverse ? sin(angle) : -sin(angle);
    }
    return SPRY_OK;
}

static int64_t smallest_factor(int64_t n)
{
    for (int64_t f = 2; f * f <= n; f++) {
        if (n % f == 0) {
            return f;
        }
    }
    return n;
}

/* Stockham's mixed-radix transform: for each prime factor f, `length` grows by f. A prime size is
 * the plain sum. */
static void transform(signal_line *line)
{
    int64_t done = 1;

    while (done < line->size) {
        int64_t f = smallest_factor(line->size / done);
        int64_t next = done * f;
        int64_t rest = line->size / next;
        double *swap;

        for (int64_t j = 0; j < next; j++) {
            for (int64_t r = 0; r < rest; r++) {
                double re = 0;
                double im = 0;

                for (int64_t q = 0; q < f; q++) {
                    const double *x = line->data + 2 * (((q * rest + r) * done) + j % done);
                    const double *w = line->roots + 2 * (j * q % next * rest);

                    re += x[0] * w[0] - x[1] * w[1];
                    im += x[0] * w[1] + x[1] * w[0];
                }
                line->spare[2 * (r * next + j)] = re;
                line->spare[2 * (r * next + j) + 1] = im;
            }
        }
        swap = line->data;
        line->data = line->spare;
        line->spare = swap;
        done = next;
    }
}

/* ---- DFT ---- */

/* The signal axis: an attribute before version 20, input 2 after, where it counts from the end. */
static bool dft_axis(const graph_node *node, const int64_t *input, int rank, int *axis)
{
    int64_t given = input != NULL      ? *input
                    : node->opset < 20 ? graph_attribute_int(node, "axis", 1)
                                       : -2;

    return rank >= 2 && op_normalize_axis(given, rank, axis) && *axis < rank - 1;
}

static spry_status infer_dft(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    bool onesided = graph_attribute_int(s->node, "onesided", 0) != 0;
    bool inverse = graph_attribute_int(s->node, "inverse", 0) != 0;
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int64_t numbers[2] = {0, 0};
    int counts[2] = {-1, -1};
    int axis;

    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    for (int i = 0; i < 2; i++) {
        spry_status status = op_shapes_ints(s, i + 1, &numbers[i], 1, &counts[i]);

        if (status != SPRY_OK) {
            return status;
        }
    }
    memcpy(dims, x->dims, sizeof dims);
    if (op_shapes_input(s, 2) != NULL && counts[1] != 1) {
        for (int i = 0; i < x->rank; i++) {
            dims[i] = operand_unknown;
        }
        op_shapes_set(s, 0, x->dtype, x->rank, dims);
        return SPRY_OK;
    }
    if (!dft_axis(s->node, counts[1] == 1 ? &numbers[1] : NULL, x->rank, &axis)) {
        return op_shapes_fail(s, "axis is outside of the signal");
    }
    if (op_shapes_input(s, 1) != NULL) {
        dims[axis] = (graph_dim){.size = counts[0] == 1 && numbers[0] > 0 ? numbers[0] : -1};
    }
    if (onesided && !inverse) {
        dims[axis] = (graph_dim){.size = dims[axis].size < 0 ? -1 : dims[axis].size / 2 + 1};
    }
    dims[x->rank - 1] = (graph_dim){.size = onesided && inverse ? 1 : 2};
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

typedef struct dft_plan {
    int axis;
    int64_t length;
    bool inverse, onesided;
    int parts_in, parts_out; /* numbers per element: 1 real, 2 complex */
} dft_plan;

static const char *plan_dft(op_call *call, dft_plan *p)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *length = op_call_input(call, 1);
    const tensor *axis = op_call_input(call, 2);
    int64_t given = axis != NULL && tensor_count(axis) == 1 ? convert_get_i64(axis, 0) : 0;

    if (!dft_axis(call->node, axis != NULL ? &given : NULL, x->rank, &p->axis)) {
        return "axis is outside of the signal";
    }
    p->inverse = graph_attribute_int(call->node, "inverse", 0) != 0;
    p->onesided = graph_attribute_int(call->node, "onesided", 0) != 0;
    p->parts_in = (int)x->shape[x->rank - 1];
    p->parts_out = p->onesided && p->inverse ? 1 : 2;
    p->length = x->shape[p->axis];
    if (p->onesided && p->inverse) {
        p->length = p->length > 1 ? 2 * (p->length - 1) : 1;
    }
    if (length != NULL) {
        p->length = tensor_count(length) == 1 ? convert_get_i64(length, 0) : 0;
    }
    if (x->shape[x->rank - 1] < 1 || x->shape[x->rank - 1] > 2) {
        return "the last axis must hold real, or real and imaginary parts";
    }
    return p->length < 1 || p->length > LIMIT_TENSOR_DIMENSION ? "the length is out of range"
                                                               : NULL;
}

/* Reads a line of the signal, cut or filled up with zeros; half of a spectrum is mirrored. */
static void read_line(const dft_plan *p, const tensor *x, int64_t outer, int64_t inner,
                      int64_t lane, signal_line *line)
{
    int64_t have = x->shape[p->axis];

    memset(line->data, 0, (size_t)line->size * 2 * sizeof(double));
    for (int64_t i = 0; i < line->size; i++) {
        bool mirrored = p->onesided && p->inverse && i > line->size / 2;
        int64_t from = mirrored ? line->size - i : i;

        for (int part = 0; part < p->parts_in && from < have; part++) {
            double number =
                convert_get_f64(x, ((outer * have + from) * inner + lane) * p->parts_in + part);

            line->data[2 * i + part] = mirrored && part == 1 ? -number : number;
        }
    }
}

static spry_status run_dft(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    signal_line line = {.size = 0};
    dft_plan p;
    const char *wrong = plan_dft(call, &p);
    int64_t inner;
    tensor *out;
    spry_status status;

    if (wrong != NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", wrong);
    }
    memcpy(shape, x->shape, sizeof shape);
    shape[p.axis] = p.onesided && !p.inverse ? p.length / 2 + 1 : p.length;
    shape[x->rank - 1] = p.parts_out;
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    status = make_line(call, p.length, p.inverse, &line);
    if (status != SPRY_OK) {
        return status;
    }
    inner = tensor_span(x, p.axis + 1, x->rank - 1);
    for (int64_t i = 0; i < tensor_span(x, 0, p.axis) * inner; i++) {
        double scale = p.inverse ? 1 / (double)p.length : 1;

        read_line(&p, x, i / inner, inner, i % inner, &line);
        transform(&line);
        for (int64_t k = 0; k < shape[p.axis]; k++) {
            const double pair[2] = {line.data[2 * k] * scale, line.data[2 * k + 1] * scale};

            convert_write_f64(out,
                              ((i / inner * shape[p.axis] + k) * inner + i % inner) * p.parts_out,
                              p.parts_out, pair);
        }
    }
    return SPRY_OK;
}

/* ---- STFT ---- */

/* Bins of a frame of `length` samples. */
static int64_t stft_bins(const graph_node *node, int64_t length)
{
    return graph_attribute_int(node, "onesided", 1) != 0 ? length / 2 + 1 : length;
}

static spry_status infer_stft(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *window = op_shapes_ranked(s, 2);
    graph_dim dims[4] = {operand_unknown, operand_unknown, operand_unknown, {.size = 2}};
    int64_t step;
    int64_t length = -1;
    int counts[2];
    spry_status status = op_shapes_ints(s, 1, &step, 1, &counts[0]);

    if (status == SPRY_OK) {
        status = op_shapes_ints(s, 3, &length, 1, &counts[1]);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (op_shapes_input(s, 3) == NULL && window != NULL && window->rank == 1) {
        length = window->dims[0].size;
    }
    if (x != NULL && x->rank >= 2) {
        dims[0] = x->dims[0];
        if (length > 0 && counts[0] == 1 && step > 0 && x->dims[1].size >= length) {
            dims[1].size = (x->dims[1].size - length) / step + 1;
        }
    }
    if (length > 0) {
        dims[2].size = stft_bins(s->node, length);
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), 4, dims);
    return SPRY_OK;
}

static spry_status run_stft(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *window = op_call_input(call, 2);
    int64_t step = 0;
    int64_t length = window != NULL ? tensor_count(window) : 0;
    int64_t parts = x->rank == 3 ? x->shape[2] : 1;
    int64_t shape[4] = {x->shape[0], 0, 0, 2};
    signal_line line = {.size = 0};
    tensor *out;
    int count;
    spry_status status = op_call_ints(call, 1, &step, 1, &count);

    if (status == SPRY_OK) {
        status = op_call_ints(call, 3, &length, 1, &count);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (x->rank < 2 || x->rank > 3 || parts < 1 || parts > 2 || step < 1 || length < 1 ||
        length > x->shape[1] || (window != NULL && tensor_count(window) != length)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "signal, step, window and length do not fit");
    }
    shape[1] = (x->shape[1] - length) / step + 1;
    shape[2] = stft_bins(call->node, length);
    status = op_call_output(call, 0, x->dtype, 4, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    status = make_line(call, length, false, &line);
    if (status != SPRY_OK) {
        return status;
    }
    for (int64_t frame = 0; frame < shape[0] * shape[1]; frame++) {
        int64_t first = frame / shape[1] * x->shape[1] + frame % shape[1] * step;

        for (int64_t i = 0; i < length; i++) {
            double weight = window != NULL ? convert_get_f64(window, i) : 1;

            line.data[2 * i] = weight * convert_get_f64(x, (first + i) * parts);
            line.data[2 * i + 1] =
                parts == 2 ? weight * convert_get_f64(x, (first + i) * parts + 1) : 0;
        }
        transform(&line);
        convert_write_f64(out, frame * shape[2] * 2, shape[2] * 2, line.data);
    }
    return SPRY_OK;
}

/* ---- windows ---- */

static spry_dtype output_dtype(const graph_node *node)
{
    int64_t dtype = graph_attribute_int(node, "output_datatype", SPRY_DTYPE_F32);

    return dtype > 0 && dtype < SPRY_DTYPE_COUNT && (OP_NUMERIC >> dtype & 1) != 0
               ? (spry_dtype)dtype
               : SPRY_DTYPE_F32;
}

static spry_status infer_window(op_shapes *s)
{
    graph_dim length = operand_unknown;
    int64_t size;
    int count;
    spry_status status = op_shapes_ints(s, 0, &size, 1, &count);

    length.size = status == SPRY_OK && count == 1 && size >= 0 ? size : -1;
    op_shapes_set(s, 0, output_dtype(s->node), 1, &length);
    return status;
}

/* Sums of cosines: a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N). */
static spry_status run_window(op_call *call)
{
    static const struct {
        const char *name;
        double a[3];
    } kinds[] = {{"HannWindow", {0.5, 0.5, 0}},
                 {"HammingWindow", {25.0 / 46, 1 - 25.0 / 46, 0}},
                 {"BlackmanWindow", {0.42, 0.5, 0.08}}};
    bool periodic = graph_attribute_int(call->node, "periodic", 1) != 0;
    int64_t size = -1;
    int kind = 0;
    int count;
    tensor *out;
    spry_status status = op_call_ints(call, 0, &size, 1, &count);

    if (status == SPRY_OK && size < 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the size of the window is negative");
    }
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, output_dtype(call->node), 1, &size, &out);
    }
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    while (strcmp(kinds[kind].name, call->node->type) != 0) {
        kind++;
    }
    for (int64_t n = 0; n < size; n++) {
        double period = (double)(periodic ? size : size > 1 ? size - 1 : 1);
        double angle = TWO_PI * (double)n / period;
        double number =
            kinds[kind].a[0] - kinds[kind].a[1] * cos(angle) + kinds[kind].a[2] * cos(2 * angle);

        convert_write_f64(out, n, 1, &number);
    }
    return SPRY_OK;
}

/* ---- MelWeightMatrix ---- */

static spry_status infer_mel(op_shapes *s)
{
    graph_dim dims[2] = {operand_unknown, operand_unknown};
    int64_t numbers[2];

    for (int i = 0; i < 2; i++) {
        int count;
        spry_status status = op_shapes_ints(s, i, &numbers[i], 1, &count);

        if (status != SPRY_OK) {
            return status;
        }
        if (count == 1 && numbers[i] >= 0) {
            dims[1 - i].size = i == 0 ? numbers[i] : numbers[i] / 2 + 1;
        }
    }
    op_shapes_set(s, 0, output_dtype(s->node), 2, dims);
    return SPRY_OK;
}

static double mel_of(double hertz)
{
    return 2595 * log10(1 + hertz / 700);
}

static spry_status run_mel(op_call *call)
{
    double bands = op_call_scalar(call, 0, 0);
    double length = op_call_scalar(call, 1, 0);
    double rate = op_call_scalar(call, 2, 0);
    double low = mel_of(op_call_scalar(call, 3, 0));
    double high = mel_of(op_call_scalar(call, 4, 0));
    int64_t shape[2];
    tensor *out;
    spry_status status;

    if (!(bands >= 0 && bands <= 1e6 && length >= 1 && length <= 1e9 && rate > 0 && high >= low)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "sizes, rate or edges make no sense");
    }
    shape[0] = (int64_t)length / 2 + 1;
    shape[1] = (int64_t)bands;
    status = op_call_output(call, 0, output_dtype(call->node), 2, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int64_t band = 0; band < shape[1]; band++) {
        double edges[3];

        for (int k = 0; k < 3; k++) {
            double mel = (double)(band + k) * (high - low) / (bands + 2) + low;
            double hertz = 700 * (pow(10, mel / 2595) - 1);

            edges[k] = floor((length + 1) * hertz / rate);
        }
        for (int64_t bin = 0; bin < shape[0]; bin++) {
            double at = (double)bin;
            double rise = edges[1] - edges[0];
            double weight = 0;

            if (at >= edges[0] && at <= edges[1]) {
                weight = rise > 0 ? (at - edges[0]) / rise : 1;
            } else if (at > edges[1] && at < edges[2]) {
                weight = (edges[2] - at) / (edges[2] - edges[1]);
            }
            convert_write_f64(out, bin * shape[1] + band, 1, &weight);
        }
    }
    return SPRY_OK;
}

/* ---- Det ---- */

static spry_status infer_det(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);

    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (x->rank < 2) {
        return op_shapes_fail(s, "needs matrices, not rank %d", x->rank);
    }
    op_shapes_set(s, 0, x->dtype, x->rank - 2, x->dims);
    return SPRY_OK;
}

/* Determinant by elimination with row exchange; destroys m[n][n]. */
static double determinant(double *m, int64_t n)
{
    double product = 1;

    for (int64_t k = 0; k < n; k++) {
        int64_t best = k;

        for (int64_t i = k + 1; i < n; i++) {
            best = fabs(m[i * n + k]) > fabs(m[best * n + k]) ? i : best;
        }
        if (m[best * n + k] == 0) {
            return 0;
        }
        for (int64_t j = k; j < n && best != k; j++) {
            double swap = m[k * n + j];

            m[k * n + j] = m[best * n + j];
            m[best * n + j] = swap;
        }
        product *= best != k ? -m[k * n + k] : m[k * n + k];
        for (int64_t i = k + 1; i < n; i++) {
            double factor = m[i * n + k] / m[k * n + k];

            for (int64_t j = k; j < n; j++) {
                m[i * n + j] -= factor * m[k * n + j];
            }
        }
    }
    return product;
}

static spry_status run_det(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t n = x->rank >= 2 ? x->shape[x->rank - 1] : -1;
    void *memory;
    tensor *out;
    spry_status status;

    if (n < 0 || x->shape[x->rank - 2] != n) {
        return op_call_fail(call, SPRY_BAD_INPUT, "needs square matrices");
    }
    status = op_call_output(call, 0, x->dtype, x->rank - 2, x->shape, &out);
    if (status == SPRY_OK) {
        status = op_call_scratch(call, (size_t)(n * n) * sizeof(double), &memory);
    }
    for (int64_t i = 0; status == SPRY_OK && out != NULL && i < tensor_count(out); i++) {
        double number;

        convert_read_f64(x, i * n * n, n * n, memory);
        number = determinant(memory, n);
        convert_write_f64(out, i, 1, &number);
    }
    return status;
}

/* clang-format off */
const op ops_signal[] = {
    {.name = "BlackmanWindow", .domain = "", .since = 17, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_INDEX}, .infer = infer_window,
     .run = run_window},
    {.name = "DFT", .domain = "", .since = 17, .min_inputs = 1, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_FLOATS, OP_INDEX, 1u << SPRY_DTYPE_I64},
     .infer = infer_dft, .run = run_dft},
    {.name = "Det", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_FLOATS}, .infer = infer_det,
     .run = run_det},
    {.name = "HammingWindow", .domain = "", .since = 17, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_INDEX}, .infer = infer_window,
     .run = run_window},
    {.name = "HannWindow", .domain = "", .since = 17, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_INDEX}, .infer = infer_window,
     .run = run_window},
    {.name = "MelWeightMatrix", .domain = "", .since = 17, .min_inputs = 5, .max_inputs = 5,
     .min_outputs = 1, .max_outputs = 1,
     .types = {OP_INDEX, OP_INDEX, OP_INDEX, OP_FLOATS, OP_FLOATS}, .infer = infer_mel,
     .run = run_mel},
    {.name = "STFT", .domain = "", .since = 17, .min_inputs = 2, .max_inputs = 4,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_FLOATS, OP_INDEX, OP_FLOATS, OP_INDEX},
     .infer = infer_stft, .run = run_stft},
    {.name = NULL},
};
/* clang-format on */
