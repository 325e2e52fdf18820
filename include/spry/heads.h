/* What the attention heads of a model look at: features of each head, gathered while the model runs
 * over a text, clusters of heads that look at the same kind of thing, and names for these.
 *
 *     spry_heads_options options = spry_heads_options_default();
 *     spry_heads *heads = NULL;
 *     const spry_head *list = NULL;
 *     spry_status status =
 *         spry_heads_inspect(model, tokenizer, text, size, &options, &heads, &error);
 *     int32_t count = spry_heads_list(heads, &list);
 *     ... list[i].layer, list[i].head, list[i].mean[SPRY_HEAD_DISTANCE] ...
 *     spry_heads_destroy(heads);
 *
 * Maps of attention are never held: memory grows with the length of the sequences. */
#ifndef SPRY_HEADS_H
#define SPRY_HEADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/model.h"
#include "spry/progress.h"
#include "spry/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Features are in [0, 1]. Distances are divided by the longest one there can be, in causal models
 * by the longest that the query has. */
typedef enum spry_head_feature {
    SPRY_HEAD_DISTANCE = 0,    /* mean distance to what is looked at; about 1/3 for no preference */
    SPRY_HEAD_DISTANCE_SPREAD, /* standard deviation of that over queries */
    SPRY_HEAD_WIDTH,     /* standard deviation of the distance within a query's weights, mean */
    SPRY_HEAD_DIRECTION, /* below 1/2 backward, above forward */
    SPRY_HEAD_ENTROPY,   /* of a query's weights, by that of uniform ones */
    SPRY_HEAD_COLUMNS,   /* concentration on few keys, the same for all queries */
    SPRY_HEAD_BAND_0,    /* weight of keys at distance 0, and up to 1, 2, 4 */
    SPRY_HEAD_BAND_1,
    SPRY_HEAD_BAND_2,
    SPRY_HEAD_BAND_4,
    SPRY_HEAD_PREVIOUS, /* weight of the key before */
    SPRY_HEAD_NEXT,
    SPRY_HEAD_FIRST,       /* of the first token */
    SPRY_HEAD_SPECIAL,     /* of the tokens that the tokenizer added */
    SPRY_HEAD_PUNCTUATION, /* of punctuation */
    SPRY_HEAD_BLOCK,       /* of the query's own segment, beyond the segment's share; 0 without */
    SPRY_HEAD_CONSISTENCY, /* 1: weights follow from the distance alone; 0: from the content */
    SPRY_HEAD_REACH,       /* mean of the distance in tokens, at most 64, by 64 */
    SPRY_HEAD_CHANGE,      /* standard deviation over sequences of distance and columns, mean */
    SPRY_HEAD_FEATURES
} spry_head_feature;

/* A short name ("distance"), and what it says in a line; NULL beyond the last. */
SPRY_API const char *spry_head_feature_name(int feature);
SPRY_API const char *spry_head_feature_help(int feature);

enum {
    SPRY_HEADS_MOST_CLUSTERS = 10,
    SPRY_HEADS_MAP = 32,    /* mean maps are SPRY_HEADS_MAP x SPRY_HEADS_MAP */
    SPRY_HEADS_PROFILE = 65 /* mean weights of offsets -32 to 32 */
};

typedef struct spry_head {
    int32_t layer, head, cluster;
    const char *pattern;             /* what the head alone would be called */
    double mean[SPRY_HEAD_FEATURES]; /* over sequences */
    double deviation[SPRY_HEAD_FEATURES];
    const float *map;      /* [SPRY_HEADS_MAP][SPRY_HEADS_MAP]: mean weight, rows are queries; sums
                             to 1 per row that was seen */
    const double *profile; /* [SPRY_HEADS_PROFILE] */
} spry_head;

typedef struct spry_heads_cluster {
    const char *pattern; /* named by fixed rules from the centre */
    bool is_mixed;       /* more than 30 % of its heads would be called otherwise */
    int32_t count;
    int32_t medoid; /* index of the head that is nearest to the others */
    double centre[SPRY_HEAD_FEATURES];
    /* What happens without its heads (options.ablate), else NaN: how far the outputs move, by their
     * length, when the heads give nothing; look everywhere alike; look at nothing but the pattern;
     * and the mean and deviation over random sets of as many heads of the same layers that give
     * nothing. */
    double removed, uniform, substituted, random_mean, random_deviation;
    /* Loss of the next token, for causal models with logits; NaN for others. */
    double loss_removed, loss_uniform, loss_substituted;
    /* Outputs when its heads see no further than 1, 2, 4, ... 64 tokens. */
    double limited[7];
} spry_heads_cluster;

/* One number of clusters that was tried. */
typedef struct spry_heads_choice {
    int32_t clusters;
    double inertia, silhouette;
} spry_heads_choice;

typedef struct spry_heads_totals {
    int32_t layers, sequences, clusters;
    int64_t tokens; /* of a sequence */
    bool is_causal;
    bool has_structure; /* else there is one cluster */
    double silhouette;
    double null_mean, null_deviation; /* of silhouettes when columns are permuted */
    /* Mean adjusted Rand index between resamplings of sequences; NaN: there is one. */
    double stability;
    double agreement; /* the same with average linkage on divergences; NaN: not computed */
    double loss;      /* of the next token, unchanged; NaN as above */
    double run_seconds, seconds;
} spry_heads_totals;

typedef struct spry_heads_options {
    size_t struct_size;     /* sizeof(spry_heads_options): lets the struct grow */
    int64_t window;         /* tokens of a sequence, 8 to 2^20; 0: 128, or what the model fixes */
    int64_t limit;          /* most sequences, 1 to 10000; 0: 64 */
    int32_t clusters;       /* 0: chosen; 1 to SPRY_HEADS_MOST_CLUSTERS */
    bool keep_special_rows; /* queries of added tokens count too */
    bool ablate;            /* say what clusters do by taking their heads away */
    uint64_t seed;
    int threads;
    const spry_progress *progress;
    const spry_allocator *allocator;
} spry_heads_options;

SPRY_API spry_heads_options spry_heads_options_default(void);

typedef struct spry_heads spry_heads;

/* Runs the model over `size` bytes of text in sequences of options->window tokens. Of its outputs
 * only the first is kept, so that maps which a model shows are not in the way.
 * Fails with SPRY_USAGE (options; a text of fewer than 8 tokens; not a model of tokens),
 * SPRY_UNSUPPORTED (no attention was found), SPRY_BAD_INPUT (attention that is no number),
 * SPRY_LIMIT, SPRY_CANCELLED, and as sessions do. */
SPRY_API SPRY_MUST_USE spry_status spry_heads_inspect(const spry_model *source,
                                                      const spry_tokenizer *tokenizer,
                                                      const char *text, size_t size,
                                                      const spry_heads_options *options,
                                                      spry_heads **heads, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_heads_destroy(spry_heads *heads);

/* Lists live as long as `heads`; heads are ordered by layer and number. */
SPRY_API int32_t spry_heads_list(const spry_heads *heads, const spry_head **list);
SPRY_API int32_t spry_heads_clusters(const spry_heads *heads, const spry_heads_cluster **list);
SPRY_API int32_t spry_heads_choices(const spry_heads *heads, const spry_heads_choice **list);
SPRY_API spry_heads_totals spry_heads_describe(const spry_heads *heads);

/* ---- heads that look at few keys ---- */

typedef struct spry_head_policy_options {
    size_t struct_size; /* sizeof(spry_head_policy_options) */
    int64_t window;     /* tokens of a sequence; windows and sinks hold for such lengths */
    int64_t limit;      /* most sequences; half of them choose, the others check */
    double epsilon;     /* share of a head's weights that it may lose, above 0, below 1 */
    double cosine;      /* least cosine between a layer's attention and that of the source */
    uint64_t seed;
    int threads;
    const spry_progress *progress;
    const spry_allocator *allocator;
} spry_head_policy_options;

/* Sequences of 256 tokens, 16 of them; epsilon 0.05; cosine 0.99. */
SPRY_API spry_head_policy_options spry_head_policy_options_default(void);

enum { SPRY_HEAD_POLICY_SINKS = 4 };

/* What one head looks at: keys from `before` in front of a query to `after` behind it, and the
 * sinks, which all queries look at. */
typedef struct spry_head_policy {
    int32_t layer, head;
    bool is_dense; /* all keys */
    int64_t before, after;
    int32_t sink_count;
    int64_t sinks[SPRY_HEAD_POLICY_SINKS];
    double kept;   /* share of the weights, where it was chosen */
    double cosine; /* of its results with those of all keys, on other sequences */
} spry_head_policy;

typedef struct spry_head_policy_totals {
    int32_t layers, heads, dense;
    int64_t tokens;
    double share;             /* of the products of queries and keys that are left */
    double cosine;            /* the least of a layer's attention, alone */
    double output_cosine;     /* of the model's first output, all layers together */
    double loss, loss_before; /* of the next token, for causal models with logits; else NaN */
} spry_head_policy_totals;

typedef struct spry_head_policies spry_head_policies;

/* Chooses for each head the fewest keys that keep 1 - epsilon of its weights over half of the
 * text's sequences: a window, and up to SPRY_HEAD_POLICY_SINKS keys of high weight. A layer whose
 * results move by more than options->cosine allows on the other half gets back heads that look at
 * everything, the worst first. The model that comes back computes the rest of the scores no more;
 * in other programs it masks them. It shares memory with `source`.
 * Fails as spry_heads_inspect, and with SPRY_UNSUPPORTED (operator set below 13; attention whose
 * softmax is not found). */
SPRY_API SPRY_MUST_USE spry_status
spry_heads_restrict(const spry_model *source, const spry_tokenizer *tokenizer, const char *text,
                    size_t size, const spry_head_policy_options *options, spry_model **restricted,
                    spry_head_policies **policies, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_head_policies_destroy(spry_head_policies *policies);
SPRY_API int32_t spry_head_policies_list(const spry_head_policies *policies,
                                         const spry_head_policy **list);
SPRY_API spry_head_policy_totals spry_head_policies_describe(const spry_head_policies *policies);

#ifdef __cplusplus
}
#endif

#endif
