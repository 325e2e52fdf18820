/* One matrix product or convolution, as a line of bench/shapes/ describes it. */
#ifndef BENCH_SHAPE_H
#define BENCH_SHAPE_H

#include <stdbool.h>

typedef enum shape_kind { SHAPE_GEMM, SHAPE_CONV } shape_kind;

enum { SHAPE_GEMM_SIZES = 3, SHAPE_CONV_SIZES = 11, SHAPE_SIZE_MAX = 1 << 20 };

/* c[m][n] = sum over k of a[m][k] * b[k][n] */
typedef struct shape_gemm {
    long m, n, k;
} shape_gemm;

/* Input [batch][channels][height][width], weights [filters][channels / groups][rows][columns]. */
typedef struct shape_conv {
    long batch, channels, height, width;
    long filters, rows, columns;
    long stride, pad, dilation, groups;
} shape_conv;

typedef struct shape {
    shape_kind kind;
    union {
        shape_gemm gemm;
        shape_conv conv;
    } of;
} shape;

/* Reads "gemm M N K" or "conv N C H W K R S stride pad dilation groups". False when the line is
 * neither, or the sizes do not fit together. */
bool shape_parse(const char *line, shape *result);

/* Height or width of the output, from that of the input and of the kernel. */
long shape_conv_extent(const shape_conv *conv, long input, long kernel);

#endif
