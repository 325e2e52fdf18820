/* Summing Gram matrices, as many layers at a time as memory allows. */
#include "quantize/calibrate/gram.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "kernels/gemm/gemm_f32.h"
#include "quantize/calibrate/columns.h"
#include "quantize/calibrate/importance.h"
#include "quantize/choose.h"
#include "tensor/quantize.h"

enum { CHUNK = 512, ROW_BLOCK = 64 };

gram_options gram_options_default(void)
{
    return (gram_options){
        .budget = (size_t)256 << 20, .most_columns = 65536, .metric = FISHER_NONE};
}

/* ---- what a pass sums ---- */

/* An operator that uses the weights of a gram. */
typedef struct gram_use {
    int32_t node;
    int32_t slot; /* of sums */
    const activation_record *input;
} gram_use;

typedef struct gram_pass {
    quantize_job *job;
    const gram_options *options;
    const gemm_f32_kernel *kernel;
    int64_t batch_columns; /* at most, per operator and batch */
    int32_t first, count;  /* of job->weights; those not wanted have size 0 */
    gram *sums;            /* [count] */
    gram_use *uses;
    int32_t *values;  /* [use_count] */
    int32_t *results; /* [use_count]: of the operators */
    int32_t use_count;
    importance_probe *probe; /* NULL: all elements of outputs count alike */
    double *scales;          /* [count]: importance is told in this unit */
    /* Of a chunk of columns, at most `widest` floats each. */
    int64_t widest, largest; /* groups x size; size */
    float *x, *q;            /* [CHUNK][groups][size] */
    float *left, *right;     /* packed, one group */
    float *products;         /* [workers][ROW_BLOCK][size] */
} gram_pass;

bool gram_is_possible(const quantize_job *job, const weight_record *r)
{
    const graph *g = job->m->main;

    for (int32_t i = 0; i < r->user_count; i++) {
        if (columns_groups(g, r->users[i], &r->w) != columns_groups(g, r->w.node, &r->w)) {
            return false;
        }
    }
    return columns_groups(g, r->w.node, &r->w) != 0;
}

static bool is_wanted(const quantize_job *job, const gram_options *o, int32_t index)
{
    return (o->wanted == NULL || o->wanted[index]) && gram_is_possible(job, &job->weights[index]);
}

static int64_t entries_of(const quantize_job *job, int32_t index)
{
    const weight *w = &job->weights[index].w;
    int64_t size = w->inputs * w->taps;

    return columns_groups(job->m->main, w->node, w) * size * size;
}

/* Weights [first, first + count) that fit the budget; at least one. */
static int32_t count_for_pass(const quantize_job *job, const gram_options *o, int32_t first)
{
    int64_t matrices = o->quantized ? 3 : 1;
    double bytes = 0.0;
    int32_t count = 0;
    bool any = false;

    for (; first + count < job->weight_count; count++) {
        if (is_wanted(job, o, first + count)) {
            bytes += (double)(entries_of(job, first + count) * matrices) * sizeof(double);
            if (any && bytes > (double)o->budget) {
                break;
            }
            any = true;
        }
    }
    return count;
}

/* ---- sums of one operator's input ---- */

typedef struct chunk {
    const gram_pass *pass;
    const columns *c;
    const gram_use *use;
    const float *squares; /* importance of the operator's result; NULL: all alike */
    int64_t outputs;      /* channels of it */
    double scale;
    int64_t picked; /* columns of this batch */
    int64_t first;  /* of them */
    int64_t count;
    uint32_t batch;
} chunk;

/* Column number i of the choice: one at a random place of each of as many equal parts. */
static int64_t pick(const chunk *k, int64_t i)
{
    const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), k->batch,
                                 (uint32_t)k->use->node};
    const uint32_t key[2] = {0x6772616d, 0};
    uint32_t words[4];
    int64_t at;

    if (k->picked == k->c->count) {
        return i;
    }
    random_philox(counter, key, words);
    at = (int64_t)(((double)i + (double)words[0] / 4294967296.0) * (double)k->c->count /
                   (double)k->picked);
    return at < k->c->count ? at : k->c->count - 1;
}

/* As the layer will read them. */
static void quantize_columns(const quantize_job *job, const activation_record *input,
                             const float *x, int64_t count, float *to)
{
    if (input == NULL) {
        memcpy(to, x, (size_t)count * sizeof *to);
        return;
    }
    grid_codes codes = tensor_grid_codes(&job->activations[input->like].grid);
    quantize_target target = {codes.low, codes.high, input->grid.zero};

    for (int64_t i = 0; i < count; i++) {
        to[i] = quantize_back(quantize_f32(x[i], input->grid.step, target), input->grid.step,
                              input->grid.zero);
    }
}

/* Scales each group of a column by the root of what the outputs of the group matter there. */
static void scale_column(const chunk *k, int64_t index, float *x, float *q)
{
    int64_t in_group = k->outputs / k->c->groups;
    int64_t stride;
    const float *squares = columns_result(k->c, index, k->outputs, k->squares, &stride);

    for (int64_t g = 0; g < k->c->groups; g++) {
        double sum = 0.0;
        float factor;

        for (int64_t o = g * in_group; o < (g + 1) * in_group; o++) {
            sum += (double)squares[o * stride];
        }
        factor = (float)sqrt(sum / (double)in_group * k->scale);
        for (int64_t i = g * k->c->size; i < (g + 1) * k->c->size; i++) {
            x[i] *= factor;
            q[i] *= q != x ? factor : 1.0f;
        }
    }
}

static void gather_columns(void *context, int64_t begin, int64_t end, int worker)
{
    const chunk *k = context;
    const gram_pass *p = k->pass;
    int64_t width = k->c->groups * k->c->size;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *x = p->x + i * width;

        columns_gather(k->c, pick(k, k->first + i), x);
        if (p->q != p->x) {
            quantize_columns(p->job, k->use->input, x, width, p->q + i * width);
        }
        if (k->squares != NULL) {
            scale_column(k, pick(k, k->first + i), x, p->q + i * width);
        }
    }
}

typedef struct product {
    const gram_pass *pass;
    int64_t size, steps;
    bool symmetric; /* only the lower triangle */
    double *to;     /* [size][size] */
} product;

static void add_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const product *t = context;
    const gram_pass *p = t->pass;
    /* Whole panels of rows. */
    int64_t block = ROW_BLOCK / p->kernel->mr * p->kernel->mr;

    for (int64_t i = begin; i < end; i++) {
        int64_t row = i * block;
        int64_t rows = t->size - row < block ? t->size - row : block;
        int64_t width = t->symmetric ? row + rows : t->size;
        float *products = p->products + worker * ROW_BLOCK * p->largest;
        gemm_f32_problem problem = {.m = rows,
                                    .k = t->steps,
                                    .n = width,
                                    .packed_a = p->left + row * t->steps,
                                    .b = {.packed = p->right},
                                    .c = products,
                                    .c_stride = width,
                                    .finish = {.lower = -INFINITY, .upper = INFINITY}};

        gemm_f32_run(p->kernel, &problem, NULL);
        for (int64_t m = 0; m < rows; m++) {
            double *to = t->to + (row + m) * t->size;

            for (int64_t n = 0; n < width; n++) {
                to[n] += (double)products[m * width + n];
            }
        }
    }
}

/* `to` += left right^T of one group, whose columns lie `pitch` apart. */
static void add_product(const gram_pass *p, const float *left, const float *right, int64_t pitch,
                        int64_t size, int64_t steps, double *to)
{
    product t = {p, size, steps, left == right, to};
    int64_t block = ROW_BLOCK / p->kernel->mr * p->kernel->mr;

    gemm_f32_pack(left, 1, pitch, size, steps, p->kernel->mr, p->left);
    gemm_f32_pack(right, 1, pitch, size, steps, p->kernel->nr, p->right);
    threads_for(p->job->team, (size + block - 1) / block, 1, add_rows, &t);
}

/* How much each output matters on the columns of the chunk. */
static void add_shares(const chunk *k, double *outputs)
{
    for (int64_t i = 0; i < k->count; i++) {
        int64_t stride;
        const float *squares =
            columns_result(k->c, pick(k, k->first + i), k->outputs, k->squares, &stride);

        for (int64_t o = 0; o < k->outputs; o++) {
            outputs[o] += (double)squares[o * stride] * k->scale;
        }
    }
}

static void add_chunk(const chunk *k)
{
    enum { COLUMNS_PER_PIECE = 16 };
    const gram_pass *p = k->pass;
    const gram *sums = &p->sums[k->use->slot];
    int64_t size = sums->size;
    int64_t width = sums->groups * size;

    threads_for(p->job->team, k->count, COLUMNS_PER_PIECE, gather_columns, (void *)k);
    if (k->squares != NULL) {
        add_shares(k, sums->outputs);
    }
    for (int64_t i = 0; i < k->count; i++) {
        for (int64_t e = 0; e < width; e++) {
            sums->sum[e] += (double)p->x[i * width + e];
        }
    }
    for (int64_t g = 0; g < sums->groups; g++) {
        const float *x = p->x + g * size;
        const float *q = p->q + g * size;
        int64_t at = g * size * size;

        add_product(p, x, x, width, size, k->count, sums->xx + at);
        if (sums->xq != NULL && sums->xq != sums->xx) {
            add_product(p, x, q, width, size, k->count, sums->xq + at);
            add_product(p, q, q, width, size, k->count, sums->qq + at);
        }
    }
}

/* The importance of a use's result on the batch; it may be none: then nothing is added. The unit is
 * the mean where there first is any. */
static bool find_importance(gram_pass *p, int32_t index, int64_t outputs, chunk *k)
{
    double *scale = &p->scales[p->uses[index].slot];
    int64_t count = k->c->count * outputs;
    double sum = 0.0;

    k->squares = importance_of(p->probe, index);
    k->outputs = outputs;
    for (int64_t i = 0; k->squares != NULL && *scale == 0.0 && i < count; i++) {
        sum += (double)k->squares[i];
    }
    if (sum > 0.0 && isfinite(sum)) {
        *scale = (double)count / sum;
    }
    k->scale = *scale;
    return k->squares != NULL && *scale > 0.0;
}

static spry_status add_batch(void *context, const samples_view *view, spry_error *error)
{
    gram_pass *p = context;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < p->use_count; i++) {
        gram_use *use = &p->uses[i];
        gram *sums = &p->sums[use->slot];
        columns c;
        chunk k = {.pass = p, .c = &c, .use = use, .batch = (uint32_t)view->first};

        status =
            columns_of_input(p->job->m->main, use->node, &p->job->weights[p->first + use->slot].w,
                             view->tensors[i], &c, error);
        if (status != SPRY_OK) {
            break;
        }
        if (p->probe != NULL &&
            !find_importance(p, i, p->job->weights[p->first + use->slot].w.outputs, &k)) {
            continue;
        }
        k.picked = c.count < p->batch_columns ? c.count : p->batch_columns;
        for (k.first = 0; k.first < k.picked; k.first += CHUNK) {
            k.count = k.picked - k.first < CHUNK ? k.picked - k.first : CHUNK;
            add_chunk(&k);
        }
        sums->columns += k.picked;
    }
    return status;
}

/* ---- a pass ---- */

static void mirror(double *m, int64_t size)
{
    for (int64_t i = 0; i < size; i++) {
        for (int64_t j = i + 1; j < size; j++) {
            m[i * size + j] = m[j * size + i];
        }
    }
}

/* Shares become 1 in the mean. */
static void share_out(double *shares, int64_t count)
{
    double total = 0.0;

    for (int64_t i = 0; i < count; i++) {
        total += shares[i];
    }
    for (int64_t i = 0; total > 0.0 && i < count; i++) {
        shares[i] *= (double)count / total;
    }
}

static void complete(gram *sums)
{
    for (int64_t g = 0; g < sums->groups; g++) {
        int64_t at = g * sums->size * sums->size;

        mirror(sums->xx + at, sums->size);
        if (sums->qq != NULL && sums->qq != sums->xx) {
            mirror(sums->qq + at, sums->size);
        }
    }
}

/* Any operator on this weight whose input is quantized. */
static bool has_grid(const quantize_job *job, const weight_record *r)
{
    for (int32_t i = 0; i < r->user_count; i++) {
        if (job_input_record(job, r->users[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static size_t matrix_count(const gram *sums)
{
    return (size_t)(sums->groups * sums->size * sums->size);
}

static bool make_sums(gram_pass *p, int32_t slot)
{
    const spry_allocator *a = &p->job->m->allocator;
    const weight *w = &p->job->weights[p->first + slot].w;
    gram *sums = &p->sums[slot];
    size_t count;

    sums->groups = columns_groups(p->job->m->main, w->node, w);
    sums->size = w->inputs * w->taps;
    count = matrix_count(sums);
    sums->sum = alloc_array(a, (size_t)(sums->groups * sums->size), sizeof *sums->sum);
    sums->xx = alloc_array(a, count, sizeof *sums->xx);
    if (p->options->quantized) {
        bool own = has_grid(p->job, &p->job->weights[p->first + slot]);

        sums->xq = own ? alloc_array(a, count, sizeof *sums->xq) : sums->xx;
        sums->qq = own ? alloc_array(a, count, sizeof *sums->qq) : sums->xx;
    }
    if (p->probe != NULL) {
        sums->outputs = alloc_array(a, (size_t)w->outputs, sizeof *sums->outputs);
    }
    sums->remark = p->options->remark;
    p->largest = sums->size > p->largest ? sums->size : p->largest;
    p->widest = sums->groups * sums->size > p->widest ? sums->groups * sums->size : p->widest;
    return sums->sum != NULL && sums->xx != NULL && (p->probe == NULL || sums->outputs != NULL) &&
           (!p->options->quantized || (sums->xq != NULL && sums->qq != NULL));
}

static void free_sums(const spry_allocator *a, gram *sums, int64_t outputs)
{
    size_t bytes = matrix_count(sums) * sizeof(double);

    alloc_release(a, sums->sum, (size_t)(sums->groups * sums->size) * sizeof(double));
    if (sums->xq != sums->xx) {
        alloc_release(a, sums->xq, bytes);
        alloc_release(a, sums->qq, bytes);
    }
    alloc_release(a, sums->xx, bytes);
    alloc_release(a, sums->outputs, (size_t)outputs * sizeof(double));
}

static void add_uses(gram_pass *p, int32_t slot)
{
    const graph *g = p->job->m->main;
    const weight_record *r = &p->job->weights[p->first + slot];

    for (int32_t i = 0; i < r->user_count; i++) {
        int32_t node = r->users[i];

        p->values[p->use_count] = g->nodes[node].inputs[0];
        p->results[p->use_count] = g->nodes[node].outputs[0];
        p->uses[p->use_count++] = (gram_use){node, slot, job_input_record(p->job, node)};
    }
}

/* Floats of the buffers that all layers of a pass share. */
typedef struct buffer_sizes {
    size_t chunk, left, right, products;
} buffer_sizes;

static buffer_sizes sizes_of(const gram_pass *p)
{
    return (buffer_sizes){(size_t)p->widest * CHUNK,
                          (size_t)gemm_f32_packed_size(p->largest, CHUNK, p->kernel->mr),
                          (size_t)gemm_f32_packed_size(p->largest, CHUNK, p->kernel->nr),
                          (size_t)(p->largest * ROW_BLOCK) * (size_t)threads_count(p->job->team)};
}

static spry_status make_buffers(gram_pass *p, spry_error *error)
{
    const spry_allocator *a = &p->job->m->allocator;
    buffer_sizes sizes = sizes_of(p);

    p->x = alloc_array(a, sizes.chunk, sizeof *p->x);
    /* Of layers whose input stays f32 it is read by nobody. */
    p->q = p->options->quantized ? alloc_array(a, sizes.chunk, sizeof *p->q) : p->x;
    p->left = alloc_array(a, sizes.left, sizeof *p->left);
    p->right = alloc_array(a, sizes.right, sizeof *p->right);
    p->products = alloc_array(a, sizes.products, sizeof *p->products);
    return p->x != NULL && p->q != NULL && p->left != NULL && p->right != NULL &&
                   p->products != NULL
               ? SPRY_OK
               : alloc_failed(error, sizes.chunk * sizeof *p->x);
}

static void free_pass(gram_pass *p)
{
    const spry_allocator *a = &p->job->m->allocator;
    buffer_sizes sizes = sizes_of(p);
    size_t nodes = (size_t)p->job->node_count + 1;

    for (int32_t i = 0; p->sums != NULL && i < p->count; i++) {
        free_sums(a, &p->sums[i], p->job->weights[p->first + i].w.outputs);
    }
    if (p->q != p->x) {
        alloc_release(a, p->q, sizes.chunk * sizeof *p->q);
    }
    alloc_release(a, p->x, sizes.chunk * sizeof *p->x);
    alloc_release(a, p->left, sizes.left * sizeof *p->left);
    alloc_release(a, p->right, sizes.right * sizeof *p->right);
    alloc_release(a, p->products, sizes.products * sizeof *p->products);
    alloc_release(a, p->sums, (size_t)p->count * sizeof *p->sums);
    alloc_release(a, p->uses, nodes * sizeof *p->uses);
    alloc_release(a, p->values, nodes * sizeof *p->values);
    alloc_release(a, p->results, nodes * sizeof *p->results);
    alloc_release(a, p->scales, (size_t)p->count * sizeof *p->scales);
}

static spry_status make_pass(gram_pass *p, spry_error *error)
{
    const spry_allocator *a = &p->job->m->allocator;
    size_t nodes = (size_t)p->job->node_count + 1;

    p->sums = alloc_array(a, (size_t)p->count, sizeof *p->sums);
    p->uses = alloc_array(a, nodes, sizeof *p->uses);
    p->values = alloc_array(a, nodes, sizeof *p->values);
    p->results = alloc_array(a, nodes, sizeof *p->results);
    p->scales = alloc_array(a, (size_t)p->count, sizeof *p->scales);
    if (p->sums == NULL || p->uses == NULL || p->values == NULL || p->results == NULL ||
        p->scales == NULL) {
        return alloc_failed(error, nodes * sizeof *p->uses);
    }
    for (int32_t i = 0; i < p->count; i++) {
        if (is_wanted(p->job, p->options, p->first + i)) {
            add_uses(p, i);
            if (!make_sums(p, i)) {
                return alloc_failed(error, matrix_count(&p->sums[i]) * sizeof(double));
            }
        }
    }
    return make_buffers(p, error);
}

/* Shows the matrices; *again is set for those that importance says nothing about. */
static spry_status show(gram_pass *p, gram_visitor visitor, void *context, bool *again,
                        spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < p->count; i++) {
        gram *sums = &p->sums[i];

        if (sums->size == 0) {
            continue;
        }
        if (p->probe != NULL && p->scales[i] == 0.0) {
            again[p->first + i] = true;
            continue;
        }
        complete(sums);
        if (sums->outputs != NULL) {
            share_out(sums->outputs, p->job->weights[p->first + i].w.outputs);
        }
        status = visitor(context, p->first + i, sums, error);
    }
    return status;
}

static spry_status run_pass(gram_pass *p, gram_visitor visitor, void *context, bool *again,
                            spry_error *error)
{
    static const char what[] = "input statistics";
    const model *m = p->options->m != NULL ? p->options->m : p->job->m;
    spry_status status = make_pass(p, error);

    if (status == SPRY_OK && p->use_count > 0) {
        importance_request request = {p->values,    p->use_count,       p->results,
                                      p->use_count, p->options->metric, 0};

        status = p->probe != NULL
                     ? importance_visit(p->job, &request, p->probe, what, add_batch, p, error)
                     : samples_visit(m, p->job->options, p->values, p->use_count, what, add_batch,
                                     p, error);
    }
    if (status == SPRY_OK) {
        status = show(p, visitor, context, again, error);
    }
    free_pass(p);
    return status;
}

/* Those whose importance is all 0, with elements that count alike. */
static spry_status show_others(quantize_job *job, const gram_options *options, const bool *again,
                               const char *remark, gram_visitor visitor, void *context,
                               spry_error *error)
{
    gram_options plain = *options;
    bool any = false;

    for (int32_t i = 0; i < job->weight_count; i++) {
        any = any || again[i];
    }
    plain.metric = FISHER_NONE;
    plain.wanted = again;
    plain.remark =
        remark != NULL ? remark : "its gradients are all zero: searched by squared error";
    return any ? gram_for_each(job, &plain, visitor, context, error) : SPRY_OK;
}

spry_status gram_for_each(quantize_job *job, const gram_options *options, gram_visitor visitor,
                          void *context, spry_error *error)
{
    const spry_allocator *a = &job->m->allocator;
    bool *again = alloc_zeroed(a, (size_t)job->weight_count + 1);
    importance_probe probe = {0};
    samples s = {0};
    spry_status status = again != NULL ? samples_open(job->m, job->options, &s, error)
                                       : alloc_failed(error, (size_t)job->weight_count);
    int64_t batches = status == SPRY_OK ? importance_batches(&s, options->metric) : 1;
    int64_t most = options->most_columns > 0 ? options->most_columns / batches : INT64_MAX;

    for (int32_t first = 0; status == SPRY_OK && first < job->weight_count;) {
        gram_pass p = {.job = job,
                       .options = options,
                       .kernel = gemm_f32_select(),
                       .batch_columns = most > 1 ? most : 1,
                       .first = first,
                       .count = count_for_pass(job, options, first),
                       .probe = fisher_has_gradients(options->metric) ? &probe : NULL};

        first += p.count;
        status = run_pass(&p, visitor, context, again, error);
    }
    if (status == SPRY_OK) {
        status = show_others(job, options, again, probe.remark, visitor, context, error);
    }
    alloc_release(a, again, (size_t)job->weight_count + 1);
    return status;
}
