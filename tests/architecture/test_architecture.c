/* Fresh networks: how many parameters they have, what they are called and drawn from, that they
 * run, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "model/model.h"
#include "spry/architecture.h"
#include "spry/random.h"
#include "spry/session.h"
#include "train/gradient/gradient.h"

static spry_error error;

static void expect_ok(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static spry_model *make(const char *name, const spry_architecture_options *o)
{
    spry_model *m = NULL;

    expect_ok(spry_architecture_create(NULL, name, o, &m, &error));
    return m;
}

/* ---- counts ---- */

/* Of the vision transformers: with 4x MLP, biases for qkv, a class token and learned positions. Of
 * resnet20 to 56: shortcuts without weights, batch normalisation counted. Of resnet18 to 101: as
 * torchvision's. */
static const struct {
    const char *name;
    int64_t classes, parameters;
} counts[] = {{"vit-base", 100, 85875556},
              {"vit-base", 45, 85833261},
              {"vit-base", 2, 85800194},
              {"vit-small", 100, 21704164},
              {"vit-tiny", 100, 5543716},
              {"vit-large", 100, 303404132},
              {"vit-base", 1000, 86567656},
              {"resnet20", 10, 269722},
              {"resnet32", 10, 464154},
              {"resnet44", 10, 658586},
              {"resnet56", 10, 853018},
              {"resnet18", 1000, 11689512},
              {"resnet34", 1000, 21797672},
              {"resnet50", 1000, 25557032},
              {"resnet101", 1000, 44549160},
              {"mlp", 10, 669706}, /* 784 x 512 + 512 + 512 x 512 + 512 + 512 x 10 + 10 */
              {"lenet", 10, 431150},
              {"r2plus1d", 400, 31505325}, /* as torchvision's r2plus1d_18 */
              {"gcn", 7, 23063}};          /* 1433 x 16 + 16 + 16 x 7 + 7 */

static void test_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        spry_architecture_options o = spry_architecture_options_default();
        int64_t parameters;

        o.classes = counts[i].classes;
        expect_ok(spry_architecture_count(counts[i].name, &o, &parameters, &error));
        if (parameters != counts[i].parameters) {
            fail_msg("%s: %lld parameters", counts[i].name, (long long)parameters);
        }
    }
}

/* ---- weights ---- */

static const tensor *weight(const spry_model *m, const char *name)
{
    int32_t id = graph_find_value(m->main, name);

    assert_int_not_equal(id, GRAPH_NONE);
    assert_non_null(m->main->values[id].constant);
    return m->main->values[id].constant;
}

/* The second moment of a weight, and its largest size. */
static void measure(const tensor *t, double *square, double *most)
{
    const float *x = t->data;
    int64_t count = tensor_count(t);
    double sum = 0.0;

    *most = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
        *most = fmax(*most, fabs((double)x[i]));
    }
    *square = sum / (double)count;
}

static void expect_moment(const spry_model *m, const char *name, double wanted)
{
    const tensor *t = weight(m, name);
    double square;
    double most;

    measure(t, &square, &most);
    /* Four deviations of the sample variance of a normal distribution. */
    if (fabs(square / wanted - 1.0) > 4.0 * sqrt(2.0 / (double)tensor_count(t))) {
        fail_msg("%s: second moment %g, not %g", name, square, wanted);
    }
}

static void test_distributions(void **state)
{
    spry_model *m = make("vit-cifar", NULL);
    double square;
    double most;

    (void)state;
    /* A normal distribution cut at two deviations keeps 0.7737 of its variance. */
    expect_moment(m, "blocks.5.attn.qkv.weight", 0.0004 * 0.7737);
    measure(weight(m, "blocks.0.mlp.fc1.weight"), &square, &most);
    assert_true(most <= 0.04 && most > 0.0399);
    expect_moment(m, "patch_embed.proj.weight", 1.0 / (3.0 * 48.0));
    measure(weight(m, "blocks.0.mlp.fc1.bias"), &square, &most);
    assert_true(most == 0.0);
    spry_model_destroy(m);

    m = make("resnet20", NULL);
    expect_moment(m, "layer3.2.conv2.weight", 2.0 / (64.0 * 9.0));
    measure(weight(m, "bn1.running_var"), &square, &most);
    assert_true(square == 1.0 && most == 1.0);
    spry_model_destroy(m);
}

static bool same(const tensor *a, const tensor *b)
{
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* The seed decides, and nothing that stands elsewhere in the network. */
static void test_seeds(void **state)
{
    spry_architecture_options o = spry_architecture_options_default();
    spry_model *first = make("lenet", &o);
    spry_model *second;
    spry_model *third;

    (void)state;
    o.classes = 3;
    second = make("lenet", &o);
    o.seed = 1;
    third = make("lenet", &o);
    assert_true(same(weight(first, "conv1.weight"), weight(second, "conv1.weight")));
    assert_false(same(weight(third, "conv1.weight"), weight(second, "conv1.weight")));
    assert_int_equal(weight(second, "fc2.weight")->shape[0], 3);
    /* Three numbers that every machine must draw. */
    {
        const float *x = weight(first, "conv2.weight")->data;

        assert_true(x[0] == 0x1.038bacp-5f && x[1] == 0x1.02cb9ep-9f && x[24999] == 0x1.1c5fp-9f);
    }
    spry_model_destroy(first);
    spry_model_destroy(second);
    spry_model_destroy(third);
}

/* ---- every architecture, small ---- */

/* Options that make it quick. */
static spry_architecture_options small(const spry_architecture *a)
{
    spry_architecture_options o = spry_architecture_options_default();

    o.classes = 7;
    o.units = a->defaults.heads != 0 ? 12 * a->defaults.heads : 4;
    o.depth = a->defaults.depth != 0 ? 2 : 0;
    o.frames = a->defaults.frames != 0 ? 5 : 0;
    o.features = a->defaults.features != 0 ? 6 : 0;
    if (a->defaults.height != 0) {
        o.height = a->defaults.patch != 0 ? 2 * a->defaults.patch : 33;
        o.width = a->defaults.patch != 0 ? 3 * a->defaults.patch : 28;
    }
    return o;
}

/* Random numbers for input `i`, whose free sizes are all the batch. */
static spry_value *random_input(const spry_model *m, int32_t i, int64_t batch, const char **name)
{
    spry_random random = spry_random_stream(7, (uint64_t)i);
    spry_tensor *numbers = NULL;
    spry_value *made = NULL;
    spry_port port;

    expect_ok(spry_model_input(m, i, &port, &error));
    assert_string_equal(port.symbol[0], "N");
    *name = port.name;
    for (int k = 0; k < port.rank; k++) {
        port.shape[k] = port.shape[k] < 0 ? batch : port.shape[k];
    }
    expect_ok(spry_tensor_create(NULL, SPRY_DTYPE_F32, port.rank, port.shape, &numbers, &error));
    spry_random_fill_normal(&random, numbers->data, (size_t)tensor_count(numbers), 0.0f, 1.0f);
    expect_ok(spry_value_from_tensor(NULL, numbers, &made, &error));
    return made;
}

/* Runs a batch of random numbers: finite scores of the right shape. */
static void expect_scores(const spry_model *m, int64_t batch)
{
    enum { MOST_INPUTS = 2 };
    const spry_session_options options = spry_session_options_default();
    const char *names[MOST_INPUTS];
    spry_value *inputs[MOST_INPUTS] = {NULL};
    int32_t count = spry_model_input_count(m);
    spry_session *session = NULL;
    spry_value *scores = NULL;
    const tensor *t;

    assert_in_range(count, 1, MOST_INPUTS);
    for (int32_t i = 0; i < count; i++) {
        inputs[i] = random_input(m, i, batch, &names[i]);
    }
    expect_ok(spry_session_create(m, &options, &session, &error));
    expect_ok(spry_session_run(session, count, names, (const spry_value *const *)inputs, 1, &scores,
                               &error));
    t = spry_value_tensor(scores);
    assert_int_equal(t->shape[0], batch);
    assert_int_equal(t->shape[1], 7);
    for (int64_t i = 0; i < tensor_count(t); i++) {
        assert_true(isfinite(((const float *)t->data)[i]));
    }
    spry_value_destroy(scores);
    for (int32_t i = 0; i < count; i++) {
        spry_value_destroy(inputs[i]);
    }
    spry_session_destroy(session);
}

/* Every weight has a gradient. */
static void expect_gradients(spry_model *m)
{
    enum { MOST = 512 };
    graph *g = m->main;
    gradient_request request = {.value = g->outputs[0]};
    int32_t of[MOST];
    int32_t gradients[MOST];

    expect_ok(infer_bind_symbol(g, "N", 2, &error));
    expect_ok(infer_graph(g, &error));
    for (int32_t i = 0; i < g->value_count; i++) {
        const graph_value *v = &g->values[i];

        if (v->constant != NULL && v->constant->dtype == SPRY_DTYPE_F32 && v->constant->rank > 0 &&
            strstr(v->name, "running") == NULL) {
            assert_true(request.count < MOST);
            of[request.count++] = i;
        }
    }
    expect_ok(graph_add_value(g, "seed", &request.seed, &error));
    g->values[request.seed].type = g->values[request.value].type;
    request.of = of;
    expect_ok(gradient_build(g, &request, gradients, &error));
    for (int32_t i = 0; i < request.count; i++) {
        if (gradients[i] == GRAPH_NONE) {
            fail_msg("%s has no gradient", g->values[of[i]].name);
        }
    }
}

static void test_every_one(void **state)
{
    const spry_architecture *a;

    (void)state;
    for (int32_t i = 0; (a = spry_architecture_at(i)) != NULL; i++) {
        spry_architecture_options o = small(a);
        spry_model *m = make(a->name, &o);

        expect_scores(m, 3);
        expect_gradients(m);
        spry_model_destroy(m);
    }
}

/* ---- what is refused ---- */

static void refuse(const char *name, const spry_architecture_options *o, const char *where)
{
    spry_model *m = NULL;
    int64_t parameters;

    assert_int_equal(spry_architecture_create(NULL, name, o, &m, &error), SPRY_USAGE);
    assert_null(m);
    assert_string_equal(error.where, where);
    assert_int_equal(spry_architecture_count(name, o, &parameters, &error), SPRY_USAGE);
}

static void test_refusals(void **state)
{
    spry_architecture_options o = spry_architecture_options_default();

    (void)state;
    refuse("resnet21", &o, "resnet21");
    o.patch = 8;
    refuse("resnet20", &o, "patch");
    refuse("vit-tiny", &(spry_architecture_options){0}, "options");
    o.patch = 15;
    refuse("vit-tiny", &o, "image");
    o.patch = 0;
    o.heads = 5;
    refuse("vit-tiny", &o, "units");
    o.heads = 0;
    o.classes = -1;
    refuse("mlp", &o, "classes");
    o.classes = 0;
    o.height = 12;
    refuse("lenet", &o, "image");
}

/* Whatever allocation fails, the failure is reported and nothing leaks. */
static void test_memory(void **state)
{
    spry_architecture_options o = spry_architecture_options_default();
    alloc_counter counter = {0};
    spry_model *m = NULL;

    (void)state;
    o.units = 12;
    o.depth = 2;
    for (int64_t fail_at = 1;; fail_at++) {
        spry_allocator allocator;
        spry_status status;

        counter = (alloc_counter){.fail_at = fail_at};
        allocator = alloc_counting(&counter);
        status = spry_architecture_create(&allocator, "vit-cifar", &o, &m, &error);
        if (status == SPRY_OK) {
            break;
        }
        assert_int_equal(status, SPRY_LIMIT);
        assert_null(m);
        assert_int_equal(counter.outstanding_bytes, 0);
    }
    spry_model_destroy(m);
    assert_int_equal(counter.outstanding_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),   cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_seeds),    cmocka_unit_test(test_every_one),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
