/* Operands for conv_nhwc, laid out one after the other. */
#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "spry/random.h"

enum { LINE = 64, LOWERED_PIXELS = 64 };

/* What lies in the memory, in this order. */
typedef enum operand { INPUT, WEIGHTS, PACKED, RESULT, FACTORS, WORKSPACE, OPERANDS } operand;

conv_nhwc_way engine_parse_way(const char *text)
{
    int way = CONV_NHWC_AUTO + 1;

    if (strcmp(text, "auto") == 0) {
        return CONV_NHWC_AUTO;
    }
    while (way < CONV_NHWC_WAYS && strcmp(conv_nhwc_way_name((conv_nhwc_way)way), text) != 0) {
        way++;
    }
    return (conv_nhwc_way)way;
}

/* A product is the convolution of a row of pixels by kernels of one. */
static conv_nhwc_problem problem_of(const shape *of, brgemm_type type)
{
    const shape_conv row = {.batch = 1,
                            .channels = of->of.gemm.k,
                            .height = 1,
                            .width = of->of.gemm.m,
                            .filters = of->of.gemm.n,
                            .rows = 1,
                            .columns = 1,
                            .stride = 1,
                            .dilation = 1,
                            .groups = 1};
    const shape_conv *conv = of->kind == SHAPE_GEMM ? &row : &of->of.conv;

    return (conv_nhwc_problem){
        .shape = {.channels = conv->channels / conv->groups,
                  .in_h = conv->height,
                  .in_w = conv->width,
                  .out_h = shape_conv_extent(conv, conv->height, conv->rows),
                  .out_w = shape_conv_extent(conv, conv->width, conv->columns),
                  .kernel_h = conv->rows,
                  .kernel_w = conv->columns,
                  .stride_h = conv->stride,
                  .stride_w = conv->stride,
                  .dilation_h = conv->dilation,
                  .dilation_w = conv->dilation,
                  .pad_h = conv->pad,
                  .pad_w = conv->pad},
        .batch = conv->batch,
        .groups = conv->groups,
        .filters = conv->filters / conv->groups,
        .type = type,
        .result_size = type == BRGEMM_S8 ? sizeof(uint8_t) : sizeof(float)};
}

/* Floats in [-1, 1), or bytes over their whole range. */
static void fill(void *data, size_t bytes, brgemm_type type, uint64_t stream)
{
    spry_random r = spry_random_stream(1, stream);

    if (type != BRGEMM_S8) {
        spry_random_fill_uniform(&r, data, bytes / sizeof(float), -1.0f, 1.0f);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)data)[i] = (uint8_t)spry_random_u32(&r);
    }
}

static void set_finish(engine *e, float *factors, int64_t channels)
{
    brgemm_finish *f = &e->call.finish;

    f->lower = -INFINITY;
    f->upper = INFINITY;
    if (e->plan.problem.type == BRGEMM_S8) {
        for (int64_t i = 0; i < channels; i++) {
            factors[i] = 1.0f / (1 << 12);
        }
        f->result = BRGEMM_BYTES;
        f->factor = factors;
        f->high = UINT8_MAX;
    }
}

/* Memory for all operands; fills what is read. */
static bool fill_operands(engine *e)
{
    const conv_nhwc_problem *p = &e->plan.problem;
    const conv_f32_shape *s = &p->shape;
    int64_t channels = p->groups * p->filters;
    int64_t size = p->type == BRGEMM_S8 ? 1 : (int64_t)sizeof(float);
    const int64_t bytes[OPERANDS] = {
        [INPUT] = p->batch * s->in_h * s->in_w * p->groups * s->channels * size,
        [WEIGHTS] = channels * s->channels * s->kernel_h * s->kernel_w * size,
        [PACKED] = e->plan.packed_bytes,
        [RESULT] = p->batch * s->out_h * s->out_w * channels * (int64_t)p->result_size,
        [FACTORS] = channels * (int64_t)sizeof(float),
        [WORKSPACE] = e->plan.shared_bytes + e->plan.worker_bytes * threads_count(e->team)};
    uint8_t *at[OPERANDS];

    e->bytes = 0;
    for (int i = 0; i < OPERANDS; i++) {
        e->bytes += ((size_t)bytes[i] / LINE + 2) * LINE;
    }
    e->memory = alloc_zeroed(spry_allocator_system(), e->bytes);
    if (e->memory == NULL) {
        return false;
    }
    at[INPUT] = e->memory;
    for (int i = 1; i < OPERANDS; i++) {
        at[i] = at[i - 1] + ((size_t)bytes[i - 1] / LINE + 2) * LINE;
    }
    fill(at[INPUT], (size_t)bytes[INPUT], p->type, INPUT);
    fill(at[WEIGHTS], (size_t)bytes[WEIGHTS], p->type, WEIGHTS);
    conv_nhwc_pack(&e->plan, at[WEIGHTS], 0, at[PACKED]);
    e->call = (conv_nhwc_call){.c = &e->plan,
                               .x = at[INPUT],
                               .packed = at[PACKED],
                               .y = at[RESULT],
                               .y_pitch = channels * (int64_t)p->result_size,
                               .workspace = at[WORKSPACE]};
    set_finish(e, (float *)(void *)at[FACTORS], channels);
    return true;
}

bool engine_make(engine *e, const shape *of, brgemm_type type, conv_nhwc_way way, threads *team,
                 char *reason, size_t size)
{
    conv_nhwc_problem p = problem_of(of, type);

    *e = (engine){.team = team};
    if (p.groups > 1 && p.shape.channels == 1) {
        (void)snprintf(reason, size, "depthwise: another kernel runs this");
        return false;
    }
    if (way != CONV_NHWC_AUTO && !conv_nhwc_can(&p, way)) {
        (void)snprintf(reason, size, "%s cannot compute this", conv_nhwc_way_name(way));
        return false;
    }
    conv_nhwc_plan(&p, brgemm_select(type), way, threads_count(team), &e->plan);
    if (!fill_operands(e)) {
        (void)snprintf(reason, size, "no memory");
        return false;
    }
    return true;
}

void engine_clear(engine *e)
{
    alloc_release(spry_allocator_system(), e->memory, e->bytes);
    e->memory = NULL;
}

void engine_run(engine *e)
{
    const conv_nhwc_problem *p = &e->plan.problem;

    if (e->plan.way == CONV_NHWC_EXPLICIT) {
        threads_for(e->team, p->batch * p->shape.out_h * p->shape.out_w, LOWERED_PIXELS,
                    conv_nhwc_lower, &e->call);
    }
    threads_for(e->team, e->plan.pieces, 1, conv_nhwc_run, &e->call);
}
