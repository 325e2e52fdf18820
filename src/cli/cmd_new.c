/* spry new: a fresh network to train. */
#include <inttypes.h>
#include <string.h>

#include "base/parse.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "spry/architecture.h"

#define LARGEST_SEED 9007199254740992.0 /* 2^53: whole numbers up to here are exact */

static const cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "where the model goes"},
    {.name = "list",
     .kind = CLI_FLAG,
     .help = "list the architectures and what they have by default"},
    {.name = "classes",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 1000000,
     .help = "scores that the model gives"},
    {.name = "image",
     .kind = CLI_TEXT,
     .value = "HxWxC",
     .help = "height, width and channels of the image; C or all but H may be left out"},
    {.name = "patch",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 1024,
     .help = "side of a patch in pixels"},
    {.name = "units",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 65536,
     .help = "width: of hidden layers or tokens, or channels of the first convolution"},
    {.name = "depth",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 1000,
     .help = "hidden layers or blocks"},
    {.name = "heads",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 1024,
     .help = "heads of attention"},
    {.name = "frames",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 4096,
     .help = "frames of the clip"},
    {.name = "features",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 10000000,
     .help = "features of a node of the graph"},
    {.name = "seed",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = LARGEST_SEED,
     .help = "seed of the weights"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace an existing FILE"},
    {0},
};

/* ---- the list ---- */

static spry_status count_defaults(const spry_architecture *a, int64_t *parameters,
                                  spry_error *error)
{
    return spry_architecture_count(a->name, NULL, parameters, error);
}

/* Height x width x channels of an image, frames x that of a clip, features of a node. */
static void cell_input(table *t, const spry_architecture_options *o)
{
    if (o->features > 0) {
        table_cell(t, "Nx%" PRId64, o->features);
    } else if (o->frames > 0) {
        table_cell(t, "%" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64, o->frames, o->height,
                   o->width, o->channels);
    } else {
        table_cell(t, "%" PRId64 "x%" PRId64 "x%" PRId64, o->height, o->width, o->channels);
    }
}

static spry_status list_text(const cli_call *call, spry_error *error)
{
    static const table_column columns[] = {{"architecture", false}, {"parameters", true},
                                           {"input", false},        {"classes", true},
                                           {"what", false},         {NULL, false}};
    const spry_architecture *a = NULL;
    char number[UNITS_SIZE];
    spry_status status = SPRY_OK;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; status == SPRY_OK && (a = spry_architecture_at(i)) != NULL; i++) {
        int64_t parameters;

        status = count_defaults(a, &parameters, error);
        table_cell(&t, "%s", a->name);
        table_cell(&t, "%s", units_count(number, parameters));
        cell_input(&t, &a->defaults);
        table_cell(&t, "%" PRId64, a->defaults.classes);
        table_cell(&t, "%s", a->summary);
    }
    if (status == SPRY_OK) {
        status = table_print(&t, TABLE_PLAIN, call->out, error);
    }
    table_fini(&t);
    return status;
}

static void write_default(json_writer *json, const char *name, int64_t number)
{
    if (number != 0) {
        json_write_i64(json, name, number);
    }
}

static spry_status list_json(const cli_call *call, spry_error *error)
{
    const spry_architecture *a = NULL;
    spry_status status = SPRY_OK;
    output_document document;
    json_writer *json = &document.json;

    output_begin(&document, call);
    json_write_array(json, "architectures");
    for (int32_t i = 0; status == SPRY_OK && (a = spry_architecture_at(i)) != NULL; i++) {
        int64_t parameters;

        status = count_defaults(a, &parameters, error);
        json_write_object(json, NULL);
        json_write_string(json, "name", a->name);
        json_write_string(json, "summary", a->summary);
        json_write_i64(json, "parameters", parameters);
        write_default(json, "classes", a->defaults.classes);
        write_default(json, "height", a->defaults.height);
        write_default(json, "width", a->defaults.width);
        write_default(json, "channels", a->defaults.channels);
        write_default(json, "frames", a->defaults.frames);
        write_default(json, "features", a->defaults.features);
        write_default(json, "patch", a->defaults.patch);
        write_default(json, "units", a->defaults.units);
        write_default(json, "depth", a->defaults.depth);
        write_default(json, "heads", a->defaults.heads);
        json_write_end(json);
    }
    json_write_end(json);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

/* ---- options ---- */

static spry_status bad_image(const char *word, spry_error *error)
{
    return spry_fail(error, SPRY_USAGE, "--image", "write it as --image 32x32x3",
                     "'%.80s' is not height x width x channels", word);
}

/* "32x48x3", "32x48", or "32" for a square. */
static spry_status parse_image(const char *word, spry_architecture_options *o, spry_error *error)
{
    int64_t *to[3] = {&o->height, &o->width, &o->channels};
    char copy[64];
    char *rest = copy;
    int count = 0;

    if (word == NULL) {
        return SPRY_OK;
    }
    if (strlen(word) >= sizeof copy) {
        return bad_image(word, error);
    }
    memcpy(copy, word, strlen(word) + 1);
    for (char *part = copy; part != NULL; part = rest) {
        rest = strchr(part, 'x');
        if (rest != NULL) {
            *rest++ = '\0';
        }
        if (count == 3 || !parse_i64(part, 1, INT32_MAX, to[count])) {
            return bad_image(word, error);
        }
        count++;
    }
    if (count == 1) {
        o->width = o->height;
    }
    return SPRY_OK;
}

static spry_status read_options(const cli_call *call, spry_architecture_options *o,
                                spry_error *error)
{
    o->classes = cli_integer(call, "classes");
    o->patch = cli_integer(call, "patch");
    o->units = cli_integer(call, "units");
    o->depth = cli_integer(call, "depth");
    o->heads = cli_integer(call, "heads");
    o->frames = cli_integer(call, "frames");
    o->features = cli_integer(call, "features");
    o->seed = (uint64_t)cli_integer(call, "seed");
    if (call->argument_count == 0) {
        return spry_fail(error, SPRY_USAGE, "ARCHITECTURE", "spry new --list names them",
                         "no architecture was named");
    }
    if (cli_text(call, "output") == NULL) {
        return spry_fail(error, SPRY_USAGE, "--output", "say where the model goes with -o FILE",
                         "there is no output file");
    }
    return parse_image(cli_text(call, "image"), o, error);
}

/* ---- the command ---- */

static spry_status tell(const cli_call *call, const spry_architecture_options *o, spry_error *error)
{
    const output_record record = {
        .model = cli_text(call, "output"), .is_seeded = true, .seed = o->seed};
    const char *name = call->arguments[0];
    char number[UNITS_SIZE];
    int64_t parameters = 0;
    output_document document;
    spry_status status = spry_architecture_count(name, o, &parameters, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (!cli_given(call, "json")) {
        (void)fprintf(call->out, "%s: %s parameters, seed %" PRIu64 ", in %s\n", name,
                      units_count(number, parameters), o->seed, record.model);
        return SPRY_OK;
    }
    output_begin(&document, call);
    json_write_string(&document.json, "architecture", name);
    json_write_string(&document.json, "output", record.model);
    json_write_i64(&document.json, "parameters", parameters);
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    spry_architecture_options o = spry_architecture_options_default();
    spry_model *m = NULL;
    spry_status status;

    if (cli_given(call, "list")) {
        return cli_given(call, "json") ? list_json(call, error) : list_text(call, error);
    }
    status = read_options(call, &o, error);
    if (status == SPRY_OK) {
        status = output_check_free(call, cli_text(call, "output"), error);
    }
    if (status == SPRY_OK) {
        status = spry_architecture_create(NULL, call->arguments[0], &o, &m, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_save(m, cli_text(call, "output"), error);
    }
    spry_model_destroy(m);
    return status == SPRY_OK ? tell(call, &o, error) : status;
}

const cli_command cmd_new = {
    .name = "new",
    .summary = "make a fresh network to train",
    .arguments = "[ARCHITECTURE]",
    .most_arguments = 1,
    .examples = {"spry new --list", "spry new lenet -o digits.onnx",
                 "spry new vit-cifar -o vit.onnx --image 64x64x3 --patch 8 --classes 100"},
    .description =
        "Writes an ONNX model with weights drawn from a seed as the publication of the "
        "architecture says. The same command writes the same file on every machine.\n\n"
        "Weights are called as PyTorch calls them, such as layer1.0.conv1.weight. The batch is "
        "free; batch normalisation stands in the form for inference.",
    .options = options,
    .run = run,
};
