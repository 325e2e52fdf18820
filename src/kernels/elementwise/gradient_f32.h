/* Derivatives of elementary functions and norms over contiguous single-precision numbers, and the
 * sums over pixels or rows that they need. Results may take the place of an operand of their shape.
 * Sums are taken in an order that depends on the sizes alone (and on the variant). */
#ifndef KERNELS_ELEMENTWISE_GRADIENT_F32_H
#define KERNELS_ELEMENTWISE_GRADIENT_F32_H

#include <stdint.h>

#include "kernels/isa.h"

/* More pixels than this are summed in several calls, whose results meet in double precision. */
enum { GRADIENT_F32_PIXELS = 256 };

/* Sums over pixels, channel by channel. */
typedef struct gradient_f32_moments {
    const float *x;     /* [pixels][channels]; or NULL: only the sums of dy */
    const float *dy;    /* the same; or NULL: only those of x */
    const float *pivot; /* [channels]: numbers near the mean of x */
    int64_t pixels, channels;
    float *sums;     /* of x - pivot */
    float *squares;  /* of (x - pivot)^2 */
    float *slopes;   /* of dy */
    float *products; /* of dy (x - pivot) */
} gradient_f32_moments;

/* to[pixel][c] = dy[pixel][c] a[c] + (x[pixel][c] - mean[c]) b[c] + d[c] */
typedef struct gradient_f32_blend {
    const float *x, *dy;
    float *to;
    int64_t pixels, channels;
    const float *mean, *a, *b, *d;
} gradient_f32_blend;

/* sums[c] += sum over pixels of dy[pixel][c] x[pixel][c]; pixels are a pitch of floats apart. */
typedef struct gradient_f32_dot {
    const float *dy, *x;
    int64_t dy_pitch, x_pitch;
    int64_t pixels, channels;
    float *sums;
} gradient_f32_dot;

/* One row y = gamma n + beta with n = (x - mean) inverse: writes dx and adds to the sums. */
typedef struct gradient_f32_norm {
    const float *x, *dy;
    const float *gamma; /* or NULL: ones */
    float *dx;          /* or NULL */
    float *scale_sums;  /* [n], of dy n; or NULL */
    float *bias_sums;   /* [n], of dy; or NULL */
    int64_t n;
    float epsilon;
} gradient_f32_norm;

/* A variant. */
typedef struct gradient_f32_kernel {
    const char *name;
    void (*moments)(const gradient_f32_moments *m); /* pixels <= GRADIENT_F32_PIXELS */
    void (*blend)(const gradient_f32_blend *b);
    void (*dot)(const gradient_f32_dot *d);
    void (*layer_norm)(const gradient_f32_norm *row);
    /* y (dy - sum of y dy) of one row */
    void (*softmax)(float *to, const float *y, const float *dy, int64_t n);
    /* dy times the derivative of x Phi(x) */
    void (*gelu)(float *to, const float *x, const float *dy, int64_t n);
} gradient_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant gradient_f32_variants[];
extern const int gradient_f32_variant_count;

/* The best variant that may run now. */
const gradient_f32_kernel *gradient_f32_select(void);

#endif
