/* Attention to the keys that matter: cheap integer scores choose them in rounds of more and more
 * bits, and only they are read for exact products. Energon's mix-precision multi-round filtering
 * (arXiv 2110.09310): a key survives a round when its score reaches a threshold between the mean
 * and the largest (or the smallest) score of that round; nothing is sorted.
 *
 * Survivors are the same on every instruction set: scores and sums are integers. Attention's floats
 * differ in their last bits. */
#ifndef KERNELS_FILTER_FILTER_H
#define KERNELS_FILTER_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/attention/attention_f32.h"
#include "kernels/filter/filter_keys.h"
#include "kernels/isa.h"

enum {
    FILTER_ROUNDS = 3,      /* at most: keys of 2, 4 and 8 bits */
    FILTER_LEAST_KEYS = 16, /* fewer are all kept */
    FILTER_BLOCK = 2048     /* keys per call of a kernel */
};

/* What a round knows of its scores. */
typedef struct filter_stats {
    int32_t most, least;
    int64_t sum, count;
} filter_stats;

/* What was done, counted where it is done. */
typedef struct filter_work {
    int64_t keys;                   /* that queries could see */
    int64_t kept[FILTER_ROUNDS];    /* survivors of each round */
    int64_t low_products;           /* multiply-adds of 4 by 2 bits */
    int64_t code_bytes;             /* of planes */
    int64_t exact_products;         /* multiply-adds of floats: keys and values */
    int64_t key_bytes, value_bytes; /* of rows */
} filter_work;

/* Adds what was done elsewhere. */
void filter_work_add(filter_work *to, const filter_work *from);

/* How strict: per round, alpha in (-1, 1); 0 keeps what reaches the mean, towards 1 only the
 * largest, towards -1 everything. */
typedef struct filter_rule {
    int rounds; /* 0 (keep all) to FILTER_ROUNDS; 3 needs all planes */
    double alpha[FILTER_ROUNDS];
} filter_rule;

/* Scores of at most FILTER_BLOCK keys against one plane: s[i] = (again ? 4 s[i] : 0) + bias +
 * sum of q[t] * code[t]. */
typedef struct filter_scoring {
    const uint8_t *plane;
    int64_t row_bytes;
    const int8_t *q;      /* [4 * row_bytes], zero beyond the size */
    const int32_t *index; /* keys; NULL: first, first + 1, ... */
    int32_t first;
    int64_t n;
    int32_t bias;
    bool again;
    int32_t *s;
} filter_scoring;

/* A variant. */
typedef struct filter_kernel {
    const char *name;
    void (*score)(const filter_scoring *scoring, filter_stats *stats); /* adds to `stats` */
    /* Moves the scores that reach `least`, with their keys, to `to_s` and `to_index`; returns how
     * many. `index` may be NULL as above; targets may be the sources or lie before them. */
    int64_t (*select)(const int32_t *s, const int32_t *index, int32_t first, int64_t n,
                      int32_t least, int32_t *to_s, int32_t *to_index);
    /* out = softmax(q K^T + bias) V over the keys `index` (NULL: the first n), n >= 1; q is scaled,
     * in units of log 2, and has filter_pitch elements, zeros beyond the size, as has out. bias[i],
     * in the same units, is that of key index[i]; NULL: zeros. */
    void (*attend)(const filter_keys *keys, const float *q, const int32_t *index, const float *bias,
                   int64_t n, float *out);
} filter_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant filter_variants[];
extern const int filter_variant_count;

/* The best variant that may run now. */
const filter_kernel *filter_select(void);

/* The smallest score that survives: never above the largest, so that one always does. count >= 1 */
int32_t filter_threshold(const filter_stats *stats, double alpha);

/* The rule can be applied to these keys. */
bool filter_rule_is_valid(const filter_rule *rule, const filter_keys *keys);

/* Codes of a query: q4[4 * filter_row_bytes(size)]. False if it is not finite. */
bool filter_query(const float *q, int64_t size, int8_t *q4);

/* What the rounds start from. */
typedef struct filter_candidates {
    int64_t n;
    bool is_listed; /* `index` holds the keys, ascending; else they are the first n */
    /* [keys], or NULL: of a candidate, the rounds that it survived, plus 1. */
    uint8_t *fate;
} filter_candidates;

/* Survivors of the candidates, ascending, to `index`; returns how many. `index` and `s` (workspace;
 * scores of the last round) have room for n. Adds to `work`. */
int64_t filter_run(const filter_kernel *kernel, const filter_keys *keys, const filter_rule *rule,
                   const int8_t *q4, const filter_candidates *from, int32_t *index, int32_t *s,
                   filter_work *work);

/* A number of the mask below which a key is hidden from a query, and takes no part in its means. */
#define FILTER_HIDDEN (-5000.0f)

/* Queries of one head. */
typedef struct filter_call {
    const filter_keys *keys;
    filter_rule rule;
    const float *q; /* `q_token` floats from row to row */
    int64_t q_token;
    int64_t rows;
    float scale;    /* of scores */
    int64_t limit;  /* keys [0, limit) count: what is beyond is padding */
    bool is_causal; /* query i sees keys [0, i + past] */
    int64_t past;
    /* Of the head: `batch` and `head` do not count. What KEEP and HIDE hide, and what numbers below
     * FILTER_HIDDEN are added to, is hidden; other numbers are added to exact scores alone. Where
     * all is hidden, but not by infinities, scores are as the mask makes them. */
    attention_mask mask;
    float blind; /* result of a query that sees no key */
    float *out;
    int64_t out_token;
    uint8_t *fate; /* [rows][fate_row], or NULL: filter_candidates.fate of queries; 0: hidden */
    int64_t fate_row;
} filter_call;

/* int32 words of workspace per worker. */
int64_t filter_workspace(const filter_keys *keys);

/* Does queries [first, end), each with a list of its own. Returns the first query that is not
 * finite, before which all are done, or `end`. Adds to `work`. */
int64_t filter_attention(const filter_kernel *kernel, const filter_call *call, int64_t first,
                         int64_t end, int32_t *workspace, filter_work *work);

#endif
