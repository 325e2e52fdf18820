/* Sessions: the public face of the runtime, and the cache of plans by input shapes. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/block/block.h"
#include "runtime/cache/plan_cache.h"
#include "runtime/execute.h"
#include "runtime/prepare.h"
#include "runtime/profile.h"
#include "spry/session.h"

enum {
    KEPT_PLANS = 8,     /* input shapes seen lately; the oldest goes first */
    MOST_INPUTS = 4096, /* of one model */
};

/* A plan with the graph it runs and the input types it was made for. */
typedef struct kept_plan {
    plan *p;
    arena memory;             /* of the graph and the signature */
    graph_type *inputs;       /* per graph input */
    uint64_t last_used, made; /* run numbers */
} kept_plan;

struct spry_session {
    spry_allocator allocator;
    spry_session_options options;
    arena memory; /* of the prepared graph */
    arena scratch;
    arena text;
    graph *prepared;
    spry_layer *layers; /* of spry_session_layers, once asked for; in `memory` */
    int32_t layer_count;
    threads *team;
    kept_plan plans[KEPT_PLANS];
    uint64_t run_number;
    profile times;
};

spry_session_options spry_session_options_default(void)
{
    return (spry_session_options){.struct_size = sizeof(spry_session_options)};
}

static spry_status check_options(const spry_session_options *options, spry_error *error)
{
    if (options->struct_size != sizeof *options) {
        return spry_fail(error, SPRY_USAGE, "spry_session_options",
                         "start from spry_session_options_default()", "struct_size is %zu",
                         options->struct_size);
    }
    if ((unsigned)options->precision > SPRY_PRECISION_INT8) {
        return spry_fail(error, SPRY_USAGE, "precision", "use f32, bf16 or int8",
                         "%d is no precision", (int)options->precision);
    }
    return SPRY_OK;
}

spry_status spry_session_create(const spry_model *source, const spry_session_options *options,
                                spry_session **session, spry_error *error)
{
    spry_session_options chosen = options != NULL ? *options : spry_session_options_default();
    spry_allocator allocator = alloc_resolve(chosen.allocator);
    spry_status status = check_options(&chosen, error);
    spry_session *made;

    *session = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    made = alloc_zeroed(&allocator, sizeof *made);
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = allocator;
    made->options = chosen;
    made->options.allocator = &made->allocator;
    arena_init(&made->memory, &allocator, SIZE_MAX);
    arena_init(&made->scratch, &allocator, SIZE_MAX);
    arena_init(&made->text, &allocator, SIZE_MAX);
    profile_init(&made->times, &allocator);
    if (chosen.blocks != NULL) {
        made->options.blocks = block_copy(chosen.blocks, &made->memory);
        if (made->options.blocks == NULL) {
            spry_session_destroy(made);
            return alloc_failed(error, sizeof(spry_block));
        }
    }
    status = threads_create(&allocator, chosen.threads, &made->team, error);
    if (status == SPRY_OK) {
        status = prepare_graph(source, &made->options, made->team, &made->memory, &made->prepared,
                               error);
    }
    if (status != SPRY_OK) {
        spry_session_destroy(made);
        return status;
    }
    *session = made;
    return SPRY_OK;
}

static void drop_plan(kept_plan *kept)
{
    if (kept->p != NULL) {
        plan_destroy(kept->p);
        arena_fini(&kept->memory);
        *kept = (kept_plan){0};
    }
}

void spry_session_destroy(spry_session *session)
{
    spry_allocator allocator;

    if (session == NULL) {
        return;
    }
    for (int i = 0; i < KEPT_PLANS; i++) {
        drop_plan(&session->plans[i]);
    }
    threads_destroy(session->team);
    profile_fini(&session->times);
    arena_fini(&session->text);
    arena_fini(&session->scratch);
    arena_fini(&session->memory);
    allocator = session->allocator;
    alloc_release(&allocator, session, sizeof *session);
}

/* ---- inputs ---- */

static spry_status check_input(const graph_value *declared, const value *given, spry_error *error)
{
    const graph_type *type = &declared->type;
    char wanted[256];
    char got[256];
    bool fits = given->kind == SPRY_VALUE_TENSOR;

    if (type->kind != GRAPH_TYPE_TENSOR) {
        return SPRY_OK; /* sequences and optionals are checked by the operators that read them */
    }
    fits = fits && (type->dtype == SPRY_DTYPE_NONE || given->tensor.dtype == type->dtype);
    fits = fits && (!type->has_rank || given->tensor.rank == type->rank);
    for (int i = 0; fits && type->has_rank && i < type->rank; i++) {
        fits = type->dims[i].size < 0 || type->dims[i].size == given->tensor.shape[i];
    }
    if (fits) {
        return SPRY_OK;
    }
    if (given->kind == SPRY_VALUE_TENSOR) {
        (void)tensor_describe(&given->tensor, got, sizeof got);
    } else {
        (void)snprintf(got, sizeof got, "not a tensor");
    }
    return spry_fail(error, SPRY_USAGE, declared->name,
                     "convert or reshape the input, or change the model's declared shape",
                     "the model takes %s, given is %s",
                     graph_type_describe(type, wanted, sizeof wanted), got);
}

static int32_t find_input(const graph *g, const char *name)
{
    for (int32_t i = 0; i < g->input_count; i++) {
        if (strcmp(g->values[g->inputs[i]].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* Puts the given values into the order of the graph's inputs. */
static spry_status order_inputs(const graph *g, int32_t count, const char *const *names,
                                const spry_value *const *inputs, const value **ordered,
                                spry_error *error)
{
    for (int32_t i = 0; i < count; i++) {
        int32_t port = find_input(g, names[i]);
        spry_status status;

        if (port < 0) {
            return spry_fail(error, SPRY_USAGE, names[i], "spry inspect lists the inputs",
                             "the model has no input of this name");
        }
        status = check_input(&g->values[g->inputs[port]], inputs[i], error);
        if (status != SPRY_OK) {
            return status;
        }
        ordered[port] = inputs[i];
    }
    for (int32_t i = 0; i < g->input_count; i++) {
        const graph_value *v = &g->values[g->inputs[i]];

        if (ordered[i] == NULL && v->constant == NULL) {
            char type[256];

            return spry_fail(error, SPRY_USAGE, v->name, "give every input of the model",
                             "input %s is missing",
                             graph_type_describe(&v->type, type, sizeof type));
        }
    }
    return SPRY_OK;
}

/* ---- plans ---- */

static graph_type type_of(const value *v)
{
    if (v == NULL) {
        return (graph_type){0};
    }
    if (v->kind == SPRY_VALUE_TENSOR) {
        return graph_type_tensor(v->tensor.dtype, v->tensor.rank, v->tensor.shape);
    }
    return (graph_type){.kind = v->kind == SPRY_VALUE_SEQUENCE ? GRAPH_TYPE_SEQUENCE
                                                               : GRAPH_TYPE_OPTIONAL};
}

static bool plan_fits(const kept_plan *kept, const graph *g, const value *const *inputs)
{
    for (int32_t i = 0; i < g->input_count; i++) {
        graph_type type = type_of(inputs[i]);

        if (!graph_type_same(&type, &kept->inputs[i])) {
            return false;
        }
    }
    return true;
}

/* The graph of a plan, in `memory`. */
static spry_status make_graph(spry_session *s, const value *const *inputs,
                              const spry_session_options *options, arena *memory, graph **g,
                              spry_error *error)
{
    spry_status status =
        prepare_for_inputs(s->prepared, inputs, options, s->team, memory, g, error);

    return status == SPRY_OK && !options->keep_order ? prepare_for_speed(*g, options, error)
                                                     : status;
}

static spry_status make_plan(spry_session *s, const value *const *inputs, kept_plan *kept,
                             spry_error *error)
{
    graph *g = NULL;
    spry_status status;

    arena_init(&kept->memory, &s->allocator, SIZE_MAX);
    kept->inputs =
        arena_array(&kept->memory, (size_t)s->prepared->input_count + 1, sizeof *kept->inputs);
    if (kept->inputs == NULL) {
        return alloc_failed(error, sizeof *kept->inputs);
    }
    for (int32_t i = 0; i < s->prepared->input_count; i++) {
        kept->inputs[i] = type_of(inputs[i]);
    }
    status = make_graph(s, inputs, &s->options, &kept->memory, &g, error);
    if (status == SPRY_OK) {
        status = plan_create(g, &s->options, s->team, false, &kept->p, error);
    }
    if (status == SPRY_OK && s->options.profile) {
        status = profile_attach(&s->times, kept->p, error);
    }
    return status;
}

/* The plan for inputs of these types: kept from an earlier run, or new in the oldest place. */
static spry_status find_plan(spry_session *s, const value *const *inputs, plan **p,
                             spry_error *error)
{
    kept_plan *oldest = &s->plans[0];
    kept_plan made = {0};
    spry_status status;

    for (int i = 0; i < KEPT_PLANS; i++) {
        kept_plan *kept = &s->plans[i];

        if (kept->p != NULL && plan_fits(kept, s->prepared, inputs)) {
            kept->last_used = s->run_number;
            *p = kept->p;
            return SPRY_OK;
        }
        oldest = kept->last_used < oldest->last_used ? kept : oldest;
    }
    status = make_plan(s, inputs, &made, error);
    if (status != SPRY_OK) {
        plan_destroy(made.p);
        arena_fini(&made.memory);
        return status;
    }
    drop_plan(oldest);
    *oldest = made;
    oldest->last_used = oldest->made = s->run_number;
    *p = oldest->p;
    return SPRY_OK;
}

/* ---- running ---- */

static void destroy_outputs(spry_value **outputs, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        spry_value_destroy(outputs[i]);
        outputs[i] = NULL;
    }
}

/* The bytes of computed strings lie in the run's arena: moves them into the value's own memory. */
static spry_status own_text(value *v, spry_error *error)
{
    value copy;
    spry_status status;

    value_init(&copy, &v->allocator);
    status = value_copy(&copy, v, error);
    if (status == SPRY_OK) {
        value_fini(v);
        value_move(v, &copy);
    }
    return status;
}

static spry_status run_plan(spry_session *s, plan *p, const value *const *inputs,
                            int32_t output_count, spry_value **outputs, spry_error *error)
{
    executor x = {.team = s->team,
                  .scratch = &s->scratch,
                  .text = &s->text,
                  .seed = s->options.seed + s->run_number * UINT64_C(0xD1342543DE82EF95),
                  .times = s->options.profile ? &s->times : NULL,
                  .spans = s->options.trace,
                  .error = error};
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < output_count && status == SPRY_OK; i++) {
        status = spry_value_none(&s->allocator, &outputs[i], error);
    }
    if (status == SPRY_OK) {
        threads_engage(s->team);
        status = execute_plan(&x, p, NULL, inputs, s->prepared->input_count, outputs, output_count);
        threads_rest(s->team);
    }
    for (int32_t i = 0; i < output_count && status == SPRY_OK; i++) {
        if (outputs[i]->dtype == SPRY_DTYPE_STRING) {
            status = own_text(outputs[i], error);
        }
    }
    arena_reset(&s->text);
    arena_reset(&s->scratch);
    return status;
}

spry_status spry_session_run(spry_session *session, int32_t input_count, const char *const *names,
                             const spry_value *const *inputs, int32_t output_count,
                             spry_value **outputs, spry_error *error)
{
    const graph *g = session->prepared;
    size_t bytes = ((size_t)g->input_count + 1) * sizeof(value *);
    const value **ordered;
    plan *p = NULL;
    spry_status status;

    memset(outputs, 0, (size_t)output_count * sizeof(spry_value *));
    if (output_count > g->output_count || g->input_count > MOST_INPUTS) {
        return spry_fail(error, SPRY_USAGE, "outputs", NULL,
                         "%d outputs asked for, the model has %d", output_count, g->output_count);
    }
    ordered = alloc_zeroed(&session->allocator, bytes);
    if (ordered == NULL) {
        return alloc_failed(error, bytes);
    }
    session->run_number++;
    status = order_inputs(g, input_count, names, inputs, ordered, error);
    if (status == SPRY_OK) {
        status = find_plan(session, ordered, &p, error);
    }
    if (status == SPRY_OK) {
        status = run_plan(session, p, ordered, output_count, outputs, error);
    }
    if (status != SPRY_OK) {
        destroy_outputs(outputs, output_count);
    }
    alloc_release(&session->allocator, ordered, bytes);
    return status;
}

/* ---- layers ---- */

/* Tensors of the inputs' declared shapes that hold nothing. */
static spry_status declared_inputs(const graph *g, value *room, const value **inputs,
                                   spry_error *error)
{
    for (int32_t i = 0; i < g->input_count; i++) {
        const graph_value *v = &g->values[g->inputs[i]];
        int64_t shape[SPRY_TENSOR_MAX_RANK];

        if (v->type.kind != GRAPH_TYPE_TENSOR || !v->type.has_rank || v->constant != NULL) {
            if (v->constant != NULL) {
                continue;
            }
            return spry_fail(error, SPRY_UNSUPPORTED, v->name, NULL,
                             "layers cannot be listed: the input has no known shape");
        }
        for (int d = 0; d < v->type.rank; d++) {
            shape[d] = v->type.dims[d].size >= 0 ? v->type.dims[d].size : 1;
        }
        room[i].kind = SPRY_VALUE_TENSOR;
        room[i].dtype = v->type.dtype;
        room[i].tensor.dtype = v->type.dtype;
        room[i].tensor.rank = v->type.rank;
        memcpy(room[i].tensor.shape, shape, (size_t)v->type.rank * sizeof *shape);
        inputs[i] = &room[i];
    }
    return SPRY_OK;
}

static spry_status list_layers(spry_session *s, spry_error *error)
{
    static const spry_blocks none = {NULL, 0};
    spry_session_options options = s->options;
    size_t count = (size_t)s->prepared->input_count + 1;
    value *room = arena_array(&s->memory, count, sizeof *room);
    const value **inputs = arena_array(&s->memory, count, sizeof *inputs);
    graph *g = NULL;
    spry_status status;

    if (room == NULL || inputs == NULL) {
        return alloc_failed(error, count * sizeof *room);
    }
    options.blocks = &none;
    status = declared_inputs(s->prepared, room, inputs, error);
    if (status == SPRY_OK) {
        status = make_graph(s, inputs, &options, &s->memory, &g, error);
    }
    return status == SPRY_OK
               ? block_list(g, &options, &s->memory, &s->layers, &s->layer_count, error)
               : status;
}

spry_status spry_session_layers(spry_session *session, const spry_layer **layers, int32_t *count,
                                spry_error *error)
{
    spry_status status = session->layers == NULL ? list_layers(session, error) : SPRY_OK;

    if (status != SPRY_OK) {
        session->layers = NULL;
    }
    *layers = session->layers;
    *count = status == SPRY_OK ? session->layer_count : 0;
    return status;
}

/* ---- reports ---- */

int32_t spry_session_profile(const spry_session *session, const spry_profile_row **rows)
{
    *rows = session->times.rows;
    return session->times.count;
}

void spry_session_profile_reset(spry_session *session)
{
    profile_reset(&session->times);
}

const char *spry_session_plan_cache(const spry_session *session)
{
    const kept_plan *newest = &session->plans[0];

    for (int i = 1; i < KEPT_PLANS; i++) {
        newest = session->plans[i].made > newest->made ? &session->plans[i] : newest;
    }
    return plan_cache_report(newest->p != NULL ? newest->p->cache : NULL);
}

size_t spry_session_arena_bytes(const spry_session *session)
{
    size_t most = 0;

    for (int i = 0; i < KEPT_PLANS; i++) {
        const plan *p = session->plans[i].p;

        most = p != NULL && p->arena_bytes > most ? p->arena_bytes : most;
    }
    return most;
}

size_t spry_session_packed_bytes(const spry_session *session)
{
    size_t most = 0;

    for (int i = 0; i < KEPT_PLANS; i++) {
        const plan *p = session->plans[i].p;

        most = p != NULL && p->packed_bytes > most ? p->packed_bytes : most;
    }
    return most;
}
