/* The loss of answers and of what predictors say about blocks. */
#include <stdio.h>
#include <string.h>

#include "adapt/block_skim.h"
#include "base/alloc.h"
#include "model/model.h"
#include "train/loss.h"
#include "train/objective.h"

enum { ANSWERS, BLOCKS, EXACT, WATCHED };

typedef struct skim_objective {
    spry_train_objective base;
    spry_adapt_goal goal;
    int64_t block;
    const char *ends; /* name of the second output, the model's; training has the first alone */
} skim_objective;

void block_skim_name(char name[BLOCK_SKIM_NAME_SIZE], int32_t layer, const char *suffix)
{
    (void)snprintf(name, BLOCK_SKIM_NAME_SIZE, BLOCK_SKIM_NAME "%d_%s", (int)layer, suffix);
}

/* What the labels say of each sample, as integers [N], and of each block. */
typedef struct span_targets {
    int64_t tokens, blocks;
    int32_t start, end;
    int32_t label; /* f32 [N, K]: 1 where the answer is */
} span_targets;

static int32_t whole(emitter *e, int64_t number)
{
    return emit_number(e, SPRY_DTYPE_I64, (double)number);
}

static int32_t as_float(emitter *e, int32_t a)
{
    return emit_cast(e, a, SPRY_DTYPE_F32);
}

static int32_t add_numbers(emitter *e, int64_t count, int64_t first, int64_t step, arena *memory)
{
    double *numbers = arena_array(memory, (size_t)count, sizeof *numbers);

    if (numbers == NULL) {
        e->status = e->status == SPRY_OK ? alloc_failed(e->error, (size_t)count) : e->status;
        return GRAPH_NONE;
    }
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = (double)(first + i * step);
    }
    return emit_numbers(e, SPRY_DTYPE_I64, count, numbers);
}

/* Tokens of the answer in each block, and whether they are enough. */
static void find_targets(const skim_objective *o, objective_step *step, arena *memory,
                         span_targets *t)
{
    emitter *e = &step->e;
    const int64_t column[] = {-1, 1};
    int32_t first;
    int32_t last;
    int32_t inside;

    t->tokens = step->inputs[0]->shape[1];
    t->blocks = (t->tokens + o->block - 1) / o->block;
    t->start = emit_binary(e, "Mod", step->targets, whole(e, t->tokens));
    t->end = emit_binary(e, "Div", step->targets, whole(e, t->tokens));
    first = emit_binary(e, "Max", emit_reshape(e, t->start, 2, column),
                        add_numbers(e, t->blocks, 0, o->block, memory));
    last = emit_binary(e, "Min", emit_reshape(e, t->end, 2, column),
                       add_numbers(e, t->blocks, o->block - 1, o->block, memory));
    inside =
        emit_binary(e, "Sub", last, first); /* tokens less one; negative where there are none */
    t->label = as_float(
        e, emit_binary(e, "GreaterOrEqual", inside, whole(e, o->goal.strict_blocks ? 1 : 0)));
}

/* The weighted mean over blocks of one predictor: log(1 + e^odds) where there is no answer,
 * log(1 + e^-odds) where it is. */
static int32_t emit_blocks(emitter *e, int32_t logits, int32_t label, int32_t weight)
{
    int32_t drop = emit_binary(e, "Gather", logits, whole(e, 0));
    int32_t keep = emit_binary(e, "Gather", logits, whole(e, 1));
    int32_t sign = emit_plus(e, SPRY_DTYPE_F32, emit_scaled(e, SPRY_DTYPE_F32, label, -2.0), 1.0);
    int32_t loss;

    emit_set_int(e, drop, "axis", 2);
    emit_set_int(e, keep, "axis", 2);
    loss =
        emit_unary(e, "Softplus", emit_binary(e, "Mul", emit_binary(e, "Sub", keep, drop), sign));
    return emit_binary(
        e, "Div", emit_reduce(e, "ReduceSum", emit_binary(e, "Mul", loss, weight), 0, NULL, false),
        emit_reduce(e, "ReduceSum", weight, 0, NULL, false));
}

/* Scores of starts (0) or ends (1) [N, T]. */
static int32_t find_scores(const skim_objective *o, objective_step *step, int32_t which)
{
    const graph *g = step->m->main;
    int32_t first = g->outputs[0];
    int32_t made;

    if (g->values[first].type.rank != 3) {
        return which == 0 ? first : graph_find_value(g, o->ends);
    }
    made = emit_binary(&step->e, "Gather", first, whole(&step->e, which));
    emit_set_int(&step->e, made, "axis", 2);
    return made;
}

static int32_t emit_hit(emitter *e, int32_t scores, int32_t target)
{
    int32_t best = emit_unary(e, "ArgMax", scores);

    emit_set_int(e, best, "axis", 1);
    emit_set_int(e, best, "keepdims", 0);
    return emit_binary(e, "Equal", best, target);
}

static spry_status emit_term(const skim_objective *o, objective_step *step, const span_targets *t)
{
    const loss_options entropy = {.kind = LOSS_CROSS_ENTROPY};
    emitter *e = &step->e;
    const graph *g = step->m->main;
    int32_t starts = find_scores(o, step, 0);
    int32_t ends = find_scores(o, step, 1);
    int32_t weight = emit_plus(
        e, SPRY_DTYPE_F32, emit_scaled(e, SPRY_DTYPE_F32, t->label, o->goal.balance - 1.0), 1.0);
    int32_t blocks = GRAPH_NONE;
    int32_t answers = emit_scaled(e, SPRY_DTYPE_F32,
                                  emit_binary(e, "Add", loss_emit(e, &entropy, starts, t->start),
                                              loss_emit(e, &entropy, ends, t->end)),
                                  0.5);

    weight = emit_binary(e, "Mul", weight, graph_find_value(g, BLOCK_SKIM_START));
    for (int32_t i = 0; e->status == SPRY_OK; i++) {
        char name[BLOCK_SKIM_NAME_SIZE];
        int32_t logits;
        int32_t loss;

        block_skim_name(name, i, BLOCK_SKIM_LOGITS);
        logits = graph_find_value(g, name);
        if (logits == GRAPH_NONE) {
            break;
        }
        e->status = block_skim_set_threshold(step->m, i, 0.0, e->error); /* nothing is dropped */
        loss = emit_blocks(e, logits, t->label, weight);
        blocks = blocks == GRAPH_NONE ? loss : emit_binary(e, "Add", blocks, loss);
    }
    if (blocks == GRAPH_NONE && e->status == SPRY_OK) {
        return spry_fail(e->error, SPRY_USAGE, step->m->path,
                         "make one by spry adapt -m block-skim", "the model has no predictors");
    }
    step->term =
        emit_binary(e, "Add", answers, emit_scaled(e, SPRY_DTYPE_F32, blocks, o->goal.harmony));
    step->watched[ANSWERS] = answers;
    step->watched[BLOCKS] = blocks;
    step->watched[EXACT] =
        emit_reduce(e, "ReduceMean",
                    as_float(e, emit_binary(e, "And", emit_hit(e, starts, t->start),
                                            emit_hit(e, ends, t->end))),
                    0, NULL, false);
    return e->status;
}

static spry_status build(const spry_train_objective *base, objective_step *step, spry_error *error)
{
    const skim_objective *o = (const skim_objective *)base;
    span_targets t;
    arena memory;
    spry_status status;

    if (graph_find_value(step->m->main, o->ends) == GRAPH_NONE || step->inputs[0]->rank != 2 ||
        graph_find_value(step->m->main, BLOCK_SKIM_START) == GRAPH_NONE) {
        return spry_fail(error, SPRY_USAGE, step->m->path, "make one by spry adapt -m block-skim",
                         "the model does not answer questions while it skips blocks");
    }
    arena_init(&memory, &o->base.allocator, SIZE_MAX);
    find_targets(o, step, &memory, &t);
    status = emit_term(o, step, &t);
    arena_fini(&memory);
    return status;
}

static void destroy(spry_train_objective *o)
{
    spry_allocator allocator = o->allocator;

    alloc_release(&allocator, o, sizeof(skim_objective));
}

spry_status block_skim_objective(const spry_model *adapted, const spry_adapt_goal *goal,
                                 int32_t block, spry_train_objective **made, spry_error *error)
{
    spry_allocator allocator = alloc_resolve(&adapted->allocator);
    skim_objective *o = alloc_zeroed(&allocator, sizeof *o);

    *made = NULL;
    if (adapted->main->output_count < 2) {
        alloc_release(&allocator, o, sizeof *o);
        return spry_fail(error, SPRY_BAD_INPUT, adapted->path, "adapt the model again",
                         "the model has one output");
    }
    if (o == NULL) {
        return alloc_failed(error, sizeof *o);
    }
    *o = (skim_objective){.base = {.allocator = allocator,
                                   .ignores_labels = true,
                                   .has_spans = true,
                                   .watched_count = WATCHED,
                                   .watched_names = {"answers", "blocks", "exact"},
                                   .build = build,
                                   .destroy = destroy},
                          .goal = *goal,
                          .block = block,
                          .ends = adapted->main->values[adapted->main->outputs[1]].name};
    *made = &o->base;
    return SPRY_OK;
}
