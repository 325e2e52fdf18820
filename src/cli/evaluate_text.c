/* Telling how well a model answers questions, or predicts a text. */
#include "cli/evaluate_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/files.h"
#include "base/limits.h"
#include "cli/adapt/skim_report.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/subject.h"
#include "spry/answer.h"
#include "spry/perplexity.h"

static const char squad_kind[] = "squad:";
static const char text_kind[] = "text:";

typedef struct text_state {
    const cli_call *call;
    subject s;
    spry_tokenizer *tokenizer;
    const char *path; /* of the data */
    text answers;     /* of --predictions */
    json_writer json;
} text_state;

bool evaluate_text_is(const char *data)
{
    return data != NULL && (strncmp(data, squad_kind, sizeof squad_kind - 1) == 0 ||
                            strncmp(data, text_kind, sizeof text_kind - 1) == 0);
}

/* Starts a JSON document with what both kinds tell. */
static json_writer *begin(const text_state *e, output_document *document)
{
    output_begin(document, e->call);
    json_write_string(&document->json, "data", cli_text(e->call, "data"));
    return &document->json;
}

static spry_status end(const text_state *e, output_document *document, spry_error *error)
{
    const output_record record = output_record_of(e->s.path, &e->s.options);
    spry_status status = output_write_record(&document->json, &record, error);

    if (status != SPRY_OK) {
        output_drop(document);
        return status;
    }
    return output_end(document, e->call, error);
}

/* ---- questions ---- */

static spry_status tell_squad(const text_state *e, const spry_squad_totals *t, spry_error *error)
{
    FILE *out = e->call->out;

    if (cli_given(e->call, "json")) {
        output_document document;
        json_writer *json = begin(e, &document);

        json_write_f64(json, "exact", t->exact);
        json_write_f64(json, "f1", t->f1);
        json_write_i64(json, "count", t->count);
        json_write_i64(json, "answerable", t->answerable);
        json_write_f64(json, "answerable_exact", t->answerable_exact);
        json_write_f64(json, "answerable_f1", t->answerable_f1);
        json_write_i64(json, "unanswerable", t->unanswerable);
        json_write_f64(json, "unanswerable_exact", t->unanswerable_exact);
        json_write_i64(json, "windows", t->windows);
        json_write_f64(json, "seconds", t->seconds);
        json_write_f64(json, "run_seconds", t->run_seconds);
        skim_report_write(json, &t->blocks);
        return end(e, &document, error);
    }
    (void)fprintf(out, "exact      %.2f %%\nF1         %.2f %%\n", 100 * t->exact, 100 * t->f1);
    if (t->unanswerable > 0) {
        (void)fprintf(out,
                      "answered   %.2f %% exact, F1 %.2f %%, of %" PRId64
                      " questions with an answer\n"
                      "abstained  %.2f %% of %" PRId64 " questions without one\n",
                      100 * t->answerable_exact, 100 * t->answerable_f1, t->answerable,
                      100 * t->unanswerable_exact, t->unanswerable);
    }
    (void)fprintf(out,
                  "questions  %" PRId64 " in %.2f s (%.1f per second, %.2f s in the model, %" PRId64
                  " windows)\n",
                  t->count, t->seconds, t->seconds > 0 ? (double)t->count / t->seconds : 0,
                  t->run_seconds, t->windows);
    skim_report_print(out, &t->blocks);
    return SPRY_OK;
}

static void note_answer(void *context, const spry_squad_question *question, const char *answer,
                        double exact, double f1)
{
    text_state *e = context;

    (void)exact;
    (void)f1;
    json_write_string(&e->json, question->id, answer);
}

static spry_status ask_all(text_state *e, const spry_squad *squad, spry_squad_totals *totals,
                           spry_error *error)
{
    spry_squad_options asked = spry_squad_options_default();
    const char *predictions = cli_text(e->call, "predictions");
    progress_bar bar;

    asked.limit = cli_integer(e->call, "limit");
    asked.answer.window = (int32_t)cli_integer(e->call, "window");
    asked.answer.none_threshold = cli_number(e->call, "none-threshold");
    if (cli_integer(e->call, "stride") > 0) {
        asked.answer.stride = (int32_t)cli_integer(e->call, "stride");
    }
    if (predictions != NULL) {
        asked.told = note_answer;
        asked.told_context = e;
        json_writer_init(&e->json, &e->answers, 1);
        json_write_object(&e->json, NULL);
    }
    progress_bar_begin(&bar, e->call);
    asked.progress = &bar.hook;
    spry_status status =
        spry_squad_evaluate(e->s.model, e->s.session, e->tokenizer, squad, &asked, totals, error);
    progress_bar_end(&bar);
    if (status == SPRY_OK && predictions != NULL) {
        json_write_end(&e->json);
        status = text_status(&e->answers, predictions, error);
        if (status == SPRY_OK) {
            status = file_replace(predictions, e->answers.data, e->answers.length, error);
        }
    }
    return status;
}

static spry_status evaluate_squad(text_state *e, spry_error *error)
{
    spry_squad *squad = NULL;
    spry_squad_totals totals;
    spry_status status = spry_squad_open(NULL, e->path, &squad, error);

    status = status == SPRY_OK ? ask_all(e, squad, &totals, error) : status;
    status = status == SPRY_OK ? tell_squad(e, &totals, error) : status;
    spry_squad_close(squad);
    if (status == SPRY_OK && cli_given(e->call, "at-least") &&
        totals.f1 < cli_number(e->call, "at-least")) {
        output_note(e->call, "F1 %.4f is below %s", totals.f1, cli_text(e->call, "at-least"));
        return SPRY_NEGATIVE;
    }
    return status;
}

/* ---- perplexity ---- */

static spry_status tell_perplexity(const text_state *e, const spry_perplexity *p, spry_error *error)
{
    if (cli_given(e->call, "json")) {
        output_document document;
        json_writer *json = begin(e, &document);

        json_write_f64(json, "perplexity", p->perplexity);
        json_write_f64(json, "loss", p->loss);
        json_write_f64(json, "bits_per_byte", p->bits_per_byte);
        json_write_f64(json, "accuracy", p->accuracy);
        json_write_i64(json, "tokens", p->tokens);
        json_write_i64(json, "bytes", p->bytes);
        json_write_i64(json, "windows", p->windows);
        json_write_f64(json, "seconds", p->seconds);
        json_write_f64(json, "run_seconds", p->run_seconds);
        return end(e, &document, error);
    }
    (void)fprintf(e->call->out,
                  "perplexity  %.4f\nloss        %.6f per token, %.4f bits per byte\n"
                  "next token  %.2f %% right\n"
                  "tokens      %" PRId64
                  " in %.2f s (%.0f per second, %.2f s in the model, %" PRId64 " windows)\n",
                  p->perplexity, p->loss, p->bits_per_byte, 100 * p->accuracy, p->tokens,
                  p->seconds, p->seconds > 0 ? (double)p->tokens / p->seconds : 0, p->run_seconds,
                  p->windows);
    return SPRY_OK;
}

static spry_status evaluate_perplexity(text_state *e, spry_error *error)
{
    spry_perplexity_options asked = spry_perplexity_options_default();
    spry_perplexity result = {0};
    progress_bar bar;
    file_map file;
    spry_status status = file_map_open(e->path, LIMIT_TEXT_BYTES, &file, error);

    if (status != SPRY_OK) {
        return status;
    }
    asked.window = (int32_t)cli_integer(e->call, "window");
    asked.stride = (int32_t)cli_integer(e->call, "stride");
    asked.limit = cli_integer(e->call, "limit");
    asked.output = cli_text(e->call, "output");
    progress_bar_begin(&bar, e->call);
    asked.progress = &bar.hook;
    status = spry_perplexity_measure(e->s.model, e->s.session, e->tokenizer,
                                     (const char *)file.data, file.size, &asked, &result, error);
    progress_bar_end(&bar);
    file_map_close(&file);
    return status == SPRY_OK ? tell_perplexity(e, &result, error) : status;
}

/* ---- the command ---- */

/* Options of classifiers do nothing here; ignoring them could mislead. */
static spry_status check_options(const cli_call *call, bool is_squad, spry_error *error)
{
    static const char *const classifiers[] = {"class-offset",   "batch",       "labels",
                                              "per-class",      "preprocess",  "output",
                                              "none-threshold", "predictions", "at-least"};
    enum { FOR_BOTH = 5, TEXT_HAS = 6 };

    for (size_t i = 0; i < sizeof classifiers / sizeof classifiers[0]; i++) {
        bool is_wrong = i < FOR_BOTH || (is_squad ? i < TEXT_HAS : i >= TEXT_HAS);

        if (is_wrong && cli_given(call, classifiers[i])) {
            return spry_fail(error, SPRY_USAGE, classifiers[i], NULL,
                             "the option does not go with %s data", is_squad ? "squad" : "text");
        }
    }
    if (cli_text(call, "vocab") == NULL) {
        return spry_fail(error, SPRY_USAGE, "--vocab", "for example --vocab vocab.txt",
                         "the model's vocabulary is needed to read text");
    }
    const char *predictions = cli_text(call, "predictions");
    return predictions != NULL ? output_check_free(call, predictions, error) : SPRY_OK;
}

spry_status evaluate_text(const cli_call *call, spry_error *error)
{
    text_state e = {.call = call};
    const char *data = cli_text(call, "data");
    bool is_squad = strncmp(data, squad_kind, sizeof squad_kind - 1) == 0;
    spry_status status = check_options(call, is_squad, error);

    text_init(&e.answers, NULL, LIMIT_JSON_BYTES);
    e.path = data + (is_squad ? sizeof squad_kind : sizeof text_kind) - 1;
    if (status == SPRY_OK) {
        status = spry_tokenizer_load(cli_text(call, "vocab"), NULL, &e.tokenizer, error);
    }
    if (status == SPRY_OK) {
        status = subject_open(&e.s, call, error);
    }
    if (status == SPRY_OK) {
        status = subject_open_session(&e.s, error);
    }
    if (status == SPRY_OK) {
        status = is_squad ? evaluate_squad(&e, error) : evaluate_perplexity(&e, error);
        subject_tell_cache(&e.s, call);
    }
    subject_close(&e.s);
    spry_tokenizer_destroy(e.tokenizer);
    text_fini(&e.answers);
    return status;
}
