/* The model around the layers: its beginning, its weights, its end. */
#include "architecture/builder.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/infer.h"
#include "spry/random.h"

enum {
    IR_VERSION = 8,
    MOST_NAME = 256,
    MOST_INPUTS = 4
}; /* the format of files that came with EMIT_OPSET */

/* ---- the model ---- */

static spry_status fill_model(model *m, spry_error *error)
{
    static const model_opset opset = {.domain = "", .version = EMIT_OPSET};
    model_opset *opsets = arena_array(&m->memory, 1, sizeof *opsets);
    spry_status status;

    if (opsets == NULL) {
        return alloc_failed(error, sizeof *opsets);
    }
    *opsets = opset;
    m->opsets = opsets;
    m->opset_count = 1;
    m->ir_version = IR_VERSION;
    m->producer_name = "spry";
    status = graph_create(&m->memory, NULL, &m->main, error);
    if (status != SPRY_OK) {
        return status;
    }
    m->main->source = m;
    m->main->inputs = arena_array(&m->memory, MOST_INPUTS, sizeof(int32_t));
    m->main->outputs = arena_array(&m->memory, 1, sizeof(int32_t));
    return m->main->inputs != NULL && m->main->outputs != NULL
               ? SPRY_OK
               : alloc_failed(error, sizeof(int32_t));
}

spry_status builder_open(builder *b, const spry_allocator *allocator, uint64_t seed,
                         bool only_counts, spry_error *error)
{
    spry_status status;

    *b = (builder){.seed = seed, .only_counts = only_counts};
    status = model_create(allocator, (size_t)LIMIT_MODEL_BYTES, &b->m, error);
    if (status != SPRY_OK) {
        return status;
    }
    status = fill_model(b->m, error);
    b->e = (emitter){.g = b->m->main, .name = "", .error = error};
    if (status != SPRY_OK) {
        spry_model_destroy(b->m);
    }
    return status;
}

/* Layers of several nodes give all the same name; other runtimes want names that differ. */
static void name_nodes(graph *g)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_value *v = &g->values[g->nodes[i].outputs[0]];

        g->nodes[i].name = v->is_output ? g->nodes[i].name : v->name;
    }
}

spry_status builder_close(builder *b, model **m)
{
    if (b->e.status == SPRY_OK) {
        name_nodes(b->e.g);
        b->e.status = infer_graph(b->e.g, b->e.error);
    }
    if (b->e.status != SPRY_OK) {
        spry_model_destroy(b->m);
        b->m = NULL;
    }
    *m = b->m;
    return b->e.status;
}

/* ---- names and refusals ---- */

const char *builder_name(builder *b, const char *format, ...)
{
    char text[MOST_NAME];
    const char *kept = NULL;
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (b->e.status == SPRY_OK) {
        kept = graph_text(b->e.g, text);
        b->e.status = kept != NULL ? SPRY_OK : alloc_failed(b->e.error, sizeof text);
    }
    return kept != NULL ? kept : "";
}

void builder_refuse(builder *b, const char *where, const char *format, ...)
{
    char text[MOST_NAME];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (b->e.status == SPRY_OK) {
        b->e.status = spry_fail(b->e.error, SPRY_USAGE, where, NULL, "%s", text);
    }
}

void builder_at(builder *b, const char *name)
{
    b->e.name = name;
}

/* ---- weights ---- */

/* The stream of a name (FNV-1a): a layer keeps its weights whatever stands around it. */
static uint64_t stream_of(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    }
    return hash;
}

/* Normal, redrawn beyond two deviations. */
static void fill_truncated(spry_random *random, float *to, size_t count, float deviation)
{
    spry_random_fill_normal(random, to, count, 0.0f, deviation);
    for (size_t i = 0; i < count; i++) {
        while (fabsf(to[i]) > 2.0f * deviation) {
            to[i] = deviation * (float)spry_random_normal(random);
        }
    }
}

static void fill_weight(const builder *b, const char *name, tensor *t, builder_draw draw,
                        int64_t fan)
{
    const double per_input = 1.0 / sqrt((double)fan);
    size_t count = (size_t)tensor_count(t);
    spry_random random = spry_random_stream(b->seed, stream_of(name));
    float *to = t->data;

    switch (draw) {
    case BUILDER_HE:
        spry_random_fill_normal(&random, to, count, 0.0f, (float)(sqrt(2.0) * per_input));
        break;
    case BUILDER_LECUN:
        spry_random_fill_uniform(&random, to, count, (float)-per_input, (float)per_input);
        break;
    case BUILDER_GLOROT:
        spry_random_fill_uniform(&random, to, count, (float)(-sqrt(6.0) * per_input),
                                 (float)(sqrt(6.0) * per_input));
        break;
    case BUILDER_TRUNCATED: fill_truncated(&random, to, count, 0.02f); break;
    case BUILDER_ZEROS: memset(to, 0, t->bytes); break;
    case BUILDER_ONES:
        for (size_t i = 0; i < count; i++) {
            to[i] = 1.0f;
        }
        break;
    }
}

/* A constant, drawn unless it is only counted. */
static int32_t add_tensor(builder *b, const char *name, int rank, const int64_t *shape,
                          builder_draw draw, int64_t fan)
{
    int32_t id = GRAPH_NONE;
    tensor *t = NULL;

    if (b->e.status == SPRY_OK) {
        t = arena_zeroed(b->e.g->memory, sizeof *t);
        b->e.status = t != NULL ? tensor_init(t, SPRY_DTYPE_F32, rank, shape, NULL, b->e.error)
                                : alloc_failed(b->e.error, sizeof *t);
    }
    if (b->e.status == SPRY_OK && !b->only_counts) {
        t->data = arena_bytes(b->e.g->memory, t->bytes);
        if (t->data != NULL) {
            fill_weight(b, name, t, draw, fan);
        } else {
            b->e.status = alloc_failed(b->e.error, t->bytes);
        }
    }
    if (b->e.status == SPRY_OK) {
        b->e.status = graph_add_constant(b->e.g, name, t, &id, b->e.error);
    }
    return id;
}

int32_t builder_weight(builder *b, const char *name, int rank, const int64_t *shape,
                       builder_draw draw, int64_t fan)
{
    int32_t id = add_tensor(b, name, rank, shape, draw, fan);

    if (id != GRAPH_NONE) {
        b->parameters += tensor_count(b->e.g->values[id].constant);
    }
    return id;
}

int32_t builder_state(builder *b, const char *name, int64_t count, builder_draw draw)
{
    return add_tensor(b, name, 1, &count, draw, 1);
}
