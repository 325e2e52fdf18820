/* Plan caches: a map to take from, a list of what was made. */
#include "runtime/cache/plan_cache.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash64.h"
#include "base/limits.h"
#include "model/weights.h"
#include "runtime/cache/plan_file.h"
#include "runtime/cache/plan_key.h"

enum { PORTS = 32 /* that provider_step.spent speaks of */ };

struct plan_cache {
    spry_allocator allocator;
    threads *team;
    char path[PATH_MAX];
    plan_key key;
    file_map map;   /* holds what was taken, as long as the plan lives */
    plan_file file; /* in the map; no records: nothing can be taken */
    int64_t next;   /* record */
    /* What the plan is made of. */
    plan_record *records;
    const void **blobs;
    size_t record_room, blob_room;
    int64_t count, first; /* of the step */
    bool is_new;          /* something was made */
    bool is_lost;         /* memory ran out: nothing is written */
    /* The step. */
    const graph *g;
    const graph_node *node;
    int32_t step;
    unsigned unheld; /* bit i: the constant at input i is not held */
    char report[PATH_MAX + 256];
};

/* ---- opening ---- */

static void say(plan_cache *c, const char *what, const char *why)
{
    (void)snprintf(c->report, sizeof c->report, "%s%s%s", what, *why != '\0' ? ": " : "", why);
}

static void forget_file(plan_cache *c)
{
    file_map_close(&c->map);
    c->file = (plan_file){0};
}

static void read_file(plan_cache *c)
{
    const char *wrong;

    if (!file_exists(c->path)) {
        return;
    }
    if (file_map_open(c->path, LIMIT_MODEL_BYTES, &c->map, NULL) != SPRY_OK) {
        say(c, "not read", "the file cannot be mapped");
        return;
    }
    wrong = plan_file_read(c->map.data, c->map.size, c->key.content, &c->file);
    if (wrong == NULL && !plan_file_is_whole(&c->file, c->team)) {
        wrong = "it is damaged";
    }
    if (wrong != NULL) {
        say(c, "ignored what was there", wrong);
        forget_file(c);
    }
}

plan_cache *plan_cache_open(const graph *g, const spry_session_options *options, threads *team)
{
    const char *folder = options->plan_cache;
    spry_allocator allocator = alloc_resolve(options->allocator);
    plan_cache *c = folder != NULL ? alloc_zeroed(&allocator, sizeof *c) : NULL;

    if (c == NULL) {
        return NULL;
    }
    c->allocator = allocator;
    c->team = team;
    c->map.data = (const uint8_t *)"";
    c->key = plan_key_of(g, options, team);
    if (c->key.content == 0) {
        c->is_lost = true;
        say(c, "off", "the model was not read from a file, or this build has no identifier");
    } else if (snprintf(c->path, sizeof c->path, "%s/%016" PRIx64 ".spryplan", folder,
                        c->key.place) >= (int)sizeof c->path) {
        c->is_lost = true;
        say(c, "off", "the path is too long");
    } else {
        read_file(c);
    }
    return c;
}

void plan_cache_close(plan_cache *c)
{
    spry_allocator allocator;

    if (c == NULL) {
        return;
    }
    allocator = c->allocator;
    file_map_close(&c->map);
    alloc_release(&allocator, c->records, c->record_room * sizeof *c->records);
    alloc_release(&allocator, c->blobs, c->blob_room * sizeof *c->blobs);
    alloc_release(&allocator, c, sizeof *c);
}

/* ---- constants that steps read ---- */

static const tensor *constant_at(const graph *g, const graph_node *node, int32_t port)
{
    int32_t id = node->inputs[port];

    return id != GRAPH_NONE ? g->values[id].constant : NULL;
}

/* Holds the constants at ports whose bit is set. */
static spry_status hold(const graph *g, const graph_node *node, unsigned ports, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < node->input_count && i < PORTS && status == SPRY_OK; i++) {
        if ((ports >> i & 1U) != 0 && constant_at(g, node, i) != NULL) {
            status = model_weights_hold(g->source, constant_at(g, node, i), error);
        }
    }
    return status;
}

/* Holds all constants but those at ports whose bit is set. */
static spry_status hold_others(const graph *g, const graph_node *node, unsigned ports,
                               spry_error *error)
{
    spry_status status = hold(g, node, ~ports, error);

    for (int32_t i = PORTS; i < node->input_count && status == SPRY_OK; i++) {
        if (constant_at(g, node, i) != NULL) {
            status = model_weights_hold(g->source, constant_at(g, node, i), error);
        }
    }
    return status;
}

static void drop(const graph *g, const graph_node *node, unsigned ports)
{
    for (int32_t i = 0; i < node->input_count && i < PORTS; i++) {
        /* Weights that vary are no constants, and packed all the same. */
        if ((ports >> i & 1U) != 0 && constant_at(g, node, i) != NULL) {
            model_weights_drop(g->source, constant_at(g, node, i));
        }
    }
}

/* The record that comes next is one of this step. */
static bool has_next(const plan_cache *c)
{
    return c->next < c->file.count && plan_file_record(&c->file, c->next).step == c->step;
}

spry_status plan_cache_begin(plan_cache *c, const graph *g, const graph_node *node, int32_t step,
                             spry_error *error)
{
    if (c == NULL) {
        return hold_others(g, node, 0, error);
    }
    c->g = g;
    c->node = node;
    c->step = step;
    c->first = c->count;
    while (c->next < c->file.count && plan_file_record(&c->file, c->next).step < step) {
        c->next++; /* not taken: the plan has changed */
        c->is_new = true;
    }
    c->unheld = has_next(c) ? plan_file_record(&c->file, c->next).spent : 0;
    return hold_others(g, node, c->unheld, error);
}

/* Holds those of the ports that are not. */
static spry_status hold_late(plan_cache *c, unsigned ports, spry_error *error)
{
    spry_status status = hold(c->g, c->node, c->unheld & ports, error);

    c->unheld &= ~ports;
    return status;
}

spry_status plan_cache_end(plan_cache *c, const graph *g, const graph_node *node, unsigned spent,
                           spry_error *error)
{
    spry_status status = SPRY_OK;

    if (c == NULL) {
        drop(g, node, spent);
        return SPRY_OK;
    }
    drop(g, node, spent & ~c->unheld);
    status = hold_late(c, ~spent, error);
    for (int64_t i = c->first; i < c->count; i++) {
        c->records[i].spent = spent;
    }
    return status;
}

/* ---- blobs ---- */

static bool grow(plan_cache *c)
{
    size_t needed = (size_t)c->count + 1;
    void *records = c->records;
    void *blobs = (void *)c->blobs;
    bool grown = alloc_grow(&c->allocator, &records, &c->record_room, needed, sizeof *c->records,
                            SIZE_MAX, NULL) == SPRY_OK &&
                 alloc_grow(&c->allocator, &blobs, &c->blob_room, needed, sizeof *c->blobs,
                            SIZE_MAX, NULL) == SPRY_OK;

    c->records = records;
    c->blobs = blobs;
    return grown;
}

static void add(plan_cache *c, const char *kind, const void *data, size_t bytes)
{
    if (c->is_lost || !grow(c)) {
        c->is_lost = true;
        return;
    }
    c->records[c->count] =
        (plan_record){.bytes = bytes, .kind = hash64(kind, strlen(kind), 0), .step = c->step};
    c->blobs[c->count++] = data;
}

spry_status plan_cache_take(plan_cache *c, const char *kind, size_t bytes, const void **data,
                            bool *refused, spry_error *error)
{
    *data = NULL;
    *refused = false;
    if (has_next(c)) {
        plan_record r = plan_file_record(&c->file, c->next);

        if (r.kind == hash64(kind, strlen(kind), 0) && (r.bytes == bytes || r.refused != 0)) {
            c->next++;
            *refused = r.refused != 0;
            *data = r.refused != 0 ? NULL : c->file.data + r.offset;
            add(c, kind, *data, (size_t)r.bytes);
            if (r.refused != 0) {
                plan_cache_refuse(c);
            }
            return SPRY_OK;
        }
    }
    return hold_late(c, ~0U, error);
}

void plan_cache_give(plan_cache *c, const char *kind, const void *data, size_t bytes)
{
    c->is_new = true;
    add(c, kind, data, bytes);
}

void plan_cache_refuse(plan_cache *c)
{
    if (!c->is_lost) {
        c->records[c->count - 1].bytes = 0;
        c->records[c->count - 1].refused = 1;
        c->blobs[c->count - 1] = "";
    }
}

/* ---- writing ---- */

void plan_cache_finish(plan_cache *c)
{
    spry_error error = {0};
    file_writer *writer = NULL;
    spry_status status;

    if (c == NULL || c->is_lost) {
        return;
    }
    if (!c->is_new && c->next == c->file.count) {
        if (c->count > 0) {
            say(c, "read", c->path);
        }
        return;
    }
    status = file_writer_open(&c->allocator, c->path, &writer, &error);
    if (status == SPRY_OK) {
        status = plan_file_write(writer, c->key.content, c->records, c->blobs, c->count, c->team,
                                 &error);
    }
    if (status == SPRY_OK) {
        status = file_writer_commit_soon(writer, &error);
    }
    file_writer_close(writer);
    if (status != SPRY_OK) {
        say(c, "not written", error.what);
    } else if (c->report[0] == '\0') {
        say(c, "written", c->path);
    } else {
        size_t length = strlen(c->report);

        (void)snprintf(c->report + length, sizeof c->report - length, "; written anew");
    }
}

const char *plan_cache_report(const plan_cache *c)
{
    return c == NULL ? "off" : c->report[0] != '\0' ? c->report : "nothing to keep";
}
