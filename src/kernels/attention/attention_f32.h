/* Attention over blocks of keys: softmax(scale * Q K^T + mask) V for many heads, without ever
 * holding all scores of a head.
 *
 * Queries are taken in strips of `mr` rows, keys in blocks of ATTENTION_BLOCK. The scores of a
 * strip against a block stay in the first-level cache while they become weights and are multiplied
 * by the values. A row keeps its largest score and its sum of exponentials from block to block;
 * what it has gathered so far is rescaled when the largest score grows (arXiv 1805.02867,
 * 2112.05682, 2205.14135). Memory beyond the operands is a constant plus one slice of queries and
 * of results per worker.
 *
 * What a query's result is depends on its own row and the order of the keys alone, so any split of
 * queries among workers gives the same bits. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_H
#define KERNELS_ATTENTION_ATTENTION_F32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/isa.h"

enum {
    ATTENTION_BLOCK = 384, /* keys per block */
    ATTENTION_PITCH = 400, /* floats from one row of a strip to the next: no power of two, so that
                              the rows do not fall on the same cache lines */
    ATTENTION_MOST_SIZE = ATTENTION_BLOCK, /* elements per head that kernels can do */
    ATTENTION_MOST_MR = 16
};

/* Vectors with `size` adjacent floats each; strides in floats, 0 repeats. So a head of
 * [batch, positions, heads, size] is read where it lies, as well as one of
 * [batch, heads, positions, size]. */
typedef struct attention_operand {
    const float *data;
    int64_t batch, head, token; /* strides */
} attention_operand;

typedef enum attention_mask_kind {
    ATTENTION_NO_MASK,
    ATTENTION_ADD,  /* floats that are added to the scaled scores */
    ATTENTION_KEEP, /* bytes: where they are zero, the score is `fill` */
    ATTENTION_HIDE  /* bytes: where they are not zero, the score is `fill` */
} attention_mask_kind;

/* Strides in elements, 0 repeats; keys are adjacent. */
typedef struct attention_mask {
    attention_mask_kind kind;
    const void *data;
    int64_t batch, head, row;
    float fill; /* -infinity: the key does not count */
} attention_mask;

/* Sees the weights of queries after the results are known; changes nothing. */
typedef struct attention_observer {
    void *context;
    /* The keys [*first, *end) whose weights are wanted for queries [row, row + rows) of a head;
     * comes with all of them. NULL: all. Only these are computed again; queries of one strip see
     * what any of them wants. */
    void (*range)(void *context, int64_t batch, int64_t head, int64_t row, int64_t rows,
                  int64_t *first, int64_t *end);
    /* weights[r * stride + k] of query `row` + r and key `key` + k: what softmax gives over the
     * whole row. A row that sees no key has zeros. Each strip comes once per block of keys; strips
     * of several workers come at the same time. */
    void (*see)(void *context, int64_t batch, int64_t head, int64_t row, int64_t rows, int64_t key,
                int64_t keys, const float *weights, int64_t stride);
} attention_observer;

typedef struct attention_survey attention_survey; /* attention_heads.h */
typedef struct attention_policy attention_policy;

typedef struct attention_problem {
    int64_t batch;
    int64_t heads, kv_heads;  /* kv_heads divides heads: neighbours share keys and values */
    int64_t rows, keys;       /* queries and keys per head */
    int64_t size, value_size; /* 1 to ATTENTION_MOST_SIZE; value_size any from 1 on */
    float scale;
    attention_operand q, k, v;
    float *out; /* strides as those of operands */
    int64_t out_batch, out_head, out_token;
    attention_mask mask;
    const int64_t *lengths; /* [batch] keys that count, 0 to `keys`; NULL: all */
    bool is_causal;         /* query i sees keys [0, i + past] */
    int64_t past;
    float blind;   /* result of a query that sees no key: 0 or NaN, as the operator demands */
    int64_t slice; /* queries (of one key head) per piece of work, from attention_slice */
    const attention_observer *observer; /* NULL: none */
    /* Both need a kernel in f32 and leave the observer out. */
    const attention_survey *survey;   /* what is to be known of each head; NULL: nothing */
    const attention_policy *policies; /* [heads]: the keys that heads look at; NULL: all */
} attention_problem;

/* What a strip of queries remembers: per row. */
typedef struct attention_rows {
    float most[ATTENTION_MOST_MR];   /* largest score so far; -infinity at first */
    float sum[ATTENTION_MOST_MR];    /* of exponentials of score - most */
    float decay[ATTENTION_MOST_MR];  /* what earlier results are multiplied by */
    float energy[ATTENTION_MOST_MR]; /* sum of exponentials times (score - most); surveys only */
} attention_rows;

/* Moments of a strip's weights in one block, row by row: keys are counted from the block's
 * first. */
typedef struct attention_moments {
    float sum[ATTENTION_MOST_MR];        /* of the weights */
    float first[ATTENTION_MOST_MR];      /* of weight * key */
    float sum_before[ATTENTION_MOST_MR]; /* as both above, of the keys before the cut */
    float first_before[ATTENTION_MOST_MR];
    float second[ATTENTION_MOST_MR]; /* of weight * (key - first / sum)^2 */
} attention_moments;

/* A variant: the steps of a strip. Packed operands and weights have the type the variant computes
 * with; scores, sums and results are floats. A strip has `rows` <= mr rows ATTENTION_PITCH floats
 * apart, of which all mr may be read and written. */
typedef struct attention_kernel {
    const char *name;
    int mr;
    int nr; /* columns of a packed panel */
    /* The strip's rows q[r][0..size) * factor: the scale in units of log 2. */
    void (*pack_queries)(const float *const *q, int rows, int64_t size, float factor, float *to);
    /* Panels of nr keys, element by element; panels of nr elements, key by key. */
    void (*pack_keys)(const float *k, int64_t token, int64_t n, int64_t size, float *to);
    void (*pack_values)(const float *v, int64_t token, int64_t n, int64_t size, float *to);
    /* s = q k: scores in units of log 2 */
    void (*scores)(const float *q, const float *k, int rows, int64_t n, int64_t size, float *s);
    void (*add)(float *s, const float *mask, int64_t n); /* one row; in units of e */
    /* Scores to 2^(score - most), with `most`, `sum` and `decay` brought up to date. */
    void (*weigh)(float *s, int rows, int64_t n, attention_rows *state);
    /* o = decay * o + weights V, or o = weights V without a state, over the first n of `packed`
     * keys; rows of o lie `pitch` floats apart. */
    void (*combine)(const float *weights, const float *v, int rows, int64_t n, int64_t packed,
                    int64_t size, const attention_rows *state, float *o, int64_t pitch);
    /* to[r][0..size) = row r of o * factors[r]; rows of o lie `pitch` floats apart. */
    void (*finish)(const float *o, int64_t pitch, int rows, int64_t size, const float *factors,
                   float *const *to);
    /* Scores to 2^(score - most) / sum as floats, for observers. */
    void (*normalise)(float *s, int rows, int64_t n, const attention_rows *state);

    /* For surveys (attention_heads.h); NULL in bf16. Weights are zero around each row: from n on,
     * as far as ATTENTION_MARGIN, and in as many floats before it. */

    /* As weigh, and `energy` too. */
    void (*weigh_energy)(float *s, int rows, int64_t n, attention_rows *state);
    /* The cut of row r is cuts[r], 0 to n. */
    void (*moments)(const float *s, int rows, int64_t n, const int64_t *cuts,
                    attention_moments *to);
    /* columns[j] += sum over rows of factors[r] * weight[r][j], j from 0 to n - 1;
     * profile[j - r] += factors[r] * weight[r][j], which is -(rows - 1) to n - 1. */
    void (*gather)(const float *s, int rows, int64_t n, const float *factors, double *columns,
                   double *profile);
} attention_kernel;

/* The lists that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant attention_f32_variants[];
extern const int attention_f32_variant_count;

/* The best variant that may run now. `bf16`: one whose products round queries, keys, values and
 * weights to bf16 (sums and softmax stay f32); NULL when the machine has none. */
const attention_kernel *attention_select(bool bf16);

/* Queries per piece of work so that `workers` have enough pieces. */
int64_t attention_slice(const attention_kernel *kernel, const attention_problem *p, int workers);

/* Pieces of work, each to be done once in any order. */
int64_t attention_pieces(const attention_problem *p);

/* Floats of workspace per worker. The caller has checked that the sizes of the operands fit. */
int64_t attention_workspace(const attention_kernel *kernel, const attention_problem *p);

/* Does piece `piece`; `workspace` is aligned to 64 bytes. */
void attention_run(const attention_kernel *kernel, const attention_problem *p, int64_t piece,
                   float *workspace);

#endif
