/* Halos around images of bytes, and their patches for the integer product. */
#include <stddef.h>
#include <string.h>

#include "kernels/conv/conv_s8.h"
#include "kernels/conv/conv_segments.h"

enum { MOST = GEMM_S8_MOST_NR, CHUNK = CONV_S8_CHUNK };

/* ---- halos ---- */

conv_s8_halo conv_s8_halo_of(const conv_f32_shape *s)
{
    int64_t width = (s->out_w - 1) * s->stride_w + (s->kernel_w - 1) * s->dilation_w + 1;
    conv_s8_halo halo = {.rows =
                             (s->out_h - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1,
                         .phase = (width + s->stride_w - 1) / s->stride_w,
                         .stride = s->stride_w,
                         .move_index = s->dilation_w / s->stride_w,
                         .move_phase = s->dilation_w % s->stride_w};

    halo.pitch = halo.phase * s->stride_w;
    halo.bytes = halo.rows * halo.pitch;
    return halo;
}

/* `count` places of one phase from input column `column` on, `stride` apart. */
static void copy_phase(const uint8_t *restrict row, int64_t width, int64_t column, int64_t stride,
                       int64_t count, uint8_t zero, uint8_t *restrict to)
{
    int64_t from = conv_segments_reach(column, stride, 0, count);
    int64_t until = conv_segments_reach(column, stride, width, count);

    until = until < from ? from : until;
    memset(to, zero, (size_t)from);
    if (stride == 1 && until > from) {
        memcpy(to + from, row + column + from, (size_t)(until - from));
    } else if (stride == 2) {
        for (int64_t i = from; i < until; i++) {
            to[i] = row[column + 2 * i];
        }
    } else {
        for (int64_t i = from; i < until; i++) {
            to[i] = row[column + i * stride];
        }
    }
    memset(to + until, zero, (size_t)(count - until));
}

void conv_s8_add_halo(const conv_f32_shape *s, const conv_s8_halo *halo, const uint8_t *in,
                      uint8_t zero, uint8_t flip, uint8_t *to)
{
    for (int64_t y = 0; y < halo->rows; y++) {
        int64_t row = y - s->pad_h;
        uint8_t *line = to + y * halo->pitch;

        if (row < 0 || row >= s->in_h) {
            memset(line, zero, (size_t)halo->pitch);
            continue;
        }
        for (int64_t phase = 0; phase < s->stride_w; phase++) {
            copy_phase(in + row * s->in_w, s->in_w, phase - s->pad_w, s->stride_w, halo->phase,
                       zero, line + phase * halo->phase);
        }
    }
    for (int64_t i = 0; flip != 0 && i < halo->bytes; i++) {
        to[i] = (uint8_t)(to[i] ^ flip);
    }
}

/* ---- patches ---- */

/* Columns of one panel. A segment's `in_column` is its first byte in a plane with a halo. */
typedef struct panel {
    const conv_s8_image *image;
    int columns;
    int width;
    conv_segment segments[MOST];
    int segment_count;
} panel;

/* A kernel position, in the order of the patch matrix's rows. */
typedef struct tap {
    int64_t row, column;
    conv_s8_place place;   /* of the column */
    const uint8_t *plane;  /* of the channel */
    const uint8_t *origin; /* what the patch at output (0, 0) has there */
} tap;

static tap first_tap(const conv_s8_image *image)
{
    return (tap){.plane = image->data, .origin = image->data};
}

static void next_tap(const conv_s8_image *image, tap *t)
{
    const conv_f32_shape *s = image->shape;
    const conv_s8_halo *halo = image->halo;

    conv_s8_move(halo, &t->place);
    if (++t->column == s->kernel_w) {
        t->column = 0;
        t->place = (conv_s8_place){0, 0};
        if (++t->row == s->kernel_h) {
            t->row = 0;
            t->plane += halo->bytes;
        }
    }
    t->origin = t->plane + t->row * s->dilation_h * halo->pitch + t->place.phase * halo->phase +
                t->place.index;
}

typedef uint8_t chunk __attribute__((vector_size(CHUNK)));

static inline chunk load(const uint8_t *from)
{
    chunk c;

    memcpy(&c, from, sizeof c);
    return c;
}

/* Alternates the bytes of two chunks: of their first halves, and of their second. */
static inline void zip_bytes(chunk a, chunk b, chunk *first, chunk *second)
{
    *first = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *second =
        __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/* The same for pairs of bytes. */
static inline void zip_pairs(chunk a, chunk b, uint8_t *to)
{
    chunk first =
        __builtin_shufflevector(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
    chunk second =
        __builtin_shufflevector(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);

    memcpy(to, &first, sizeof first);
    memcpy(to + CHUNK, &second, sizeof second);
}

/* CHUNK columns of four steps. */
static inline void interleave(chunk a, chunk b, chunk c, chunk d, uint8_t *to)
{
    chunk first_ab;
    chunk second_ab;
    chunk first_cd;
    chunk second_cd;

    zip_bytes(a, b, &first_ab, &second_ab);
    zip_bytes(c, d, &first_cd, &second_cd);
    zip_pairs(first_ab, first_cd, to);
    zip_pairs(second_ab, second_cd, to + 2 * CHUNK);
}

/* Four steps of a panel. What is copied too much, the next segment or step overwrites. */
static void pack_steps(const panel *p, const uint8_t *const origins[GEMM_S8_STEP], uint8_t *to)
{
    for (int i = 0; i < p->segment_count; i++) {
        const conv_segment *at = &p->segments[i];
        uint8_t *place = to + at->first * GEMM_S8_STEP;
        int64_t from = at->in_column;

        for (int j = 0; j < at->count; j += CHUNK) {
            interleave(load(origins[0] + from + j), load(origins[1] + from + j),
                       load(origins[2] + from + j), load(origins[3] + from + j),
                       place + (ptrdiff_t)j * GEMM_S8_STEP);
        }
    }
}

static void pack_panel(const panel *p, uint8_t *to)
{
    const conv_f32_shape *s = p->image->shape;
    int64_t steps = s->channels * s->kernel_h * s->kernel_w;
    const uint8_t *origins[GEMM_S8_STEP];
    tap at = first_tap(p->image);

    for (int64_t k = 0; k < steps; k += GEMM_S8_STEP) {
        for (int j = 0; j < GEMM_S8_STEP; j++) {
            origins[j] = at.origin; /* beyond the last step any bytes do: weights are 0 there */
            if (k + j + 1 < steps) {
                next_tap(p->image, &at);
            }
        }
        pack_steps(p, origins, to);
        to += p->width * GEMM_S8_STEP;
    }
}

static void place_segments(panel *p)
{
    const conv_f32_shape *s = p->image->shape;

    for (int i = 0; i < p->segment_count; i++) {
        conv_segment *at = &p->segments[i];
        int64_t out_column = (at->in_column + s->pad_w) / s->stride_w;

        at->in_column = (at->in_row + s->pad_h) * p->image->halo->pitch + out_column;
    }
}

void conv_s8_pack(const void *context, int64_t first, int64_t count, int width, uint8_t *to)
{
    const conv_s8_image *image = context;
    const conv_f32_shape *s = image->shape;
    int64_t k = gemm_s8_padded(s->channels * s->kernel_h * s->kernel_w);
    panel p = {.image = image, .width = width};

    for (int64_t n = 0; n < count; n += width) {
        p.columns = (int)(count - n < width ? count - n : width);
        p.segment_count = conv_segments_find(s, first + n, p.columns, p.segments);
        place_segments(&p);
        pack_panel(&p, to + n * k);
    }
}
