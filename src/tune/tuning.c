/* Plan files: written as a whole, and read as anything that a stranger may have written. */
#include "tune/tuning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "base/files.h"
#include "base/json.h"
#include "base/limits.h"
#include "kernels/isa.h"
#include "model/model.h"
#include "tune/fusion/fusion.h"

#define REMEDY "make the plan anew: spry tune MODEL -o PLAN --force"
#define VERSION_KEY "spry_plan"

static const char *const precisions[] = {"f32", "bf16", "int8"};

enum { PRECISIONS = sizeof precisions / sizeof *precisions, LONGEST_TEXT = 1 << 26 };

static const double most_ms = 1e12;

/* ---- the object ---- */

spry_status tuning_create(const spry_allocator *allocator, spry_tuning **tuning, spry_error *error)
{
    spry_allocator own = alloc_resolve(allocator);
    spry_tuning *t = alloc_zeroed(&own, sizeof *t);

    *tuning = t;
    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    t->allocator = own;
    t->path = t->model_path = t->totals.strategy = "";
    arena_init(&t->memory, &t->allocator, SIZE_MAX);
    return SPRY_OK;
}

void spry_tuning_destroy(spry_tuning *t)
{
    if (t != NULL) {
        spry_allocator own = t->allocator;

        arena_fini(&t->memory);
        alloc_release(&own, t, sizeof *t);
    }
}

spry_status tuning_reserve(spry_tuning *t, int32_t rows, spry_error *error)
{
    size_t room = (size_t)rows + 1;

    t->rows = arena_array(&t->memory, room, sizeof *t->rows);
    t->own = arena_array(&t->memory, room, sizeof *t->own);
    t->kept = arena_array(&t->memory, room, sizeof *t->kept);
    t->row_count = 0;
    return t->rows != NULL && t->own != NULL && t->kept != NULL
               ? SPRY_OK
               : alloc_failed(error, room * sizeof *t->rows);
}

void tuning_settle(spry_tuning *t)
{
    int64_t count = 0;

    for (int32_t i = 0; i < t->row_count; i++) {
        const spry_block *b = &t->own[i];
        bool is_plain = b->layer_count == 1 &&
                        (b->threads == 0 || b->threads == t->totals.threads) && b->strip == 0 &&
                        b->chunk == 0;

        t->rows[i].block = b;
        if (!is_plain) {
            t->kept[count++] = *b;
        }
    }
    t->blocks = (spry_blocks){t->kept, count};
}

void tuning_machine(char machine[TUNING_MACHINE_SIZE])
{
    (void)snprintf(machine, TUNING_MACHINE_SIZE, "%s, %s", cpu_brand(), isa_name(isa_current()));
}

const spry_blocks *spry_tuning_blocks(const spry_tuning *tuning)
{
    return &tuning->blocks;
}

const spry_tune_totals *spry_tuning_totals(const spry_tuning *tuning)
{
    return &tuning->totals;
}

int32_t spry_tuning_rows(const spry_tuning *tuning, const spry_tune_row **rows)
{
    *rows = tuning->rows;
    return tuning->row_count;
}

int32_t spry_tuning_trials(const spry_tuning *tuning, const spry_tune_trial **trials)
{
    *trials = tuning->trials;
    return tuning->trial_count;
}

/* ---- writing ---- */

static void write_row(json_writer *json, const spry_tune_row *r)
{
    json_write_object(json, NULL);
    json_write_array(json, "layers");
    for (int32_t k = 0; k < r->block->layer_count; k++) {
        json_write_string(json, NULL, r->block->layers[k]);
    }
    json_write_end(json);
    json_write_i64(json, "threads", r->block->threads);
    json_write_i64(json, "strip", r->block->strip);
    json_write_i64(json, "chunk", r->block->chunk);
    json_write_i64(json, "between_bytes", r->between);
    json_write_f64(json, "predicted_ms", r->predicted_ms);
    json_write_f64(json, "measured_ms", r->measured_ms);
    json_write_f64(json, "alone_ms", r->alone_ms);
    json_write_end(json);
}

static void write_tuning(json_writer *json, const spry_tuning *t)
{
    json_write_object(json, NULL);
    json_write_i64(json, VERSION_KEY, TUNING_VERSION);
    json_write_string(json, "model", t->model_path);
    json_write_string(json, "model_sha256", t->model_hash);
    json_write_string(json, "machine", t->machine);
    json_write_i64(json, "threads", t->totals.threads);
    json_write_string(json, "precision", precisions[t->totals.precision]);
    json_write_string(json, "strategy", t->totals.strategy);
    json_write_array(json, "inputs");
    for (int32_t i = 0; i < t->input_count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "name", t->inputs[i].name);
        json_write_array(json, "shape");
        for (int a = 0; a < t->inputs[i].rank; a++) {
            json_write_i64(json, NULL, t->inputs[i].shape[a]);
        }
        json_write_end(json);
        json_write_end(json);
    }
    json_write_end(json);
    json_write_f64(json, "predicted_ms", t->totals.predicted_ms);
    json_write_f64(json, "measured_ms", t->totals.measured_ms);
    json_write_f64(json, "unfused_ms", t->totals.unfused_ms);
    json_write_f64(json, "automatic_ms", t->totals.automatic_ms);
    json_write_array(json, "blocks");
    for (int32_t i = 0; i < t->row_count; i++) {
        write_row(json, &t->rows[i]);
    }
    json_write_end(json);
    json_write_end(json);
}

spry_status spry_tuning_save(const spry_tuning *tuning, const char *path, spry_error *error)
{
    text out;
    json_writer json;
    spry_status status;

    text_init(&out, NULL, LONGEST_TEXT);
    json_writer_init(&json, &out, 2);
    write_tuning(&json, tuning);
    status = text_status(&out, path, error);
    if (status == SPRY_OK) {
        status = file_replace(path, out.data, out.length, error);
    }
    text_fini(&out);
    return status;
}

/* ---- reading ---- */

static spry_status get_text(spry_tuning *t, const json_node *from, const char *key,
                            const char **value, spry_error *error)
{
    const char *found;
    spry_status status = json_get_string(from, key, &found, error);

    if (status == SPRY_OK) {
        *value = arena_text(&t->memory, found, strlen(found));
        status = *value != NULL ? SPRY_OK : alloc_failed(error, strlen(found) + 1);
    }
    return status;
}

/* A text into room of a fixed size. */
static spry_status get_fixed(const json_node *from, const char *key, char *value, size_t size,
                             spry_error *error)
{
    const char *found;
    json_node node;
    spry_status status = json_get_string(from, key, &found, error);

    if (status == SPRY_OK && strlen(found) >= size) {
        status = json_get(from, key, &node, error);
        return status == SPRY_OK ? json_refuse(&node, "is too long", error) : status;
    }
    if (status == SPRY_OK) {
        (void)snprintf(value, size, "%s", found);
    }
    return status;
}

static spry_status read_layers(spry_tuning *t, const json_node *from, spry_block *b,
                               spry_error *error)
{
    json_node layers;
    const char **names;
    size_t count;
    spry_status status = json_get_array(from, "layers", &layers, error);

    if (status != SPRY_OK) {
        return status;
    }
    count = json_length(&layers);
    if (count < 1 || count > SPRY_BLOCK_MOST_LAYERS) {
        return json_refuse(&layers, "must have 1 to 16 names", error);
    }
    names = arena_array(&t->memory, count, sizeof *names);
    if (names == NULL) {
        return alloc_failed(error, count * sizeof *names);
    }
    for (size_t i = 0; i < count && status == SPRY_OK; i++) {
        json_node item;
        const char *name;

        json_item(&layers, i, &item);
        status = json_as_string(&item, &name, error);
        if (status == SPRY_OK) {
            names[i] = arena_text(&t->memory, name, strlen(name));
            status = names[i] != NULL ? SPRY_OK : alloc_failed(error, strlen(name) + 1);
        }
    }
    b->layers = names;
    b->layer_count = (int32_t)count;
    return status;
}

static spry_status read_row(spry_tuning *t, const json_node *from, spry_error *error)
{
    static const char *const keys[] = {"layers",        "threads",      "strip",       "chunk",
                                       "between_bytes", "predicted_ms", "measured_ms", "alone_ms"};
    spry_block *b = &t->own[t->row_count];
    spry_tune_row *r = &t->rows[t->row_count];
    const struct {
        const char *key;
        int64_t most;
        int32_t *value;
    } counts[] = {{"threads", t->totals.threads, &b->threads},
                  {"strip", INT32_MAX, &b->strip},
                  {"chunk", INT32_MAX, &b->chunk}};
    const struct {
        const char *key;
        double *value;
    } times[] = {{"predicted_ms", &r->predicted_ms},
                 {"measured_ms", &r->measured_ms},
                 {"alone_ms", &r->alone_ms}};
    spry_status status = json_as_object(from, error);

    if (status == SPRY_OK) {
        status = json_check_keys(from, keys, sizeof keys / sizeof *keys, error);
    }
    if (status == SPRY_OK) {
        status = read_layers(t, from, b, error);
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts && status == SPRY_OK; i++) {
        int64_t value = 0;

        status = json_get_i64(from, counts[i].key, 0, counts[i].most, &value, error);
        *counts[i].value = (int32_t)value;
    }
    if (status == SPRY_OK) {
        status = json_get_i64(from, "between_bytes", 0, INT64_MAX, &r->between, error);
    }
    for (size_t i = 0; i < sizeof times / sizeof *times && status == SPRY_OK; i++) {
        status = json_get_f64(from, times[i].key, 0, most_ms, times[i].value, error);
    }
    t->row_count++;
    return status;
}

static spry_status read_rows(spry_tuning *t, const json_node *root, spry_error *error)
{
    json_node rows;
    spry_status status = json_get_array(root, "blocks", &rows, error);
    size_t count = status == SPRY_OK ? json_length(&rows) : 0;

    if (count > FUSION_LAYERS_MOST) {
        return json_refuse(&rows, "has more blocks than a model has layers", error);
    }
    if (status == SPRY_OK) {
        status = tuning_reserve(t, (int32_t)count, error);
    }
    for (size_t i = 0; i < count && status == SPRY_OK; i++) {
        json_node item;

        json_item(&rows, i, &item);
        status = read_row(t, &item, error);
    }
    return status;
}

static spry_status read_input(spry_tuning *t, const json_node *from, spry_error *error)
{
    tuning_input *in = &t->inputs[t->input_count++];
    json_node shape;
    spry_status status = get_text(t, from, "name", &in->name, error);

    if (status == SPRY_OK) {
        status = json_get_array(from, "shape", &shape, error);
    }
    if (status == SPRY_OK && json_length(&shape) > TUNING_RANK_MOST) {
        return json_refuse(&shape, "has too many dimensions", error);
    }
    for (size_t a = 0; status == SPRY_OK && a < json_length(&shape); a++) {
        json_node item;

        json_item(&shape, a, &item);
        status = json_as_i64(&item, 0, INT32_MAX, &in->shape[a], error);
        in->rank = (int)a + 1;
    }
    return status;
}

static spry_status read_inputs(spry_tuning *t, const json_node *root, spry_error *error)
{
    json_node inputs;
    spry_status status = json_get_array(root, "inputs", &inputs, error);
    size_t count = status == SPRY_OK ? json_length(&inputs) : 0;

    if (count > FUSION_LAYERS_MOST) {
        return json_refuse(&inputs, "has too many entries", error);
    }
    t->inputs = arena_array(&t->memory, count + 1, sizeof *t->inputs);
    if (t->inputs == NULL) {
        return alloc_failed(error, count * sizeof *t->inputs);
    }
    for (size_t i = 0; i < count && status == SPRY_OK; i++) {
        json_node item;

        json_item(&inputs, i, &item);
        status = read_input(t, &item, error);
    }
    return status;
}

static spry_status read_precision(spry_tuning *t, const json_node *root, spry_error *error)
{
    const char *word;
    json_node node;
    spry_status status = json_get_string(root, "precision", &word, error);

    for (int i = 0; status == SPRY_OK && i < PRECISIONS; i++) {
        if (strcmp(word, precisions[i]) == 0) {
            t->totals.precision = (spry_precision)i;
            return SPRY_OK;
        }
    }
    if (status == SPRY_OK) {
        status = json_get(root, "precision", &node, error);
    }
    return status == SPRY_OK ? json_refuse(&node, "must be f32, bf16 or int8", error) : status;
}

/* A newer file may hold anything, so its version is looked at first. */
static spry_status read_version(const spry_tuning *t, const json_node *root, spry_error *error)
{
    int64_t version = 0;
    spry_status status = json_as_object(root, error);

    if (status == SPRY_OK) {
        status = json_get_i64(root, VERSION_KEY, 1, INT64_MAX, &version, error);
    }
    if (status == SPRY_OK && version > TUNING_VERSION) {
        return spry_fail(error, SPRY_BAD_INPUT, t->path, REMEDY,
                         "is a plan of version %lld, made by a newer Spry; this one reads %d",
                         (long long)version, (int)TUNING_VERSION);
    }
    return status;
}

static spry_status read_tuning(spry_tuning *t, const json_document *document, spry_error *error)
{
    static const char *const keys[] = {
        VERSION_KEY,  "model",        "model_sha256", "machine",      "threads",
        "precision",  "strategy",     "inputs",       "predicted_ms", "measured_ms",
        "unfused_ms", "automatic_ms", "blocks"};
    const struct {
        const char *key;
        double *value;
    } times[] = {{"predicted_ms", &t->totals.predicted_ms},
                 {"measured_ms", &t->totals.measured_ms},
                 {"unfused_ms", &t->totals.unfused_ms},
                 {"automatic_ms", &t->totals.automatic_ms}};
    int64_t threads = 0;
    json_node root;
    spry_status status;

    json_root(document, &root);
    status = read_version(t, &root, error);
    if (status == SPRY_OK) {
        status = json_check_keys(&root, keys, sizeof keys / sizeof *keys, error);
    }
    if (status == SPRY_OK) {
        status = get_text(t, &root, "model", &t->model_path, error);
    }
    if (status == SPRY_OK) {
        status = get_fixed(&root, "model_sha256", t->model_hash, sizeof t->model_hash, error);
    }
    if (status == SPRY_OK) {
        status = get_fixed(&root, "machine", t->machine, sizeof t->machine, error);
    }
    if (status == SPRY_OK) {
        status = get_text(t, &root, "strategy", &t->totals.strategy, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(&root, "threads", 1, FUSION_TEAM_MOST, &threads, error);
        t->totals.threads = (int32_t)threads;
    }
    if (status == SPRY_OK) {
        status = read_precision(t, &root, error);
    }
    for (size_t i = 0; i < sizeof times / sizeof *times && status == SPRY_OK; i++) {
        status = json_get_f64(&root, times[i].key, 0, most_ms, times[i].value, error);
    }
    if (status == SPRY_OK) {
        status = read_inputs(t, &root, error);
    }
    return status == SPRY_OK ? read_rows(t, &root, error) : status;
}

/* Closes the document, and adds the remedy where the reader of JSON knows none. */
static spry_status finish(spry_tuning **tuning, json_document *document, spry_status status,
                          spry_error *error)
{
    json_close(document);
    if (status == SPRY_OK) {
        tuning_settle(*tuning);
        return SPRY_OK;
    }
    if (status == SPRY_BAD_INPUT && error != NULL && error->remedy[0] == '\0') {
        (void)snprintf(error->remedy, sizeof error->remedy, "%s", REMEDY);
    }
    spry_tuning_destroy(*tuning);
    *tuning = NULL;
    return status;
}

static spry_status begin(const spry_allocator *allocator, const char *name, spry_tuning **tuning,
                         spry_error *error)
{
    spry_status status = tuning_create(allocator, tuning, error);

    if (status == SPRY_OK) {
        (*tuning)->path = arena_text(&(*tuning)->memory, name, strlen(name));
        if ((*tuning)->path == NULL) {
            status = alloc_failed(error, strlen(name) + 1);
            (*tuning)->path = "";
        }
    }
    return status;
}

spry_status spry_tuning_load(const spry_allocator *allocator, const char *path,
                             spry_tuning **tuning, spry_error *error)
{
    json_document *document = NULL;
    spry_status status = begin(allocator, path, tuning, error);

    if (status == SPRY_OK) {
        status = json_open_file(path, &document, error);
    }
    if (status == SPRY_OK) {
        status = read_tuning(*tuning, document, error);
    }
    return finish(tuning, document, status, error);
}

spry_status spry_tuning_parse(const spry_allocator *allocator, const char *bytes, size_t size,
                              const char *name, spry_tuning **tuning, spry_error *error)
{
    json_document *document = NULL;
    spry_status status = begin(allocator, name, tuning, error);

    if (status == SPRY_OK) {
        status = json_open_bytes(bytes, size, name, &document, error);
    }
    if (status == SPRY_OK) {
        status = read_tuning(*tuning, document, error);
    }
    return finish(tuning, document, status, error);
}

/* ---- does it fit? ---- */

static bool has_layer(const spry_layer *layers, int32_t count, const char *name)
{
    for (int32_t i = 0; i < count; i++) {
        if (strcmp(layers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static spry_status check_names(const spry_tuning *t, const spry_layer *layers, int32_t count,
                               spry_error *error)
{
    for (int32_t i = 0; i < t->row_count; i++) {
        for (int32_t k = 0; k < t->own[i].layer_count; k++) {
            const char *name = t->own[i].layers[k];

            if (!has_layer(layers, count, name)) {
                char where[SPRY_ERROR_WHERE_SIZE];

                (void)snprintf(where, sizeof where, "%s: blocks[%d].layers[%d]", t->path, i, k);
                return spry_fail(error, SPRY_BAD_INPUT, where, REMEDY,
                                 "the model has no layer '%.200s'", name);
            }
        }
    }
    return SPRY_OK;
}

spry_status spry_tuning_check(const spry_tuning *t, const spry_model *m, spry_error *error)
{
    char machine[TUNING_MACHINE_SIZE];
    char hash[SHA256_TEXT_SIZE];
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    const spry_layer *layers;
    int32_t count;
    spry_status status = sha256_file(m->path, hash, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (strcmp(hash, t->model_hash) != 0) {
        return spry_fail(error, SPRY_BAD_INPUT, t->path, REMEDY,
                         "was made for other content of the model '%.200s'", t->model_path);
    }
    tuning_machine(machine);
    if (strcmp(machine, t->machine) != 0) {
        return spry_fail(error, SPRY_BAD_INPUT, t->path, REMEDY,
                         "was made on another machine: %s; this one is %s", t->machine, machine);
    }
    options.threads = 1;
    options.precision = t->totals.precision;
    status = spry_session_create(m, &options, &session, error);
    if (status == SPRY_OK) {
        status = spry_session_layers(session, &layers, &count, error);
    }
    if (status == SPRY_OK) {
        status = check_names(t, layers, count, error);
    }
    spry_session_destroy(session);
    return status;
}
