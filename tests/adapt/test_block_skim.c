/* Making models that skip blocks of a text, teaching them, and choosing thresholds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/adapt.h"
#include "spry/answer.h"
#include "spry/tensor.h"
#include "spry/train.h"
#include "support/adapting.h"

enum { WINDOW = 40, BLOCK = 8, PREDICTORS = 2 };

static spry_error error;

static void expect(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static const char *path_of(const char *name)
{
    static char path[1024];
    const char *root = getenv("SPRY_SOURCE_DIR");

    (void)snprintf(path, sizeof path, "%s/tests/cli/models/%s", root != NULL ? root : ".", name);
    return path;
}

static spry_model *load(const char *name)
{
    spry_model *m = NULL;

    expect(spry_model_load(NULL, path_of(name), &m, &error));
    return m;
}

static spry_adapt_options skim_options(void)
{
    spry_adapt_options o = spry_adapt_options_default();

    o.method = "block-skim";
    o.block = BLOCK;
    return o;
}

static spry_model *adapt(const spry_model *base)
{
    spry_adapt_options o = skim_options();
    spry_adaptation *facts = NULL;
    spry_model *m = NULL;

    expect(spry_adapt(base, &o, &m, &facts, &error));
    assert_string_equal(spry_adaptation_method(facts), "block-skim");
    assert_int_equal(spry_adaptation_options(facts)->block, BLOCK);
    spry_adaptation_destroy(facts);
    return m;
}

/* ---- data ---- */

static spry_dataset *make_data(const char *json, int32_t window, spry_status wanted)
{
    spry_span_options o = spry_span_options_default();
    spry_squad *squad = NULL;
    spry_tokenizer *tokenizer = NULL;
    spry_dataset *data = NULL;

    o.window = window;
    o.stride = 8;
    expect(spry_tokenizer_load(path_of("reader_vocab.txt"), NULL, &tokenizer, &error));
    expect(spry_squad_parse(NULL, json, strlen(json), "questions", &squad, &error));
    assert_int_equal(spry_span_data(squad, tokenizer, &o, &data, &error), wanted);
    spry_squad_close(squad);
    spry_tokenizer_destroy(tokenizer);
    return data;
}

#define QUESTION(TEXT, ANSWER, START)                                                        \
    "{\"data\": [{\"title\": \"t\", \"paragraphs\": [{\"context\": \"" TEXT "\", \"qas\": [" \
    "{\"id\": \"1\", \"question\": \"when ?\", \"answers\": [{\"text\": \"" ANSWER           \
    "\", \"answer_start\": " START "}]}]}]}]}"

#define TEXT                                                                                       \
    "the old bridge of rollo was built in 1204 by the normans , and the new bridge was opened in " \
    "june 1875"

static void labels_are_tokens_of_windows(void **state)
{
    spry_dataset *data = make_data(QUESTION(TEXT, "1204", "37"), WINDOW, SPRY_OK);
    spry_tensor *sample = NULL;

    (void)state;
    /* [CLS] when ? [SEP] the old bridge of rollo was built in 1204: token 12 */
    assert_int_equal(spry_dataset_count(data), 1);
    assert_int_equal(spry_dataset_label(data, 0), 12 + WINDOW * 12);
    expect(spry_dataset_sample(data, 0, &sample, &error));
    assert_int_equal(spry_tensor_shape(sample)[0], WINDOW);
    spry_tensor_destroy(sample);
    spry_dataset_close(data);

    data = make_data(QUESTION(TEXT, "in june 1875", "89"), 16, SPRY_OK);
    assert_int_equal(spry_dataset_count(data), 3); /* room for 11 of 22 tokens, 8 apart */
    assert_int_equal(spry_dataset_label(data, 0), 0);
    assert_int_equal(spry_dataset_label(data, 1), 0);
    assert_int_equal(spry_dataset_label(data, 2), 7 + 16 * 9);
    spry_dataset_close(data);
    assert_null(make_data(QUESTION(TEXT, "1204", "37"), 4, SPRY_USAGE));
    assert_null(make_data(QUESTION("   ", " ", "0"), 16, SPRY_USAGE));
}

/* ---- learning ---- */

static void set(spry_model *m, const char *name, float first, float second)
{
    int64_t count;
    float *data = adapting_tensor(m, name, &count);

    for (int64_t i = 0; i < count; i++) {
        data[i] = i % 2 == 0 ? first : second;
    }
}

/* Steps at a rate; what the objective told of the last epoch. */
static double train(const spry_model *m, spry_dataset *data, const spry_adapt_goal *goal,
                    double rate, spry_model **trained, double watched[2])
{
    spry_train_options o = spry_train_options_default();
    spry_train_objective *objective = NULL;
    spry_training *facts = NULL;
    const spry_train_epoch *epochs = NULL;
    double loss;

    expect(spry_adapt_objective(m, goal, &objective, &error));
    o.data = data;
    o.batch = 1;
    o.steps = 1;
    o.rate = rate;
    o.momentum = 0;
    o.decay = 0;
    o.schedule = SPRY_SCHEDULE_CONSTANT;
    o.threads = 1;
    o.objective = objective;
    o.freeze_statistics = true;
    expect(spry_train(m, &o, trained, &facts, &error));
    assert_true(spry_training_epochs(facts, &epochs) >= 1);
    assert_string_equal(epochs[0].watched_names[1], "blocks");
    watched[0] = epochs[0].watched[0];
    watched[1] = epochs[0].watched[1];
    loss = epochs[0].loss;
    spry_training_destroy(facts);
    spry_train_objective_destroy(objective);
    return loss;
}

/* With logits (0, c) for every block, blocks without the answer cost log(1 + e^c), those with it
 * log(1 + e^-c), and the mean is weighted. */
static double blocks_loss(double c, double without, double with, double balance)
{
    return PREDICTORS * (without * log1p(exp(c)) + balance * with * log1p(exp(-c))) /
           (without + balance * with);
}

static void weighted_means(void **state)
{
    spry_model *base = load("reader_deep.onnx");
    spry_model *m = adapt(base);
    spry_adapt_goal goal = spry_adapt_goal_default();
    /* tokens 15 and 16: in two blocks of four with text, one token in each */
    spry_dataset *data = make_data(QUESTION(TEXT, "normans ,", "49"), WINDOW, SPRY_OK);
    double watched[2];

    (void)state;
    for (int layer = 0; layer < PREDICTORS; layer++) {
        char name[64];

        (void)snprintf(name, sizeof name, "skim%d_fc_weight", layer);
        set(m, name, 0, 0);
    }
    for (int turn = 0; turn < 3; turn++) {
        double c = turn == 0 ? 0.0 : 1.5;
        double with = turn == 2 ? 0 : 2;
        spry_model *trained = NULL;
        double loss;

        goal.strict_blocks = turn == 2;
        set(m, "skim0_fc_bias", 0, (float)c);
        set(m, "skim1_fc_bias", 0, (float)c);
        loss = train(m, data, &goal, 0, &trained, watched);
        assert_int_equal(spry_dataset_label(data, 0), 15 + WINDOW * 16);
        assert_true(fabs(watched[1] - blocks_loss(c, 4 - with, with, 20)) < 1e-5);
        assert_true(fabs(loss - watched[0] - 0.1 * watched[1]) < 1e-5);
        spry_model_destroy(trained);
    }
    spry_dataset_close(data);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* The gradient of all of the loss by a weight, against differences: through the pool, the norm, the
 * convolutions and the softmax into the products of queries. */
static void gradients(void **state)
{
    static const char *const names[] = {
        "skim0_conv1_weight", "skim1_conv2_bias", "skim1_fc_weight", "q0.w", "k1.w", "word"};
    spry_model *base = load("reader_deep.onnx");
    spry_model *m = adapt(base);
    spry_adapt_goal goal = spry_adapt_goal_default();
    spry_dataset *data = make_data(QUESTION(TEXT, "1204", "37"), WINDOW, SPRY_OK);
    double watched[2];

    (void)state;
    goal.harmony = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const double step = 2e-3;
        spry_model *trained = NULL;
        int64_t count;
        float *weight = adapting_tensor(m, names[i], &count);
        int64_t at = count / 3;
        float before = weight[at];
        double slope;
        double ends[2];

        (void)train(m, data, &goal, 1, &trained, watched);
        slope = (double)before - adapting_tensor(trained, names[i], &count)[at];
        spry_model_destroy(trained);
        for (int side = 0; side < 2; side++) {
            weight[at] = before + (float)(side == 0 ? -step : step);
            trained = NULL;
            ends[side] = train(m, data, &goal, 0, &trained, watched);
            spry_model_destroy(trained);
        }
        weight[at] = before;
        assert_true(fabs(slope - (ends[1] - ends[0]) / (2 * step)) <
                    2e-2 * fabs(slope) + 4e-4); /* losses are f32 */
    }
    spry_dataset_close(data);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* ---- thresholds ---- */

static void thresholds_are_chosen(void **state)
{
    spry_model *base = load("reader_deep.onnx");
    spry_model *m = adapt(base);
    spry_model *chosen = NULL;
    spry_skim_options o = spry_skim_options_default();
    spry_dataset *data = make_data(QUESTION(TEXT, "june 1875", "92"), WINDOW, SPRY_OK);
    spry_skim_layer layers[PREDICTORS];
    int32_t count;
    int64_t elements;

    (void)state;
    o.threshold = 0.25;
    expect(spry_adapt_choose_thresholds(m, data, &o, &chosen, layers, PREDICTORS, &count, &error));
    assert_int_equal(count, PREDICTORS);
    assert_true(adapting_tensor(chosen, "skim1_threshold", &elements)[0] == 0.25f);
    assert_true(adapting_tensor(m, "skim1_threshold", &elements)[0] == 0.0f);
    /* 27 tokens are in four blocks, the first of which is the question's; the answer, 24 and 25, is
     * in one */
    assert_int_equal(layers[0].blocks, 3);
    assert_int_equal(layers[0].answers, 1);
    spry_model_destroy(chosen);
    o.threshold = -1; /* one answer cannot promise anything */
    expect(spry_adapt_choose_thresholds(m, data, &o, &chosen, layers, PREDICTORS, &count, &error));
    assert_true(layers[0].threshold == 0 && layers[0].recall == 1 && layers[0].kept == 1);
    spry_model_destroy(chosen);
    o.miss = 0.9999; /* nor can it be lost: (1 + 1) / (1 + 1) is more */
    o.threshold = 1.0;
    assert_int_equal(
        spry_adapt_choose_thresholds(m, data, &o, &chosen, layers, PREDICTORS, &count, &error),
        SPRY_USAGE);
    o.threshold = -1;
    o.miss = 0;
    assert_int_equal(
        spry_adapt_choose_thresholds(m, data, &o, &chosen, layers, PREDICTORS, &count, &error),
        SPRY_USAGE);
    o = spry_skim_options_default();
    assert_int_equal(
        spry_adapt_choose_thresholds(base, data, &o, &chosen, layers, PREDICTORS, &count, &error),
        SPRY_USAGE);
    spry_dataset_close(data);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* ---- what is refused ---- */

static void refuse(const spry_model *base, int32_t block, spry_status wanted, const char *said)
{
    spry_adapt_options o = skim_options();
    spry_adaptation *facts = NULL;
    spry_model *m = NULL;

    o.block = block;
    assert_int_equal(spry_adapt(base, &o, &m, &facts, &error), wanted);
    assert_non_null(strstr(error.what, said));
    assert_null(m);
}

static void what_is_refused(void **state)
{
    spry_model *deep = load("reader_deep.onnx");
    spry_model *shallow = load("reader_bert.onnx");
    spry_model *reader = load("reader.onnx");
    spry_model *vit = adapting_vit(2);
    spry_model *adapted = adapt(deep);

    (void)state;
    refuse(deep, 0, SPRY_USAGE, "0 tokens");
    refuse(deep, 6, SPRY_USAGE, "6 tokens");
    refuse(deep, 512, SPRY_USAGE, "512 tokens");
    refuse(shallow, 8, SPRY_UNSUPPORTED, "1 encoder layers");
    refuse(reader, 8, SPRY_UNSUPPORTED, "0 encoder layers");
    refuse(vit, 8, SPRY_UNSUPPORTED, "0 encoder layers were found: ");
    refuse(adapted, 8, SPRY_BAD_INPUT, "adapted already");
    spry_model_destroy(adapted);
    spry_model_destroy(vit);
    spry_model_destroy(reader);
    spry_model_destroy(shallow);
    spry_model_destroy(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_tokens_of_windows), cmocka_unit_test(weighted_means),
        cmocka_unit_test(gradients), cmocka_unit_test(thresholds_are_chosen),
        cmocka_unit_test(what_is_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
