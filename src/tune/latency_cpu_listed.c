/* Convolutions at listed pixels: what their lists are expected to look like. */
#include <math.h>

#include "kernels/conv/conv_listed.h"
#include "tune/latency_cpu.h"

enum { BYTES = 4, LARGE = 4, SMALL = 2 }; /* sides of Winograd's windows */

const char *const latency_cpu_term_names[LATENCY_CPU_TERMS] = {
    [LATENCY_CPU_SUMS] = "sums",          [LATENCY_CPU_TILES] = "tiles",
    [LATENCY_CPU_COPIES] = "copied_byte", [LATENCY_CPU_MASK] = "mask_pixel",
    [LATENCY_CPU_WINDOWS] = "winograd",
};

bool latency_cpu_term_is_time(latency_cpu_term term)
{
    return term == LATENCY_CPU_COPIES || term == LATENCY_CPU_MASK;
}

/* What a list is expected to hold. */
typedef struct expected {
    double singles; /* pixels that are copied */
    double tiles;
} expected;

/* Of one line, by pixel_list.h: among n cells, each active with probability d, runs of exactly
 * k < n cells number 2 d^k (1 - d) + (n - k - 1) d^k (1 - d)^2. */
static expected expect(double width, double side, double d, const pixel_tiling *tiling)
{
    const double negligible = 1e-9;
    double n = ceil(width / side);
    double power = d;
    expected e = {0, 0};

    for (double k = 1; k <= n && power * n > negligible; k++, power *= d) {
        double runs = k < n ? power * (1 - d) * (2 + (n - k - 1) * (1 - d)) : power;
        double pixels = fmin(k * side, width);

        if (pixels < tiling->least_run) {
            e.singles += runs * pixels;
        } else if (pixels == (double)(tiling->mr / 2)) { /* two such share a tile */
            e.tiles += runs / 2;
        } else {
            e.tiles += runs * ceil(pixels / tiling->mr);
        }
    }
    e.tiles += e.singles / tiling->mr;
    return e;
}

/* Along an axis: how many of Winograd's windows of `size` pixels overlap i cells of `side`, as
 * counts[i] for i <= size; returns how many there are. */
static double touched(int64_t extent, int64_t side, int size, double *counts)
{
    double windows = 0;

    for (int i = 0; i <= size; i++) {
        counts[i] = 0;
    }
    for (int64_t at = 0; at < extent; at += size, windows++) {
        int64_t end = at + size < extent ? at + size : extent;

        counts[(end - 1) / side - at / side + 1]++;
    }
    return windows;
}

/* The share of Winograd's windows that hold an active pixel. */
static double windows_share(const latency_conv *c, latency_squares q, int size)
{
    double rows[LARGE + 1];
    double columns[LARGE + 1];
    double all = touched(c->height, q.side, size, rows) * touched(c->width, q.side, size, columns);
    double sum = 0;

    for (int i = 1; i <= size; i++) {
        for (int j = 1; j <= size; j++) {
            sum += rows[i] * columns[j] * (1 - pow(1 - q.density, (double)i * j));
        }
    }
    return sum / all;
}

/* Seconds of the sizes of windows that the runtime keeps, and takes where they are the cheaper; 0:
 * the direct sum is taken. */
static double windows(const latency_cpu *cpu, const latency_conv *c, latency_squares q,
                      const conv_listed *plan)
{
    const conv_nhwc_problem problem = latency_cpu_problem(c);
    const conv_winograd_problem whole = {problem.shape, 1, c->outputs};
    double best = 0;

    for (int size = SMALL; size <= LARGE; size *= 2) {
        conv_winograd winograd;
        double seconds;

        conv_winograd_plan(&whole, brgemm_select(BRGEMM_F32), conv_winograd_select(), size, 1,
                           &winograd);
        if (!conv_listed_prefers(plan, &winograd) || (size == SMALL && q.side % LARGE == 0)) {
            continue;
        }
        seconds = winograd.predicted_cost / cpu->clock * windows_share(c, q, size);
        best = best == 0 || seconds < best ? seconds : best;
    }
    return best;
}

void latency_cpu_terms(const latency_cpu *cpu, const latency_conv *c, latency_squares q,
                       double terms[LATENCY_CPU_TERMS])
{
    conv_nhwc_problem problem = latency_cpu_problem(c);
    double map = (double)(c->height * c->width);
    bool is_flat = c->kernel_height == 1 && c->kernel_width == 1 && c->stride == 1;
    double width = is_flat ? map : (double)c->width;
    double side = fmin((double)q.side, (double)c->width);
    conv_listed plan;
    expected e;

    conv_listed_plan(&problem, brgemm_select(BRGEMM_F32), &plan);
    for (int i = 0; i < LATENCY_CPU_TERMS; i++) {
        terms[i] = 0;
    }
    terms[LATENCY_CPU_MASK] = map;
    if (c->groups == 1 && conv_winograd_can(&problem.shape)) {
        double direct = map * q.density * plan.pixel_cost / cpu->clock;
        double seconds = windows(cpu, c, q, &plan);

        if (seconds > 0 && seconds < direct) {
            terms[LATENCY_CPU_WINDOWS] = seconds;
            return;
        }
    }
    e = expect(width, side, q.density, &plan.tiling);
    e.singles *= map / width;
    e.tiles *= map / width;
    terms[LATENCY_CPU_SUMS] = map * q.density * plan.sum_cost / cpu->clock;
    terms[LATENCY_CPU_TILES] = e.tiles * plan.tile_cost / cpu->clock;
    terms[LATENCY_CPU_COPIES] =
        e.singles * ((double)plan.patch_bytes + (double)(plan.columns * BYTES));
}

double latency_cpu_listed(const latency_cpu *cpu, const latency_conv *c, latency_squares q)
{
    double sum = 0;

    if (latency_cpu_is_depthwise(c)) {
        latency_cpu_kind kind;
        double whole = latency_cpu_foretold(cpu, c, &kind);

        sum = cpu->scale[kind] * whole * q.density +
              cpu->listed[LATENCY_CPU_MASK] * (double)(c->height * c->width) / cpu->threads;
    } else {
        double terms[LATENCY_CPU_TERMS];

        latency_cpu_terms(cpu, c, q, terms);
        for (int i = 0; i < LATENCY_CPU_TERMS; i++) {
            sum += cpu->listed[i] * terms[i] / cpu->threads;
        }
    }
    return cpu->per_operator + sum;
}
