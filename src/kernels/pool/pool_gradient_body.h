/* The loops over windows, compiled once per instruction set by the files that include this one. */
#ifndef KERNELS_POOL_POOL_GRADIENT_BODY_H
#define KERNELS_POOL_POOL_GRADIENT_BODY_H

#include "kernels/elementwise/elementwise_f32_vector.h"
#include "kernels/pool/pool_gradient.h"

/* The pixels [top, bottom) x [left, right) that a window sees, and how many count for its mean. */
typedef struct pool_view {
    int64_t top, bottom, left, right;
    int64_t counted;
} pool_view;

VEC_INLINE int64_t pool_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

VEC_INLINE pool_view view_of(const pool_gradient *p, int64_t row, int64_t column)
{
    int64_t y = row * p->stride_h - p->pad_h;
    int64_t x = column * p->stride_w - p->pad_w;
    pool_view v = {.top = y < 0 ? 0 : y,
                   .bottom = pool_least(y + p->kernel_h, p->in_h),
                   .left = x < 0 ? 0 : x,
                   .right = pool_least(x + p->kernel_w, p->in_w)};

    v.counted = (v.bottom - v.top) * (v.right - v.left);
    if (p->counts_pads) {
        v.counted = (pool_least(y + p->kernel_h, p->in_h + p->pad_end_h) - y) *
                    (pool_least(x + p->kernel_w, p->in_w + p->pad_end_w) - x);
    }
    return v;
}

static void clear(const pool_gradient *p)
{
    for (int64_t i = 0; i < p->in_h * p->in_w; i++) {
        memset(p->dx + i * p->pitch, 0, (size_t)p->channels * sizeof *p->dx);
    }
}

VEC_INLINE vec_f32 lanes_at(const float *from, int64_t lanes)
{
    return lanes == VEC_LANES ? vec_load(from) : vec_load_part(from, lanes);
}

VEC_INLINE void add_lanes(float *to, vec_f32 x, int64_t lanes)
{
    if (lanes == VEC_LANES) {
        vec_store(to, vec_load(to) + x);
    } else {
        vec_store_part(to, vec_load_part(to, lanes) + x, lanes);
    }
}

/* A vector of channels from `c` on. */
VEC_INLINE void largest_of(const pool_gradient *p, const pool_view *v, vec_f32 dy, int64_t c,
                           int64_t lanes)
{
    vec_f32 best = lanes_at(p->x + (v->top * p->in_w + v->left) * p->pitch + c, lanes);
    vec_i32 place = {0};
    int32_t at = 0;

    for (int64_t y = v->top; y < v->bottom; y++) {
        for (int64_t x = v->left; x < v->right; x++, at++) {
            vec_f32 seen = lanes_at(p->x + (y * p->in_w + x) * p->pitch + c, lanes);
            vec_i32 is_larger = seen > best;

            best = vec_select(is_larger, seen, best);
            place = (is_larger & vec_set_i32(at)) | (~is_larger & place);
        }
    }
    at = 0;
    for (int64_t y = v->top; y < v->bottom; y++) {
        for (int64_t x = v->left; x < v->right; x++, at++) {
            vec_f32 share = (vec_f32)((place == vec_set_i32(at)) & (vec_i32)dy);

            add_lanes(p->dx + (y * p->in_w + x) * p->pitch + c, share, lanes);
        }
    }
}

VEC_INLINE void average_of(const pool_gradient *p, const pool_view *v, vec_f32 dy, int64_t c,
                           int64_t lanes)
{
    vec_f32 share = dy / (float)v->counted;

    for (int64_t y = v->top; y < v->bottom; y++) {
        for (int64_t x = v->left; x < v->right; x++) {
            add_lanes(p->dx + (y * p->in_w + x) * p->pitch + c, share, lanes);
        }
    }
}

typedef void pool_window(const pool_gradient *p, const pool_view *v, vec_f32 dy, int64_t c,
                         int64_t lanes);

VEC_INLINE void all_windows(const pool_gradient *p, pool_window *window)
{
    clear(p);
    for (int64_t i = 0; i < p->out_h * p->out_w; i++) {
        pool_view v = view_of(p, i / p->out_w, i % p->out_w);
        const float *dy = p->dy + i * p->pitch;
        int64_t c = 0;

        for (; c + VEC_LANES <= p->channels; c += VEC_LANES) {
            window(p, &v, vec_load(dy + c), c, VEC_LANES);
        }
        if (c < p->channels) {
            window(p, &v, vec_load_part(dy + c, p->channels - c), c, p->channels - c);
        }
    }
}

static void run_largest(const pool_gradient *p)
{
    all_windows(p, largest_of);
}

static void run_average(const pool_gradient *p)
{
    all_windows(p, average_of);
}

#endif
