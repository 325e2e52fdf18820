/* Cutting blocks out of strips. */
#include "kernels/attention/block_features.h"

#include <string.h>

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The keys of all blocks that the queries belong to. */
static void range(void *context, int64_t batch, int64_t head, int64_t row, int64_t rows,
                  int64_t *first, int64_t *end)
{
    const block_features *f = context;

    (void)batch;
    (void)head;
    *first = row / f->block * f->block;
    *end = ((row + rows - 1) / f->block + 1) * f->block;
}

static void see(void *context, int64_t batch, int64_t head, int64_t row, int64_t rows, int64_t key,
                int64_t keys, const float *weights, int64_t stride)
{
    const block_features *f = context;

    (void)batch;
    for (int64_t r = row; r < row + rows; r++) {
        int64_t start = r / f->block * f->block;
        int64_t from = start > key ? start : key;
        int64_t to = least(start + f->block, key + keys);
        float *image = f->images + r / f->block * f->image + head * f->plane;

        if (from < to) {
            memcpy(image + (r - start) * f->pitch + (from - start),
                   weights + (r - row) * stride + (from - key),
                   (size_t)(to - from) * sizeof *weights);
        }
    }
}

attention_observer block_features_observer(block_features *f)
{
    return (attention_observer){.context = f, .range = range, .see = see};
}
