/* From features to clusters with names. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/heads.h"
#include "inspect/heads_name.h"

enum { RESAMPLINGS = 10, F = SPRY_HEAD_FEATURES };

/* ---- heads ---- */

/* Means and deviations of the features of one head over some sequences. */
static void summarise(const spry_heads *h, const int64_t *sequences, int64_t count, int32_t head,
                      double *mean, double *deviation)
{
    for (int f = 0; f < F; f++) {
        double sum = 0.0;
        double square = 0.0;

        for (int64_t s = 0; s < count; s++) {
            double x = h->features[(sequences[s] * h->head_count + head) * F + f];

            sum += x / (double)count;
        }
        for (int64_t s = 0; s < count; s++) {
            double x = h->features[(sequences[s] * h->head_count + head) * F + f] - sum;

            square += x * x / (double)count;
        }
        mean[f] = sum;
        deviation[f] = sqrt(square);
    }
    mean[SPRY_HEAD_CHANGE] = 0.5 * (deviation[SPRY_HEAD_DISTANCE] + deviation[SPRY_HEAD_COLUMNS]);
}

static spry_status take_means(const spry_heads *h, spry_head *head, const heads_sums *sums,
                              arena *memory, spry_error *error)
{
    float *map = arena_array(memory, (size_t)SPRY_HEADS_MAP * SPRY_HEADS_MAP, sizeof *map);
    double *profile = arena_array(memory, SPRY_HEADS_PROFILE, sizeof *profile);

    if (map == NULL || profile == NULL) {
        return alloc_failed(error, sizeof *sums);
    }
    for (int i = 0; i < SPRY_HEADS_MAP; i++) {
        for (int j = 0; j < SPRY_HEADS_MAP && sums->rows[i] > 0.0; j++) {
            map[i * SPRY_HEADS_MAP + j] = (float)(sums->map[i][j] / sums->rows[i]);
        }
    }
    for (int i = 0; i < SPRY_HEADS_PROFILE; i++) {
        profile[i] = sums->profile[i] / (double)h->sequences;
    }
    head->map = map;
    head->profile = profile;
    return SPRY_OK;
}

static spry_status list_heads(spry_heads *h, const int64_t *all, spry_error *error)
{
    spry_status status = SPRY_OK;

    h->list = arena_array(&h->memory, (size_t)h->head_count, sizeof *h->list);
    h->labels = arena_array(&h->memory, (size_t)h->head_count, sizeof *h->labels);
    if (h->list == NULL || h->labels == NULL) {
        return alloc_failed(error, (size_t)h->head_count * sizeof *h->list);
    }
    for (int32_t layer = 0; layer < h->totals.layers; layer++) {
        for (int32_t i = 0; status == SPRY_OK && i < h->layers[layer].heads; i++) {
            int32_t number = h->layers[layer].first + i;
            spry_head *head = &h->list[number];

            *head = (spry_head){.layer = layer, .head = i};
            summarise(h, all, h->sequences, number, head->mean, head->deviation);
            head->pattern = heads_pattern(head->mean);
            status = take_means(h, head, &h->sums[number], &h->memory, error);
        }
    }
    return status;
}

/* ---- clusters ---- */

/* Points for clustering from some sequences. */
static spry_status make_points(const spry_heads *h, const int64_t *sequences, int64_t count,
                               arena *memory, double **points, int64_t *size, spry_error *error)
{
    double deviation[F];

    *points = arena_array(memory, (size_t)h->head_count * F, sizeof **points);
    if (*points == NULL) {
        return alloc_failed(error, (size_t)h->head_count * F * sizeof **points);
    }
    for (int32_t i = 0; i < h->head_count; i++) {
        summarise(h, sequences, count, i, *points + i * F, deviation);
    }
    *size = cluster_standardise(*points, h->head_count, F);
    return *size > 0 ? cluster_principal(*points, h->head_count, size, memory, error) : SPRY_OK;
}

/* Clusters of heads are the same under any order of them: by distance, then columns. */
static void order_labels(spry_heads *h, int32_t k)
{
    double keys[SPRY_HEADS_MOST_CLUSTERS][2] = {{0}};
    int32_t counts[SPRY_HEADS_MOST_CLUSTERS] = {0};
    int32_t ranks[SPRY_HEADS_MOST_CLUSTERS] = {0};

    for (int32_t i = 0; i < h->head_count; i++) {
        counts[h->labels[i]]++;
        keys[h->labels[i]][0] += h->list[i].mean[SPRY_HEAD_DISTANCE];
        keys[h->labels[i]][1] += h->list[i].mean[SPRY_HEAD_COLUMNS];
    }
    for (int32_t c = 0; c < k; c++) {
        keys[c][0] /= counts[c] > 0 ? counts[c] : 1;
        keys[c][1] /= counts[c] > 0 ? counts[c] : 1;
    }
    for (int32_t c = 0; c < k; c++) {
        for (int32_t d = 0; d < k; d++) {
            ranks[c] += keys[d][0] < keys[c][0] ||
                        (keys[d][0] == keys[c][0] &&
                         (keys[d][1] < keys[c][1] || (keys[d][1] == keys[c][1] && d < c)));
        }
    }
    for (int32_t i = 0; i < h->head_count; i++) {
        h->labels[i] = ranks[h->labels[i]];
        h->list[i].cluster = h->labels[i];
    }
}

static void find_medoid(const spry_heads *h, const double *points, int64_t size, int32_t cluster,
                        spry_heads_cluster *c)
{
    double least = INFINITY;

    for (int32_t i = 0; i < h->head_count; i++) {
        double sum = 0.0;

        for (int32_t j = 0; h->labels[i] == cluster && j < h->head_count; j++) {
            double square = 0.0;

            for (int64_t d = 0; h->labels[j] == cluster && d < size; d++) {
                double away = points[i * size + d] - points[j * size + d];

                square += away * away;
            }
            sum += sqrt(square);
        }
        if (h->labels[i] == cluster && sum < least) {
            least = sum;
            c->medoid = i;
        }
    }
}

static void describe_clusters(spry_heads *h, const double *points, int64_t size)
{
    for (int32_t k = 0; k < h->totals.clusters; k++) {
        spry_heads_cluster *c = &h->clusters[k];
        int32_t others = 0;

        *c = (spry_heads_cluster){.removed = NAN,
                                  .uniform = NAN,
                                  .substituted = NAN,
                                  .random_mean = NAN,
                                  .random_deviation = NAN,
                                  .loss_removed = NAN,
                                  .loss_uniform = NAN,
                                  .loss_substituted = NAN};
        for (size_t i = 0; i < sizeof c->limited / sizeof c->limited[0]; i++) {
            c->limited[i] = NAN;
        }
        for (int32_t i = 0; i < h->head_count; i++) {
            c->count += h->labels[i] == k;
        }
        for (int32_t i = 0; i < h->head_count; i++) {
            for (int f = 0; h->labels[i] == k && f < F; f++) {
                c->centre[f] += h->list[i].mean[f] / c->count;
            }
        }
        c->pattern = heads_pattern(c->centre);
        for (int32_t i = 0; i < h->head_count; i++) {
            others += h->labels[i] == k && !heads_same_kind(h->list[i].pattern, c->pattern);
        }
        c->is_mixed = 10 * others > 3 * c->count;
        find_medoid(h, points, size, k, c);
    }
}

/* How far clusters depend on which sequences were looked at. */
static spry_status measure_stability(spry_heads *h, arena *memory, spry_error *error)
{
    enum { STREAM = 5000 };
    spry_random random = spry_random_stream(h->options.seed, STREAM);
    int32_t *labels[2];
    int64_t *drawn = arena_array(memory, (size_t)h->sequences, sizeof *drawn);
    double sum = 0.0;
    spry_status status = SPRY_OK;

    for (int i = 0; i < 2; i++) {
        labels[i] = arena_array(memory, (size_t)h->head_count, sizeof *labels[i]);
    }
    if (drawn == NULL || labels[0] == NULL || labels[1] == NULL) {
        return alloc_failed(error, (size_t)h->sequences * sizeof *drawn);
    }
    for (int i = 0; status == SPRY_OK && i < RESAMPLINGS; i++) {
        double *points;
        double inertia;
        int64_t size;

        for (int64_t s = 0; s < h->sequences; s++) {
            drawn[s] = (int64_t)spry_random_below(&random, (uint64_t)h->sequences);
        }
        status = make_points(h, drawn, h->sequences, memory, &points, &size, error);
        if (status == SPRY_OK) {
            status = cluster_means(points, h->head_count, size, h->totals.clusters, &random, memory,
                                   labels[i % 2], &inertia, error);
        }
        if (status == SPRY_OK && i > 0) {
            sum += cluster_agreement(labels[0], labels[1], h->head_count, h->totals.clusters);
        }
    }
    h->totals.stability = sum / (RESAMPLINGS - 1);
    return status;
}

static spry_status measure_agreement(spry_heads *h, arena *memory, spry_error *error)
{
    int64_t n = h->head_count;
    int32_t *labels = arena_array(memory, (size_t)n, sizeof *labels);
    spry_status status;

    if (labels == NULL) {
        return alloc_failed(error, (size_t)n * sizeof *labels);
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < i; j++) {
            h->divergence[i * n + j] = h->divergence[j * n + i];
        }
    }
    status = cluster_linkage(h->divergence, n, h->totals.clusters, memory, labels, error);
    h->totals.agreement = cluster_agreement(labels, h->labels, n, h->totals.clusters);
    return status;
}

static spry_status find_clusters(spry_heads *h, const int64_t *all, arena *memory,
                                 spry_error *error)
{
    cluster_choice choice = {.k = 1};
    double *points;
    int64_t size;
    spry_status status = make_points(h, all, h->sequences, memory, &points, &size, error);

    if (status == SPRY_OK) {
        status =
            cluster_choose(points, h->head_count, size, SPRY_HEADS_MOST_CLUSTERS,
                           h->options.clusters, h->options.seed, memory, h->labels, &choice, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < choice.try_count && i < SPRY_HEADS_MOST_CLUSTERS; i++) {
        h->choices[h->choice_count++] = (spry_heads_choice){
            choice.tries[i].k, choice.tries[i].inertia, choice.tries[i].silhouette};
    }
    h->totals.clusters = choice.k;
    h->totals.has_structure = choice.k > 1;
    h->totals.silhouette = choice.silhouette;
    h->totals.null_mean = choice.null_mean;
    h->totals.null_deviation = choice.null_deviation;
    order_labels(h, choice.k);
    describe_clusters(h, points, size);
    if (h->sequences > 1) {
        status = measure_stability(h, memory, error);
    }
    return status == SPRY_OK && h->compared > 0 ? measure_agreement(h, memory, error) : status;
}

spry_status heads_group(spry_heads *h, spry_error *error)
{
    int64_t *all = arena_array(&h->memory, (size_t)h->sequences, sizeof *all);
    arena memory;
    spry_status status;

    if (all == NULL) {
        return alloc_failed(error, (size_t)h->sequences * sizeof *all);
    }
    for (int64_t i = 0; i < h->sequences; i++) {
        all[i] = i;
    }
    arena_init(&memory, &h->allocator, SIZE_MAX);
    h->totals.stability = NAN;
    h->totals.agreement = NAN;
    h->totals.loss = NAN;
    h->totals.sequences = (int32_t)h->sequences;
    h->totals.tokens = h->text.window;
    status = list_heads(h, all, error);
    status = status == SPRY_OK ? find_clusters(h, all, &memory, error) : status;
    arena_fini(&memory);
    return status;
}
