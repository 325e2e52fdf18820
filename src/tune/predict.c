/* From a network and a machine to a table: each block, the best squares of each stage, and the
 * density up to which leaving out pays. Equal blocks are computed once. */
#include "spry/predict.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "spry/architecture.h"
#include "tune/latency_machine.h"

enum { ARENA_CEILING = 64 << 20, TEXT_CEILING = 1 << 20, HALVINGS = 10 };

_Static_assert((int)SPRY_PREDICT_STAGES == (int)LATENCY_STAGES, "the public list holds all stages");

static const int64_t sides[] = {1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128};

struct spry_prediction {
    spry_allocator allocator;
    arena memory;
    latency_network network;
    latency_machine machine;
    latency_skip skip;
    latency_halo halo;
    spry_predict_block *blocks;
    spry_predict_stage *stages;
    spry_predict_totals totals;
    text target;
    latency_memo memo;
};

spry_predict_options spry_predict_options_default(void)
{
    return (spry_predict_options){
        .struct_size = sizeof(spry_predict_options), .target = "v100", .density = 0.5};
}

const char *const *spry_predict_names(void)
{
    return latency_network_names;
}

const char *const *spry_predict_targets(void)
{
    return target_names();
}

static spry_status check_options(const spry_predict_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_predict_options_default()",
                         "not initialised");
    }
    if (o->target == NULL || (unsigned)o->skip > (unsigned)SPRY_PREDICT_LAYERS) {
        return spry_fail(error, SPRY_USAGE, "options", NULL, "no target, or nothing to skip");
    }
    if (!(o->density >= 0 && o->density <= 1)) {
        return spry_fail(error, SPRY_USAGE, "density", "0.5 computes half of the squares",
                         "%g is no share from 0 to 1", o->density);
    }
    if (o->granularity_count < 0 || o->granularity_count > SPRY_PREDICT_STAGES) {
        return spry_fail(error, SPRY_USAGE, "granularity", NULL, "there are at most %d stages",
                         (int)SPRY_PREDICT_STAGES);
    }
    for (int32_t i = 0; i < o->granularity_count; i++) {
        if (o->granularity[i] < 1 || o->granularity[i] > INT32_MAX) {
            return spry_fail(error, SPRY_USAGE, "granularity", "pixels along a side, 1 or more",
                             "%lld is no size of a square", (long long)o->granularity[i]);
        }
    }
    return SPRY_OK;
}

/* ---- the two things that meet ---- */

static spry_status read_target(spry_prediction *p, const spry_predict_options *o, spry_error *error)
{
    target *t;
    json_writer json;
    spry_status status = target_load(&p->allocator, o->target, &t, error);

    for (int32_t i = 0; status == SPRY_OK && i < o->set_count; i++) {
        status = target_set(t, o->set[i], error);
    }
    if (status == SPRY_OK) {
        status = latency_machine_read(&p->machine, t, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    if (status == SPRY_OK) {
        p->machine.device.as_published = o->as_published;
        p->machine.device.memo = &p->memo;
        json_writer_init(&json, &p->target, 0);
        target_write_resolved(t, &json, NULL);
        status = text_status(&p->target, "the target", error);
    }
    target_destroy(t);
    return status;
}

static bool has_name(const char *const *names, const char *name)
{
    while (*names != NULL && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

static spry_status find_network(spry_prediction *p, const char *name, const spry_model *model,
                                spry_error *error)
{
    spry_model *fresh = NULL;
    spry_status status;

    if (model != NULL) {
        return latency_network_of_model(&p->network, model, error);
    }
    if (name == NULL || has_name(latency_network_names, name)) {
        return latency_network_named(&p->network, &p->allocator, name != NULL ? name : "", error);
    }
    status = spry_architecture_create(&p->allocator, name, NULL, &fresh, error);
    if (status == SPRY_OK) {
        status = latency_network_of_model(&p->network, fresh, error);
    }
    spry_model_destroy(fresh);
    return status;
}

/* ---- adding up ---- */

static double per_image(const spry_prediction *p, double seconds)
{
    return 1e3 * seconds / (double)p->machine.batch;
}

static double sparse(const spry_prediction *p, const latency_block *b, int64_t side, double density,
                     bool *fused)
{
    const latency_plan plan = {p->skip, {side, density}, p->halo};

    return per_image(p, latency_machine_sparse(&p->machine, b, &plan, fused));
}

static int64_t clipped(const latency_block *b, int64_t side)
{
    const latency_conv *last = latency_block_last(b);
    int64_t longest = last->height > last->width ? last->height : last->width;

    return side < longest ? side : longest;
}

/* Blocks of one stage, or of all (-1), with squares of `side`, or of the stage's granularity
 * (0). */
static double sum(const spry_prediction *p, int stage, int64_t side, double density)
{
    double total = 0;
    double last = 0;

    for (size_t i = 0; i < p->network.block_count; i++) {
        const latency_block *b = &p->network.blocks[i];
        int64_t wanted = side > 0 ? side : p->stages[b->stage].granularity;

        if (stage >= 0 && b->stage != stage) {
            continue;
        }
        if (i == 0 || !latency_block_equal(b, b - 1)) {
            last = sparse(p, b, clipped(b, wanted), density, NULL);
        }
        total += last;
    }
    return total;
}

/* The largest density at which a stage, or all, take no longer than `dense_ms`; 0: none. */
static double break_even(const spry_prediction *p, int stage, double dense_ms)
{
    double low = 0;
    double high = 1;

    if (sum(p, stage, 0, 1) <= dense_ms) {
        return 1;
    }
    for (int i = 0; i < HALVINGS; i++) {
        double middle = (low + high) / 2;

        if (sum(p, stage, 0, middle) <= dense_ms) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void describe_blocks(spry_prediction *p)
{
    for (size_t i = 0; i < p->network.block_count; i++) {
        const latency_block *b = &p->network.blocks[i];
        const latency_conv *last = latency_block_last(b);
        spry_predict_block *row = &p->blocks[i];
        spry_predict_stage *stage = &p->stages[b->stage];

        *row = (spry_predict_block){.name = b->name,
                                    .stage = b->stage,
                                    .height = last->height,
                                    .width = last->width,
                                    .channels = last->outputs};
        row->dense_ms = i > 0 && latency_block_equal(b, b - 1)
                            ? row[-1].dense_ms
                            : per_image(p, latency_machine_dense(&p->machine, b));
        stage->blocks++;
        stage->height = last->height;
        stage->width = last->width;
        stage->dense_ms += row->dense_ms;
        p->totals.dense_ms += row->dense_ms;
    }
    for (size_t i = 0; i < p->network.other_count; i++) {
        p->totals.outside_ms +=
            per_image(p, latency_machine_conv(&p->machine, &p->network.others[i]));
    }
}

/* The smallest square whose time is nearly that of the fastest one. */
static int64_t recommend(const spry_prediction *p, int stage, int64_t longest, double density)
{
    static const double nearly = 1.03;
    double ms[sizeof sides / sizeof *sides];
    double best = 0;
    size_t count = 0;

    for (; count < sizeof sides / sizeof *sides && sides[count] <= longest; count++) {
        ms[count] = sum(p, stage, sides[count], density);
        best = count == 0 || ms[count] < best ? ms[count] : best;
    }
    for (size_t i = 0; i < count; i++) {
        if (ms[i] <= nearly * best) {
            return sides[i];
        }
    }
    return 1;
}

static void choose_granularity(spry_prediction *p, const spry_predict_options *o)
{
    for (int s = 0; s < p->network.stage_count; s++) {
        spry_predict_stage *stage = &p->stages[s];
        int64_t longest = stage->height > stage->width ? stage->height : stage->width;

        stage->recommended = recommend(p, s, longest, o->density);
        stage->granularity = s < o->granularity_count ? o->granularity[s] : stage->recommended;
        stage->granularity = stage->granularity < longest ? stage->granularity : longest;
    }
}

static void fill_in(spry_prediction *p, const spry_predict_options *o)
{
    describe_blocks(p);
    choose_granularity(p, o);
    for (size_t i = 0; i < p->network.block_count; i++) {
        const latency_block *b = &p->network.blocks[i];
        spry_predict_block *row = &p->blocks[i];
        spry_predict_stage *stage = &p->stages[b->stage];

        row->granularity = stage->granularity;
        if (i > 0 && latency_block_equal(b, b - 1)) {
            row->sparse_ms = row[-1].sparse_ms;
            row->fused = row[-1].fused;
        } else {
            row->sparse_ms = sparse(p, b, stage->granularity, o->density, &row->fused);
        }
        stage->sparse_ms += row->sparse_ms;
        p->totals.sparse_ms += row->sparse_ms;
    }
    for (int s = 0; s < p->network.stage_count; s++) {
        p->stages[s].break_even = break_even(p, s, p->stages[s].dense_ms);
    }
    p->totals.break_even = break_even(p, -1, p->totals.dense_ms);
    p->totals.batch = p->machine.batch;
}

/* Granularity for more or fewer stages than there are would be a misunderstanding. */
static spry_status check_stages(const spry_prediction *p, const spry_predict_options *o,
                                spry_error *error)
{
    if (p->network.stage_count > SPRY_PREDICT_STAGES) {
        return spry_fail(error, SPRY_LIMIT, "model", NULL, "has more than %d sizes of blocks",
                         (int)SPRY_PREDICT_STAGES);
    }
    if (o->granularity_count > 0 && o->granularity_count != p->network.stage_count) {
        return spry_fail(error, SPRY_USAGE, "granularity", "one number per stage, as in 4-4-2-1",
                         "%d numbers, but the network has %d stages", (int)o->granularity_count,
                         p->network.stage_count);
    }
    return SPRY_OK;
}

spry_status spry_predict(const spry_allocator *allocator, const char *name, const spry_model *model,
                         const spry_predict_options *options, spry_prediction **prediction,
                         spry_error *error)
{
    spry_allocator chosen = alloc_resolve(allocator);
    spry_prediction *p;
    spry_status status = check_options(options, error);

    *prediction = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    p = alloc_zeroed(&chosen, sizeof *p);
    if (p == NULL) {
        return alloc_failed(error, sizeof *p);
    }
    p->allocator = chosen;
    p->network.allocator = chosen;
    arena_init(&p->memory, &chosen, ARENA_CEILING);
    text_init(&p->target, &chosen, TEXT_CEILING);
    p->skip = (latency_skip)options->skip;
    p->halo = options->ignore_halo ? LATENCY_HALO_IGNORE : LATENCY_HALO_RANDOM;
    status = read_target(p, options, error);
    if (status == SPRY_OK) {
        status = find_network(p, name, model, error);
    }
    if (status == SPRY_OK) {
        status = check_stages(p, options, error);
    }
    if (status == SPRY_OK) {
        p->blocks = arena_array(&p->memory, p->network.block_count + 1, sizeof *p->blocks);
        p->stages = arena_array(&p->memory, LATENCY_STAGES, sizeof *p->stages);
        if (p->blocks == NULL || p->stages == NULL) {
            status = alloc_failed(error, p->network.block_count * sizeof *p->blocks);
        }
    }
    if (status != SPRY_OK) {
        spry_prediction_destroy(p);
        return status;
    }
    fill_in(p, options);
    *prediction = p;
    return SPRY_OK;
}

void spry_prediction_destroy(spry_prediction *p)
{
    if (p != NULL) {
        spry_allocator allocator = p->allocator;

        latency_network_fini(&p->network);
        text_fini(&p->target);
        arena_fini(&p->memory);
        alloc_release(&allocator, p, sizeof *p);
    }
}

const spry_predict_totals *spry_prediction_totals(const spry_prediction *p)
{
    return &p->totals;
}

int32_t spry_prediction_blocks(const spry_prediction *p, const spry_predict_block **blocks)
{
    *blocks = p->blocks;
    return (int32_t)p->network.block_count;
}

int32_t spry_prediction_stages(const spry_prediction *p, const spry_predict_stage **stages)
{
    *stages = p->stages;
    return p->network.stage_count;
}

double spry_prediction_at(const spry_prediction *p, int64_t side, double density)
{
    return side >= 1 && density >= 0 && density <= 1 ? sum(p, -1, side, density) : -1;
}

const char *spry_prediction_target(const spry_prediction *p)
{
    return p->target.data;
}
