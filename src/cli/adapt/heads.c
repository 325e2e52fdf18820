/* Heads that look at few keys: choosing, writing, telling. */
#include "cli/adapt/heads.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/files.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "spry/heads.h"

/* "3+2": three tokens to both sides and two sinks; "5/0+1" where the sides differ. */
static void describe(const spry_head_policy *p, char *to, size_t size)
{
    text t;

    text_init_fixed(&t, to, size);
    if (p->is_dense) {
        text_append_string(&t, "all");
        return;
    }
    text_append_format(&t, "%" PRId64, p->before);
    if (p->after != p->before) {
        text_append_format(&t, "/%" PRId64, p->after);
    }
    if (p->sink_count > 0) {
        text_append_format(&t, "+%d", (int)p->sink_count);
    }
}

static void print_text(const cli_call *call, const spry_head_policies *policies)
{
    spry_head_policy_totals t = spry_head_policies_describe(policies);
    const spry_head_policy *list = NULL;
    FILE *out = call->out;
    int32_t count = spry_head_policies_list(policies, &list);

    (void)fprintf(out, "method      head-policy\n");
    (void)fprintf(out,
                  "heads       %d of %d look at few keys, for sequences of %" PRId64 " tokens\n",
                  (int)(t.heads - t.dense), (int)t.heads, t.tokens);
    (void)fprintf(out, "products    %.1f %% of queries with keys are left\n", 100.0 * t.share);
    (void)fprintf(out, "cosine      %.5f at least in a layer, %.5f of the first output\n", t.cosine,
                  t.output_cosine);
    if (isfinite(t.loss)) {
        (void)fprintf(out, "loss        %.4f of the next token, %.4f before\n", t.loss,
                      t.loss_before);
    }
    (void)fprintf(out, "written     %s\n\nlayer  tokens to both sides (before/after), + sinks\n",
                  cli_text(call, "output"));
    for (int32_t i = 0; i < count; i++) {
        char shown[64];

        describe(&list[i], shown, sizeof shown);
        if (list[i].head == 0) {
            (void)fprintf(out, "%s%5d ", i > 0 ? "\n" : "", (int)list[i].layer);
        }
        (void)fprintf(out, " %-7s", shown);
    }
    (void)fputc('\n', out);
}

static void write_list(json_writer *json, const spry_head_policies *policies)
{
    const spry_head_policy *list = NULL;
    int32_t count = spry_head_policies_list(policies, &list);

    json_write_array(json, "heads");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_i64(json, "layer", list[i].layer);
        json_write_i64(json, "head", list[i].head);
        json_write_string(json, "mode", list[i].is_dense ? "dense" : "window");
        if (!list[i].is_dense) {
            json_write_i64(json, "before", list[i].before);
            json_write_i64(json, "after", list[i].after);
            json_write_array(json, "sinks");
            for (int32_t s = 0; s < list[i].sink_count; s++) {
                json_write_i64(json, NULL, list[i].sinks[s]);
            }
            json_write_end(json);
        }
        json_write_f64(json, "kept", list[i].kept);
        json_write_f64(json, "cosine", list[i].cosine);
        json_write_end(json);
    }
    json_write_end(json);
}

static spry_status print_json(const cli_call *call, const spry_head_policies *policies,
                              spry_error *error)
{
    const output_record record = {.model = call->arguments[0],
                                  .threads = (int)cli_integer(call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(call, "seed")};
    spry_head_policy_totals t = spry_head_policies_describe(policies);
    output_document document;
    json_writer *json = &document.json;

    output_begin(&document, call);
    json_write_string(json, "output", cli_text(call, "output"));
    json_write_string(json, "method", "head-policy");
    json_write_f64(json, "epsilon", cli_number(call, "epsilon"));
    json_write_i64(json, "tokens", t.tokens);
    json_write_i64(json, "layers", t.layers);
    json_write_i64(json, "dense", t.dense);
    json_write_f64(json, "share", t.share);
    json_write_f64(json, "layer_cosine", t.cosine);
    json_write_f64(json, "output_cosine", t.output_cosine);
    if (isfinite(t.loss)) {
        json_write_f64(json, "loss", t.loss);
        json_write_f64(json, "loss_before", t.loss_before);
    }
    write_list(json, policies);
    spry_status status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status check(const cli_call *call, spry_error *error)
{
    static const char *const needed[] = {"text", "vocab"};
    static const char *const senseless[] = {"data",  "classes",    "apply",
                                            "merge", "delta-only", "html"};
    const char *output = cli_text(call, "output");
    size_t length = output != NULL ? strlen(output) : 0;

    if (length < strlen(".onnx") || strcmp(output + length - strlen(".onnx"), ".onnx") != 0) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o adapted.onnx",
                         "no place for the result given");
    }
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (cli_text(call, needed[i]) == NULL) {
            return spry_fail(
                error, SPRY_USAGE, needed[i],
                "spry adapt MODEL -o OUT --method head-policy --text FILE --vocab FILE",
                "the option is missing");
        }
    }
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {
        if (cli_given(call, senseless[i])) {
            return spry_fail(error, SPRY_USAGE, senseless[i], "leave it out",
                             "head-policy trains nothing");
        }
    }
    return output_check_free(call, output, error);
}

static spry_status perform(const cli_call *call, const spry_model *source,
                           const spry_tokenizer *tokenizer, spry_error *error)
{
    spry_head_policy_options asked = spry_head_policy_options_default();
    spry_head_policies *policies = NULL;
    spry_model *restricted = NULL;
    progress_bar bar;
    file_map file;
    spry_status status = file_map_open(cli_text(call, "text"), LIMIT_TEXT_BYTES, &file, error);

    if (status != SPRY_OK) {
        return status;
    }
    progress_bar_begin(&bar, call);
    asked.window = cli_integer(call, "window");
    asked.limit = cli_integer(call, "limit");
    asked.epsilon = cli_number(call, "epsilon");
    asked.cosine = cli_number(call, "cosine");
    asked.seed = (uint64_t)cli_integer(call, "seed");
    asked.threads = (int)cli_integer(call, "threads");
    asked.progress = &bar.hook;
    status = spry_heads_restrict(source, tokenizer, (const char *)file.data, file.size, &asked,
                                 &restricted, &policies, error);
    progress_bar_end(&bar);
    file_map_close(&file);
    if (status == SPRY_OK) {
        status = spry_model_save(restricted, cli_text(call, "output"), error);
    }
    if (status == SPRY_OK && cli_given(call, "json")) {
        status = print_json(call, policies, error);
    } else if (status == SPRY_OK) {
        print_text(call, policies);
    }
    spry_head_policies_destroy(policies);
    spry_model_destroy(restricted);
    return status;
}

spry_status adapt_heads(const cli_call *call, spry_error *error)
{
    spry_model *source = NULL;
    spry_tokenizer *tokenizer = NULL;
    spry_status status = check(call, error);

    if (status == SPRY_OK) {
        status = spry_tokenizer_load(cli_text(call, "vocab"), NULL, &tokenizer, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, call->arguments[0], &source, error);
    }
    status = status == SPRY_OK ? perform(call, source, tokenizer, error) : status;
    spry_model_destroy(source);
    spry_tokenizer_destroy(tokenizer);
    return status;
}
