/* Masked networks that learn towards milliseconds of a machine: what is predicted of them, which
 * way their maskers are pushed, and that they arrive. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "spry/predict.h"
#include "spry/random.h"
#include "spry/train.h"
#include "support/adapting.h"
#include "support/data.h"
#include "support/lesson.h"
#include "train/objective.h"
#include "train/program.h"

enum { BATCH = 8, EPOCHS = 24 };

/* Operators cost next to nothing by themselves, so that so small a network can save something. */
static const char description[] =
    "{\"compute\": {\"clock\": \"3 GHz\"}, \"cpu\": {\"threads\": 1, \"peak\": {\"f32\": \"96 "
    "GFLOP/s\"}, \"l1\": {\"size\": \"32 KiB\", \"triad\": \"80 GB/s\"}, "
    "\"l2\": {\"size\": \"1 MiB\", \"triad\": \"60 GB/s\"}, "
    "\"l3\": {\"size\": \"32 MiB\", \"triad\": \"30 GB/s\"}, \"dram\": {\"triad\": \"10 GB/s\"}, "
    "\"per_operator\": \"10 ns\", \"listed\": {\"sums\": 1.5, \"tiles\": 1.5, \"copied_byte\": "
    "\"4 ps\", \"mask_pixel\": \"20 ps\", \"winograd\": 1}, "
    "\"scale\": {\"pointwise\": 1.5, \"window\": 1.5, \"winograd\": 1, \"depthwise\": 2}}}";

static char folder[256];
static char machine[512];
static spry_dataset *data;
static spry_error error;

static void expect(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static int open_all(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    (void)snprintf(machine, sizeof machine, "%s", data_join(folder, "machine.json"));
    data_write(machine, description, strlen(description));
    data = lesson_data(folder, "train.npz", 96, 1);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    spry_dataset_close(data);
    data_remove_folder(folder);
    return 0;
}

typedef struct subject {
    spry_model *base, *masked;
    spry_adaptation *facts;
} subject;

static void open_subject(subject *s, double bias)
{
    spry_architecture_options a = spry_architecture_options_default();
    spry_adapt_options o = adapting_options("lasnet");

    a.height = a.width = LESSON_SIDE;
    a.channels = 1;
    a.units = 4;
    a.classes = LESSON_CLASSES;
    s->base = NULL;
    expect(spry_architecture_create(NULL, "resnet20", &a, &s->base, &error));
    o.masker_bias = bias;
    s->masked = adapting_make(s->base, &o, &s->facts);
}

static void close_subject(subject *s)
{
    spry_adaptation_destroy(s->facts);
    spry_model_destroy(s->masked);
    spry_model_destroy(s->base);
}

/* What spry predict says of the network on the machine; *sparse with all squares computed. */
static double predicted(const subject *s, double *sparse)
{
    spry_predict_options o = spry_predict_options_default();
    spry_prediction *p = NULL;
    const spry_predict_totals *t;
    double dense;

    o.target = machine;
    o.density = 1;
    o.granularity[0] = o.granularity[1] = 4;
    o.granularity[2] = 2;
    o.granularity_count = 3;
    o.ignore_halo = true;
    expect(spry_predict(NULL, NULL, s->base, &o, &p, &error));
    t = spry_prediction_totals(p);
    dense = t->dense_ms + t->outside_ms;
    *sparse = t->sparse_ms + t->outside_ms;
    spry_prediction_destroy(p);
    return dense;
}

static spry_adapt_goal goal_of(const subject *s, double budget)
{
    spry_adapt_goal goal = spry_adapt_goal_default();

    goal.budget_ms = budget;
    goal.machine = machine;
    goal.weight = 50;
    goal.teacher = s->base;
    return goal;
}

/* One step that nothing but the time counts in. */
typedef struct step {
    spry_train_objective *objective;
    threads *team;
    program *p;
} step;

static step make_step(const subject *s, spry_adapt_goal goal)
{
    static float samples[BATCH * LESSON_SIDE * LESSON_SIDE];
    static int64_t labels[BATCH];
    program_options options = {.gates = SPRY_ADAPT_GATES,
                               .freeze_statistics = true,
                               .session = spry_session_options_default()};
    spry_random random = spry_random_stream(3, 0);
    tensor x;
    tensor y;
    const tensor *inputs[] = {&x};
    step made = {NULL, NULL, NULL};

    goal.teacher_weight = 1e-9;
    goal.ignore_labels = true;
    expect(spry_adapt_objective(s->masked, &goal, &made.objective, &error));
    options.objective = made.objective;
    spry_random_fill_uniform(&random, samples, sizeof samples / sizeof *samples, 0.0f, 1.0f);
    expect(tensor_init(&x, SPRY_DTYPE_F32, 4, (int64_t[]){BATCH, 1, LESSON_SIDE, LESSON_SIDE},
                       samples, &error));
    expect(tensor_init(&y, SPRY_DTYPE_I64, 1, (int64_t[]){BATCH}, labels, &error));
    expect(threads_create(NULL, 1, &made.team, &error));
    expect(program_create(s->masked, &options, inputs, 1, &y, made.team, &made.p, &error));
    made.p->settings[1] = 1.0f; /* the target is reached */
    expect(program_run(made.p, inputs, &y, 3, &error));
    return made;
}

static void free_step(step *made)
{
    program_destroy(made->p);
    threads_destroy(made->team);
    spry_train_objective_destroy(made->objective);
}

/* Where everything is kept, lines through predictions end where these do. */
static void test_full_masks_take_what_is_predicted(void **state)
{
    double sparse;
    double dense;
    subject s;
    step made;

    (void)state;
    open_subject(&s, 500);
    dense = predicted(&s, &sparse);
    made = make_step(&s, goal_of(&s, dense / 2));
    assert_true(made.p->watched[1] == 1.0f);
    assert_true(fabs((double)made.p->watched[0] - sparse / dense) < 0.1);
    free_step(&made);
    close_subject(&s);
}

/* Too slow: every masker is pushed to skip. Too fast: to keep. */
static void test_gradients_point_to_the_budget(void **state)
{
    static const double shares[] = {0.4, 0.95};
    double dense;
    double sparse;
    subject s;

    (void)state;
    open_subject(&s, 1);
    dense = predicted(&s, &sparse);
    for (int i = 0; i < 2; i++) {
        step made = make_step(&s, goal_of(&s, shares[i] * dense));
        const program *p = made.p;
        int maskers = 0;

        assert_true((double)p->watched[0] > shares[0] && (double)p->watched[0] < shares[1]);
        for (int32_t k = 0; k < p->weights.count; k++) {
            const parameter *w = &p->weights.items[k];
            const float *g = p->gradients + w->offset;

            if (strstr(w->name, "_masker_bias") != NULL) {
                assert_true(i == 0 ? g[0] > 0 && g[1] < 0 : g[0] < 0 && g[1] > 0);
                maskers++;
            }
        }
        assert_int_equal(maskers, 9);
        free_step(&made);
    }
    close_subject(&s);
}

static void test_reaches_the_budget(void **state)
{
    const spry_train_epoch *epochs = NULL;
    spry_train_options o = spry_train_options_default();
    spry_train_objective *objective = NULL;
    spry_training *facts = NULL;
    spry_adapt_goal goal;
    double sparse;
    subject s;

    (void)state;
    open_subject(&s, 1);
    goal = goal_of(&s, 0.6 * predicted(&s, &sparse));
    expect(spry_adapt_objective(s.masked, &goal, &objective, &error));
    o.data = data;
    o.batch = 16;
    o.steps = 6 * EPOCHS;
    o.threads = 2;
    o.rate = 0.02;
    o.clip = 5;
    o.gates = SPRY_ADAPT_GATES;
    o.objective = objective;
    o.freeze_statistics = true;
    spry_model_destroy(lesson_learn(s.masked, &o, &facts));
    assert_int_equal(spry_training_epochs(facts, &epochs), EPOCHS);
    assert_string_equal(epochs[EPOCHS - 1].watched_names[0], "time");
    assert_true(epochs[0].watched[0] > epochs[EPOCHS - 1].watched[0]);
    if (!(epochs[EPOCHS - 1].watched[0] > 0.52 && epochs[EPOCHS - 1].watched[0] < 0.68)) {
        fail_msg("%g of the time is left, of which 0.6 were asked for",
                 epochs[EPOCHS - 1].watched[0]);
    }
    spry_training_destroy(facts);
    spry_train_objective_destroy(objective);
    close_subject(&s);
}

/* Masks cannot make a network slower than it is, nor do away with what lies beside them. */
static void test_refusals(void **state)
{
    static const struct {
        double share;
        const char *what;
    } cases[] = {{1.5, "out of reach"}, {1e-3, "out of reach"}};
    spry_train_objective *objective = NULL;
    spry_adapt_goal goal;
    double sparse;
    double dense;
    subject s;

    (void)state;
    open_subject(&s, 1);
    dense = predicted(&s, &sparse);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spry_train_options o = spry_train_options_default();
        spry_training *facts = NULL;
        spry_model *trained = NULL;

        goal = goal_of(&s, cases[i].share * dense);
        expect(spry_adapt_objective(s.masked, &goal, &objective, &error));
        o.data = data;
        o.gates = SPRY_ADAPT_GATES;
        o.objective = objective;
        assert_int_equal(spry_train(s.masked, &o, &trained, &facts, &error), SPRY_USAGE);
        assert_non_null(strstr(error.what, cases[i].what));
        spry_train_objective_destroy(objective);
    }
    goal.machine = "no such machine";
    assert_int_equal(spry_adapt_objective(s.masked, &goal, &objective, &error), SPRY_USAGE);
    goal.budget_ms = -1;
    assert_int_equal(spry_adapt_objective(s.masked, &goal, &objective, &error), SPRY_USAGE);
    assert_null(objective);
    close_subject(&s);
}

/* Machines of many engines are counted by image of their batch. */
static void test_other_machines(void **state)
{
    spry_adapt_goal goal;
    subject s;
    step made;

    (void)state;
    open_subject(&s, 1);
    goal = goal_of(&s, 0.2405); /* of 0.2410, nearly all of which is for launching operators */
    goal.machine = "tx2";
    made = make_step(&s, goal);
    assert_true(made.p->watched[0] > 0.9f && made.p->watched[0] < 1.1f);
    free_step(&made);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_masks_take_what_is_predicted),
        cmocka_unit_test(test_gradients_point_to_the_budget),
        cmocka_unit_test(test_reaches_the_budget),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_other_machines),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
