/* Times a model in Spry on request, through the public API only.
 *
 *     spry_runner MODEL [--threads N] [--precision f32|bf16|int8] [-i NAME=DTYPE:DIMS:FILE ...]
 *
 * FILE holds the input's elements and nothing else; DIMS is like 1,3,224,224. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "spry/spry.h"

enum { THREADS_MAX = 1024, DIMENSION_MAX = 1 << 30, NAME_SIZE = 256, WORD_SIZE = 32 };

typedef struct runner {
    const char *path;
    spry_session_options options;
    spry_model *model;
    spry_session *session;
    int32_t input_count, output_count;
    char (*name)[NAME_SIZE];
    const char **name_pointer; /* name[i], as spry_session_run wants them */
    spry_value **input;
    spry_value **output;
    spry_error error;
} runner;

static const char *const precision_names[] = {"f32", "bf16", "int8"};

static bool complain(const char *what, const char *text)
{
    (void)fprintf(stderr, "spry_runner: %s '%s'\n", what, text);
    return false;
}

static bool complain_of_error(const spry_error *error)
{
    (void)fprintf(stderr, "spry_runner: %s: %s: %s. %s\n", spry_status_name(error->code),
                  error->where, error->what, error->remedy);
    return false;
}

/* Copies the text before `end` into a word; false when it is too long. Returns through `text` what
 * follows `end`. */
static bool take_until(const char **text, char end, char *word, size_t size)
{
    const char *found = strchr(*text, end);
    if (found == NULL || (size_t)(found - *text) >= size) {
        return false;
    }
    size_t length = (size_t)(found - *text);
    memcpy(word, *text, length);
    word[length] = '\0';
    *text = found + 1;
    return true;
}

/* Reads "1,3,224,224" (nothing for a scalar). */
static bool parse_dimensions(char *text, int64_t *shape, int *rank)
{
    *rank = 0;
    while (*text != '\0') {
        char *next = text + strcspn(text, ",");
        bool more = *next != '\0';
        *next = '\0';
        long size = 0;
        if (*rank == SPRY_TENSOR_MAX_RANK || !serve_parse_number(text, 0, DIMENSION_MAX, &size)) {
            return false;
        }
        shape[(*rank)++] = size;
        text = more ? next + 1 : next;
    }
    return true;
}

static bool fill_from_file(spry_tensor *tensor, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return complain("cannot open", path);
    }
    size_t bytes = spry_tensor_bytes(tensor);
    bool whole = fread(spry_tensor_data(tensor), 1, bytes, file) == bytes && fgetc(file) == EOF;
    (void)fclose(file);
    return whole || complain("not of the stated size:", path);
}

/* Adds the input that "NAME=DTYPE:DIMS:FILE" describes. */
static bool add_input(runner *self, const char *text)
{
    const char *rest = text;
    char type[WORD_SIZE];
    char dimensions[SPRY_TENSOR_MAX_RANK * WORD_SIZE];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank = 0;
    if (!take_until(&rest, '=', self->name[self->input_count], NAME_SIZE) ||
        !take_until(&rest, ':', type, sizeof type) ||
        !take_until(&rest, ':', dimensions, sizeof dimensions) ||
        !parse_dimensions(dimensions, shape, &rank)) {
        return complain("expected NAME=DTYPE:DIMS:FILE, got", text);
    }
    spry_tensor *tensor = NULL;
    spry_value *value = NULL;
    if (spry_tensor_create(NULL, spry_dtype_parse(type), rank, shape, &tensor, &self->error) !=
        SPRY_OK) {
        return complain_of_error(&self->error);
    }
    if (!fill_from_file(tensor, rest)) {
        spry_tensor_destroy(tensor);
        return false;
    }
    if (spry_value_from_tensor(NULL, tensor, &value, &self->error) != SPRY_OK) {
        return complain_of_error(&self->error);
    }
    self->input[self->input_count++] = value;
    return true;
}

static bool set_precision(runner *self, const char *name)
{
    for (size_t i = 0; i < sizeof precision_names / sizeof precision_names[0]; i++) {
        if (strcmp(precision_names[i], name) == 0) {
            self->options.precision = (spry_precision)i;
            return true;
        }
    }
    return complain("no precision is called", name);
}

static bool set_option(runner *self, const char *option, const char *value)
{
    if (strcmp(option, "-i") == 0) {
        return add_input(self, value);
    }
    if (strcmp(option, "--precision") == 0) {
        return set_precision(self, value);
    }
    long threads = 0;
    if (strcmp(option, "--threads") != 0 || !serve_parse_number(value, 1, THREADS_MAX, &threads)) {
        return complain("do not understand", option);
    }
    self->options.threads = (int)threads;
    return true;
}

static bool parse_arguments(runner *self, int argc, char **argv)
{
    if (argc < 2 || argc % 2 != 0) {
        return complain("usage:", "spry_runner MODEL [--threads N] [--precision P] "
                                  "[-i NAME=DTYPE:DIMS:FILE ...]");
    }
    self->path = argv[1];
    self->options = spry_session_options_default();
    self->options.threads = 1;
    size_t room = (size_t)argc / 2;
    self->name = calloc(room, sizeof *self->name);
    self->name_pointer = calloc(room, sizeof *self->name_pointer);
    self->input = calloc(room, sizeof *self->input);
    if (self->name == NULL || self->name_pointer == NULL || self->input == NULL) {
        return complain("no memory for", self->path);
    }
    for (size_t i = 0; i < room; i++) {
        self->name_pointer[i] = self->name[i];
    }
    for (int i = 2; i < argc; i += 2) {
        if (!set_option(self, argv[i], argv[i + 1])) {
            return false;
        }
    }
    return true;
}

static bool load(runner *self)
{
    if (spry_model_load(NULL, self->path, &self->model, &self->error) != SPRY_OK ||
        spry_session_create(self->model, &self->options, &self->session, &self->error) != SPRY_OK) {
        return complain_of_error(&self->error);
    }
    self->output_count = spry_model_output_count(self->model);
    self->output = calloc((size_t)self->output_count + 1, sizeof(spry_value *));
    return self->output != NULL || complain("no memory for", self->path);
}

static bool run(void *context, char *reason)
{
    runner *self = context;
    if (spry_session_run(self->session, self->input_count, self->name_pointer,
                         (const spry_value *const *)self->input, self->output_count, self->output,
                         &self->error) != SPRY_OK) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "%.100s: %.120s", self->error.where,
                       self->error.what);
        return false;
    }
    for (int32_t i = 0; i < self->output_count; i++) {
        spry_value_destroy(self->output[i]);
        self->output[i] = NULL;
    }
    return true;
}

/* Loads, runs once, says what that took, and answers requests. */
static bool serve(runner *self)
{
    double idle_rss = serve_peak_rss_mb();
    double start = serve_clock_ms();
    if (!load(self)) {
        return false;
    }
    double loaded = serve_clock_ms();
    char reason[SERVE_REASON_SIZE] = "";
    if (!run(self, reason)) {
        return complain_of_error(&self->error);
    }
    printf("ready {\"version\": \"spry %s\", \"threads\": %d, \"precision\": \"%s\", "
           "\"load_ms\": %.3f, \"load_and_first_run_ms\": %.3f, \"idle_rss_mb\": %.1f, "
           "\"peak_rss_mb\": %.1f}\n",
           SPRY_VERSION_TEXT, self->options.threads, precision_names[self->options.precision],
           loaded - start, serve_clock_ms() - start, idle_rss, serve_peak_rss_mb());
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = self, .run = run});
    return true;
}

static void release(runner *self)
{
    for (int32_t i = 0; i < self->input_count; i++) {
        spry_value_destroy(self->input[i]);
    }
    spry_session_destroy(self->session);
    spry_model_destroy(self->model);
    free(self->name);
    free(self->name_pointer);
    free(self->input);
    free(self->output);
}

int main(int argc, char **argv)
{
    runner self = {0};
    bool done = parse_arguments(&self, argc, argv) && serve(&self);
    release(&self);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
