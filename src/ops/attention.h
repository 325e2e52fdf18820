/* The reference computation that all attention operators share: one query at a time, in f64. */
#ifndef OPS_ATTENTION_H
#define OPS_ATTENTION_H

#include "ops/op.h"

/* What the fourth output shows. */
typedef enum attention_score_stage {
    ATTENTION_SCORES_PLAIN,
    ATTENTION_SCORES_CAPPED,
    ATTENTION_SCORES_MASKED,
    ATTENTION_SCORES_SOFTMAX,
    ATTENTION_SCORES_NONE
} attention_score_stage;

/* Heads, positions and size per head of a [batch, heads, positions, size] or
 * [batch, positions, heads * size] operand; -1 where unknown. */
typedef struct attention_head_sizes {
    int64_t heads, positions, size;
} attention_head_sizes;

/* Reads them; `heads` counts for rank 3 alone. False when the operand does not divide. */
bool attention_read_heads(int rank, const int64_t *dims, int64_t heads, attention_head_sizes *h);

/* One call, in f64. */
typedef struct attention {
    int64_t batch, q_heads, kv_heads;
    int64_t rows;         /* queries */
    int64_t past, total;  /* keys from the cache, keys in all */
    int64_t size, v_size; /* per head */
    const double *q;      /* [batch][q_heads][rows][size] */
    const double *k;      /* [batch][kv_heads][total][size] */
    const double *v;      /* [batch][kv_heads][total][v_size] */
    double scale, softcap;
    bool causal, has_past;
    const tensor *mask;    /* NULL: none */
    const tensor *lengths; /* valid keys per image; NULL: all */
    attention_score_stage stage;
    tensor *y, *scores;
    double *room; /* total + v_size per worker */
} attention;

/* The heads of `t`, after those in the cache `before` (NULL: none), as f64.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status attention_load(op_call *call, const tensor *t, const tensor *before,
                                         const attention_head_sizes *h, int64_t past,
                                         const double **to);

/* Fills the outputs. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status attention_compute(op_call *call, attention *a);

#endif
