/* What clusters of heads do: the model without them, with them looking everywhere alike, with
 * nothing but their pattern, and with shorter and shorter reach; beside random sets of heads. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "inspect/heads.h"
#include "inspect/heads_name.h"
#include "measure/evaluate.h"
#include "tensor/convert.h"

enum { MOST_SEQUENCES = 4, RANDOM_SETS = 20, LIMITS = 7, STREAM = 7000 };

typedef struct ablating {
    spry_heads *h;
    arena memory;
    attention_policy *policies; /* [heads] */
    bool *chosen;               /* [heads] */
    float *before[MOST_SEQUENCES];
    float *row;
    int64_t counts[MOST_SEQUENCES];
    int64_t sequences;
    bool has_loss;
    double moved, loss; /* of the last measurement */
    int64_t done, all;
    spry_error *error;
} ablating;

/* ---- one measurement ---- */

bool heads_have_logits(const spry_heads *h)
{
    const spry_tensor *t = spry_value_tensor(h->feed.outputs[0]);
    int64_t most = 0;

    for (int64_t i = 0; i < h->text.used; i++) {
        most = h->text.ids[i] > most ? h->text.ids[i] : most;
    }
    return h->totals.is_causal && t != NULL && t->rank == 3 && t->shape[1] == h->text.length &&
           t->shape[2] > most;
}

double heads_loss(const spry_heads *h, const float *logits, int64_t classes)
{
    const heads_text *text = &h->text;
    double sum = 0.0;

    for (int64_t i = 0; i + 1 < text->used; i++) {
        const float *row = logits + i * classes;
        double most = (double)row[evaluate_best(row, classes)];
        double total = 0.0;

        for (int64_t c = 0; c < classes; c++) {
            total += exp((double)row[c] - most);
        }
        sum += log(total) + most - (double)row[text->ids[i + 1]];
    }
    return sum / (double)(text->used - 1);
}

static double distance(const float *a, const float *b, int64_t count)
{
    double square = 0.0;
    double length = 0.0;

    for (int64_t i = 0; i < count; i++) {
        square += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        length += (double)b[i] * (double)b[i];
    }
    return length > 0.0 ? sqrt(square / length) : 0.0;
}

/* Outputs under the policies as they are; the first time, what all others are compared with. */
static spry_status measure(ablating *a, bool is_first)
{
    spry_heads *h = a->h;
    spry_status status = SPRY_OK;

    a->moved = a->loss = 0.0;
    for (int64_t s = 0; status == SPRY_OK && s < a->sequences; s++) {
        const spry_tensor *t;
        float *to;

        status = heads_run(h, s, a->error);
        t = status == SPRY_OK ? spry_value_tensor(h->feed.outputs[0]) : NULL;
        if (status == SPRY_OK && is_first) {
            a->counts[s] = t != NULL ? tensor_count(t) : 0;
            a->before[s] = arena_array(&a->memory, (size_t)a->counts[s] + 1, sizeof(float));
            a->row = arena_array(&a->memory, (size_t)a->counts[s] + 1, sizeof(float));
            if (a->before[s] == NULL || a->row == NULL) {
                return alloc_failed(a->error, (size_t)a->counts[s] * sizeof(float));
            }
            a->has_loss = heads_have_logits(h);
        }
        if (status != SPRY_OK || t == NULL || tensor_count(t) != a->counts[s]) {
            continue;
        }
        to = is_first ? a->before[s] : a->row;
        convert_read_f32(t, 0, a->counts[s], to);
        a->moved += distance(to, a->before[s], a->counts[s]) / (double)a->sequences;
        a->loss += a->has_loss ? heads_loss(h, to, t->shape[2]) / (double)a->sequences : NAN;
    }
    if (status == SPRY_OK) {
        status = progress_report(h->options.progress, "taking heads away", (double)++a->done,
                                 (double)a->all, a->error);
    }
    return status;
}

/* The chosen heads follow a policy, the others look at everything. */
static spry_status measure_with(ablating *a, attention_policy policy)
{
    for (int32_t i = 0; i < a->h->head_count; i++) {
        a->policies[i] = a->chosen[i] ? policy : (attention_policy){.is_dense = true};
    }
    return measure(a, false);
}

/* ---- which heads, and what instead ---- */

static void choose_cluster(const ablating *a, int32_t cluster)
{
    for (int32_t i = 0; i < a->h->head_count; i++) {
        a->chosen[i] = a->h->labels[i] == cluster;
    }
}

/* As many heads of each layer as the cluster has there. */
static void choose_random(const ablating *a, int32_t cluster, spry_random *random)
{
    const spry_heads *h = a->h;

    for (int32_t layer = 0; layer < h->totals.layers; layer++) {
        const heads_layer *l = &h->layers[layer];
        int32_t wanted = 0;

        for (int32_t i = 0; i < l->heads; i++) {
            wanted += h->labels[l->first + i] == cluster;
            a->chosen[l->first + i] = false;
        }
        while (wanted > 0) {
            int32_t i = (int32_t)spry_random_below(random, (uint64_t)l->heads);

            wanted -= !a->chosen[l->first + i];
            a->chosen[l->first + i] = true;
        }
    }
}

/* Nothing but the pattern of that name. False: it says nothing about positions. */
static bool idealise(const spry_heads *h, const spry_heads_cluster *c, attention_policy *policy)
{
    const double *f = c->centre;
    const char *p = c->pattern;

    *policy = (attention_policy){.is_flat = true, .before = -1};
    if (strncmp(p, "diagonal", strlen("diagonal")) == 0 || strcmp(p, "vertical+diagonal") == 0) {
        int64_t back = f[SPRY_HEAD_PREVIOUS] >= f[SPRY_HEAD_NEXT] ? 1 : -1;

        back = f[SPRY_HEAD_BAND_0] > f[back > 0 ? SPRY_HEAD_PREVIOUS : SPRY_HEAD_NEXT] ? 0 : back;
        policy->before = back;
        policy->after = -back;
        policy->sink_count = p[0] == 'v';
    } else if (strcmp(p, "vertical (delimiter)") == 0) {
        for (int64_t i = 0; i < h->text.used; i++) {
            if (h->text.special[i] && policy->sink_count < ATTENTION_MOST_SINKS) {
                policy->sinks[policy->sink_count++] = i;
            }
        }
    } else if (strcmp(p, "vertical") == 0) {
        policy->sink_count = 1;
    } else if (strcmp(p, "uniform") == 0) {
        policy->is_dense = true;
    } else if (strcmp(p, "local band") == 0) {
        policy->before = policy->after = 4;
    } else {
        return false;
    }
    return true;
}

static spry_status measure_cluster(ablating *a, int32_t cluster)
{
    spry_heads_cluster *c = &a->h->clusters[cluster];
    attention_policy ideal;
    spry_status status;

    choose_cluster(a, cluster);
    status = measure_with(a, (attention_policy){.is_dense = true, .is_off = true});
    c->removed = a->moved;
    c->loss_removed = a->loss;
    if (status == SPRY_OK) {
        status = measure_with(a, (attention_policy){.is_dense = true, .is_flat = true});
        c->uniform = a->moved;
        c->loss_uniform = a->loss;
    }
    if (status == SPRY_OK && idealise(a->h, c, &ideal)) {
        status = measure_with(a, ideal);
        c->substituted = a->moved;
        c->loss_substituted = a->loss;
    }
    for (int i = 0; status == SPRY_OK && i < LIMITS; i++) {
        status = measure_with(a, (attention_policy){.before = 1 << i, .after = 1 << i});
        c->limited[i] = a->moved;
    }
    return status;
}

static spry_status measure_random(ablating *a, int32_t cluster)
{
    spry_heads_cluster *c = &a->h->clusters[cluster];
    spry_random random = spry_random_stream(a->h->options.seed, STREAM + (uint64_t)cluster);
    double sum = 0.0;
    double square = 0.0;
    spry_status status = SPRY_OK;

    for (int i = 0; status == SPRY_OK && i < RANDOM_SETS; i++) {
        choose_random(a, cluster, &random);
        status = measure_with(a, (attention_policy){.is_dense = true, .is_off = true});
        sum += a->moved;
        square += a->moved * a->moved;
    }
    c->random_mean = sum / RANDOM_SETS;
    c->random_deviation = sqrt(fmax(square / RANDOM_SETS - c->random_mean * c->random_mean, 0.0));
    return status;
}

spry_status heads_ablate(spry_heads *h, spry_error *error)
{
    ablating a = {.h = h, .error = error};
    spry_status status;

    arena_init(&a.memory, &h->allocator, SIZE_MAX);
    a.sequences = h->sequences < MOST_SEQUENCES ? h->sequences : MOST_SEQUENCES;
    a.all = 1 + (int64_t)h->totals.clusters * (3 + LIMITS + RANDOM_SETS);
    a.policies = arena_array(&a.memory, (size_t)h->head_count, sizeof *a.policies);
    a.chosen = arena_array(&a.memory, (size_t)h->head_count, sizeof *a.chosen);
    status = a.policies != NULL && a.chosen != NULL
                 ? SPRY_OK
                 : alloc_failed(error, (size_t)h->head_count * sizeof *a.policies);
    h->probe.see = NULL;
    for (int32_t i = 0; status == SPRY_OK && i < h->head_count; i++) {
        a.policies[i].is_dense = true;
    }
    h->policies = a.policies;
    if (status == SPRY_OK) {
        status = measure(&a, true);
        h->totals.loss = a.has_loss ? a.loss : NAN;
    }
    for (int32_t c = 0; status == SPRY_OK && c < h->totals.clusters; c++) {
        status = measure_cluster(&a, c);
        status = status == SPRY_OK ? measure_random(&a, c) : status;
    }
    h->policies = NULL;
    arena_fini(&a.memory);
    return status;
}
