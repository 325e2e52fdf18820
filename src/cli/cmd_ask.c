/* spry ask: an answer from a text. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "cli/adapt/skim_report.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/subject.h"
#include "cli/table.h"
#include "spry/answer.h"

static const cli_option options[] = {
    {.name = "question", .letter = 'Q', .kind = CLI_TEXT, .value = "TEXT", .help = "the question"},
    {.name = "context",
     .letter = 'c',
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "the text that holds the answer"},
    {.name = "vocab",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "the model's vocab.txt or tokenizer.json"},
    {.name = "top",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 100,
     .help = "list the N best answers"},
    {.name = "window",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1048576,
     .help = "most tokens at once, 0 for what the model fixes, else 384"},
    {.name = "stride",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "128",
     .lowest = 1,
     .highest = 1048576,
     .help = "tokens from one window to the next"},
    {.name = "longest",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "30",
     .lowest = 1,
     .highest = 1048576,
     .help = "most tokens of an answer"},
    {.name = "may-be-none",
     .kind = CLI_FLAG,
     .help = "the model was taught to say that there is no answer (SQuAD 2.0)"},
    {.name = "none-threshold",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = -1000000,
     .highest = 1000000,
     .help = "by how much no answer must score better than the best one"},
    {.name = "seed",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 9007199254740992.0,
     .help = "seed of random operators"},
    SUBJECT_SESSION_OPTIONS,
    {0},
};

/* Around an answer in its text. */
enum { AROUND_BYTES = 200 };

typedef struct ask_state {
    const cli_call *call;
    subject s;
    spry_tokenizer *tokenizer;
    char *context; /* NUL-terminated */
    size_t size;
    spry_answers *answers;
    const spry_answer *list;
    int32_t count;
    spry_answers_info info;
} ask_state;

/* ---- telling ---- */

/* Text with line ends and controls as blanks: it goes to a terminal. */
static void print_plain(FILE *out, const char *from, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        uint8_t c = (uint8_t)from[i];
        (void)fputc(c < 0x20 || c == 0x7f ? ' ' : c, out);
    }
}

/* Moves to the beginning of a word, at most AROUND_BYTES away. */
static int64_t step_out(const ask_state *a, int64_t from, int64_t by)
{
    int64_t at = from + by < 0 ? 0 : from + by > (int64_t)a->size ? (int64_t)a->size : from + by;

    while (at > 0 && at < (int64_t)a->size && a->context[at] != ' ' && a->context[at] != '\n' &&
           at != from) {
        at += by < 0 ? 1 : -1;
    }
    return at;
}

static void print_answer(const ask_state *a, const spry_answer *answer)
{
    bool color = cli_color(a->call, a->call->out);
    int64_t first = step_out(a, answer->begin, -AROUND_BYTES);
    int64_t last = step_out(a, answer->end, AROUND_BYTES);
    FILE *out = a->call->out;

    (void)fprintf(out, "\n%s", first > 0 ? "..." : "");
    print_plain(out, a->context, first, answer->begin);
    (void)fprintf(out, "%s", color ? cli_style(color, CLI_LOOK_BOLD) : "[");
    print_plain(out, a->context, answer->begin, answer->end);
    (void)fprintf(out, "%s", color ? cli_style(color, CLI_LOOK_PLAIN) : "]");
    print_plain(out, a->context, answer->end, last);
    (void)fprintf(out, "%s\n", last < (int64_t)a->size ? "..." : "");
}

static spry_status print_list(const ask_state *a, spry_error *error)
{
    static const table_column columns[] = {{"score", true}, {"%", true},       {"begin", true},
                                           {"end", true},   {"answer", false}, {NULL, false}};
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < a->count; i++) {
        const spry_answer *answer = &a->list[i];

        table_cell(&t, "%.3f", answer->score);
        table_cell(&t, "%.1f", 100 * answer->probability);
        table_cell(&t, "%" PRId64, answer->begin);
        table_cell(&t, "%" PRId64, answer->end);
        table_cell(&t, "%.*s", (int)(answer->end - answer->begin), a->context + answer->begin);
    }
    (void)fputc('\n', a->call->out);
    spry_status status = table_print(&t, TABLE_PLAIN, a->call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_text(const ask_state *a, spry_error *error)
{
    FILE *out = a->call->out;

    if (a->info.is_none || a->count == 0) {
        (void)fprintf(out, "no answer (score %.3f)\n", a->info.none_score);
    } else {
        (void)fprintf(out, "answer  ");
        print_plain(out, a->context, a->list[0].begin, a->list[0].end);
        (void)fprintf(out,
                      "\nscore   %.3f, %.1f %% among the candidates\nplace   bytes %" PRId64
                      " to %" PRId64 ", window %d of %d\n",
                      a->list[0].score, 100 * a->list[0].probability, a->list[0].begin,
                      a->list[0].end, (int)a->list[0].window + 1, (int)a->info.windows);
        print_answer(a, &a->list[0]);
    }
    if (a->info.blocks.layer_count > 0) {
        (void)fprintf(out, "\n");
        skim_report_print(out, &a->info.blocks);
    }
    return a->count > 0 && cli_integer(a->call, "top") > 1 ? print_list(a, error) : SPRY_OK;
}

static spry_status print_json(const ask_state *a, spry_error *error)
{
    const output_record record = output_record_of(a->s.path, &a->s.options);
    output_document document;

    output_begin(&document, a->call);
    json_writer *json = &document.json;
    json_write_string(json, "question", cli_text(a->call, "question"));
    json_write_bool(json, "is_none", a->info.is_none || a->count == 0);
    json_write_f64(json, "none_score", a->info.none_score);
    json_write_i64(json, "windows", a->info.windows);
    json_write_i64(json, "context_tokens", a->info.context_tokens);
    json_write_i64(json, "question_tokens", a->info.question_tokens);
    json_write_f64(json, "run_seconds", a->info.run_seconds);
    skim_report_write(json, &a->info.blocks);
    json_write_array(json, "answers");
    for (int32_t i = 0; i < a->count; i++) {
        const spry_answer *answer = &a->list[i];

        json_write_object(json, NULL);
        json_write_bytes(json, "text", a->context + answer->begin,
                         (size_t)(answer->end - answer->begin));
        json_write_i64(json, "begin", answer->begin);
        json_write_i64(json, "end", answer->end);
        json_write_f64(json, "score", answer->score);
        json_write_f64(json, "probability", answer->probability);
        json_write_i64(json, "window", answer->window);
        json_write_end(json);
    }
    json_write_end(json);
    spry_status status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, a->call, error);
}

/* ---- the command ---- */

static spry_status read_context(ask_state *a, spry_error *error)
{
    const char *path = cli_text(a->call, "context");
    file_map map;
    spry_status status = file_map_open(path, LIMIT_TEXT_BYTES, &map, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (memchr(map.data, '\0', map.size) != NULL) {
        status = spry_fail(error, SPRY_BAD_INPUT, path, "give a text in UTF-8",
                           "the file holds a NUL byte: it is no text");
    } else {
        a->context = alloc_text(spry_allocator_system(), (const char *)map.data, map.size);
        a->size = map.size;
        status = a->context != NULL ? SPRY_OK : alloc_failed(error, map.size + 1);
    }
    file_map_close(&map);
    return status;
}

static spry_status check(const cli_call *call, spry_error *error)
{
    static const char *const needed[] = {"question", "context", "vocab"};

    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (cli_text(call, needed[i]) == NULL) {
            return spry_fail(error, SPRY_USAGE, needed[i],
                             "spry ask MODEL --vocab FILE --context FILE --question TEXT",
                             "the option is missing");
        }
    }
    return SPRY_OK;
}

static spry_status ask(ask_state *a, spry_error *error)
{
    spry_answer_options asked = spry_answer_options_default();

    asked.top = (int32_t)cli_integer(a->call, "top");
    asked.window = (int32_t)cli_integer(a->call, "window");
    asked.stride = (int32_t)cli_integer(a->call, "stride");
    asked.longest_answer = (int32_t)cli_integer(a->call, "longest");
    asked.may_be_none = cli_given(a->call, "may-be-none");
    asked.none_threshold = cli_number(a->call, "none-threshold");
    spry_status status =
        spry_answer_find(a->s.model, a->s.session, a->tokenizer, cli_text(a->call, "question"),
                         a->context, &asked, &a->answers, error);
    if (status == SPRY_OK) {
        a->count = spry_answers_list(a->answers, &a->list);
        a->info = spry_answers_describe(a->answers);
        status = cli_given(a->call, "json") ? print_json(a, error) : print_text(a, error);
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    ask_state a = {.call = call};
    spry_status status = check(call, error);

    status = status == SPRY_OK ? read_context(&a, error) : status;
    if (status == SPRY_OK) {
        status = spry_tokenizer_load(cli_text(call, "vocab"), NULL, &a.tokenizer, error);
    }
    status = status == SPRY_OK ? subject_open(&a.s, call, error) : status;
    status = status == SPRY_OK ? subject_open_session(&a.s, error) : status;
    if (status == SPRY_OK) {
        status = ask(&a, error);
        subject_tell_cache(&a.s, call);
    }
    spry_answers_destroy(a.answers);
    subject_close(&a.s);
    spry_tokenizer_destroy(a.tokenizer);
    alloc_release(spry_allocator_system(), a.context, a.size + 1);
    return status;
}

const cli_command cmd_ask = {
    .name = "ask",
    .summary = "answer a question from a text",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry ask bert-squad.onnx --vocab vocab.txt --context article.txt "
                 "--question \"Where is Normandy?\"",
                 "spry ask bert-squad.onnx --vocab vocab.txt --context article.txt "
                 "--question \"Who was Rollo?\" --top 5 --json"},
    .description =
        "Runs a model for extractive question answering (BERT fine-tuned on SQuAD and its "
        "relatives) and prints the part of the text that answers the question, with its score, the "
        "bytes where it stands, and what is around it.\n\n"
        "A text that does not fit behind the question is read in windows that overlap; --stride "
        "says how far they lie apart. The score is the sum of two logits: it compares answers to "
        "one question, not questions.",
    .options = options,
    .run = run,
};
