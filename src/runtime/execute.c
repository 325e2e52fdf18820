/* The executor: walks the steps, lends values to kernels, releases what has died. */
#include "runtime/execute.h"

#include <math.h>

#include "base/clock.h"
#include "tensor/convert.h"

enum {
    BODY_PORTS = 64, /* of a subgraph; exporters' loops carry fewer than 20 values */
    CHECK_BLOCK = 256
};

/* What a body's execution needs to know of its surroundings. */
typedef struct body_context {
    executor *x;
    plan *p;
} body_context;

/* A view of `source` that owns nothing: undone by value_init, never by value_fini. */
static void borrow(value *slot, const value *source)
{
    spry_allocator allocator = slot->allocator;

    *slot = *source;
    slot->allocator = allocator;
    slot->tensor.storage = NULL;
}

static void bind_captures(plan *p, const value *enclosing)
{
    for (int32_t i = 0; i < p->g->value_count; i++) {
        if (p->values[i].place == PLAN_CAPTURE) {
            borrow(&p->frame[i], &enclosing[p->g->values[i].outer]);
        }
    }
}

static spry_status bind_inputs(plan *p, const value *const *inputs, int32_t count,
                               spry_error *error)
{
    if (count > p->g->input_count) {
        return spry_fail(error, SPRY_BAD_INPUT, p->g->name, NULL,
                         "%d values given to a graph with %d inputs", count, p->g->input_count);
    }
    for (int32_t i = 0; i < p->g->input_count; i++) {
        int32_t id = p->g->inputs[i];
        const value *given = i < count ? inputs[i] : NULL;

        if (p->values[id].place == PLAN_CONSTANT) {
            continue;
        }
        if (given == NULL) {
            return spry_fail(error, SPRY_USAGE, p->g->values[id].name, "give every input",
                             "input is missing");
        }
        borrow(&p->frame[id], given);
    }
    return SPRY_OK;
}

/* Forgets borrowed values and frees dynamic ones, so that the frame is ready for the next run. */
static void clear_frame(plan *p)
{
    for (int32_t i = 0; i < p->g->value_count; i++) {
        switch (p->values[i].place) {
        case PLAN_DYNAMIC:
            if (p->frame[i].kind != SPRY_VALUE_NONE) { /* most have died by now */
                value_fini(&p->frame[i]);
            }
            break;
        case PLAN_CAPTURE:
        case PLAN_INPUT: value_init(&p->frame[i], &p->allocator); break;
        case PLAN_CONSTANT:
        case PLAN_ARENA:
        case PLAN_LENT: break;
        }
    }
}

static bool listed_before(const graph *g, int32_t output)
{
    for (int32_t i = 0; i < output; i++) {
        if (g->outputs[i] == g->outputs[output]) {
            return true;
        }
    }
    return false;
}

/* Hands out the outputs, last first so that a value listed twice is copied before it is moved. */
static spry_status take_outputs(plan *p, value *const *outputs, int32_t count, spry_error *error)
{
    for (int32_t i = count - 1; i >= 0; i--) {
        int32_t id = i < p->g->output_count ? p->g->outputs[i] : GRAPH_NONE;
        spry_status status;

        if (id == GRAPH_NONE || outputs[i] == NULL || p->values[id].place == PLAN_LENT) {
            continue;
        }
        if (p->values[id].place == PLAN_DYNAMIC && !listed_before(p->g, i)) {
            value_move(outputs[i], &p->frame[id]);
            continue;
        }
        status = value_copy(outputs[i], &p->frame[id], error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

static spry_status run_body(void *context, const graph *g, const value *inputs, int32_t input_count,
                            value *outputs, int32_t output_count, spry_error *error)
{
    body_context *outer = context;
    executor inner = *outer->x;
    plan *body = plan_find_body(outer->p, g);
    const value *given[BODY_PORTS];
    value *taken[BODY_PORTS];
    arena scratch;
    spry_status status;

    if (body == NULL || input_count > BODY_PORTS || output_count > BODY_PORTS) {
        return spry_fail(error, SPRY_UNSUPPORTED, g->name, NULL,
                         "a subgraph with more than %d inputs or outputs is not supported",
                         BODY_PORTS);
    }
    for (int32_t i = 0; i < input_count; i++) {
        given[i] = &inputs[i];
    }
    for (int32_t i = 0; i < output_count; i++) {
        taken[i] = &outputs[i];
    }
    /* The node that runs the body keeps what it has in its own scratch arena. */
    arena_init(&scratch, &body->allocator, SIZE_MAX);
    inner.scratch = &scratch;
    status = execute_plan(&inner, body, outer->p->frame, given, input_count, taken, output_count);
    arena_fini(&scratch);
    return status;
}

static spry_status call_step(const plan *p, plan_step *step, op_call *call)
{
    return step->provider != NULL
               ? step->provider->run(step->provided.state, call,
                                     (uint8_t *)p->arena + step->workspace_offset)
               : step->node->op->run(call);
}

static spry_status run_step(executor *x, plan *p, plan_step *step, int32_t number)
{
    body_context context = {x, p};
    op_host host = {&context, run_body};
    op_call call = {.g = p->g,
                    .node = step->node,
                    .inputs = step->inputs,
                    .outputs = step->outputs,
                    .input_count = step->node->input_count,
                    .output_count = step->node->output_count,
                    .allocator = &p->allocator,
                    .scratch = x->scratch,
                    .text = x->text,
                    .team = x->team,
                    .seed = x->seed + (uint64_t)number * UINT64_C(0x9E3779B97F4A7C15),
                    .host = &host,
                    .error = x->error};
    spry_status status;

    if (step->threads == 0) {
        return call_step(p, step, &call);
    }
    threads_limit(x->team, step->threads);
    status = call_step(p, step, &call);
    threads_limit(x->team, 0);
    return status;
}

/* Takes down how long a step took since `start`. */
static void record_step(executor *x, const plan *p, const plan_step *step, int64_t start)
{
    int64_t end = clock_ns();
    char label[256];

    if (x->times != NULL && step->profile_row >= 0) {
        profile_add(x->times, step->profile_row, end - start, &step->provided);
    }
    if (x->spans != NULL) {
        (void)graph_node_label(p->g, step->node, label, sizeof label);
        trace_span(x->spans, start, end, "operator", label, step->node->type);
    }
}

/* Does the tensor hold finite numbers only? Other types than floats always do. */
static bool is_finite(const tensor *t)
{
    int64_t count = dtype_class_of(t->dtype) == DTYPE_CLASS_FLOAT ? tensor_count(t) : 0;
    double block[CHECK_BLOCK];

    for (int64_t i = 0; i < count; i += CHECK_BLOCK) {
        int64_t n = count - i < CHECK_BLOCK ? count - i : CHECK_BLOCK;

        convert_read_f64(t, i, n, block);
        for (int64_t k = 0; k < n; k++) {
            if (!isfinite(block[k])) {
                return false;
            }
        }
    }
    return true;
}

static spry_status check_step(const executor *x, const plan *p, const plan_step *step)
{
    char label[256];

    for (int32_t i = 0; i < step->node->output_count; i++) {
        const value *v = step->outputs[i];

        if (v != NULL && v->kind == SPRY_VALUE_TENSOR && !is_finite(&v->tensor)) {
            return spry_fail(x->error, SPRY_BAD_INPUT,
                             graph_node_label(p->g, step->node, label, sizeof label), NULL,
                             "its result holds numbers that are infinite or undefined");
        }
    }
    return SPRY_OK;
}

static spry_status run_steps(executor *x, plan *p)
{
    for (int32_t s = 0; s < p->step_count; s++) {
        plan_step *step = &p->steps[s];
        bool timed = x->times != NULL || x->spans != NULL;
        int64_t start = timed ? clock_ns() : 0;
        spry_status status = step->is_alias ? SPRY_OK : run_step(x, p, step, s);

        if (status != SPRY_OK) {
            return status;
        }
        if (x->check_finite) {
            status = check_step(x, p, step);
            if (status != SPRY_OK) {
                return status;
            }
        }
        if (timed) {
            record_step(x, p, step, start);
        }
        for (int32_t i = 0; i < step->dying_count; i++) {
            value_fini(&p->frame[step->dying[i]]);
        }
        if (x->scratch->used_bytes != 0) {
            arena_reset(x->scratch);
        }
    }
    return SPRY_OK;
}

spry_status execute_plan(executor *x, plan *p, const value *enclosing, const value *const *inputs,
                         int32_t input_count, value *const *outputs, int32_t output_count)
{
    spry_status status;

    if (enclosing != NULL) {
        bind_captures(p, enclosing);
    }
    status = bind_inputs(p, inputs, input_count, x->error);
    if (status == SPRY_OK) {
        status = run_steps(x, p);
    }
    if (status == SPRY_OK) {
        status = take_outputs(p, outputs, output_count, x->error);
    }
    clear_frame(p);
    return status;
}
