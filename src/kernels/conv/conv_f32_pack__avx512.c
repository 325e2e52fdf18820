/* Gathers blocks of the patch matrix with masked loads, straight into the panels.
 *
 * What a panel line needs from its plane, the offsets of its runs of pixels and which lanes exist,
 * depends on the kernel position alone: it is worked out once per panel and serves all channels. */
#include <immintrin.h>

#include "kernels/conv/conv_f32_pack_variants.h"

enum { LANES = 16, MOST_SOURCES = 512, MOST_STRIDE = 2 };

/* Lanes that come from one run of pixels: lane i is plane[offset + i * stride]. */
typedef struct lane_source {
    int64_t offset;
    uint32_t pixels; /* of the 32 floats from `offset` on, those to load */
    uint16_t lanes;
} lane_source;

/* Lanes [first, first + count). */
static uint32_t lane_run(int64_t first, int64_t count)
{
    return count <= 0 ? 0 : ((1u << count) - 1) << first;
}

/* Bit i moves to bit 2 i. */
static uint32_t spread(uint32_t lanes)
{
    lanes = (lanes | lanes << 8) & 0x00FF00FF;
    lanes = (lanes | lanes << 4) & 0x0F0F0F0F;
    lanes = (lanes | lanes << 2) & 0x33333333;
    return (lanes | lanes << 1) & 0x55555555;
}

/* First i in [0, count] with column + i * stride >= bound. */
static int64_t first_at_least(int64_t column, int64_t stride, int64_t bound, int64_t count)
{
    int64_t i = column >= bound ? 0 : bound - column;

    i = stride == 1 ? i : (i + 1) / MOST_STRIDE;
    return i < count ? i : count;
}

/* The source of `count` lanes from `lane` on, for output pixels from (row, column) on and one
 * kernel position. */
static lane_source find_source(const conv_f32_shape *s, int64_t row, int64_t column, int lane,
                               int64_t count, int64_t tap)
{
    int64_t in_row = row * s->stride_h - s->pad_h + tap / s->kernel_w * s->dilation_h;
    int64_t in_column = column * s->stride_w - s->pad_w + tap % s->kernel_w * s->dilation_w;
    int64_t from = first_at_least(in_column, s->stride_w, 0, count);
    int64_t until = first_at_least(in_column, s->stride_w, s->in_w, count);
    lane_source source = {.offset = in_row * s->in_w + in_column - lane * s->stride_w};

    if (in_row >= 0 && in_row < s->in_h) {
        source.lanes = (uint16_t)lane_run(lane + from, until - from);
    }
    source.pixels = s->stride_w == 1 ? source.lanes : spread(source.lanes);
    return source;
}

/* The sources of one vector of output pixels [n0, n0 + columns) for all taps, `step` entries
 * apart. Runs that continue each other in memory become one. Returns the sources per tap. */
static int find_sources(const conv_f32_shape *s, int64_t n0, int64_t columns, int64_t step,
                        lane_source *sources)
{
    int64_t taps = s->kernel_h * s->kernel_w;
    bool is_line = s->stride_w == 1 && s->stride_h == 1 && s->out_w == s->in_w;
    int64_t row = n0 / s->out_w;
    int64_t column = n0 % s->out_w;
    int count = 0;

    for (int64_t lane = 0; lane < columns; row++, column = 0) {
        int64_t left = s->out_w - column;
        int64_t run = left < columns - lane ? left : columns - lane;

        for (int64_t tap = 0; tap < taps; tap++) {
            lane_source found = find_source(s, row, column, (int)lane, run, tap);
            lane_source *at = &sources[tap * step + count];

            if (is_line && lane > 0) {
                at->lanes |= found.lanes;
                at->pixels = at->lanes;
            } else {
                *at = found;
            }
        }
        count += !is_line;
        lane += run;
    }
    return is_line ? 1 : count;
}

static inline __attribute__((always_inline)) __m512 load_sources(const float *plane,
                                                                 const lane_source *from, int count,
                                                                 int64_t stride)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512 line = _mm512_setzero_ps();

    for (int i = 0; i < count; i++) {
        const float *at = plane + from[i].offset;
        __mmask16 lanes = from[i].lanes;

        if (stride == 1) {
            line = _mm512_mask_loadu_ps(line, lanes, at);
        } else {
            __m512 low = _mm512_maskz_loadu_ps((__mmask16)from[i].pixels, at);
            __m512 high = _mm512_maskz_loadu_ps((__mmask16)(from[i].pixels >> LANES), at + LANES);

            line = _mm512_mask_mov_ps(line, lanes, _mm512_permutex2var_ps(low, even, high));
        }
    }
    return line;
}

/* Writes one vector of columns of a panel; `to` advances by `width` per step. */
static inline __attribute__((always_inline)) void pack_vector(const conv_f32_image *image,
                                                              int64_t k0, int64_t k,
                                                              const lane_source *sources, int count,
                                                              int64_t stride, int width, float *to)
{
    const conv_f32_shape *s = image->shape;
    int64_t taps = s->kernel_h * s->kernel_w;
    int64_t size = s->in_h * s->in_w;
    const float *plane = image->data + k0 / taps * size;
    int64_t tap = k0 % taps;

    for (int64_t step = 0; step < k; step++) {
        _mm512_storeu_ps(to, load_sources(plane, sources + tap * count, count, stride));
        to += width;
        if (++tap == taps) {
            tap = 0;
            plane += size;
        }
    }
}

static void pack(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                 float *to)
{
    const conv_f32_image *image = context;
    const conv_f32_shape *s = image->shape;
    lane_source sources[MOST_SOURCES];
    int64_t most = (LANES - 2 + s->out_w) / s->out_w + 1; /* output rows that a vector can meet */

    if (width % LANES != 0 || s->stride_w > MOST_STRIDE ||
        most * s->kernel_h * s->kernel_w > MOST_SOURCES) {
        conv_f32_pack(context, k0, k, n0, n, width, to);
        return;
    }
    for (int64_t first = 0; first < n; first += LANES) {
        float *line = to + first / width * width * k + first % width;
        int64_t columns = n - first < LANES ? n - first : LANES;
        int64_t parts = s->out_w == s->in_w && s->stride_w == 1 && s->stride_h == 1
                            ? 1
                            : ((n0 + first) % s->out_w + columns - 1) / s->out_w + 1;
        int count = find_sources(s, n0 + first, columns, parts, sources);

        if (s->stride_w == 1 && count == 1) {
            pack_vector(image, k0, k, sources, 1, 1, width, line);
        } else if (s->stride_w == 1) {
            pack_vector(image, k0, k, sources, count, 1, width, line);
        } else {
            pack_vector(image, k0, k, sources, count, MOST_STRIDE, width, line);
        }
    }
    if (n % width != 0) {
        for (int64_t first = (n + LANES - 1) / LANES * LANES; first % width != 0; first += LANES) {
            for (int64_t step = 0; step < k; step++) {
                _mm512_storeu_ps(to + n / width * width * k + step * width + first % width,
                                 _mm512_setzero_ps());
            }
        }
    }
}

const conv_f32_packer conv_f32_pack__avx512 = {"conv_f32_pack__avx512", pack};
