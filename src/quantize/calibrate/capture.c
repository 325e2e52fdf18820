/* Ranges of all samples, rows of some. */
#include "quantize/calibrate/capture.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "model/infer.h"
#include "model/pass.h"
#include "quantize/calibrate/samples.h"
#include "spry/random.h"
#include "spry/session.h"

enum { SEED = 7 };

/* ---- ranges of all samples ---- */

typedef struct ranger {
    capture *c;
    const int32_t *a_number, *b_number; /* of the layer's operands among the values visited */
    int32_t scores_number;
    const int64_t *images; /* whose scores are kept */
    int64_t image_count;
    float *scores; /* [images][classes] */
    int64_t classes;
    const samples_view *view;
    bool *fine; /* per layer: all numbers are finite */
} ranger;

/* Range of each head of [images][heads][...]; false when a number is none. */
static bool widen(const tensor *t, int64_t heads, float *low, float *high)
{
    const float *x = t->data;
    int64_t count = tensor_count(t);
    int64_t span = heads > 1 ? tensor_span(t, 2, t->rank) : count;

    for (int64_t i = 0; span > 0 && i < count; i += span) {
        int64_t head = heads > 1 ? i / span % heads : 0;
        float least = low[head];
        float most = high[head];
        bool finite = true;

        for (int64_t k = 0; k < span; k++) {
            finite = finite && isfinite(x[i + k]);
            least = x[i + k] < least ? x[i + k] : least;
            most = x[i + k] > most ? x[i + k] : most;
        }
        if (!finite) {
            return false;
        }
        low[head] = least;
        high[head] = most;
    }
    return true;
}

static void widen_layers(void *context, int64_t begin, int64_t end, int worker)
{
    const ranger *r = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const layer *l = &r->c->found->list[i];
        capture_layer *at = &r->c->list[i];
        const tensor *const *tensors = r->view->tensors;

        r->fine[i] = widen(tensors[r->a_number[i]], l->heads, at->a_low, at->a_high) &&
                     (l->weight != GRAPH_NONE ||
                      widen(tensors[r->b_number[i]], l->heads, at->b_low, at->b_high));
    }
}

static spry_status watch(void *context, const samples_view *view, spry_error *error)
{
    ranger *r = context;
    const graph *g = r->c->job->m->main;
    const tensor *scores = view->tensors[r->scores_number];
    spry_status status = SPRY_OK;
    char label[256];

    r->view = view;
    threads_for(r->c->job->team, r->c->found->count, 1, widen_layers, r);
    for (int32_t i = 0; status == SPRY_OK && i < r->c->found->count; i++) {
        const graph_node *n = &g->nodes[r->c->found->list[i].node];

        if (!r->fine[i]) {
            status = spry_fail(error, SPRY_BAD_INPUT, graph_node_label(g, n, label, sizeof label),
                               "exclude the operator",
                               "on calibration samples an operand is infinite or not a number");
        }
    }
    if (scores->rank != 2 || scores->shape[0] != view->count) {
        return status;
    }
    if (r->scores == NULL) {
        r->classes = scores->shape[1];
        r->scores = arena_array(r->c->job->memory, (size_t)(r->image_count * r->classes),
                                sizeof *r->scores);
    }
    for (int64_t i = 0; r->scores != NULL && i < r->image_count; i++) {
        int64_t place = r->images[i] - view->first;

        if (place >= 0 && place < view->count) {
            memcpy(r->scores + i * r->classes, (const float *)scores->data + place * r->classes,
                   (size_t)r->classes * sizeof *r->scores);
        }
    }
    return status;
}

/* ---- what is run for rows ---- */

typedef struct probe {
    capture *c;
    samples s;
    int64_t runs; /* batches that rows are drawn from */
    model *m;
    spry_session *session;
    int32_t *a_output, *b_output,
        *g_output; /* numbers of outputs; GRAPH_NONE: the input, or none */
    int32_t output_count;
    spry_value **outputs;
    const ranger *scores;
    float *rows;       /* of one image's operand */
    float **squares;   /* per layer: importance of one batch */
    int64_t *draws;    /* rows drawn */
    int64_t draw_room; /* most rows of an image */
    int64_t *labels;   /* [batch] */
    float *weights;    /* [batch]: of images' losses */
} probe;

/* Images of batch `run` begin here. */
static int64_t batch_of(const probe *p, int64_t run)
{
    return run * samples_batches(&p->s) / p->runs;
}

static spry_status open_samples(probe *p, spry_error *error)
{
    int64_t batches;
    int64_t most;
    spry_status status = samples_open(p->c->job->m, p->c->job->options, &p->s, error);

    if (status == SPRY_OK) {
        p->s.batch = p->s.input.shape[0] >= 0 ? p->s.batch : 1;
        batches = samples_batches(&p->s);
        most = CAPTURE_IMAGES / p->s.batch;
        most = most > 1 ? most : 1;
        p->runs = batches < most ? batches : most;
    }
    return status;
}

/* Gives the input the shape of a batch of samples. */
static spry_status bind_input(probe *p, spry_error *error)
{
    spry_value *input = NULL;
    const tensor *t;
    graph_type type;
    spry_status status = samples_batch(&p->s, &p->m->allocator, 0, &input, error);

    if (status != SPRY_OK) {
        return status;
    }
    t = spry_value_tensor(input);
    type = graph_type_tensor(t->dtype, t->rank, t->shape);
    status = infer_bind_input(p->m->main, p->s.input.name, &type, error);
    spry_value_destroy(input);
    return status;
}

/* Brings the copy in the form that gradients want, and adds them. A model that has none is no
 * failure. `exposed` are the outputs of all layers' operands and results. */
static spry_status add_gradients(probe *p, const int32_t *result_output, spry_error *error)
{
    graph *g = p->m->main;
    int32_t count = p->c->found->count;
    pass_context context = {.m = p->m, .team = p->c->job->team};
    int32_t *of = arena_array(&p->m->memory, (size_t)count, sizeof *of);
    int32_t *made = arena_array(&p->m->memory, (size_t)count, sizeof *made);
    int32_t *outputs =
        arena_array(&p->m->memory, (size_t)(g->output_count + count), sizeof *outputs);
    spry_error why = {0};
    spry_status status;

    if (of == NULL || made == NULL || outputs == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *of);
    }
    status = bind_input(p, error);
    if (status == SPRY_OK) {
        status = infer_graph(g, error);
    }
    if (status == SPRY_OK) {
        status = pass_run_all(g, &context, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < count; i++) {
        of[i] = g->outputs[result_output[i]];
    }
    status = fisher_extend(p->m, of, count, made, &why);
    if (status == SPRY_UNSUPPORTED) {
        p->c->remark = arena_text(p->c->job->memory, why.what, strlen(why.what));
        return status;
    }
    memcpy(outputs, g->outputs, (size_t)g->output_count * sizeof *outputs);
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        p->g_output[i] = GRAPH_NONE;
        if (made[i] != GRAPH_NONE) {
            p->g_output[i] = g->output_count;
            g->values[made[i]].is_output = true;
            outputs[g->output_count++] = made[i];
            g->outputs = outputs;
        }
    }
    return status == SPRY_OK ? infer_graph(g, error) : status;
}

static spry_status make_model(probe *p, bool gradients, spry_error *error)
{
    const layers *found = p->c->found;
    size_t count = (size_t)found->count;
    arena *memory;
    int32_t *values;
    int32_t *result_output;
    spry_status status = model_copy(p->c->job->m, &p->m, error);

    if (status != SPRY_OK) {
        return status;
    }
    memory = &p->m->memory;
    values = arena_array(memory, count, sizeof *values);
    result_output = arena_array(memory, count, sizeof *result_output);
    p->a_output = arena_array(memory, count, sizeof *p->a_output);
    p->b_output = arena_array(memory, count, sizeof *p->b_output);
    p->g_output = arena_array(memory, count, sizeof *p->g_output);
    if (values == NULL || result_output == NULL || p->a_output == NULL || p->b_output == NULL ||
        p->g_output == NULL) {
        return alloc_failed(error, count * sizeof *values);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = found->list[i].a;
        p->g_output[i] = GRAPH_NONE;
    }
    status = samples_expose(p->m, values, found->count, p->a_output, error);
    for (size_t i = 0; i < count; i++) { /* of weights: once more what is there already */
        values[i] = found->list[i].weight == GRAPH_NONE ? found->list[i].b : found->list[i].a;
    }
    if (status == SPRY_OK) {
        status = samples_expose(p->m, values, found->count, p->b_output, error);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = found->list[i].output;
    }
    if (status == SPRY_OK && gradients) {
        status = samples_expose(p->m, values, found->count, result_output, error);
        status = status == SPRY_OK ? add_gradients(p, result_output, error) : status;
    }
    return status;
}

static void close_probe(probe *p)
{
    spry_session_destroy(p->session);
    spry_model_destroy(p->m);
    p->session = NULL;
    p->m = NULL;
}

/* A session that gives operands, and gradients where they can be had. */
static spry_status open_probe(probe *p, spry_error *error)
{
    spry_session_options session = spry_session_options_default();
    bool gradients = fisher_has_gradients(p->c->metric);
    spry_status status = make_model(p, gradients, error);

    if (status == SPRY_UNSUPPORTED && gradients) {
        close_probe(p);
        p->c->metric = FISHER_NONE;
        status = make_model(p, false, error);
    }
    session.threads = p->c->job->options->threads;
    if (status == SPRY_OK) {
        status = spry_session_create(p->m, &session, &p->session, error);
    }
    if (status == SPRY_OK) {
        p->output_count = p->m->main->output_count;
        p->outputs = arena_array(&p->m->memory, (size_t)p->output_count, sizeof(spry_value *));
        p->labels = arena_array(&p->m->memory, (size_t)p->s.batch, sizeof *p->labels);
        p->weights = arena_array(&p->m->memory, (size_t)p->s.batch, sizeof *p->weights);
        if (p->outputs == NULL || p->labels == NULL || p->weights == NULL) {
            status = alloc_failed(error, (size_t)p->output_count * sizeof(spry_value *));
        }
    }
    return status;
}

/* ---- rows ---- */

static const tensor *output_of(const probe *p, int32_t number, const spry_value *input)
{
    return spry_value_tensor(number != GRAPH_NONE ? p->outputs[number] : input);
}

/* Sizes of layer `index`, from its operands in one batch. */
static void measure(const probe *p, int32_t index, const tensor *a, const tensor *b)
{
    const layer *l = &p->c->found->list[index];
    capture_layer *at = &p->c->list[index];
    int64_t batch = p->s.batch;
    int64_t images = p->runs * batch;
    int64_t count = tensor_count(a);

    at->k = l->weight != GRAPH_NONE ? l->k : a->shape[a->rank - 1];
    at->images = images;
    if (l->weight != GRAPH_NONE) {
        at->n = l->n;
        at->inner = 0;
        at->image_rows = count / at->k / batch;
    } else {
        at->n = b->shape[b->rank - 1];
        at->image_rows = a->shape[a->rank - 2];
        at->inner = count / at->k / at->image_rows / batch;
        if (images > CAPTURE_PRODUCT_IMAGES) {
            at->images =
                batch > CAPTURE_PRODUCT_IMAGES ? batch : CAPTURE_PRODUCT_IMAGES / batch * batch;
        }
    }
    at->drawn = (CAPTURE_ROWS + at->images - 1) / at->images;
    at->drawn = at->drawn < at->image_rows ? at->drawn : at->image_rows;
    at->groups = at->inner == 0 ? 1 : at->images * at->inner;
    at->rows = at->inner == 0 ? at->images * at->drawn : at->drawn;
}

static uint64_t floats(int64_t count)
{
    return (uint64_t)count * sizeof(float);
}

/* Places in the file, and room for a batch. */
static spry_status lay_out(probe *p, const spry_value *input, spry_error *error)
{
    uint64_t end = 0;
    int64_t most = 0;

    p->squares = arena_array(&p->m->memory, (size_t)p->c->found->count, sizeof *p->squares);
    if (p->squares == NULL) {
        return alloc_failed(error, sizeof *p->squares);
    }
    for (int32_t i = 0; i < p->c->found->count; i++) {
        capture_layer *at = &p->c->list[i];
        int64_t per_batch;

        measure(p, i, output_of(p, p->a_output[i], input), output_of(p, p->b_output[i], input));
        per_batch = p->s.batch * (at->inner == 0 ? 1 : at->inner) * at->drawn;
        at->a_at = end;
        end += floats(at->groups * at->rows * at->k);
        at->b_at = end;
        end += at->inner == 0 ? 0 : floats(at->groups * at->k * at->n);
        at->g_at = end;
        end += floats(at->groups * at->rows * at->n);
        most = per_batch * at->k > most ? per_batch * at->k : most;
        p->draw_room = at->image_rows > p->draw_room ? at->image_rows : p->draw_room;
        p->squares[i] = arena_array(&p->m->memory, (size_t)(per_batch * at->n) + 1, sizeof(float));
        if (p->squares[i] == NULL) {
            return alloc_failed(error, (size_t)(per_batch * at->n) * sizeof(float));
        }
    }
    p->rows = arena_array(&p->m->memory, (size_t)most + 1, sizeof *p->rows);
    p->draws = arena_array(&p->m->memory, (size_t)p->draw_room + 1, sizeof *p->draws);
    return p->rows != NULL && p->draws != NULL ? SPRY_OK
                                               : alloc_failed(error, (size_t)most * sizeof(float));
}

/* The rows of one image of a layer: the first of a shuffle that depends on both. */
static void draw_rows(const probe *p, int32_t index, int64_t image)
{
    const capture_layer *at = &p->c->list[index];
    spry_random r = spry_random_stream(SEED, (uint64_t)index << 32 | (uint64_t)image);

    for (int64_t i = 0; i < at->image_rows; i++) {
        p->draws[i] = i;
    }
    for (int64_t i = 0; at->drawn < at->image_rows && i < at->drawn; i++) {
        int64_t other = i + (int64_t)spry_random_below(&r, (uint64_t)(at->image_rows - i));
        int64_t row = p->draws[i];

        p->draws[i] = p->draws[other];
        p->draws[other] = row;
    }
}

/* Does the layer keep this batch? Products of two activations keep fewer, spread evenly. *slot is
 * the number of its first image among those kept. */
static bool keeps(const probe *p, const capture_layer *at, int64_t run, int64_t *slot)
{
    int64_t kept = at->images / p->s.batch;
    int64_t number = run * kept / p->runs;

    *slot = number * p->s.batch;
    return run == (number * p->runs + kept - 1) / kept;
}

/* Goes over the drawn rows of a batch: row_of(..) in the tensor, and where they go. */
typedef void (*row_taker)(float *to, const float *from, int64_t count, float factor);

static void take_copy(float *to, const float *from, int64_t count, float factor)
{
    (void)factor;
    memcpy(to, from, (size_t)count * sizeof *to);
}

static void take_square(float *to, const float *from, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] += factor * from[i] * from[i];
    }
}

static void take_rows(const probe *p, int32_t index, int64_t slot, const float *from, int64_t width,
                      const float *weights, row_taker take, float *to)
{
    const capture_layer *at = &p->c->list[index];
    int64_t groups = at->inner == 0 ? 1 : at->inner;

    for (int64_t image = 0; image < p->s.batch; image++) {
        draw_rows(p, index, slot + image);
        for (int64_t g = 0; g < groups; g++) {
            const float *base = from + (image * groups + g) * at->image_rows * width;

            for (int64_t i = 0; i < at->drawn; i++) {
                take(to, base + p->draws[i] * width, width,
                     weights != NULL ? weights[image] : 1.0f);
                to += width;
            }
        }
    }
}

/* Where the rows of image `slot` begin, in elements of `width`. */
static uint64_t row_place(const capture_layer *at, int64_t slot, int64_t width)
{
    return floats(slot * (at->inner == 0 ? 1 : at->inner) * at->drawn * width);
}

static spry_status keep_operands(probe *p, int64_t run, const spry_value *input, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < p->c->found->count; i++) {
        const capture_layer *at = &p->c->list[i];
        int64_t groups = p->s.batch * (at->inner == 0 ? 1 : at->inner);
        int64_t slot;

        if (!keeps(p, at, run, &slot)) {
            continue;
        }
        take_rows(p, i, slot, output_of(p, p->a_output[i], input)->data, at->k, NULL, take_copy,
                  p->rows);
        status = spill_write(&p->c->file, at->a_at + row_place(at, slot, at->k), p->rows,
                             floats(groups * at->drawn * at->k), error);
        if (status == SPRY_OK && at->inner != 0) {
            status = spill_write(&p->c->file, at->b_at + floats(slot * at->inner * at->k * at->n),
                                 output_of(p, p->b_output[i], input)->data,
                                 floats(groups * at->k * at->n), error);
        }
    }
    return status;
}

/* Adds the squared gradients of one loss. */
static void add_squares(probe *p, int64_t run, const float *weights)
{
    for (int32_t i = 0; i < p->c->found->count; i++) {
        int64_t slot;

        if (p->g_output[i] != GRAPH_NONE && keeps(p, &p->c->list[i], run, &slot)) {
            take_rows(p, i, slot, output_of(p, p->g_output[i], NULL)->data, p->c->list[i].n,
                      weights, take_square, p->squares[i]);
        }
    }
}

static int64_t batch_squares(const probe *p, const capture_layer *at)
{
    return p->s.batch * (at->inner == 0 ? 1 : at->inner) * at->drawn * at->n;
}

static spry_status keep_squares(probe *p, int64_t run, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < p->c->found->count; i++) {
        capture_layer *at = &p->c->list[i];
        int64_t count = batch_squares(p, at);
        int64_t slot;

        if (!keeps(p, at, run, &slot)) {
            continue;
        }
        for (int64_t k = 0; k < count; k++) {
            at->gradient += (double)p->squares[i][k];
        }
        status = spill_write(&p->c->file, at->g_at + row_place(at, slot, at->n), p->squares[i],
                             floats(count), error);
        memset(p->squares[i], 0, floats(count));
    }
    return status;
}

/* ---- running ---- */

static spry_status run_session(probe *p, const spry_value *input, const spry_value *target,
                               spry_error *error)
{
    const char *const names[] = {p->s.input.name, FISHER_TARGET};
    const spry_value *const inputs[] = {input, target};

    for (int32_t i = 0; i < p->output_count; i++) {
        spry_value_destroy(p->outputs[i]);
        p->outputs[i] = NULL;
    }
    return spry_session_run(p->session, target != NULL ? 2 : 1, names, inputs, p->output_count,
                            p->outputs, error);
}

/* All losses of one batch. */
static spry_status run_losses(probe *p, int64_t run, const spry_value *input, spry_error *error)
{
    const spry_allocator *a = &p->m->allocator;
    int64_t classes = p->scores->classes;
    fisher_plan plan = fisher_plan_of(p->c->metric, p->s.batch, classes);
    const int64_t shape[] = {p->s.batch, classes};
    spry_tensor *t = NULL;
    spry_value *target = NULL;
    spry_status status = spry_tensor_create(a, SPRY_DTYPE_F32, 2, shape, &t, error);

    status = status == SPRY_OK ? spry_value_from_tensor(a, t, &target, error) : status;
    for (int64_t i = 0; status == SPRY_OK && i < plan.runs; i++) {
        fisher_target(&plan, i, p->scores->scores + run * p->s.batch * classes, p->labels,
                      run * p->s.batch, spry_value_tensor(target)->data, p->weights);
        status = run_session(p, input, target, error);
        if (status == SPRY_OK) {
            add_squares(p, run, p->weights);
        }
    }
    spry_value_destroy(target);
    return status == SPRY_OK ? keep_squares(p, run, error) : status;
}

static spry_status run_batch(probe *p, int64_t run, spry_error *error)
{
    spry_value *input = NULL;
    spry_status status =
        samples_labelled(&p->s, &p->m->allocator, batch_of(p, run), p->labels, &input, error);

    if (status == SPRY_OK && !fisher_has_gradients(p->c->metric)) {
        status = run_session(p, input, NULL, error);
    }
    /* Sizes are known from the first results. */
    if (status == SPRY_OK && fisher_has_gradients(p->c->metric) && p->squares == NULL) {
        const int64_t shape[] = {p->s.batch, p->scores->classes};
        spry_tensor *t = NULL;
        spry_value *target = NULL;

        status = spry_tensor_create(&p->m->allocator, SPRY_DTYPE_F32, 2, shape, &t, error);
        if (status == SPRY_OK) {
            memset(spry_tensor_data(t), 0, floats(shape[0] * shape[1]));
            status = spry_value_from_tensor(&p->m->allocator, t, &target, error);
        }
        status = status == SPRY_OK ? run_session(p, input, target, error) : status;
        spry_value_destroy(target);
    }
    if (status == SPRY_OK && p->squares == NULL) {
        status = lay_out(p, input, error);
    }
    if (status == SPRY_OK && fisher_has_gradients(p->c->metric)) {
        status = run_losses(p, run, input, error);
    }
    if (status == SPRY_OK) {
        status = keep_operands(p, run, input, error);
    }
    spry_value_destroy(input);
    return status;
}

static spry_status run_batches(probe *p, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int64_t run = 0; status == SPRY_OK && run < p->runs; run++) {
        status = run_batch(p, run, error);
        if (status == SPRY_OK) {
            status = progress_report(p->c->job->options->progress, "looking at layers", (double)run,
                                     (double)p->runs, error);
        }
    }
    for (int32_t i = 0; p->outputs != NULL && i < p->output_count; i++) {
        spry_value_destroy(p->outputs[i]);
        p->outputs[i] = NULL;
    }
    for (int32_t i = 0; status == SPRY_OK && i < p->c->found->count; i++) {
        capture_layer *at = &p->c->list[i];

        at->gradient /= (double)(at->groups * at->rows * at->n);
    }
    return status;
}

/* ---- the whole ---- */

static spry_status make_room(capture *c, spry_error *error)
{
    arena *memory = c->job->memory;

    c->list = arena_array(memory, (size_t)c->found->count + 1, sizeof *c->list);
    if (c->list == NULL) {
        return alloc_failed(error, sizeof *c->list);
    }
    for (int32_t i = 0; i < c->found->count; i++) {
        size_t heads = (size_t)c->found->list[i].heads;

        c->list[i].a_low = arena_array(memory, heads, sizeof(float));
        c->list[i].a_high = arena_array(memory, heads, sizeof(float));
        c->list[i].b_low = arena_array(memory, heads, sizeof(float));
        c->list[i].b_high = arena_array(memory, heads, sizeof(float));
        if (c->list[i].a_low == NULL || c->list[i].a_high == NULL || c->list[i].b_low == NULL ||
            c->list[i].b_high == NULL) {
            return alloc_failed(error, heads * sizeof(float));
        }
    }
    return SPRY_OK;
}

/* One pass over all samples. */
static spry_status find_ranges(probe *p, ranger *r, spry_error *error)
{
    const layers *found = p->c->found;
    const graph *g = p->c->job->m->main;
    size_t count = (size_t)found->count * 2 + 1;
    arena *memory = p->c->job->memory;
    int32_t *values = arena_array(memory, count, sizeof *values);
    int32_t *numbers = arena_array(memory, count, sizeof *numbers);
    int64_t *images = arena_array(memory, (size_t)(p->runs * p->s.batch), sizeof *images);

    if (values == NULL || numbers == NULL || images == NULL) {
        return alloc_failed(error, count * sizeof *values);
    }
    for (int32_t i = 0; i < found->count; i++) {
        values[2 * i] = found->list[i].a;
        values[2 * i + 1] =
            found->list[i].weight == GRAPH_NONE ? found->list[i].b : found->list[i].a;
        numbers[i] = 2 * i;
        numbers[found->count + i] = 2 * i + 1;
    }
    values[count - 1] = g->outputs[0];
    for (int64_t i = 0; i < p->runs * p->s.batch; i++) {
        images[i] = samples_first(&p->s, batch_of(p, i / p->s.batch)) + i % p->s.batch;
    }
    *r = (ranger){.c = p->c,
                  .a_number = numbers,
                  .b_number = numbers + found->count,
                  .scores_number = (int32_t)count - 1,
                  .images = images,
                  .image_count = p->runs * p->s.batch,
                  .fine = arena_array(memory, (size_t)found->count + 1, sizeof *r->fine)};
    if (r->fine == NULL) {
        return alloc_failed(error, (size_t)found->count);
    }
    return samples_visit(p->c->job->m, p->c->job->options, values, (int32_t)count, "finding ranges",
                         watch, r, error);
}

spry_status capture_run(quantize_job *job, const layers *found, fisher_metric metric, capture *c,
                        spry_error *error)
{
    ranger r;
    probe p = {.c = c, .scores = &r};
    spry_status status;

    *c = (capture){.job = job, .found = found, .file = {-1}, .metric = metric};
    status = make_room(c, error);
    if (status == SPRY_OK) {
        status = spill_open(&c->file, error);
    }
    if (status == SPRY_OK) {
        status = open_samples(&p, error);
    }
    if (status == SPRY_OK) {
        status = find_ranges(&p, &r, error);
    }
    if (status == SPRY_OK && fisher_has_gradients(metric) && r.scores == NULL) {
        c->metric = FISHER_NONE;
        c->remark = "the first output is no scores of classes, [images][classes]";
    }
    if (status == SPRY_OK) {
        status = open_probe(&p, error);
    }
    if (status == SPRY_OK) {
        status = run_batches(&p, error);
    }
    close_probe(&p);
    return status;
}

void capture_release(capture *c)
{
    spill_close(&c->file);
}

spry_status capture_load(const capture *c, int32_t index, float *a, float *b, float *importance,
                         spry_error *error)
{
    const capture_layer *at = &c->list[index];
    spry_status status =
        spill_read(&c->file, at->a_at, a, floats(at->groups * at->rows * at->k), error);

    if (status == SPRY_OK && at->inner != 0) {
        status = spill_read(&c->file, at->b_at, b, floats(at->groups * at->k * at->n), error);
    }
    if (status == SPRY_OK && fisher_has_gradients(c->metric)) {
        status = spill_read(&c->file, at->g_at, importance, floats(at->groups * at->rows * at->n),
                            error);
    }
    return status;
}
