/* Sessions that give gradients beside values. */
#include "quantize/calibrate/importance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "model/infer.h"
#include "model/pass.h"

/* Of the deviation of a result: how far FISHER_PERTURB moves it. */
static const double NUDGE = 1e-3;
static const double MOST_NOISE = 0.5;

static uint64_t floats(int64_t count)
{
    return (uint64_t)count * sizeof(float);
}

/* ---- the model that is run ---- */

/* Batches that are run, spread evenly over all. */
static int64_t batch_of(const importance_probe *p, int64_t run)
{
    return run * samples_batches(&p->s) / p->runs;
}

int64_t importance_first(const importance_probe *p, int64_t run)
{
    return samples_first(&p->s, batch_of(p, run));
}

static spry_status open_samples(importance_probe *p, spry_error *error)
{
    int64_t wanted = p->request->most_images;
    spry_status status = samples_open(p->job->m, p->job->options, &p->s, error);

    if (status == SPRY_OK) {
        p->s.batch = p->s.input.shape[0] < 0 ? 1 : p->s.batch; /* losses are per image */
        p->runs = samples_batches(&p->s);
        wanted = wanted > p->s.batch ? wanted / p->s.batch : 1;
        p->runs = p->request->most_images > 0 && wanted < p->runs ? wanted : p->runs;
    }
    return status;
}

/* Gives the input the shape of a batch of samples. */
static spry_status bind_input(importance_probe *p, spry_error *error)
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

/* The copy's values of the results. */
static spry_status find_results(importance_probe *p, int32_t **found, spry_error *error)
{
    int32_t count = p->request->result_count;
    int32_t *of = arena_array(&p->m->memory, (size_t)count + 1, sizeof *of);

    if (of == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *of);
    }
    for (int32_t i = 0; i < count; i++) {
        of[i] = p->m->main->outputs[p->result_output[i]];
    }
    *found = of;
    return SPRY_OK;
}

static spry_status expose_gradients(importance_probe *p, const int32_t *made, spry_error *error)
{
    graph *g = p->m->main;
    int32_t count = p->request->result_count;
    int32_t *outputs =
        arena_array(&p->m->memory, (size_t)(g->output_count + count), sizeof *outputs);

    if (outputs == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *outputs);
    }
    memcpy(outputs, g->outputs, (size_t)g->output_count * sizeof *outputs);
    for (int32_t i = 0; i < count; i++) {
        p->gradient_output[i] = GRAPH_NONE;
        if (made[i] != GRAPH_NONE) {
            p->gradient_output[i] = g->output_count;
            g->values[made[i]].is_output = true;
            outputs[g->output_count++] = made[i];
            g->outputs = outputs;
        }
    }
    return infer_graph(g, error);
}

/* Brings the copy in the form that gradients want, and adds them. A model that has none is no
 * failure. */
static spry_status add_gradients(importance_probe *p, spry_error *error)
{
    graph *g = p->m->main;
    int32_t count = p->request->result_count;
    pass_context context = {.m = p->m, .team = p->job->team};
    int32_t *made = arena_array(&p->m->memory, (size_t)count + 1, sizeof *made);
    int32_t *of = NULL;
    spry_error why = {0};
    spry_status status = made == NULL ? alloc_failed(error, sizeof *made) : bind_input(p, error);

    if (status == SPRY_OK) {
        status = infer_graph(g, error);
    }
    if (status == SPRY_OK) {
        status = pass_run_all(g, &context, error);
    }
    if (status == SPRY_OK) {
        status = find_results(p, &of, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    status = p->metric == FISHER_PERTURB ? fisher_nudge(p->m, of, count, &why) : SPRY_OK;
    if (status == SPRY_OK) {
        status = fisher_extend(p->m, p->metric, of, count, made, &why);
    }
    if (status == SPRY_OK && g->values[g->outputs[0]].type.dims[0].size != p->s.batch) {
        status = spry_fail(&why, SPRY_UNSUPPORTED, p->m->path, NULL, "scores are not per image");
    }
    if (status == SPRY_UNSUPPORTED) {
        p->remark = arena_text(p->job->memory, why.what, strlen(why.what));
        return status;
    }
    if (status != SPRY_OK) {
        return spry_fail(error, status, why.where, NULL, "%s", why.what);
    }
    p->classes = g->values[g->outputs[0]].type.dims[1].size;
    return expose_gradients(p, made, error);
}

static spry_status make_model(importance_probe *p, spry_error *error)
{
    const importance_request *r = p->request;
    bool gradients = fisher_has_gradients(p->metric);
    spry_status status = model_copy(p->job->m, &p->m, error);
    arena *memory;

    if (status != SPRY_OK) {
        return status;
    }
    memory = &p->m->memory;
    p->value_output = arena_array(memory, (size_t)r->value_count + 1, sizeof *p->value_output);
    p->result_output = arena_array(memory, (size_t)r->result_count + 1, sizeof *p->result_output);
    p->gradient_output =
        arena_array(memory, (size_t)r->result_count + 1, sizeof *p->gradient_output);
    if (p->value_output == NULL || p->result_output == NULL || p->gradient_output == NULL) {
        return alloc_failed(error, (size_t)r->result_count * sizeof *p->result_output);
    }
    status = samples_expose(p->m, r->values, r->value_count, p->value_output, error);
    if (status == SPRY_OK && gradients) {
        status = samples_expose(p->m, r->results, r->result_count, p->result_output, error);
        status = status == SPRY_OK ? add_gradients(p, error) : status;
    }
    return status;
}

static spry_status make_input(const importance_probe *p, int rank, const int64_t *shape,
                              spry_value **value, spry_error *error)
{
    spry_tensor *t = NULL;
    spry_status status =
        spry_tensor_create(&p->m->allocator, SPRY_DTYPE_F32, rank, shape, &t, error);

    if (status == SPRY_OK) {
        memset(spry_tensor_data(t), 0, floats(spry_tensor_count(t)));
        status = spry_value_from_tensor(&p->m->allocator, t, value, error);
    }
    return status;
}

static spry_status make_room(importance_probe *p, spry_error *error)
{
    arena *memory = &p->m->memory;
    size_t results = (size_t)p->request->result_count + 1;
    size_t batch = (size_t)p->s.batch;
    spry_status status = SPRY_OK;

    p->output_count = p->m->main->output_count;
    p->outputs = arena_array(memory, (size_t)p->output_count, sizeof(spry_value *));
    p->labels = arena_array(memory, batch, sizeof *p->labels);
    p->weights = arena_array(memory, batch, sizeof *p->weights);
    p->scores = arena_array(memory, batch * (size_t)p->classes + 1, sizeof *p->scores);
    p->sizes = arena_array(memory, results, sizeof *p->sizes);
    p->sums = arena_array(memory, results, sizeof *p->sums);
    p->before = arena_array(memory, results, sizeof *p->before);
    p->nudges = arena_array(memory, results, sizeof *p->nudges);
    p->signal = arena_array(memory, results, sizeof *p->signal);
    p->noise = arena_array(memory, results, sizeof *p->noise);
    if (p->outputs == NULL || p->labels == NULL || p->weights == NULL || p->scores == NULL ||
        p->sizes == NULL || p->sums == NULL || p->before == NULL || p->nudges == NULL ||
        p->signal == NULL || p->noise == NULL) {
        return alloc_failed(error, results * sizeof *p->sums);
    }
    if (fisher_has_gradients(p->metric)) {
        status = make_input(p, 2, (int64_t[]){p->s.batch, p->classes}, &p->target, error);
    }
    if (status == SPRY_OK && p->metric == FISHER_PERTURB) {
        status = make_input(p, 1, (int64_t[]){p->request->result_count}, &p->nudge, error);
    }
    return status;
}

static void drop_outputs(importance_probe *p)
{
    for (int32_t i = 0; p->outputs != NULL && i < p->output_count; i++) {
        spry_value_destroy(p->outputs[i]);
        p->outputs[i] = NULL;
    }
}

void importance_close(importance_probe *p)
{
    drop_outputs(p);
    spry_value_destroy(p->input);
    spry_value_destroy(p->target);
    spry_value_destroy(p->nudge);
    spry_session_destroy(p->session);
    spry_model_destroy(p->m);
    p->outputs = NULL;
    p->input = NULL;
    p->target = NULL;
    p->nudge = NULL;
    p->session = NULL;
    p->m = NULL;
}

/* ---- running ---- */

static spry_status run_session(importance_probe *p, spry_error *error)
{
    const char *const names[] = {p->s.input.name, FISHER_TARGET, FISHER_NUDGE};
    const spry_value *const inputs[] = {p->input, p->target, p->nudge};
    int32_t count = p->nudge != NULL ? 3 : p->target != NULL ? 2 : 1;

    drop_outputs(p);
    return spry_session_run(p->session, count, names, inputs, p->output_count, p->outputs, error);
}

static const float *gradient_of(const importance_probe *p, int32_t index)
{
    return spry_tensor_const_data(spry_value_tensor(p->outputs[p->gradient_output[index]]));
}

/* Of results that have a gradient; sizes are known from the first run. */
static spry_status make_sums(importance_probe *p, spry_error *error)
{
    for (int32_t i = 0; i < p->request->result_count; i++) {
        if (p->gradient_output[i] == GRAPH_NONE) {
            continue;
        }
        p->sizes[i] = spry_tensor_count(spry_value_tensor(p->outputs[p->gradient_output[i]]));
        p->sums[i] = arena_array(&p->m->memory, (size_t)p->sizes[i] + 1, sizeof(float));
        if (p->metric == FISHER_PERTURB) {
            p->before[i] = arena_array(&p->m->memory, (size_t)p->sizes[i] + 1, sizeof(float));
        }
        if (p->sums[i] == NULL || (p->metric == FISHER_PERTURB && p->before[i] == NULL)) {
            return alloc_failed(error, floats(p->sizes[i]));
        }
    }
    return SPRY_OK;
}

/* Adds the squared gradients of one loss, image by image. */
static void add_squares(importance_probe *p)
{
    for (int32_t i = 0; i < p->request->result_count; i++) {
        const float *from = p->sums[i] != NULL ? gradient_of(p, i) : NULL;
        int64_t image = p->sizes[i] / p->s.batch;

        for (int64_t k = 0; from != NULL && k < p->sizes[i]; k++) {
            p->sums[i][k] += p->weights[k / image] * from[k] * from[k];
        }
    }
}

static spry_status run_losses(importance_probe *p, int64_t run, spry_error *error)
{
    fisher_plan plan = fisher_plan_of(p->metric, p->s.batch, p->classes);
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < p->request->result_count; i++) {
        if (p->sums[i] != NULL) {
            memset(p->sums[i], 0, floats(p->sizes[i]));
        }
    }
    for (int64_t i = 0; status == SPRY_OK && i < plan.runs; i++) {
        fisher_target(&plan, i, p->scores, p->labels, run * p->s.batch,
                      spry_value_tensor(p->target)->data, p->weights);
        status = run_session(p, error);
        if (status == SPRY_OK) {
            add_squares(p);
        }
    }
    return status;
}

/* The batch as it is: values, and scores where gradients follow. */
static spry_status run_plain(importance_probe *p, int64_t run, spry_error *error)
{
    bool first = p->outputs[0] == NULL;
    spry_status status;

    spry_value_destroy(p->input);
    p->input = NULL;
    status =
        samples_labelled(&p->s, &p->m->allocator, batch_of(p, run), p->labels, &p->input, error);
    if (status == SPRY_OK) {
        status = run_session(p, error);
    }
    if (status == SPRY_OK && fisher_has_gradients(p->metric)) {
        memcpy(p->scores, spry_tensor_const_data(spry_value_tensor(p->outputs[0])),
               floats(p->s.batch * p->classes));
        status = first ? make_sums(p, error) : SPRY_OK;
    }
    return status;
}

/* ---- perturbation (arXiv 2504.02508) ---- */

/* Deviation of the result on this batch. */
static double deviation(const importance_probe *p, int32_t index)
{
    const tensor *t = spry_value_tensor(p->outputs[p->result_output[index]]);
    const float *x = t->data;
    int64_t count = tensor_count(t);
    double sum = 0.0;
    double square = 0.0;

    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i];
        square += (double)x[i] * (double)x[i];
    }
    sum /= (double)count;
    return sqrt(fmax(square / (double)count - sum * sum, 0.0));
}

/* The gradients by result `index` with all of it moved up, and down. */
static spry_status run_nudged(importance_probe *p, int32_t index, spry_error *error)
{
    float *nudge = &((float *)spry_value_tensor(p->nudge)->data)[index];
    spry_status status;

    *nudge = p->nudges[index];
    status = run_session(p, error);
    if (status == SPRY_OK) {
        memcpy(p->before[index], gradient_of(p, index), floats(p->sizes[index]));
        *nudge = -p->nudges[index];
        status = run_session(p, error);
    }
    *nudge = 0.0f;
    return status;
}

/* Adds the mean over images, which all of them get. */
static void add_difference(importance_probe *p, int32_t index)
{
    const float *after = gradient_of(p, index);
    int64_t image = p->sizes[index] / p->s.batch;
    float share = 1.0f / (float)(p->runs * p->s.batch);

    for (int64_t k = 0; k < p->sizes[index]; k++) {
        float add = share * fabsf(p->before[index][k] - after[k]);

        p->signal[index] += fabs((double)p->before[index][k] - (double)after[k]);
        p->noise[index] += fabs((double)p->before[index][k] + (double)after[k]);

        for (int64_t i = 0; i < p->s.batch; i++) {
            p->sums[index][i * image + k % image] += add;
        }
    }
}

static spry_status perturb_batch(importance_probe *p, int64_t run, spry_error *error)
{
    spry_status status = run_plain(p, run, error);

    if (status == SPRY_OK) {
        fisher_soften(p->scores, p->s.batch, p->classes, spry_value_tensor(p->target)->data);
    }
    for (int32_t i = 0; status == SPRY_OK && run == 0 && i < p->request->result_count; i++) {
        p->nudges[i] = (float)(NUDGE * deviation(p, i));
    }
    for (int32_t i = 0; status == SPRY_OK && i < p->request->result_count; i++) {
        if (p->sums[i] == NULL) {
            continue;
        }
        status = run_nudged(p, i, error);
        if (status == SPRY_OK) {
            add_difference(p, i);
        }
    }
    return status;
}

static spry_status perturb(importance_probe *p, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int64_t run = 0; status == SPRY_OK && run < p->runs; run++) {
        status = perturb_batch(p, run, error);
        if (status == SPRY_OK) {
            status = progress_report(p->job->options->progress, "moving results", (double)run,
                                     (double)p->runs, error);
        }
    }
    /* The gradient is 0 where nothing is moved, so it turns round with the move. What does not is
     * rounding: scores that all move alike, and what Softmax reads, change nothing. */
    for (int32_t i = 0; status == SPRY_OK && i < p->request->result_count; i++) {
        if (p->sums[i] != NULL && !(p->noise[i] < MOST_NOISE * p->signal[i])) {
            memset(p->sums[i], 0, floats(p->sizes[i]));
        }
    }
    return status;
}

/* ---- the whole ---- */

spry_status importance_run(importance_probe *p, int64_t run, spry_error *error)
{
    spry_status status = run_plain(p, run, error);

    if (status == SPRY_OK && (p->metric == FISHER_MODEL || p->metric == FISHER_LABEL)) {
        status = run_losses(p, run, error);
    }
    return status == SPRY_OK ? progress_report(p->job->options->progress, "looking at layers",
                                               (double)run, (double)p->runs, error)
                             : status;
}

const tensor *importance_value(const importance_probe *p, int32_t index)
{
    int32_t number = p->value_output[index];

    return spry_value_tensor(number != GRAPH_NONE ? p->outputs[number] : p->input);
}

const float *importance_of(const importance_probe *p, int32_t index)
{
    return p->sums[index];
}

spry_status importance_open(const quantize_job *job, const importance_request *request,
                            importance_probe *p, spry_error *error)
{
    spry_session_options session = spry_session_options_default();
    spry_status status;

    *p = (importance_probe){.job = job, .request = request, .metric = request->metric};
    session.threads = job->options->threads;
    status = open_samples(p, error);
    if (status == SPRY_OK) {
        status = make_model(p, error);
    }
    if (status == SPRY_UNSUPPORTED && p->remark != NULL) {
        importance_close(p);
        p->metric = FISHER_NONE;
        status = make_model(p, error);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(p->m, &session, &p->session, error);
    }
    if (status == SPRY_OK) {
        status = make_room(p, error);
    }
    return status == SPRY_OK && p->metric == FISHER_PERTURB ? perturb(p, error) : status;
}

/* ---- all samples ---- */

int64_t importance_batches(const samples *s, fisher_metric metric)
{
    return fisher_has_gradients(metric) && s->input.shape[0] < 0 ? s->count : samples_batches(s);
}

static spry_status visit_runs(importance_probe *p, samples_visitor visitor, void *context,
                              spry_error *error)
{
    int32_t count = p->request->value_count;
    const tensor **tensors = arena_array(&p->m->memory, (size_t)count + 1, sizeof(const tensor *));
    spry_status status = tensors != NULL ? SPRY_OK : alloc_failed(error, sizeof(tensor *));

    for (int64_t run = 0; status == SPRY_OK && run < p->runs; run++) {
        samples_view view = {importance_first(p, run), p->s.batch, tensors};

        status = importance_run(p, run, error);
        for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
            tensors[i] = importance_value(p, i);
        }
        if (status == SPRY_OK) {
            status = visitor(context, &view, error);
        }
    }
    return status;
}

spry_status importance_visit(const quantize_job *job, const importance_request *request,
                             importance_probe *p, const char *what, samples_visitor visitor,
                             void *context, spry_error *error)
{
    spry_status status;

    if (!fisher_has_gradients(request->metric)) {
        *p = (importance_probe){.metric = FISHER_NONE};
        return samples_visit(job->m, job->options, request->values, request->value_count, what,
                             visitor, context, error);
    }
    status = importance_open(job, request, p, error);
    if (status == SPRY_OK) {
        status = visit_runs(p, visitor, context, error);
    }
    importance_close(p);
    return status;
}
