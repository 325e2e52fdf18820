/* How long convolutions take on a CPU that `spry doctor --calibrate` has measured.
 *
 * Cycles are those that the planners of the kernels foretell (conv_nhwc.h, conv_winograd.h), which
 * know how shapes fill tiles and what stays in caches; calibration tells how many seconds a
 * foretold cycle is, for each kind of kernel. Where squares are left out, pixels are computed in
 * place by index, so that nothing is gathered, and the size of a square matters by its border
 * alone. */
#ifndef TUNE_LATENCY_CPU_H
#define TUNE_LATENCY_CPU_H

#include "tune/latency_network.h"

/* Kinds of kernels. */
typedef enum latency_cpu_kind {
    LATENCY_CPU_POINTWISE, /* 1x1 */
    LATENCY_CPU_WINDOW,    /* larger, as products per tap */
    LATENCY_CPU_WINOGRAD,  /* 3x3 with fewer multiplications */
    LATENCY_CPU_DEPTHWISE, /* a filter per channel */
    LATENCY_CPU_KINDS
} latency_cpu_kind;

/* "pointwise", "window", "winograd", "depthwise" */
extern const char *const latency_cpu_kind_names[LATENCY_CPU_KINDS];

enum { LATENCY_CPU_LEVELS = 4 }; /* L1, L2, L3, DRAM */
extern const char *const latency_cpu_level_names[LATENCY_CPU_LEVELS];

typedef struct latency_cpu {
    int threads;
    double clock;                         /* Hz */
    double peak;                          /* f32 operations per second of a core */
    double sizes[LATENCY_CPU_LEVELS - 1]; /* bytes of caches */
    double rates[LATENCY_CPU_LEVELS];     /* bytes per second of a[i] = b[i] + s c[i], one core */
    double scale[LATENCY_CPU_KINDS];      /* measured over foretold */
    double per_operator;                  /* seconds */
    double per_pixel;                     /* seconds, of a pixel in a list */
    double per_square;
} latency_cpu;

/* Is the description one of a CPU: has it a section "cpu"? */
bool latency_cpu_is(target *t);
/* Fails as target_quantity. */
SPRY_MUST_USE spry_status latency_cpu_read(latency_cpu *cpu, target *t, spry_error *error);

/* Seconds that a convolution is foretold to take, before scaling and without the operator's own
 * cost; *kind becomes the kernel that is expected to run it. */
double latency_cpu_foretold(const latency_cpu *cpu, const latency_conv *c, latency_cpu_kind *kind);

/* Seconds for one image. */
double latency_cpu_conv(const latency_cpu *cpu, const latency_conv *c);
/* Of a share `pixels` of the output's pixels, which lie in that many squares. */
double latency_cpu_listed(const latency_cpu *cpu, const latency_conv *c, double pixels,
                          double squares);
double latency_cpu_dense(const latency_cpu *cpu, const latency_block *b);
double latency_cpu_sparse(const latency_cpu *cpu, const latency_block *b, const latency_plan *plan,
                          bool *fused);

#endif
