/* spry tokenize: what a tokenizer makes of a text. */
#include <inttypes.h>
#include <string.h>

#include "base/files.h"
#include "base/limits.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "spry/tokenizer.h"

static const cli_option options[] = {
    {.name = "file", .letter = 'f', .kind = CLI_PATH, .value = "FILE", .help = "the text"},
    {.name = "pair", .kind = CLI_TEXT, .value = "TEXT", .help = "a second text"},
    {.name = "no-special",
     .kind = CLI_FLAG,
     .help = "no special tokens around the text, none found in it"},
    {.name = "cased", .kind = CLI_FLAG, .help = "a vocab.txt that keeps capitals and accents"},
    {.name = "uncased",
     .kind = CLI_FLAG,
     .help = "a vocab.txt without them; otherwise its tokens tell"},
    {.name = "ids", .kind = CLI_FLAG, .help = "print only the ids, in one line"},
    {0},
};

typedef struct tokenize_state {
    const cli_call *call;
    spry_tokenizer *tokenizer;
    spry_encoding *encoding;
    file_map file;
    const char *text;
    size_t size;
    const spry_token *tokens;
    int64_t count;
} tokenize_state;

static spry_status print_ids(const tokenize_state *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        (void)fprintf(s->call->out, "%s%" PRId64, i > 0 ? " " : "", s->tokens[i].id);
    }
    (void)fputc('\n', s->call->out);
    return SPRY_OK;
}

/* The bytes a token came from. */
static const char *origin(const tokenize_state *s, const spry_token *t, int *length)
{
    const char *from = t->source == 1 ? cli_text(s->call, "pair") : s->text;

    *length = (int)(t->end - t->begin);
    return from != NULL ? from + t->begin : "";
}

static spry_status print_table(const tokenize_state *s, spry_error *error)
{
    static const table_column columns[] = {{"id", true},  {"token", false},  {"begin", true},
                                           {"end", true}, {"segment", true}, {"text", false},
                                           {NULL, false}};
    table t;

    table_init(&t, columns);
    for (int64_t i = 0; i < s->count; i++) {
        const spry_token *token = &s->tokens[i];
        const char *name = spry_tokenizer_token(s->tokenizer, token->id);
        int length = 0;
        const char *from = origin(s, token, &length);

        table_cell(&t, "%" PRId64, token->id);
        table_cell(&t, "%s", name != NULL ? name : "");
        table_cell(&t, "%" PRId64, token->begin);
        table_cell(&t, "%" PRId64, token->end);
        table_cell(&t, "%d", (int)token->segment);
        table_cell(&t, "%.*s", length, from);
    }
    spry_status status = table_print(&t, TABLE_PLAIN, s->call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_json(const tokenize_state *s, spry_error *error)
{
    spry_tokenizer_info info = spry_tokenizer_describe(s->tokenizer);
    output_document document;

    output_begin(&document, s->call);
    json_writer *json = &document.json;
    json_write_string(json, "tokenizer", s->call->arguments[0]);
    json_write_string(json, "kind", info.kind);
    json_write_i64(json, "vocabulary", info.size);
    json_write_bool(json, "lower_case", info.lower_case);
    json_write_array(json, "tokens");
    for (int64_t i = 0; i < s->count; i++) {
        const spry_token *token = &s->tokens[i];

        json_write_object(json, NULL);
        json_write_i64(json, "id", token->id);
        json_write_string(json, "token", spry_tokenizer_token(s->tokenizer, token->id));
        json_write_i64(json, "begin", token->begin);
        json_write_i64(json, "end", token->end);
        json_write_i64(json, "segment", token->segment);
        json_write_i64(json, "source", token->source);
        json_write_end(json);
    }
    json_write_end(json);
    return output_end(&document, s->call, error);
}

static spry_status encode(tokenize_state *s, spry_error *error)
{
    spry_tokenizer_options asked = spry_tokenizer_options_default();
    spry_encode_options how = spry_encode_options_default();
    const cli_call *call = s->call;

    if ((call->argument_count == 2) == cli_given(call, "file")) {
        return spry_fail(error, SPRY_USAGE, "TEXT", "spry tokenize vocab.txt \"some text\"",
                         "give the text, or a file with --file");
    }
    if (cli_given(call, "cased") && cli_given(call, "uncased")) {
        return spry_fail(error, SPRY_USAGE, "--cased", NULL, "--uncased says the contrary");
    }
    asked.lower_case = cli_given(call, "cased")     ? SPRY_LOWER_CASE_NO
                       : cli_given(call, "uncased") ? SPRY_LOWER_CASE_YES
                                                    : SPRY_LOWER_CASE_AUTO;
    spry_status status = spry_tokenizer_load(call->arguments[0], &asked, &s->tokenizer, error);
    if (status == SPRY_OK && cli_given(call, "file")) {
        status = file_map_open(cli_text(call, "file"), LIMIT_TEXT_BYTES, &s->file, error);
        s->text = (const char *)s->file.data;
        s->size = s->file.size;
    } else if (status == SPRY_OK) {
        s->text = call->arguments[1];
        s->size = strlen(s->text);
    }
    how.pair = cli_text(call, "pair");
    how.pair_size = how.pair != NULL ? strlen(how.pair) : 0;
    how.no_special = cli_given(call, "no-special");
    how.no_special_in_text = how.no_special;
    return status == SPRY_OK
               ? spry_tokenizer_encode(s->tokenizer, s->text, s->size, &how, &s->encoding, error)
               : status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    tokenize_state s = {.call = call};
    spry_status status = encode(&s, error);

    if (status == SPRY_OK) {
        s.count = spry_encoding_tokens(s.encoding, &s.tokens);
        status = cli_given(call, "json")  ? print_json(&s, error)
                 : cli_given(call, "ids") ? print_ids(&s)
                                          : print_table(&s, error);
    }
    spry_encoding_destroy(s.encoding);
    spry_tokenizer_destroy(s.tokenizer);
    file_map_close(&s.file);
    return status;
}

const cli_command cmd_tokenize = {
    .name = "tokenize",
    .summary = "show the tokens of a text",
    .arguments = "TOKENIZER [TEXT]",
    .least_arguments = 1,
    .most_arguments = 2,
    .examples = {"spry tokenize vocab.txt \"In what country is Normandy?\"",
                 "spry tokenize tokenizer.json --file story.txt --ids"},
    .description =
        "Prints the tokens that a model is given for a text: their ids, how the vocabulary writes "
        "them, and the bytes of the text that each came from.\n\n"
        "TOKENIZER is a vocab.txt (WordPiece), a tokenizer.json (WordPiece, byte pairs), or a "
        "tokenizer.bin of llama2.c; its content tells which.",
    .options = options,
    .run = run,
};
