/* Trying grids on samples of columns, layer by layer. */
#include "quantize/method/activation_steps.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/gemm/gemm_f32.h"
#include "quantize/calibrate/columns.h"
#include "quantize/calibrate/importance.h"
#include "quantize/choose.h"
#include "quantize/method/blocks.h"
#include "tensor/quantize.h"

enum {
    FACTORS = 29,   /* multiples of a step that are tried: 0.5 to 1.2 */
    PRESENT = 20,   /* of them: 1 */
    COLUMNS = 4096, /* of a layer that outputs are computed for, over all samples */
    CHUNK = 64
};

/* A layer that reads an activation on a grid. */
typedef struct reader {
    int32_t node;
    const weight_record *record;
    int32_t root; /* of activations: whose grid it reads */
    int64_t groups, size, outputs;
    float *exact, *rounded; /* packed weights: as they are, and what codes stand for */
    double errors[FACTORS];
    double norm;
} reader;

typedef struct trying {
    quantize_job *job;
    const gemm_f32_kernel *kernel;
    arena memory;
    reader *readers;
    int32_t *values, *results; /* of the readers' nodes */
    int32_t count;
    importance_probe probe;
    int64_t batch_columns;
    /* A chunk, of `widest` floats a column. */
    int64_t widest, most_outputs, most_size;
    float *x, *y;                      /* [CHUNK][groups][size], [CHUNK][outputs] */
    float *counts;                     /* [CHUNK][outputs]: importance */
    float *left;                       /* packed columns of one group */
    float *q, *packed, *products;      /* [FACTORS] of the same */
    int64_t room, left_room, out_room; /* floats of each */
} trying;

/* What is tried at the moment. */
typedef struct chunk {
    trying *t;
    reader *r;
    int64_t count;
    bool has_counts;
    double errors[FACTORS];
} chunk;

static float factor_of(int number)
{
    return number == PRESENT ? 1.0f : 0.5f + 0.025f * (float)number;
}

/* ---- layers ---- */

static int64_t packed_weights(const trying *t, const reader *r)
{
    return gemm_f32_packed_size(r->outputs / r->groups, r->size, t->kernel->nr);
}

static spry_status pack_weights(trying *t, reader *r, spry_error *error)
{
    const weight_record *record = r->record;
    const spry_allocator *a = &t->job->m->allocator;
    size_t bytes = (size_t)weight_count(&record->w) * sizeof(float);
    float *dense = alloc_bytes(a, bytes);
    int64_t in_group = r->outputs / r->groups;
    int64_t packed = packed_weights(t, r);

    r->exact = arena_array(&t->memory, (size_t)(packed * r->groups), sizeof(float));
    r->rounded = arena_array(&t->memory, (size_t)(packed * r->groups), sizeof(float));
    if (dense == NULL || r->exact == NULL || r->rounded == NULL) {
        alloc_release(a, dense, bytes);
        return alloc_failed(error, bytes);
    }
    for (int side = 0; side < 2; side++) {
        float *to = side == 0 ? r->exact : r->rounded;

        if (side == 0) {
            weight_gather(&record->w, dense);
        } else {
            blocks_values(record, dense);
        }
        for (int64_t g = 0; g < r->groups; g++) {
            gemm_f32_pack(dense + g * in_group * r->size, r->size, 1, in_group, r->size,
                          t->kernel->nr, to + g * packed);
        }
    }
    alloc_release(a, dense, bytes);
    return SPRY_OK;
}

static spry_status add_reader(trying *t, int32_t node, spry_error *error)
{
    quantize_job *job = t->job;
    const graph *g = job->m->main;
    const activation_record *input = job_input_record(job, node);
    const weight_record *record = job->record_of[node];
    const weight *w = record != NULL ? &record->w : NULL;
    reader *r = &t->readers[t->count];

    if (input == NULL || record == NULL || columns_groups(g, node, w) == 0) {
        return SPRY_OK;
    }
    *r = (reader){.node = node,
                  .record = record,
                  .root = input->like,
                  .groups = columns_groups(g, node, w),
                  .size = w->inputs * w->taps,
                  .outputs = w->outputs};
    t->widest = r->groups * r->size > t->widest ? r->groups * r->size : t->widest;
    t->most_size = r->size > t->most_size ? r->size : t->most_size;
    t->most_outputs = r->outputs > t->most_outputs ? r->outputs : t->most_outputs;
    t->values[t->count] = g->nodes[node].inputs[0];
    t->results[t->count++] = g->nodes[node].outputs[0];
    return pack_weights(t, r, error);
}

static spry_status find_readers(trying *t, spry_error *error)
{
    size_t nodes = (size_t)t->job->node_count + 1;
    spry_status status = SPRY_OK;

    t->readers = arena_array(&t->memory, nodes, sizeof *t->readers);
    t->values = arena_array(&t->memory, nodes, sizeof *t->values);
    t->results = arena_array(&t->memory, nodes, sizeof *t->results);
    if (t->readers == NULL || t->values == NULL || t->results == NULL) {
        return alloc_failed(error, nodes * sizeof *t->readers);
    }
    for (int32_t i = 0; status == SPRY_OK && i < t->job->node_count; i++) {
        status = add_reader(t, i, error);
    }
    t->room = CHUNK * t->widest;
    t->left_room = gemm_f32_packed_size(CHUNK, t->most_size, t->kernel->mr);
    t->out_room = CHUNK * t->most_outputs;
    return status;
}

static spry_status make_room(trying *t, spry_error *error)
{
    arena *memory = &t->memory;

    t->x = arena_array(memory, (size_t)t->room, sizeof *t->x);
    t->y = arena_array(memory, (size_t)t->out_room, sizeof *t->y);
    t->counts = arena_array(memory, (size_t)t->out_room, sizeof *t->counts);
    t->left = arena_array(memory, (size_t)t->left_room, sizeof *t->left);
    t->q = arena_array(memory, (size_t)t->room * FACTORS, sizeof *t->q);
    t->packed = arena_array(memory, (size_t)t->left_room * FACTORS, sizeof *t->packed);
    t->products = arena_array(memory, (size_t)t->out_room * FACTORS, sizeof *t->products);
    return t->x != NULL && t->y != NULL && t->counts != NULL && t->left != NULL && t->q != NULL &&
                   t->packed != NULL && t->products != NULL
               ? SPRY_OK
               : alloc_failed(error, (size_t)t->room * FACTORS * sizeof *t->q);
}

/* ---- one chunk ---- */

/* to[count][outputs] = columns times weights. */
static void multiply(const chunk *k, const float *left, const float *weights, float *packed,
                     float *to)
{
    const trying *t = k->t;
    const reader *r = k->r;
    int64_t in_group = r->outputs / r->groups;

    for (int64_t g = 0; g < r->groups; g++) {
        gemm_f32_problem problem = {.m = k->count,
                                    .k = r->size,
                                    .n = in_group,
                                    .packed_a = packed,
                                    .b = {.packed = weights + g * packed_weights(t, r)},
                                    .c = to + g * in_group,
                                    .c_stride = r->outputs,
                                    .finish = {.lower = -INFINITY, .upper = INFINITY}};

        gemm_f32_pack(left + g * r->size, r->groups * r->size, 1, k->count, r->size, t->kernel->mr,
                      packed);
        gemm_f32_run(t->kernel, &problem, NULL);
    }
}

static void try_factors(void *context, int64_t begin, int64_t end, int worker)
{
    chunk *k = context;
    const trying *t = k->t;
    const reader *r = k->r;
    const tensor_grid *grid = &t->job->activations[r->root].grid;
    grid_codes codes = tensor_grid_codes(grid);
    quantize_target target = {codes.low, codes.high, grid->zero};
    int64_t width = r->groups * r->size;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *q = t->q + i * t->room;
        float *y = t->products + i * t->out_room;
        float step = grid->step * factor_of((int)i);

        for (int64_t e = 0; e < k->count * width; e++) {
            q[e] = quantize_back(quantize_f32(t->x[e], step, target), step, grid->zero);
        }
        multiply(k, q, r->rounded, t->packed + i * t->left_room, y);
        k->errors[i] = 0.0;
        for (int64_t e = 0; e < k->count * r->outputs; e++) {
            double d = (double)y[e] - (double)t->y[e];

            k->errors[i] += d * d * (k->has_counts ? (double)t->counts[e] : 1.0);
        }
    }
}

static void try_chunk(trying *t, reader *r, int64_t count, bool has_counts)
{
    chunk k = {.t = t, .r = r, .count = count, .has_counts = has_counts};

    multiply(&k, t->x, r->exact, t->left, t->y);
    threads_for(t->job->team, FACTORS, 1, try_factors, &k);
    for (int i = 0; i < FACTORS; i++) {
        r->errors[i] += k.errors[i];
    }
    for (int64_t e = 0; e < count * r->outputs; e++) {
        r->norm += (double)t->y[e] * (double)t->y[e] * (has_counts ? (double)t->counts[e] : 1.0);
    }
}

/* ---- samples ---- */

static void gather(trying *t, const reader *r, const columns *c, int64_t index, int64_t place,
                   const float *importance)
{
    int64_t stride;
    const float *from = columns_result(c, index, r->outputs, importance, &stride);

    columns_gather(c, index, t->x + place * r->groups * r->size);
    for (int64_t o = 0; from != NULL && o < r->outputs; o++) {
        t->counts[place * r->outputs + o] = from[o * stride];
    }
}

static spry_status see_reader(trying *t, int32_t index, const tensor *x, spry_error *error)
{
    reader *r = &t->readers[index];
    const float *importance =
        t->probe.metric != FISHER_NONE ? importance_of(&t->probe, index) : NULL;
    int64_t picked;
    columns c;
    spry_status status = columns_of_input(t->job->m->main, r->node, &r->record->w, x, &c, error);

    if (status != SPRY_OK || (importance == NULL && fisher_has_gradients(t->probe.metric))) {
        return status;
    }
    picked = c.count < t->batch_columns ? c.count : t->batch_columns;
    for (int64_t first = 0; first < picked; first += CHUNK) {
        int64_t count = picked - first < CHUNK ? picked - first : CHUNK;

        for (int64_t i = 0; i < count; i++) {
            gather(t, r, &c, (first + i) * c.count / picked, i, importance);
        }
        try_chunk(t, r, count, importance != NULL);
    }
    return SPRY_OK;
}

static spry_status see_batch(void *context, const samples_view *view, spry_error *error)
{
    trying *t = context;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < t->count; i++) {
        status = see_reader(t, i, view->tensors[i], error);
    }
    return status;
}

static spry_status see_samples(trying *t, fisher_metric metric, spry_error *error)
{
    importance_request request = {t->values, t->count, t->results, t->count, metric, 0};
    samples s;
    spry_status status = samples_open(t->job->m, t->job->options, &s, error);

    if (status != SPRY_OK) {
        return status;
    }
    t->batch_columns = COLUMNS / importance_batches(&s, metric);
    t->batch_columns = t->batch_columns > 1 ? t->batch_columns : 1;
    return importance_visit(t->job, &request, &t->probe, "steps of activations", see_batch, t,
                            error);
}

/* ---- the choice ---- */

/* The best factor for a record, over all that read it. */
static int choose(const trying *t, int32_t root)
{
    double sums[FACTORS] = {0.0};
    int best = PRESENT;

    for (int32_t i = 0; i < t->count; i++) {
        const reader *r = &t->readers[i];

        for (int k = 0; r->root == root && r->norm > 0.0 && k < FACTORS; k++) {
            sums[k] += r->errors[k] / r->norm;
        }
    }
    for (int k = 0; k < FACTORS; k++) {
        best = sums[k] < sums[best] ? k : best;
    }
    return best;
}

static bool write_steps(const trying *t)
{
    quantize_job *job = t->job;
    bool changed = false;

    for (int32_t i = 0; i < job->activation_count; i++) {
        int best = choose(t, job->activations[i].like);

        changed = changed || best != PRESENT;
        job->activations[i].grid.step *= factor_of(best);
    }
    return changed;
}

spry_status activation_steps(quantize_job *job, fisher_metric metric, bool *changed,
                             spry_error *error)
{
    trying t = {.job = job, .kernel = gemm_f32_select()};
    spry_status status;

    *changed = false;
    arena_init(&t.memory, &job->m->allocator, SIZE_MAX);
    status = find_readers(&t, error);
    if (status == SPRY_OK && t.count > 0) {
        status = make_room(&t, error);
    }
    if (status == SPRY_OK && t.count > 0) {
        status = see_samples(&t, metric, error);
    }
    if (status == SPRY_OK) {
        *changed = write_steps(&t);
    }
    arena_fini(&t.memory);
    return status;
}
