/* Cycles come from the kernels' planners, seconds per cycle from the calibration. */
#include "tune/latency_cpu.h"

#include <stdio.h>

#include "kernels/brgemm/brgemm.h"
#include "kernels/conv/conv_nhwc.h"
#include "kernels/conv/conv_winograd.h"

enum {
    BYTES = 4,
    OPERATIONS_PER_MAC = 2,
    DEPTHWISE_EXTRA = 16,
    MOST_THREADS = 1024,
    KEY_SIZE = 64
};

const char *const latency_cpu_kind_names[LATENCY_CPU_KINDS] = {
    [LATENCY_CPU_POINTWISE] = "pointwise",
    [LATENCY_CPU_WINDOW] = "window",
    [LATENCY_CPU_WINOGRAD] = "winograd",
    [LATENCY_CPU_DEPTHWISE] = "depthwise",
};

const char *const latency_cpu_level_names[LATENCY_CPU_LEVELS] = {"l1", "l2", "l3", "dram"};

bool latency_cpu_is(target *t)
{
    return target_has(t, "cpu");
}

static spry_status read_levels(latency_cpu *cpu, target *t, spry_error *error)
{
    char key[KEY_SIZE];
    spry_status status = SPRY_OK;

    for (int i = 0; status == SPRY_OK && i < LATENCY_CPU_LEVELS; i++) {
        (void)snprintf(key, sizeof key, "cpu.%s.triad", latency_cpu_level_names[i]);
        status = target_quantity(t, key, UNIT_BYTES_PER_SECOND, 1, 1e18, &cpu->rates[i], error);
        if (status == SPRY_OK && i < LATENCY_CPU_LEVELS - 1) {
            (void)snprintf(key, sizeof key, "cpu.%s.size", latency_cpu_level_names[i]);
            status = target_quantity(t, key, UNIT_BYTES, 1, 1e15, &cpu->sizes[i], error);
        }
    }
    return status;
}

spry_status latency_cpu_read(latency_cpu *cpu, target *t, spry_error *error)
{
    char key[KEY_SIZE];
    int64_t threads = 1;
    double narrow; /* of other types: for people, and for other readers of the section */
    spry_status status = target_count(t, "cpu.threads", 1, MOST_THREADS, &threads, error);

    *cpu = (latency_cpu){.threads = (int)threads};
    if (status != SPRY_OK ||
        (status = target_quantity(t, "compute.clock", UNIT_HERTZ, 1, 1e12, &cpu->clock, error)) !=
            SPRY_OK ||
        (status = target_quantity(t, "cpu.peak.f32", UNIT_OPERATIONS_PER_SECOND, 1, 1e18,
                                  &cpu->peak, error)) != SPRY_OK ||
        (status = target_quantity_or(t, "cpu.peak.bf16", UNIT_OPERATIONS_PER_SECOND, 1, 1e18,
                                     &narrow, error)) != SPRY_OK ||
        (status = target_quantity_or(t, "cpu.peak.s8", UNIT_OPERATIONS_PER_SECOND, 1, 1e18, &narrow,
                                     error)) != SPRY_OK ||
        (status = target_quantity(t, "cpu.per_operator", UNIT_SECONDS, 0, 1, &cpu->per_operator,
                                  error)) != SPRY_OK) {
        return status;
    }
    for (int i = 0; status == SPRY_OK && i < LATENCY_CPU_KINDS; i++) {
        (void)snprintf(key, sizeof key, "cpu.scale.%s", latency_cpu_kind_names[i]);
        status = target_quantity(t, key, UNIT_ONE, 1e-3, 1e6, &cpu->scale[i], error);
    }
    for (int i = 0; status == SPRY_OK && i < LATENCY_CPU_TERMS; i++) {
        bool is_time = latency_cpu_term_is_time((latency_cpu_term)i);

        (void)snprintf(key, sizeof key, "cpu.listed.%s", latency_cpu_term_names[i]);
        status = target_quantity(t, key, is_time ? UNIT_SECONDS : UNIT_ONE, 0, is_time ? 1 : 1e6,
                                 &cpu->listed[i], error);
    }
    return status == SPRY_OK ? read_levels(cpu, t, error) : status;
}

/* ---- convolutions ---- */

static double macs_of(const latency_conv *c)
{
    return (double)(c->inputs / c->groups) * (double)c->outputs * (double)(c->height * c->width) *
           (double)(c->kernel_height * c->kernel_width);
}

bool latency_cpu_is_depthwise(const latency_conv *c)
{
    return c->groups > 1 && c->groups == c->inputs;
}

static conv_f32_shape shape_of(const latency_conv *c)
{
    return (conv_f32_shape){.channels = c->inputs / c->groups,
                            .in_h = c->height * c->stride,
                            .in_w = c->width * c->stride,
                            .out_h = c->height,
                            .out_w = c->width,
                            .kernel_h = c->kernel_height,
                            .kernel_w = c->kernel_width,
                            .stride_h = c->stride,
                            .stride_w = c->stride,
                            .dilation_h = 1,
                            .dilation_w = 1,
                            .pad_h = c->kernel_height / 2,
                            .pad_w = c->kernel_width / 2};
}

conv_nhwc_problem latency_cpu_problem(const latency_conv *c)
{
    return (conv_nhwc_problem){.shape = shape_of(c),
                               .batch = 1,
                               .groups = c->groups,
                               .filters = c->outputs / c->groups,
                               .type = BRGEMM_F32,
                               .result_size = BYTES};
}

/* Seconds, unscaled, of the direct sum. */
static double direct(const latency_cpu *cpu, const latency_conv *c, int threads)
{
    const conv_nhwc_problem problem = latency_cpu_problem(c);
    conv_nhwc plan;

    conv_nhwc_plan(&problem, brgemm_select(BRGEMM_F32), CONV_NHWC_AUTO, threads, &plan);
    return plan.predicted_cost / cpu->clock;
}

static latency_cpu_kind direct_kind(const latency_conv *c)
{
    return c->kernel_height == 1 && c->kernel_width == 1 ? LATENCY_CPU_POINTWISE
                                                         : LATENCY_CPU_WINDOW;
}

double latency_cpu_foretold(const latency_cpu *cpu, const latency_conv *c, latency_cpu_kind *kind)
{
    conv_f32_shape shape = shape_of(c);
    double alone;
    double best;

    if (latency_cpu_is_depthwise(c)) {
        /* Reading and writing a pixel take as long as some more taps. */
        double taps = (double)(c->kernel_height * c->kernel_width);

        *kind = LATENCY_CPU_DEPTHWISE;
        return macs_of(c) * (1 + DEPTHWISE_EXTRA / taps) * OPERATIONS_PER_MAC / cpu->peak /
               cpu->threads;
    }
    *kind = direct_kind(c);
    alone = direct(cpu, c, 1);
    best = cpu->threads > 1 ? direct(cpu, c, cpu->threads) : alone;
    if (c->groups == 1 && conv_winograd_can(&shape)) {
        const conv_winograd_problem problem = {shape, 1, c->outputs};

        /* Chosen by what one thread would take, as the runtime does. */
        for (int size = 2; size <= 4; size += 2) {
            conv_winograd plan;

            conv_winograd_plan(&problem, brgemm_select(BRGEMM_F32), conv_winograd_select(), size,
                               cpu->threads, &plan);
            if (plan.predicted_cost / cpu->clock < alone) {
                alone = plan.predicted_cost / cpu->clock;
                best = plan.team_cost / cpu->clock;
                *kind = LATENCY_CPU_WINOGRAD;
            }
        }
    }
    return best;
}

double latency_cpu_conv(const latency_cpu *cpu, const latency_conv *c)
{
    latency_cpu_kind kind;
    double foretold = latency_cpu_foretold(cpu, c, &kind);

    return cpu->per_operator + cpu->scale[kind] * foretold;
}

/* ---- blocks ---- */

/* Seconds of reading or writing `numbers` that lie where they fit. */
static double traffic(const latency_cpu *cpu, double numbers)
{
    double bytes = numbers * BYTES;
    int level = 0;

    while (level < LATENCY_CPU_LEVELS - 1 && bytes > cpu->sizes[level]) {
        level++;
    }
    return bytes / cpu->rates[level] / (level < LATENCY_CPU_LEVELS - 1 ? cpu->threads : 1);
}

static double numbers_of(const latency_conv *c)
{
    return (double)c->outputs * (double)(c->height * c->width);
}

/* What does not depend on the mask: the shortcut, and squeeze-and-excitation. */
static double around(const latency_cpu *cpu, const latency_block *b)
{
    double sum = b->has_shortcut ? latency_cpu_conv(cpu, &b->shortcut) : 0;

    if (b->squeezed > 0) {
        const latency_conv *c = &b->convs[b->squeeze_after];
        const latency_conv down = {c->outputs, b->squeezed, 1, 1, 1, 1, 1, 1};
        const latency_conv up = {b->squeezed, c->outputs, 1, 1, 1, 1, 1, 1};

        /* Averaging reads, the product reads and writes. */
        sum += 2 * cpu->per_operator + 3 * traffic(cpu, numbers_of(c)) +
               latency_cpu_conv(cpu, &down) + latency_cpu_conv(cpu, &up);
    }
    return sum;
}

/* The sum is part of the last convolution, which reads the other operand. */
double latency_cpu_dense(const latency_cpu *cpu, const latency_block *b)
{
    double sum = around(cpu, b) + traffic(cpu, numbers_of(latency_block_last(b)));

    for (int i = 0; i < b->conv_count; i++) {
        sum += latency_cpu_conv(cpu, &b->convs[i]);
    }
    return sum;
}

static double masker(const latency_cpu *cpu, const latency_block *b)
{
    return 2 * cpu->per_operator +
           traffic(cpu, (double)b->inputs * (double)(b->in_height * b->in_width));
}

static double squares_on_cpu(const latency_cpu *cpu, const latency_block *b,
                             const latency_plan *plan, bool *fused)
{
    latency_squares read = plan->squares;
    latency_conv wider = b->convs[0];
    double apart;
    double together;
    double sum =
        around(cpu, b) + plan->squares.density * traffic(cpu, numbers_of(latency_block_last(b)));

    if (plan->halo == LATENCY_HALO_RANDOM && b->conv_count > 1) {
        read.density = latency_dilated(&b->convs[1], plan->squares);
    }
    for (int i = 1; i < b->conv_count; i++) { /* the map is larger where others have strides */
        read.side *= b->convs[i].stride;
    }
    apart = masker(cpu, b) + latency_cpu_listed(cpu, &b->convs[0], read);
    wider.outputs++;
    together = latency_cpu_conv(cpu, &wider);
    *fused = wider.groups == 1 && direct_kind(&wider) == LATENCY_CPU_POINTWISE && together < apart;
    sum += *fused ? together : apart;
    for (int i = 1; i < b->conv_count; i++) {
        sum += latency_cpu_listed(cpu, &b->convs[i], plan->squares);
    }
    return sum;
}

static double channels_on_cpu(const latency_cpu *cpu, const latency_block *b, double density)
{
    double sum = around(cpu, b) + masker(cpu, b) + traffic(cpu, numbers_of(latency_block_last(b)));

    for (int i = 0; i < b->conv_count; i++) {
        double from = i == 0 ? 1 : density;
        double to = i == b->conv_count - 1 ? 1 : density;

        sum += cpu->per_operator +
               (latency_cpu_conv(cpu, &b->convs[i]) - cpu->per_operator) * from * to;
    }
    return sum;
}

double latency_cpu_sparse(const latency_cpu *cpu, const latency_block *b, const latency_plan *plan,
                          bool *fused)
{
    latency_block inner = *b;
    bool ignored;

    fused = fused != NULL ? fused : &ignored;
    *fused = false;
    switch (plan->skip) {
    case LATENCY_SKIP_CHANNELS: return channels_on_cpu(cpu, b, plan->squares.density);
    case LATENCY_SKIP_LAYERS:
        inner.has_shortcut = false;
        return masker(cpu, b) + (b->has_shortcut ? latency_cpu_conv(cpu, &b->shortcut) : 0) +
               plan->squares.density * latency_cpu_dense(cpu, &inner);
    default: return squares_on_cpu(cpu, b, plan, fused);
    }
}
