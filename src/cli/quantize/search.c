/* Bits per operator, found by measuring. */
#include "base/files.h"
#include "base/json.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/quantize/command.h"

bool quantize_is_mixed(const cli_call *call)
{
    return cli_given(call, "mixed") || cli_given(call, "max-ms");
}

/* The rules, so that --recipe repeats the choice without a search. */
static spry_status save_recipe(const quantize_state *q, const char *path, spry_error *error)
{
    const spry_quantize_assignment *rules;
    int32_t count = spry_mixed_assignments(q->mixed, &rules);
    json_writer json;
    text body;
    spry_status status;

    text_init(&body, NULL, (size_t)1 << 30);
    json_writer_init(&json, &body, 2);
    json_write_object(&json, NULL);
    json_write_array(&json, "rules");
    json_write_object(&json, NULL); /* of what has no weights: sums and products of activations */
    json_write_i64(&json, "activation_bits", q->options.activation_bits);
    json_write_end(&json);
    for (int32_t i = 0; i < count; i++) {
        json_write_object(&json, NULL);
        if (rules[i].node != NULL) {
            json_write_string(&json, "name", rules[i].node);
        }
        if (rules[i].type != NULL) {
            json_write_string(&json, "type", rules[i].type);
        }
        if (rules[i].weight_bits >= 0) {
            json_write_i64(&json, "weight_bits", rules[i].weight_bits);
        }
        if (rules[i].activation_bits >= 0) {
            json_write_i64(&json, "activation_bits", rules[i].activation_bits);
        }
        json_write_end(&json);
    }
    json_write_end(&json);
    json_write_end(&json);
    text_append_char(&body, '\n');
    status = text_status(&body, "recipe", error);
    if (status == SPRY_OK) {
        status = file_replace(path, body.data, body.length, error);
    }
    text_fini(&body);
    return status;
}

static bool is_any_quantized(const spry_mixed *mixed)
{
    const spry_mixed_row *rows;
    int32_t count = spry_mixed_rows(mixed, &rows);

    for (int32_t i = 0; i < count; i++) {
        if (rows[i].bits != 0 && rows[i].weights > 0) {
            return true;
        }
    }
    return false;
}

static spry_status search_bits(quantize_state *q, spry_error *error)
{
    const cli_call *call = q->call;
    spry_mixed_options o = spry_mixed_options_default();
    spry_status status;

    if (cli_given(call, "max-drop")) {
        o.max_drop = cli_number(call, "max-drop");
        o.data = q->data;
    }
    if (cli_given(call, "max-ms")) {
        o.max_ms = cli_number(call, "max-ms");
    }
    if (cli_given(call, "weight-bits")) {
        o.fewest_bits = (int)cli_integer(call, "weight-bits");
    }
    o.limit = cli_integer(call, "limit");
    o.class_offset = cli_integer(call, "class-offset");
    o.trials = (int32_t)cli_integer(call, "trials");
    status = spry_mixed_search(q->source, &q->options, &o, &q->mixed, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (!is_any_quantized(q->mixed)) {
        output_warn(call, "no operator can be quantized within these bounds; nothing is written");
        return SPRY_NEGATIVE;
    }
    q->options.assignment_count = spry_mixed_assignments(q->mixed, &q->options.assignments);
    if (cli_text(call, "save-recipe") != NULL) {
        status = save_recipe(q, cli_text(call, "save-recipe"), error);
    }
    return status;
}

spry_status quantize_search(quantize_state *q, spry_error *error)
{
    progress_bar bar;
    spry_status status = SPRY_OK;

    progress_bar_begin(&bar, q->call);
    q->options.progress = &bar.hook;
    if (quantize_is_mixed(q->call)) {
        status = search_bits(q, error);
    }
    if (status == SPRY_OK && cli_given(q->call, "sensitivity")) {
        status = spry_sensitivity_measure(
            q->source, &q->options, cli_integer(q->call, "class-offset"), &q->sensitivity, error);
    }
    progress_bar_end(&bar);
    q->options.progress = NULL;
    return status;
}
