/* Importance of activations, and the whole search on a small attention block. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "model/pass.h"
#include "quantize/calibrate/importance.h"
#include "quantize/method/method.h"
#include "quantize/method/search_check.h"
#include "spry/random.h"
#include "spry/session.h"
#include "support/quantizing.h"

static spry_error error;

/* ---- importance ---- */

enum { INPUTS = 5, HIDDEN = 7, CLASSES = 4 };

static const int64_t x_shape[] = {1, INPUTS};
static const int64_t first_shape[] = {INPUTS, HIDDEN};
static const int64_t second_shape[] = {HIDDEN, CLASSES};
static const int64_t scores_shape[] = {1, CLASSES};

/* x -> MatMul -> h -> Relu -> MatMul -> scores. */
static spry_model *two_layers(proto *file)
{
    proto g = {0};
    spry_model *m = NULL;

    quantizing_weights(&g, "first", 2, first_shape, 1);
    quantizing_weights(&g, "second", 2, second_shape, 2);
    proto_node(&g, 1, "MatMul", "x first", "h");
    proto_node(&g, 1, "Relu", "h", "r");
    proto_node(&g, 1, "MatMul", "r second", "scores");
    proto_value_info(&g, 11, "x", SPRY_DTYPE_F32, 2, x_shape);
    proto_value_info(&g, 12, "scores", SPRY_DTYPE_F32, 2, scores_shape);
    proto_model(file, 8, 17, &g);
    assert_int_equal(spry_model_parse(NULL, file->data, file->size, NULL, &m, NULL), SPRY_OK);
    return m;
}

static spry_value *row(const float *numbers, int64_t count)
{
    const int64_t shape[] = {1, count};
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 2, shape, &t, NULL), SPRY_OK);
    memcpy(spry_tensor_data(t), numbers, (size_t)count * sizeof(float));
    assert_int_equal(spry_value_from_tensor(NULL, t, &v, NULL), SPRY_OK);
    return v;
}

/* Sum over the runs of a plan; scores[CLASSES] and hidden[HIDDEN] are those of the model. */
static void importance(const float *x, float *scores, float *hidden, float *sum)
{
    static const char *const names[] = {"x", FISHER_TARGET};
    proto file = {0};
    spry_model *m = two_layers(&file);
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    int32_t of = graph_find_value(m->main, "h");
    int32_t gradient = GRAPH_NONE;
    int32_t outputs[3] = {m->main->outputs[0], of};
    fisher_plan plan = fisher_plan_of(FISHER_MODEL, 1, CLASSES);
    float target[CLASSES] = {0.0f};
    float factor = 1.0f;

    assert_int_equal(infer_graph(m->main, &error), SPRY_OK);
    assert_int_equal(fisher_extend(m, FISHER_MODEL, &of, 1, &gradient, &error), SPRY_OK);
    outputs[2] = gradient;
    m->main->outputs = outputs;
    m->main->output_count = 3;
    m->main->values[of].is_output = true;
    m->main->values[gradient].is_output = true;
    assert_int_equal(infer_graph(m->main, &error), SPRY_OK);
    assert_int_equal(spry_session_create(m, &options, &session, &error), SPRY_OK);
    memset(sum, 0, HIDDEN * sizeof *sum);
    for (int64_t run = -1; run < plan.runs; run++) { /* the first for the scores alone */
        spry_value *out[3] = {NULL};
        spry_value *inputs[2];
        const float *g;

        if (run >= 0) {
            fisher_target(&plan, run, scores, NULL, 0, target, &factor);
        }
        inputs[0] = row(x, INPUTS);
        inputs[1] = row(target, CLASSES);
        assert_int_equal(
            spry_session_run(session, 2, names, (const spry_value *const *)inputs, 3, out, &error),
            SPRY_OK);
        g = spry_tensor_const_data(spry_value_tensor(out[2]));
        for (int i = 0; run >= 0 && i < HIDDEN; i++) {
            sum[i] += factor * g[i] * g[i];
        }
        memcpy(scores, spry_tensor_const_data(spry_value_tensor(out[0])), CLASSES * sizeof(float));
        memcpy(hidden, spry_tensor_const_data(spry_value_tensor(out[1])), HIDDEN * sizeof(float));
        for (int i = 0; i < 3; i++) {
            spry_value_destroy(out[i]);
        }
        spry_value_destroy(inputs[0]);
        spry_value_destroy(inputs[1]);
    }
    spry_session_destroy(session);
    spry_model_destroy(m);
    proto_fini(&file);
}

/* diag(J^T (diag(p) - p p^T) J), J the scores' derivatives by the hidden numbers. */
static void test_is_gauss_newton(void **state)
{
    const float x[INPUTS] = {0.5f, -1.0f, 0.25f, 1.5f, -0.75f};
    spry_random random = spry_random_stream(2, 2); /* as quantizing_weights draws "second" */
    float second[HIDDEN * CLASSES];
    float scores[CLASSES];
    float hidden[HIDDEN];
    float found[HIDDEN];
    double p[CLASSES];
    double total = 0.0;
    double sum = 0.0;

    (void)state;
    spry_random_fill_normal(&random, second, HIDDEN * CLASSES, 0.0f, 0.5f);
    importance(x, scores, hidden, found);
    for (int c = 0; c < CLASSES; c++) {
        p[c] = exp((double)scores[c]);
        total += p[c];
    }
    for (int i = 0; i < HIDDEN; i++) {
        double mean = 0.0;
        double square = 0.0;

        for (int c = 0; c < CLASSES; c++) {
            double j = hidden[i] > 0.0f ? (double)second[i * CLASSES + c] : 0.0;

            mean += p[c] / total * j;
            square += p[c] / total * j * j;
        }
        assert_true(fabs((double)found[i] - (square - mean * mean)) < 1e-5);
        sum += (double)found[i];
    }
    assert_true(sum > 1e-3); /* not the zero that divergence from one's own answer has */
}

/* |J^T (diag(p) - p p^T) J e| 2 d / T^2, e all ones, d how far all of them were moved, p the
 * softened answer. */
static void test_perturbation(void **state)
{
    static const int64_t open_x[] = {-1, INPUTS};
    static const int64_t open_scores[] = {-1, CLASSES};
    proto g = {0};
    quantizing q;
    int32_t values[2];
    importance_request request = {values, 2, values, 1, FISHER_PERTURB, 0};
    importance_probe probe;
    spry_random random = spry_random_stream(2, 2);
    float second[HIDDEN * CLASSES];
    float p[CLASSES];
    double moved[CLASSES] = {0.0};
    double mean = 0.0;
    const float *hidden;

    (void)state;
    spry_random_fill_normal(&random, second, HIDDEN * CLASSES, 0.0f, 0.5f);
    quantizing_weights(&g, "first", 2, first_shape, 1);
    quantizing_weights(&g, "second", 2, second_shape, 2);
    proto_node(&g, 1, "MatMul", "x first", "h");
    proto_node(&g, 1, "Relu", "h", "r");
    proto_node(&g, 1, "MatMul", "r second", "scores");
    proto_value_info(&g, 11, "x", SPRY_DTYPE_F32, 2, open_x);
    proto_value_info(&g, 12, "scores", SPRY_DTYPE_F32, 2, open_scores);
    quantizing_init(&q, &g, 2, (const int64_t[]){1, INPUTS}, 8);
    values[0] = graph_find_value(q.job.m->main, "h");
    values[1] = graph_find_value(q.job.m->main, "scores");
    assert_int_equal(importance_open(&q.job, &request, &probe, &error), SPRY_OK);
    assert_int_equal(importance_run(&probe, 0, &error), SPRY_OK);
    hidden = importance_value(&probe, 0)->data;
    fisher_soften(importance_value(&probe, 1)->data, 1, CLASSES, p);
    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < HIDDEN; i++) {
            moved[c] += hidden[i] > 0.0f ? (double)second[i * CLASSES + c] : 0.0;
        }
        mean += (double)p[c] * moved[c];
    }
    for (int i = 0; i < HIDDEN; i++) {
        double slope = 0.0;
        double wanted;

        for (int c = 0; hidden[i] > 0.0f && c < CLASSES; c++) {
            slope += (double)p[c] * (moved[c] - mean) * (double)second[i * CLASSES + c];
        }
        wanted =
            fabs(slope) * 2.0 * (double)probe.nudges[0] / FISHER_TEMPERATURE / FISHER_TEMPERATURE;
        assert_true(fabs((double)importance_of(&probe, 0)[i] - wanted) < 0.02 * wanted + 1e-9);
    }
    assert_true(probe.nudges[0] > 0.0f);
    importance_close(&probe);
    quantizing_fini(&q);
}

static void test_draws(void **state)
{
    float scores[1000] = {0.0f};
    float target[1000];
    float factor;
    fisher_plan plan = fisher_plan_of(FISHER_MODEL, 1, 1000);
    int hits = 0;

    (void)state;
    scores[17] = 8.0f; /* nearly three in four */
    assert_int_equal(plan.runs, FISHER_DRAWS);
    for (int64_t image = 0; image < 250; image++) {
        for (int64_t run = 0; run < plan.runs; run++) {
            fisher_target(&plan, run, scores, NULL, image, target, &factor);
            hits += target[17] == 1.0f;
            assert_true(factor == 0.25f);
        }
    }
    assert_true(hits > 700 && hits < 800);
    plan = fisher_plan_of(FISHER_LABEL, 1, 1000);
    fisher_target(&plan, 0, scores, (const int64_t[]){999}, 0, target, &factor);
    assert_true(plan.runs == 1 && target[999] == 1.0f && factor == 1.0f);
    fisher_target(&plan, 0, scores, (const int64_t[]){1000}, 0, target, &factor);
    assert_true(factor == 0.0f);
}

/* ---- the whole ---- */

enum { IMAGES = 12, TOKENS = 8, WIDE = 16 };

static const int64_t samples_shape[] = {IMAGES, 2, TOKENS, TOKENS};

/* Two heads of attention over x [N][2][TOKENS][TOKENS], a Gelu layer, and scores of their means;
 * without `pools` there are no scores of classes. `factor` multiplies an operand. */
static proto attention(bool pools, float factor)
{
    static const int64_t open[] = {-1, 2, TOKENS, TOKENS};
    proto g = {0};

    quantizing_weights(&g, "wv", 2, (const int64_t[]){TOKENS, TOKENS}, 3);
    quantizing_weights(&g, "w1", 2, (const int64_t[]){TOKENS, WIDE}, 4);
    quantizing_weights(&g, "w2", 2, (const int64_t[]){WIDE, TOKENS}, 5);
    quantizing_weights(&g, "w3", 2, (const int64_t[]){2, CLASSES}, 6);
    proto_tensor(&g, 5, "factor", SPRY_DTYPE_F32, 0, NULL, &factor, sizeof factor);
    proto_node(&g, 1, "Mul", "x factor", "q");
    proto_node(&g, 1, "Tanh", "x", "k");
    proto_node(&g, 1, "MatMul", "q k", "s");
    proto_node(&g, 1, "Softmax", "s", "p");
    proto_node(&g, 1, "MatMul", "x wv", "v");
    proto_node(&g, 1, "MatMul", "p v", "o");
    proto_node(&g, 1, "MatMul", "o w1", "h");
    proto_node(&g, 1, "Gelu", "h", "a");
    proto_node(&g, 1, "MatMul", "a w2", "b");
    if (pools) {
        proto_node(&g, 1, "GlobalAveragePool", "b", "means");
        proto_node(&g, 1, "Flatten", "means", "flat");
        proto_node(&g, 1, "MatMul", "flat w3", "y");
        proto_value_info(&g, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, CLASSES});
    } else {
        proto_value_info(&g, 12, "b", SPRY_DTYPE_F32, 4, open);
    }
    proto_value_info(&g, 11, "x", SPRY_DTYPE_F32, 4, open);
    return g;
}

static const activation_record *record_called(const quantize_job *job, const char *name)
{
    for (int32_t i = 0; i < job->activation_count; i++) {
        if (strcmp(job->m->main->values[job->activations[i].value].name, name) == 0) {
            return &job->activations[i];
        }
    }
    return NULL;
}

static void test_whole(void **state)
{
    proto g = attention(true, 0.5f);
    const spry_quantize_layer *rows;
    quantizing q;
    int32_t count;

    (void)state;
    quantizing_init(&q, &g, 4, samples_shape, 6);
    quantizing_by(&q, &method_ptq4vit);
    q.options.grids = "symmetric";
    if (method_ptq4vit.search(&q.job, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    count = spry_quantization_layers(q.job.facts, &rows);
    assert_int_equal(count, 6);
    for (int32_t i = 0; i < count; i++) {
        assert_true(rows[i].error_after <= rows[i].error_before);
        assert_true(rows[i].gradient > 0.0);
        assert_string_equal(rows[i].remark, "");
    }
    assert_non_null(record_called(&q.job, "p")->grid.twin);
    assert_int_equal(record_called(&q.job, "p")->grid.twin->kind, TWIN_POSITIVE);
    assert_int_equal(record_called(&q.job, "a")->grid.twin->kind, TWIN_SIGNED);
    assert_true(fabsf(record_called(&q.job, "a")->grid.twin->d1 - 0.169971f / 31.0f) < 1e-7f);
    assert_int_equal(record_called(&q.job, "q")->grid.step_count, 2);
    assert_int_equal(record_called(&q.job, "v")->grid.axis, 1);
    assert_null(record_called(&q.job, "x")->grid.steps); /* read by weights: one step */
    assert_int_equal(q.job.m->function_count, 1);
    quantizing_fini(&q);
}

/* A model whose output is no scores of classes: squared error instead, and the report says so. */
static void test_without_scores(void **state)
{
    proto g = attention(false, 0.5f);
    const spry_quantize_layer *rows;
    quantizing q;

    (void)state;
    quantizing_init(&q, &g, 4, samples_shape, 8);
    quantizing_by(&q, &method_ptq4vit);
    assert_int_equal(method_ptq4vit.search(&q.job, &error), SPRY_OK);
    assert_int_equal(spry_quantization_layers(q.job.facts, &rows), 5);
    assert_non_null(strstr(rows[0].remark, "scores"));
    assert_true(rows[0].gradient == 0.0);
    for (int i = 0; i < 5; i++) {
        assert_true(rows[i].error_after <= rows[i].error_before);
        assert_true(rows[i].step > 1e-4f && rows[i].step < 1.0f);
    }
    quantizing_fini(&q);
}

/* An answer that depends on nothing has gradients of 0: squared error instead, and the report says
 * so. One picture is enough, too. */
static void test_without_gradients(void **state)
{
    proto g = {0};
    static const float zero = 0.0f;
    const spry_quantize_layer *rows;
    quantizing q;

    (void)state;
    quantizing_weights(&g, "w", 2, (const int64_t[]){WIDE, CLASSES}, 3);
    proto_tensor(&g, 5, "zero", SPRY_DTYPE_F32, 0, NULL, &zero, sizeof zero);
    proto_node(&g, 1, "MatMul", "x w", "h");
    proto_node(&g, 1, "Mul", "h zero", "y");
    proto_value_info(&g, 11, "x", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, WIDE});
    proto_value_info(&g, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, CLASSES});
    quantizing_init(&q, &g, 2, (const int64_t[]){1, WIDE}, 8);
    quantizing_by(&q, &method_ptq4vit);
    assert_int_equal(method_ptq4vit.search(&q.job, &error), SPRY_OK);
    assert_int_equal(spry_quantization_layers(q.job.facts, &rows), 1);
    assert_true(rows[0].gradient == 0.0);
    assert_non_null(strstr(rows[0].remark, "squared error"));
    assert_true(rows[0].step > 1e-4f && rows[0].step < 1.0f);
    assert_true(rows[0].error_after <= rows[0].error_before);
    quantizing_fini(&q);
}

/* Every metric finds steps that are no worse than those of the range. */
static void test_metrics(void **state)
{
    static const char *const names[] = {"fisher", "label", "l2", "cosine", "perturb"};

    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        proto g = attention(true, 0.5f);
        const spry_quantize_layer *rows;
        quantizing q;

        quantizing_init(&q, &g, 4, samples_shape, 6);
        quantizing_by(&q, &method_ptq4vit);
        q.job.metric = names[k];
        q.options.samples = 3;
        assert_int_equal(method_ptq4vit.search(&q.job, &error), SPRY_OK);
        assert_int_equal(spry_quantization_layers(q.job.facts, &rows), 6);
        for (int i = 0; i < 6; i++) {
            assert_true(rows[i].error_after <= rows[i].error_before);
            /* What Softmax reads changes no answer when all of it moves alike. */
            bool is_blind = strcmp(names[k], "perturb") == 0 && (i == 0 || i == 5);

            assert_int_equal(rows[i].remark[0] != '\0', is_blind);
        }
        quantizing_fini(&q);
    }
}

/* Ratios whose logarithms are 0 on average, below 0 by less and by more than chance; and exact
 * outputs, whose errors are 0. */
static void test_is_better(void **state)
{
    static const double worse[] = {1.0, 2.0, 4.0, 8.0};
    static const double mixed[] = {0.5, 4.0, 2.0, 16.0};
    static const double doubtful[] = {0.25, 4.0, 1.0, 8.0};
    static const double better[] = {0.5, 0.5, 2.0, 3.0};
    static const double none[] = {0.0, 0.0, 0.0, 0.0};

    (void)state;
    assert_false(search_is_better(worse, worse, 4));
    assert_false(search_is_better(mixed, worse, 4));
    assert_false(search_is_better(doubtful, worse, 4)); /* mean -0.35, standard error 0.60 */
    assert_true(search_is_better(better, worse, 4));
    assert_false(search_is_better(worse, better, 4));
    assert_true(search_is_better(none, worse, 4));
    assert_false(search_is_better(none, none, 4));
    assert_true(search_is_better(better, worse, 1));
}

/* Grids are either those of `--grids affine`, or better for the answer on the samples; what is
 * chosen depends neither on the team nor on the run. */
static void test_check(void **state)
{
    const char *found[2][8] = {{NULL}};
    float steps[2][8] = {{0.0f}};

    (void)state;
    for (int bits = 4; bits <= 8; bits += 4) {
        for (int run = 0; run < 2; run++) {
            proto g = attention(true, 0.5f);
            const spry_quantize_layer *rows;
            quantizing q;

            quantizing_init(&q, &g, 4, samples_shape, bits);
            quantizing_by(&q, &method_ptq4vit);
            q.options.grids = "best";
            q.options.threads = run + 1;
            assert_int_equal(method_ptq4vit.search(&q.job, &error), SPRY_OK);
            assert_int_equal(spry_quantization_layers(q.job.facts, &rows), 6);
            for (int i = 0; i < 6; i++) {
                bool is_twin = strcmp(rows[i].grid, "twin") == 0;

                found[run][i] = is_twin ? "twin" : "one";
                steps[run][i] = rows[i].step;
                assert_int_equal(is_twin, rows[i].fine_step > 0.0f);
            }
            assert_non_null(record_called(&q.job, "p"));
            assert_int_equal(q.job.m->function_count,
                             record_called(&q.job, "p")->grid.twin != NULL ||
                                 record_called(&q.job, "a")->grid.twin != NULL);
            quantizing_fini(&q);
        }
        for (int i = 0; i < 6; i++) {
            assert_string_equal(found[0][i], found[1][i]);
            assert_true(steps[0][i] == steps[1][i]);
        }
    }
}

/* Bytes in use, and the most there were. Threads of a team share it. */
typedef struct meter {
    _Atomic size_t now, most;
} meter;

static void *take(void *context, size_t size, size_t alignment)
{
    meter *at = context;
    const spry_allocator *system = spry_allocator_system();
    void *memory = system->allocate(system->context, size, alignment);
    size_t now = atomic_fetch_add(&at->now, size) + size;

    if (now > at->most) {
        at->most = now;
    }
    return memory;
}

static void give(void *context, void *memory, size_t size)
{
    meter *at = context;
    const spry_allocator *system = spry_allocator_system();

    atomic_fetch_sub(&at->now, size);
    system->release(system->context, memory, size);
}

/* The most memory that quantizing the model takes at any time. */
static size_t most_memory(quantizing *q, const char *name, int64_t count)
{
    meter at = {0};
    const spry_allocator metered = {take, give, &at};
    spry_model *source = NULL;
    spry_model *quantized = NULL;
    spry_quantization *facts = NULL;

    q->options.method = name;
    q->options.samples = count;
    q->options.threads = 1;
    assert_int_equal(spry_model_parse(&metered, q->file.data, q->file.size, NULL, &source, &error),
                     SPRY_OK);
    if (spry_quantize(source, &q->options, &quantized, &facts, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    spry_quantization_destroy(facts);
    spry_model_destroy(quantized);
    spry_model_destroy(source);
    assert_int_equal(at.now, 0);
    return at.most;
}

/* Memory does not grow with the number of samples. */
static void test_memory(void **state)
{
    static const char *const methods[] = {"squant", "ptq4vit"};
    static const int64_t many_shape[] = {1024, 2, TOKENS, TOKENS};

    (void)state;
    for (int i = 0; i < 2; i++) {
        proto g = attention(true, 0.5f);
        quantizing q;
        size_t few;
        size_t many;

        quantizing_init(&q, &g, 4, many_shape, 8);
        few = most_memory(&q, methods[i], 64);
        many = most_memory(&q, methods[i], 1024);
        assert_true(many < few + 16384); /* all samples are 512 KB */
        quantizing_fini(&q);
    }
}

static void test_refuses(void **state)
{
    proto g = attention(true, NAN);
    proto fine = attention(true, 1.0f);
    quantizing q;

    (void)state;
    quantizing_init(&q, &g, 4, samples_shape, 8);
    quantizing_by(&q, &method_ptq4vit);
    assert_int_equal(method_ptq4vit.search(&q.job, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.where, "MatMul"));
    quantizing_fini(&q);
    quantizing_init(&q, &fine, 4, samples_shape, 8);
    quantizing_by(&q, &method_ptq4vit);
    q.job.metric = "guess";
    assert_int_equal(method_ptq4vit.search(&q.job, &error), SPRY_USAGE);
    q.job.metric = "cosine";
    q.options.twin = "triple";
    assert_int_equal(method_ptq4vit.search(&q.job, &error), SPRY_USAGE);
    quantizing_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_gauss_newton), cmocka_unit_test(test_perturbation),
        cmocka_unit_test(test_draws),           cmocka_unit_test(test_whole),
        cmocka_unit_test(test_without_scores),  cmocka_unit_test(test_without_gradients),
        cmocka_unit_test(test_metrics),         cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_is_better),       cmocka_unit_test(test_check),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
