/* How long convolutions take on a CPU that `spry doctor --calibrate` has measured.
 *
 * Cycles are those that the planners of the kernels foretell (conv_nhwc.h, conv_winograd.h), which
 * know how shapes fill tiles and what stays in caches; calibration tells how many seconds a
 * foretold cycle is, for each kind of kernel. Where squares are left out, pixels are computed in
 * place by index: nothing is gathered but pixels without enough neighbours, so that beside its
 * border the size of a square matters by how well runs of pixels fill tiles. */
#ifndef TUNE_LATENCY_CPU_H
#define TUNE_LATENCY_CPU_H

#include "kernels/conv/conv_nhwc.h"
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

/* What a convolution at listed pixels is made of; calibration measures how much each counts. */
typedef enum latency_cpu_term {
    LATENCY_CPU_SUMS,    /* foretold seconds of multiply-adds */
    LATENCY_CPU_TILES,   /* foretold seconds of what tiles cost beside them */
    LATENCY_CPU_COPIES,  /* bytes of pixels without enough neighbours, in and out */
    LATENCY_CPU_MASK,    /* pixels of the map, which lists are made from */
    LATENCY_CPU_WINDOWS, /* foretold seconds of Winograd's kernel, instead of the first three */
    LATENCY_CPU_TERMS
} latency_cpu_term;

/* "sums", "tiles", "copied_byte", "mask_pixel", "winograd": keys below cpu.listed */
extern const char *const latency_cpu_term_names[LATENCY_CPU_TERMS];
/* Is its factor in seconds? */
bool latency_cpu_term_is_time(latency_cpu_term term);

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
    double listed[LATENCY_CPU_TERMS];     /* how much each counts */
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
/* The terms of a convolution, not of one filter per channel, that is computed in squares of its
 * output, each active independently of the others. */
void latency_cpu_terms(const latency_cpu *cpu, const latency_conv *c, latency_squares q,
                       double terms[LATENCY_CPU_TERMS]);
/* Of squares of the output alone. */
double latency_cpu_listed(const latency_cpu *cpu, const latency_conv *c, latency_squares q);
/* Convolutions, as the kernels' planners know them. */
conv_nhwc_problem latency_cpu_problem(const latency_conv *c);
bool latency_cpu_is_depthwise(const latency_conv *c);
double latency_cpu_dense(const latency_cpu *cpu, const latency_block *b);
double latency_cpu_sparse(const latency_cpu *cpu, const latency_block *b, const latency_plan *plan,
                          bool *fused);

#endif
