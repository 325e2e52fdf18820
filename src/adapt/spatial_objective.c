/* The term as nodes: densities of masks, work by block, squares of what is too much. */
#include "adapt/spatial_objective.h"

#include <math.h>
#include <string.h>

#include "adapt/block_skim.h"
#include "adapt/rewrite.h"
#include "adapt/spatial_block.h"
#include "adapt/spatial_time.h"
#include "base/alloc.h"
#include "model/infer.h"
#include "ops/op.h"
#include "train/objective.h"

/* How far bounds still hold blocks to the aim, 1 to 0; how far that has come down from 1 to the
 * target, 0 to 1. */
enum { CLOSED, DESCENDED, SETTINGS };
enum { WORK, DENSITY, WATCHED };

static const double pi = 3.14159265358979323846;

typedef struct spatial_objective {
    spry_train_objective base;
    spry_adapt_goal goal;
    latency_machine machine; /* where milliseconds are asked for */
    latency_memo *memo;
} spatial_objective;

static bool counts_time(const spatial_objective *o)
{
    return o->goal.budget_ms > 0;
}

static double closed_at(double done, double opening)
{
    double part = opening > 0 && done < opening ? done / opening : 1.0;
    double c = part < 1.0 ? cos(part * pi / 2.0) : 0.0;

    return c * c;
}

void spatial_bounds(double wanted, double done, double opening, double *up, double *lo)
{
    double c = closed_at(done, opening);

    *up = 1.0 - c * (1.0 - wanted);
    *lo = c * wanted;
}

double spatial_aim(double wanted, double done, double descent)
{
    return done < descent ? 1.0 - (1.0 - wanted) * done / descent : wanted;
}

static double setting(const spry_train_objective *o, int32_t index, double done)
{
    const spry_adapt_goal *goal = &((const spatial_objective *)o)->goal;

    return index == CLOSED ? closed_at(done, goal->opening)
                           : 1.0 - spatial_aim(0.0, done, goal->descent);
}

/* ---- looking ---- */

/* The graph as it is for one batch. */
typedef struct sight {
    graph *s;
    spatial_blocks blocks;
    double batch;
    spatial_cost *costs; /* of blocks with masks, by image: work, or milliseconds */
    double rest;         /* outside of them */
    double dense;        /* of everything, without masks */
    double target;       /* the share of that which is to be left */
} sight;

static spry_status bind_inputs(graph *s, const model *m, const tensor *const *inputs,
                               spry_error *error)
{
    int32_t next = 0;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < s->input_count && status == SPRY_OK; i++) {
        if (model_input_is_required(m, i)) {
            const tensor *t = inputs[next++];
            graph_type type = graph_type_tensor(t->dtype, t->rank, t->shape);

            status = infer_bind_input(s, s->values[s->inputs[i]].name, &type, error);
        }
    }
    return status;
}

/* Of a projection. */
static double shortcut_work(const graph *s, const spatial_block *b)
{
    double macs = 0;

    (void)spatial_comes_from(s, b->shortcut, b->x, &macs);
    return macs;
}

/* Work of all products with constant weights that no masked block holds. */
static double work_of_rest(const sight *x, const structure *all)
{
    double total = 0;

    for (int32_t i = 0; i < all->linear_count; i++) {
        const structure_linear *l = &all->linears[i];
        const graph_type *type = &x->s->values[l->product].type;

        if (graph_type_is_static(type)) {
            total += (double)op_work_count(type) * (double)l->inputs;
        }
    }
    for (int32_t i = 0; i < x->blocks.count; i++) {
        const spatial_block *b = &x->blocks.items[i];
        int32_t logits = spatial_logits(x->s, b);

        if (b->map == GRAPH_NONE) {
            continue;
        }
        for (int k = 0; k < b->conv_count; k++) {
            total -= spatial_conv_macs(x->s, b->convs[k]);
        }
        total -=
            shortcut_work(x->s, b) + (logits != GRAPH_NONE ? spatial_conv_macs(x->s, logits) : 0.0);
    }
    return total / x->batch;
}

static spry_status look(const objective_step *step, arena *memory, structure *all, sight *x,
                        spry_error *error)
{
    graph_uses uses;
    spry_status status = graph_copy(step->m->main, memory, NULL, &x->s, error);

    if (status == SPRY_OK) {
        status = bind_inputs(x->s, step->m, step->inputs, error);
    }
    if (status == SPRY_OK) {
        status = rewrite_settle(x->s, step->m, error);
    }
    if (status == SPRY_OK) {
        status = graph_find_uses(x->s, memory, &uses, error);
    }
    if (status == SPRY_OK) {
        status = spatial_blocks_find(x->s, &uses, memory, &x->blocks, error);
    }
    if (status == SPRY_OK) {
        status = structure_find(x->s, &uses, memory, all, error);
    }
    x->batch = (double)step->inputs[0]->shape[0];
    return status;
}

/* ---- costs ---- */

/* Averaging x over cells, and a pointwise convolution to two logits: three times the channels by
 * cell, as the authors count. */
static double masker_work(const sight *x, const spatial_block *b)
{
    double cells = (double)op_work_count(spatial_cells(x->s, b)) / x->batch;

    return (double)b->channels * ((double)(b->from_height * b->from_width) + 3.0 * cells);
}

/* Multiply-accumulates. */
static spatial_cost work_of_block(const sight *x, const spatial_block *b)
{
    spatial_cost cost = {.fixed = masker_work(x, b) + shortcut_work(x->s, b) / x->batch};

    cost.dense = cost.fixed;
    for (int i = 0; i < b->conv_count; i++) {
        cost.by_conv[i] = spatial_conv_macs(x->s, b->convs[i]) / x->batch;
        cost.dense += cost.by_conv[i];
    }
    return cost;
}

/* Costs of all blocks with masks, and what they add up to. Fails with SPRY_USAGE where masks cannot
 * come to the budget. */
static spry_status weigh(const spatial_objective *o, const structure *all, arena *memory, sight *x,
                         spry_error *error)
{
    bool in_time = counts_time(o);
    double least;

    x->costs = arena_array(memory, (size_t)x->blocks.count + 1, sizeof *x->costs);
    if (x->costs == NULL) {
        return alloc_failed(error, (size_t)x->blocks.count * sizeof *x->costs);
    }
    x->rest = in_time ? spatial_time_rest(&o->machine, x->s, &x->blocks, all, x->batch)
                      : work_of_rest(x, all);
    x->dense = least = x->rest;
    for (int32_t i = 0; i < x->blocks.count; i++) {
        const spatial_block *b = &x->blocks.items[i];

        if (b->map != GRAPH_NONE) {
            x->costs[i] = in_time ? spatial_time_block(&o->machine, x->s, b) : work_of_block(x, b);
            x->dense += x->costs[i].dense;
            least += x->costs[i].fixed;
        }
    }
    x->target = in_time ? o->goal.budget_ms / x->dense : o->goal.target;
    if (in_time && (o->goal.budget_ms >= x->dense || o->goal.budget_ms <= least)) {
        return spry_fail(error, SPRY_USAGE, "budget",
                         "ask for something between, or for another machine",
                         "%g ms is out of reach: the network is predicted to take %.4g ms without "
                         "masks and %.4g ms where nothing is kept",
                         o->goal.budget_ms, x->dense, least);
    }
    return SPRY_OK;
}

/* ---- densities ---- */

/* How a convolution walks over one axis of its input. */
typedef struct walk {
    int64_t kernel, stride, dilation, before, after;
    int64_t rest; /* at the end of the input that no window reaches */
} walk;

static walk walk_of(const graph *s, const graph_node *conv, int axis)
{
    const tensor *w = graph_constant(s, conv->inputs[1]);
    int64_t from = s->values[conv->inputs[0]].type.dims[2 + axis].size;
    int64_t to = s->values[conv->outputs[0]].type.dims[2 + axis].size;
    int64_t count;
    const int64_t *strides = graph_attribute_ints(conv, "strides", &count);
    const int64_t *dilations = graph_attribute_ints(conv, "dilations", &count);
    const int64_t *pads = graph_attribute_ints(conv, "pads", &count);
    const char *automatic = graph_attribute_string(conv, "auto_pad", "NOTSET");
    walk a = {.kernel = w->shape[2 + axis],
              .stride = strides != NULL ? strides[axis] : 1,
              .dilation = dilations != NULL ? dilations[axis] : 1};
    int64_t reach = (to - 1) * a.stride + a.dilation * (a.kernel - 1) + 1;

    if (strcmp(automatic, "SAME_UPPER") == 0 || strcmp(automatic, "SAME_LOWER") == 0) {
        int64_t total = reach > from ? reach - from : 0;

        a.before = automatic[5] == 'U' ? total / 2 : total - total / 2;
        a.after = total - a.before;
    } else if (pads != NULL) {
        a.before = pads[axis];
        a.after = pads[2 + axis];
    }
    a.rest = from - (reach - a.before - a.after);
    return a;
}

static bool is_pointwise(const walk *a)
{
    return a->kernel == 1 && a->stride == 1 && a->before == 0 && a->after == 0;
}

/* The pixels that a convolution reads for those of `map`: 1 or 0. How often each is read is the
 * convolution with ones turned round. */
static int32_t emit_dilated(emitter *e, int32_t map, const walk *y, const walk *x)
{
    const int64_t shape[] = {1, 1, y->kernel, x->kernel};
    int32_t ones =
        emit_binary(e, "Expand", emit_number(e, SPRY_DTYPE_F32, 1.0), emit_ints(e, 4, shape));
    int32_t reads = emit_binary(e, "ConvTranspose", map, ones);

    emit_set_ints(e, reads, "kernel_shape", 2, (int64_t[]){y->kernel, x->kernel});
    emit_set_ints(e, reads, "strides", 2, (int64_t[]){y->stride, x->stride});
    emit_set_ints(e, reads, "dilations", 2, (int64_t[]){y->dilation, x->dilation});
    emit_set_ints(e, reads, "pads", 4, (int64_t[]){y->before, x->before, y->after, x->after});
    emit_set_ints(e, reads, "output_padding", 2, (int64_t[]){y->rest, x->rest});
    return emit_cast(e, emit_binary(e, "Greater", reads, emit_number(e, SPRY_DTYPE_F32, 0.5)),
                     SPRY_DTYPE_F32);
}

/* The mean over everything, of rank 1. */
static int32_t emit_density(emitter *e, int32_t map)
{
    int32_t mean = emit_reduce(e, "ReduceMean", map, 4, (int64_t[]){0, 1, 2, 3}, false);

    return emit_reshape(e, mean, 1, (int64_t[]){1});
}

/* A block's cost over that without a mask, of rank 1, and how much of the map is kept. */
typedef struct block_share {
    int32_t share, density;
} block_share;

static block_share emit_block(emitter *e, const sight *x, int32_t block)
{
    const spatial_block *b = &x->blocks.items[block];
    const spatial_cost *cost = &x->costs[block];
    int32_t map = b->map;
    int32_t density = emit_density(e, map);
    block_share made = {.density = density};

    made.share = emit_reshape(e, emit_number(e, SPRY_DTYPE_F32, cost->fixed / cost->dense), 1,
                              (int64_t[]){1});
    for (int i = b->conv_count - 1; i >= 0; i--) {
        const graph_node *conv = spatial_conv(x->s, b->convs[i]);
        walk rows = walk_of(x->s, conv, 0);
        walk columns = walk_of(x->s, conv, 1);

        made.share =
            emit_binary(e, "Add", made.share,
                        emit_scaled(e, SPRY_DTYPE_F32, density, cost->by_conv[i] / cost->dense));
        if (i > 0 && !(is_pointwise(&rows) && is_pointwise(&columns))) {
            map = emit_dilated(e, map, &rows, &columns);
            density = emit_density(e, map);
        }
    }
    return made;
}

/* ---- the term ---- */

/* The mean over blocks of what their share is beyond the bounds (spatial_bounds), squared. */
static int32_t emit_bounds(emitter *e, const objective_step *step, int32_t aim, int32_t shares)
{
    int32_t closed = step->settings[CLOSED];
    int32_t lo = emit_binary(e, "Mul", closed, aim);
    int32_t up = emit_binary(e, "Sub", emit_plus(e, SPRY_DTYPE_F32, lo, 1.0), closed);
    int32_t over = emit_unary(e, "Relu", emit_binary(e, "Sub", shares, up));
    int32_t under = emit_unary(e, "Relu", emit_binary(e, "Sub", lo, shares));
    int32_t sum = emit_binary(e, "Add", emit_binary(e, "Mul", over, over),
                              emit_binary(e, "Mul", under, under));

    return emit_reduce(e, "ReduceMean", sum, 1, (int64_t[]){0}, false);
}

static int32_t emit_scalar(emitter *e, int32_t one)
{
    return emit_reshape(e, one, 0, NULL);
}

static spry_status emit_term(const spatial_objective *o, const sight *x, int32_t masked,
                             objective_step *step, arena *memory, spry_error *error)
{
    emitter *e = &step->e;
    int32_t *shares = arena_array(memory, (size_t)masked, sizeof *shares);
    int32_t *densities = arena_array(memory, (size_t)masked, sizeof *densities);
    int32_t work = emit_reshape(e, emit_number(e, SPRY_DTYPE_F32, x->rest), 1, (int64_t[]){1});
    int32_t aim =
        emit_plus(e, SPRY_DTYPE_F32,
                  emit_scaled(e, SPRY_DTYPE_F32, step->settings[DESCENDED], x->target - 1.0), 1.0);
    int32_t off;
    int32_t all;
    int32_t count = 0;

    if (shares == NULL || densities == NULL) {
        return alloc_failed(error, (size_t)masked * sizeof *shares);
    }
    for (int32_t i = 0; i < x->blocks.count; i++) {
        if (x->blocks.items[i].map != GRAPH_NONE) {
            block_share made = emit_block(e, x, i);

            work = emit_binary(e, "Add", work,
                               emit_scaled(e, SPRY_DTYPE_F32, made.share, x->costs[i].dense));
            shares[count] = made.share;
            densities[count++] = made.density;
        }
    }
    work = emit_scaled(e, SPRY_DTYPE_F32, work, 1.0 / x->dense);
    off = emit_binary(e, "Sub", work, aim);
    all = emit_node(e, "Concat", count, shares);
    emit_set_int(e, all, "axis", 0);
    step->term = emit_scaled(e, SPRY_DTYPE_F32,
                             emit_binary(e, "Add", emit_scalar(e, emit_binary(e, "Mul", off, off)),
                                         emit_bounds(e, step, aim, all)),
                             o->goal.weight);
    all = emit_node(e, "Concat", count, densities);
    emit_set_int(e, all, "axis", 0);
    step->watched[WORK] = emit_scalar(e, work);
    step->watched[DENSITY] = emit_reduce(e, "ReduceMean", all, 1, (int64_t[]){0}, false);
    return e->status;
}

static spry_status build(const spry_train_objective *base, objective_step *step, spry_error *error)
{
    const spatial_objective *o = (const spatial_objective *)base;
    arena memory;
    structure all;
    sight x;
    int32_t masked = 0;
    spry_status status;

    arena_init(&memory, &o->base.allocator, SIZE_MAX);
    status = look(step, &memory, &all, &x, error);
    for (int32_t i = 0; status == SPRY_OK && i < x.blocks.count; i++) {
        masked += x.blocks.items[i].map != GRAPH_NONE;
    }
    if (status == SPRY_OK && masked == 0) {
        status = spry_fail(error, SPRY_USAGE, step->m->path, "make one with spry adapt -m lasnet",
                           "the model has no blocks with masks");
    }
    if (status == SPRY_OK) {
        status = weigh(o, &all, &memory, &x, error);
    }
    if (status == SPRY_OK) {
        status = emit_term(o, &x, masked, step, &memory, error);
    }
    arena_fini(&memory);
    return status;
}

/* ---- from options ---- */

spry_adapt_goal spry_adapt_goal_default(void)
{
    return (spry_adapt_goal){.struct_size = sizeof(spry_adapt_goal),
                             .target = 0.5,
                             .machine = "cpu",
                             .weight = 10.0,
                             .opening = 0.33,
                             .teacher_weight = 0.5,
                             .teacher_temperature = 4.0,
                             .harmony = 0.1,
                             .balance = 20.0};
}

static spry_status check_goal(const spry_adapt_goal *g, spry_error *error)
{
    const struct {
        const char *name;
        double number, least, most;
        const char *range;
    } limits[] = {
        {"target", g->target, 1e-3, 1, "a share of the work, above 0 and at most 1"},
        {"budget", g->budget_ms, 0, 1e6, "milliseconds, above 0; 0 asks for a share of the work"},
        {"weight", g->weight, 0, 1e6, "0 or more"},
        {"opening", g->opening, 0, 1, "a share of training, 0 to 1"},
        {"descent", g->descent, 0, 1, "a share of training, 0 to 1"},
        {"teacher's weight", g->teacher_weight, 0, 1e6, "0 or more"},
        {"weight of features", g->feature_weight, 0, 1e6, "0 or more"},
        {"teacher's temperature", g->teacher_temperature, 1e-3, 1e3, "0.001 to 1000"},
        {"harmony", g->harmony, 0, 1e6, "0 or more"},
        {"balance", g->balance, 1e-6, 1e6, "0.000001 to 1000000"},
    };

    if (g->struct_size != sizeof *g) {
        return spry_fail(error, SPRY_USAGE, "goal", "start from spry_adapt_goal_default()",
                         "not initialised");
    }
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        /* written so that what is no number fails too */
        if (!(limits[i].number >= limits[i].least && limits[i].number <= limits[i].most)) {
            return spry_fail(error, SPRY_USAGE, limits[i].name, limits[i].range,
                             "%g is out of range", limits[i].number);
        }
    }
    if (g->ignore_labels && g->teacher == NULL) {
        return spry_fail(error, SPRY_USAGE, "labels", "name a teacher",
                         "without labels there is nothing to learn from");
    }
    return SPRY_OK;
}

static void destroy(spry_train_objective *o)
{
    spry_allocator allocator = o->allocator;

    alloc_release(&allocator, ((spatial_objective *)o)->memo, sizeof(latency_memo));
    alloc_release(&allocator, o, sizeof(spatial_objective));
}

/* The machine whose milliseconds count. */
static spry_status open_machine(spatial_objective *o, spry_error *error)
{
    if (!counts_time(o)) {
        return SPRY_OK;
    }
    o->memo = alloc_zeroed(&o->base.allocator, sizeof *o->memo);
    if (o->memo == NULL) {
        return alloc_failed(error, sizeof *o->memo);
    }
    return spatial_time_open(&o->base.allocator, o->goal.machine, o->memo, &o->machine, error);
}

spry_status spry_adapt_objective(const spry_model *adapted, const spry_adapt_goal *goal,
                                 spry_train_objective **made, spry_error *error)
{
    spry_adaptation *facts = NULL;
    spry_allocator allocator = alloc_resolve(&adapted->allocator);
    spatial_objective *o;
    spry_status status = check_goal(goal, error);

    *made = NULL;
    if (status == SPRY_OK) {
        status = spry_adaptation_of(adapted, &facts, error);
    }
    if (status == SPRY_OK && strcmp(spry_adaptation_method(facts), "block-skim") == 0) {
        status =
            block_skim_objective(adapted, goal, spry_adaptation_options(facts)->block, made, error);
        spry_adaptation_destroy(facts);
        return status;
    }
    if (status == SPRY_OK && strcmp(spry_adaptation_method(facts), "lasnet") != 0) {
        status = spry_fail(error, SPRY_USAGE, adapted->path, "train it by its labels",
                           "the method %s has no goal of its own", spry_adaptation_method(facts));
    }
    spry_adaptation_destroy(facts);
    if (status != SPRY_OK) {
        return status;
    }
    o = alloc_zeroed(&allocator, sizeof *o);
    if (o == NULL) {
        return alloc_failed(error, sizeof *o);
    }
    *o = (spatial_objective){
        .base = {.allocator = allocator,
                 .teacher = goal->teacher_weight > 0 ? goal->teacher : NULL,
                 .teacher_weight = goal->teacher_weight,
                 .teacher_temperature = goal->teacher_temperature,
                 .feature_weight = goal->feature_weight,
                 .ignores_labels = goal->ignore_labels,
                 .setting_count = SETTINGS,
                 .watched_count = WATCHED,
                 .watched_names = {goal->budget_ms > 0 ? "time" : "work", "kept"},
                 .setting = setting,
                 .build = build,
                 .destroy = destroy},
        .goal = *goal};
    status = open_machine(o, error);
    if (status != SPRY_OK) {
        destroy(&o->base);
        return status;
    }
    *made = &o->base;
    return SPRY_OK;
}
