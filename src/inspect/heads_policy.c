/* Choosing which keys heads look at, and checking what that changes. */
#include <math.h>
#include <string.h>

#include "adapt/head_policy.h"
#include "base/alloc.h"
#include "base/progress.h"
#include "inspect/heads.h"
#include "inspect/heads_policy.h"
#include "model/model.h"
#include "tensor/convert.h"

enum { DEFAULT_WINDOW = 256, DEFAULT_LIMIT = 16, MOST_CHECKED = 4, SINKS = SPRY_HEAD_POLICY_SINKS };

struct spry_head_policies {
    spry_allocator allocator;
    spry_head_policy *list;
    size_t room;
    spry_head_policy_totals totals;
};

typedef struct choosing {
    spry_heads *h;
    const spry_head_policy_options *options;
    int64_t length;  /* tokens */
    double *columns; /* [heads][length]: mean weight of keys */
    int64_t *sinks;  /* [heads][SINKS], by weight; -1 from the last on */
    double *reach;   /* [heads][SINKS + 1][length]: weight by distance and rank as sink */
    attention_policy *policies; /* [heads]: chosen */
    attention_policy *now;      /* [heads]: in force */
    double *kept;               /* [heads] */
    double (*products)[3];      /* [heads]: a b, a a, b b of results: a of all keys, b of few */
    float *dense;               /* results of all layers, of one sequence */
    size_t dense_room;
    int32_t layer; /* that is restricted; -1: none */
    bool is_first; /* columns are wanted, not distances */
    int64_t done, all;
} choosing;

spry_head_policy_options spry_head_policy_options_default(void)
{
    return (spry_head_policy_options){.struct_size = sizeof(spry_head_policy_options),
                                      .window = DEFAULT_WINDOW,
                                      .limit = DEFAULT_LIMIT,
                                      .epsilon = 0.05,
                                      .cosine = 0.99};
}

/* ---- what heads look at ---- */

static void add_columns(const choosing *x, const attention_survey *s, const attention_problem *p,
                        const heads_layer *layer)
{
    for (int64_t h = 0; h < layer->heads; h++) {
        double *to = x->columns + (layer->first + h) * x->length;

        for (int64_t j = 0; j < x->h->text.used; j++) {
            to[j] += s->columns[h * p->keys + j] / (double)x->h->text.used;
        }
    }
}

static int64_t rank_of(const int64_t *sinks, int64_t key)
{
    int64_t rank = 0;

    while (rank < SINKS && sinks[rank] != key) {
        rank++;
    }
    return rank;
}

static void add_reach(const choosing *x, const attention_survey *s, const attention_problem *p,
                      const heads_layer *layer)
{
    int64_t t = x->h->text.used;

    for (int64_t h = 0; h < layer->heads; h++) {
        const int64_t *sinks = x->sinks + (layer->first + h) * SINKS;
        double *to = x->reach + (layer->first + h) * (SINKS + 1) * x->length;

        for (int64_t n = 0; n < s->sample_count; n++) {
            const float *weights = s->samples + (h * s->sample_count + n) * p->keys;
            int64_t row = n * s->sample_stride;

            for (int64_t j = 0; row < t && j < t; j++) {
                to[rank_of(sinks, j) * x->length + (j > row ? j - row : row - j)] +=
                    (double)weights[j];
            }
        }
    }
}

/* Keys that have more than a few times the weight that all alike would have. */
static void find_sinks(const choosing *x)
{
    static const double TIMES = 4.0;

    for (int32_t h = 0; h < x->h->head_count; h++) {
        const double *columns = x->columns + h * x->length;
        double least = 0.0;

        for (int64_t j = 0; j < x->length; j++) {
            least += columns[j] * TIMES / (double)x->length;
        }
        for (int64_t i = 0; i < SINKS; i++) {
            int64_t best = -1;

            for (int64_t j = 0; j < x->length; j++) {
                bool is_free = rank_of(x->sinks + h * SINKS, j) >= i;

                if (is_free && columns[j] > least && (best < 0 || columns[j] > columns[best])) {
                    best = j;
                }
            }
            x->sinks[h * SINKS + i] = best;
        }
    }
}

void heads_choose_policy(const double *reach, int64_t length, const int64_t *sinks, double epsilon,
                         bool is_causal, attention_policy *policy, double *kept)
{
    /* A sink costs more than a key of the window: it is not next to others. */
    static const double SINK_COST = 4.0;
    static const double DENSE_SHARE = 0.5;
    double total = 0.0;
    double best = INFINITY;

    *policy = (attention_policy){.is_dense = true};
    *kept = 1.0;
    for (int64_t i = 0; i < (SINKS + 1) * length; i++) {
        total += reach[i];
    }
    for (int64_t count = 0; count <= SINKS && (count == 0 || sinks[count - 1] >= 0); count++) {
        double mass = 0.0;

        for (int64_t i = 0; i < count * length; i++) {
            mass += reach[i];
        }
        for (int64_t w = 0; w < length; w++) {
            double cost = (double)((is_causal ? 1 : 2) * w + 1) + SINK_COST * (double)count;

            for (int64_t rank = count; rank <= SINKS; rank++) {
                mass += reach[rank * length + w];
            }
            if (mass < (1.0 - epsilon) * total) {
                continue;
            }
            if (cost < best && cost < DENSE_SHARE * (double)length * (is_causal ? 0.5 : 1.0)) {
                best = cost;
                *policy = (attention_policy){
                    .before = w, .after = is_causal ? 0 : w, .sink_count = count};
                memcpy(policy->sinks, sinks, (size_t)count * sizeof *sinks);
                *kept = total > 0.0 ? mass / total : 1.0;
            }
            break;
        }
    }
    /* In ascending order, as kernels want them. */
    for (int64_t i = 1; i < policy->sink_count; i++) {
        int64_t sink = policy->sinks[i];
        int64_t at = i;

        for (; at > 0 && policy->sinks[at - 1] > sink; at--) {
            policy->sinks[at] = policy->sinks[at - 1];
        }
        policy->sinks[at] = sink;
    }
}

/* ---- what that changes ---- */

static int64_t results_of(const attention_problem *p)
{
    return p->heads * p->rows * p->value_size;
}

/* Keeps the results of a layer, or compares them with those kept. */
static spry_status note_results(choosing *x, const attention_problem *p, const heads_layer *layer)
{
    int64_t each = results_of(p);
    int64_t number = layer - x->h->layers;
    float *kept;

    if (x->dense == NULL) {
        x->dense_room = (size_t)(each * x->h->totals.layers);
        x->dense = arena_array(&x->h->memory, x->dense_room, sizeof *x->dense);
    }
    if (x->dense == NULL || (size_t)((number + 1) * each) > x->dense_room) {
        return alloc_failed(x->h->error, (size_t)each * sizeof *x->dense);
    }
    kept = x->dense + number * each;
    for (int64_t n = 0; n < p->heads * p->rows; n++) {
        const float *b = p->out + n / p->rows * p->out_head + n % p->rows * p->out_token;
        float *a = kept + n * p->value_size;
        double *sums = x->products[layer->first + n / p->rows];

        for (int64_t i = 0; i < p->value_size && n % p->rows < x->h->text.used; i++) {
            if (x->layer < 0) {
                a[i] = b[i];
            } else {
                sums[0] += (double)a[i] * (double)b[i];
                sums[1] += (double)a[i] * (double)a[i];
                sums[2] += (double)b[i] * (double)b[i];
            }
        }
    }
    return SPRY_OK;
}

static void see_weights(void *context, const char *name, const attention_problem *p,
                        const attention_survey *survey)
{
    choosing *x = context;
    const heads_layer *layer = heads_find_layer(x->h, name);

    if (layer == NULL || p->heads != layer->heads) {
        return;
    }
    if (x->is_first) {
        add_columns(x, survey, p, layer);
    } else {
        add_reach(x, survey, p, layer);
    }
}

static void see_results(void *context, const char *name, const attention_problem *p,
                        const attention_survey *survey)
{
    choosing *x = context;
    const heads_layer *layer = heads_find_layer(x->h, name);

    (void)survey;
    if (layer != NULL && p->heads == layer->heads &&
        (x->layer < 0 || layer == &x->h->layers[x->layer])) {
        spry_status status = note_results(x, p, layer);

        x->h->status = x->h->status == SPRY_OK ? status : x->h->status;
    }
}

static const attention_policy *policies_now(void *context, const char *name, int64_t heads)
{
    choosing *x = context;
    const heads_layer *layer = heads_find_layer(x->h, name);

    return layer != NULL && layer->heads == heads ? x->now + layer->first : NULL;
}

static void set_dense(attention_policy *policies, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        policies[i] = (attention_policy){.is_dense = true};
    }
}

/* All layers, or one alone, look at what was chosen. */
static void restrict_layers(choosing *x, int32_t layer)
{
    const spry_heads *h = x->h;

    set_dense(x->now, h->head_count);
    for (int32_t i = 0; i < h->totals.layers; i++) {
        if (layer == i || layer == h->totals.layers) {
            memcpy(x->now + h->layers[i].first, x->policies + h->layers[i].first,
                   (size_t)h->layers[i].heads * sizeof *x->now);
        }
    }
    x->layer = layer;
}

static spry_status tick(choosing *x, spry_error *error)
{
    return progress_report(x->options->progress, "choosing keys", (double)++x->done, (double)x->all,
                           error);
}

static spry_status run_range(choosing *x, int64_t from, int64_t to, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int64_t s = from; status == SPRY_OK && s < to; s++) {
        status = heads_run(x->h, s, error);
        status = status == SPRY_OK ? tick(x, error) : status;
    }
    return status;
}

static spry_status choose(choosing *x, int64_t sequences, spry_error *error)
{
    spry_heads *h = x->h;
    spry_status status;

    h->probe.see = see_weights;
    x->is_first = true;
    status = run_range(x, 0, sequences, error);
    find_sinks(x);
    x->is_first = false;
    status = status == SPRY_OK ? run_range(x, 0, sequences, error) : status;
    for (int32_t i = 0; status == SPRY_OK && i < h->head_count; i++) {
        heads_choose_policy(x->reach + i * (SINKS + 1) * x->length, x->length, x->sinks + i * SINKS,
                            x->options->epsilon, h->totals.is_causal, &x->policies[i], &x->kept[i]);
    }
    return status;
}

static double cosine_of(const double *sums)
{
    double lengths = sqrt(sums[1] * sums[2]);

    return lengths > 0.0 ? sums[0] / lengths : 1.0;
}

/* The cosine of a whole layer; heads look at everything again, the worst first, until it does. */
static double settle_layer(choosing *x, const heads_layer *layer)
{
    for (;;) {
        double sums[3] = {0};
        double most = 0.0;
        int32_t worst = GRAPH_NONE;

        for (int32_t i = layer->first; i < layer->first + layer->heads; i++) {
            const double *own = x->products[i];
            double moved = own[1] + own[2] - 2.0 * own[0];

            for (int k = 0; k < 3; k++) {
                sums[k] += own[k];
            }
            if (!x->policies[i].is_dense && moved > most) {
                most = moved;
                worst = i;
            }
        }
        if (cosine_of(sums) >= x->options->cosine || worst == GRAPH_NONE) {
            return cosine_of(sums);
        }
        x->policies[worst] = (attention_policy){.is_dense = true};
        x->products[worst][0] = x->products[worst][2] = x->products[worst][1];
        x->kept[worst] = 1.0;
    }
}

static spry_status check_layers(choosing *x, int64_t from, int64_t to,
                                spry_head_policy_totals *totals, spry_error *error)
{
    spry_heads *h = x->h;
    spry_status status = SPRY_OK;

    h->probe.see = see_results;
    h->probe.most_samples = 0;
    for (int64_t s = from; status == SPRY_OK && s < to; s++) {
        for (int32_t layer = -1; status == SPRY_OK && layer < h->totals.layers; layer++) {
            restrict_layers(x, layer);
            status = heads_run(h, s, error);
            status = status == SPRY_OK ? tick(x, error) : status;
        }
    }
    totals->cosine = 1.0;
    for (int32_t layer = 0; status == SPRY_OK && layer < h->totals.layers; layer++) {
        totals->cosine = fmin(totals->cosine, settle_layer(x, &h->layers[layer]));
    }
    return status;
}

/* The model as a whole, before and after. */
static spry_status check_outputs(choosing *x, int64_t from, int64_t to,
                                 spry_head_policy_totals *totals, spry_error *error)
{
    spry_heads *h = x->h;
    double sums[3] = {0};
    double losses[2] = {0};
    bool has_loss = true;
    spry_status status = SPRY_OK;

    h->probe.see = NULL;
    for (int64_t s = from; status == SPRY_OK && s < to; s++) {
        float *results[2] = {NULL};
        int64_t count = 0;

        for (int way = 0; status == SPRY_OK && way < 2; way++) {
            const spry_tensor *t;

            restrict_layers(x, way == 0 ? -1 : h->totals.layers);
            status = heads_run(h, s, error);
            t = status == SPRY_OK ? spry_value_tensor(h->feed.outputs[0]) : NULL;
            if (t == NULL) {
                continue;
            }
            count = tensor_count(t);
            results[way] = alloc_array(&h->allocator, (size_t)count, sizeof *results[way]);
            if (results[way] == NULL) {
                status = alloc_failed(error, (size_t)count * sizeof *results[way]);
                continue;
            }
            convert_read_f32(t, 0, count, results[way]);
            has_loss = has_loss && heads_have_logits(h);
            losses[way] += has_loss ? heads_loss(h, results[way], t->shape[2]) : NAN;
        }
        for (int64_t i = 0; status == SPRY_OK && i < count; i++) {
            sums[0] += (double)results[0][i] * (double)results[1][i];
            sums[1] += (double)results[0][i] * (double)results[0][i];
            sums[2] += (double)results[1][i] * (double)results[1][i];
        }
        alloc_release(&h->allocator, results[0], (size_t)count * sizeof *results[0]);
        alloc_release(&h->allocator, results[1], (size_t)count * sizeof *results[1]);
        status = status == SPRY_OK ? tick(x, error) : status;
    }
    totals->output_cosine = cosine_of(sums);
    totals->loss_before = losses[0] / (double)(to - from);
    totals->loss = losses[1] / (double)(to - from);
    return status;
}

/* ---- what is told ---- */

/* Products of queries and keys that are left, as a share. */
static double share_of(const choosing *x, int32_t head)
{
    const attention_policy *p = &x->policies[head];
    int64_t t = x->length;
    int64_t seen = 0;
    int64_t all = 0;

    for (int64_t i = 0; i < t; i++) {
        int64_t end = x->h->totals.is_causal ? i + 1 : t;

        all += end;
        for (int64_t j = 0; j < end; j++) {
            seen += attention_policy_sees(p, i, j, t);
        }
    }
    return (double)seen / (double)all;
}

static spry_status list_policies(const choosing *x, spry_head_policies *made, spry_error *error)
{
    const spry_heads *h = x->h;
    spry_head_policy_totals *totals = &made->totals;

    made->room = (size_t)h->head_count;
    made->list = alloc_array(&made->allocator, made->room, sizeof *made->list);
    if (made->list == NULL) {
        return alloc_failed(error, made->room * sizeof *made->list);
    }
    for (int32_t layer = 0; layer < h->totals.layers; layer++) {
        for (int32_t i = 0; i < h->layers[layer].heads; i++) {
            int32_t head = h->layers[layer].first + i;
            const attention_policy *p = &x->policies[head];

            made->list[head] = (spry_head_policy){.layer = layer,
                                                  .head = i,
                                                  .is_dense = p->is_dense,
                                                  .before = p->before,
                                                  .after = p->after,
                                                  .sink_count = (int32_t)p->sink_count,
                                                  .kept = x->kept[head],
                                                  .cosine = cosine_of(x->products[head])};
            memcpy(made->list[head].sinks, p->sinks, SINKS * sizeof *p->sinks);
            totals->dense += p->is_dense;
            totals->share += share_of(x, head) / h->head_count;
        }
    }
    totals->layers = h->totals.layers;
    totals->heads = h->head_count;
    totals->tokens = h->text.window;
    return SPRY_OK;
}

static spry_status write_model(const choosing *x, const spry_model *source, spry_model **restricted,
                               spry_error *error)
{
    const spry_heads *h = x->h;
    head_policy_layer *layers =
        arena_array(&x->h->memory, (size_t)h->totals.layers, sizeof *layers);
    spry_status status = model_copy(source, restricted, error);

    if (status == SPRY_OK && layers == NULL) {
        status = alloc_failed(error, (size_t)h->totals.layers * sizeof *layers);
    }
    for (int32_t i = 0; status == SPRY_OK && i < h->totals.layers; i++) {
        layers[i] = (head_policy_layer){h->layers[i].name, h->layers[i].heads,
                                        x->policies + h->layers[i].first};
    }
    status = status == SPRY_OK ? head_policy_write(*restricted, layers, h->totals.layers, error)
                               : status;
    if (status != SPRY_OK) {
        spry_model_destroy(*restricted);
        *restricted = NULL;
    }
    return status;
}

/* ---- all of it ---- */

static spry_status make_room(choosing *x, spry_error *error)
{
    arena *memory = &x->h->memory;
    size_t heads = (size_t)x->h->head_count;
    size_t length = (size_t)x->length;

    x->columns = arena_array(memory, heads * length, sizeof *x->columns);
    x->sinks = arena_array(memory, heads * SINKS, sizeof *x->sinks);
    x->reach = arena_array(memory, heads * (SINKS + 1) * length, sizeof *x->reach);
    x->policies = arena_array(memory, heads, sizeof *x->policies);
    x->now = arena_array(memory, heads, sizeof *x->now);
    x->kept = arena_array(memory, heads, sizeof *x->kept);
    x->products = arena_array(memory, heads, sizeof *x->products);
    return x->columns != NULL && x->sinks != NULL && x->reach != NULL && x->policies != NULL &&
                   x->now != NULL && x->kept != NULL && x->products != NULL
               ? SPRY_OK
               : alloc_failed(error, heads * (SINKS + 1) * length * sizeof *x->reach);
}

static spry_status perform(choosing *x, const spry_model *source, spry_model **restricted,
                           spry_head_policies *made, spry_error *error)
{
    spry_heads *h = x->h;
    int64_t half;
    int64_t end;
    spry_status status = heads_find(h, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (h->text.sequences < 2) {
        return spry_fail(error, SPRY_USAGE, "text", "give a longer text, or a smaller window",
                         "it has %lld sequences of %lld tokens; one is to choose by, another one "
                         "to check",
                         (long long)h->text.sequences, (long long)h->text.window);
    }
    half = h->text.sequences / 2;
    end = half + MOST_CHECKED < h->text.sequences ? half + MOST_CHECKED : h->text.sequences;
    x->length = h->text.length;
    x->all = 2 * half + (end - half) * (h->totals.layers + 2);
    status = make_room(x, error);
    if (status == SPRY_OK) {
        set_dense(x->now, h->head_count);
        h->probe.context = x;
        h->probe.policies = policies_now;
        h->probe.classes = NULL; /* all queries count: their results all go on */
        h->probe.class_count = 1;
        status = choose(x, half, error);
    }
    status = status == SPRY_OK ? check_layers(x, half, end, &made->totals, error) : status;
    status = status == SPRY_OK ? check_outputs(x, half, end, &made->totals, error) : status;
    status = status == SPRY_OK ? list_policies(x, made, error) : status;
    return status == SPRY_OK ? write_model(x, source, restricted, error) : status;
}

static spry_status check_options(const spry_head_policy_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options",
                         "start from spry_head_policy_options_default()", "not initialised");
    }
    if (!(o->epsilon > 0.0 && o->epsilon < 1.0) || !(o->cosine >= 0.0 && o->cosine <= 1.0)) {
        return spry_fail(error, SPRY_USAGE, "epsilon", "above 0 and below 1; cosines 0 to 1",
                         "epsilon %g, cosine %g", o->epsilon, o->cosine);
    }
    return SPRY_OK;
}

spry_status spry_heads_restrict(const spry_model *source, const spry_tokenizer *tokenizer,
                                const char *text, size_t size,
                                const spry_head_policy_options *options, spry_model **restricted,
                                spry_head_policies **policies, spry_error *error)
{
    spry_heads_options how = spry_heads_options_default();
    choosing x = {.options = options, .layer = -1};
    spry_status status = check_options(options, error);

    *restricted = NULL;
    *policies = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    spry_allocator allocator = alloc_resolve(options->allocator);
    spry_head_policies *made = alloc_zeroed(&allocator, sizeof *made);
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = allocator;
    how.window = options->window;
    how.limit = options->limit;
    how.seed = options->seed;
    how.threads = options->threads;
    how.allocator = &allocator;
    status = heads_open(source, tokenizer, text, size, &how, &x.h, error);
    status = status == SPRY_OK ? perform(&x, source, restricted, made, error) : status;
    spry_heads_destroy(x.h);
    if (status == SPRY_OK) {
        *policies = made;
    } else {
        spry_head_policies_destroy(made);
    }
    return status;
}

void spry_head_policies_destroy(spry_head_policies *policies)
{
    spry_allocator allocator;

    if (policies == NULL) {
        return;
    }
    allocator = policies->allocator;
    alloc_release(&allocator, policies->list, policies->room * sizeof *policies->list);
    alloc_release(&allocator, policies, sizeof *policies);
}

int32_t spry_head_policies_list(const spry_head_policies *policies, const spry_head_policy **list)
{
    *list = policies->list;
    return policies->totals.heads;
}

spry_head_policy_totals spry_head_policies_describe(const spry_head_policies *policies)
{
    return policies->totals;
}
