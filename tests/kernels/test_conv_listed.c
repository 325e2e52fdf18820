/* Masks become tiles, and convolution at listed pixels gives the bits of the dense one there,
 * whatever lies where nothing is to be read, and leaves other results alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/conv_listed.h"
#include "spry/random.h"

/* ---- masks ---- */

static const conv_f32_shape three = {.channels = 1,
                                     .in_h = 4,
                                     .in_w = 4,
                                     .out_h = 4,
                                     .out_w = 4,
                                     .kernel_h = 3,
                                     .kernel_w = 3,
                                     .stride_h = 1,
                                     .stride_w = 1,
                                     .dilation_h = 1,
                                     .dilation_w = 1,
                                     .pad_h = 1,
                                     .pad_w = 1};

static void masks_grow_by_what_kernels_read(void **state)
{
    static const uint8_t one[16] = {0, 0, 0, 0, 0, 1};
    static const uint8_t grown[16] = {1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1};
    static const uint8_t corner[4] = {0, 1};
    static const uint8_t strided[16] = {0, 1, 1, 1, 0, 1, 1, 1};
    conv_f32_shape s = three;
    uint8_t in[16];

    (void)state;
    pixel_list_dilate(&s, 1, one, in);
    assert_memory_equal(in, grown, sizeof in);
    s.out_h = s.out_w = 2;
    s.stride_h = s.stride_w = 2;
    pixel_list_dilate(&s, 1, corner, in);
    assert_memory_equal(in, strided, sizeof in);
}

static void dilation_is_what_windows_touch(void **state)
{
    spry_random r = spry_random_stream(41, 0);

    (void)state;
    for (int i = 0; i < 300; i++) {
        conv_f32_shape s = {.in_h = 1 + (int64_t)spry_random_below(&r, 12),
                            .in_w = 1 + (int64_t)spry_random_below(&r, 12),
                            .out_h = 1 + (int64_t)spry_random_below(&r, 8),
                            .out_w = 1 + (int64_t)spry_random_below(&r, 8),
                            .kernel_h = 1 + (int64_t)spry_random_below(&r, 4),
                            .kernel_w = 1 + (int64_t)spry_random_below(&r, 4),
                            .stride_h = 1 + (int64_t)spry_random_below(&r, 3),
                            .stride_w = 1 + (int64_t)spry_random_below(&r, 3),
                            .dilation_h = 1 + (int64_t)spry_random_below(&r, 2),
                            .dilation_w = 1 + (int64_t)spry_random_below(&r, 2),
                            .pad_h = (int64_t)spry_random_below(&r, 3),
                            .pad_w = (int64_t)spry_random_below(&r, 3)};
        uint8_t out[2 * 8 * 8], in[2 * 12 * 12], wanted[2 * 12 * 12] = {0};

        for (int64_t k = 0; k < 2 * s.out_h * s.out_w; k++) {
            out[k] = spry_random_below(&r, 3) == 0;
        }
        for (int64_t k = 0; k < 2 * s.out_h * s.out_w * s.kernel_h * s.kernel_w; k++) {
            int64_t at = k / (s.kernel_h * s.kernel_w);
            int64_t tap = k % (s.kernel_h * s.kernel_w);
            int64_t row =
                at / s.out_w % s.out_h * s.stride_h - s.pad_h + tap / s.kernel_w * s.dilation_h;
            int64_t column = at % s.out_w * s.stride_w - s.pad_w + tap % s.kernel_w * s.dilation_w;

            if (out[at] != 0 && row >= 0 && row < s.in_h && column >= 0 && column < s.in_w) {
                wanted[(at / (s.out_h * s.out_w) * s.in_h + row) * s.in_w + column] = 1;
            }
        }
        pixel_list_dilate(&s, 2, out, in);
        assert_memory_equal(in, wanted, (size_t)(2 * s.in_h * s.in_w));
    }
}

enum { MOST_PIXELS = 2 * 40 * 40 };

static void mark(uint8_t *seen, pixel_spot first, int64_t count, int64_t width)
{
    for (int64_t i = 0; i < count; i++) {
        seen[first.line * width + first.column + i]++;
    }
}

static void lists_hold_every_pixel_once(void **state)
{
    static uint8_t mask[MOST_PIXELS], seen[MOST_PIXELS];
    static pixel_tile tiles[2 * MOST_PIXELS];
    static pixel_spot spots[MOST_PIXELS];
    spry_random r = spry_random_stream(42, 0);

    (void)state;
    for (int i = 0; i < 200; i++) {
        int64_t lines = 1 + (int64_t)spry_random_below(&r, 40);
        int64_t width = 1 + (int64_t)spry_random_below(&r, 40);
        uint64_t sparse = 1 + spry_random_below(&r, 12);
        pixel_tiling tiling = {2 * (1 + (int)spry_random_below(&r, 16)),
                               1 + (int)spry_random_below(&r, 6)};
        pixel_list list = {.tiles = tiles, .spots = spots};

        memset(seen, 0, sizeof seen);
        for (int64_t k = 0; k < lines * width; k++) {
            bool repeats = k > 0 && spry_random_below(&r, 4) != 0;

            mask[k] = repeats ? mask[k - 1] : spry_random_below(&r, sparse) == 0;
        }
        pixel_list_build(mask, lines, width, &tiling, &list);
        assert_true(list.tile_count <= pixel_list_most_tiles(lines * width, &tiling));
        for (int64_t t = 0; t < list.tile_count; t++) {
            const pixel_tile *tile = &tiles[t];

            assert_in_range(tile->count, 1, tiling.mr);
            for (int k = 0; tile->kind == PIXEL_TILE_SINGLES && k < tile->count; k++) {
                mark(seen, spots[tile->start + k], 1, width);
            }
            if (tile->kind == PIXEL_TILE_RUN) {
                mark(seen, tile->first, tile->count, width);
            } else if (tile->kind == PIXEL_TILE_PAIR) {
                mark(seen, tile->first, tiling.mr / 2, width);
                mark(seen, tile->second, tiling.mr / 2, width);
            }
        }
        assert_memory_equal(seen, mask, (size_t)(lines * width));
        assert_int_equal(pixel_list_count(mask, lines * width),
                         pixel_list_count(seen, lines * width));
    }
}

/* ---- convolution ---- */

/* Memory of one case. */
typedef struct memory {
    char *x, *poisoned, *weights, *packed, *y, *dense, *work;
    float *residual, *bias, *factor;
    uint8_t *mask, *read;
    pixel_tile *tiles;
    pixel_spot *spots;
} memory;

static void *room(int64_t bytes)
{
    void *p = aligned_alloc(64, (size_t)(bytes + 191) / 64 * 64);

    assert_non_null(p);
    memset(p, 0x7F, (size_t)(bytes + 191) / 64 * 64);
    return p;
}

static void fill(spry_random *r, void *to, int64_t count, bool is_bytes)
{
    for (int64_t i = 0; i < count; i++) {
        if (is_bytes) {
            ((uint8_t *)to)[i] = (uint8_t)spry_random_below(r, 256);
        } else {
            ((float *)to)[i] = spry_random_f32(r) - 0.5f;
        }
    }
}

static conv_nhwc_problem random_problem(spry_random *r, brgemm_type type)
{
    conv_nhwc_problem p = {.batch = 1 + (int64_t)spry_random_below(r, 2),
                           .groups = spry_random_below(r, 3) == 0 ? 2 : 1,
                           .filters = 1 + (int64_t)spry_random_below(r, 70),
                           .type = type,
                           .result_size = sizeof(float)};

    p.shape = (conv_f32_shape){.channels = 1 + (int64_t)spry_random_below(r, 20),
                               .kernel_h = 1 + 2 * (int64_t)spry_random_below(r, 2),
                               .kernel_w = 1 + 2 * (int64_t)spry_random_below(r, 2),
                               .stride_h = 1 + (int64_t)spry_random_below(r, 2),
                               .stride_w = 1 + (int64_t)spry_random_below(r, 2),
                               .dilation_h = 1 + (int64_t)spry_random_below(r, 2),
                               .dilation_w = 1 + (int64_t)spry_random_below(r, 2),
                               .out_h = 1 + (int64_t)spry_random_below(r, 9),
                               .out_w = 1 + (int64_t)spry_random_below(r, 33)};
    p.shape.in_h =
        (p.shape.out_h - 1) * p.shape.stride_h + (p.shape.kernel_h - 1) * p.shape.dilation_h + 1;
    p.shape.in_w =
        (p.shape.out_w - 1) * p.shape.stride_w + (p.shape.kernel_w - 1) * p.shape.dilation_w + 1;
    return p;
}

static void take_memory(const conv_nhwc_problem *p, const conv_listed *c, const conv_nhwc *dense,
                        memory *m)
{
    const conv_f32_shape *s = &p->shape;
    int64_t size = p->type == BRGEMM_S8 ? 1 : 4;
    int64_t inputs = p->batch * s->in_h * s->in_w;
    int64_t pixels = p->batch * s->out_h * s->out_w;
    int64_t columns = p->groups * p->filters;

    m->x = room(inputs * p->groups * s->channels * size);
    m->poisoned = room(inputs * p->groups * s->channels * size);
    m->weights = room(columns * s->channels * s->kernel_h * s->kernel_w * size);
    m->packed = room(c->dense.packed_bytes);
    m->y = room(pixels * columns * 4);
    m->dense = room(pixels * columns * 4);
    m->work = room(2 * c->worker_bytes + dense->worker_bytes + dense->shared_bytes);
    m->residual = room(pixels * columns * 4);
    m->bias = room(columns * 4);
    m->factor = room(columns * 4);
    m->mask = room(pixels);
    m->read = room(inputs);
    m->tiles = room(pixel_list_most_tiles(pixels, &c->tiling) * (int64_t)sizeof *m->tiles);
    m->spots = room(pixels * (int64_t)sizeof *m->spots);
}

static void give_back(memory *m)
{
    void *all[] = {m->x,        m->poisoned, m->weights, m->packed, m->y,    m->dense, m->work,
                   m->residual, m->bias,     m->factor,  m->mask,   m->read, m->tiles, m->spots};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

/* What no listed pixel reads becomes NaN, or any bytes. */
static void poison(const conv_nhwc_problem *p, memory *m)
{
    const conv_f32_shape *s = &p->shape;
    int64_t pixel = p->groups * s->channels * (p->type == BRGEMM_S8 ? 1 : 4);

    pixel_list_dilate(s, p->batch, m->mask, m->read);
    for (int64_t i = 0; i < p->batch * s->in_h * s->in_w; i++) {
        if (m->read[i] != 0) {
            memcpy(m->poisoned + i * pixel, m->x + i * pixel, (size_t)pixel);
        } else {
            memset(m->poisoned + i * pixel, 0xFF, (size_t)pixel);
        }
    }
}

static void run_dense(const conv_nhwc *c, const memory *m, const brgemm_finish *finish)
{
    conv_nhwc_call call = {.c = c,
                           .x = m->x,
                           .packed = m->packed,
                           .y = m->dense,
                           .y_pitch = c->problem.groups * c->problem.filters * 4,
                           .finish = *finish,
                           .workspace = m->work};

    conv_nhwc_run(&call, 0, c->pieces, 0);
}

static void run_listed(const conv_listed *c, const memory *m, const pixel_list *list,
                       const brgemm_finish *finish, int workers)
{
    const conv_nhwc_problem *p = &c->dense.problem;
    int64_t x = p->groups * p->shape.channels * (p->type == BRGEMM_S8 ? 1 : 4);
    int64_t y = c->columns * 4;
    conv_listed_call call = {
        .c = c,
        .list = list,
        .x = {m->poisoned, x, x * p->shape.in_w, x * p->shape.in_w * p->shape.in_h},
        .is_wide = p->type == BRGEMM_BF16,
        .is_tight = true,
        .packed = m->packed,
        .y = {m->y, y, y * p->shape.out_w, y * p->shape.out_w * p->shape.out_h},
        .width = p->shape.out_w,
        .finish = *finish,
        .workers = workers,
        .workspace = m->work};
    int64_t pieces = conv_listed_pieces(&call);

    for (int64_t i = pieces - 1; i >= 0; i--) {
        conv_listed_run(&call, i, i + 1, (int)(i % workers));
    }
}

static void check_case(spry_random *r, const brgemm_kernel *kernel)
{
    conv_nhwc_problem p = random_problem(r, kernel->type);
    bool is_bytes = kernel->type == BRGEMM_S8;
    uint64_t sparse = 1 + spry_random_below(r, 5);
    brgemm_finish finish = {.lower = 0.0f, .upper = INFINITY};
    conv_listed c;
    conv_nhwc dense;
    pixel_list list = {0};
    memory m;
    int64_t columns, pixels;

    p.shape.channels += kernel->type == BRGEMM_BF16 ? p.shape.channels % 2 : 0;
    columns = p.groups * p.filters;
    pixels = p.batch * p.shape.out_h * p.shape.out_w;
    conv_listed_plan(&p, kernel, &c);
    conv_nhwc_plan(&p, kernel, CONV_NHWC_ROW, 1, &dense);
    take_memory(&p, &c, &dense, &m);
    fill(r, m.x, p.batch * p.shape.in_h * p.shape.in_w * p.groups * p.shape.channels, is_bytes);
    fill(r, m.weights, columns * p.shape.channels * p.shape.kernel_h * p.shape.kernel_w, is_bytes);
    fill(r, m.residual, pixels * columns, false);
    fill(r, m.bias, columns, false);
    fill(r, m.factor, columns, false);
    conv_nhwc_pack(&dense, m.weights, 0, m.packed);
    for (int64_t i = 0; i < pixels; i++) {
        bool repeats = i > 0 && spry_random_below(r, 4) != 0;

        m.mask[i] = repeats ? m.mask[i - 1] : spry_random_below(r, sparse) == 0;
    }
    poison(&p, &m);
    list.tiles = m.tiles;
    list.spots = m.spots;
    pixel_list_build(m.mask, p.batch * p.shape.out_h, p.shape.out_w, &c.tiling, &list);
    finish.bias = m.bias;
    finish.residual = m.residual;
    finish.factor = is_bytes ? m.factor : NULL;
    run_dense(&dense, &m, &finish);
    run_listed(&c, &m, &list, &finish, 1 + (int)spry_random_below(r, 2));
    for (int64_t i = 0; i < pixels; i++) {
        for (int64_t k = 0; m.mask[i] == 0 && k < columns * 4; k++) {
            assert_int_equal(m.y[i * columns * 4 + k], 0x7F);
        }
        if (m.mask[i] != 0) {
            assert_memory_equal(m.y + i * columns * 4, m.dense + i * columns * 4,
                                (size_t)columns * 4);
        }
    }
    give_back(&m);
}

static void listed_pixels_have_the_bits_of_dense_ones(void **state)
{
    static const brgemm_type types[] = {BRGEMM_F32, BRGEMM_BF16, BRGEMM_S8};

    (void)state;
    for (int type = 0; type < 3; type++) {
        brgemm_variants variants = brgemm_variants_of(types[type]);

        for (int v = 0; v < variants.count; v++) {
            spry_random r = spry_random_stream(43, (uint64_t)(8 * type + v));

            for (int i = 0; i < 40 && brgemm_usable(&variants.list[v]); i++) {
                check_case(&r, variants.list[v].table);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_grow_by_what_kernels_read),
        cmocka_unit_test(dilation_is_what_windows_touch),
        cmocka_unit_test(lists_hold_every_pixel_once),
        cmocka_unit_test(listed_pixels_have_the_bits_of_dense_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
