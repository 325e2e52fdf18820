/* Quantizing a model: which operators, in which order, and what is told about it. */
#include "spry/quantize.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/progress.h"
#include "model/infer.h"
#include "model/model.h"
#include "model/pass.h"
#include "ops/op.h"
#include "quantize/activations.h"
#include "quantize/calibrate.h"
#include "quantize/method.h"
#include "quantize/qdq.h"
#include "quantize/weights.h"

struct spry_quantization {
    spry_allocator allocator;
    arena memory;
    spry_quantize_row *rows;
    int32_t row_count;
    spry_quantize_skip *skips;
    int32_t skip_count;
    int32_t activations;
};

typedef struct quantizer {
    const spry_quantize_options *options;
    const method *method;
    squant_stages stages;
    model *m; /* the result */
    int32_t opset;
    threads *team;
    spry_quantization *facts;
    int32_t node_count; /* before nodes were added */
    bool *is_integer;   /* [node_count]: its weights are to be quantised */
    activations chosen; /* none without activation_bits */
    qdq_grid *grids;    /* [chosen.count] */
} quantizer;

spry_quantize_options spry_quantize_options_default(void)
{
    return (spry_quantize_options){.struct_size = sizeof(spry_quantize_options),
                                   .method = "squant",
                                   .weight_bits = 8,
                                   .stages = "ekc"};
}

/* ---- what is asked for ---- */

static spry_status read_stages(const char *text, squant_stages *stages, spry_error *error)
{
    static const struct {
        const char *name;
        squant_stages stages;
    } known[] = {{"e", SQUANT_E}, {"ek", SQUANT_K}, {"ec", SQUANT_C}, {"ekc", SQUANT_EKC}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].name) == 0) {
            *stages = known[i].stages;
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, "stages", "e, ek, ec or ekc", "there are no stages \"%s\"",
                     text);
}

static spry_status check_options(quantizer *q, spry_error *error)
{
    const spry_quantize_options *o = q->options;
    spry_status status;

    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_quantize_options_default()",
                         "not initialised");
    }
    if (o->weight_bits < GRID_LEAST_BITS || o->weight_bits > GRID_MOST_BITS) {
        return spry_fail(error, SPRY_USAGE, "weight bits", "2 to 8", "%d bits", o->weight_bits);
    }
    if (o->activation_bits != 0 && o->activation_bits != 8) {
        return spry_fail(error, SPRY_USAGE, "activation bits", "8, or 0 to keep them f32",
                         "%d bits", o->activation_bits);
    }
    if (o->activation_bits != 0 && o->calibration == NULL) {
        return spry_fail(error, SPRY_USAGE, "activation bits",
                         "for example --calibrate cifar10:train.bin",
                         "activations are quantized by what they are on samples; none are given");
    }
    status = method_find(o->method, &q->method, error);
    return status == SPRY_OK ? read_stages(o->stages, &q->stages, error) : status;
}

/* ---- the graph ---- */

static bool is_integer_operator(const graph_node *n)
{
    static const char *const types[] = {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
        "QLinearMatMul",  "ConvInteger",      "MatMulInteger",         "MatMulNBits"};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(n->type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

static spry_status check_is_float(const graph *g, spry_error *error)
{
    char label[256];

    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed && is_integer_operator(&g->nodes[i])) {
            return spry_fail(
                error, SPRY_BAD_INPUT, graph_node_label(g, &g->nodes[i], label, sizeof label),
                "start from the float model it was made of", "the model is quantized already");
        }
    }
    return SPRY_OK;
}

/* Brings the model to the first operator set with a step per channel, where no operator changes its
 * meaning on the way. */
static spry_status raise_opset(quantizer *q, spry_error *error)
{
    graph *g = q->m->main;
    char label[256];
    model_opset *opsets;

    q->opset = (int32_t)model_opset_version(q->m, "");
    if (q->opset >= QDQ_LEAST_OPSET) {
        return SPRY_OK;
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (!n->removed && n->domain[0] == '\0' &&
            op_find("", n->type, n->opset) != op_find("", n->type, QDQ_LEAST_OPSET)) {
            return spry_fail(error, SPRY_UNSUPPORTED, graph_node_label(g, n, label, sizeof label),
                             "export the model again with operator set 13 or newer",
                             "its meaning changes between operator sets %d and %d, which steps per "
                             "channel need",
                             q->opset, QDQ_LEAST_OPSET);
        }
    }
    q->opset = QDQ_LEAST_OPSET;
    opsets = arena_array(&q->m->memory, (size_t)q->m->opset_count, sizeof *opsets);
    if (opsets == NULL) {
        return alloc_failed(error, sizeof *opsets);
    }
    for (int32_t i = 0; i < q->m->opset_count; i++) {
        opsets[i] = q->m->opsets[i];
        if (opsets[i].domain[0] == '\0') {
            opsets[i].version = QDQ_LEAST_OPSET;
        }
    }
    q->m->opsets = opsets;
    for (int32_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].domain[0] == '\0') {
            g->nodes[i].opset = QDQ_LEAST_OPSET;
        }
    }
    return SPRY_OK;
}

/* Folds what is constant and batch norms, in the way of files: the operators stay the model's. */
static spry_status clean_up(quantizer *q, spry_error *error)
{
    pass_context context = {.m = q->m, .team = q->team, .for_file = true};
    spry_status status = check_is_float(q->m->main, error);

    if (status == SPRY_OK) {
        status = pass_run_all(q->m->main, &context, error);
    }
    return status == SPRY_OK ? raise_opset(q, error) : status;
}

/* ---- one weight ---- */

typedef struct weight_buffers {
    float *dense;
    int8_t *codes;
    int8_t *ordered; /* as the initializer */
    float *steps;
    int32_t *zeros;
} weight_buffers;

static void release_buffers(const spry_allocator *a, weight_buffers *b, const weight *w)
{
    size_t count = (size_t)weight_count(w);
    size_t outputs = (size_t)w->outputs;

    alloc_release(a, b->dense, count * sizeof *b->dense);
    alloc_release(a, b->codes, count);
    alloc_release(a, b->ordered, count);
    alloc_release(a, b->steps, outputs * sizeof *b->steps);
    alloc_release(a, b->zeros, outputs * sizeof *b->zeros);
}

static spry_status make_buffers(const spry_allocator *a, weight_buffers *b, const weight *w,
                                spry_error *error)
{
    size_t count = (size_t)weight_count(w);
    size_t outputs = (size_t)w->outputs;

    b->dense = alloc_bytes(a, count * sizeof *b->dense);
    b->codes = alloc_bytes(a, count);
    b->ordered = alloc_bytes(a, count);
    b->steps = alloc_bytes(a, outputs * sizeof *b->steps);
    b->zeros = alloc_bytes(a, outputs * sizeof *b->zeros);
    if (b->dense == NULL || b->codes == NULL || b->ordered == NULL || b->steps == NULL ||
        b->zeros == NULL) {
        release_buffers(a, b, w);
        return alloc_failed(error, count * sizeof *b->dense);
    }
    return SPRY_OK;
}

static double signal_to_noise(const weight *w, const weight_buffers *b)
{
    int64_t size = w->inputs * w->taps;
    double signal = 0.0;
    double noise = 0.0;

    for (int64_t i = 0; i < w->outputs * size; i++) {
        double x = (double)b->dense[i];
        double d = (double)grid_value(b->codes[i], b->steps[i / size], b->zeros[i / size]) - x;

        signal += x * x;
        noise += d * d;
    }
    return noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
}

static spry_status add_row(quantizer *q, const weight *w, const weight_buffers *b,
                           const squant_report *report, int64_t begun, spry_error *error)
{
    const graph *g = q->m->main;
    spry_quantization *f = q->facts;
    spry_quantize_row *row = &f->rows[f->row_count];
    char label[256];

    (void)graph_node_label(g, &g->nodes[w->node], label, sizeof label);
    *row = (spry_quantize_row){.node = arena_text(&f->memory, label, strlen(label)),
                               .weight = arena_text(&f->memory, g->values[w->value].name,
                                                    strlen(g->values[w->value].name)),
                               .weights = weight_count(w),
                               .bits = q->options->weight_bits,
                               .least_step = b->steps[0],
                               .most_step = b->steps[0],
                               .sqnr_db = signal_to_noise(w, b),
                               .kernel_flips = report->kernel_flips,
                               .channel_flips = report->channel_flips,
                               .kernel_error_before = report->kernel_error_before,
                               .kernel_error_after = report->kernel_error_after,
                               .channel_error_before = report->channel_error_before,
                               .channel_error_after = report->channel_error_after,
                               .milliseconds = (double)(clock_ns() - begun) * 1e-6};
    for (int64_t i = 1; i < w->outputs; i++) {
        row->least_step = b->steps[i] < row->least_step ? b->steps[i] : row->least_step;
        row->most_step = b->steps[i] > row->most_step ? b->steps[i] : row->most_step;
    }
    f->row_count++;
    return row->node != NULL && row->weight != NULL ? SPRY_OK : alloc_failed(error, sizeof *row);
}

/* The step of what `node` reads, or 0 when that stays f32. */
static float input_step(const quantizer *q, int32_t node)
{
    for (int32_t i = 0; i < q->chosen.count; i++) {
        if (q->chosen.values[i] == q->m->main->nodes[node].inputs[0]) {
            return q->grids[i].step;
        }
    }
    return 0.0f;
}

/* Biases first: their users are found by the weights that they still have. */
static spry_status replace(quantizer *q, const weight *w, const qdq_codes *codes, spry_error *error)
{
    graph *g = q->m->main;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < q->node_count; i++) {
        const char *reason;
        weight other;

        if (!weight_of_node(g, i, &other, &reason) || other.value != w->value ||
            other.output_axis != w->output_axis || input_step(q, i) == 0.0f) {
            continue;
        }
        status =
            qdq_replace_bias(g, i, input_step(q, i), codes->steps, w->outputs, q->opset, error);
    }
    return status == SPRY_OK ? qdq_replace_weight(g, w, codes, q->opset, error) : status;
}

static spry_status quantize_weight(quantizer *q, const weight *w, spry_error *error)
{
    const spry_allocator *a = &q->m->allocator;
    int64_t begun = clock_ns();
    squant_report report = {0};
    weight_buffers b;
    spry_status status = weight_check(q->m->main, w, error);

    if (status == SPRY_OK) {
        status = make_buffers(a, &b, w, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    weight_gather(w, b.dense);
    method_call call = {
        .weights = {b.dense, w->outputs, w->inputs, w->taps, b.codes, b.steps, b.zeros},
        .grid = {.bits = q->options->weight_bits, .symmetric = q->options->symmetric},
        .stages = q->stages,
        .allocator = a,
        .team = q->team,
        .report = &report};
    status = q->method->round(&call, error);
    if (status == SPRY_OK) {
        qdq_codes codes = {b.ordered, b.steps, b.zeros, q->options->symmetric};

        weight_scatter(w, b.codes, b.ordered);
        status = add_row(q, w, &b, &report, begun, error);
        if (status == SPRY_OK) {
            status = replace(q, w, &codes, error);
        }
    }
    release_buffers(a, &b, w);
    return status;
}

/* ---- all weights ---- */

static bool is_excluded(const quantizer *q, const graph_node *n)
{
    char label[256];

    (void)graph_node_label(q->m->main, n, label, sizeof label);
    for (int32_t i = 0; i < q->options->exclude_count; i++) {
        if (strcmp(q->options->exclude[i], n->name) == 0 ||
            strcmp(q->options->exclude[i], label) == 0) {
            return true;
        }
    }
    return false;
}

static spry_status add_skip(quantizer *q, int32_t node, const char *reason, spry_error *error)
{
    spry_quantization *f = q->facts;
    char label[256];

    (void)graph_node_label(q->m->main, &q->m->main->nodes[node], label, sizeof label);
    f->skips[f->skip_count] =
        (spry_quantize_skip){arena_text(&f->memory, label, strlen(label)), reason};
    return f->skips[f->skip_count++].node != NULL ? SPRY_OK : alloc_failed(error, sizeof label);
}

/* Decides for every operator whether it is quantised. */
static spry_status choose_operators(quantizer *q, spry_error *error)
{
    graph *g = q->m->main;
    spry_status status = SPRY_OK;
    bool any = false;

    q->node_count = g->node_count;
    q->is_integer = arena_array(&q->facts->memory, (size_t)g->node_count + 1, sizeof(bool));
    if (q->is_integer == NULL) {
        return alloc_failed(error, (size_t)g->node_count);
    }
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const char *reason = NULL;
        weight w;
        bool fits = weight_of_node(g, i, &w, &reason);

        if (fits && is_excluded(q, &g->nodes[i])) {
            fits = false;
            reason = "excluded";
        }
        q->is_integer[i] = fits;
        any = any || fits;
        if (reason != NULL) {
            status = add_skip(q, i, reason, error);
        }
    }
    if (status == SPRY_OK && !any) {
        status = spry_fail(error, SPRY_UNSUPPORTED, q->m->path, NULL,
                           "there is no Conv, ConvTranspose, Gemm or MatMul with f32 weights to "
                           "quantize");
    }
    return status;
}

static spry_status quantize_weights(quantizer *q, spry_error *error)
{
    graph *g = q->m->main;
    char label[256];
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < q->node_count; i++) {
        const char *reason = NULL;
        weight w;

        /* An initializer that is shared has been replaced everywhere with its first user. */
        if (!q->is_integer[i] || !weight_of_node(g, i, &w, &reason)) {
            continue;
        }
        (void)graph_node_label(g, &g->nodes[i], label, sizeof label);
        status = progress_report(q->options->progress, label, i, q->node_count, error);
        if (status == SPRY_OK) {
            status = quantize_weight(q, &w, error);
        }
    }
    return status;
}

/* ---- activations ---- */

static spry_status measure_activations(quantizer *q, spry_error *error)
{
    const spry_allocator *a = &q->m->allocator;
    observer *observers;
    spry_status status = infer_graph(q->m->main, error);

    if (status == SPRY_OK) {
        status =
            activations_choose(q->m->main, q->is_integer, &q->facts->memory, &q->chosen, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    size_t count = (size_t)q->chosen.count;
    q->grids = arena_array(&q->facts->memory, count + 1, sizeof *q->grids);
    observers = alloc_array(a, count + 1, sizeof *observers);
    if (q->grids == NULL || observers == NULL) {
        alloc_release(a, observers, (count + 1) * sizeof *observers);
        return alloc_failed(error, count * sizeof *observers);
    }
    status = calibrate(q->m, q->options, &q->chosen, observers, error);
    for (int32_t i = 0; status == SPRY_OK && i < q->chosen.count; i++) {
        q->grids[i] = observe_grid(&observers[q->chosen.like[i]], OBSERVE_MSE, SPRY_DTYPE_U8);
    }
    alloc_release(a, observers, (count + 1) * sizeof *observers);
    return status;
}

static spry_status quantize_activations(quantizer *q, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < q->chosen.count; i++) {
        status =
            qdq_replace_activation(q->m->main, q->chosen.values[i], &q->grids[i], q->opset, error);
    }
    q->facts->activations = q->chosen.count;
    return status;
}

/* ---- the whole ---- */

static spry_status make_facts(quantizer *q, spry_error *error)
{
    spry_allocator allocator = q->m->allocator;
    spry_quantization *f = alloc_zeroed(&allocator, sizeof *f);
    size_t nodes = (size_t)q->m->main->node_count + 1;

    if (f == NULL) {
        return alloc_failed(error, sizeof *f);
    }
    f->allocator = allocator;
    arena_init(&f->memory, &allocator, SIZE_MAX);
    q->facts = f;
    f->rows = arena_array(&f->memory, nodes, sizeof *f->rows);
    f->skips = arena_array(&f->memory, nodes, sizeof *f->skips);
    return f->rows != NULL && f->skips != NULL ? SPRY_OK
                                               : alloc_failed(error, nodes * sizeof *f->rows);
}

/* The float weights are no longer read. */
static spry_status finish(quantizer *q, spry_error *error)
{
    pass_context context = {.for_file = true};
    spry_status status = graph_sort(q->m->main, error);

    return status == SPRY_OK ? pass_dead(q->m->main, &context, error) : status;
}

static spry_status run(quantizer *q, spry_error *error)
{
    spry_status status = clean_up(q, error);

    if (status == SPRY_OK) {
        status = make_facts(q, error);
    }
    if (status == SPRY_OK) {
        status = choose_operators(q, error);
    }
    if (status == SPRY_OK && q->options->activation_bits != 0) {
        status = measure_activations(q, error);
    }
    if (status == SPRY_OK) {
        status = quantize_weights(q, error);
    }
    if (status == SPRY_OK) {
        status = quantize_activations(q, error);
    }
    return status == SPRY_OK ? finish(q, error) : status;
}

spry_status spry_quantize(const spry_model *source, const spry_quantize_options *options,
                          spry_model **quantized, spry_quantization **facts, spry_error *error)
{
    quantizer q = {.options = options};
    spry_status status = check_options(&q, error);

    *quantized = NULL;
    *facts = NULL;
    if (status == SPRY_OK) {
        status = threads_create(&source->allocator, options->threads, &q.team, error);
    }
    if (status == SPRY_OK) {
        status = model_copy(source, &q.m, error);
    }
    if (status == SPRY_OK) {
        status = run(&q, error);
    }
    threads_destroy(q.team);
    if (status != SPRY_OK) {
        spry_quantization_destroy(q.facts);
        spry_model_destroy(q.m);
        return status;
    }
    *quantized = q.m;
    *facts = q.facts;
    return SPRY_OK;
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

int32_t spry_quantization_activations(const spry_quantization *facts)
{
    return facts->activations;
}
