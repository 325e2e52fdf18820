/* Building, running and reading back one step of learning. */
#include "train/program.h"

#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "model/pass.h"
#include "runtime/execute.h"
#include "runtime/plan.h"
#include "runtime/prepare.h"
#include "runtime/profile.h"
#include "tensor/convert.h"
#include "train/gradient/clipped_gradient.h"
#include "train/gradient/gradient.h"
#include "train/gradient/recompute.h"
#include "train/gumbel.h"
#include "train/training_form.h"

typedef struct program_inside {
    spry_allocator allocator;
    program_options options;
    arena memory; /* of the graph and the arrays of `program` */
    arena scratch;
    arena text;
    model *m; /* in training form */
    graph *g;
    plan *p;
    threads *team;
    profile times;                        /* without rows unless session.profile is set */
    value *values;                        /* per input of the graph */
    const value **ordered;                /* their addresses */
    int32_t given;                        /* inputs before the targets */
    int32_t settings[OBJECTIVE_SETTINGS]; /* values that the objective reads */
    int32_t cooling;    /* the value that gates read; GRAPH_NONE: there are none */
    model *held;        /* the teacher's copy, whose memory the graph shares; or NULL */
    bool has_term;      /* the objective gives one */
    int32_t extras;     /* outputs of the model's graph that the objective added: the teacher's
                              scores, its features and the model's, its term, what is watched */
    int32_t before;     /* inputs before the weights: those, targets, cooling, counts */
    float *new_running; /* [statistics.length]: what a run hands out */
    double *population; /* per statistic: numbers that a batch has per channel */
    float *momentum;    /* per statistic: what the running one keeps */
} program_inside;

/* What building needs beyond the program. */
typedef struct builder {
    program *p;
    program_inside *in;
    const tensor *const *inputs;
    const tensor *targets;
    int32_t target_value;
    spry_error *error;
} builder;

static void *array(builder *b, size_t count, size_t size, spry_status *status)
{
    void *made = *status == SPRY_OK ? arena_array(&b->in->memory, count + 1, size) : NULL;

    if (made == NULL && *status == SPRY_OK) {
        *status = alloc_failed(b->error, count * size);
    }
    return made;
}

/* ---- the graph's ends ---- */

static int32_t setting_count(const program_inside *in)
{
    return in->options.objective != NULL ? in->options.objective->setting_count : 0;
}

static bool has_teacher(const program_inside *in)
{
    return in->options.objective != NULL && in->options.objective->teacher != NULL;
}

static bool has_features(const program_inside *in)
{
    return has_teacher(in) && in->options.objective->feature_weight > 0;
}

/* Inputs without a default; returns how many. */
static int32_t given_inputs(const model *m, int32_t *inputs)
{
    int32_t count = 0;

    for (int32_t i = 0; i < m->main->input_count; i++) {
        if (model_input_is_required(m, i)) {
            inputs[count++] = m->main->inputs[i];
        }
    }
    return count;
}

static spry_status add_targets(builder *b)
{
    graph *g = b->in->m->main;
    spry_status status = graph_add_value(g, "targets", &b->target_value, b->error);

    if (status == SPRY_OK) {
        g->values[b->target_value].type =
            graph_type_tensor(b->targets->dtype, b->targets->rank, b->targets->shape);
    }
    return status;
}

/* Those, then targets, cooling, settings, counts, weights and statistics. */
static spry_status make_inputs(builder *b)
{
    program *p = b->p;
    graph *g = b->in->m->main;
    spry_status status = SPRY_OK;
    size_t most = (size_t)g->input_count + 3 + OBJECTIVE_SETTINGS + (size_t)p->weights.count +
                  (size_t)p->statistics.count;
    int32_t *inputs = array(b, most, sizeof *inputs, &status);
    int32_t count = 0;

    if (status != SPRY_OK) {
        return status;
    }
    count = given_inputs(b->in->m, inputs);
    if (count != b->in->given) {
        return spry_fail(b->error, SPRY_USAGE, b->in->m->path, "spry inspect lists the inputs",
                         "the model takes %d inputs, the data gives %d", count, b->in->given);
    }
    inputs[count++] = b->target_value;
    if (b->in->cooling != GRAPH_NONE) {
        inputs[count++] = b->in->cooling;
    }
    for (int32_t i = 0; i < setting_count(b->in); i++) {
        inputs[count++] = b->in->settings[i];
    }
    if (b->in->options.clip > 0) {
        status = graph_add_value(g, "counts", &inputs[count], b->error);
        if (status != SPRY_OK) {
            return status;
        }
        g->values[inputs[count++]].type =
            graph_type_tensor(SPRY_DTYPE_F32, 1, &b->targets->shape[0]);
    }
    b->in->before = count;
    for (int32_t i = 0; i < p->weights.count; i++) {
        inputs[count++] = p->weights.items[i].value;
    }
    for (int32_t i = 0; i < p->statistics.count; i++) {
        inputs[count++] = p->statistics.items[i].value;
    }
    return training_set_inputs(g, inputs, count, b->error);
}

/* Puts what the teacher gives into `outputs`, and the model's own features behind that. */
static spry_status add_teacher(builder *b, int32_t *inputs, int32_t *outputs, int32_t *count)
{
    program_inside *in = b->in;
    const spry_train_objective *o = in->options.objective;
    bool features = has_features(in);
    int32_t own = features ? training_features(in->m->main) : GRAPH_NONE;

    if (features && own == GRAPH_NONE) {
        return spry_fail(b->error, SPRY_USAGE, in->m->path, "let the features count nothing",
                         "the model does not make its scores of features by one product");
    }
    outputs[OBJECTIVE_TAUGHT] = own;
    *count += features ? OBJECTIVE_TAUGHT + 1 : 1;
    return objective_add_teacher(in->m, o->teacher, inputs, given_inputs(in->m, inputs), features,
                                 &in->held, outputs, b->error);
}

/* Lets the objective add its part to the model: what it gives become outputs behind the others. */
static spry_status add_objective(builder *b)
{
    program_inside *in = b->in;
    const spry_train_objective *o = in->options.objective;
    graph *g = in->m->main;
    objective_step step = {.m = in->m,
                           .inputs = b->inputs,
                           .targets = b->target_value,
                           .e = {.g = g, .name = "objective", .error = b->error},
                           .term = GRAPH_NONE};
    spry_status status = SPRY_OK;
    int32_t *outputs = array(b, (size_t)g->output_count + OBJECTIVE_TAUGHT + 2 + OBJECTIVE_WATCHED,
                             sizeof *outputs, &status);
    int32_t *inputs = array(b, (size_t)g->input_count, sizeof *inputs, &status);
    int32_t count = g->output_count;

    for (int32_t i = 0; i < o->setting_count && status == SPRY_OK; i++) {
        status = graph_add_value(g, "setting", &in->settings[i], b->error);
        if (status == SPRY_OK) {
            g->values[in->settings[i]].type = graph_type_tensor(SPRY_DTYPE_F32, 0, NULL);
            step.settings[i] = in->settings[i];
        }
    }
    if (status == SPRY_OK) {
        memcpy(outputs, g->outputs, (size_t)count * sizeof *outputs);
        status = o->build != NULL ? o->build(o, &step, b->error) : SPRY_OK;
    }
    if (status == SPRY_OK && o->teacher != NULL) {
        status = add_teacher(b, inputs, &outputs[count], &count);
    }
    if (status != SPRY_OK) {
        return status;
    }
    in->has_term = step.term != GRAPH_NONE;
    if (in->has_term) {
        outputs[count++] = step.term;
    }
    for (int32_t i = 0; i < o->watched_count; i++) {
        outputs[count++] = step.watched[i];
    }
    in->extras = count - g->output_count;
    status = training_set_outputs(g, outputs, count, b->error);
    return status == SPRY_OK ? graph_sort(g, b->error) : status;
}

/* The types of all inputs, without elements as yet. */
static spry_status describe_inputs(builder *b)
{
    program_inside *in = b->in;
    const graph *g = in->m->main;
    spry_status status = SPRY_OK;

    in->values = array(b, (size_t)g->input_count, sizeof *in->values, &status);
    in->ordered = array(b, (size_t)g->input_count, sizeof *in->ordered, &status);
    for (int32_t i = 0; i < g->input_count && status == SPRY_OK; i++) {
        const graph_type *type = &g->values[g->inputs[i]].type;
        value *v = &in->values[i];
        int64_t shape[SPRY_TENSOR_MAX_RANK];

        value_init(v, &in->allocator);
        v->kind = SPRY_VALUE_TENSOR;
        v->dtype = i < in->given ? b->inputs[i]->dtype : type->dtype;
        for (int d = 0; d < type->rank; d++) {
            shape[d] = type->dims[d].size;
        }
        status = i < in->given
                     ? tensor_init(&v->tensor, v->dtype, b->inputs[i]->rank, b->inputs[i]->shape,
                                   NULL, b->error)
                     : tensor_init(&v->tensor, v->dtype, type->rank, shape, NULL, b->error);
        in->ordered[i] = v;
    }
    return status;
}

/* ---- loss and gradients ---- */

/* How far the features are from the teacher's, times what that counts. */
static int32_t feature_loss(builder *b, emitter *e, int32_t theirs, int32_t own)
{
    const loss_options off = {.kind = LOSS_RELATIVE};
    const graph_type *types[] = {&b->in->g->values[theirs].type, &b->in->g->values[own].type};

    if (!graph_type_same(types[0], types[1])) {
        e->status = spry_fail(b->error, SPRY_USAGE, "features", "let them count nothing",
                              "those of the teacher have another shape than the model's");
        return GRAPH_NONE;
    }
    return emit_scaled(e, SPRY_DTYPE_F32, loss_emit(e, &off, own, theirs),
                       b->in->options.objective->feature_weight);
}

/* The sum of what counts: labels, the teacher, the objective's term. */
static int32_t total_loss(builder *b, emitter *e)
{
    const graph *g = b->in->g;
    const spry_train_objective *o = b->in->options.objective;
    int32_t scores = g->outputs[0];
    int32_t next = g->output_count - b->in->extras;
    int32_t parts[4];
    int count = 0;

    if (o == NULL || !o->ignores_labels) {
        parts[count++] = loss_emit(e, &b->in->options.loss, scores, g->inputs[b->in->given]);
    }
    if (has_teacher(b->in)) {
        const loss_options distil = {.kind = LOSS_DISTILLATION,
                                     .temperature = o->teacher_temperature};

        parts[count++] =
            emit_scaled(e, SPRY_DTYPE_F32, loss_emit(e, &distil, scores, g->outputs[next++]),
                        o->teacher_weight);
    }
    if (has_features(b->in)) {
        parts[count++] = feature_loss(b, e, g->outputs[next], g->outputs[next + 1]);
        next += 2;
    }
    if (b->in->has_term) {
        parts[count++] = g->outputs[next];
    }
    for (int i = 1; i < count; i++) {
        parts[0] = emit_binary(e, "Add", parts[0], parts[i]);
    }
    return count > 0 ? parts[0] : emit_number(e, SPRY_DTYPE_F32, 0.0);
}

static spry_status add_loss(builder *b, int32_t *loss)
{
    graph *g = b->in->g;
    emitter e = {.g = g, .name = "loss", .error = b->error};
    const graph_type *scores = &g->values[g->outputs[0]].type;
    char type[256];

    if (!graph_type_is_static(scores) || scores->rank < 2 ||
        scores->dims[0].size != b->targets->shape[0]) {
        return spry_fail(
            b->error, SPRY_USAGE, g->values[g->outputs[0]].name,
            "the first output must be [batch, classes]", "the model gives %s for a batch of %lld",
            graph_type_describe(scores, type, sizeof type), (long long)b->targets->shape[0]);
    }
    b->p->batch = scores->dims[0].size;
    b->p->classes = op_work_count(scores) / (b->p->batch > 0 ? b->p->batch : 1);
    *loss = total_loss(b, &e);
    return e.status == SPRY_OK ? infer_graph(g, b->error) : e.status;
}

/* How each batch norm forgets, and how many numbers it averages: [N, C, ...] gives N times the rest
 * per channel. */
static spry_status read_norms(builder *b)
{
    const graph *g = b->in->g;
    int32_t count = b->p->statistics.count;
    spry_status status = SPRY_OK;

    b->in->population = array(b, (size_t)count, sizeof *b->in->population, &status);
    b->in->momentum = array(b, (size_t)count, sizeof *b->in->momentum, &status);
    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        const graph_node *n = &g->nodes[g->values[g->outputs[1 + i]].producer];
        const graph_type *x = &g->values[n->inputs[0]].type;
        int64_t channels = b->p->statistics.items[i].count;

        b->in->momentum[i] = graph_attribute_float(n, "momentum", 0.9f);
        b->in->population[i] = (double)op_work_count(x) / (double)(channels > 0 ? channels : 1);
    }
    return status;
}

/* Weights that the loss does not depend on leave the list; the inputs stay, with no gradient. */
static void drop_unreached(builder *b, const char **names, int32_t *gradients)
{
    program *p = b->p;
    int32_t kept = 0;

    for (int32_t i = 0; i < p->weights.count; i++) {
        if (gradients[i] == GRAPH_NONE) {
            names[p->unreached_count++] = p->weights.items[i].name;
            continue;
        }
        gradients[kept] = gradients[i];
        p->weights.items[kept++] = p->weights.items[i];
    }
    p->weights.count = kept;
    p->unreached = names;
    parameters_place(&p->weights);
}

/* The loss is a mean: times the batch it is the sum that examples are clipped in. */
static spry_status build_clipped(builder *b, const gradient_request *request, int32_t *gradients)
{
    graph *g = b->in->g;
    emitter e = {.g = g, .name = "loss", .error = b->error};
    clipped_request clipped = {.counts = g->inputs[b->in->before - 1],
                               .batch = b->p->batch,
                               .limit = b->in->options.clip,
                               .of = request->of,
                               .count = request->count};
    spry_status status;

    clipped.loss = emit_scaled(&e, SPRY_DTYPE_F32, request->value, (double)b->p->batch);
    status = e.status == SPRY_OK ? infer_graph(g, b->error) : e.status;
    return status == SPRY_OK ? clipped_gradient_build(g, &clipped, gradients, b->error) : status;
}

/* Outputs: the loss, the scores, the new running statistics, what is watched, the gradients. */
static spry_status add_gradients(builder *b)
{
    program *p = b->p;
    graph *g = b->in->g;
    spry_status status = SPRY_OK;
    int32_t own = g->output_count - b->in->extras;
    int32_t watched =
        b->in->options.objective != NULL ? b->in->options.objective->watched_count : 0;
    int32_t *of = array(b, (size_t)p->weights.count, sizeof *of, &status);
    int32_t *gradients = array(b, (size_t)p->weights.count, sizeof *gradients, &status);
    const char **names = array(b, (size_t)p->weights.count, sizeof *names, &status);
    int32_t *outputs =
        array(b, (size_t)(1 + own + watched + p->weights.count), sizeof *outputs, &status);
    int32_t count = 1 + own + watched;
    gradient_request request = {.seed = GRAPH_NONE, .of = of, .count = p->weights.count};

    if (status == SPRY_OK) {
        status = add_loss(b, &request.value);
    }
    if (status == SPRY_OK) {
        status = read_norms(b);
    }
    if (status != SPRY_OK) {
        return status;
    }
    outputs[0] = request.value;
    memcpy(outputs + 1, g->outputs, (size_t)own * sizeof *outputs);
    memcpy(outputs + 1 + own, g->outputs + g->output_count - watched,
           (size_t)watched * sizeof *outputs);
    for (int32_t i = 0; i < p->weights.count; i++) {
        of[i] = g->inputs[b->in->before + i];
    }
    status = b->in->options.clip > 0 ? build_clipped(b, &request, gradients)
                                     : gradient_build(g, &request, gradients, b->error);
    if (status != SPRY_OK) {
        return status;
    }
    drop_unreached(b, names, gradients);
    memcpy(outputs + count, gradients, (size_t)p->weights.count * sizeof *outputs);
    count += p->weights.count;
    return training_set_outputs(g, outputs, count, b->error);
}

static spry_status build_graph(builder *b)
{
    program_inside *in = b->in;
    pass_context context = {.team = in->team};
    graph *prepared = NULL;
    int32_t repeated = 0;
    spry_status status =
        prepare_graph(in->m, &in->options.session, in->team, &in->memory, &prepared, b->error);

    if (status == SPRY_OK) {
        status = prepare_for_inputs(prepared, in->ordered, &in->options.session, in->team,
                                    &in->memory, &in->g, b->error);
    }
    if (status == SPRY_OK) {
        status = add_gradients(b);
    }
    if (status == SPRY_OK) {
        status = pass_run_all(in->g, &context, b->error);
    }
    if (status == SPRY_OK && b->p->weights.count == 0) {
        status = spry_fail(b->error, SPRY_USAGE, in->m->path, NULL,
                           "no gradient reaches any weight of the model");
    }
    if (status == SPRY_OK) {
        status = prepare_for_speed(in->g, &in->options.session, b->error);
    }
    if (status == SPRY_OK && in->options.recompute) {
        status = recompute_activations(in->g, in->g->outputs[0], &repeated, b->error);
    }
    return status;
}

/* ---- arrays ---- */

/* Result `index` goes to `memory`: once and for all where it is constant. */
static spry_status bind_output(builder *b, int32_t index, float *memory)
{
    const plan *p = b->in->p;
    int32_t id = p->g->outputs[index];

    if (p->values[id].place == PLAN_CONSTANT) {
        const tensor *t = &p->frame[id].tensor;

        convert_read_f32(t, 0, tensor_count(t), memory);
        return SPRY_OK;
    }
    return plan_lend(b->in->p, index, memory, b->error);
}

static spry_status bind_outputs(builder *b)
{
    program *p = b->p;
    spry_status status = SPRY_OK;
    float *scores = array(b, (size_t)(p->batch * p->classes), sizeof *scores, &status);
    int32_t watched =
        b->in->options.objective != NULL ? b->in->options.objective->watched_count : 0;
    int32_t next = 2;

    p->scores = scores;
    if (status == SPRY_OK) {
        status = bind_output(b, 0, &p->loss);
    }
    if (status == SPRY_OK) {
        status = bind_output(b, 1, scores);
    }
    for (int32_t i = 0; i < p->statistics.count && status == SPRY_OK; i++) {
        status = bind_output(b, next++, b->in->new_running + p->statistics.items[i].offset);
    }
    for (int32_t i = 0; i < watched && status == SPRY_OK; i++) {
        status = bind_output(b, next++, &p->watched[i]);
    }
    for (int32_t i = 0; next < b->in->g->output_count && status == SPRY_OK; i++) {
        status = bind_output(b, next++, p->gradients + p->weights.items[i].offset);
    }
    return status;
}

/* Where the graph reads weights and statistics: weights that were dropped keep what the model has.
 */
static void bind_inputs(builder *b, const model *source)
{
    const graph *g = b->in->g;

    for (int32_t i = b->in->before; i < g->input_count; i++) {
        const char *name = g->values[g->inputs[i]].name;
        const parameter *weight = parameters_find(&b->p->weights, name);
        const parameter *statistic = parameters_find(&b->p->statistics, name);
        int32_t id = graph_find_value(source->main, name);

        b->in->values[i].tensor.data = weight != NULL ? b->p->numbers + weight->offset
                                       : statistic != NULL
                                           ? b->p->running + statistic->offset
                                           : source->main->values[id].constant->data;
    }
}

static spry_status make_arrays(builder *b, const model *source)
{
    program *p = b->p;
    spry_status status = SPRY_OK;

    p->numbers = array(b, (size_t)p->weights.length, sizeof *p->numbers, &status);
    if (b->in->options.clip > 0) {
        p->counts = array(b, (size_t)p->batch, sizeof *p->counts, &status);
        for (int64_t i = 0; i < p->batch && status == SPRY_OK; i++) {
            p->counts[i] = 1.0f;
        }
        b->in->values[b->in->before - 1].tensor.data = p->counts;
    }
    p->cooling[GUMBEL_TEMPERATURE] = 1.0f;
    p->cooling[GUMBEL_NOISE] = 1.0f;
    if (b->in->cooling != GRAPH_NONE) {
        b->in->values[b->in->given + 1].tensor.data = p->cooling;
    }
    for (int32_t i = 0; i < setting_count(b->in); i++) {
        int32_t first = b->in->given + 1 + (b->in->cooling != GRAPH_NONE);

        b->in->values[first + i].tensor.data = &p->settings[i];
    }
    p->gradients = array(b, (size_t)p->weights.length, sizeof *p->gradients, &status);
    p->running = array(b, (size_t)p->statistics.length, sizeof *p->running, &status);
    b->in->new_running = array(b, (size_t)p->statistics.length, sizeof *p->running, &status);
    if (status != SPRY_OK) {
        return status;
    }
    parameters_read(&p->weights, source, p->numbers);
    parameters_read(&p->statistics, source, p->running);
    bind_inputs(b, source);
    return bind_outputs(b);
}

/* ---- the whole ---- */

static spry_status build(builder *b, const spry_model *source)
{
    program *p = b->p;
    program_inside *in = b->in;
    const program_options *o = &in->options;
    spry_status status = training_model(source, &in->m, b->error);

    if (status == SPRY_OK) {
        status =
            parameters_choose(in->m, o->rules, o->rule_count, &in->memory, &p->weights, b->error);
    }
    if (status == SPRY_OK && !o->freeze_statistics) {
        status = parameters_of_norms(in->m, &in->memory, &p->statistics, b->error);
    }
    if (status == SPRY_OK) {
        status = training_form(in->m, o->freeze_statistics ? NULL : &p->statistics, b->error);
    }
    if (status == SPRY_OK && o->gates != NULL) {
        status = gumbel_form(in->m, o->gates, &in->cooling, b->error);
    }
    if (status == SPRY_OK) {
        status = add_targets(b);
    }
    if (status == SPRY_OK && o->objective != NULL) {
        status = add_objective(b);
    }
    if (status == SPRY_OK) {
        status = make_inputs(b);
    }
    if (status == SPRY_OK) {
        status = describe_inputs(b);
    }
    if (status == SPRY_OK) {
        status = build_graph(b);
    }
    if (status == SPRY_OK) {
        status = plan_create(in->g, &o->session, in->team, false, &in->p, b->error);
    }
    if (status == SPRY_OK && o->session.profile) {
        status = profile_attach(&in->times, in->p, b->error);
    }
    return status == SPRY_OK ? make_arrays(b, source) : status;
}

spry_status program_create(const spry_model *source, const program_options *options,
                           const tensor *const *inputs, int32_t input_count, const tensor *targets,
                           threads *team, program **made, spry_error *error)
{
    spry_allocator allocator = alloc_resolve(options->session.allocator);
    program *p = alloc_zeroed(&allocator, sizeof *p);
    program_inside *in = p != NULL ? alloc_zeroed(&allocator, sizeof *in) : NULL;
    builder b = {.p = p, .in = in, .inputs = inputs, .targets = targets, .error = error};
    spry_status status;

    *made = NULL;
    if (in == NULL) {
        alloc_release(&allocator, p, sizeof *p);
        return alloc_failed(error, sizeof *in);
    }
    p->inside = in;
    in->allocator = allocator;
    in->options = *options;
    in->team = team;
    in->given = input_count;
    in->cooling = GRAPH_NONE;
    profile_init(&in->times, &allocator);
    arena_init(&in->memory, &allocator, SIZE_MAX);
    arena_init(&in->scratch, &allocator, SIZE_MAX);
    arena_init(&in->text, &allocator, SIZE_MAX);
    status = build(&b, source);
    if (status != SPRY_OK) {
        program_destroy(p);
        return status;
    }
    p->arena_bytes = in->p->arena_bytes;
    *made = p;
    return SPRY_OK;
}

void program_destroy(program *p)
{
    spry_allocator allocator;

    if (p == NULL) {
        return;
    }
    allocator = p->inside->allocator;
    plan_destroy(p->inside->p);
    spry_model_destroy(p->inside->m);
    profile_fini(&p->inside->times);
    spry_model_destroy(p->inside->held);
    arena_fini(&p->inside->text);
    arena_fini(&p->inside->scratch);
    arena_fini(&p->inside->memory);
    alloc_release(&allocator, p->inside, sizeof *p->inside);
    alloc_release(&allocator, p, sizeof *p);
}

static spry_status run(program *p, const tensor *const *inputs, const tensor *targets,
                       uint64_t seed, bool check_finite, spry_error *error)
{
    program_inside *in = p->inside;
    executor x = {.team = in->team,
                  .times = in->options.session.profile ? &in->times : NULL,
                  .scratch = &in->scratch,
                  .text = &in->text,
                  .seed = seed,
                  .check_finite = check_finite,
                  .error = error};
    spry_status status;

    for (int32_t i = 0; i <= in->given; i++) {
        in->values[i].tensor.data = i < in->given ? inputs[i]->data : targets->data;
    }
    threads_engage(in->team);
    status = execute_plan(&x, in->p, NULL, in->ordered, in->g->input_count, NULL, 0);
    threads_rest(in->team);
    return status;
}

spry_status program_run(program *p, const tensor *const *inputs, const tensor *targets,
                        uint64_t seed, spry_error *error)
{
    return run(p, inputs, targets, seed, false, error);
}

spry_status program_find_odd(program *p, const tensor *const *inputs, const tensor *targets,
                             uint64_t seed, spry_error *error)
{
    return run(p, inputs, targets, seed, true, error);
}

size_t program_input_bytes(const program *p)
{
    return p->inside->values[0].tensor.bytes;
}

/* The operator has mixed in the variance of the batch itself (divided by n). */
void program_keep_statistics(program *p)
{
    const program_inside *in = p->inside;

    for (int32_t i = 0; i < p->statistics.count; i++) {
        const parameter *q = &p->statistics.items[i];
        float *running = p->running + q->offset;
        const float *mixed = in->new_running + q->offset;
        double n = in->population[i];
        double factor = i % 2 == 1 && n > 1 ? n / (n - 1) : 1.0;

        for (int64_t k = 0; k < q->count; k++) {
            double kept = (double)running[k] * (double)in->momentum[i];

            running[k] = (float)(kept + ((double)mixed[k] - kept) * factor);
        }
    }
}

spry_status program_export(const program *p, const spry_model *source, const float *numbers,
                           const float *running, spry_model **trained, spry_error *error)
{
    spry_status status = model_copy(source, trained, error);

    if (status == SPRY_OK) {
        status = parameters_write(&p->weights, numbers, *trained, error);
    }
    if (status == SPRY_OK) {
        status = parameters_write(&p->statistics, running, *trained, error);
    }
    if (status != SPRY_OK) {
        spry_model_destroy(*trained);
        *trained = NULL;
    }
    return status;
}

const graph *program_graph(const program *p)
{
    return p->inside->g;
}

int32_t program_profile(const program *p, const spry_profile_row **rows)
{
    *rows = p->inside->times.rows;
    return p->inside->times.count;
}

void program_profile_reset(program *p)
{
    profile_reset(&p->inside->times);
}
