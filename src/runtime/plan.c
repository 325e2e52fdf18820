/* From a graph to steps: where each value lives, who runs each node, what dies when. */
#include "runtime/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "model/model.h"
#include "runtime/block/block.h"
#include "runtime/cache/plan_cache.h"
#include "runtime/memory_planner.h"

enum {
    NEVER_DIES = INT32_MAX,
    NO_GROUP = -1,
    /* Bytes of packed weights after which the pages they were read from are given back: at most so
     * much is resident twice. */
    RELEASE_EVERY = 16 << 20
};

/* What plan_create works with; everything but the plan itself is scratch. */
typedef struct builder {
    plan *p;
    const graph *g;
    const spry_session_options *options;
    threads *team;
    bool is_body;
    arena scratch;
    graph_uses uses;
    int32_t *step_of_node; /* GRAPH_NONE for removed nodes */
    int32_t *group;        /* per value: the buffer it lives in, or NO_GROUP */
    planner_buffer *buffers;
    int32_t buffer_count;
    spry_error *error;
} builder;

static spry_status builder_array(builder *b, size_t count, size_t size, arena *from, void **array)
{
    *array = arena_array(from, count != 0 ? count : 1, size);
    return *array != NULL ? SPRY_OK : alloc_failed(b->error, count * size);
}

/* ---- where values live ---- */

static bool can_be_planned(const builder *b, const graph_value *v)
{
    const graph_node *node;

    if (b->is_body || v->is_output || v->producer == GRAPH_NONE ||
        !graph_type_is_static(&v->type) || v->type.dtype == SPRY_DTYPE_STRING ||
        v->type.dtype == SPRY_DTYPE_NONE) {
        return false;
    }
    node = &b->g->nodes[v->producer];
    return (node->op->flags & OP_SUBGRAPHS) == 0;
}

static plan_place place_of(const builder *b, const graph_value *v)
{
    if (v->constant != NULL) {
        return PLAN_CONSTANT;
    }
    if (v->outer != GRAPH_NONE) {
        return PLAN_CAPTURE;
    }
    if (v->is_input) {
        return PLAN_INPUT;
    }
    return can_be_planned(b, v) ? PLAN_ARENA : PLAN_DYNAMIC;
}

static void find_places(builder *b)
{
    for (int32_t i = 0; i < b->g->value_count; i++) {
        const graph_value *v = &b->g->values[i];
        int32_t last = -1;

        for (int32_t u = b->uses.offsets[i]; u < b->uses.offsets[i + 1]; u++) {
            int32_t step = b->step_of_node[b->uses.users[u]];

            last = step > last ? step : last;
        }
        if (last < 0 && v->producer != GRAPH_NONE) {
            last = b->step_of_node[v->producer]; /* nobody reads it: dies where it is made */
        }
        b->p->values[i].place = place_of(b, v);
        b->p->values[i].last_step = v->is_output ? NEVER_DIES : last;
    }
}

/* The planned input whose buffer output 0 of `node` may use, or GRAPH_NONE. A view shares the
 * buffer; an in-place operator overwrites it, so everything in it must end here. */
static int32_t find_donor(const builder *b, const graph_node *node, int32_t step)
{
    int32_t out = node->outputs[0];
    int32_t ports = (node->op->flags & OP_VIEW) != 0 ? 1 : node->input_count;

    if ((node->op->flags & (OP_VIEW | OP_IN_PLACE)) == 0 || out == GRAPH_NONE ||
        b->p->values[out].place != PLAN_ARENA) {
        return GRAPH_NONE;
    }
    for (int32_t i = 0; i < ports; i++) {
        int32_t in = node->inputs[i];
        const graph_type *type = in != GRAPH_NONE ? &b->g->values[in].type : NULL;

        if (type == NULL || b->p->values[in].place != PLAN_ARENA) {
            continue;
        }
        if ((node->op->flags & OP_VIEW) != 0 && type->dtype == b->g->values[out].type.dtype) {
            return in;
        }
        if ((node->op->flags & OP_IN_PLACE) != 0 &&
            graph_type_same(type, &b->g->values[out].type) &&
            b->buffers[b->group[in]].last == step) {
            return in;
        }
    }
    return GRAPH_NONE;
}

static spry_status add_buffer(builder *b, int32_t id, int32_t step)
{
    planner_buffer *buffer = &b->buffers[b->buffer_count];
    const graph_type *type = &b->g->values[id].type;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    tensor t;
    spry_status status;

    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    status = tensor_init(&t, type->dtype, type->rank, shape, NULL, b->error);
    if (status != SPRY_OK) {
        return status;
    }
    *buffer = (planner_buffer){.bytes = t.bytes, .first = step, .last = b->p->values[id].last_step};
    b->group[id] = b->buffer_count++;
    return SPRY_OK;
}

/* Gives every planned output of the step's node a buffer: a donor's, or a new one. */
static spry_status assign_buffers(builder *b, int32_t step)
{
    const graph_node *node = b->p->steps[step].node;
    int32_t donor = node->output_count > 0 ? find_donor(b, node, step) : GRAPH_NONE;

    for (int32_t i = 0; i < node->output_count; i++) {
        int32_t id = node->outputs[i];
        spry_status status;

        if (id == GRAPH_NONE || b->p->values[id].place != PLAN_ARENA) {
            continue;
        }
        if (i == 0 && donor != GRAPH_NONE) {
            planner_buffer *buffer = &b->buffers[b->group[donor]];
            int32_t last = b->p->values[id].last_step;

            b->group[id] = b->group[donor];
            buffer->last = last > buffer->last ? last : buffer->last;
            b->p->steps[step].is_alias = (node->op->flags & OP_VIEW) != 0;
            continue;
        }
        status = add_buffer(b, id, step);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

/* ---- steps ---- */

static spry_status choose_provider(builder *b, int32_t index)
{
    plan_step *step = &b->p->steps[index];
    plan_cache *cache = b->is_body ? NULL : b->p->cache;
    int64_t most = graph_attribute_int(step->node, BLOCK_THREADS, 0);
    provider_site site = {.g = b->g,
                          .node = step->node,
                          .options = b->options,
                          .allocator = &b->p->allocator,
                          .team = b->team,
                          .cache = cache};
    spry_status status = plan_cache_begin(cache, b->g, step->node, index, b->error);

    if (status == SPRY_OK && !b->is_body) {
        step->provider = provider_find(&site);
    }
    step->threads = most < threads_count(b->team) ? (int)most : 0;
    if (status == SPRY_OK && step->provider != NULL) {
        threads_limit(b->team, step->threads);
        status = step->provider->create(&site, &step->provided, b->error);
        threads_limit(b->team, 0);
        if (status != SPRY_OK) {
            step->provider = NULL; /* nothing was created */
        } else if (step->provided.taker != NULL) {
            step->provider = step->provided.taker;
        }
    }
    return status == SPRY_OK
               ? plan_cache_end(cache, b->g, step->node, step->provided.spent, b->error)
               : status;
}

static spry_status make_steps(builder *b)
{
    plan *p = b->p;
    size_t released = 0;

    for (int32_t n = 0; n < b->g->node_count; n++) {
        const graph_node *node = &b->g->nodes[n];

        b->step_of_node[n] = node->removed ? GRAPH_NONE : p->step_count;
        if (!node->removed) {
            p->steps[p->step_count++] = (plan_step){.node = node, .profile_row = -1};
        }
    }
    for (int32_t s = 0; s < p->step_count; s++) {
        spry_status status = choose_provider(b, s);

        if (status != SPRY_OK) {
            return status;
        }
        p->packed_bytes += p->steps[s].provided.packed_bytes;
        if (b->g->source != NULL && p->packed_bytes - released >= RELEASE_EVERY) {
            model_release_pages(b->g->source);
            released = p->packed_bytes;
        }
    }
    if (b->g->source != NULL && p->packed_bytes > released) {
        model_release_pages(b->g->source);
    }
    plan_cache_finish(p->cache);
    return SPRY_OK;
}

static spry_status place_everything(builder *b)
{
    plan *p = b->p;
    spry_status status = SPRY_OK;
    int32_t workspaces;

    for (int32_t s = 0; s < p->step_count && status == SPRY_OK; s++) {
        status = assign_buffers(b, s);
    }
    workspaces = b->buffer_count;
    for (int32_t s = 0; s < p->step_count; s++) {
        b->buffers[b->buffer_count++] =
            (planner_buffer){.bytes = p->steps[s].provided.workspace_bytes, .first = s, .last = s};
    }
    if (status == SPRY_OK) {
        status =
            planner_place(&p->allocator, b->buffers, b->buffer_count, &p->arena_bytes, b->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t s = 0; s < p->step_count; s++) {
        p->steps[s].workspace_offset = b->buffers[workspaces + s].offset;
    }
    for (int32_t i = 0; i < b->g->value_count; i++) {
        if (b->group[i] != NO_GROUP) {
            p->values[i].offset = b->buffers[b->group[i]].offset;
        }
    }
    if (b->options->memory_ceiling != 0 && p->arena_bytes > b->options->memory_ceiling) {
        return spry_fail(b->error, SPRY_LIMIT, "memory plan",
                         "raise the memory ceiling or use a smaller batch",
                         "activations need %zu bytes, the ceiling is %zu", p->arena_bytes,
                         b->options->memory_ceiling);
    }
    p->arena = alloc_bytes(&p->allocator, p->arena_bytes);
    return p->arena != NULL ? SPRY_OK : alloc_failed(b->error, p->arena_bytes);
}

/* ---- the frame ---- */

/* Makes the slot a tensor of a static type in memory that stays. */
static spry_status fill_slot(value *slot, const graph_type *type, void *memory, spry_error *error)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_status status;

    for (int d = 0; d < type->rank; d++) {
        shape[d] = type->dims[d].size;
    }
    status = tensor_init(&slot->tensor, type->dtype, type->rank, shape, memory, error);
    if (status == SPRY_OK) {
        slot->kind = SPRY_VALUE_TENSOR;
        slot->dtype = type->dtype;
    }
    return status;
}

static spry_status fill_frame(builder *b)
{
    plan *p = b->p;

    for (int32_t i = 0; i < b->g->value_count; i++) {
        const graph_value *v = &b->g->values[i];
        value *slot = &p->frame[i];
        spry_status status;

        value_init(slot, &p->allocator);
        if (p->values[i].place == PLAN_CONSTANT) {
            slot->kind = SPRY_VALUE_TENSOR;
            slot->dtype = v->constant->dtype;
            slot->tensor = *v->constant;
            slot->tensor.storage = NULL; /* borrowed: the model outlives the plan */
        }
        status =
            p->values[i].place == PLAN_ARENA
                ? fill_slot(slot, &v->type, (uint8_t *)p->arena + p->values[i].offset, b->error)
                : SPRY_OK;
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

static bool is_read(const builder *b, int32_t id)
{
    return b->g->values[id].is_output || b->uses.offsets[id + 1] > b->uses.offsets[id];
}

static spry_status fill_ports(builder *b, plan_step *step)
{
    const graph_node *node = step->node;
    void *inputs;
    void *outputs;

    if (builder_array(b, (size_t)node->input_count, sizeof(value *), &b->p->memory, &inputs) !=
            SPRY_OK ||
        builder_array(b, (size_t)node->output_count, sizeof(value *), &b->p->memory, &outputs) !=
            SPRY_OK) {
        return SPRY_LIMIT;
    }
    step->inputs = inputs;
    step->outputs = outputs;
    for (int32_t i = 0; i < node->input_count; i++) {
        step->inputs[i] = node->inputs[i] != GRAPH_NONE ? &b->p->frame[node->inputs[i]] : NULL;
    }
    for (int32_t i = 0; i < node->output_count; i++) {
        int32_t id = node->outputs[i];
        bool wanted = id != GRAPH_NONE && (i == 0 || is_read(b, id));

        step->outputs[i] = wanted ? &b->p->frame[id] : NULL;
    }
    return SPRY_OK;
}

/* Lists, for every step, the dynamic values that nobody needs afterwards. */
static spry_status fill_dying(builder *b)
{
    plan *p = b->p;
    void *list;
    int32_t *next;
    spry_status status;

    for (int32_t i = 0; i < b->g->value_count; i++) {
        int32_t last = p->values[i].last_step;

        if (p->values[i].place == PLAN_DYNAMIC && last >= 0 && last != NEVER_DIES) {
            p->steps[last].dying_count++;
        }
    }
    status = builder_array(b, (size_t)b->g->value_count, sizeof(int32_t), &p->memory, &list);
    if (status != SPRY_OK) {
        return status;
    }
    next = list;
    for (int32_t s = 0; s < p->step_count; s++) {
        p->steps[s].dying = next;
        next += p->steps[s].dying_count;
        p->steps[s].dying_count = 0;
    }
    for (int32_t i = 0; i < b->g->value_count; i++) {
        int32_t last = p->values[i].last_step;

        if (p->values[i].place == PLAN_DYNAMIC && last >= 0 && last != NEVER_DIES) {
            int32_t *dying = (int32_t *)list + (p->steps[last].dying - (const int32_t *)list);

            dying[p->steps[last].dying_count++] = i;
        }
    }
    return SPRY_OK;
}

spry_status plan_lend(plan *p, int32_t index, void *memory, spry_error *error)
{
    int32_t id = p->g->outputs[index];
    const graph_type *type = &p->g->values[id].type;

    if (p->values[id].place != PLAN_DYNAMIC || !graph_type_is_static(type) ||
        type->dtype == SPRY_DTYPE_STRING) {
        return spry_fail(error, SPRY_UNSUPPORTED, p->g->values[id].name, NULL,
                         "the result has no size that is known beforehand");
    }
    p->values[id].place = PLAN_LENT;
    return fill_slot(&p->frame[id], type, memory, error);
}

/* ---- bodies of If, Loop, Scan ---- */

static int32_t count_bodies(const graph *g)
{
    int32_t count = 0;

    for (int32_t n = 0; n < g->node_count; n++) {
        for (int32_t a = 0; a < g->nodes[n].attribute_count; a++) {
            const graph_attribute *attribute = &g->nodes[n].attributes[a];

            if (!g->nodes[n].removed && (attribute->kind == GRAPH_ATTRIBUTE_GRAPH ||
                                         attribute->kind == GRAPH_ATTRIBUTE_GRAPHS)) {
                count += (int32_t)attribute->count;
            }
        }
    }
    return count;
}

static spry_status add_bodies(builder *b, const graph_attribute *attribute)
{
    if (attribute->kind != GRAPH_ATTRIBUTE_GRAPH && attribute->kind != GRAPH_ATTRIBUTE_GRAPHS) {
        return SPRY_OK;
    }
    for (int64_t i = 0; i < attribute->count; i++) {
        plan *body = NULL;
        spry_status status =
            plan_create(attribute->as.graphs[i], b->options, b->team, true, &body, b->error);

        if (status != SPRY_OK) {
            return status;
        }
        b->p->bodies[b->p->body_count++] = body;
    }
    return SPRY_OK;
}

static spry_status make_bodies(builder *b)
{
    void *bodies;
    spry_status status =
        builder_array(b, (size_t)count_bodies(b->g), sizeof(plan *), &b->p->memory, &bodies);

    b->p->bodies = bodies;
    for (int32_t s = 0; s < b->p->step_count && status == SPRY_OK; s++) {
        const graph_node *node = b->p->steps[s].node;

        for (int32_t a = 0; a < node->attribute_count && status == SPRY_OK; a++) {
            status = add_bodies(b, &node->attributes[a]);
        }
    }
    return status;
}

plan *plan_find_body(const plan *p, const graph *g)
{
    for (int32_t i = 0; i < p->body_count; i++) {
        if (p->bodies[i]->g == g) {
            return p->bodies[i];
        }
    }
    return NULL;
}

/* ---- creation ---- */

static spry_status allocate_arrays(builder *b)
{
    size_t values = (size_t)b->g->value_count;
    size_t nodes = (size_t)b->g->node_count;
    void *made[6];
    const struct {
        size_t count;
        size_t size;
        arena *from;
    } wanted[6] = {
        {values, sizeof(plan_value), &b->p->memory},
        {nodes, sizeof(plan_step), &b->p->memory},
        {values, sizeof(value), &b->p->memory},
        {nodes, sizeof(int32_t), &b->scratch},
        {values, sizeof(int32_t), &b->scratch},
        {values + nodes, sizeof(planner_buffer), &b->scratch},
    };

    for (int i = 0; i < 6; i++) {
        spry_status status =
            builder_array(b, wanted[i].count, wanted[i].size, wanted[i].from, &made[i]);

        if (status != SPRY_OK) {
            return status;
        }
    }
    b->p->values = made[0];
    b->p->steps = made[1];
    b->p->frame = made[2];
    b->step_of_node = made[3];
    b->group = made[4];
    b->buffers = made[5];
    for (size_t i = 0; i < values; i++) {
        b->group[i] = NO_GROUP;
        value_init(&b->p->frame[i], &b->p->allocator);
    }
    return SPRY_OK;
}

static spry_status build(builder *b)
{
    spry_status status = allocate_arrays(b);

    if (status == SPRY_OK) {
        status = graph_find_uses(b->g, &b->scratch, &b->uses, b->error);
    }
    if (status == SPRY_OK) {
        status = make_steps(b);
    }
    if (status == SPRY_OK) {
        find_places(b);
        status = place_everything(b);
    }
    if (status == SPRY_OK) {
        status = fill_frame(b);
    }
    for (int32_t s = 0; s < b->p->step_count && status == SPRY_OK; s++) {
        status = fill_ports(b, &b->p->steps[s]);
    }
    if (status == SPRY_OK) {
        status = fill_dying(b);
    }
    return status == SPRY_OK ? make_bodies(b) : status;
}

spry_status plan_create(const graph *g, const spry_session_options *options, threads *team,
                        bool is_body, plan **made, spry_error *error)
{
    spry_allocator allocator = alloc_resolve(options->allocator);
    plan *p = alloc_zeroed(&allocator, sizeof *p);
    builder b = {
        .p = p, .g = g, .options = options, .team = team, .is_body = is_body, .error = error};
    spry_status status;

    *made = NULL;
    if (p == NULL) {
        return alloc_failed(error, sizeof *p);
    }
    p->allocator = allocator;
    p->g = g;
    arena_init(&p->memory, &allocator, SIZE_MAX);
    arena_init(&b.scratch, &allocator, SIZE_MAX);
    p->cache = is_body ? NULL : plan_cache_open(g, options, team);
    status = build(&b);
    arena_fini(&b.scratch);
    if (status != SPRY_OK) {
        plan_destroy(p);
        return status;
    }
    *made = p;
    return SPRY_OK;
}

void plan_destroy(plan *p)
{
    spry_allocator allocator;

    if (p == NULL) {
        return;
    }
    for (int32_t i = 0; i < p->body_count; i++) {
        plan_destroy(p->bodies[i]);
    }
    for (int32_t s = 0; s < p->step_count; s++) {
        if (p->steps[s].provider != NULL) {
            p->steps[s].provider->destroy(p->steps[s].provided.state);
        }
    }
    for (int32_t i = 0; p->frame != NULL && i < p->g->value_count; i++) {
        if (p->values[i].place == PLAN_DYNAMIC) {
            value_fini(&p->frame[i]);
        }
    }
    plan_cache_close(p->cache);
    allocator = p->allocator;
    alloc_release(&allocator, p->arena, p->arena_bytes);
    arena_fini(&p->memory);
    alloc_release(&allocator, p, sizeof *p);
}
