/* Times a model whose layers run in blocks (spry/blocks.h) against the same model layer by layer,
 * by turns in one process, and compares the results bit by bit. Through the public API only.
 *
 *     fused_blocks [--precision f32|bf16] [--threads N] [--rounds N] [--layers N] [--least KIB]
 *                  [--strip N] [--each 1] [--widen 1] MODEL
 *
 * Blocks are made greedily in order of the layers: as many as fit (--layers at most), of which each
 * reads the one before it and alone reads it, the image in between being --least large or more. A
 * sum may also read what the block reads. With --widen, blocks start with layers that make a larger
 * image than they read. With --each, blocks that have not gained in a first pass
 * are left out in a second one. Prints lines of JSON: a line per block, then one for the model.
 * Times are the least of all rounds, because whatever disturbs a run makes it longer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "spry/spry.h"

enum { MOST_BLOCKS = 128, MOST_LAYERS = 1024, MOST_NUMBER = 1 << 30 };

typedef struct choices {
    const char *path;
    spry_session_options options;
    long rounds, layers, least, strip, each, widen;
} choices;

/* A session and the least times of its layers, or blocks, in order. */
typedef struct side {
    spry_session *session;
    double nodes[MOST_LAYERS]; /* of all of them */
    double rows[MOST_LAYERS];
    int32_t count;
    spry_value *output;
} side;

typedef struct chain {
    int32_t first, last;
    const char *names[SPRY_BLOCK_MOST_LAYERS];
    double ratio;
} chain;

typedef struct trial {
    const choices *c;
    spry_model *model;
    spry_value *input;
    const char *input_name;
    const spry_layer *layers;
    int32_t layer_count;
    chain chains[MOST_BLOCKS];
    int chain_count;
    side plain, joined;
} trial;

static bool complain(const spry_error *error)
{
    (void)fprintf(stderr, "fused_blocks: %s: %s\n", error->where, error->what);
    return false;
}

/* Unknown sizes are taken as 1. */
static bool open_model(trial *t)
{
    spry_random random = spry_random_stream(1, 1);
    spry_error error = {0};
    spry_tensor *x = NULL;
    spry_port info;
    int64_t shape[SPRY_TENSOR_MAX_RANK];

    if (spry_model_load(NULL, t->c->path, &t->model, &error) != SPRY_OK ||
        spry_model_input(t->model, 0, &info, &error) != SPRY_OK) {
        return complain(&error);
    }
    for (int i = 0; i < info.rank; i++) {
        shape[i] = info.shape[i] > 0 ? info.shape[i] : 1;
    }
    if (spry_tensor_create(NULL, SPRY_DTYPE_F32, info.rank, shape, &x, &error) != SPRY_OK) {
        return complain(&error);
    }
    t->input_name = info.name;
    spry_random_fill_uniform(&random, spry_tensor_data(x), spry_tensor_bytes(x) / sizeof(float),
                             -1.0f, 1.0f);
    return spry_value_from_tensor(NULL, x, &t->input, &error) == SPRY_OK || complain(&error);
}

/* ---- which layers ---- */

static int64_t bytes_of(const spry_layer *l)
{
    return l->batch * l->out[0] * l->out[1] * l->out[2] * l->element_bytes;
}

/* May a chain start with layer `first`? */
static bool starts(const trial *t, int32_t first)
{
    const spry_layer *l = &t->layers[first];

    return t->c->widen == 0 || l->out[0] * l->out[1] * l->out[2] > l->in[0] * l->in[1] * l->in[2];
}

/* May layer `next` join a chain of layers [first, next)? */
static bool joins(const trial *t, int32_t first, int32_t next)
{
    const spry_layer *l = &t->layers[next];
    const spry_layer *before = &t->layers[next - 1];
    bool reads_before = false;

    if (!l->can_stream || !before->can_stream || before->is_output || before->readers != 1 ||
        bytes_of(before) < t->c->least * 1024 || next - first >= t->c->layers) {
        return false;
    }
    for (int32_t i = 0; i < l->input_count; i++) {
        reads_before = reads_before || l->inputs[i] == next - 1;
    }
    return reads_before;
}

static void find_chains(trial *t)
{
    for (int32_t first = 0; first < t->layer_count && t->chain_count < MOST_BLOCKS;) {
        chain *c = &t->chains[t->chain_count];
        int32_t next = first + 1;

        while (next < t->layer_count && starts(t, first) && joins(t, first, next)) {
            next++;
        }
        if (next - first > 1) {
            *c = (chain){.first = first, .last = next - 1};
            for (int32_t i = first; i < next; i++) {
                c->names[i - first] = t->layers[i].name;
            }
            t->chain_count++;
        }
        first = next;
    }
}

/* ---- running ---- */

static bool is_layer(const spry_profile_row *row)
{
    static const char *const types[] = {"Conv",        "QLinearConv", "ConvInteger", "MaxPool",
                                        "AveragePool", "QLinearAdd",  "Add",         "Block"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(row->type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

static double lesser(double before, double now)
{
    return before > 0.0 && before < now ? before : now;
}

static bool run_side(trial *t, side *s)
{
    const spry_profile_row *rows;
    const spry_value *input = t->input;
    spry_error error = {0};
    int32_t count;

    spry_value_destroy(s->output);
    spry_session_profile_reset(s->session);
    if (spry_session_run(s->session, 1, &t->input_name, &input, 1, &s->output, &error) != SPRY_OK) {
        return complain(&error);
    }
    count = spry_session_profile(s->session, &rows);
    s->count = 0;
    for (int32_t i = 0; i < count && i < MOST_LAYERS; i++) {
        s->nodes[i] = lesser(s->nodes[i], rows[i].milliseconds);
        if (is_layer(&rows[i])) {
            s->rows[s->count] = lesser(s->rows[s->count], rows[i].milliseconds);
            s->count++;
        }
    }
    return true;
}

static bool open_side(const trial *t, const spry_blocks *blocks, side *s)
{
    spry_session_options options = t->c->options;
    spry_error error = {0};

    *s = (side){0};
    options.profile = true;
    options.blocks = blocks;
    return spry_session_create(t->model, &options, &s->session, &error) == SPRY_OK ||
           complain(&error);
}

static void close_side(side *s)
{
    spry_value_destroy(s->output);
    spry_session_destroy(s->session);
}

static bool is_same(const side *a, const side *b)
{
    const spry_tensor *x = spry_value_tensor(a->output);
    const spry_tensor *y = spry_value_tensor(b->output);

    return spry_tensor_bytes(x) == spry_tensor_bytes(y) &&
           memcmp(spry_tensor_const_data(x), spry_tensor_const_data(y), spry_tensor_bytes(x)) == 0;
}

/* ---- reporting ---- */

/* The row of block `number` of a session, or NULL. */
static const spry_profile_row *block_row(const side *s, int number)
{
    const spry_profile_row *rows;
    int32_t count = spry_session_profile(s->session, &rows);

    for (int32_t i = 0; i < count; i++) {
        if (strcmp(rows[i].type, "Block") == 0 && number-- == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static double sum_of(const side *s)
{
    double sum = 0;

    for (int i = 0; i < MOST_LAYERS; i++) {
        sum += s->nodes[i];
    }
    return sum;
}

static void report(trial *t, bool prints)
{
    int32_t gone = 0; /* layers that are inside blocks before */
    int64_t outside = 0;

    for (int i = 0; i < t->chain_count; i++) {
        chain *c = &t->chains[i];
        const spry_profile_row *row = block_row(&t->joined, i);
        double plain = 0;
        double joined = t->joined.rows[c->first - gone];

        for (int32_t k = c->first; k <= c->last; k++) {
            plain += t->plain.rows[k];
        }
        gone += c->last - c->first;
        c->ratio = plain / joined;
        outside += row->block_outside;
        if (prints) {
            printf(
                "{\"block\": \"%s\", \"layers\": %d, \"images_kib\": %.0f, \"window_kib\": %.0f, "
                "\"outside\": %lld, \"redundancy\": %.3f, \"plain_ms\": %.4f, "
                "\"block_ms\": %.4f, \"ratio\": %.3f}\n",
                t->layers[c->last].name, c->last - c->first + 1, (double)row->block_images / 1024,
                (double)row->block_windows / 1024, (long long)row->block_outside,
                row->block_redundancy, plain, joined, c->ratio);
        }
    }
    if (prints) {
        printf("{\"model\": \"%s\", \"blocks\": %d, \"outside\": %lld, \"same\": %s, "
               "\"plain_ms\": %.4f, \"block_ms\": %.4f, \"ratio\": %.3f}\n",
               t->c->path, t->chain_count, (long long)outside,
               is_same(&t->plain, &t->joined) ? "true" : "false", sum_of(&t->plain),
               sum_of(&t->joined), sum_of(&t->plain) / sum_of(&t->joined));
    }
}

/* Takes turns between the model with the chains that are left and without blocks. */
static bool compare(trial *t, bool prints)
{
    enum { WARM_UP = 2 };
    static const spry_blocks none = {NULL, 0};
    spry_block blocks[MOST_BLOCKS];
    spry_blocks all = {blocks, t->chain_count};
    bool done;

    for (int i = 0; i < t->chain_count; i++) {
        chain *c = &t->chains[i];

        blocks[i] = (spry_block){.layers = c->names,
                                 .layer_count = c->last - c->first + 1,
                                 .strip = (int32_t)t->c->strip};
    }
    done = open_side(t, &none, &t->plain);
    done = open_side(t, &all, &t->joined) && done;
    for (long round = 0; done && round < t->c->rounds + WARM_UP; round++) {
        if (round == WARM_UP) {
            memset(t->plain.rows, 0, sizeof t->plain.rows);
            memset(t->joined.rows, 0, sizeof t->joined.rows);
            memset(t->plain.nodes, 0, sizeof t->plain.nodes);
            memset(t->joined.nodes, 0, sizeof t->joined.nodes);
        }
        done = run_side(t, &t->plain) && run_side(t, &t->joined);
    }
    if (done && t->plain.count != t->layer_count) {
        (void)fprintf(stderr, "fused_blocks: %d layers are listed, %d ran\n", t->layer_count,
                      t->plain.count);
        done = false;
    }
    if (done) {
        report(t, prints);
    }
    close_side(&t->plain);
    close_side(&t->joined);
    return done;
}

static void drop_losers(trial *t)
{
    int kept = 0;

    for (int i = 0; i < t->chain_count; i++) {
        if (t->chains[i].ratio > 1.0) {
            t->chains[kept++] = t->chains[i];
        }
    }
    t->chain_count = kept;
}

static bool run_trial(trial *t)
{
    static const spry_blocks none = {NULL, 0};
    spry_error error = {0};
    side lister;
    bool done = open_model(t) && open_side(t, &none, &lister);

    if (done &&
        spry_session_layers(lister.session, &t->layers, &t->layer_count, &error) != SPRY_OK) {
        done = complain(&error);
    }
    if (done) {
        find_chains(t);
        if (t->c->each != 0) {
            done = compare(t, false);
            drop_losers(t);
        }
        done = done && compare(t, true);
        close_side(&lister);
    }
    spry_value_destroy(t->input);
    spry_model_destroy(t->model);
    return done;
}

/* Reads the option `name` with its value; false when it is none. */
static bool read_option(const char *name, const char *text, choices *c)
{
    const struct {
        const char *name;
        long *number;
    } numbers[] = {{"--rounds", &c->rounds}, {"--layers", &c->layers}, {"--least", &c->least},
                   {"--strip", &c->strip},   {"--each", &c->each},     {"--widen", &c->widen}};
    long number;

    if (strcmp(name, "--precision") == 0) {
        c->options.precision = strcmp(text, "bf16") == 0 ? SPRY_PRECISION_BF16 : SPRY_PRECISION_F32;
        return strcmp(text, "bf16") == 0 || strcmp(text, "f32") == 0;
    }
    if (strcmp(name, "--threads") == 0 && serve_parse_number(text, 1, MOST_NUMBER, &number)) {
        c->options.threads = (int)number;
        return true;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return serve_parse_number(text, 0, MOST_NUMBER, numbers[i].number);
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    choices c = {
        .options = spry_session_options_default(), .rounds = 20, .layers = 3, .least = 512};
    static trial t;
    bool done = true;

    c.options.threads = 1;
    for (int i = 1; i < argc && done; i++) {
        if (argv[i][0] == '-') {
            done = i + 1 < argc && read_option(argv[i], argv[i + 1], &c);
            i++;
        } else {
            c.path = argv[i];
        }
    }
    if (!done || c.path == NULL) {
        (void)fprintf(stderr,
                      "usage: fused_blocks [--precision f32|bf16] [--threads N] [--rounds N] "
                      "[--layers N] [--least KIB] [--strip N] [--each 1] [--widen 1] MODEL\n");
        return EXIT_FAILURE;
    }
    t.c = &c;
    return run_trial(&t) ? EXIT_SUCCESS : EXIT_FAILURE;
}
