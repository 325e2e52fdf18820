/* Surveys of a real language model while it runs, against the maps that it shows itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/heads_features.h"
#include "model/model.h"
#include "runtime/attention/probe.h"
#include "spry/heads.h"
#include "spry/spry.h"
#include "support/data.h"
#include "support/planted.h"

enum { LAYERS = 5, HEADS = 8, TOKENS = 64, MAP = TOKENS * TOKENS };

typedef struct seen {
    const float *maps; /* [LAYERS][HEADS][TOKENS][TOKENS] */
    int layers;
    double most; /* difference */
    int8_t classes[TOKENS];
} seen;

/* Features from the survey against those from the map. */
static void see(void *context, const char *name, const attention_problem *p,
                const attention_survey *survey)
{
    seen *s = context;
    double offsets[2 * TOKENS];

    (void)name;
    assert_int_equal(p->heads, HEADS);
    assert_int_equal(p->rows, TOKENS);
    for (int64_t h = 0; h < HEADS; h++) {
        double map[MAP];
        double wanted[SPRY_HEAD_FEATURES];
        double got[SPRY_HEAD_FEATURES];
        heads_view v = heads_view_of(p, survey, h);

        for (int64_t i = 0; i < MAP; i++) {
            map[i] = (double)s->maps[(s->layers * HEADS + h) * MAP + i];
        }
        heads_view dumped = planted_view(map, TOKENS, 0);

        v.is_causal = dumped.is_causal = true;
        assert_true(heads_features(&v, got, offsets));
        /* The view of the map counts by its own classes in rows, and has all rows in sums. */
        assert_true(heads_features(&dumped, wanted, offsets));
        for (int f = 0; f < SPRY_HEAD_FEATURES; f++) {
            s->most = fmax(s->most, fabs(wanted[f] - got[f]));
        }
        planted_free(&dumped);
    }
    s->layers++;
}

static void test_stories(void **state)
{
    seen s = {0};
    spry_attention_probe probe = {
        .context = &s, .see = see, .class_count = 1, .most_samples = TOKENS};
    spry_session_options how = spry_session_options_default();
    spry_archive *archive = NULL;
    spry_model *source = NULL;
    spry_model *copy = NULL;
    spry_session *session = NULL;
    spry_tensor *ids = NULL;
    spry_value *input = NULL;
    spry_value *output = NULL;
    const spry_tensor *attention = NULL;
    const spry_tensor *given = NULL;
    const char *const name = "input_ids";
    const int64_t shape[] = {1, TOKENS};

    (void)state;
    assert_int_equal(
        spry_archive_open(NULL, data_path("stories260k/reference.npz"), &archive, NULL), SPRY_OK);
    assert_int_equal(
        spry_archive_tensor(archive, spry_archive_find(archive, "attention"), &attention, NULL),
        SPRY_OK);
    assert_int_equal(
        spry_archive_tensor(archive, spry_archive_find(archive, "input_ids"), &given, NULL),
        SPRY_OK);
    assert_int_equal(
        spry_model_load(NULL, data_path("stories260k/stories260k.onnx"), &source, NULL), SPRY_OK);
    assert_int_equal(model_copy(source, &copy, NULL), SPRY_OK);
    copy->main->values[copy->main->outputs[1]].is_output = false;
    copy->main->output_count = 1;
    how.attention = &probe;
    assert_int_equal(spry_session_create(copy, &how, &session, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_I64, 2, shape, &ids, NULL), SPRY_OK);
    memcpy(spry_tensor_data(ids), given->data, TOKENS * sizeof(int64_t));
    assert_int_equal(spry_value_from_tensor(NULL, ids, &input, NULL), SPRY_OK);
    s.maps = attention->data;
    assert_int_equal(
        spry_session_run(session, 1, &name, (const spry_value *const *)&input, 1, &output, NULL),
        SPRY_OK);
    assert_int_equal(s.layers, LAYERS);
    assert_true(s.most < 1e-5);
    spry_value_destroy(output);
    spry_value_destroy(input);
    spry_session_destroy(session);
    spry_model_destroy(copy);
    spry_model_destroy(source);
    spry_archive_close(archive);
}

/* The same clusters with any number of threads; what is taken away matters. */
static void test_threads(void **state)
{
    static const char text[] =
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
        "park. One day, she saw a big, red ball. She wanted to play with it, but it was too high. "
        "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and did not know what to "
        "do. Then the dog came and they all went home, and were happy for ever after.";
    spry_heads_options how = spry_heads_options_default();
    spry_model *copy = NULL;
    spry_tokenizer *tokenizer = NULL;
    spry_heads *heads[2] = {NULL};
    const spry_head *lists[2] = {NULL};
    const spry_heads_cluster *clusters = NULL;

    (void)state;
    assert_int_equal(spry_model_load(NULL, data_path("stories260k/stories260k.onnx"), &copy, NULL),
                     SPRY_OK);
    assert_int_equal(
        spry_tokenizer_load(data_path("stories260k/tok512.bin"), NULL, &tokenizer, NULL), SPRY_OK);
    how.window = 32;
    how.clusters = 3;
    how.ablate = true;
    for (int i = 0; i < 2; i++) {
        how.threads = i + 1;
        assert_int_equal(
            spry_heads_inspect(copy, tokenizer, text, strlen(text), &how, &heads[i], NULL),
            SPRY_OK);
        assert_int_equal(spry_heads_list(heads[i], &lists[i]), LAYERS * HEADS);
    }
    for (int h = 0; h < LAYERS * HEADS; h++) {
        assert_int_equal(lists[0][h].cluster, lists[1][h].cluster);
        assert_memory_equal(lists[0][h].mean, lists[1][h].mean, sizeof lists[0][h].mean);
    }
    assert_int_equal(spry_heads_clusters(heads[0], &clusters), 3);
    assert_true(spry_heads_describe(heads[0]).is_causal);
    assert_true(spry_heads_describe(heads[0]).loss < clusters[0].loss_removed);
    for (int i = 0; i < 2; i++) {
        spry_heads_destroy(heads[i]);
    }
    spry_tokenizer_destroy(tokenizer);
    spry_model_destroy(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
