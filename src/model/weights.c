/* A list of places, and how many hold each. */
#include "model/weights.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pages.h"

typedef struct place {
    void *data;
    const void *raw;
    size_t bytes;
    int64_t holders;
    bool needed; /* by more than packing */
} place;

struct model_weights {
    pthread_mutex_t lock; /* of all that changes after settling: `holders` and what is filled */
    place *places;
    size_t count;
    size_t room;
};

static place *find(const model_weights *w, const tensor *t)
{
    for (size_t i = 0; t->bytes >= MODEL_WEIGHTS_LEAST && i < w->count; i++) {
        if (w->places[i].data == t->data) {
            return &w->places[i];
        }
    }
    return NULL;
}

static spry_status create(model *m, spry_error *error)
{
    model_weights *w = alloc_zeroed(&m->allocator, sizeof *w);

    if (w == NULL || pthread_mutex_init(&w->lock, NULL) != 0) {
        alloc_release(&m->allocator, w, sizeof *w);
        return alloc_failed(error, sizeof *w);
    }
    m->weights = w;
    return SPRY_OK;
}

spry_status model_weights_add(model *m, tensor *t, const void *raw, spry_error *error)
{
    spry_status status = m->weights == NULL ? create(m, error) : SPRY_OK;
    model_weights *w = m->weights;
    void *places;
    void *data;

    if (status != SPRY_OK) {
        return status;
    }
    places = w->places;
    status = alloc_grow(&m->allocator, &places, &w->room, w->count + 1, sizeof *w->places, SIZE_MAX,
                        error);
    if (status != SPRY_OK) {
        return status;
    }
    w->places = places;
    data = pages_reserve(t->bytes);
    if (data == NULL) {
        return alloc_failed(error, t->bytes);
    }
    w->places[w->count++] = (place){.data = data, .raw = raw, .bytes = t->bytes};
    t->data = data;
    return SPRY_OK;
}

void model_weights_destroy(model *m)
{
    model_weights *w = m->weights;

    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        pages_release(w->places[i].data, w->places[i].bytes);
    }
    alloc_release(&m->allocator, w->places, w->room * sizeof *w->places);
    (void)pthread_mutex_destroy(&w->lock);
    alloc_release(&m->allocator, w, sizeof *w);
    m->weights = NULL;
}

static spry_status hold(place *p, spry_error *error)
{
    if (p->holders == 0) {
        if (!pages_fill(p->data, p->bytes)) {
            return alloc_failed(error, p->bytes);
        }
        memcpy(p->data, p->raw, p->bytes);
    }
    p->holders++;
    return SPRY_OK;
}

spry_status model_weights_hold(const model *m, const tensor *t, spry_error *error)
{
    model_weights *w = m != NULL ? m->weights : NULL;
    place *p = w != NULL ? find(w, t) : NULL;
    spry_status status;

    if (p == NULL) {
        return SPRY_OK;
    }
    (void)pthread_mutex_lock(&w->lock);
    status = hold(p, error);
    (void)pthread_mutex_unlock(&w->lock);
    return status;
}

void model_weights_drop(const model *m, const tensor *t)
{
    model_weights *w = m != NULL ? m->weights : NULL;
    place *p = w != NULL ? find(w, t) : NULL;

    if (p == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&w->lock);
    p->holders--;
    if (p->holders == 0) {
        pages_empty(p->data, p->bytes);
    }
    (void)pthread_mutex_unlock(&w->lock);
}

spry_status model_weights_hold_all(const model *m, spry_error *error)
{
    model_weights *w = m->weights;
    spry_status status = SPRY_OK;

    if (w == NULL) {
        return SPRY_OK;
    }
    (void)pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->count && status == SPRY_OK; i++) {
        if (!w->places[i].needed) {
            status = hold(&w->places[i], error);
            w->places[i].needed = status == SPRY_OK;
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    return status;
}

/* ---- who needs what ---- */

/* Operators that take their weights, packed, at the second port. */
static bool packs(const graph_node *n, int32_t port)
{
    return port == 1 && n->domain[0] == '\0' &&
           (strcmp(n->type, "Conv") == 0 || strcmp(n->type, "Gemm") == 0 ||
            strcmp(n->type, "MatMul") == 0);
}

static bool has_subgraphs(const graph *g)
{
    for (int32_t n = 0; n < g->node_count; n++) {
        for (int32_t a = 0; a < g->nodes[n].attribute_count; a++) {
            graph_attribute_kind kind = g->nodes[n].attributes[a].kind;

            if (kind == GRAPH_ATTRIBUTE_GRAPH || kind == GRAPH_ATTRIBUTE_GRAPHS) {
                return true;
            }
        }
    }
    return false;
}

/* Marks the places of initializers by whether something other than packing reads them. */
static void mark(const graph *g, model_weights *w)
{
    for (size_t i = 0; i < w->count; i++) {
        w->places[i].needed = true; /* of an attribute or function, unless found below */
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        const graph_value *v = &g->values[i];
        place *p = v->constant != NULL ? find(w, v->constant) : NULL;

        if (p != NULL) {
            p->needed = v->is_output || v->is_input;
        }
    }
    for (int32_t n = 0; n < g->node_count; n++) {
        const graph_node *node = &g->nodes[n];

        for (int32_t i = 0; i < node->input_count; i++) {
            const tensor *t =
                node->inputs[i] != GRAPH_NONE ? g->values[node->inputs[i]].constant : NULL;
            place *p = t != NULL ? find(w, t) : NULL;

            if (p != NULL && !packs(node, i)) {
                p->needed = true;
            }
        }
    }
}

spry_status model_weights_settle(model *m, spry_error *error)
{
    model_weights *w = m->weights;
    spry_status status = SPRY_OK;

    if (w == NULL) {
        return SPRY_OK;
    }
    if (m->main == NULL || has_subgraphs(m->main)) {
        return model_weights_hold_all(m, error);
    }
    mark(m->main, w);
    for (size_t i = 0; i < w->count && status == SPRY_OK; i++) {
        if (w->places[i].needed) {
            status = hold(&w->places[i], error);
        }
    }
    return status;
}
