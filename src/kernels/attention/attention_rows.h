/* What the loops over attention share: which keys a row sees, and how rows end. */
#ifndef KERNELS_ATTENTION_ATTENTION_ROWS_H
#define KERNELS_ATTENTION_ATTENTION_ROWS_H

#include "kernels/attention/attention_f32.h"

/* A query, and the keys that count for its image. */
typedef struct attention_row {
    int64_t image, head, row, keys;
} attention_row;

/* Keys [0, result) of `keys` are visible to queries in that row. */
int64_t attention_visible(const attention_problem *p, int64_t keys, int64_t row);

/* Masks the scores s[0..n) of keys [key, key + n). */
void attention_mask_row(const attention_kernel *kernel, const attention_problem *p,
                        const attention_row *row, int64_t key, int64_t n, float *s);

/* Results of a strip: o / sum, or what a row that saw no key gets. */
void attention_finish_rows(const attention_kernel *kernel, const attention_problem *p,
                           const attention_rows *state, const float *o, int64_t pitch, int rows,
                           float *const *to);

/* Is every head done alone, by attention_heads_run? */
static inline bool attention_goes_by_heads(const attention_problem *p)
{
    return p->survey != NULL || p->policies != NULL;
}

int64_t attention_heads_workspace(const attention_kernel *kernel, const attention_problem *p);
void attention_heads_run(const attention_kernel *kernel, const attention_problem *p, int64_t number,
                         float *workspace);

#endif
