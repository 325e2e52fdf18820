/* Encoders that skip blocks of tokens: what Spry leaves out and what the standard operators in the
 * file mask give the same, sequences of a batch do not see each other, and what must stay,
 * stays. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "model/skim_function.h"
#include "ops/skim.h"
#include "spry/adapt.h"
#include "spry/random.h"
#include "spry/session.h"
#include "spry/tensor.h"
#include "spry/value.h"
#include "support/adapting.h"

enum { INPUTS = 3, OUTPUTS = 3, WORDS = 48, LAYERS = 3, MOST_TOKENS = 48, BLOCK = 4 };

static const char *const input_names[INPUTS] = {"input_ids", "attention_mask", "token_type_ids"};
static spry_error error;

static void expect(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static spry_model *load_base(void)
{
    const char *root = getenv("SPRY_SOURCE_DIR");
    char path[1024];
    spry_model *m = NULL;

    (void)snprintf(path, sizeof path, "%s/tests/cli/models/reader_deep.onnx",
                   root != NULL ? root : ".");
    expect(spry_model_load(NULL, path, &m, &error));
    return m;
}

/* ---- models ---- */

static void set(spry_model *m, const char *what, int layer, float number)
{
    char name[64];
    int64_t count;
    float *data;

    (void)snprintf(name, sizeof name, "skim%d_%s", layer, what);
    data = adapting_tensor(m, name, &count);
    for (int64_t i = 0; i < count; i++) {
        data[i] = number;
    }
}

/* Adapted, with predictors that disagree about blocks. */
static spry_model *adapt(const spry_model *base, float threshold)
{
    spry_adapt_options o = spry_adapt_options_default();
    spry_adaptation *facts = NULL;
    spry_model *m = NULL;

    o.method = "block-skim";
    o.block = BLOCK;
    o.seed = 5;
    expect(spry_adapt(base, &o, &m, &facts, &error));
    spry_adaptation_destroy(facts);
    for (int layer = 0; layer + 1 < LAYERS; layer++) {
        char name[64];
        int64_t count;
        float *weight;

        set(m, "threshold", layer, threshold);
        (void)snprintf(name, sizeof name, "skim%d_fc_weight", layer);
        weight = adapting_tensor(m, name, &count);
        for (int64_t i = 0; i < count; i++) {
            weight[i] *= 20;
        }
    }
    return m;
}

/* ---- runs ---- */

typedef struct batch {
    int64_t count, tokens;
    int64_t ids[4 * MOST_TOKENS], mask[4 * MOST_TOKENS], segments[4 * MOST_TOKENS];
} batch;

/* Questions of a few tokens, texts of different lengths, padding behind. */
static void draw(batch *b, int64_t count, int64_t tokens, uint64_t seed)
{
    spry_random r = spry_random_stream(seed, 0);

    *b = (batch){.count = count, .tokens = tokens};
    for (int64_t n = 0; n < count; n++) {
        int64_t question = 2 + (int64_t)spry_random_below(&r, 4);
        int64_t used =
            n == 0 ? tokens : tokens - (int64_t)spry_random_below(&r, (uint64_t)tokens / 2);

        for (int64_t t = 0; t < used; t++) {
            int64_t at = n * tokens + t;

            b->ids[at] = (int64_t)spry_random_below(&r, WORDS);
            b->mask[at] = 1;
            b->segments[at] = t >= question;
        }
    }
}

typedef struct results {
    int64_t counts[OUTPUTS];
    float *data[OUTPUTS];
} results;

static spry_status try_run(const spry_model *m, const batch *b, bool as_written, int threads,
                           results *r)
{
    const int64_t *const rows[INPUTS] = {b->ids, b->mask, b->segments};
    const int64_t shape[] = {b->count, b->tokens};
    spry_session_options o = spry_session_options_default();
    spry_session *session = NULL;
    spry_value *inputs[INPUTS] = {NULL};
    spry_value *outputs[OUTPUTS] = {NULL};
    int32_t count = spry_model_output_count(m);
    spry_status status;

    o.keep_order = as_written;
    o.threads = threads;
    expect(spry_session_create(m, &o, &session, &error));
    for (int i = 0; i < INPUTS; i++) {
        spry_tensor *t = NULL;

        expect(spry_tensor_create(NULL, SPRY_DTYPE_I64, 2, shape, &t, &error));
        memcpy(spry_tensor_data(t), rows[i], (size_t)(b->count * b->tokens) * sizeof(int64_t));
        expect(spry_value_from_tensor(NULL, t, &inputs[i], &error));
    }
    status = spry_session_run(session, INPUTS, input_names, (const spry_value *const *)inputs,
                              count, outputs, &error);
    *r = (results){{0}, {NULL}};
    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        const spry_tensor *t = spry_value_tensor(outputs[i]);

        r->counts[i] = t->shape[0] * t->shape[1] * (t->rank == 3 ? t->shape[2] : 1);
        r->data[i] = malloc((size_t)r->counts[i] * sizeof(float));
        assert_non_null(r->data[i]);
        memcpy(r->data[i], t->data, (size_t)r->counts[i] * sizeof(float));
    }
    for (int32_t i = 0; i < count; i++) {
        spry_value_destroy(outputs[i]);
    }
    for (int i = 0; i < INPUTS; i++) {
        spry_value_destroy(inputs[i]);
    }
    spry_session_destroy(session);
    return status;
}

static results run(const spry_model *m, const batch *b, bool as_written)
{
    results r;

    expect(try_run(m, b, as_written, 2, &r));
    return r;
}

static void drop(results *r)
{
    for (int i = 0; i < OUTPUTS; i++) {
        free(r->data[i]);
    }
}

static void expect_close(const float *a, const float *b, int64_t count, double most)
{
    for (int64_t i = 0; i < count; i++) {
        if (a[i] != b[i] && !(fabs((double)a[i] - (double)b[i]) <= most)) {
            fail_msg("number %lld: %g and %g", (long long)i, (double)a[i], (double)b[i]);
        }
    }
}

/* ---- the tests ---- */

/* The file's own operators mask what Spry skips. */
static void as_the_file_says(void **state)
{
    static const float thresholds[] = {0.0f, 0.1f, 0.5f, 0.9f, 0.999f};
    spry_model *base = load_base();
    int dropped = 0;

    (void)state;
    for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
        spry_model *m = adapt(base, thresholds[i]);

        for (uint64_t seed = 0; seed < 8; seed++) {
            batch b;
            results fast;
            results plain;

            draw(&b, 1 + (int64_t)seed % 3, seed % 2 == 0 ? 32 : 23 + (int64_t)seed, seed);
            fast = run(m, &b, false);
            plain = run(m, &b, true);
            for (int k = 0; k < OUTPUTS; k++) {
                assert_int_equal(fast.counts[k], plain.counts[k]);
                expect_close(fast.data[k], plain.data[k], fast.counts[k], k == 2 ? 0 : 1e-4);
            }
            for (int64_t k = 0; k < fast.counts[2]; k++) {
                dropped += fast.data[2][k] == 0.0f;
            }
            drop(&fast);
            drop(&plain);
        }
        spry_model_destroy(m);
    }
    assert_true(dropped > 100);
    spry_model_destroy(base);
}

static void threshold_of_zero_changes_nothing(void **state)
{
    spry_model *base = load_base();
    spry_model *m = adapt(base, 0.0f);
    batch b;
    results with;
    results without;

    (void)state;
    draw(&b, 2, 30, 3);
    with = run(m, &b, false);
    without = run(base, &b, false);
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < with.counts[k]; i++) {
            if (b.mask[i] != 0) {
                expect_close(with.data[k] + i, without.data[k] + i, 1, 1e-5);
            }
        }
    }
    drop(&with);
    drop(&without);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* A batch gives what its sequences give alone, in any order, with any number of threads. */
static void sequences_are_alone(void **state)
{
    static const int order[] = {2, 0, 1};
    spry_model *base = load_base();
    spry_model *m = adapt(base, 0.6f);
    batch b;
    batch turned = {.count = 3, .tokens = 32};
    results all;
    results other;

    (void)state;
    draw(&b, 3, 32, 11);
    expect(try_run(m, &b, false, 1, &all));
    for (int n = 0; n < 3; n++) {
        batch one = {.count = 1, .tokens = 32};
        size_t bytes = 32 * sizeof(int64_t);
        results alone;

        memcpy(one.ids, b.ids + n * 32, bytes);
        memcpy(one.mask, b.mask + n * 32, bytes);
        memcpy(one.segments, b.segments + n * 32, bytes);
        memcpy(turned.ids + order[n] * 32, one.ids, bytes);
        memcpy(turned.mask + order[n] * 32, one.mask, bytes);
        memcpy(turned.segments + order[n] * 32, one.segments, bytes);
        alone = run(m, &one, false);
        for (int k = 0; k < OUTPUTS; k++) {
            expect_close(all.data[k] + n * alone.counts[k], alone.data[k], alone.counts[k], 1e-5);
        }
        drop(&alone);
    }
    other = run(m, &turned, false);
    for (int k = 0; k < OUTPUTS; k++) {
        int64_t each = all.counts[k] / 3;

        for (int n = 0; n < 3; n++) {
            expect_close(all.data[k] + n * each, other.data[k] + order[n] * each, each, 1e-5);
        }
    }
    drop(&other);
    expect(try_run(m, &b, false, 3, &other));
    for (int k = 0; k < OUTPUTS; k++) {
        assert_memory_equal(all.data[k], other.data[k],
                            (size_t)all.counts[k] * sizeof *all.data[k]);
    }
    drop(&all);
    drop(&other);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* Predictors that would drop everything leave the question and one block; blocks that are gone do
 * not come back; dropped tokens have no logits. */
static void question_stays(void **state)
{
    spry_model *base = load_base();
    spry_model *m = adapt(base, 0.5f);
    int64_t blocks = 8;
    batch b;
    results r;

    (void)state;
    for (int layer = 0; layer + 1 < LAYERS; layer++) {
        int64_t count;
        char name[64];
        float *bias;

        (void)snprintf(name, sizeof name, "skim%d_fc_bias", layer);
        bias = adapting_tensor(m, name, &count);
        bias[0] = 200.0f;
        bias[1] = -200.0f;
    }
    draw(&b, 3, 32, 21);
    r = run(m, &b, false);
    for (int64_t n = 0; n < 3; n++) {
        const float *kept = r.data[2] + n * LAYERS * blocks;
        int64_t question = 0;
        int64_t texts = 0;

        while (b.segments[n * 32 + question] == 0) {
            question++;
        }
        for (int64_t k = 0; k < blocks; k++) {
            bool is_question = k * BLOCK < question;
            bool has_text = b.mask[n * 32 + k * BLOCK] != 0;

            assert_true(kept[k] == (has_text ? 1.0f : 0.0f));
            for (int layer = 1; layer < LAYERS; layer++) {
                assert_true(!is_question || kept[layer * blocks + k] == 1.0f);
                assert_true(kept[layer * blocks + k] <= kept[(layer - 1) * blocks + k]);
            }
            texts += !is_question && kept[blocks + k] == 1.0f;
            for (int64_t t = k * BLOCK; t < (k + 1) * BLOCK; t++) {
                bool is_gone = kept[(LAYERS - 1) * blocks + k] == 0.0f;

                assert_true((r.data[0][n * 32 + t] == -INFINITY) == is_gone);
                assert_true((r.data[1][n * 32 + t] == -INFINITY) == is_gone);
            }
        }
        assert_int_equal(texts, 1);
    }
    drop(&r);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

static void what_is_no_number(void **state)
{
    spry_model *base = load_base();
    spry_model *m = adapt(base, 0.5f);
    batch b;
    results r;
    int64_t count;
    float *weight = adapting_tensor(m, "q0.w", &count);

    (void)state;
    weight[3] = NAN;
    draw(&b, 1, 32, 1);
    assert_int_equal(try_run(m, &b, false, 1, &r), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "not a number"));
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* A function of that name with another body is run as it is written. */
static void only_that_very_function(void **state)
{
    spry_model *base = load_base();
    spry_model *m = adapt(base, 0.5f);
    const model_function *f = model_find_function(m, SKIM_DOMAIN, SKIM_DECIDE, "");
    const model_function *plain = model_find_function(m, SKIM_DOMAIN, SKIM_LAYER, "");

    (void)state;
    assert_true(skim_function_is(f));
    assert_true(skim_function_is(plain));
    for (int32_t i = 0; i < f->body->node_count; i += 7) {
        const char *type = f->body->nodes[i].type;

        f->body->nodes[i].type = "Neg";
        assert_false(skim_function_is(f));
        f->body->nodes[i].type = type;
        assert_true(skim_function_is(f));
    }
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* Multiply-accumulates of BERT-base: 4 layers of 512 tokens and 8 of 128. */
static void costs(void **state)
{
    const skim_form f = {.hidden = 768, .inner = 3072, .heads = 12, .block = 32};
    double layers =
        4e-9 * (double)skim_layer_macs(&f, 512, 512) + 8e-9 * (double)skim_layer_macs(&f, 128, 128);
    double all = 12e-9 * (double)skim_layer_macs(&f, 512, 512);

    (void)state;
    assert_true(fabs(layers - 23.55) < 0.01);
    assert_true(fabs(all / layers - 2.05) < 0.005);
    assert_int_equal(16 * skim_predictor_macs(&f), 21233664 + 5308416 + 24576);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_file_says),
                                       cmocka_unit_test(threshold_of_zero_changes_nothing),
                                       cmocka_unit_test(sequences_are_alone),
                                       cmocka_unit_test(question_stays),
                                       cmocka_unit_test(what_is_no_number),
                                       cmocka_unit_test(only_that_very_function),
                                       cmocka_unit_test(costs)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
