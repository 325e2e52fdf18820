/* Ranges of all samples, rows of some. */
#include "quantize/calibrate/capture.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/calibrate/importance.h"
#include "spry/random.h"

enum { SEED = 7 };

/* ---- ranges of all samples ---- */

typedef struct ranger {
    capture *c;
    const int32_t *a_number, *b_number; /* of the layer's operands among the values visited */
    const samples_view *view;
    bool *fine; /* per layer: all numbers are finite */
} ranger;

/* Range of each head of [images][heads][...]; false when a number is none. */
static bool widen(const tensor *t, int64_t heads, float *low, float *high)
{
    const float *x = t->data;
    int64_t count = tensor_count(t);
    int64_t span = heads > 1 ? tensor_span(t, 2, t->rank) : count;

    for (int64_t i = 0; span > 0 && i < count; i += span) {
        int64_t head = heads > 1 ? i / span % heads : 0;
        float least = low[head];
        float most = high[head];
        bool finite = true;

        for (int64_t k = 0; k < span; k++) {
            finite = finite && isfinite(x[i + k]);
            least = x[i + k] < least ? x[i + k] : least;
            most = x[i + k] > most ? x[i + k] : most;
        }
        if (!finite) {
            return false;
        }
        low[head] = least;
        high[head] = most;
    }
    return true;
}

static void widen_layers(void *context, int64_t begin, int64_t end, int worker)
{
    const ranger *r = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const layer *l = &r->c->found->list[i];
        capture_layer *at = &r->c->list[i];
        const tensor *const *tensors = r->view->tensors;

        r->fine[i] = widen(tensors[r->a_number[i]], l->heads, at->a_low, at->a_high) &&
                     (l->weight != GRAPH_NONE ||
                      widen(tensors[r->b_number[i]], l->heads, at->b_low, at->b_high));
    }
}

static spry_status watch(void *context, const samples_view *view, spry_error *error)
{
    ranger *r = context;
    const graph *g = r->c->job->m->main;
    spry_status status = SPRY_OK;
    char label[256];

    r->view = view;
    threads_for(r->c->job->team, r->c->found->count, 1, widen_layers, r);
    for (int32_t i = 0; status == SPRY_OK && i < r->c->found->count; i++) {
        const graph_node *n = &g->nodes[r->c->found->list[i].node];

        if (!r->fine[i]) {
            status = spry_fail(error, SPRY_BAD_INPUT, graph_node_label(g, n, label, sizeof label),
                               "exclude the operator",
                               "on calibration samples an operand is infinite or not a number");
        }
    }
    return status;
}

/* ---- what is run for rows ---- */

typedef struct probe {
    capture *c;
    importance_probe p; /* values: the first operand of each layer, then the second */
    importance_request request;
    float *rows;       /* of one batch's operand */
    int64_t *draws;    /* rows drawn */
    int64_t draw_room; /* most rows of an image */
    bool is_laid_out;
} probe;

/* The operands of layer `index` on the batch. */
static const tensor *first_of(const probe *p, int32_t index)
{
    return importance_value(&p->p, index);
}

static const tensor *second_of(const probe *p, int32_t index)
{
    return importance_value(&p->p, p->c->found->count + index);
}

static spry_status open_probe(probe *p, spry_error *error)
{
    const layers *found = p->c->found;
    size_t count = (size_t)found->count;
    arena *memory = p->c->job->memory;
    int32_t *values = arena_array(memory, 2 * count + 1, sizeof *values);
    int32_t *results = arena_array(memory, count + 1, sizeof *results);
    spry_status status;

    if (values == NULL || results == NULL) {
        return alloc_failed(error, count * sizeof *values);
    }
    for (size_t i = 0; i < count; i++) {
        const layer *l = &found->list[i];

        values[i] = l->a;
        values[count + i] = l->weight == GRAPH_NONE ? l->b : l->a; /* of weights: once more */
        results[i] = l->output;
    }
    p->request = (importance_request){.values = values,
                                      .value_count = 2 * found->count,
                                      .results = results,
                                      .result_count = found->count,
                                      .metric = p->c->metric,
                                      .most_images = CAPTURE_IMAGES};
    status = importance_open(p->c->job, &p->request, &p->p, error);
    p->c->metric = p->p.metric;
    p->c->remark = p->p.remark;
    return status;
}

/* ---- rows ---- */

/* Sizes of layer `index`, from its operands in one batch. */
static void measure(const probe *p, int32_t index, const tensor *a, const tensor *b)
{
    const layer *l = &p->c->found->list[index];
    capture_layer *at = &p->c->list[index];
    int64_t batch = p->p.s.batch;
    int64_t images = p->p.runs * batch;
    int64_t count = tensor_count(a);

    at->k = l->weight != GRAPH_NONE ? l->k : a->shape[a->rank - 1];
    at->images = images;
    if (l->weight != GRAPH_NONE) {
        at->n = l->n;
        at->inner = 0;
        at->image_rows = count / at->k / batch;
    } else {
        at->n = b->shape[b->rank - 1];
        at->image_rows = a->shape[a->rank - 2];
        at->inner = count / at->k / at->image_rows / batch;
        if (images > CAPTURE_PRODUCT_IMAGES) {
            at->images =
                batch > CAPTURE_PRODUCT_IMAGES ? batch : CAPTURE_PRODUCT_IMAGES / batch * batch;
        }
    }
    at->drawn = (CAPTURE_ROWS + at->images - 1) / at->images;
    at->drawn = at->drawn < at->image_rows ? at->drawn : at->image_rows;
    at->groups = at->inner == 0 ? 1 : at->images * at->inner;
    at->rows = at->inner == 0 ? at->images * at->drawn : at->drawn;
}

static uint64_t floats(int64_t count)
{
    return (uint64_t)count * sizeof(float);
}

/* Places in the file, and room for a batch. */
static spry_status lay_out(probe *p, spry_error *error)
{
    arena *memory = p->c->job->memory;
    uint64_t end = 0;
    int64_t most = 0;

    for (int32_t i = 0; i < p->c->found->count; i++) {
        capture_layer *at = &p->c->list[i];
        int64_t per_batch;
        int64_t width;

        measure(p, i, first_of(p, i), second_of(p, i));
        per_batch = p->p.s.batch * (at->inner == 0 ? 1 : at->inner) * at->drawn;
        width = at->k > at->n ? at->k : at->n;
        at->a_at = end;
        end += floats(at->groups * at->rows * at->k);
        at->b_at = end;
        end += at->inner == 0 ? 0 : floats(at->groups * at->k * at->n);
        at->g_at = end;
        end += floats(at->groups * at->rows * at->n);
        most = per_batch * width > most ? per_batch * width : most;
        p->draw_room = at->image_rows > p->draw_room ? at->image_rows : p->draw_room;
    }
    p->rows = arena_array(memory, (size_t)most + 1, sizeof *p->rows);
    p->draws = arena_array(memory, (size_t)p->draw_room + 1, sizeof *p->draws);
    p->is_laid_out = true;
    return p->rows != NULL && p->draws != NULL ? SPRY_OK
                                               : alloc_failed(error, (size_t)most * sizeof(float));
}

/* The rows of one image of a layer: the first of a shuffle that depends on both. */
static void draw_rows(const probe *p, int32_t index, int64_t image)
{
    const capture_layer *at = &p->c->list[index];
    spry_random r = spry_random_stream(SEED, (uint64_t)index << 32 | (uint64_t)image);

    for (int64_t i = 0; i < at->image_rows; i++) {
        p->draws[i] = i;
    }
    for (int64_t i = 0; at->drawn < at->image_rows && i < at->drawn; i++) {
        int64_t other = i + (int64_t)spry_random_below(&r, (uint64_t)(at->image_rows - i));
        int64_t row = p->draws[i];

        p->draws[i] = p->draws[other];
        p->draws[other] = row;
    }
}

/* Does the layer keep this batch? Products of two activations keep fewer, spread evenly. *slot is
 * the number of its first image among those kept. */
static bool keeps(const probe *p, const capture_layer *at, int64_t run, int64_t *slot)
{
    int64_t kept = at->images / p->p.s.batch;
    int64_t number = run * kept / p->p.runs;

    *slot = number * p->p.s.batch;
    return run == (number * p->p.runs + kept - 1) / kept;
}

/* Copies the drawn rows of a batch of `from` [images][groups][image_rows][width]. */
static void take_rows(const probe *p, int32_t index, int64_t slot, const float *from, int64_t width)
{
    const capture_layer *at = &p->c->list[index];
    int64_t groups = at->inner == 0 ? 1 : at->inner;
    float *to = p->rows;

    for (int64_t image = 0; image < p->p.s.batch; image++) {
        draw_rows(p, index, slot + image);
        for (int64_t g = 0; g < groups; g++) {
            const float *base = from + (image * groups + g) * at->image_rows * width;

            for (int64_t i = 0; i < at->drawn; i++, to += width) {
                memcpy(to, base + p->draws[i] * width, (size_t)width * sizeof *to);
            }
        }
    }
}

/* Rows of a batch go to their place behind `start` in the file. */
static spry_status keep_rows(probe *p, int32_t index, int64_t slot, const float *from,
                             int64_t width, uint64_t start, spry_error *error)
{
    const capture_layer *at = &p->c->list[index];
    int64_t groups = at->inner == 0 ? 1 : at->inner;

    take_rows(p, index, slot, from, width);
    return spill_write(&p->c->file, start + floats(slot * groups * at->drawn * width), p->rows,
                       floats(p->p.s.batch * groups * at->drawn * width), error);
}

static spry_status keep_importance(probe *p, int32_t index, int64_t slot, spry_error *error)
{
    capture_layer *at = &p->c->list[index];
    const float *from = importance_of(&p->p, index);
    int64_t groups = at->inner == 0 ? 1 : at->inner;
    spry_status status;

    if (from == NULL) {
        return SPRY_OK;
    }
    status = keep_rows(p, index, slot, from, at->n, at->g_at, error);
    for (int64_t k = 0; k < p->p.s.batch * groups * at->drawn * at->n; k++) {
        at->gradient += (double)p->rows[k];
    }
    return status;
}

static spry_status keep_batch(probe *p, int64_t run, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < p->c->found->count; i++) {
        const capture_layer *at = &p->c->list[i];
        int64_t slot;

        if (!keeps(p, at, run, &slot)) {
            continue;
        }
        status = keep_rows(p, i, slot, first_of(p, i)->data, at->k, at->a_at, error);
        if (status == SPRY_OK && at->inner != 0) {
            status = spill_write(&p->c->file, at->b_at + floats(slot * at->inner * at->k * at->n),
                                 second_of(p, i)->data,
                                 floats(p->p.s.batch * at->inner * at->k * at->n), error);
        }
        if (status == SPRY_OK) {
            status = keep_importance(p, i, slot, error);
        }
    }
    return status;
}

static spry_status run_batches(probe *p, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int64_t run = 0; status == SPRY_OK && run < p->p.runs; run++) {
        status = importance_run(&p->p, run, error);
        if (status == SPRY_OK && !p->is_laid_out) {
            status = lay_out(p, error);
        }
        if (status == SPRY_OK) {
            status = keep_batch(p, run, error);
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < p->c->found->count; i++) {
        capture_layer *at = &p->c->list[i];

        at->gradient /= (double)(at->groups * at->rows * at->n);
    }
    return status;
}

/* ---- the whole ---- */

static spry_status make_room(capture *c, spry_error *error)
{
    arena *memory = c->job->memory;

    c->list = arena_array(memory, (size_t)c->found->count + 1, sizeof *c->list);
    if (c->list == NULL) {
        return alloc_failed(error, sizeof *c->list);
    }
    for (int32_t i = 0; i < c->found->count; i++) {
        size_t heads = (size_t)c->found->list[i].heads;

        c->list[i].a_low = arena_array(memory, heads, sizeof(float));
        c->list[i].a_high = arena_array(memory, heads, sizeof(float));
        c->list[i].b_low = arena_array(memory, heads, sizeof(float));
        c->list[i].b_high = arena_array(memory, heads, sizeof(float));
        if (c->list[i].a_low == NULL || c->list[i].a_high == NULL || c->list[i].b_low == NULL ||
            c->list[i].b_high == NULL) {
            return alloc_failed(error, heads * sizeof(float));
        }
    }
    return SPRY_OK;
}

/* One pass over all samples. */
static spry_status find_ranges(capture *c, spry_error *error)
{
    const layers *found = c->found;
    size_t count = (size_t)found->count * 2 + 1;
    arena *memory = c->job->memory;
    int32_t *values = arena_array(memory, count, sizeof *values);
    int32_t *numbers = arena_array(memory, count, sizeof *numbers);
    ranger r = {.c = c,
                .a_number = numbers,
                .b_number = numbers + found->count,
                .fine = arena_array(memory, count, sizeof *r.fine)};

    if (values == NULL || numbers == NULL || r.fine == NULL) {
        return alloc_failed(error, count * sizeof *values);
    }
    for (int32_t i = 0; i < found->count; i++) {
        values[2 * i] = found->list[i].a;
        values[2 * i + 1] =
            found->list[i].weight == GRAPH_NONE ? found->list[i].b : found->list[i].a;
        numbers[i] = 2 * i;
        numbers[found->count + i] = 2 * i + 1;
    }
    return samples_visit(c->job->m, c->job->options, values, 2 * found->count, "finding ranges",
                         watch, &r, error);
}

spry_status capture_run(quantize_job *job, const layers *found, fisher_metric metric, capture *c,
                        spry_error *error)
{
    probe p = {.c = c};
    spry_status status;

    *c = (capture){.job = job, .found = found, .file = {-1}, .metric = metric};
    status = make_room(c, error);
    if (status == SPRY_OK) {
        status = spill_open(&c->file, error);
    }
    if (status == SPRY_OK) {
        status = find_ranges(c, error);
    }
    if (status == SPRY_OK) {
        status = open_probe(&p, error);
    }
    if (status == SPRY_OK) {
        status = run_batches(&p, error);
    }
    importance_close(&p.p);
    return status;
}

void capture_release(capture *c)
{
    spill_close(&c->file);
}

spry_status capture_load(const capture *c, int32_t index, float *a, float *b, float *importance,
                         spry_error *error)
{
    const capture_layer *at = &c->list[index];
    spry_status status =
        spill_read(&c->file, at->a_at, a, floats(at->groups * at->rows * at->k), error);

    if (status == SPRY_OK && at->inner != 0) {
        status = spill_read(&c->file, at->b_at, b, floats(at->groups * at->k * at->n), error);
    }
    if (status == SPRY_OK && fisher_has_gradients(c->metric)) {
        status = spill_read(&c->file, at->g_at, importance, floats(at->groups * at->rows * at->n),
                            error);
    }
    return status;
}
