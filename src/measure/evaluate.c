/* Batches from a data set through a model, and counting. */
#include "measure/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/progress.h"
#include "tensor/convert.h"
#include "tensor/value.h"

enum { DEFAULT_BATCH = 32, MOST_BATCH = 1 << 20, TOP = 5, MOST_SCORES = 1 << 24 };

struct spry_evaluation {
    spry_allocator allocator;
    arena memory;
    spry_evaluate_totals totals;
    spry_evaluate_class *classes; /* by label until sorted */
    int32_t class_count;
    spry_tensor *scores;
    spry_tensor *labels;
    spry_tensor *predictions;
};

typedef struct evaluator {
    spry_evaluation *e;
    const spry_evaluate_options *options;
    spry_session *session;
    spry_dataset *data;
    spry_preprocess recipe;
    spry_port input;
    int32_t output;
    int32_t output_count;
    spry_value **outputs;
    int64_t batch;   /* samples in the present run: the last one may be smaller */
    int64_t *labels; /* of one batch */
    float *row;      /* scores of one sample */
    int64_t top1, top5;
    int64_t *best_wrong; /* by label: votes of the candidate for `mistaken` */
} evaluator;

spry_evaluate_options spry_evaluate_options_default(void)
{
    return (spry_evaluate_options){.struct_size = sizeof(spry_evaluate_options)};
}

/* ---- counting ---- */

int64_t evaluate_best(const float *scores, int64_t count)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++) {
        if (scores[i] > scores[best] || (isnan(scores[best]) && !isnan(scores[i]))) {
            best = i;
        }
    }
    return best;
}

int64_t evaluate_rank(const float *scores, int64_t count, int64_t index)
{
    int64_t before = 0;

    if (isnan(scores[index])) {
        return count;
    }
    for (int64_t i = 0; i < count; i++) {
        before += scores[i] > scores[index] || (i < index && scores[i] == scores[index]);
    }
    return before;
}

/* The class that a class is most often mistaken for, by majority vote in one pass and constant
 * memory: exact where one class has most of the mistakes. */
static void vote(evaluator *x, spry_evaluate_class *class, int64_t predicted)
{
    int64_t *votes = &x->best_wrong[class->label];

    if (*votes == 0) {
        class->mistaken = predicted;
    }
    *votes += class->mistaken == predicted ? 1 : -1;
}

static spry_status count_sample(evaluator *x, int64_t sample, int64_t label, int64_t scores,
                                spry_error *error)
{
    int64_t index = label + x->options->class_offset;

    if (index < 0 || index >= scores) {
        return spry_fail(error, SPRY_USAGE, "data",
                         "choose another output, or --class-offset 1 for a background class",
                         "class %lld of the data is not among the model's %lld scores",
                         (long long)label, (long long)scores);
    }
    int64_t best = evaluate_best(x->row, scores);
    spry_evaluate_class *class = &x->e->classes[label];
    bool is_right = best == index && !isnan(x->row[best]);

    class->count++;
    class->right += is_right;
    x->top1 += is_right;
    x->top5 += evaluate_rank(x->row, scores, index) < TOP;
    if (!is_right) {
        vote(x, class, best - x->options->class_offset);
    }
    if (x->e->scores != NULL) {
        memcpy((float *)spry_tensor_data(x->e->scores) + sample * scores, x->row,
               (size_t)scores * sizeof *x->row);
        ((int64_t *)spry_tensor_data(x->e->labels))[sample] = label;
        ((int64_t *)spry_tensor_data(x->e->predictions))[sample] = best - x->options->class_offset;
    }
    return SPRY_OK;
}

/* What the first result tells: how many scores there are, so how much room is needed. */
static spry_status prepare_scores(evaluator *x, int64_t scores, spry_error *error)
{
    const int64_t shape[] = {x->e->totals.count, scores};
    spry_evaluation *e = x->e;
    spry_status status = SPRY_OK;

    e->totals.scores = scores;
    x->row = arena_array(&e->memory, (size_t)scores, sizeof *x->row);
    if (x->row == NULL) {
        return alloc_failed(error, (size_t)scores * sizeof *x->row);
    }
    if (x->options->keep_scores) {
        status = spry_tensor_create(&e->allocator, SPRY_DTYPE_F32, 2, shape, &e->scores, error);
    }
    if (status == SPRY_OK && x->options->keep_scores) {
        status = spry_tensor_create(&e->allocator, SPRY_DTYPE_I64, 1, shape, &e->labels, error);
    }
    if (status == SPRY_OK && x->options->keep_scores) {
        status =
            spry_tensor_create(&e->allocator, SPRY_DTYPE_I64, 1, shape, &e->predictions, error);
    }
    return status;
}

/* Counts samples first + skip .. first + batch of a batch. */
static spry_status count_batch(evaluator *x, int64_t first, int64_t skip, spry_error *error)
{
    const spry_tensor *result = spry_value_tensor(x->outputs[x->output]);
    int64_t batch = x->batch;
    int64_t count = result == NULL ? 0 : tensor_count(result);
    int64_t scores = count / batch;
    spry_status status = SPRY_OK;

    if (scores < 1 || scores * batch != count || scores > MOST_SCORES ||
        dtype_class_of(result->dtype) == DTYPE_CLASS_STRING) {
        return spry_fail(error, SPRY_USAGE, "output", "choose the output with --output NAME",
                         "the output does not hold scores for each of %lld samples",
                         (long long)batch);
    }
    if (x->row == NULL) {
        status = prepare_scores(x, scores, error);
    }
    if (status == SPRY_OK && scores != x->e->totals.scores) {
        status = spry_fail(error, SPRY_BAD_INPUT, "output", NULL,
                           "the number of scores changes from batch to batch");
    }
    for (int64_t i = skip; status == SPRY_OK && i < batch; i++) {
        convert_read_f32(result, i * scores, scores, x->row);
        status = count_sample(x, first + i, x->labels[i], scores, error);
    }
    return status;
}

/* ---- running ---- */

static spry_status run_batch(evaluator *x, int64_t first, int64_t skip, spry_error *error)
{
    const char *const names[] = {x->input.name};
    spry_tensor *samples = NULL;
    spry_value *input = NULL;
    spry_status status =
        spry_dataset_batch(x->data, first, x->batch, &x->recipe, x->input.dtype, x->input.rank,
                           x->input.shape, &samples, x->labels, error);

    if (status == SPRY_OK) {
        status = spry_value_from_tensor(&x->e->allocator, samples, &input, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    const spry_value *const inputs[] = {input};
    int64_t start = clock_ns();
    status = spry_session_run(x->session, 1, names, inputs, x->output_count, x->outputs, error);
    x->e->totals.run_seconds += (double)(clock_ns() - start) * 1e-9;
    if (status == SPRY_OK) {
        status = count_batch(x, first, skip, error);
    }
    if (status == SPRY_OK && x->options->visit != NULL) {
        const spry_evaluate_batch batch = {first, x->batch, skip, spry_value_tensor(input),
                                           x->outputs};

        status = x->options->visit(x->options->visit_context, &batch, error);
    }
    for (int32_t i = 0; i < x->output_count; i++) {
        spry_value_destroy(x->outputs[i]);
        x->outputs[i] = NULL;
    }
    spry_value_destroy(input);
    return status;
}

static spry_status run_all(evaluator *x, spry_error *error)
{
    spry_evaluate_totals *t = &x->e->totals;
    int64_t start = clock_ns();
    bool is_fixed = x->input.rank > 0 && x->input.shape[0] >= 0;

    x->batch = t->batch;
    for (int64_t done = 0; done < t->count;) {
        int64_t left = t->count - done;
        int64_t first = done;
        if (left < x->batch && is_fixed) {
            first =
                t->count - x->batch; /* the last batch is filled up with samples counted before */
        } else if (left < x->batch) {
            x->batch = left;
        }
        spry_status status = run_batch(x, first, done - first, error);
        done = first + x->batch;
        if (status == SPRY_OK) {
            status = progress_report(x->options->progress, "evaluating", (double)done,
                                     (double)t->count, error);
        }
        if (status != SPRY_OK) {
            return status;
        }
    }
    t->seconds = (double)(clock_ns() - start) * 1e-9;
    t->top1 = (double)x->top1 / (double)t->count;
    t->top5 = (double)x->top5 / (double)t->count;
    return SPRY_OK;
}

/* ---- what is to be run ---- */

static spry_status find_ports(evaluator *x, const spry_model *m, spry_error *error)
{
    const char *wanted = x->options->output;

    x->output_count = spry_model_output_count(m);
    if (spry_model_input_count(m) != 1 || x->output_count < 1) {
        return spry_fail(error, SPRY_USAGE, "model", NULL,
                         "a model with %d inputs and %d outputs is no classifier of single samples",
                         (int)spry_model_input_count(m), (int)x->output_count);
    }
    spry_status status = spry_model_input(m, 0, &x->input, error);
    if (status == SPRY_OK && (x->input.dtype == SPRY_DTYPE_NONE || x->input.rank < 1)) {
        status = spry_fail(error, SPRY_UNSUPPORTED, x->input.name, NULL,
                           "the input's type and rank are not stated");
    }
    x->output = wanted == NULL ? 0 : -1;
    for (int32_t i = 0; status == SPRY_OK && wanted != NULL && i < x->output_count; i++) {
        spry_port port;
        status = spry_model_output(m, i, &port, error);
        if (status == SPRY_OK && strcmp(port.name, wanted) == 0) {
            x->output = i;
        }
    }
    if (status == SPRY_OK && x->output < 0) {
        status = spry_fail(error, SPRY_USAGE, "--output", "list them with: spry inspect MODEL",
                           "the model has no output '%s'", wanted);
    }
    return status;
}

static spry_status choose_batch(evaluator *x, spry_error *error)
{
    spry_evaluate_totals *t = &x->e->totals;
    int64_t fixed = x->input.shape[0];
    int64_t limit = x->options->limit;

    t->count = spry_dataset_count(x->data);
    t->count = limit > 0 && limit < t->count ? limit : t->count;
    t->batch = x->options->batch > 0 ? x->options->batch : DEFAULT_BATCH;
    if (fixed < 0) {
        t->batch = t->batch < t->count ? t->batch : t->count;
        return t->batch <= MOST_BATCH ? SPRY_OK
                                      : spry_fail(error, SPRY_USAGE, "batch", NULL,
                                                  "more than %d samples", (int)MOST_BATCH);
    }
    if (fixed == 0 || fixed > t->count || (x->options->batch > 0 && x->options->batch != fixed)) {
        return spry_fail(error, SPRY_USAGE, x->input.name, NULL,
                         "the model takes batches of exactly %lld; there are %lld samples",
                         (long long)fixed, (long long)t->count);
    }
    t->batch = fixed;
    return SPRY_OK;
}

static spry_status prepare(evaluator *x, const spry_model *m, spry_error *error)
{
    arena *memory = &x->e->memory;
    spry_status status = find_ports(x, m, error);

    if (status == SPRY_OK) {
        status = choose_batch(x, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    size_t classes = (size_t)spry_dataset_class_count(x->data);
    x->e->totals.classes = (int64_t)classes;
    x->recipe = x->options->recipe != NULL ? *x->options->recipe : spry_preprocess_default();
    x->outputs = arena_array(memory, (size_t)x->output_count, sizeof(spry_value *));
    x->labels = arena_array(memory, (size_t)x->e->totals.batch, sizeof *x->labels);
    x->e->classes = arena_array(memory, classes, sizeof *x->e->classes);
    x->best_wrong = arena_array(memory, classes, sizeof *x->best_wrong);
    if (x->outputs == NULL || x->labels == NULL || x->e->classes == NULL || x->best_wrong == NULL) {
        return alloc_failed(error, classes * sizeof *x->e->classes);
    }
    for (size_t c = 0; c < classes; c++) {
        x->e->classes[c] = (spry_evaluate_class){.label = (int64_t)c, .mistaken = -1};
    }
    return SPRY_OK;
}

/* ---- the result ---- */

static int compare_classes(const void *a, const void *b)
{
    const spry_evaluate_class *x = a;
    const spry_evaluate_class *y = b;
    double p = (double)x->right / (double)x->count;
    double q = (double)y->right / (double)y->count;

    return p != q ? (p > q) - (p < q) : (x->label > y->label) - (x->label < y->label);
}

static void sort_classes(spry_evaluation *e)
{
    for (int64_t c = 0; c < e->totals.classes; c++) {
        if (e->classes[c].count > 0) {
            e->classes[e->class_count++] = e->classes[c];
        }
    }
    qsort(e->classes, (size_t)e->class_count, sizeof *e->classes, compare_classes);
}

spry_status spry_evaluate(const spry_model *m, spry_session *session, spry_dataset *data,
                          const spry_evaluate_options *options, spry_evaluation **result,
                          spry_error *error)
{
    evaluator x = {.options = options, .session = session, .data = data};

    *result = NULL;
    if (options->struct_size != sizeof *options || options->limit < 0 || options->batch < 0) {
        return spry_fail(error, SPRY_USAGE, NULL, "start from spry_evaluate_options_default()",
                         "the evaluation's options are not initialised");
    }
    spry_allocator allocator = alloc_resolve(options->allocator);
    x.e = alloc_zeroed(&allocator, sizeof *x.e);
    if (x.e == NULL) {
        return alloc_failed(error, sizeof *x.e);
    }
    x.e->allocator = allocator;
    arena_init(&x.e->memory, &allocator, SIZE_MAX);
    spry_status status = prepare(&x, m, error);
    if (status == SPRY_OK) {
        status = run_all(&x, error);
    }
    if (status != SPRY_OK) {
        spry_evaluation_destroy(x.e);
        return status;
    }
    sort_classes(x.e);
    *result = x.e;
    return SPRY_OK;
}

void spry_evaluation_destroy(spry_evaluation *evaluation)
{
    if (evaluation == NULL) {
        return;
    }
    spry_allocator allocator = evaluation->allocator;

    spry_tensor_destroy(evaluation->scores);
    spry_tensor_destroy(evaluation->labels);
    spry_tensor_destroy(evaluation->predictions);
    arena_fini(&evaluation->memory);
    alloc_release(&allocator, evaluation, sizeof *evaluation);
}

const spry_evaluate_totals *spry_evaluation_totals(const spry_evaluation *evaluation)
{
    return &evaluation->totals;
}

int32_t spry_evaluation_classes(const spry_evaluation *evaluation,
                                const spry_evaluate_class **classes)
{
    *classes = evaluation->classes;
    return evaluation->class_count;
}

const spry_tensor *spry_evaluation_scores(const spry_evaluation *evaluation)
{
    return evaluation->scores;
}

const spry_tensor *spry_evaluation_labels(const spry_evaluation *evaluation)
{
    return evaluation->labels;
}

const spry_tensor *spry_evaluation_predictions(const spry_evaluation *evaluation)
{
    return evaluation->predictions;
}
