/* An encoder layer over the blocks that are kept, by plain loops: what the fast one is held to. */
#include "ops/skim.h"

#include <math.h>
#include <string.h>

#include "ops/families.h"
#include "ops/op.h"
#include "tensor/convert.h"

static const double batch_epsilon = 1e-5;

/* ---- forms ---- */

static bool has_rank(const graph_type *type, int rank)
{
    return type != NULL && graph_type_is_static(type) && type->dtype == SPRY_DTYPE_F32 &&
           type->rank == rank;
}

static bool has_shape(const graph_type *type, int rank, const int64_t *dims)
{
    bool same = has_rank(type, rank);

    for (int i = 0; same && i < rank; i++) {
        same = type->dims[i].size == dims[i];
    }
    return same;
}

static bool has_pair(const graph_type *const *inputs, int port, int64_t rows, int64_t columns)
{
    return has_shape(inputs[port], 2, (const int64_t[]){rows, columns}) &&
           has_shape(inputs[port + 1], 1, &columns);
}

static bool has_vectors(const graph_type *const *inputs, int port, int count, int64_t size)
{
    bool same = true;

    for (int i = 0; same && i < count; i++) {
        same = has_shape(inputs[port + i], 1, &size);
    }
    return same;
}

static bool has_layer(const skim_form *f, const graph_type *const *inputs)
{
    int64_t h = f->hidden;

    return has_pair(inputs, SKIM_Q, h, h) && has_pair(inputs, SKIM_K, h, h) &&
           has_pair(inputs, SKIM_V, h, h) && has_pair(inputs, SKIM_OUT, h, h) &&
           has_vectors(inputs, SKIM_NORM1, 2, h) && has_pair(inputs, SKIM_UP, h, f->inner) &&
           has_pair(inputs, SKIM_DOWN, f->inner, h) && has_vectors(inputs, SKIM_NORM2, 2, h);
}

static bool has_predictor(const skim_form *f, const graph_type *const *inputs)
{
    const int64_t kernel[] = {f->heads, f->heads, 3, 3};
    const int64_t last[] = {2, f->heads * f->block * f->block / 16};
    const graph_type *threshold = inputs[SKIM_THRESHOLD];

    return has_shape(inputs[SKIM_PROTECTED], 2, (const int64_t[]){f->batch, f->blocks}) &&
           threshold != NULL && threshold->dtype == SPRY_DTYPE_F32 &&
           graph_type_is_static(threshold) && op_work_count(threshold) == 1 &&
           has_shape(inputs[SKIM_CONV1], 4, kernel) &&
           has_vectors(inputs, SKIM_CONV1 + 1, 1, f->heads) &&
           has_vectors(inputs, SKIM_BATCH1, 4, f->heads) &&
           has_shape(inputs[SKIM_CONV2], 4, kernel) &&
           has_vectors(inputs, SKIM_CONV2 + 1, 1, f->heads) &&
           has_vectors(inputs, SKIM_BATCH2, 4, f->heads) && has_shape(inputs[SKIM_LAST], 2, last) &&
           has_vectors(inputs, SKIM_LAST + 1, 1, 2);
}

static bool read_attributes(const graph_node *n, skim_form *f)
{
    f->decides = strcmp(n->type, SKIM_DECIDE) == 0;
    f->heads = graph_attribute_int(n, SKIM_HEADS, 0);
    f->block = graph_attribute_int(n, SKIM_BLOCK, 0);
    f->epsilon = graph_attribute_float(n, SKIM_EPSILON, -1.0f);
    f->scale = graph_attribute_float(n, SKIM_SCALE, NAN);
    return f->heads >= 1 && f->heads <= SKIM_MOST_HEADS && f->block >= 4 &&
           f->block <= SKIM_MOST_BLOCK && f->block % 4 == 0 && f->epsilon >= 0.0f &&
           isfinite(f->epsilon) && isfinite(f->scale);
}

bool skim_read(const graph_node *n, const graph_type *const *inputs, int32_t input_count,
               skim_form *form)
{
    const graph_type *x;
    const graph_type *up;
    const graph_type *bias;
    int64_t batch;

    *form = (skim_form){0};
    if (!read_attributes(n, form) ||
        input_count != (form->decides ? SKIM_PORTS : SKIM_LAYER_PORTS)) {
        return false;
    }
    x = inputs[SKIM_X];
    up = inputs[SKIM_UP];
    bias = inputs[SKIM_BIAS];
    if (!has_rank(x, 3) || !has_rank(up, 2) || !has_rank(bias, 4)) {
        return false;
    }
    form->batch = x->dims[0].size;
    form->tokens = x->dims[1].size;
    form->hidden = x->dims[2].size;
    form->inner = up->dims[1].size;
    form->blocks = (form->tokens + form->block - 1) / form->block;
    batch = bias->dims[0].size;
    form->bias_batch = batch == 1 ? 0 : form->tokens;
    return form->batch > 0 && form->tokens > 0 && form->hidden > 0 && form->inner > 0 &&
           form->hidden % form->heads == 0 && (batch == 1 || batch == form->batch) &&
           has_shape(bias, 4, (const int64_t[]){batch, 1, 1, form->tokens}) &&
           has_shape(inputs[SKIM_KEEP], 2, (const int64_t[]){form->batch, form->blocks}) &&
           has_layer(form, inputs) && (!form->decides || has_predictor(form, inputs));
}

int64_t skim_layer_macs(const skim_form *form, int64_t rows, int64_t keys)
{
    int64_t h = form->hidden;

    return rows * (4 * h * h + 2 * h * form->inner + 2 * keys * h);
}

int64_t skim_predictor_macs(const skim_form *form)
{
    int64_t pixels = form->block * form->block;
    int64_t taps = 9 * form->heads * form->heads;

    return taps * pixels + taps * pixels / 4 + form->heads * pixels / 16 * 2;
}

bool skim_decide(int64_t blocks, const float *keep, const float *protect, float threshold,
                 const float *logits, float *next)
{
    float bar = logf(threshold / (1.0f - threshold)); /* odds, which never are all alike */
    float best = -INFINITY;

    for (int64_t k = 0; k < blocks; k++) {
        next[k] = logits[2 * k + 1] - logits[2 * k];
        if (keep[k] > 0.0f && isnan(next[k])) {
            return false;
        }
        best = keep[k] > 0.0f && protect[k] == 0.0f && next[k] > best ? next[k] : best;
    }
    bar = best < bar ? best : bar;
    for (int64_t k = 0; k < blocks; k++) {
        next[k] = keep[k] > 0.0f && (protect[k] != 0.0f || next[k] >= bar) ? 1.0f : 0.0f;
    }
    return true;
}

/* ---- types and cost ---- */

static spry_status infer_skim(op_shapes *s)
{
    const graph_type *keep = op_shapes_ranked(s, SKIM_KEEP);
    graph_dim dims[3] = {{-1, NULL}, {-1, NULL}, {2, NULL}};

    op_shapes_copy(s, SKIM_Y, SKIM_X);
    op_shapes_copy(s, SKIM_NEXT, SKIM_KEEP);
    if (keep != NULL && keep->rank != 2) {
        return op_shapes_fail(s, "the blocks that are kept must be [N, K], not of rank %d",
                              keep->rank);
    }
    if (keep != NULL) {
        dims[0] = keep->dims[0];
        dims[1] = keep->dims[1];
        op_shapes_set(s, SKIM_LOGITS, SPRY_DTYPE_F32, 3, dims);
    }
    return SPRY_OK;
}

static void skim_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    skim_form f;

    if (skim_read(w->node, w->inputs, w->input_count, &f)) {
        *macs = skim_layer_macs(&f, f.batch * f.tokens, f.tokens);
        *macs += f.decides ? f.batch * f.blocks * skim_predictor_macs(&f) : 0;
        *flops = 2 * *macs;
    }
}

/* ---- one sequence ---- */

typedef struct skim_run {
    skim_form f;
    const float *in[SKIM_PORTS];
    float *y;
    int64_t *kept; /* [T] tokens, ascending */
    int64_t count;
    float *q, *k, *v, *mixed; /* [count][hidden] */
    float *inner;             /* [max of inner, hidden] */
    float *weights;           /* [T] */
    float *images;            /* [K][H][B][B] */
    float *half, *quarter;    /* images after a stage */
} skim_run;

/* y = x W + b of one row. */
static void multiply(const float *x, const float *w, const float *b, int64_t n, int64_t m, float *y)
{
    for (int64_t j = 0; j < m; j++) {
        double sum = 0.0;

        for (int64_t i = 0; i < n; i++) {
            sum += (double)x[i] * w[i * m + j];
        }
        y[j] = (float)(sum + b[j]);
    }
}

static void normalise(float *x, const float *more, const float *const *norm, int64_t n,
                      double epsilon)
{
    double mean = 0.0;
    double squares = 0.0;

    for (int64_t i = 0; i < n; i++) {
        x[i] += more[i];
        mean += x[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        squares += (x[i] - mean) * (x[i] - mean) / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)((x[i] - mean) / sqrt(squares + epsilon) * norm[0][i] + norm[1][i]);
    }
}

/* Row `i` of the kept ones in one head: its weights, what they mix, and the part on the
 * diagonal. */
static void attend(skim_run *r, const float *bias, int64_t head, int64_t i)
{
    const skim_form *f = &r->f;
    int64_t size = f->hidden / f->heads;
    int64_t block = r->kept[i] / f->block;
    float *image = r->images + (block * f->heads + head) * f->block * f->block +
                   r->kept[i] % f->block * f->block;
    double most = -INFINITY;
    double total = 0.0;

    for (int64_t j = 0; j < r->count; j++) {
        double sum = 0.0;

        for (int64_t e = 0; e < size; e++) {
            sum += (double)r->q[i * f->hidden + head * size + e] *
                   r->k[j * f->hidden + head * size + e];
        }
        r->weights[j] = (float)(sum * f->scale + bias[r->kept[j]]);
        most = r->weights[j] > most ? r->weights[j] : most;
    }
    for (int64_t j = 0; j < r->count; j++) {
        r->weights[j] = (float)exp(r->weights[j] - most);
        total += r->weights[j];
    }
    for (int64_t j = 0; j < r->count; j++) {
        r->weights[j] = (float)(r->weights[j] / total);
        if (r->kept[j] / f->block == block) {
            image[r->kept[j] % f->block] = r->weights[j];
        }
    }
    for (int64_t e = 0; e < size; e++) {
        double sum = 0.0;

        for (int64_t j = 0; j < r->count; j++) {
            sum += (double)r->weights[j] * r->v[j * f->hidden + head * size + e];
        }
        r->mixed[i * f->hidden + head * size + e] = (float)sum;
    }
}

static void run_sequence(skim_run *r, int64_t n)
{
    const skim_form *f = &r->f;
    int64_t h = f->hidden;
    const float *x = r->in[SKIM_X] + n * f->tokens * h;
    float *y = r->y + n * f->tokens * h;

    r->count = 0;
    for (int64_t t = 0; t < f->tokens; t++) {
        if (r->in[SKIM_KEEP][n * f->blocks + t / f->block] > 0.0f) {
            r->kept[r->count++] = t;
        }
    }
    memset(y, 0, (size_t)(f->tokens * h) * sizeof *y);
    memset(r->images, 0, (size_t)(f->blocks * f->heads * f->block * f->block) * sizeof(float));
    for (int64_t i = 0; i < r->count; i++) {
        const float *row = x + r->kept[i] * h;

        multiply(row, r->in[SKIM_Q], r->in[SKIM_Q + 1], h, h, r->q + i * h);
        multiply(row, r->in[SKIM_K], r->in[SKIM_K + 1], h, h, r->k + i * h);
        multiply(row, r->in[SKIM_V], r->in[SKIM_V + 1], h, h, r->v + i * h);
    }
    for (int64_t i = 0; i < r->count; i++) {
        float *to = y + r->kept[i] * h;

        for (int64_t head = 0; head < f->heads; head++) {
            attend(r, r->in[SKIM_BIAS] + n * f->bias_batch, head, i);
        }
        multiply(r->mixed + i * h, r->in[SKIM_OUT], r->in[SKIM_OUT + 1], h, h, to);
        normalise(to, x + r->kept[i] * h, &r->in[SKIM_NORM1], h, f->epsilon);
        multiply(to, r->in[SKIM_UP], r->in[SKIM_UP + 1], h, f->inner, r->inner);
        for (int64_t e = 0; e < f->inner; e++) {
            r->inner[e] = (float)(r->inner[e] / 2 * (1.0 + erf(r->inner[e] / sqrt(2.0))));
        }
        multiply(r->inner, r->in[SKIM_DOWN], r->in[SKIM_DOWN + 1], f->inner, h, r->mixed + i * h);
        normalise(to, r->mixed + i * h, &r->in[SKIM_NORM2], h, f->epsilon);
    }
}

/* ---- the predictor ---- */

/* One result before the pool. */
static double convolve(const float *x, const float *w, int64_t heads, int64_t side, int64_t row,
                       int64_t column)
{
    double sum = 0.0;

    for (int64_t c = 0; c < heads; c++) {
        for (int64_t i = 0; i < 9; i++) {
            int64_t y = row + i / 3 - 1;
            int64_t z = column + i % 3 - 1;

            if (y >= 0 && y < side && z >= 0 && z < side) {
                sum += (double)x[(c * side + y) * side + z] * w[c * 9 + i];
            }
        }
    }
    return sum;
}

static void run_stage(const skim_run *r, const float *x, int64_t side, int conv, int batch,
                      float *to)
{
    const float *const *norm = &r->in[batch];
    int64_t heads = r->f.heads;

    for (int64_t i = 0; i < heads * side * side / 4; i++) {
        to[i] = 0.0f;
    }
    for (int64_t o = 0; o < heads; o++) {
        double factor = norm[0][o] / sqrt(norm[3][o] + batch_epsilon);

        for (int64_t i = 0; i < side * side; i++) {
            double z = convolve(x, r->in[conv] + o * heads * 9, heads, side, i / side, i % side);

            z = (z + r->in[conv + 1][o] - norm[2][o]) * factor + norm[1][o];
            to[(o * side / 2 + i / side / 2) * (side / 2) + i % side / 2] +=
                (float)(z > 0.0    ? z / 4
                        : z <= 0.0 ? 0.0
                                   : z);
        }
    }
}

static void run_predictor(const skim_run *r, int64_t block, float *logits)
{
    const skim_form *f = &r->f;
    int64_t features = f->heads * f->block * f->block / 16;

    run_stage(r, r->images + block * f->heads * f->block * f->block, f->block, SKIM_CONV1,
              SKIM_BATCH1, r->half);
    run_stage(r, r->half, f->block / 2, SKIM_CONV2, SKIM_BATCH2, r->quarter);
    for (int64_t j = 0; j < 2; j++) {
        double sum = r->in[SKIM_LAST + 1][j];

        for (int64_t i = 0; i < features; i++) {
            sum += (double)r->quarter[i] * r->in[SKIM_LAST][j * features + i];
        }
        logits[j] = (float)sum;
    }
}

/* ---- the operator ---- */

static spry_status make_room(op_call *call, skim_run *r)
{
    const skim_form *f = &r->f;
    size_t rows = (size_t)(f->tokens * f->hidden);
    size_t pixels = (size_t)(f->heads * f->block * f->block);
    struct {
        void *to;
        size_t bytes;
    } rooms[] = {{&r->kept, (size_t)f->tokens * sizeof(int64_t)},
                 {&r->q, rows * sizeof(float)},
                 {&r->k, rows * sizeof(float)},
                 {&r->v, rows * sizeof(float)},
                 {&r->mixed, rows * sizeof(float)},
                 {&r->inner, (size_t)f->inner * sizeof(float)},
                 {&r->weights, (size_t)f->tokens * sizeof(float)},
                 {&r->images, (size_t)f->blocks * pixels * sizeof(float)},
                 {&r->half, pixels * sizeof(float)},
                 {&r->quarter, pixels * sizeof(float)}};
    spry_status status = SPRY_OK;

    for (size_t i = 0; i < sizeof rooms / sizeof *rooms && status == SPRY_OK; i++) {
        status = op_call_scratch(call, rooms[i].bytes, rooms[i].to);
    }
    return status;
}

static spry_status read_call(const op_call *call, skim_run *r)
{
    graph_type types[SKIM_PORTS];
    const graph_type *inputs[SKIM_PORTS] = {NULL};

    for (int i = 0; i < call->input_count && i < SKIM_PORTS; i++) {
        const tensor *t = op_call_input(call, i);

        if (t != NULL) {
            types[i] = graph_type_tensor(t->dtype, t->rank, t->shape);
            inputs[i] = &types[i];
            r->in[i] = t->data;
        }
    }
    return skim_read(call->node, inputs, call->input_count, &r->f)
               ? SPRY_OK
               : op_call_fail(call, SPRY_BAD_INPUT,
                              "inputs and attributes of the layer do not fit together");
}

/* Where results go, those that nobody wants to scratch memory. */
typedef struct skim_outputs {
    float *y, *next, *logits;
} skim_outputs;

static spry_status make_output(op_call *call, int port, int rank, const int64_t *shape,
                               float **data)
{
    int64_t count = shape[0] * shape[1] * (rank == 3 ? shape[2] : 1);
    tensor *t;
    void *room = NULL;
    spry_status status = op_call_output(call, port, SPRY_DTYPE_F32, rank, shape, &t);

    if (status == SPRY_OK && t == NULL) {
        status = op_call_scratch(call, (size_t)count * sizeof(float), &room);
    }
    *data = t != NULL ? t->data : room;
    return status;
}

static spry_status make_outputs(op_call *call, const skim_form *f, skim_outputs *to)
{
    const int64_t rows[] = {f->batch, f->tokens, f->hidden};
    const int64_t pairs[] = {f->batch, f->blocks, 2};
    spry_status status = make_output(call, SKIM_Y, 3, rows, &to->y);

    if (status == SPRY_OK && f->decides) {
        status = make_output(call, SKIM_NEXT, 2, pairs, &to->next);
    }
    if (status == SPRY_OK && f->decides) {
        status = make_output(call, SKIM_LOGITS, 3, pairs, &to->logits);
    }
    return status;
}

static spry_status run_skim(op_call *call)
{
    skim_run r = {.count = 0};
    skim_outputs to = {NULL, NULL, NULL};
    spry_status status = read_call(call, &r);

    if (status == SPRY_OK) {
        status = make_room(call, &r);
    }
    if (status == SPRY_OK) {
        status = make_outputs(call, &r.f, &to);
    }
    r.y = to.y;
    for (int64_t n = 0; n < r.f.batch && status == SPRY_OK; n++) {
        int64_t at = n * r.f.blocks;

        run_sequence(&r, n);
        for (int64_t k = 0; k < r.f.blocks && r.f.decides; k++) {
            run_predictor(&r, k, to.logits + (at + k) * 2);
        }
        if (r.f.decides && !skim_decide(r.f.blocks, r.in[SKIM_KEEP] + at, r.in[SKIM_PROTECTED] + at,
                                        *r.in[SKIM_THRESHOLD], to.logits + at * 2, to.next + at)) {
            status = op_call_fail(call, SPRY_BAD_INPUT, "%s", SKIM_ODD);
        }
    }
    return status;
}

const op ops_skim[] = {
    {.name = SKIM_LAYER,
     .domain = SKIM_DOMAIN,
     .since = 1,
     .min_inputs = SKIM_LAYER_PORTS,
     .max_inputs = SKIM_LAYER_PORTS,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_LAST_TYPES_REPEAT,
     .types = {1u << SPRY_DTYPE_F32},
     .infer = infer_skim,
     .run = run_skim,
     .cost = skim_cost},
    {.name = SKIM_DECIDE,
     .domain = SKIM_DOMAIN,
     .since = 1,
     .min_inputs = SKIM_PORTS,
     .max_inputs = SKIM_PORTS,
     .min_outputs = 1,
     .max_outputs = SKIM_RESULTS,
     .flags = OP_LAST_TYPES_REPEAT,
     .types = {1u << SPRY_DTYPE_F32},
     .infer = infer_skim,
     .run = run_skim,
     .cost = skim_cost},
    {.name = NULL},
};
