/* Asks a model a question about a text, and prints the best answers.
 *
 *     ./answer MODEL.onnx vocab.txt "In June 1875 a bridge was built." "When was it built?"
 *
 * Without arguments it asks a toy that marks dates. */
#include <stdio.h>
#include <string.h>

#include "spry/spry.h"

/* Prints the error as the program `spry` does. */
static int report(const spry_error *error)
{
    (void)fprintf(stderr, "%s: %s\n%s\n", error->where, error->what, error->remedy);
    return (int)error->code;
}

static spry_status ask(const spry_model *model, spry_session *session,
                       const spry_tokenizer *tokenizer, const char *const *texts, spry_error *error)
{
    spry_answer_options options = spry_answer_options_default();
    spry_answers *answers = NULL;
    const spry_answer *list = NULL;

    options.top = 3;
    spry_status status =
        spry_answer_find(model, session, tokenizer, texts[1], texts[0], &options, &answers, error);
    if (status != SPRY_OK) {
        return status;
    }
    int count = (int)spry_answers_list(answers, &list);
    for (int i = 0; i < count; i++) {
        printf("%8.3f  %.*s\n", list[i].score, (int)(list[i].end - list[i].begin),
               texts[0] + list[i].begin);
    }
    spry_answers_destroy(answers);
    return SPRY_OK;
}

int main(int count, char **words)
{
    const char *given[] = {"answer", "tests/cli/models/reader.onnx",
                           "tests/cli/models/reader_vocab.txt", "In June 1875 a bridge was built.",
                           "When was it built?"};
    spry_session_options options = spry_session_options_default();
    spry_tokenizer *tokenizer = NULL;
    spry_model *model = NULL;
    spry_session *session = NULL;
    spry_error error = {0};

    for (int i = 1; count == 5 && i < count; i++) {
        given[i] = words[i];
    }
    spry_status status = spry_tokenizer_load(given[2], NULL, &tokenizer, &error);
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, given[1], &model, &error);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(model, &options, &session, &error);
    }
    if (status == SPRY_OK) {
        status = ask(model, session, tokenizer, given + 3, &error);
    }
    spry_session_destroy(session);
    spry_model_destroy(model);
    spry_tokenizer_destroy(tokenizer);
    return status == SPRY_OK ? 0 : report(&error);
}
