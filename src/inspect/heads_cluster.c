/* k-means++, silhouettes, the number of clusters, average linkage. */
#include "inspect/heads_cluster.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"

enum { STARTS = 20, ROUNDS = 100, NULL_COPIES = 20, NULL_STARTS = 5, MOST_TRIES = 16 };

static const double SAME = 1e-9; /* a column with less deviation does not vary */

static double square_distance(const double *a, const double *b, int64_t size)
{
    double sum = 0.0;

    for (int64_t i = 0; i < size; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return sum;
}

int64_t cluster_standardise(double *points, int64_t count, int64_t size)
{
    int64_t kept = 0;

    for (int64_t c = 0; c < size; c++) {
        double mean = 0.0;
        double square = 0.0;

        for (int64_t i = 0; i < count; i++) {
            mean += points[i * size + c] / (double)count;
        }
        for (int64_t i = 0; i < count; i++) {
            double away = points[i * size + c] - mean;

            square += away * away / (double)count;
        }
        if (sqrt(square) < SAME) {
            continue;
        }
        for (int64_t i = 0; i < count; i++) {
            points[i * size + kept] = (points[i * size + c] - mean) / sqrt(square);
        }
        kept++;
    }
    for (int64_t i = 0; i < count; i++) {
        memmove(points + i * kept, points + i * size, (size_t)kept * sizeof *points);
    }
    return kept;
}

/* ---- principal axes ---- */

/* One rotation of Jacobi's method: makes a[p][q] of a symmetric matrix zero. */
static void rotate(double *a, double *axes, int64_t size, int64_t p, int64_t q)
{
    double theta = 0.5 * atan2(2.0 * a[p * size + q], a[q * size + q] - a[p * size + p]);
    double c = cos(theta);
    double s = sin(theta);

    for (int64_t i = 0; i < size; i++) {
        double x = a[i * size + p];
        double y = a[i * size + q];
        double u = axes[i * size + p];
        double v = axes[i * size + q];

        a[i * size + p] = c * x - s * y;
        a[i * size + q] = s * x + c * y;
        axes[i * size + p] = c * u - s * v;
        axes[i * size + q] = s * u + c * v;
    }
    for (int64_t i = 0; i < size; i++) {
        double x = a[p * size + i];
        double y = a[q * size + i];

        a[p * size + i] = c * x - s * y;
        a[q * size + i] = s * x + c * y;
    }
}

/* Eigenvalues into the diagonal of `a`, eigenvectors into the columns of `axes`. */
static void diagonalise(double *a, double *axes, int64_t size)
{
    enum { SWEEPS = 30 };

    for (int64_t i = 0; i < size; i++) {
        for (int64_t j = 0; j < size; j++) {
            axes[i * size + j] = i == j ? 1.0 : 0.0;
        }
    }
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        for (int64_t p = 0; p < size; p++) {
            for (int64_t q = p + 1; q < size; q++) {
                rotate(a, axes, size, p, q);
            }
        }
    }
}

/* The axis of the largest eigenvalue that is left, which is taken. */
static int64_t take_largest(double *a, int64_t size)
{
    int64_t best = 0;

    for (int64_t i = 1; i < size; i++) {
        best = a[i * size + i] > a[best * size + best] ? i : best;
    }
    a[best * size + best] = -1.0;
    return best;
}

spry_status cluster_principal(double *points, int64_t count, int64_t *size, arena *memory,
                              spry_error *error)
{
    static const double KEPT = 0.95;
    int64_t n = *size;
    double *a = arena_array(memory, (size_t)(n * n) + 1, sizeof *a);
    double *axes = arena_array(memory, (size_t)(n * n) + 1, sizeof *axes);
    double *turned = arena_array(memory, (size_t)(count * n) + 1, sizeof *turned);
    double total = 0.0;
    double left;
    int64_t kept = 0;

    if (a == NULL || axes == NULL || turned == NULL) {
        return alloc_failed(error, (size_t)(count * n) * sizeof *turned);
    }
    for (int64_t i = 0; i < n * n; i++) {
        for (int64_t row = 0; row < count; row++) {
            a[i] += points[row * n + i / n] * points[row * n + i % n] / (double)count;
        }
        total += i / n == i % n ? a[i] : 0.0;
    }
    diagonalise(a, axes, n);
    for (left = total; kept < n && left > (1.0 - KEPT) * total; kept++) {
        double value = 0.0;
        int64_t axis = take_largest(a, n);

        for (int64_t row = 0; row < count; row++) {
            double sum = 0.0;

            for (int64_t i = 0; i < n; i++) {
                sum += points[row * n + i] * axes[i * n + axis];
            }
            turned[row * n + kept] = sum;
            value += sum * sum / (double)count;
        }
        left -= value;
    }
    for (int64_t row = 0; row < count; row++) {
        memcpy(points + row * kept, turned + row * n, (size_t)kept * sizeof *points);
    }
    *size = kept;
    return SPRY_OK;
}

/* ---- k-means++ ---- */

typedef struct means {
    const double *points;
    int64_t count, size;
    int32_t k;
    double *centres; /* [k][size] */
    double *nearest; /* [count] squared distance to the own centre */
    int64_t *counts; /* [k] */
    int32_t *labels;
} means;

/* An index in [0, count) with a chance in proportion to its weight. */
static int64_t draw(const double *weights, int64_t count, spry_random *random)
{
    double total = 0.0;
    double at;

    for (int64_t i = 0; i < count; i++) {
        total += weights[i];
    }
    at = spry_random_f64(random) * total;
    for (int64_t i = 0; i < count; i++) {
        at -= weights[i];
        if (at < 0.0) {
            return i;
        }
    }
    return count - 1;
}

static void set_centre(const means *m, int32_t which, int64_t point)
{
    memcpy(m->centres + which * m->size, m->points + point * m->size,
           (size_t)m->size * sizeof *m->centres);
}

static void draw_centres(const means *m, spry_random *random)
{
    for (int64_t i = 0; i < m->count; i++) {
        m->nearest[i] = 1.0;
    }
    for (int32_t c = 0; c < m->k; c++) {
        set_centre(m, c, draw(m->nearest, m->count, random));
        for (int64_t i = 0; i < m->count; i++) {
            double distance =
                square_distance(m->points + i * m->size, m->centres + c * m->size, m->size);

            m->nearest[i] = c == 0 || distance < m->nearest[i] ? distance : m->nearest[i];
        }
    }
}

/* Every point to its nearest centre. True when some changed. */
static bool assign(const means *m)
{
    bool changed = false;

    for (int64_t i = 0; i < m->count; i++) {
        int32_t best = 0;

        m->nearest[i] = INFINITY;
        for (int32_t c = 0; c < m->k; c++) {
            double distance =
                square_distance(m->points + i * m->size, m->centres + c * m->size, m->size);

            if (distance < m->nearest[i]) {
                m->nearest[i] = distance;
                best = c;
            }
        }
        changed = changed || m->labels[i] != best;
        m->labels[i] = best;
    }
    return changed;
}

static void move_centres(const means *m)
{
    memset(m->centres, 0, (size_t)(m->k * m->size) * sizeof *m->centres);
    memset(m->counts, 0, (size_t)m->k * sizeof *m->counts);
    for (int64_t i = 0; i < m->count; i++) {
        m->counts[m->labels[i]]++;
        for (int64_t s = 0; s < m->size; s++) {
            m->centres[m->labels[i] * m->size + s] += m->points[i * m->size + s];
        }
    }
    for (int32_t c = 0; c < m->k; c++) {
        int64_t farthest = 0;

        for (int64_t s = 0; s < m->size && m->counts[c] > 0; s++) {
            m->centres[c * m->size + s] /= (double)m->counts[c];
        }
        /* An empty cluster begins anew with the point that fits worst. */
        for (int64_t i = 0; i < m->count && m->counts[c] == 0; i++) {
            farthest = m->nearest[i] > m->nearest[farthest] ? i : farthest;
        }
        if (m->counts[c] == 0) {
            set_centre(m, c, farthest);
            m->nearest[farthest] = 0.0;
        }
    }
}

static double run_once(const means *m, spry_random *random)
{
    double inertia = 0.0;

    draw_centres(m, random);
    for (int64_t i = 0; i < m->count; i++) {
        m->labels[i] = -1;
    }
    for (int round = 0; round < ROUNDS && assign(m); round++) {
        move_centres(m);
    }
    for (int64_t i = 0; i < m->count; i++) {
        inertia += m->nearest[i];
    }
    return inertia;
}

static spry_status run_starts(const double *points, int64_t count, int64_t size, int32_t k,
                              int starts, spry_random *random, arena *memory, int32_t *labels,
                              double *inertia, spry_error *error)
{
    means m = {.points = points, .count = count, .size = size, .k = k};

    m.centres = arena_array(memory, (size_t)(k * size) + 1, sizeof *m.centres);
    m.nearest = arena_array(memory, (size_t)count, sizeof *m.nearest);
    m.counts = arena_array(memory, (size_t)k, sizeof *m.counts);
    m.labels = arena_array(memory, (size_t)count, sizeof *m.labels);
    if (m.centres == NULL || m.nearest == NULL || m.counts == NULL || m.labels == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *m.nearest);
    }
    *inertia = INFINITY;
    for (int i = 0; i < starts; i++) {
        double own = run_once(&m, random);

        if (own < *inertia) {
            *inertia = own;
            memcpy(labels, m.labels, (size_t)count * sizeof *labels);
        }
    }
    return SPRY_OK;
}

spry_status cluster_means(const double *points, int64_t count, int64_t size, int32_t k,
                          spry_random *random, arena *memory, int32_t *labels, double *inertia,
                          spry_error *error)
{
    return run_starts(points, count, size, k, STARTS, random, memory, labels, inertia, error);
}

/* ---- how good ---- */

static double silhouette_of(const double *points, int64_t count, int64_t size,
                            const int32_t *labels, int32_t k, int64_t point)
{
    double sums[MOST_TRIES] = {0};
    int64_t counts[MOST_TRIES] = {0};
    int32_t own = labels[point];
    double other = INFINITY;
    double inner;

    for (int64_t i = 0; i < count; i++) {
        sums[labels[i]] += sqrt(square_distance(points + point * size, points + i * size, size));
        counts[labels[i]]++;
    }
    if (counts[own] < 2) {
        return 0.0;
    }
    inner = sums[own] / (double)(counts[own] - 1);
    for (int32_t c = 0; c < k; c++) {
        if (c != own && counts[c] > 0) {
            other = fmin(other, sums[c] / (double)counts[c]);
        }
    }
    return isfinite(other) && fmax(inner, other) > 0.0 ? (other - inner) / fmax(inner, other) : 0.0;
}

double cluster_silhouette(const double *points, int64_t count, int64_t size, const int32_t *labels,
                          int32_t k)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count && k <= MOST_TRIES; i++) {
        sum += silhouette_of(points, count, size, labels, k, i);
    }
    return sum / (double)count;
}

static double pairs(double n)
{
    return 0.5 * n * (n - 1.0);
}

double cluster_agreement(const int32_t *a, const int32_t *b, int64_t count, int32_t most)
{
    double both = 0.0;
    double of_a = 0.0;
    double of_b = 0.0;
    double by_chance;

    for (int32_t i = 0; i < most; i++) {
        double in_a = 0.0;
        double in_b = 0.0;

        for (int32_t j = 0; j < most; j++) {
            double shared = 0.0;

            for (int64_t n = 0; n < count; n++) {
                shared += a[n] == i && b[n] == j;
            }
            both += pairs(shared);
        }
        for (int64_t n = 0; n < count; n++) {
            in_a += a[n] == i;
            in_b += b[n] == i;
        }
        of_a += pairs(in_a);
        of_b += pairs(in_b);
    }
    by_chance = count > 1 ? of_a * of_b / pairs((double)count) : 0.0;
    /* All in one cluster, or each alone, on both sides: the same partition. */
    return 0.5 * (of_a + of_b) == by_chance
               ? 1.0
               : (both - by_chance) / (0.5 * (of_a + of_b) - by_chance);
}

/* ---- average linkage ---- */

spry_status cluster_linkage(double *distances, int64_t count, int32_t k, arena *memory,
                            int32_t *labels, spry_error *error)
{
    int64_t *sizes = arena_array(memory, (size_t)count, sizeof *sizes);
    int32_t next = 0;

    if (sizes == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *sizes);
    }
    for (int64_t i = 0; i < count; i++) {
        labels[i] = (int32_t)i;
        sizes[i] = 1;
    }
    for (int64_t left = count; left > k; left--) {
        int64_t best[2] = {-1, -1};

        for (int64_t i = 0; i < count; i++) {
            for (int64_t j = i + 1; j < count && sizes[i] > 0; j++) {
                if (sizes[j] > 0 && (best[0] < 0 || distances[i * count + j] <
                                                        distances[best[0] * count + best[1]])) {
                    best[0] = i;
                    best[1] = j;
                }
            }
        }
        int64_t a = best[0];
        int64_t b = best[1];
        for (int64_t i = 0; i < count; i++) {
            double own = (double)sizes[a] * distances[a * count + i];
            double merged = (double)sizes[b] * distances[b * count + i];

            distances[a * count + i] = (own + merged) / (double)(sizes[a] + sizes[b]);
            distances[i * count + a] = distances[a * count + i];
            labels[i] = labels[i] == (int32_t)b ? (int32_t)a : labels[i];
        }
        sizes[a] += sizes[b];
        sizes[b] = 0;
    }
    /* Labels from 0 on, in the order of the first points. */
    for (int64_t i = 0; i < count; i++) {
        if (labels[i] == (int32_t)i) {
            for (int64_t j = i; j < count; j++) {
                labels[j] = labels[j] == (int32_t)i ? -1 - next : labels[j];
            }
            next++;
        }
    }
    for (int64_t i = 0; i < count; i++) {
        labels[i] = -1 - labels[i];
    }
    return SPRY_OK;
}

/* ---- how many ---- */

typedef struct choosing {
    const double *points;
    int64_t count, size;
    uint64_t seed;
    arena memory; /* of one call */
    int32_t *labels;
} choosing;

static spry_status try_one(choosing *x, const double *points, int32_t k, int starts,
                           uint64_t stream, cluster_try *tried, spry_error *error)
{
    spry_random random = spry_random_stream(x->seed, stream);
    spry_status status = run_starts(points, x->count, x->size, k, starts, &random, &x->memory,
                                    x->labels, &tried->inertia, error);

    arena_reset(&x->memory);
    tried->k = k;
    tried->silhouette =
        status == SPRY_OK ? cluster_silhouette(points, x->count, x->size, x->labels, k) : 0.0;
    return status;
}

/* Each column in another order: what is left of structure is chance. */
static void permute(const choosing *x, uint64_t copy, double *to)
{
    enum { STREAM = 1000 };
    spry_random random = spry_random_stream(x->seed, STREAM + copy);

    memcpy(to, x->points, (size_t)(x->count * x->size) * sizeof *to);
    for (int64_t c = 0; c < x->size; c++) {
        for (int64_t i = x->count - 1; i > 0; i--) {
            int64_t j = (int64_t)spry_random_below(&random, (uint64_t)i + 1);
            double held = to[i * x->size + c];

            to[i * x->size + c] = to[j * x->size + c];
            to[j * x->size + c] = held;
        }
    }
}

static spry_status measure_chance(choosing *x, int32_t k, double *copy, cluster_choice *choice,
                                  spry_error *error)
{
    enum { STREAM = 2000 };
    double sum = 0.0;
    double square = 0.0;
    spry_status status = SPRY_OK;

    for (int i = 0; status == SPRY_OK && i < NULL_COPIES; i++) {
        cluster_try tried;

        permute(x, (uint64_t)i, copy);
        status = try_one(x, copy, k, NULL_STARTS, STREAM + (uint64_t)i, &tried, error);
        sum += tried.silhouette;
        square += tried.silhouette * tried.silhouette;
    }
    choice->null_mean = sum / NULL_COPIES;
    choice->null_deviation =
        sqrt(fmax(square / NULL_COPIES - choice->null_mean * choice->null_mean, 0.0));
    return status;
}

static spry_status choose(choosing *x, int32_t most, int32_t wanted, double *copy, int32_t *labels,
                          cluster_choice *choice, spry_error *error)
{
    enum { DEVIATIONS = 3 };
    int32_t first = wanted > 0 ? wanted : 2;
    int32_t last = wanted > 0 ? wanted : most;
    spry_status status = SPRY_OK;

    choice->k = 1;
    choice->silhouette = -INFINITY;
    for (int32_t k = first; status == SPRY_OK && k <= last; k++) {
        cluster_try *tried = &choice->tries[choice->try_count++];

        status = try_one(x, x->points, k, STARTS, (uint64_t)k, tried, error);
        if (status == SPRY_OK && tried->silhouette > choice->silhouette + 1e-12) {
            choice->silhouette = tried->silhouette;
            choice->k = k;
            memcpy(labels, x->labels, (size_t)x->count * sizeof *labels);
        }
    }
    if (status == SPRY_OK && choice->k > 1) {
        status = measure_chance(x, choice->k, copy, choice, error);
    }
    if (wanted == 0 &&
        choice->silhouette <= choice->null_mean + DEVIATIONS * choice->null_deviation) {
        choice->k = 1;
    }
    return status;
}

spry_status cluster_choose(const double *points, int64_t count, int64_t size, int32_t most,
                           int32_t wanted, uint64_t seed, arena *memory, int32_t *labels,
                           cluster_choice *choice, spry_error *error)
{
    choosing x = {.points = points, .count = count, .size = size, .seed = seed};
    double *copy = arena_array(memory, (size_t)(count * size) + 1, sizeof *copy);
    spry_status status = SPRY_OK;

    *choice = (cluster_choice){.k = 1};
    memset(labels, 0, (size_t)count * sizeof *labels);
    x.labels = arena_array(memory, (size_t)count, sizeof *x.labels);
    if (copy == NULL || x.labels == NULL) {
        return alloc_failed(error, (size_t)(count * size) * sizeof *copy);
    }
    most = most < MOST_TRIES ? most : MOST_TRIES;
    most = (int64_t)most < count ? most : (int32_t)count - 1;
    wanted = (int64_t)wanted < count ? wanted : (int32_t)count;
    arena_init(&x.memory, &memory->allocator, SIZE_MAX);
    if (size > 0 && wanted != 1) {
        status = choose(&x, most, wanted, copy, labels, choice, error);
    }
    arena_fini(&x.memory);
    if (choice->k == 1) {
        memset(labels, 0, (size_t)count * sizeof *labels);
        choice->silhouette = isfinite(choice->silhouette) ? choice->silhouette : 0.0;
    }
    return status;
}
