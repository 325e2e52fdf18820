/* Times oneDNN's matrix product and convolution on request.
 *
 *     OMP_NUM_THREADS=N onednn_bench [--dtype f32|bf16|u8s8] [--layout any|nhwc|nchw]
 *
 * Weights are in the layout oneDNN prefers, as after packing; `any` lets it choose the layout of
 * the images too. Sums are f32 (s32 for u8s8); results have the type of the inputs, except that a
 * product of u8s8 gives s32. Building needs Debian's libdnnl-dev (2.6). */
#include <oneapi/dnnl/dnnl.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "shape.h"

enum { TENSORS = 3, SOURCE = 0, WEIGHTS = 1, RESULT = 2, EXIT_USAGE = 2 };

typedef struct precision {
    const char *name;
    dnnl_data_type_t source, weights, gemm_result, conv_result;
} precision;

static const precision precisions[] = {
    {"f32", dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32},
    {"bf16", dnnl_bf16, dnnl_bf16, dnnl_bf16, dnnl_bf16},
    {"u8s8", dnnl_u8, dnnl_s8, dnnl_s32, dnnl_u8},
};

typedef struct layout {
    const char *name;
    dnnl_format_tag_t tag;
} layout;

static const layout layouts[] = {
    {"any", dnnl_format_tag_any},
    {"nhwc", dnnl_nhwc},
    {"nchw", dnnl_nchw},
};

typedef struct onednn_bench {
    const precision *precision;
    const layout *layout;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive; /* of the current shape; NULL before the first */
    dnnl_memory_t memory[TENSORS];
} onednn_bench;

static const int argument_ids[TENSORS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};

/* Small varied numbers; their value does not matter, but denormals and zeros would. */
static void fill(void *data, size_t bytes, dnnl_data_type_t type)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525U + 1013904223U;
        ((uint8_t *)data)[i] = (uint8_t)(state >> 24);
    }
    if (type == dnnl_f32) {
        float *values = data;
        for (size_t i = 0; i < bytes / sizeof *values; i++) {
            values[i] = (float)((const uint8_t *)data)[i * sizeof *values] / 256.0F - 0.4F;
        }
    } else if (type == dnnl_bf16) {
        uint16_t *values = data;
        for (size_t i = 0; i < bytes / sizeof *values; i++) {
            values[i] = (uint16_t)(0x3F00U | (values[i] & 0x807FU)); /* +-[0.5, 1) */
        }
    }
}

static void clear_shape(onednn_bench *bench)
{
    (void)dnnl_primitive_destroy(bench->primitive);
    bench->primitive = NULL;
    for (int i = 0; i < TENSORS; i++) {
        (void)dnnl_memory_destroy(bench->memory[i]);
        bench->memory[i] = NULL;
    }
}

static bool create_memory(onednn_bench *bench, const_dnnl_primitive_desc_t chosen, int index)
{
    static const dnnl_query_t queries[TENSORS] = {dnnl_query_src_md, dnnl_query_weights_md,
                                                  dnnl_query_dst_md};
    const dnnl_memory_desc_t *description = dnnl_primitive_desc_query_md(chosen, queries[index], 0);
    if (description == NULL || dnnl_memory_create(&bench->memory[index], description, bench->engine,
                                                  DNNL_MEMORY_ALLOCATE) != dnnl_success) {
        return false;
    }
    void *data = NULL;
    if (dnnl_memory_get_data_handle(bench->memory[index], &data) != dnnl_success) {
        return false;
    }
    fill(data, dnnl_memory_desc_get_size(description), description->data_type);
    return true;
}

/* Builds the primitive of a described operation, and its tensors. */
static bool create_primitive(onednn_bench *bench, const_dnnl_op_desc_t operation)
{
    dnnl_primitive_desc_t chosen = NULL;
    bool made =
        dnnl_primitive_desc_create(&chosen, operation, NULL, bench->engine, NULL) == dnnl_success &&
        dnnl_primitive_create(&bench->primitive, chosen) == dnnl_success;
    for (int i = 0; made && i < TENSORS; i++) {
        made = create_memory(bench, chosen, i);
    }
    (void)dnnl_primitive_desc_destroy(chosen);
    return made;
}

static bool set_gemm(onednn_bench *bench, const shape_gemm *gemm)
{
    const precision *type = bench->precision;
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t operation;
    return dnnl_memory_desc_init_by_tag(&a, 2, (const dnnl_dims_t){gemm->m, gemm->k}, type->source,
                                        dnnl_ab) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&b, 2, (const dnnl_dims_t){gemm->k, gemm->n}, type->weights,
                                        dnnl_format_tag_any) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&c, 2, (const dnnl_dims_t){gemm->m, gemm->n},
                                        type->gemm_result, dnnl_ab) == dnnl_success &&
           dnnl_matmul_desc_init(&operation, &a, &b, NULL, &c) == dnnl_success &&
           create_primitive(bench, &operation);
}

static dnnl_status_t describe_weights(const onednn_bench *bench, const shape_conv *conv,
                                      dnnl_memory_desc_t *weights)
{
    const dnnl_dims_t plain = {conv->filters, conv->channels, conv->rows, conv->columns};
    const dnnl_dims_t grouped = {conv->groups, conv->filters / conv->groups,
                                 conv->channels / conv->groups, conv->rows, conv->columns};
    bool is_plain = conv->groups == 1;
    return dnnl_memory_desc_init_by_tag(weights, is_plain ? 4 : 5, is_plain ? plain : grouped,
                                        bench->precision->weights, dnnl_format_tag_any);
}

static bool set_conv(onednn_bench *bench, const shape_conv *conv)
{
    const precision *type = bench->precision;
    const dnnl_dims_t strides = {conv->stride, conv->stride};
    const dnnl_dims_t dilations = {conv->dilation - 1, conv->dilation - 1};
    const dnnl_dims_t padding = {conv->pad, conv->pad};
    const dnnl_dims_t input = {conv->batch, conv->channels, conv->height, conv->width};
    const dnnl_dims_t output = {conv->batch, conv->filters,
                                shape_conv_extent(conv, conv->height, conv->rows),
                                shape_conv_extent(conv, conv->width, conv->columns)};
    dnnl_memory_desc_t source, weights, result;
    dnnl_convolution_desc_t operation;
    return dnnl_memory_desc_init_by_tag(&source, 4, input, type->source, bench->layout->tag) ==
               dnnl_success &&
           describe_weights(bench, conv, &weights) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&result, 4, output, type->conv_result,
                                        bench->layout->tag) == dnnl_success &&
           dnnl_dilated_convolution_forward_desc_init(
               &operation, dnnl_forward_inference, dnnl_convolution_auto, &source, &weights, NULL,
               &result, strides, dilations, padding, padding) == dnnl_success &&
           create_primitive(bench, &operation);
}

static bool set_shape(void *context, const char *line, char *reason)
{
    onednn_bench *bench = context;
    shape wanted;
    clear_shape(bench);
    if (!shape_parse(line, &wanted)) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "not a shape: %.100s", line);
        return false;
    }
    bool made = wanted.kind == SHAPE_GEMM ? set_gemm(bench, &wanted.of.gemm)
                                          : set_conv(bench, &wanted.of.conv);
    if (!made) {
        clear_shape(bench);
        (void)snprintf(reason, SERVE_REASON_SIZE, "oneDNN has no %s for this shape",
                       bench->precision->name);
    }
    return made;
}

static bool run(void *context, char *reason)
{
    onednn_bench *bench = context;
    dnnl_exec_arg_t arguments[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        arguments[i] = (dnnl_exec_arg_t){.arg = argument_ids[i], .memory = bench->memory[i]};
    }
    if (bench->primitive == NULL ||
        dnnl_primitive_execute(bench->primitive, bench->stream, TENSORS, arguments) !=
            dnnl_success ||
        dnnl_stream_wait(bench->stream) != dnnl_success) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "nothing to run, or the run failed");
        return false;
    }
    return true;
}

/* Sets what one option with a value says; false when there is no such option or value. */
static bool set_option(onednn_bench *bench, const char *option, const char *value)
{
    if (strcmp(option, "--dtype") == 0) {
        for (size_t i = 0; i < sizeof precisions / sizeof precisions[0]; i++) {
            if (strcmp(precisions[i].name, value) == 0) {
                bench->precision = &precisions[i];
                return true;
            }
        }
    }
    if (strcmp(option, "--layout") == 0) {
        for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
            if (strcmp(layouts[i].name, value) == 0) {
                bench->layout = &layouts[i];
                return true;
            }
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    onednn_bench bench = {.precision = &precisions[0], .layout = &layouts[0]};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc || !set_option(&bench, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "usage: onednn_bench [--dtype f32|bf16|u8s8] "
                                  "[--layout any|nhwc|nchw]\n");
            return EXIT_USAGE;
        }
    }
    if (dnnl_engine_create(&bench.engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&bench.stream, bench.engine, dnnl_stream_default_flags) !=
            dnnl_success) {
        (void)fprintf(stderr, "onednn_bench: oneDNN does not start here\n");
        return EXIT_FAILURE;
    }
    const dnnl_version_t *version = dnnl_version();
    printf("ready {\"version\": \"oneDNN %d.%d.%d\", \"dtype\": \"%s\", "
           "\"layout\": \"%s\"}\n",
           version->major, version->minor, version->patch, bench.precision->name,
           bench.layout->name);
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &bench, .set_shape = set_shape, .run = run});
    clear_shape(&bench);
    (void)dnnl_stream_destroy(bench.stream);
    (void)dnnl_engine_destroy(bench.engine);
    return EXIT_SUCCESS;
}
