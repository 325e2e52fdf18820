/* Records: from a job, from a model, to and from JSON. */
#include "adapt/record.h"

#include <string.h>

#include "adapt/census.h"
#include "adapt/method.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "model/weights.h"
#include "ops/skim.h"

enum { SCHEMA = 1, MOST_RANK = 4096, MOST_CLASSES = 1 << 20 };

static spry_status create(const spry_allocator *allocator, spry_adaptation **record,
                          spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    spry_adaptation *r = alloc_zeroed(&resolved, sizeof *r);

    *record = NULL;
    if (r == NULL) {
        return alloc_failed(error, sizeof *r);
    }
    r->allocator = resolved;
    arena_init(&r->memory, &resolved, SIZE_MAX);
    r->options = spry_adapt_options_default();
    *record = r;
    return SPRY_OK;
}

void spry_adaptation_destroy(spry_adaptation *facts)
{
    if (facts != NULL) {
        spry_allocator allocator = facts->allocator;

        arena_fini(&facts->memory);
        alloc_release(&allocator, facts, sizeof *facts);
    }
}

/* Copies a list of texts. */
static spry_status copy_texts(arena *memory, int32_t count, const char *const *from,
                              const char ***to, spry_error *error)
{
    const char **list = arena_array(memory, (size_t)count + 1, sizeof *list);

    for (int32_t i = 0; list != NULL && i < count; i++) {
        list[i] = arena_text(memory, from[i], strlen(from[i]));
        if (list[i] == NULL) {
            list = NULL;
        }
    }
    *to = list;
    return list != NULL ? SPRY_OK : alloc_failed(error, (size_t)count * sizeof *list);
}

static spry_status copy_site(arena *memory, const adapt_site *from, adapt_site *to,
                             spry_error *error)
{
    *to = *from;
    to->sum = arena_text(memory, from->sum, strlen(from->sum));
    to->a = arena_text(memory, from->a, strlen(from->a));
    to->b = arena_text(memory, from->b, strlen(from->b));
    return to->sum != NULL && to->a != NULL && to->b != NULL ? SPRY_OK
                                                             : alloc_failed(error, sizeof *to);
}

static spry_status copy_options(spry_adaptation *r, const spry_adapt_options *from,
                                spry_error *error)
{
    const char **targets;
    spry_status status = copy_texts(&r->memory, from->target_count, from->targets, &targets, error);

    r->options = *from;
    r->options.targets = targets;
    r->options.allocator = NULL;
    r->options.method = arena_text(&r->memory, from->method, strlen(from->method));
    if (from->granularity != NULL) {
        r->options.granularity =
            arena_text(&r->memory, from->granularity, strlen(from->granularity));
    }
    return status == SPRY_OK && (r->options.method == NULL ||
                                 (r->options.granularity == NULL) != (from->granularity == NULL))
               ? alloc_failed(error, 1)
               : status;
}

/* ---- from a job ---- */

static spry_status fill(spry_adaptation *r, const rewrite *job, spry_error *error)
{
    const graph *g = job->g;
    spry_status status = copy_options(r, &job->options, error);

    r->names = arena_array(&r->memory, (size_t)job->trainable_count + 1, sizeof *r->names);
    r->sites = arena_array(&r->memory, (size_t)job->site_count + 1, sizeof *r->sites);
    if (r->names == NULL || r->sites == NULL) {
        return alloc_failed(error, (size_t)job->trainable_count * sizeof *r->names);
    }
    for (int32_t i = 0; i < job->trainable_count; i++) {
        const graph_value *v = &g->values[job->trainable[i]];

        r->names[i] = arena_text(&r->memory, v->name, strlen(v->name));
        if (r->names[i] == NULL) {
            return alloc_failed(error, strlen(v->name));
        }
        r->trainable += tensor_count(v->constant);
    }
    r->name_count = job->trainable_count;
    for (int32_t i = 0; status == SPRY_OK && i < job->site_count; i++) {
        status = copy_site(&r->memory, &job->sites[i], &r->sites[i], error);
    }
    r->site_count = job->site_count;
    if (status == SPRY_OK) {
        status = copy_texts(&r->memory, job->label_count, job->labels, &r->labels, error);
    }
    r->label_count = job->label_count;
    if (status == SPRY_OK) {
        status = census_count(g, job->trainable, job->trainable_count, &r->total, error);
    }
    return status;
}

spry_status record_create(const rewrite *job, const char *base, spry_adaptation **record,
                          spry_error *error)
{
    spry_status status = create(job->options.allocator, record, error);

    if (status == SPRY_OK) {
        memcpy((*record)->base, base, SHA256_TEXT_SIZE);
        status = fill(*record, job, error);
    }
    if (status != SPRY_OK) {
        spry_adaptation_destroy(*record);
        *record = NULL;
    }
    return status;
}

/* ---- to JSON ---- */

static void write_texts(json_writer *w, const char *key, int32_t count, const char *const *list)
{
    json_write_array(w, key);
    for (int32_t i = 0; i < count; i++) {
        json_write_string(w, NULL, list[i]);
    }
    json_write_end(w);
}

void record_write(const spry_adaptation *r, bool whole, text *to)
{
    const spry_adapt_options *o = &r->options;
    json_writer w;

    json_writer_init(&w, to, 0);
    json_write_object(&w, NULL);
    json_write_i64(&w, "schema", SCHEMA);
    json_write_string(&w, "method", o->method);
    json_write_string(&w, "base", r->base);
    json_write_i64(&w, "rank", o->rank);
    json_write_f64(&w, "alpha", o->alpha);
    json_write_i64(&w, "prompts", o->prompts);
    json_write_bool(&w, "shallow", o->shallow);
    write_texts(&w, "targets", o->target_count, o->targets);
    json_write_i64(&w, "classes", o->classes);
    json_write_bool(&w, "zero_head", o->zero_head);
    json_write_i64(&w, "seed", (int64_t)o->seed);
    if (strcmp(o->method, adapt_method_lasnet.facts.name) == 0) {
        json_write_string(&w, "granularity", o->granularity != NULL ? o->granularity : "");
        json_write_f64(&w, "masker_bias", o->masker_bias);
    }
    if (strcmp(o->method, adapt_method_block_skim.facts.name) == 0) {
        json_write_i64(&w, "block", o->block);
    }
    if (whole) {
        json_write_i64(&w, "total", r->total);
        write_texts(&w, "trainable", r->name_count, r->names);
        write_texts(&w, "nodes", r->label_count, r->labels);
        json_write_array(&w, "products");
        for (int32_t i = 0; i < r->site_count; i++) {
            json_write_object(&w, NULL);
            json_write_string(&w, "sum", r->sites[i].sum);
            json_write_string(&w, "a", r->sites[i].a);
            json_write_string(&w, "b", r->sites[i].b);
            json_write_i64(&w, "first", r->sites[i].first);
            json_write_i64(&w, "count", r->sites[i].count);
            json_write_f64(&w, "scale", r->sites[i].scale);
            json_write_end(&w);
        }
        json_write_end(&w);
    }
    json_write_end(&w);
}

/* ---- from JSON ---- */

static spry_status read_text(arena *memory, const json_node *root, const char *key, const char **to,
                             spry_error *error)
{
    const char *found = NULL;
    spry_status status = json_get_string(root, key, &found, error);

    if (status == SPRY_OK) {
        *to = arena_text(memory, found, strlen(found));
        status = *to != NULL ? SPRY_OK : alloc_failed(error, strlen(found));
    }
    return status;
}

static spry_status read_texts(arena *memory, const json_node *root, const char *key,
                              const char ***list, int32_t *count, spry_error *error)
{
    json_node array;
    spry_status status = json_get_array(root, key, &array, error);
    size_t length = status == SPRY_OK ? json_length(&array) : 0;

    if (status == SPRY_OK && length > LIMIT_GRAPH_NODES) {
        status = json_refuse(&array, "has too many items", error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    *list = arena_array(memory, length + 1, sizeof **list);
    if (*list == NULL) {
        return alloc_failed(error, length * sizeof **list);
    }
    for (size_t i = 0; status == SPRY_OK && i < length; i++) {
        json_node item;
        const char *found = NULL;

        json_item(&array, i, &item);
        status = json_as_string(&item, &found, error);
        if (status == SPRY_OK) {
            (*list)[i] = arena_text(memory, found, strlen(found));
            status = (*list)[i] != NULL ? SPRY_OK : alloc_failed(error, strlen(found));
        }
    }
    *count = (int32_t)length;
    return status;
}

static spry_status read_options(spry_adaptation *r, const json_node *root, spry_error *error)
{
    spry_adapt_options *o = &r->options;
    const char **targets = NULL;
    int64_t number = 0;
    spry_status status = read_text(&r->memory, root, "method", &o->method, error);

    if (status == SPRY_OK) {
        status = json_get_i64(root, "rank", 1, MOST_RANK, &number, error);
        o->rank = (int32_t)number;
    }
    if (status == SPRY_OK) {
        status = json_get_f64(root, "alpha", 0.0, 1e30, &o->alpha, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(root, "prompts", 0, MOST_RANK, &number, error);
        o->prompts = (int32_t)number;
    }
    if (status == SPRY_OK) {
        status = json_get_bool(root, "shallow", &o->shallow, error);
    }
    if (status == SPRY_OK) {
        status = read_texts(&r->memory, root, "targets", &targets, &o->target_count, error);
        o->targets = targets;
    }
    if (status == SPRY_OK) {
        status = json_get_i64(root, "classes", 0, MOST_CLASSES, &o->classes, error);
    }
    if (status == SPRY_OK) {
        status = json_get_bool(root, "zero_head", &o->zero_head, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(root, "seed", INT64_MIN, INT64_MAX, &number, error);
        o->seed = (uint64_t)number;
    }
    if (status == SPRY_OK && strcmp(o->method, adapt_method_lasnet.facts.name) == 0) {
        status = read_text(&r->memory, root, "granularity", &o->granularity, error);
        if (status == SPRY_OK) {
            status = json_get_f64(root, "masker_bias", 0.0, 1000.0, &o->masker_bias, error);
        }
    }
    if (status == SPRY_OK && strcmp(o->method, adapt_method_block_skim.facts.name) == 0) {
        status = json_get_i64(root, "block", 4, SKIM_MOST_BLOCK, &number, error);
        o->block = (int32_t)number;
    }
    return status;
}

static spry_status read_site(arena *memory, const json_node *item, adapt_site *site,
                             spry_error *error)
{
    spry_status status = read_text(memory, item, "sum", &site->sum, error);

    if (status == SPRY_OK) {
        status = read_text(memory, item, "a", &site->a, error);
    }
    if (status == SPRY_OK) {
        status = read_text(memory, item, "b", &site->b, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(item, "first", 0, INT32_MAX, &site->first, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(item, "count", 1, INT32_MAX, &site->count, error);
    }
    return status == SPRY_OK ? json_get_f64(item, "scale", -1e30, 1e30, &site->scale, error)
                             : status;
}

static spry_status read_sites(spry_adaptation *r, const json_node *root, spry_error *error)
{
    json_node array;
    spry_status status = json_get_array(root, "products", &array, error);
    size_t length = status == SPRY_OK ? json_length(&array) : 0;

    if (status == SPRY_OK && length > LIMIT_GRAPH_NODES) {
        status = json_refuse(&array, "has too many items", error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    r->sites = arena_array(&r->memory, length + 1, sizeof *r->sites);
    if (r->sites == NULL) {
        return alloc_failed(error, length * sizeof *r->sites);
    }
    for (size_t i = 0; status == SPRY_OK && i < length; i++) {
        json_node item;

        json_item(&array, i, &item);
        status = read_site(&r->memory, &item, &r->sites[i], error);
    }
    r->site_count = (int32_t)length;
    return status;
}

static spry_status read_all(spry_adaptation *r, const json_node *root, bool whole,
                            spry_error *error)
{
    const char *base = NULL;
    int64_t schema;
    spry_status status = json_get_i64(root, "schema", SCHEMA, SCHEMA, &schema, error);

    if (status == SPRY_OK) {
        status = json_get_string(root, "base", &base, error);
    }
    if (status == SPRY_OK && strlen(base) != SHA256_TEXT_SIZE - 1) {
        status = json_refuse(root, "has a base that is no SHA-256", error);
    }
    if (status == SPRY_OK) {
        memcpy(r->base, base, SHA256_TEXT_SIZE);
        status = read_options(r, root, error);
    }
    if (status == SPRY_OK && adapt_method_find(r->options.method) == NULL) {
        status = json_refuse(root, "names a method that is not known", error);
    }
    if (status == SPRY_OK && whole) {
        status = json_get_i64(root, "total", 0, INT64_MAX, &r->total, error);
    }
    if (status == SPRY_OK && whole) {
        status = read_texts(&r->memory, root, "trainable", &r->names, &r->name_count, error);
    }
    if (status == SPRY_OK && whole) {
        status = read_texts(&r->memory, root, "nodes", &r->labels, &r->label_count, error);
    }
    return status == SPRY_OK && whole ? read_sites(r, root, error) : status;
}

spry_status record_read(const spry_allocator *allocator, const char *json, bool whole,
                        const char *where, spry_adaptation **record, spry_error *error)
{
    json_document *document = NULL;
    json_node root;
    spry_status status = json_open_bytes(json, strlen(json), where, &document, error);

    *record = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    json_root(document, &root);
    status = create(allocator, record, error);
    if (status == SPRY_OK) {
        status = read_all(*record, &root, whole, error);
    }
    json_close(document);
    if (status != SPRY_OK) {
        spry_adaptation_destroy(*record);
        *record = NULL;
    }
    return status;
}

/* ---- in a model ---- */

const char *record_text(const model *m)
{
    for (int32_t i = 0; i < m->metadata_count; i++) {
        if (strcmp(m->metadata[i].key, RECORD_KEY) == 0) {
            return m->metadata[i].text;
        }
    }
    return NULL;
}

/* The metadata without the record, with room for one more. */
static spry_status copy_metadata(model *m, spry_error *error)
{
    model_metadata *list = arena_array(&m->memory, (size_t)m->metadata_count + 1, sizeof *list);
    int32_t count = 0;

    if (list == NULL) {
        return alloc_failed(error, sizeof *list);
    }
    for (int32_t i = 0; i < m->metadata_count; i++) {
        if (strcmp(m->metadata[i].key, RECORD_KEY) != 0) {
            list[count++] = m->metadata[i];
        }
    }
    m->metadata = list;
    m->metadata_count = count;
    return SPRY_OK;
}

spry_status record_detach(model *m, spry_error *error)
{
    return copy_metadata(m, error);
}

spry_status record_attach(model *m, const spry_adaptation *record, spry_error *error)
{
    text json;
    const char *kept = NULL;
    spry_status status = copy_metadata(m, error);

    if (status != SPRY_OK) {
        return status;
    }
    text_init(&json, &m->allocator, LIMIT_JSON_BYTES);
    record_write(record, true, &json);
    status = text_status(&json, "the record of the adaptation", error);
    if (status == SPRY_OK) {
        kept = arena_text(&m->memory, json.data, json.length);
        status = kept != NULL ? SPRY_OK : alloc_failed(error, json.length);
    }
    text_fini(&json);
    if (status == SPRY_OK) {
        m->metadata[m->metadata_count++] = (model_metadata){RECORD_KEY, kept};
    }
    return status;
}

/* ---- asking ---- */

/* Names must be those of f32 initializers. */
static spry_status check_model(spry_adaptation *r, const model *m, spry_error *error)
{
    const graph *g = m->main;

    for (int32_t i = 0; i < r->name_count; i++) {
        int32_t id = graph_find_value(g, r->names[i]);
        const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

        if (t == NULL || t->dtype != SPRY_DTYPE_F32) {
            return spry_fail(error, SPRY_BAD_INPUT, m->path, "adapt the base model again",
                             "its metadata say that '%.200s' is trained, which is no f32 "
                             "initializer",
                             r->names[i]);
        }
        r->trainable += tensor_count(t);
    }
    return SPRY_OK;
}

spry_status spry_adaptation_of(const spry_model *m, spry_adaptation **facts, spry_error *error)
{
    const char *json = record_text(m);
    spry_status status;

    *facts = NULL;
    if (json == NULL) {
        return spry_fail(error, SPRY_USAGE, m->path, "make one with spry adapt",
                         "it is not an adapted model, or its adaptation was merged");
    }
    status = record_read(&m->allocator, json, true, m->path, facts, error);
    if (status == SPRY_OK) {
        status = model_weights_hold_all(m, error);
    }
    if (status == SPRY_OK) {
        status = check_model(*facts, m, error);
    }
    if (status != SPRY_OK) {
        spry_adaptation_destroy(*facts);
        *facts = NULL;
    }
    return status;
}

const char *spry_adaptation_method(const spry_adaptation *facts)
{
    return facts->options.method;
}

const spry_adapt_options *spry_adaptation_options(const spry_adaptation *facts)
{
    return &facts->options;
}

const char *spry_adaptation_base_hash(const spry_adaptation *facts)
{
    return facts->base;
}

int32_t spry_adaptation_trainable(const spry_adaptation *facts, const char *const **names)
{
    *names = facts->names;
    return facts->name_count;
}

int32_t spry_adaptation_nodes(const spry_adaptation *facts, const char *const **labels)
{
    *labels = facts->labels;
    return facts->label_count;
}

void spry_adaptation_counts(const spry_adaptation *facts, int64_t *trainable, int64_t *total)
{
    *trainable = facts->trainable;
    *total = facts->total;
}
