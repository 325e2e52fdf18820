/* PTQ-SL: steps per block of outputs x inputs, chosen by errors of outputs (arXiv 2110.07809). */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/method/activation_steps.h"
#include "quantize/method/block_search.h"
#include "quantize/method/method.h"
#include "quantize/method/reorder.h"
#include "quantize/method/reorder_graph.h"

/* ---- blocks ---- */

static spry_status too_many(const quantize_job *job, const weight_record *r, int64_t asked,
                            int64_t most, const char *what, spry_error *error)
{
    const graph *g = job->m->main;
    char label[256];
    char remedy[64];

    (void)snprintf(remedy, sizeof remedy, "at most %lld", (long long)most);
    return spry_fail(error, SPRY_USAGE,
                     graph_node_label(g, &g->nodes[r->w.node], label, sizeof label), remedy,
                     "%lld blocks of its %lld %s", (long long)asked, (long long)most, what);
}

/* Channels of a block, from how many there are to be or how large they are; 0: all. */
static int64_t block_of(int64_t channels, int64_t size, int64_t count)
{
    if (count > 0) {
        return (channels + count - 1) / count;
    }
    return size > 0 && size < channels ? size : channels;
}

static spry_status block_sizes(const quantize_job *job, const weight_record *r, int64_t *rows,
                               int64_t *columns, spry_error *error)
{
    const spry_quantize_options *o = job->options;

    if (o->blocks_down > r->w.outputs) {
        return too_many(job, r, o->blocks_down, r->w.outputs, "output channels", error);
    }
    if (o->blocks_across > r->w.inputs) {
        return too_many(job, r, o->blocks_across, r->w.inputs, "input channels", error);
    }
    *rows = block_of(r->w.outputs, o->block_outputs, o->blocks_down);
    *columns = block_of(r->w.inputs, o->block_inputs, o->blocks_across);
    return SPRY_OK;
}

/* ---- one layer's order ---- */

typedef struct cut_layers {
    quantize_job *job;
    reorder_options options;
    int32_t **orders[2]; /* [weight_count]: of outputs and inputs */
    reorder_report *reports;
    spry_status *statuses;
    spry_error *errors;
} cut_layers;

static spry_status gather(const quantize_job *job, const weight *w, float **dense,
                          spry_error *error)
{
    size_t bytes = (size_t)weight_count(w) * sizeof **dense;

    *dense = alloc_bytes(&job->m->allocator, bytes);
    if (*dense == NULL) {
        return alloc_failed(error, bytes);
    }
    weight_gather(w, *dense);
    return SPRY_OK;
}

static void release(const quantize_job *job, const weight *w, float *dense)
{
    alloc_release(&job->m->allocator, dense, (size_t)weight_count(w) * sizeof *dense);
}

static void order_layers(void *context, int64_t begin, int64_t end, int worker)
{
    const cut_layers *c = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const weight_record *r = &c->job->weights[i];
        reorder_options options = c->options;
        float *dense = NULL;
        int64_t rows;
        int64_t columns;
        spry_status status = block_sizes(c->job, r, &rows, &columns, &c->errors[i]);

        options.seed = (uint64_t)i;
        if (status == SPRY_OK) {
            status = gather(c->job, &r->w, &dense, &c->errors[i]);
        }
        if (status == SPRY_OK) {
            reorder_weights w = {dense, r->w.outputs, r->w.inputs, r->w.taps,
                                 rows,  columns,      r->bits};

            status = reorder_channels(&w, &options, &c->job->m->allocator, c->orders[0][i],
                                      c->orders[1][i], &c->reports[i], &c->errors[i]);
        }
        release(c->job, &r->w, dense);
        c->statuses[i] = status;
    }
}

static spry_status cut_layer(const cut_layers *c, int32_t index, spry_error *error)
{
    weight_record *r = &c->job->weights[index];
    block_story *story = arena_zeroed(c->job->memory, sizeof *story);
    bool ordered = c->orders[0] != NULL;
    int64_t rows;
    int64_t columns;
    spry_status status = story != NULL ? block_sizes(c->job, r, &rows, &columns, error)
                                       : alloc_failed(error, sizeof *story);

    if (status == SPRY_OK) {
        r->symmetric = true;
        r->story = story;
        if (c->reports != NULL) {
            story->order_before = c->reports[index].identity;
            story->order_sorted = c->reports[index].sorted;
            story->order_after = c->reports[index].searched;
        }
        status = blocks_cut(r, rows, columns, ordered ? c->orders[0][index] : NULL,
                            ordered ? c->orders[1][index] : NULL, c->job->memory, error);
    }
    return status;
}

static spry_status make_orders(cut_layers *c, arena *room, spry_error *error)
{
    const quantize_job *job = c->job;
    size_t count = (size_t)job->weight_count;

    c->reports = arena_array(room, count, sizeof *c->reports);
    c->statuses = arena_array(room, count, sizeof *c->statuses);
    c->errors = arena_array(room, count, sizeof *c->errors);
    c->orders[0] = arena_array(room, count, sizeof *c->orders[0]);
    c->orders[1] = arena_array(room, count, sizeof *c->orders[1]);
    if (c->reports == NULL || c->statuses == NULL || c->errors == NULL || c->orders[0] == NULL ||
        c->orders[1] == NULL) {
        return alloc_failed(error, count * sizeof *c->errors);
    }
    for (size_t i = 0; i < count; i++) {
        const weight *w = &job->weights[i].w;

        c->orders[0][i] = arena_array(room, (size_t)w->outputs, sizeof(int32_t));
        c->orders[1][i] = arena_array(room, (size_t)w->inputs, sizeof(int32_t));
        if (c->orders[0][i] == NULL || c->orders[1][i] == NULL) {
            return alloc_failed(error, (size_t)w->outputs * sizeof(int32_t));
        }
    }
    threads_for(job->team, job->weight_count, 1, order_layers, c);
    for (size_t i = 0; i < count; i++) {
        if (c->statuses[i] != SPRY_OK) {
            if (error != NULL) {
                *error = c->errors[i];
            }
            return c->statuses[i];
        }
    }
    return SPRY_OK;
}

/* Channels move in the graph itself, so that blocks are cut as they lie. */
static spry_status order_graph(cut_layers *c, arena *room, spry_error *error)
{
    quantize_job *job = c->job;
    size_t count = (size_t)job->weight_count + 1;
    reorder_weights *cuts = arena_array(room, count, sizeof *cuts);
    reorder_graph_report report;
    spry_status status = SPRY_OK;

    c->reports = arena_array(room, count, sizeof *c->reports);
    if (cuts == NULL || c->reports == NULL) {
        return alloc_failed(error, count * sizeof *cuts);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        const weight_record *r = &job->weights[i];

        cuts[i] = (reorder_weights){
            .outputs = r->w.outputs, .inputs = r->w.inputs, .taps = r->w.taps, .bits = r->bits};
        status = block_sizes(job, r, &cuts[i].row_block, &cuts[i].column_block, error);
    }
    return status == SPRY_OK ? reorder_graph(job, cuts, c->reports, &report, error) : status;
}

static spry_status cut_all(quantize_job *job, spry_error *error)
{
    const char *effort = job->options->reorder;
    cut_layers c = {
        .job = job,
        .options = {.effort = strncmp(effort, "search", 6) == 0 ? REORDER_SEARCH : REORDER_SORT,
                    .objective = strcmp(effort, "search-mse") == 0 ? REORDER_MSE : REORDER_RANGE}};
    arena room;
    spry_status status = SPRY_OK;

    arena_init(&room, &job->m->allocator, SIZE_MAX);
    if (strcmp(effort, "graph") == 0) {
        status = order_graph(&c, &room, error);
    } else if (strcmp(effort, "off") != 0) {
        status = make_orders(&c, &room, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = cut_layer(&c, i, error);
    }
    arena_fini(&room);
    return status;
}

/* ---- steps and codes ---- */

static const struct {
    const char *name;
    block_metric metric;
    fisher_metric importance;
} metrics[] = {
    {"l2", BLOCK_METRIC_L2, FISHER_NONE},         {"cosine", BLOCK_METRIC_COSINE, FISHER_NONE},
    {"weight", BLOCK_METRIC_WEIGHT, FISHER_NONE}, {"fisher", BLOCK_METRIC_L2, FISHER_MODEL},
    {"label", BLOCK_METRIC_L2, FISHER_LABEL},     {"perturb", BLOCK_METRIC_L2, FISHER_PERTURB}};

enum { METRICS = sizeof metrics / sizeof metrics[0] };

/* Of metrics; METRICS where it is none. */
static int metric_index(const quantize_job *job)
{
    int i = 0;

    while (i < METRICS && strcmp(metrics[i].name, job->metric) != 0) {
        i++;
    }
    return i;
}

static block_search_options search_options(const quantize_job *job)
{
    block_search_options options = block_search_options_default();

    options.metric = metrics[metric_index(job)].metric;
    options.rounds = job->rounds;
    return options;
}

/* Of each output channel, the better of two roundings. */
typedef struct rounding_choice {
    const weight_record *r;
    const gram *sums;
    const float *dense;
    const float *nearest, *flipped; /* values */
    const int8_t *nearest_codes;
    double *errors; /* [outputs]: of the better one */
    bool *kept;     /* [outputs]: flips */
} rounding_choice;

static void choose_rounding(void *context, int64_t begin, int64_t end, int worker)
{
    const rounding_choice *c = context;
    int64_t size = c->r->w.inputs * c->r->w.taps;

    (void)worker;
    for (int64_t m = begin; m < end; m++) {
        const float *w = c->dense + m * size;
        double plain = block_search_error(c->sums, c->r->w.outputs, m, w, c->nearest + m * size);
        double flipped = block_search_error(c->sums, c->r->w.outputs, m, w, c->flipped + m * size);

        c->kept[m] = flipped < plain;
        c->errors[m] = c->kept[m] ? flipped : plain;
        if (!c->kept[m]) {
            memcpy(c->r->codes + m * size, c->nearest_codes + m * size, (size_t)size);
        }
    }
}

/* SQuant's flips, where they bring outputs nearer. */
static spry_status flip_where_better(quantize_job *job, weight_record *r, const float *dense,
                                     const gram *sums, spry_error *error)
{
    const spry_allocator *a = &job->m->allocator;
    size_t count = (size_t)weight_count(&r->w);
    size_t outputs = (size_t)r->w.outputs;
    arena room;
    spry_status status = SPRY_OK;

    arena_init(&room, a, SIZE_MAX);
    float *nearest = arena_array(&room, count, sizeof *nearest);
    float *flipped = arena_array(&room, count, sizeof *flipped);
    int8_t *codes = arena_bytes(&room, count);
    double *errors = arena_array(&room, outputs, sizeof *errors);
    bool *kept = arena_array(&room, outputs, sizeof *kept);

    if (nearest == NULL || flipped == NULL || codes == NULL || errors == NULL || kept == NULL) {
        status = alloc_failed(error, count * sizeof *nearest);
    } else {
        rounding_choice choice = {r, sums, dense, nearest, flipped, codes, errors, kept};

        blocks_values(r, nearest);
        memcpy(codes, r->codes, count);
        status = blocks_flip(r, dense, job->stages, a, job->team, &r->story->flips, error);
        if (status == SPRY_OK) {
            blocks_values(r, flipped);
            threads_for(job->team, r->w.outputs, 4, choose_rounding, &choice);
            r->story->error_after = 0.0;
            for (size_t m = 0; m < outputs; m++) {
                r->story->error_after += errors[m];
                r->story->flipped_outputs += kept[m];
            }
        }
    }
    arena_fini(&room);
    return status;
}

static spry_status search_layer(void *context, int32_t index, const gram *sums, spry_error *error)
{
    quantize_job *job = context;
    weight_record *r = &job->weights[index];
    block_search_options options = search_options(job);
    block_search_report report;
    float *dense = NULL;
    spry_status status = gather(job, &r->w, &dense, error);

    options.base = r->story->first;
    if (status == SPRY_OK) {
        status =
            block_search(r, dense, sums, &options, &job->m->allocator, job->team, &report, error);
    }
    if (status == SPRY_OK) {
        r->story->error_before = r->story->searched ? r->story->error_before : report.before;
        r->story->searched = true;
        r->story->remark = sums->remark;
        r->story->rounds = report.rounds;
        r->story->error_after = report.after;
    }
    if (status == SPRY_OK && job->stages != SQUANT_E && options.metric != BLOCK_METRIC_WEIGHT) {
        status = flip_where_better(job, r, dense, sums, error);
    }
    release(job, &r->w, dense);
    return status;
}

/* Steps that cover the largest weights. */
static spry_status begin(quantize_job *job, weight_record *r, spry_error *error)
{
    size_t bytes = (size_t)record_blocks(r) * sizeof *r->steps;
    float *first = arena_bytes(job->memory, bytes);
    float *dense = NULL;
    spry_status status =
        first != NULL ? gather(job, &r->w, &dense, error) : alloc_failed(error, bytes);

    if (status == SPRY_OK) {
        blocks_absmax(r, dense);
        memcpy(first, r->steps, bytes);
        r->story->first = first;
    }
    release(job, &r->w, dense);
    return status;
}

/* Steps of weights, then of activations, then of weights once more where those have changed. */
static spry_status search_steps(quantize_job *job, spry_error *error)
{
    gram_options options = gram_options_default();
    fisher_metric metric = metrics[metric_index(job)].importance;
    bool changed = false;
    spry_status status;

    options.quantized = job->activation_count > 0;
    options.metric = metric;
    status = gram_for_each(job, &options, search_layer, job, error);
    if (status == SPRY_OK && options.quantized && search_options(job).metric == BLOCK_METRIC_L2) {
        status = activation_steps(job, metric, &changed, error);
    }
    return status == SPRY_OK && changed ? gram_for_each(job, &options, search_layer, job, error)
                                        : status;
}

static spry_status search(quantize_job *job, spry_error *error)
{
    spry_status status = cut_all(job, error);

    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = begin(job, &job->weights[i], error);
    }
    return status == SPRY_OK && job->options->calibration != NULL ? search_steps(job, error)
                                                                  : status;
}

/* Without samples, or where the layer's input cannot be seen as columns: SQuant on the blocks. */
static spry_status round_weights(const method_call *call, spry_error *error)
{
    weight_record *r = call->record;

    if (r->story->searched) {
        *call->report = r->story->flips;
        return SPRY_OK;
    }
    return blocks_flip(r, call->dense, call->job->stages, &call->job->m->allocator, call->job->team,
                       call->report, error);
}

static spry_status check(const quantize_job *job, spry_error *error)
{
    const spry_quantize_options *o = job->options;
    static const char *const efforts[] = {"off", "sort", "search", "search-mse", "graph"};
    bool known = false;

    for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; i++) {
        known = known || strcmp(efforts[i], o->reorder) == 0;
    }
    if (!known) {
        return spry_fail(error, SPRY_USAGE, "reorder", "off, sort, search, search-mse or graph",
                         "there is no order \"%s\"", o->reorder);
    }
    if (metric_index(job) == METRICS) {
        return spry_fail(error, SPRY_USAGE, "metric",
                         "l2, cosine, weight, fisher, label or perturb",
                         "there is no metric \"%s\"", job->metric);
    }
    if (o->block_outputs < 0 || o->block_inputs < 0 || o->blocks_down < 0 || o->blocks_across < 0) {
        return spry_fail(error, SPRY_USAGE, "blocks", "sizes of at least 1, or 0 for all channels",
                         "a block cannot be that size");
    }
    return SPRY_OK;
}

static spry_status check_and_search(quantize_job *job, spry_error *error)
{
    spry_status status = check(job, error);

    return status == SPRY_OK ? search(job, error) : status;
}

const method method_ptq_sl = {
    .facts = {"ptq-sl", "steps per block of outputs x inputs, by errors of outputs on samples"},
    .metric = "l2",
    .rounds = 2,
    .search = check_and_search,
    .round = round_weights};
