/* Pixels of samples and masks. */
#include "cli/mask_picture.h"

#include <math.h>

#include "tensor/tensor.h"

enum { IMAGE_RANK = 4, COLORS = 3, BLUE = 2 };

bool mask_picture_fits(const spry_tensor *batch)
{
    return batch->dtype == SPRY_DTYPE_F32 && batch->rank == IMAGE_RANK && tensor_count(batch) > 0;
}

mask_picture mask_picture_of(const spry_tensor *batch, int64_t index)
{
    mask_picture p = {.index = index,
                      .channels = batch->shape[1],
                      .height = batch->shape[2],
                      .width = batch->shape[3]};
    int64_t count = p.channels * p.height * p.width;

    p.sample = (const float *)batch->data + index * count;
    p.low = p.high = p.sample[0];
    for (int64_t i = 0; i < count; i++) {
        p.low = fminf(p.low, p.sample[i]);
        p.high = fmaxf(p.high, p.sample[i]);
    }
    return p;
}

/* Is pixel (y, x) of the sample computed? */
static bool is_kept(const mask_picture *p, const spry_tensor *mask, int64_t y, int64_t x)
{
    int64_t rows;
    int64_t columns;

    if (mask == NULL) {
        return true;
    }
    rows = mask->shape[2];
    columns = mask->shape[3];
    y = y * rows / p->height;
    x = x * columns / p->width;
    return ((const float *)mask->data)[(p->index * rows + y) * columns + x] > 0.5f;
}

void mask_picture_draw(const mask_picture *p, const spry_tensor *mask, int64_t scale,
                       uint8_t *pixels, int64_t row_width)
{
    float range = p->high > p->low ? p->high - p->low : 1.0f;

    for (int64_t row = 0; row < p->height * scale; row++) {
        for (int64_t column = 0; column < p->width * scale; column++) {
            int64_t y = row / scale;
            int64_t x = column / scale;
            bool kept = is_kept(p, mask, y, x);
            uint8_t *to = pixels + (row * row_width + column) * COLORS;

            for (int64_t c = 0; c < COLORS; c++) {
                int64_t plane = p->channels >= COLORS ? c : 0;
                float v = (p->sample[(plane * p->height + y) * p->width + x] - p->low) / range;

                v = kept ? v : 0.25f * v + (c == BLUE ? 0.2f : 0.0f);
                to[c] = (uint8_t)lrintf(v * 255.0f);
            }
        }
    }
}

double mask_share(const spry_tensor *mask, int64_t index)
{
    int64_t cells = tensor_count(mask) / mask->shape[0];
    const float *x = (const float *)mask->data + index * cells;
    double sum = 0;

    for (int64_t i = 0; i < cells; i++) {
        sum += (double)x[i];
    }
    return sum / (double)cells;
}
