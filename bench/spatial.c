/* Times parts of models that take turns in one process, through the public API only.
 *
 *     spatial [--precision f32|bf16] [--threads N] [--rounds N] MODEL ...
 *
 * A node belongs to the part that its name starts with: 'block.Conv_7' to block. One without a name
 * belongs to the part of the node before it, but DequantizeLinear to that after it. Prints a line
 * of JSON per model: the least milliseconds of every node, summed by part, and of whole runs, over
 * all rounds, and the mean share of pixels that regions computed (1 without regions). The least,
 * because whatever disturbs a run makes it longer; turns, so that it falls on all models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "spry/spry.h"

enum { MOST_MODELS = 64, MOST_NODES = 2048, MOST_NUMBER = 1000000 };

static const char *const parts[] = {"stem.", "block.", "masker.", "head."};
enum { PARTS = sizeof parts / sizeof *parts };

typedef struct timed {
    const char *path;
    spry_model *model;
    spry_session *session;
    spry_value *input;
    const char *input_name;
    double whole;
    double nodes[MOST_NODES]; /* least milliseconds */
} timed;

static timed models[MOST_MODELS];

static bool complain(const char *path, const spry_error *error)
{
    (void)fprintf(stderr, "spatial: %s: %s: %s\n", path, error->where, error->what);
    return false;
}

/* A model of one f32 input of known shape, fed with the same numbers every time. */
static bool open_model(timed *t, const spry_session_options *options)
{
    spry_random random = spry_random_stream(1, 1);
    spry_error error = {0};
    spry_tensor *x = NULL;
    spry_port info;

    if (spry_model_load(NULL, t->path, &t->model, &error) != SPRY_OK ||
        spry_session_create(t->model, options, &t->session, &error) != SPRY_OK ||
        spry_model_input(t->model, 0, &info, &error) != SPRY_OK ||
        spry_tensor_create(NULL, SPRY_DTYPE_F32, info.rank, info.shape, &x, &error) != SPRY_OK) {
        return complain(t->path, &error);
    }
    t->input_name = info.name;
    spry_random_fill_uniform(&random, spry_tensor_data(x), spry_tensor_bytes(x) / sizeof(float),
                             -1.0f, 1.0f);
    return spry_value_from_tensor(NULL, x, &t->input, &error) == SPRY_OK ||
           complain(t->path, &error);
}

/* One run, of which the times of nodes are taken. */
static bool run_once(timed *t, bool counts)
{
    const spry_profile_row *rows;
    const spry_value *input = t->input;
    spry_value *output = NULL;
    spry_error error = {0};
    double start;
    double whole;
    int32_t count;

    spry_session_profile_reset(t->session);
    start = serve_clock_ms();
    if (spry_session_run(t->session, 1, &t->input_name, &input, 1, &output, &error) != SPRY_OK) {
        return complain(t->path, &error);
    }
    whole = serve_clock_ms() - start;
    spry_value_destroy(output);
    count = spry_session_profile(t->session, &rows);
    t->whole = counts && t->whole > 0.0 && t->whole < whole ? t->whole : whole;
    for (int32_t i = 0; i < count && i < MOST_NODES; i++) {
        double before = t->nodes[i];

        t->nodes[i] =
            counts && before > 0.0 && before < rows[i].milliseconds ? before : rows[i].milliseconds;
    }
    return true;
}

/* The part that a node's label, like "Conv 'block.Conv_7'", names; else `before`. */
static int part_of(const char *label, int before)
{
    const char *name = strchr(label, '\'');

    for (int i = 0; name != NULL && i < PARTS; i++) {
        if (strncmp(name + 1, parts[i], strlen(parts[i])) == 0) {
            return i;
        }
    }
    return before;
}

static void report(const timed *t)
{
    const spry_profile_row *rows;
    int32_t count = spry_session_profile(t->session, &rows);
    double sums[PARTS] = {0};
    double density = 0.0;
    int regions = 0;
    int part = 0;

    for (int32_t i = 0; i < count && i < MOST_NODES; i++) {
        bool is_of_next = i + 1 < count && strcmp(rows[i].type, "DequantizeLinear") == 0;

        part = part_of(rows[is_of_next ? i + 1 : i].node, part);
        sums[part] += t->nodes[i];
        if (rows[i].density >= 0.0) {
            density += rows[i].density;
            regions++;
        }
    }
    printf("{\"model\": \"%s\", \"ms\": %.4f, \"density\": %.4f, \"regions\": %d", t->path,
           t->whole, regions > 0 ? density / regions : 1.0, regions);
    for (int i = 0; i < PARTS; i++) {
        printf(", \"%.*s_ms\": %.4f", (int)strlen(parts[i]) - 1, parts[i], sums[i]);
    }
    printf("}\n");
}

static bool run_all(int count, long rounds)
{
    enum { WARM_UP = 2 };

    for (long round = 0; round < rounds + WARM_UP; round++) {
        for (int i = 0; i < count; i++) {
            if (!run_once(&models[i], round >= WARM_UP)) {
                return false;
            }
        }
    }
    for (int i = 0; i < count; i++) {
        report(&models[i]);
    }
    return true;
}

/* Reads the option `name` with its value; false when it is none. */
static bool read_option(const char *name, const char *text, spry_session_options *options,
                        long *rounds)
{
    long threads;

    if (strcmp(name, "--precision") == 0) {
        options->precision = strcmp(text, "bf16") == 0 ? SPRY_PRECISION_BF16 : SPRY_PRECISION_F32;
        return strcmp(text, "bf16") == 0 || strcmp(text, "f32") == 0;
    }
    if (strcmp(name, "--threads") == 0 && serve_parse_number(text, 1, MOST_NUMBER, &threads)) {
        options->threads = (int)threads;
        return true;
    }
    return strcmp(name, "--rounds") == 0 && serve_parse_number(text, 1, MOST_NUMBER, rounds);
}

int main(int argc, char **argv)
{
    spry_session_options options = spry_session_options_default();
    long rounds = 30;
    int count = 0;
    bool done = true;

    options.threads = 1;
    options.profile = true;
    for (int i = 1; i < argc && done; i++) {
        if (argv[i][0] == '-') {
            done = i + 1 < argc && read_option(argv[i], argv[i + 1], &options, &rounds);
            i++;
        } else {
            done = count < MOST_MODELS;
            models[done ? count++ : 0].path = argv[i];
        }
    }
    if (!done || count == 0) {
        (void)fprintf(stderr, "usage: spatial [--precision f32|bf16] [--threads N] [--rounds N] "
                              "MODEL ...\n");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < count && done; i++) {
        done = open_model(&models[i], &options);
    }
    done = done && run_all(count, rounds);
    for (int i = 0; i < count; i++) {
        spry_value_destroy(models[i].input);
        spry_session_destroy(models[i].session);
        spry_model_destroy(models[i].model);
    }
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
