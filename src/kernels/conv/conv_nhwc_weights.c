/* Packing of float weights while a product waits for them: through a block of transposed weights in
 * the first-level cache, so that both sides are read and written in whole runs. */
#include <string.h>

#include "kernels/conv/conv_nhwc_parts.h"
#include "kernels/transpose/transpose.h"

enum { MOST_ROWS = 128 }; /* of a block */

/* Weights of a panel's filters: channels [channel, +channels) x places [place, +places) of the
 * array, as rows of one number per filter. */
typedef struct block {
    const conv_nhwc_packing *p;
    const float *from; /* filter 0 of the panel */
    int64_t filters;
    int64_t channel, channels;
    int64_t place, places;
    char *to;    /* the panel */
    float *rows; /* [channels][places][nr] */
} block;

/* `count` neighbours of every filter become rows from row `row` on. */
static void turn(block *b, int64_t offset, int64_t count, int64_t row)
{
    const conv_nhwc_packing *p = b->p;
    int64_t nr = p->c->kernel->nr;
    transpose_matrix m = {.from = b->from + offset,
                          .to = b->rows + row * nr,
                          .rows = b->filters,
                          .columns = count,
                          .from_pitch = p->weights.filter_stride * (int64_t)sizeof(float),
                          .to_pitch = nr * (int64_t)sizeof(float)};

    if (p->weights.filter_stride == 1 && count == 1) {
        memcpy(b->rows + row * nr, b->from + offset, (size_t)b->filters * sizeof(float));
    } else {
        transpose_select()->words(&m);
    }
}

static void turn_block(block *b)
{
    const conv_nhwc_weights *w = &b->p->weights;

    if (w->channel_stride == b->places) {
        turn(b, b->channel * w->channel_stride, b->channels * b->places, 0);
        return;
    }
    for (int64_t i = 0; i < b->channels; i++) {
        turn(b, (b->channel + i) * w->channel_stride + b->place, b->places, i * b->places);
    }
}

/* Numbers of one place of the kernel, which are `k` from `first` on of a tap at `to`. */
static void store_floats(const block *b, int64_t row, float *to)
{
    int64_t nr = b->p->c->kernel->nr;

    for (int64_t i = 0; i < b->channels; i++) {
        memcpy(to + i * nr, b->rows + (row + i * b->places) * nr,
               (size_t)b->filters * sizeof(float));
    }
}

static void store_pairs(const block *b, int64_t row, int64_t k, uint16_t *to)
{
    int64_t nr = b->p->c->kernel->nr;

    for (int64_t i = 0; i < b->channels; i++, k++) {
        const float *from = b->rows + (row + i * b->places) * nr;

        if (k % 2 == 0 && i + 1 < b->channels) {
            b->p->pairs->pair((uint32_t *)(void *)(to + k * nr), from, from + b->places * nr,
                              b->filters);
            i++;
            k++;
        } else {
            for (int64_t j = 0; j < b->filters; j++) {
                to[k / 2 * nr * 2 + 2 * j + k % 2] = brgemm_bf16(from[j]);
            }
        }
    }
}

static void store_block(const block *b)
{
    const conv_nhwc *c = b->p->c;
    int64_t positions = c->shape.kernel_h * c->shape.kernel_w;
    int64_t per_tap = positions / c->taps;

    for (int64_t position = 0; position < positions; position++) {
        int64_t place = b->p->weights.places != NULL ? b->p->weights.places[position] : position;
        int64_t k = position % per_tap * c->shape.channels + b->channel;
        char *tap = b->to + position / per_tap * (c->panel_bytes / c->taps);

        if (place < b->place || place >= b->place + b->places) {
            continue;
        }
        if (c->kernel->type == BRGEMM_BF16) {
            store_pairs(b, place - b->place, k, (uint16_t *)(void *)tap);
        } else {
            store_floats(b, place - b->place, (float *)(void *)tap + k * c->kernel->nr);
        }
    }
}

/* Are there elements that no weight is written to? */
static bool has_gaps(const conv_nhwc_packing *p, int64_t filters)
{
    const conv_nhwc *c = p->c;

    for (int64_t i = 0; p->weights.places != NULL && i < c->shape.kernel_h * c->shape.kernel_w;
         i++) {
        if (p->weights.places[i] < 0) {
            return true;
        }
    }
    return filters < c->kernel->nr || c->k % c->kernel->group != 0;
}

int64_t conv_nhwc_panels(const conv_nhwc *c)
{
    return c->problem.groups * conv_nhwc_pieces(c->problem.filters, c->kernel->nr);
}

void conv_nhwc_pack_panels(void *packing, int64_t begin, int64_t end, int worker)
{
    const conv_nhwc_packing *p = packing;
    const conv_nhwc_weights *w = &p->weights;
    const conv_nhwc *c = p->c;
    int64_t panels = conv_nhwc_pieces(c->problem.filters, c->kernel->nr);
    int64_t places = conv_nhwc_least(w->place_count, MOST_ROWS);
    float rows[MOST_ROWS * BRGEMM_MOST_NR];
    int64_t channels = places == w->place_count ? MOST_ROWS / places / 2 * 2 : 1;

    (void)worker;
    channels = channels > 0 ? channels : 1;
    for (int64_t i = begin; i < end; i++) {
        int64_t filter = i % panels * c->kernel->nr;
        block b = {.p = p,
                   .from = w->data + i / panels * w->group_stride + filter * w->filter_stride,
                   .filters = conv_nhwc_least(c->problem.filters - filter, c->kernel->nr),
                   .to = (char *)p->packed + i * c->panel_bytes,
                   .rows = rows};

        if (has_gaps(p, b.filters)) {
            memset(b.to, 0, (size_t)c->panel_bytes);
        }
        for (b.channel = 0; b.channel < c->shape.channels; b.channel += channels) {
            b.channels = conv_nhwc_least(c->shape.channels - b.channel, channels);
            for (b.place = 0; b.place < w->place_count; b.place += places) {
                b.places = conv_nhwc_least(w->place_count - b.place, places);
                turn_block(&b);
                store_block(&b);
            }
        }
    }
}
