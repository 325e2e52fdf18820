/* What a method adds to training beyond the loss of labels: terms of the loss that the graph
 * computes, a teacher, and numbers that follow a schedule of their own. Method: adapt/'s.
 *
 *     loss = [labels] + weight of the teacher * distillation(scores, teacher's scores)
 *            + weight of features * relative(features, teacher's features) + term      (loss.h)
 *
 * The teacher runs in the same graph as the model that learns, on the same batch, without a
 * gradient. It is a model with one input of the same type; a Softmax that ends it is left out. */
#ifndef TRAIN_OBJECTIVE_H
#define TRAIN_OBJECTIVE_H

#include "model/model.h"
#include "spry/train.h"
#include "train/emit.h"
#include "train/parameters.h"

enum { OBJECTIVE_SETTINGS = 8, OBJECTIVE_WATCHED = SPRY_TRAIN_WATCHED };

/* One step under construction. */
typedef struct objective_step {
    model *m; /* a copy in training form, with functions inlined: terms go into its main graph */
    const tensor *const *inputs;          /* types of a batch, in the order of the model's inputs */
    int32_t targets;                      /* value i64[batch]: labels */
    emitter e;                            /* adds to m->main */
    int32_t settings[OBJECTIVE_SETTINGS]; /* values f32[] that hold the scheduled numbers */
    /* To be filled in: */
    int32_t term;                       /* value f32[], GRAPH_NONE: none */
    int32_t watched[OBJECTIVE_WATCHED]; /* values f32[] that are reported */
} objective_step;

struct spry_train_objective {
    spry_allocator allocator;
    const spry_model *teacher;  /* NULL: none; must outlive training */
    double teacher_weight;      /* of distillation in the loss */
    double teacher_temperature; /* above 0 */
    double feature_weight;      /* of being off the teacher's features, training_features; 0: they
                                   do not count */
    bool ignores_labels;        /* the loss of labels is left out */
    bool has_spans;             /* labels are start + scores x end: the start is what scores find */
    int32_t setting_count;
    int32_t watched_count;
    const char *watched_names[OBJECTIVE_WATCHED];
    /* Scheduled number `index` when that share of all steps is done, 0 to below 1. */
    double (*setting)(const spry_train_objective *o, int32_t index, double done);
    /* Adds the term; NULL: there is none. Fails as it likes. */
    spry_status (*build)(const spry_train_objective *o, objective_step *step, spry_error *error);
    /* Changes weights, arrays laid out as `weights`, before the first step and after each of the
     * `steps`, of which `done` are done; `average` is the moving average, or NULL. NULL: leaves
     * them alone. What it does follows from its arguments, so that training may be resumed. */
    void (*hold)(const spry_train_objective *o, const parameters *weights, int64_t done,
                 int64_t steps, float *numbers, float *average);
    void (*destroy)(spry_train_objective *o); /* frees what the method allocated, `o` included */
};

enum { OBJECTIVE_SCORES, OBJECTIVE_FEATURES, OBJECTIVE_TAUGHT };

/* Adds the teacher to m->main, which reads the values `inputs`; taught[] are its logits and, where
 * `features` asks for them, what it makes these of. `held` is a copy of the teacher that must live
 * as long as the graph. Fails with SPRY_USAGE (inputs do not fit; no features), SPRY_LIMIT. */
SPRY_MUST_USE spry_status objective_add_teacher(model *m, const spry_model *teacher,
                                                const int32_t *inputs, int32_t count, bool features,
                                                spry_model **held, int32_t *taught,
                                                spry_error *error);

#endif
