/* One step as a plan: its gradient, its running statistics, and that it allocates nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "spry/adapt.h"
#include "spry/random.h"
#include "support/lesson.h"
#include "train/program.h"

enum { BATCH = 6, MOST_BATCH = 512, PIXELS = LESSON_SIDE * LESSON_SIDE };

static spry_error error;

typedef struct subject {
    spry_model *base; /* of a model that was adapted; else NULL */
    spry_model *m;
    threads *team;
    program *p;
    float pixels[MOST_BATCH * PIXELS];
    int64_t labels[MOST_BATCH];
    tensor input;
    tensor targets;
    const tensor *inputs[1];
} subject;

/* The vision transformer adapted by `method`; what is trained is drawn anew, since products that
 * start at zero have no gradient in front of them. */
static void adapt_subject(subject *s, const char *method)
{
    spry_adapt_options options = spry_adapt_options_default();
    spry_adaptation *facts = NULL;
    const char *const *names;
    spry_random random = spry_random_stream(9, 0);

    s->base = lesson_model("vit-cifar");
    options.method = method;
    options.rank = 4;
    if (spry_adapt(s->base, &options, &s->m, &facts, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    for (int32_t i = spry_adaptation_trainable(facts, &names) - 1; i >= 0; i--) {
        int32_t id = graph_find_value(s->m->main, names[i]);
        tensor *t = (tensor *)s->m->main->values[id].constant;

        if (strstr(names[i], "lora") != NULL) {
            spry_random_fill_normal(&random, t->data, (size_t)tensor_count(t), 0.0f, 0.1f);
        }
    }
    spry_adaptation_destroy(facts);
}

static void open_subject(subject *s, const char *architecture, int64_t batch,
                         const program_options *options)
{
    const int64_t shape[] = {batch, 1, LESSON_SIDE, LESSON_SIDE};
    spry_random random = spry_random_stream(8, 0);

    s->base = NULL;
    if (strcmp(architecture, "lora") == 0 || strcmp(architecture, "bias") == 0) {
        adapt_subject(s, architecture);
    } else {
        s->m = lesson_model(architecture);
    }
    assert_int_equal(threads_create(NULL, 2, &s->team, NULL), SPRY_OK);
    spry_random_fill_normal(&random, s->pixels, MOST_BATCH * PIXELS, 0.5f, 1.0f);
    for (int i = 0; i < MOST_BATCH; i++) {
        s->labels[i] = i % LESSON_CLASSES;
    }
    assert_int_equal(tensor_init(&s->input, SPRY_DTYPE_F32, 4, shape, s->pixels, NULL), SPRY_OK);
    assert_int_equal(tensor_init(&s->targets, SPRY_DTYPE_I64, 1, shape, s->labels, NULL), SPRY_OK);
    s->inputs[0] = &s->input;
    if (program_create(s->m, options, s->inputs, 1, &s->targets, s->team, &s->p, &error) !=
        SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static void close_subject(subject *s)
{
    program_destroy(s->p);
    threads_destroy(s->team);
    spry_model_destroy(s->m);
    spry_model_destroy(s->base);
}

static double run(subject *s)
{
    if (program_run(s->p, s->inputs, &s->targets, 1, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return (double)s->p->loss;
}

/* ---- gradients ---- */

/* Along the gradient itself the loss rises by its squared length. */
static void test_gradient(void **state)
{
    static const char *const architectures[] = {"mlp", "lenet"};
    const double step = 3e-4;

    (void)state;
    for (int a = 0; a < 2; a++) {
        const program_options options = {.session = spry_session_options_default()};
        static float direction[1 << 20];
        double square = 0;
        double slope = 0;
        subject s;

        open_subject(&s, architectures[a], BATCH, &options);
        assert_true(s.p->weights.length <= 1 << 20);
        assert_int_equal(s.p->unreached_count, 0);
        (void)run(&s);
        memcpy(direction, s.p->gradients, (size_t)s.p->weights.length * sizeof *direction);
        for (int64_t i = 0; i < s.p->weights.length; i++) {
            square += (double)direction[i] * (double)direction[i];
        }
        assert_true(square > 0);
        for (int side = -1; side <= 1; side += 2) {
            double move = side < 0 ? -step : 2 * step;

            for (int64_t i = 0; i < s.p->weights.length; i++) {
                s.p->numbers[i] += (float)(move / sqrt(square) * (double)direction[i]);
            }
            slope += side * run(&s) / (2 * step);
        }
        if (!(fabs(slope / sqrt(square) - 1) < 0.02)) {
            fail_msg("%s: slope %g, length %g", architectures[a], slope, sqrt(square));
        }
        close_subject(&s);
    }
}

/* ---- running statistics ---- */

/* Mean and variance of channel 0 of the first convolution, worked out in the plain way. */
static void first_statistics(const subject *s, double *mean, double *variance)
{
    int64_t count;
    const float *w = lesson_numbers(s->m, "conv1.weight", &count);
    const tensor *t = NULL;
    int64_t side;
    int64_t pad;
    int64_t places = 0;
    double sum = 0;
    double squares = 0;

    for (int32_t i = 0; i < s->p->weights.count; i++) {
        if (strcmp(s->p->weights.items[i].name, "conv1.weight") == 0) {
            t = s->m->main->values[s->p->weights.items[i].value].constant;
        }
    }
    assert_non_null(t);
    side = t->shape[2];
    pad = 0;
    for (int32_t i = 0; i < s->m->main->node_count; i++) {
        if (graph_node_is(&s->m->main->nodes[i], "Conv")) {
            const int64_t *pads = graph_attribute_ints(&s->m->main->nodes[i], "pads", &count);

            pad = pads != NULL ? pads[0] : 0;
            break;
        }
    }
    for (int b = 0; b < BATCH; b++) {
        for (int64_t y = -pad; y + side <= LESSON_SIDE + pad; y++) {
            for (int64_t x = -pad; x + side <= LESSON_SIDE + pad; x++, places++) {
                double total = 0;

                for (int64_t k = 0; k < side * side; k++) {
                    int64_t row = y + k / side;
                    int64_t column = x + k % side;
                    bool inside =
                        row >= 0 && row < LESSON_SIDE && column >= 0 && column < LESSON_SIDE;

                    total += inside ? (double)w[k] *
                                          (double)s->pixels[b * PIXELS + row * LESSON_SIDE + column]
                                    : 0;
                }
                sum += total;
                squares += total * total;
            }
        }
    }
    *mean = sum / (double)places;
    *variance = (squares - sum * *mean) / (double)(places - 1); /* of the population */
}

/* running = 0.9 running + 0.1 batch, three times over the same batch. */
static void test_statistics(void **state)
{
    const program_options options = {.session = spry_session_options_default()};
    const parameter *mean_of;
    const parameter *variance_of;
    double running_mean = 0;
    double running_variance = 1;
    double mean;
    double variance;
    subject s;

    (void)state;
    open_subject(&s, "lenet", BATCH, &options);
    mean_of = parameters_find(&s.p->statistics, "bn1.running_mean");
    variance_of = parameters_find(&s.p->statistics, "bn1.running_var");
    assert_non_null(mean_of);
    assert_non_null(variance_of);
    first_statistics(&s, &mean, &variance);
    for (int step = 0; step < 3; step++) {
        (void)run(&s);
        program_keep_statistics(s.p);
        running_mean = 0.9 * running_mean + 0.1 * mean;
        running_variance = 0.9 * running_variance + 0.1 * variance;
        assert_true(fabs((double)s.p->running[mean_of->offset] - running_mean) < 1e-5);
        assert_true(fabs((double)s.p->running[variance_of->offset] - running_variance) <
                    1e-4 * running_variance);
    }
    close_subject(&s);
}

/* ---- memory ---- */

static void test_no_allocation(void **state)
{
    static const char *const architectures[] = {"mlp", "lenet"};

    (void)state;
    for (int a = 0; a < 2; a++) {
        alloc_counter counter = {0};
        const spry_allocator allocator = alloc_counting(&counter);
        program_options options = {.session = spry_session_options_default()};
        int64_t calls;
        int64_t bytes;
        subject s;

        options.session.allocator = &allocator;
        open_subject(&s, architectures[a], BATCH, &options);
        (void)run(&s);
        calls = counter.calls;
        bytes = counter.outstanding_bytes;
        for (int i = 0; i < 5; i++) {
            (void)run(&s);
            program_keep_statistics(s.p);
        }
        assert_int_equal(counter.calls, calls);
        assert_int_equal(counter.outstanding_bytes, bytes);
        close_subject(&s);
        assert_int_equal(counter.outstanding_bytes, 0);
    }
}

/* What is learnt of a model: all but what a method of adapting leaves, by name. */
typedef struct choice {
    const char *name, *architecture;
    const spry_train_rule *rules;
    int32_t rule_count;
} choice;

/* Bytes of the step's arena and of the arrays beside it, as a caller can add them up. */
static int64_t planned(const program *p)
{
    int64_t floats = 2 * p->weights.length + 2 * p->statistics.length + p->batch * p->classes;

    return (int64_t)p->arena_bytes + floats * (int64_t)sizeof(float);
}

/* What is taken at most, while the step is made and run, is within a twentieth of what the plan
 * says, where the batch is so large that descriptions of the graph do not count. Steps take nothing
 * more. */
static void test_memory(void **state)
{
    static const spry_train_rule biases[] = {{"*", true, -1, -1}, {"*.bias", false, -1, -1}};
    static const spry_train_rule low_rank[] = {{"*", true, -1, -1}, {"*lora*", false, -1, -1}};
    static const choice choices[] = {{"full", "vit-cifar", NULL, 0},
                                     {"bias", "vit-cifar", biases, 2},
                                     {"lora", "lora", low_rank, 2}};

    (void)state;
    for (size_t c = 0; c < sizeof choices / sizeof *choices; c++) {
        alloc_counter counter = {0};
        const spry_allocator allocator = alloc_counting(&counter);
        program_options options = {.rules = choices[c].rules,
                                   .rule_count = choices[c].rule_count,
                                   .session = spry_session_options_default()};
        double told;
        double peak;
        int64_t calls;
        subject s;

        options.session.allocator = &allocator;
        open_subject(&s, choices[c].architecture, MOST_BATCH, &options);
        (void)run(&s);
        calls = counter.calls;
        (void)run(&s);
        program_keep_statistics(s.p);
        assert_int_equal(counter.calls, calls);
        told = (double)planned(s.p);
        peak = (double)counter.peak_bytes;
        close_subject(&s);
        assert_int_equal(counter.outstanding_bytes, 0);
        if (!(peak >= told && peak < 1.05 * told)) {
            fail_msg("%s takes %.0f bytes, %.0f were planned", choices[c].name, peak, told);
        }
    }
}

/* ---- recomputing ---- */

static void test_recompute(void **state)
{
    static const char *const architectures[] = {"lenet", "vit-cifar"};

    (void)state;
    for (int a = 0; a < 2; a++) {
        program_options options = {.session = spry_session_options_default()};
        subject kept;
        subject again;

        open_subject(&kept, architectures[a], BATCH, &options);
        options.recompute = true;
        open_subject(&again, architectures[a], BATCH, &options);
        (void)run(&kept);
        (void)run(&again);
        assert_true(kept.p->loss == again.p->loss);
        assert_memory_equal(kept.p->gradients, again.p->gradients,
                            (size_t)kept.p->weights.length * sizeof(float));
        assert_true(again.p->arena_bytes <= kept.p->arena_bytes);
        assert_true(a == 0 || again.p->arena_bytes < kept.p->arena_bytes * 9 / 10);
        close_subject(&kept);
        close_subject(&again);
    }
}

/* ---- clipped per example ---- */

/* Sum over the examples of their gradients, each clipped, by one run per example; the last one does
 * not count. */
static void sum_clipped(const char *architecture, const program_options *options, double clip,
                        double *sum, int64_t *length)
{
    program_options plain = *options;
    subject s;

    plain.clip = 0;
    open_subject(&s, architecture, 1, &plain);
    *length = s.p->weights.length;
    for (int64_t i = 0; i < *length; i++) {
        sum[i] = 0;
    }
    for (int b = 0; b < BATCH - 1; b++) {
        double square = 0;
        double factor;

        s.input.data = s.pixels + b * PIXELS;
        s.targets.data = s.labels + b;
        (void)run(&s);
        for (int64_t i = 0; i < *length; i++) {
            square += (double)s.p->gradients[i] * (double)s.p->gradients[i];
        }
        factor = sqrt(square) > clip ? clip / sqrt(square) : 1.0;
        for (int64_t i = 0; i < *length; i++) {
            sum[i] += factor * (double)s.p->gradients[i];
        }
    }
    close_subject(&s);
}

static void test_clipped(void **state)
{
    static const char *const architectures[] = {"mlp", "lenet", "vit-cifar", "lora"};
    static const double limits[] = {1e9, 2.0, 0.01};
    static double sum[1 << 20];

    (void)state;
    for (int k = 0; k < 12; k++) {
        program_options options = {.session = spry_session_options_default(),
                                   .freeze_statistics = true};
        double clip = limits[k / 4];
        int64_t length = 0;
        double square = 0;
        double error_square = 0;
        subject s;

        sum_clipped(architectures[k % 4], &options, clip, sum, &length);
        options.clip = clip;
        open_subject(&s, architectures[k % 4], BATCH, &options);
        assert_int_equal(s.p->weights.length, length);
        s.p->counts[BATCH - 1] = 0;
        (void)run(&s);
        for (int64_t i = 0; i < length; i++) {
            double off = (double)s.p->gradients[i] - sum[i];

            square += sum[i] * sum[i];
            error_square += off * off;
        }
        if (!(sqrt(error_square) < 1e-5 * sqrt(square))) {
            fail_msg("%s clipped to %g: off by %g of %g", architectures[k % 4], clip,
                     sqrt(error_square), sqrt(square));
        }
        close_subject(&s);
    }
}

/* ---- frozen weights cost nothing ---- */

static void test_frozen(void **state)
{
    static const spry_train_rule head[] = {{"*", true, -1, -1}, {"fc2.*", false, -1, -1}};
    program_options options = {.session = spry_session_options_default(),
                               .rules = head,
                               .rule_count = 2,
                               .freeze_statistics = true};
    int32_t of_convolutions = 0;
    subject s;

    (void)state;
    open_subject(&s, "lenet", BATCH, &options);
    assert_int_equal(s.p->weights.count, 2);
    assert_int_equal(s.p->statistics.count, 0);
    for (int32_t i = 0; i < program_graph(s.p)->node_count; i++) {
        const graph_node *n = &program_graph(s.p)->nodes[i];

        of_convolutions += !n->removed && (strcmp(n->type, "ConvWeightGradient") == 0 ||
                                           strcmp(n->type, "ConvTranspose") == 0);
    }
    assert_int_equal(of_convolutions, 0);
    (void)run(&s);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient),      cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_clipped),
        cmocka_unit_test(test_frozen),        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_frozen),        cmocka_unit_test(test_recompute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
