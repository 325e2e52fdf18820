/* spry inspect: what is inside a model, as text, JSON, or a page with the graph drawn. What its
 * attention heads look at is in inspect/heads.c. */
#include <inttypes.h>
#include <string.h>

#include "base/parse.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/inspect/heads.h"
#include "cli/inspect/look.h"
#include "cli/output.h"
#include "cli/subject.h"
#include "cli/table.h"
#include "spry/inspect.h"

enum { MOST_DIMENSIONS = 64, MOST_NAME = 256 };

static const cli_option options[] = {
    {.name = "set",
     .kind = CLI_TEXT,
     .value = "DIM=N",
     .help = "size of a free dimension",
     .repeats = true},
    {.name = "nodes", .kind = CLI_FLAG, .help = "list every node"},
    {.name = "html",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write one page with the graph drawn, which opens without a network"},
    INSPECT_LOOK_OPTIONS,
    {.name = "force", .kind = CLI_FLAG, .help = "replace an existing FILE"},
    INSPECT_HEADS_OPTIONS,
    {0},
};

/* ---- options ---- */

typedef struct dimensions {
    spry_dimension list[MOST_DIMENSIONS];
    char names[MOST_DIMENSIONS][MOST_NAME];
    int32_t count;
} dimensions;

/* Splits NAME=N. */
static spry_status parse_dimension(const char *word, char *name, int64_t *size, spry_error *error)
{
    const char *equals = strrchr(word, '=');
    size_t length = equals == NULL ? 0 : (size_t)(equals - word);

    if (length == 0 || length >= MOST_NAME) {
        return spry_fail(error, SPRY_USAGE, "--set", "write it as --set batch=8",
                         "'%.80s' is not of the form DIM=N", word);
    }
    memcpy(name, word, length);
    name[length] = '\0';
    if (!parse_i64(equals + 1, 0, INT32_MAX, size)) {
        return spry_fail(error, SPRY_USAGE, "--set", NULL,
                         "'%.80s' is not a size from 0 to 2147483647", equals + 1);
    }
    return SPRY_OK;
}

static spry_status parse_dimensions(const cli_call *call, dimensions *d, spry_error *error)
{
    const char *word = NULL;

    for (int i = 0; (word = cli_value(call, "set", i)) != NULL; i++) {
        if (d->count == MOST_DIMENSIONS) {
            return spry_fail(error, SPRY_USAGE, "--set", NULL, "given more than %d times",
                             (int)MOST_DIMENSIONS);
        }
        spry_dimension *to = &d->list[d->count];
        spry_status status = parse_dimension(word, d->names[d->count], &to->size, error);
        if (status != SPRY_OK) {
            return status;
        }
        to->symbol = d->names[d->count++];
    }
    return SPRY_OK;
}

/* ---- text ---- */

static void print_ports(FILE *to, const char *title, const spry_inspect_port *ports, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        (void)fprintf(to, "%-12s %s  %s\n", i == 0 ? title : "", ports[i].name, ports[i].type);
    }
}

static void print_totals(const cli_call *call, const spry_inspection *inspection)
{
    const spry_inspect_totals *t = spry_inspection_totals(inspection);
    const spry_inspect_port *ports = NULL;
    const spry_inspect_opset *opsets = NULL;
    char number[3][UNITS_SIZE];
    int32_t count = spry_inspection_inputs(inspection, &ports);

    print_ports(call->out, "inputs", ports, count);
    count = spry_inspection_outputs(inspection, &ports);
    print_ports(call->out, "outputs", ports, count);
    count = spry_inspection_opsets(inspection, &opsets);
    (void)fprintf(call->out, "%-13s", "opset");
    for (int32_t i = 0; i < count; i++) {
        (void)fprintf(call->out, "%s%s%s%" PRId64, i > 0 ? ", " : "", opsets[i].domain,
                      opsets[i].domain[0] != '\0' ? " " : "", opsets[i].version);
    }
    (void)fprintf(call->out, "\n%-12s %" PRId64, "nodes", t->nodes);
    if (t->nested_nodes > 0) {
        (void)fprintf(call->out, " and %" PRId64 " in bodies", t->nested_nodes);
    }
    if (t->functions > 0) {
        (void)fprintf(call->out, ", %" PRId64 " functions", t->functions);
    }
    (void)fprintf(call->out, "\n%-12s %s in %s of weights\n", "parameters",
                  units_count(number[0], t->parameters), units_bytes(number[1], t->weight_bytes));
    (void)fprintf(call->out, "%-12s %s multiply-accumulates, %s floating-point operations\n",
                  "work", units_count(number[0], t->macs), units_count(number[1], t->flops));
    (void)fprintf(call->out, "%-12s %s at most at once, %s in all\n", "activations",
                  units_bytes(number[0], t->peak_bytes), units_bytes(number[1], t->all_bytes));
}

static spry_status print_operators(const cli_call *call, const spry_inspection *inspection,
                                   spry_error *error)
{
    static const table_column columns[] = {
        {"operator", false}, {"nodes", true}, {"parameters", true}, {"MACs", true}, {NULL, false}};
    const spry_inspect_operator *rows = NULL;
    int32_t count = spry_inspection_operators(inspection, &rows);
    char number[UNITS_SIZE];
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s%s%s", rows[i].domain, rows[i].domain[0] != '\0' ? "." : "",
                   rows[i].type);
        table_cell(&t, "%" PRId64, rows[i].nodes);
        table_cell(&t, "%s", units_count(number, rows[i].parameters));
        table_cell(&t, "%s", units_count(number, rows[i].macs));
    }
    spry_status status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_weights(const cli_call *call, const spry_inspection *inspection,
                                 spry_error *error)
{
    static const table_column columns[] = {
        {"weights", false}, {"tensors", true}, {"elements", true}, {"bytes", true}, {NULL, false}};
    const spry_inspect_weights *rows = NULL;
    int32_t count = spry_inspection_weights(inspection, &rows);
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s", spry_dtype_name(rows[i].dtype));
        table_cell(&t, "%" PRId64, rows[i].tensors);
        table_cell(&t, "%" PRId64, rows[i].elements);
        table_cell(&t, "%" PRId64, rows[i].bytes);
    }
    spry_status status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_nodes(const cli_call *call, const spry_inspection *inspection,
                               spry_error *error)
{
    static const table_column columns[] = {{"#", true},       {"operator", false},  {"name", false},
                                           {"output", false}, {"parameters", true}, {"MACs", true},
                                           {NULL, false}};
    const spry_inspect_node *rows = NULL;
    int32_t count = spry_inspection_nodes(inspection, &rows);
    char number[UNITS_SIZE];
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%" PRId32, i);
        table_cell(&t, "%s", rows[i].type);
        table_cell(&t, "%s", rows[i].name);
        table_cell(&t, "%s", rows[i].shape);
        table_cell(&t, "%" PRId64, rows[i].parameters);
        table_cell(&t, "%s", units_count(number, rows[i].macs));
    }
    spry_status status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_gaps(const cli_call *call, const spry_inspection *inspection,
                              spry_error *error)
{
    static const table_column columns[] = {{"unsupported", false}, {"opset", true},  {"why", false},
                                           {"nodes", true},        {"where", false}, {NULL, false}};
    const spry_inspect_gap *rows = NULL;
    int32_t count = spry_inspection_gaps(inspection, &rows);
    table t;

    if (count == 0) {
        (void)fprintf(call->out, "\nEverything in this model can be run.\n");
        return SPRY_OK;
    }
    (void)fputc('\n', call->out);
    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s%s%s", rows[i].domain, rows[i].domain[0] != '\0' ? "." : "",
                   rows[i].type);
        table_cell(&t, "%" PRId64, rows[i].opset);
        table_cell(&t, "%s", rows[i].reason);
        table_cell(&t, "%" PRId64, rows[i].nodes);
        table_cell(&t, "%s", rows[i].labels);
    }
    spry_status status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_text(const cli_call *call, const spry_inspection *inspection,
                              spry_error *error)
{
    print_totals(call, inspection);
    (void)fputc('\n', call->out);
    spry_status status = print_operators(call, inspection, error);
    if (status == SPRY_OK) {
        (void)fputc('\n', call->out);
        status = print_weights(call, inspection, error);
    }
    if (status == SPRY_OK && cli_given(call, "nodes")) {
        (void)fputc('\n', call->out);
        status = print_nodes(call, inspection, error);
    }
    return status == SPRY_OK ? print_gaps(call, inspection, error) : status;
}

/* ---- JSON ---- */

/* -1 means unknown, which JSON says as null. */
static void write_count(json_writer *json, const char *key, int64_t number)
{
    if (number < 0) {
        json_write_null(json, key);
    } else {
        json_write_i64(json, key, number);
    }
}

static void write_ports(json_writer *json, const char *key, const spry_inspect_port *ports,
                        int32_t count)
{
    json_write_array(json, key);
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "name", ports[i].name);
        json_write_string(json, "type", ports[i].type);
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_totals(json_writer *json, const spry_inspection *inspection)
{
    const spry_inspect_totals *t = spry_inspection_totals(inspection);
    const spry_inspect_opset *opsets = NULL;
    int32_t count = spry_inspection_opsets(inspection, &opsets);

    json_write_object(json, "opsets");
    for (int32_t i = 0; i < count; i++) {
        json_write_i64(json, opsets[i].domain[0] != '\0' ? opsets[i].domain : "ai.onnx",
                       opsets[i].version);
    }
    json_write_end(json);
    json_write_i64(json, "nodes", t->nodes);
    json_write_i64(json, "nested_nodes", t->nested_nodes);
    json_write_i64(json, "functions", t->functions);
    json_write_i64(json, "parameters", t->parameters);
    json_write_i64(json, "weight_bytes", t->weight_bytes);
    json_write_i64(json, "macs", t->macs);
    json_write_i64(json, "flops", t->flops);
    json_write_i64(json, "nodes_of_unknown_cost", t->unknown_nodes);
    write_count(json, "peak_activation_bytes", t->peak_bytes);
    write_count(json, "all_activation_bytes", t->all_bytes);
    json_write_bool(json, "batch_assumed", t->batch_assumed);
    json_write_string(json, "problem", t->problem);
}

static void write_operators(json_writer *json, const spry_inspection *inspection)
{
    const spry_inspect_operator *rows = NULL;
    int32_t count = spry_inspection_operators(inspection, &rows);

    json_write_array(json, "operators");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "type", rows[i].type);
        json_write_string(json, "domain", rows[i].domain);
        json_write_i64(json, "nodes", rows[i].nodes);
        json_write_i64(json, "parameters", rows[i].parameters);
        json_write_i64(json, "macs", rows[i].macs);
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_weights(json_writer *json, const spry_inspection *inspection)
{
    const spry_inspect_weights *rows = NULL;
    int32_t count = spry_inspection_weights(inspection, &rows);

    json_write_array(json, "weights");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "dtype", spry_dtype_name(rows[i].dtype));
        json_write_i64(json, "tensors", rows[i].tensors);
        json_write_i64(json, "elements", rows[i].elements);
        json_write_i64(json, "bytes", rows[i].bytes);
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_nodes(json_writer *json, const spry_inspection *inspection)
{
    const spry_inspect_node *rows = NULL;
    int32_t count = spry_inspection_nodes(inspection, &rows);

    json_write_array(json, "node_list");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "name", rows[i].name);
        json_write_string(json, "type", rows[i].type);
        json_write_string(json, "domain", rows[i].domain);
        json_write_i64(json, "opset", rows[i].opset);
        json_write_string(json, "output", rows[i].output);
        json_write_string(json, "shape", rows[i].shape);
        json_write_i64(json, "parameters", rows[i].parameters);
        json_write_i64(json, "weight_bytes", rows[i].weight_bytes);
        write_count(json, "macs", rows[i].macs);
        write_count(json, "flops", rows[i].flops);
        json_write_bool(json, "supported", rows[i].is_supported);
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_gaps(json_writer *json, const spry_inspection *inspection)
{
    const spry_inspect_gap *rows = NULL;
    int32_t count = spry_inspection_gaps(inspection, &rows);

    json_write_array(json, "unsupported");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "type", rows[i].type);
        json_write_string(json, "domain", rows[i].domain);
        json_write_i64(json, "opset", rows[i].opset);
        json_write_string(json, "reason", rows[i].reason);
        json_write_i64(json, "nodes", rows[i].nodes);
        json_write_string(json, "where", rows[i].labels);
        json_write_end(json);
    }
    json_write_end(json);
}

static spry_status print_json(const cli_call *call, const spry_inspection *inspection,
                              spry_error *error)
{
    const output_record record = {.model = call->arguments[0]};
    const spry_inspect_port *ports = NULL;
    output_document document;

    output_begin(&document, call);
    json_writer *json = &document.json;
    json_write_string(json, "model", call->arguments[0]);
    int32_t count = spry_inspection_inputs(inspection, &ports);
    write_ports(json, "inputs", ports, count);
    count = spry_inspection_outputs(inspection, &ports);
    write_ports(json, "outputs", ports, count);
    write_totals(json, inspection);
    write_operators(json, inspection);
    write_weights(json, inspection);
    if (cli_given(call, "nodes")) {
        write_nodes(json, inspection);
    }
    write_gaps(json, inspection);
    spry_status status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

/* ---- the command ---- */

static void remark(const cli_call *call, const spry_inspection *inspection)
{
    const spry_inspect_totals *t = spry_inspection_totals(inspection);
    const char *const *symbols = NULL;
    int32_t count = spry_inspection_symbols(inspection, &symbols);

    if (t->problem != NULL) {
        output_warn(call, "shapes contradict each other: %s", t->problem);
    }
    if (t->batch_assumed) {
        output_note(call, "work and memory are per sample (batch 1)");
    }
    for (int32_t i = 0; i < count; i++) {
        output_note(call, "dimension '%s' is free: --set %s=N counts what depends on it",
                    symbols[i], symbols[i]);
    }
    if (t->unknown_nodes > 0) {
        output_note(call, "%" PRId64 " nodes of unknown cost are left out of the work",
                    t->unknown_nodes);
    }
}

static spry_status save_page(const cli_call *call, const spry_model *model,
                             const spry_inspection *inspection, spry_error *error)
{
    const char *path = cli_text(call, "html");
    const char *slash = strrchr(call->arguments[0], '/');
    inspect_look look;
    spry_status status = path != NULL ? output_check_free(call, path, error) : SPRY_OK;

    if (status != SPRY_OK) {
        return status;
    }
    status = inspect_look_open(&look, call, model, error);
    if (status == SPRY_OK && path != NULL) {
        const spry_inspect_page page = {.struct_size = sizeof page,
                                        .title = slash != NULL ? slash + 1 : call->arguments[0],
                                        .pictures_title = "Where it looked",
                                        .pictures = look.pictures,
                                        .picture_count = look.count};

        status = spry_inspection_save_page(inspection, &page, path, error);
    }
    inspect_look_close(&look);
    if (path == NULL) {
        return status;
    }
    if (status == SPRY_OK) {
        output_note(call, "wrote %s", path);
    }
    return status;
}

static spry_status inspect(const cli_call *call, const spry_model *model,
                           const spry_inspect_options *asked, spry_error *error)
{
    spry_inspection *inspection = NULL;
    spry_status status = spry_inspect(model, asked, &inspection, error);

    if (status == SPRY_OK) {
        status = save_page(call, model, inspection, error);
    }
    if (status == SPRY_OK) {
        remark(call, inspection);
        status = cli_given(call, "json") ? print_json(call, inspection, error)
                                         : print_text(call, inspection, error);
    }
    spry_inspection_destroy(inspection);
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    spry_inspect_options asked = spry_inspect_options_default();
    dimensions sizes = {.count = 0};
    spry_model *model = NULL;
    spry_status status = inspect_heads_check(call, error);

    if (status == SPRY_OK && cli_given(call, "heads")) {
        return inspect_heads(call, error);
    }
    status = status == SPRY_OK ? parse_dimensions(call, &sizes, error) : status;
    asked.dimensions = sizes.list;
    asked.dimension_count = sizes.count;
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, call->arguments[0], &model, error);
    }
    if (status == SPRY_OK) {
        status = inspect(call, model, &asked, error);
    }
    spry_model_destroy(model);
    return status;
}

const cli_command cmd_inspect = {
    .name = "inspect",
    .summary = "show what is inside a model",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry inspect resnet20.onnx", "spry inspect bert.onnx --set sequence=128 --nodes",
                 "spry inspect bert.onnx --heads --text article.txt --vocab vocab.txt --html "
                 "heads.html",
                 NULL},
    .description =
        "Lists inputs, outputs, operators, parameters, multiply-accumulates, the memory that "
        "intermediate results need, and everything that Spry cannot run.\n\n"
        "A free first dimension is taken as a batch of 1; other free dimensions get sizes by "
        "--set. Parameters are the elements of all constants but i64, bool and text, which hold "
        "shapes and indices. Memory is the most that is alive at once, without sharing in "
        "place.\n\n"
        "The page that --html writes holds the drawn graph and all tables. It fetches nothing. "
        "With --input or --data it also shows, for models that compute a part of the pixels, "
        "which.\n\n"
        "With --heads the model runs over a text, and what is shown is what its attention heads "
        "look at: how far, how sharply, at which tokens. Heads that look at the same kind of thing "
        "form clusters, which get names by fixed rules. Maps of attention are never held, so texts "
        "may be long.",
    .options = options,
    .run = run,
};
