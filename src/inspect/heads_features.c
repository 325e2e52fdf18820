/* Features of one head from its survey. */
#include "inspect/heads_features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LN_2 = 0.69314718055994530942;

enum { MOST_REACH = 64 };

static const struct {
    const char *name, *help;
} known[SPRY_HEAD_FEATURES + 1] = {
    {"distance", "mean distance to what is looked at; 0.33 without preference"},
    {"distance_spread", "how that differs between queries"},
    {"width", "how far apart a query's keys lie"},
    {"direction", "below 0.5 backward, above forward"},
    {"entropy", "1: all keys alike, 0: one key"},
    {"columns", "concentration on the same few keys"},
    {"band_0", "weight of the query's own position"},
    {"band_1", "weight up to distance 1"},
    {"band_2", "weight up to distance 2"},
    {"band_4", "weight up to distance 4"},
    {"previous", "weight of the token before"},
    {"next", "weight of the token behind"},
    {"first", "weight of the first token"},
    {"special", "weight of tokens that the tokenizer adds"},
    {"punctuation", "weight of punctuation"},
    {"block", "weight of the own segment beyond its share"},
    {"consistency", "1: follows from distance alone, 0: from content"},
    {"reach", "mean distance in tokens, up to 64, by 64"},
    {"change", "how distance and columns differ between sequences"},
    {NULL, NULL},
};

const char *spry_head_feature_name(int feature)
{
    return feature >= 0 && feature < SPRY_HEAD_FEATURES ? known[feature].name : NULL;
}

const char *spry_head_feature_help(int feature)
{
    return feature >= 0 && feature < SPRY_HEAD_FEATURES ? known[feature].help : NULL;
}

heads_view heads_view_of(const attention_problem *p, const attention_survey *s, int64_t head)
{
    return (heads_view){.tokens = p->keys,
                        .is_causal = p->is_causal,
                        .classes = s->classes,
                        .class_count = s->class_count,
                        .distance = s->distance + head * p->rows,
                        .offset = s->offset + head * p->rows,
                        .variance = s->variance + head * p->rows,
                        .entropy = s->entropy + head * p->rows,
                        .columns = s->columns + head * s->class_count * p->keys,
                        .profile = s->profile + head * (p->rows + p->keys - 1),
                        .samples = s->samples + head * s->sample_count * p->keys,
                        .rows = p->rows,
                        .keys = p->keys,
                        .sample_stride = s->sample_stride,
                        .sample_count = s->sample_count};
}

static bool counts(const heads_view *v, int64_t row)
{
    return row < v->tokens && (v->classes == NULL || v->classes[row] >= 0);
}

/* ---- by rows ---- */

/* The longest distance that a query has. */
static double longest(const heads_view *v, int64_t row)
{
    return (double)(v->is_causal ? row : v->tokens - 1);
}

static int64_t add_rows(const heads_view *v, double *f)
{
    double sum = 0.0;
    double square = 0.0;
    int64_t count = 0;

    for (int64_t i = 0; i < v->tokens; i++) {
        double unit = longest(v, i);
        double distance;

        if (!counts(v, i) || unit < 1.0) {
            continue;
        }
        distance = v->distance[i] / unit;
        sum += distance;
        square += distance * distance;
        f[SPRY_HEAD_WIDTH] += sqrt(fmax(v->variance[i], 0.0)) / unit;
        f[SPRY_HEAD_DIRECTION] += v->offset[i] / unit;
        f[SPRY_HEAD_ENTROPY] += fmax(v->entropy[i], 0.0) / log(unit + 1.0);
        f[SPRY_HEAD_REACH] += fmin(v->distance[i], (double)MOST_REACH) / (double)MOST_REACH;
        count++;
    }
    if (count > 0) {
        double n = (double)count;

        f[SPRY_HEAD_DISTANCE] = sum / n;
        f[SPRY_HEAD_DISTANCE_SPREAD] = sqrt(fmax(square / n - sum / n * (sum / n), 0.0));
        f[SPRY_HEAD_WIDTH] /= n;
        f[SPRY_HEAD_DIRECTION] = 0.5 * (1.0 + f[SPRY_HEAD_DIRECTION] / n);
        f[SPRY_HEAD_ENTROPY] /= n;
        f[SPRY_HEAD_REACH] /= n;
    }
    return count;
}

/* ---- by keys ---- */

static void add_columns(const heads_view *v, double n, double *f)
{
    double total = 0.0;
    double entropy = 0.0;

    for (int64_t j = 0; j < v->tokens; j++) {
        double column = 0.0;

        for (int c = 0; c < v->class_count; c++) {
            column += v->columns[c * v->keys + j] / n;
        }
        total += column;
        entropy -= column > 0.0 ? column * log(column) : 0.0;
        f[SPRY_HEAD_FIRST] += j == 0 ? column : 0.0;
        f[SPRY_HEAD_SPECIAL] += v->special != NULL && v->special[j] ? column : 0.0;
        f[SPRY_HEAD_PUNCTUATION] += v->punctuation != NULL && v->punctuation[j] ? column : 0.0;
    }
    /* Of columns that sum to 1. */
    entropy = total > 0.0 ? entropy / total + log(total) : 0.0;
    f[SPRY_HEAD_COLUMNS] = fmax(1.0 - entropy / log((double)v->tokens), 0.0);
}

static void add_blocks(const heads_view *v, double n, double *f)
{
    double own = 0.0;
    double share = 0.0;

    if (v->class_count < 2 || v->segments == NULL) {
        return;
    }
    for (int c = 0; c < v->class_count; c++) {
        int64_t keys = 0;
        int64_t rows = 0;

        for (int64_t j = 0; j < v->tokens; j++) {
            bool is_own = v->segments[j] == c;

            own += is_own ? v->columns[c * v->keys + j] / n : 0.0;
            keys += is_own;
            rows += v->classes != NULL && v->classes[j] == c;
        }
        share += (double)rows / n * ((double)keys / (double)v->tokens);
    }
    f[SPRY_HEAD_BLOCK] = share < 1.0 ? fmin(fmax((own - share) / (1.0 - share), 0.0), 1.0) : 0.0;
}

/* ---- by offset ---- */

static double at_offset(const heads_view *v, int64_t offset)
{
    return llabs((long long)offset) < v->tokens ? v->profile[offset + v->rows - 1] : 0.0;
}

static double band(const heads_view *v, int64_t reach)
{
    double sum = 0.0;

    for (int64_t o = -reach; o <= reach; o++) {
        sum += at_offset(v, o);
    }
    return sum;
}

static void add_bands(const heads_view *v, double n, double *f)
{
    f[SPRY_HEAD_BAND_0] = band(v, 0) / n;
    f[SPRY_HEAD_BAND_1] = band(v, 1) / n;
    f[SPRY_HEAD_BAND_2] = band(v, 2) / n;
    f[SPRY_HEAD_BAND_4] = band(v, 4) / n;
    f[SPRY_HEAD_PREVIOUS] = at_offset(v, -1) / n;
    f[SPRY_HEAD_NEXT] = at_offset(v, 1) / n;
}

/* Mean weights by offset, over the queries that count and have such a key. */
static void mean_offsets(const heads_view *v, double *offsets)
{
    int64_t t = v->tokens;
    int64_t with = 0; /* queries i with 0 <= i + o < T, as o grows */

    /* Queries [max(0, -o), min(T, T - o)): each step of o adds one at the front, or loses one. */
    for (int64_t o = 1 - t; o < t; o++) {
        with += o <= 0 ? counts(v, -o) : 0;
        with -= o > 0 ? counts(v, t - o) : 0;
        offsets[o + t - 1] = with > 0 ? at_offset(v, o) / (double)with : 0.0;
    }
}

/* ---- consistency ---- */

double heads_divergence(const double *p, const double *q, int64_t count)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        double m = 0.5 * (p[i] + q[i]);

        sum += p[i] > 0.0 ? 0.5 * p[i] * log(p[i] / m) : 0.0;
        sum += q[i] > 0.0 ? 0.5 * q[i] * log(q[i] / m) : 0.0;
    }
    return fmax(sum, 0.0);
}

/* Of one query with what the mean by offset says of it. */
static double divergence_of(const heads_view *v, int64_t row, const float *weights,
                            const double *offsets)
{
    int64_t end = v->is_causal ? row + 1 : v->tokens;
    const double *mean = offsets + v->tokens - 1 - row;
    double total = 0.0;
    double sum = 0.0;

    for (int64_t j = 0; j < end; j++) {
        total += mean[j];
    }
    for (int64_t j = 0; j < end && total > 0.0; j++) {
        double p = (double)weights[j];
        double q = mean[j] / total;
        double m = 0.5 * (p + q);

        sum += (p > 0.0 ? 0.5 * p * log(p / m) : 0.0) + (q > 0.0 ? 0.5 * q * log(q / m) : 0.0);
    }
    return sum;
}

static void add_consistency(const heads_view *v, const double *offsets, double *f)
{
    double sum = 0.0;
    int64_t count = 0;

    for (int64_t s = 0; s < v->sample_count; s++) {
        int64_t row = s * v->sample_stride;

        if (counts(v, row) && longest(v, row) >= 1.0) {
            sum += divergence_of(v, row, v->samples + s * v->keys, offsets);
            count++;
        }
    }
    f[SPRY_HEAD_CONSISTENCY] =
        count > 0 ? fmin(fmax(1.0 - sum / (double)count / LN_2, 0.0), 1.0) : 0.0;
}

bool heads_features(const heads_view *v, double *features, double *offsets)
{
    int64_t count = 0;

    memset(features, 0, SPRY_HEAD_FEATURES * sizeof *features);
    for (int64_t i = 0; i < v->tokens; i++) {
        count += counts(v, i);
    }
    if (count < 2 || add_rows(v, features) < 1) {
        return false;
    }
    add_columns(v, (double)count, features);
    add_blocks(v, (double)count, features);
    add_bands(v, (double)count, features);
    mean_offsets(v, offsets);
    add_consistency(v, offsets, features);
    return true;
}
