/* Thresholds from what predictors say about blocks with and without the answer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/block_skim.h"
#include "base/alloc.h"
#include "model/insert.h"
#include "model/model.h"
#include "tensor/value.h"
#include "train/forward.h"
#include "train/training_form.h"

enum { MOST_PREDICTORS = 256, SHOWN = 2 /* rows besides those of predictors */ };

spry_skim_options spry_skim_options_default(void)
{
    return (spry_skim_options){
        .struct_size = sizeof(spry_skim_options), .miss = 0.02, .threshold = -1.0};
}

static spry_status check_options(const spry_skim_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_skim_options_default()",
                         "not initialised");
    }
    if (!(o->miss > 0.0 && o->miss < 1.0)) {
        return spry_fail(error, SPRY_USAGE, "miss", "a share above 0 and below 1",
                         "%g of the answers may be lost", o->miss);
    }
    return o->threshold < 1.0
               ? SPRY_OK
               : spry_fail(error, SPRY_USAGE, "threshold", "a chance of at least 0 and below 1",
                           "%g is none", o->threshold);
}

/* ---- a model that shows what predictors say ---- */

static spry_status add(graph *g, int32_t opset, const char *type, const char *suffix,
                       const int32_t *inputs, int32_t count, int64_t axis, int32_t *made,
                       spry_error *error)
{
    insert_node_of what = {
        .type = type, .opset = opset, .base = "shown", .suffix = suffix, .input_count = count};
    int32_t node;
    spry_status status;

    memcpy(what.inputs, inputs, (size_t)count * sizeof *inputs);
    status = insert_node(g, &what, &node, made, error);
    return status == SPRY_OK && axis >= 0 ? graph_set_int(g, node, "axis", axis, error) : status;
}

/* Appends the rows [N, 1, K] of `row_of`, [N, K], to *all, [N, rows, K]. */
static spry_status append(graph *g, int32_t opset, int32_t row_of, int32_t one, int32_t *all,
                          spry_error *error)
{
    int32_t row;
    spry_status status =
        add(g, opset, "Unsqueeze", "row", (const int32_t[]){row_of, one}, 2, -1, &row, error);

    if (status != SPRY_OK || *all == GRAPH_NONE) {
        *all = row;
        return status;
    }
    return add(g, opset, "Concat", "rows", (const int32_t[]){*all, row}, 2, 1, all, error);
}

static spry_status append_odds(graph *g, int32_t opset, int32_t logits, const int32_t *places,
                               int32_t *all, spry_error *error)
{
    int32_t parts[2];
    int32_t odds;
    spry_status status = SPRY_OK;

    for (int i = 0; i < 2 && status == SPRY_OK; i++) {
        status = add(g, opset, "Gather", "logit", (const int32_t[]){logits, places[i]}, 2, 2,
                     &parts[i], error);
    }
    if (status == SPRY_OK) {
        status = add(g, opset, "Sub", "odds_column", (const int32_t[]){parts[1], parts[0]}, 2, -1,
                     &odds, error);
    }
    if (status == SPRY_OK) {
        status = add(g, opset, "Squeeze", "odds", (const int32_t[]){odds, places[2]}, 2, -1, &odds,
                     error);
    }
    return status == SPRY_OK ? append(g, opset, odds, places[1], all, error) : status;
}

spry_status block_skim_set_threshold(spry_model *m, int32_t layer, double threshold,
                                     spry_error *error)
{
    char name[BLOCK_SKIM_NAME_SIZE];
    graph *g = m->main;
    float *number = arena_array(g->memory, 1, sizeof *number);
    tensor *t = arena_array(g->memory, 1, sizeof *t);
    int32_t id;

    block_skim_name(name, layer, BLOCK_SKIM_THRESHOLD);
    id = graph_find_value(g, name);
    if (number == NULL || t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    if (id == GRAPH_NONE || g->values[id].constant == NULL) {
        return spry_fail(error, SPRY_BAD_INPUT, m->path, "adapt the model again",
                         "it lacks the tensor %s", name);
    }
    *number = (float)threshold;
    g->values[id].constant = t;
    return tensor_init(t, SPRY_DTYPE_F32, 0, NULL, number, error);
}

/* *shown is a copy without thresholds, whose one output is [N, 2 + predictors, K]: the blocks of
 * text, the protected ones, and the odds. */
static spry_status show(const spry_model *adapted, model **shown, int32_t *predictors,
                        spry_error *error)
{
    static const int64_t numbers[] = {0, 1, 2};
    spry_status status = model_copy(adapted, shown, error);
    graph *g = status == SPRY_OK ? (*shown)->main : NULL;
    int32_t opset = status == SPRY_OK ? (int32_t)model_opset_version(*shown, "") : 0;
    int32_t places[3];
    int32_t all = GRAPH_NONE;
    int32_t start = g != NULL ? graph_find_value(g, BLOCK_SKIM_START) : GRAPH_NONE;
    int32_t protect = g != NULL ? graph_find_value(g, BLOCK_SKIM_PROTECTED) : GRAPH_NONE;

    *predictors = 0;
    if (status == SPRY_OK && (start == GRAPH_NONE || protect == GRAPH_NONE)) {
        status = spry_fail(error, SPRY_USAGE, adapted->path,
                           "make one by spry adapt --method block-skim",
                           "the model has no predictors of blocks");
    }
    for (int i = 0; i < 3 && status == SPRY_OK; i++) {
        status = insert_constant(g, "shown", "place", SPRY_DTYPE_I64, 1, (const int64_t[]){1},
                                 &numbers[i], &places[i], error);
    }
    if (status == SPRY_OK) {
        status = append(g, opset, start, places[1], &all, error);
    }
    if (status == SPRY_OK) {
        status = append(g, opset, protect, places[1], &all, error);
    }
    for (int32_t i = 0; i < MOST_PREDICTORS && status == SPRY_OK; i++) {
        char name[BLOCK_SKIM_NAME_SIZE];
        int32_t logits;

        block_skim_name(name, i, BLOCK_SKIM_LOGITS);
        logits = graph_find_value(g, name);
        if (logits == GRAPH_NONE) {
            break;
        }
        (*predictors)++;
        status = append_odds(g, opset, logits, places, &all, error);
        if (status == SPRY_OK) {
            status = block_skim_set_threshold(*shown, i, 0.0, error);
        }
    }
    return status == SPRY_OK ? training_set_outputs(g, &all, 1, error) : status;
}

/* ---- what they say ---- */

typedef struct chances {
    double *items;
    size_t count, room;
} chances;

typedef struct collector {
    spry_allocator allocator;
    int32_t predictors;
    int64_t block, tokens;
    chances answers[MOST_PREDICTORS]; /* of blocks with the answer */
    chances others[MOST_PREDICTORS];
} collector;

static spry_status note(collector *c, chances *list, double chance, spry_error *error)
{
    if (list->count == list->room) {
        size_t room = list->room > 0 ? 2 * list->room : 1024;
        double *items = alloc_array(&c->allocator, room, sizeof *items);

        if (items == NULL) {
            return alloc_failed(error, room * sizeof *items);
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof *items);
        }
        alloc_release(&c->allocator, list->items, list->room * sizeof *list->items);
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = chance;
    return SPRY_OK;
}

/* rows [2 + predictors, K] of one sample. */
static spry_status take_sample(collector *c, const float *rows, int64_t blocks, int64_t label,
                               spry_error *error)
{
    int64_t first = label % c->tokens / c->block;
    int64_t last = label / c->tokens / c->block;
    spry_status status = SPRY_OK;

    for (int64_t k = 0; k < blocks; k++) {
        bool has_answer = label > 0 && k >= first && k <= last;

        for (int32_t i = 0; i < c->predictors && rows[k] > 0 && rows[blocks + k] == 0; i++) {
            double odds = rows[(SHOWN + i) * blocks + k];

            if (isnan(odds)) {
                return spry_fail(error, SPRY_BAD_INPUT, "predictor", "train with a lower rate",
                                 "what predictor %d says is not a number", (int)i);
            }
            status =
                note(c, has_answer ? &c->answers[i] : &c->others[i], 1 / (1 + exp(-odds)), error);
            if (status != SPRY_OK) {
                return status;
            }
        }
    }
    return status;
}

static spry_status take_batch(void *context, const spry_value *output, const int64_t *labels,
                              int64_t first, int64_t count, spry_error *error)
{
    collector *c = context;
    const spry_tensor *t = spry_value_tensor(output);
    int64_t blocks = t->shape[2];
    spry_status status = SPRY_OK;

    (void)first;
    for (int64_t i = 0; i < count && status == SPRY_OK; i++) {
        status = take_sample(c, (const float *)t->data + i * t->shape[1] * blocks, blocks,
                             labels[i], error);
    }
    return status;
}

/* ---- choosing ---- */

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

static int64_t count_from(const chances *list, double threshold)
{
    int64_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        kept += list->items[i] >= threshold;
    }
    return kept;
}

/* The largest chance that loses no more than `miss` of the answers. */
static double choose(chances *answers, double miss)
{
    double allowed = floor(miss * (double)(answers->count + 1)) - 1;
    float rounded;

    if (allowed < 0 || answers->count == 0) {
        return 0.0;
    }
    qsort(answers->items, answers->count, sizeof *answers->items, compare);
    /* a little less, since the model computes odds in f32 */
    rounded = (float)(answers->items[(size_t)allowed] * (1 - 1e-5));
    return rounded < 0.999999f ? rounded : 0.999999;
}

static spry_skim_layer choose_layer(collector *c, int32_t i, const spry_skim_options *o)
{
    chances *answers = &c->answers[i];
    const chances *others = &c->others[i];
    spry_skim_layer l = {.answers = (int64_t)answers->count,
                         .blocks = (int64_t)(answers->count + others->count)};
    int64_t found;

    l.threshold = o->threshold >= 0 ? o->threshold : choose(answers, o->miss / c->predictors);
    found = count_from(answers, l.threshold);
    l.recall = l.answers > 0 ? (double)found / (double)l.answers : 1.0;
    l.kept =
        l.blocks > 0 ? (double)(found + count_from(others, l.threshold)) / (double)l.blocks : 1.0;
    return l;
}

static spry_status measure(const spry_model *shown, spry_dataset *questions,
                           const spry_skim_options *o, collector *c, spry_error *error)
{
    spry_train_options run = spry_train_options_default();

    run.threads = o->threads;
    run.progress = o->progress;
    run.allocator = o->allocator;
    return forward_all(shown, questions, &run, "looking at blocks", take_batch, c, error);
}

static spry_status set_all(const spry_model *adapted, collector *c, const spry_skim_options *o,
                           spry_model **chosen, spry_skim_layer *layers, int32_t most,
                           spry_error *error)
{
    spry_status status = model_copy(adapted, chosen, error);

    for (int32_t i = 0; i < c->predictors && status == SPRY_OK; i++) {
        spry_skim_layer l = choose_layer(c, i, o);

        if (i < most) {
            layers[i] = l;
        }
        status = block_skim_set_threshold(*chosen, i, l.threshold, error);
    }
    if (status != SPRY_OK) {
        spry_model_destroy(*chosen);
        *chosen = NULL;
    }
    return status;
}

/* Tokens of a sample. */
static spry_status read_length(spry_dataset *questions, int64_t *tokens, spry_error *error)
{
    spry_tensor *sample = NULL;
    spry_status status = spry_dataset_sample(questions, 0, &sample, error);

    *tokens = status == SPRY_OK ? tensor_count(sample) : 0;
    spry_tensor_destroy(sample);
    return status;
}

spry_status spry_adapt_choose_thresholds(const spry_model *adapted, spry_dataset *questions,
                                         const spry_skim_options *options, spry_model **chosen,
                                         spry_skim_layer *layers, int32_t most, int32_t *count,
                                         spry_error *error)
{
    spry_allocator allocator = alloc_resolve(options->allocator);
    collector *c = alloc_zeroed(&allocator, sizeof *c);
    spry_adaptation *facts = NULL;
    model *shown = NULL;
    spry_status status = check_options(options, error);

    *chosen = NULL;
    *count = 0;
    if (c == NULL) {
        return alloc_failed(error, sizeof *c);
    }
    c->allocator = allocator;
    if (status == SPRY_OK) {
        status = spry_adaptation_of(adapted, &facts, error);
    }
    if (status == SPRY_OK) {
        c->block = spry_adaptation_options(facts)->block;
        status = show(adapted, &shown, &c->predictors, error);
    }
    if (status == SPRY_OK) {
        status = read_length(questions, &c->tokens, error);
    }
    if (status == SPRY_OK) {
        status = measure(shown, questions, options, c, error);
    }
    if (status == SPRY_OK) {
        status = set_all(adapted, c, options, chosen, layers, most, error);
        *count = c->predictors;
    }
    for (int32_t i = 0; i < MOST_PREDICTORS; i++) {
        alloc_release(&allocator, c->answers[i].items,
                      c->answers[i].room * sizeof *c->answers[i].items);
        alloc_release(&allocator, c->others[i].items,
                      c->others[i].room * sizeof *c->others[i].items);
    }
    spry_adaptation_destroy(facts);
    spry_model_destroy(shown);
    alloc_release(&allocator, c, sizeof *c);
    return status;
}
