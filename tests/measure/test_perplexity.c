/* Perplexity: a model that looks at one token gives the same in windows of any size, and a real
 * language model what its recorded logits say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/perplexity.h"
#include "spry/tensor_file.h"
#include "support/data.h"

typedef struct predictor {
    spry_model *model;
    spry_session *session;
    spry_tokenizer *tokenizer;
} predictor;

static void open_predictor(predictor *p, const char *model, const char *vocab)
{
    spry_session_options options = spry_session_options_default();

    options.threads = 1;
    assert_int_equal(spry_model_load(NULL, model, &p->model, NULL), SPRY_OK);
    assert_int_equal(spry_session_create(p->model, &options, &p->session, NULL), SPRY_OK);
    assert_int_equal(spry_tokenizer_load(vocab, NULL, &p->tokenizer, NULL), SPRY_OK);
}

static void close_predictor(predictor *p)
{
    spry_session_destroy(p->session);
    spry_model_destroy(p->model);
    spry_tokenizer_destroy(p->tokenizer);
}

static const char *of_tests(const char *name)
{
    static char path[2][1024];
    static int turn;
    const char *root = getenv("SPRY_SOURCE_DIR");

    if (root == NULL) {
        skip();
    }
    turn = 1 - turn;
    (void)snprintf(path[turn], sizeof path[turn], "%s/tests/cli/models/%s", root, name);
    return path[turn];
}

static const char words[] =
    "The old bridge of Rollo was built in 1204 by the Normans. The new one was "
    "opened in June 1875, in the city of stone.";

static void windows_do_not_matter_to_a_model_of_pairs(void **state)
{
    static const char *const models[] = {"bigram.onnx", "bigram_fixed.onnx"};

    (void)state;
    for (int m = 0; m < 2; m++) {
        spry_perplexity_options options = spry_perplexity_options_default();
        spry_perplexity whole;
        predictor p;

        open_predictor(&p, of_tests(models[m]), of_tests("reader_vocab.txt"));
        assert_int_equal(spry_perplexity_measure(p.model, p.session, p.tokenizer, words,
                                                 strlen(words), &options, &whole, NULL),
                         SPRY_OK);
        assert_int_equal(whole.tokens, 29); /* [SEP] as well; [CLS] is not predicted */
        assert_int_equal(whole.bytes, strlen(words));
        assert_true(fabs(whole.perplexity - exp(whole.loss)) < 1e-9);
        for (int32_t window = 2; window < 40; window += 3) {
            for (int32_t stride = 1; stride < window && stride < 12; stride += 2) {
                spry_perplexity r;

                options.window = window;
                options.stride = stride;
                spry_status status = spry_perplexity_measure(p.model, p.session, p.tokenizer, words,
                                                             strlen(words), &options, &r, NULL);
                assert_int_equal(status, SPRY_OK);
                assert_int_equal(r.tokens, whole.tokens);
                assert_true(fabs(r.loss - whole.loss) < 1e-12);
                assert_true(r.accuracy == whole.accuracy);
            }
        }
        close_predictor(&p);
    }
}

static void what_makes_no_sense_is_refused(void **state)
{
    spry_perplexity_options options = spry_perplexity_options_default();
    spry_perplexity r;
    spry_error error;
    predictor p;

    (void)state;
    open_predictor(&p, of_tests("bigram.onnx"), of_tests("reader_vocab.txt"));
    options.window = 8;
    options.stride = 8;
    assert_int_equal(spry_perplexity_measure(p.model, p.session, p.tokenizer, words, strlen(words),
                                             &options, &r, &error),
                     SPRY_USAGE);
    assert_non_null(strstr(error.what, "cannot lie 8 apart"));
    options = spry_perplexity_options_default();
    options.output = "other";
    assert_int_equal(spry_perplexity_measure(p.model, p.session, p.tokenizer, words, strlen(words),
                                             &options, &r, &error),
                     SPRY_USAGE);
    options = spry_perplexity_options_default();
    options.limit = 1;
    assert_int_equal(spry_perplexity_measure(p.model, p.session, p.tokenizer, words, strlen(words),
                                             &options, &r, &error),
                     SPRY_USAGE);
    close_predictor(&p);
}

/* The mean of -ln p of tokens 1 and on, from logits f32[1, T, V]. */
static double plain_loss(const spry_tensor *ids, const spry_tensor *logits, int64_t count)
{
    const int64_t *id = spry_tensor_const_data(ids);
    const float *row = spry_tensor_const_data(logits);
    int64_t size = spry_tensor_shape(logits)[2];
    double sum = 0;

    for (int64_t t = 1; t < count; t++, row += size) {
        double total = 0;

        for (int64_t i = 0; i < size; i++) {
            total += exp((double)row[i]);
        }
        sum += log(total) - (double)row[id[t]];
    }
    return sum / (double)(count - 1);
}

static void a_language_model_gives_what_its_logits_say(void **state)
{
    spry_perplexity_options options = spry_perplexity_options_default();
    spry_archive *archive = NULL;
    const spry_tensor *ids = NULL;
    const spry_tensor *logits = NULL;
    spry_perplexity r;
    predictor p;
    char story[1024];
    char vocab[1024];
    size_t length = 0;

    (void)state;
    (void)snprintf(vocab, sizeof vocab, "%s", data_path("stories260k/tok512.bin"));
    assert_int_equal(
        spry_archive_open(NULL, data_path("stories260k/reference.npz"), &archive, NULL), SPRY_OK);
    open_predictor(&p, data_path("stories260k/stories260k.onnx"), vocab);
    assert_int_equal(
        spry_archive_tensor(archive, spry_archive_find(archive, "input_ids"), &ids, NULL), SPRY_OK);
    assert_int_equal(
        spry_archive_tensor(archive, spry_archive_find(archive, "logits"), &logits, NULL), SPRY_OK);
    int64_t count = spry_tensor_count(ids);
    assert_int_equal(spry_tokenizer_decode(p.tokenizer, spry_tensor_const_data(ids), count, true,
                                           story, sizeof story, &length, NULL),
                     SPRY_OK);
    assert_int_equal(
        spry_perplexity_measure(p.model, p.session, p.tokenizer, story, length, &options, &r, NULL),
        SPRY_OK);
    assert_int_equal(r.tokens, count - 1);
    assert_true(fabs(r.loss - plain_loss(ids, logits, count)) < 1e-5);
    assert_true(r.accuracy > 0.95); /* the model wrote the story itself, choosing the best */
    spry_archive_close(archive);
    close_predictor(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_do_not_matter_to_a_model_of_pairs),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_language_model_gives_what_its_logits_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
