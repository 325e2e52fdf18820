/* Times attention as oneDNN composes it: a batched product with the scale in its output, a softmax
 * in place, a batched product.
 *
 *     OMP_NUM_THREADS=N onednn_attention [--dtype f32|bf16]
 *
 * A shape is "QUERIES KEYS HEADS SIZE". Operands lie as [head][position][element], which is how
 * oneDNN likes them: no transposition is counted against it. In bf16 the scores are bf16 too, as
 * oneDNN's softmax has no mixed form. Building needs Debian's libdnnl-dev (2.6). */
#include <oneapi/dnnl/dnnl.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

enum { EXIT_USAGE = 2, EXTENT_MAX = 1 << 20, STEPS = 3 };

enum { QUERY, KEY, VALUE, SCORES, RESULT, TENSORS };

typedef struct onednn_attention {
    dnnl_data_type_t type;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_memory_desc_t described[TENSORS];
    dnnl_memory_t memory[TENSORS];
    dnnl_primitive_t step[STEPS];
} onednn_attention;

static void clear_shape(onednn_attention *bench)
{
    for (int i = 0; i < STEPS; i++) {
        (void)dnnl_primitive_destroy(bench->step[i]);
        bench->step[i] = NULL;
    }
    for (int i = 0; i < TENSORS; i++) {
        (void)dnnl_memory_destroy(bench->memory[i]);
        bench->memory[i] = NULL;
    }
}

/* Small varied numbers: +-[0.5, 1). */
static void fill(void *data, size_t bytes, dnnl_data_type_t type)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < bytes / 2; i++) {
        state = state * 1664525U + 1013904223U;
        ((uint16_t *)data)[i] = (uint16_t)(0x3F00U | (state >> 16 & 0x807FU));
    }
    if (type == dnnl_f32) {
        float *values = data;
        for (size_t i = 0; i < bytes / sizeof *values; i++) {
            state = state * 1664525U + 1013904223U;
            values[i] = (float)(state >> 24) / 256.0F - 0.4F;
        }
    }
}

static bool create_memory(onednn_attention *bench, int index, const dnnl_dims_t dims,
                          dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t *description = &bench->described[index];
    void *data = NULL;
    if (dnnl_memory_desc_init_by_tag(description, 3, dims, bench->type, tag) != dnnl_success ||
        dnnl_memory_create(&bench->memory[index], description, bench->engine,
                           DNNL_MEMORY_ALLOCATE) != dnnl_success ||
        dnnl_memory_get_data_handle(bench->memory[index], &data) != dnnl_success) {
        return false;
    }
    fill(data, dnnl_memory_desc_get_size(description), bench->type);
    return true;
}

static bool create_step(onednn_attention *bench, int index, const_dnnl_op_desc_t operation,
                        const_dnnl_primitive_attr_t attributes)
{
    dnnl_primitive_desc_t chosen = NULL;
    bool made = dnnl_primitive_desc_create(&chosen, operation, attributes, bench->engine, NULL) ==
                    dnnl_success &&
                dnnl_primitive_create(&bench->step[index], chosen) == dnnl_success;
    (void)dnnl_primitive_desc_destroy(chosen);
    return made;
}

static bool create_steps(onednn_attention *bench)
{
    static const float scale = 0.125F;
    const dnnl_memory_desc_t *d = bench->described;
    dnnl_matmul_desc_t product;
    dnnl_softmax_desc_t softmax;
    dnnl_primitive_attr_t attributes = NULL;
    bool made =
        dnnl_primitive_attr_create(&attributes) == dnnl_success &&
        dnnl_primitive_attr_set_output_scales(attributes, 1, 0, &scale) == dnnl_success &&
        dnnl_matmul_desc_init(&product, &d[QUERY], &d[KEY], NULL, &d[SCORES]) == dnnl_success &&
        create_step(bench, 0, &product, attributes) &&
        dnnl_softmax_forward_desc_init(&softmax, dnnl_forward_inference, &d[SCORES], 2) ==
            dnnl_success &&
        create_step(bench, 1, &softmax, NULL) &&
        dnnl_matmul_desc_init(&product, &d[SCORES], &d[VALUE], NULL, &d[RESULT]) == dnnl_success &&
        create_step(bench, 2, &product, NULL);
    (void)dnnl_primitive_attr_destroy(attributes);
    return made;
}

static bool set_shape(void *context, const char *line, char *reason)
{
    onednn_attention *bench = context;
    long queries = 0;
    long keys = 0;
    long heads = 0;
    long size = 0;
    clear_shape(bench);
    if (sscanf(line, "%ld %ld %ld %ld", &queries, &keys, &heads, &size) != 4 || queries < 1 ||
        keys < 1 || heads < 1 || size < 1 || queries > EXTENT_MAX || keys > EXTENT_MAX ||
        heads > EXTENT_MAX || size > EXTENT_MAX) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "not a shape: %.100s", line);
        return false;
    }
    bool made = create_memory(bench, QUERY, (const dnnl_dims_t){heads, queries, size}, dnnl_abc) &&
                create_memory(bench, KEY, (const dnnl_dims_t){heads, size, keys}, dnnl_acb) &&
                create_memory(bench, VALUE, (const dnnl_dims_t){heads, keys, size}, dnnl_abc) &&
                create_memory(bench, SCORES, (const dnnl_dims_t){heads, queries, keys}, dnnl_abc) &&
                create_memory(bench, RESULT, (const dnnl_dims_t){heads, queries, size}, dnnl_abc) &&
                create_steps(bench);
    if (!made) {
        clear_shape(bench);
        (void)snprintf(reason, SERVE_REASON_SIZE, "oneDNN cannot do this shape");
    }
    return made;
}

static bool run_step(onednn_attention *bench, int index, int source, int weights, int result)
{
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, bench->memory[source]},
                                   {DNNL_ARG_DST, bench->memory[result]},
                                   {DNNL_ARG_WEIGHTS, bench->memory[weights]}};
    return dnnl_primitive_execute(bench->step[index], bench->stream, weights != source ? 3 : 2,
                                  arguments) == dnnl_success;
}

static bool run(void *context, char *reason)
{
    onednn_attention *bench = context;
    if (bench->step[STEPS - 1] == NULL || !run_step(bench, 0, QUERY, KEY, SCORES) ||
        !run_step(bench, 1, SCORES, SCORES, SCORES) || !run_step(bench, 2, SCORES, VALUE, RESULT) ||
        dnnl_stream_wait(bench->stream) != dnnl_success) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "nothing to run, or the run failed");
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    onednn_attention bench = {.type = dnnl_f32};
    for (int i = 1; i < argc; i += 2) {
        bool is_f32 = i + 1 < argc && strcmp(argv[i + 1], "f32") == 0;
        bool is_bf16 = i + 1 < argc && strcmp(argv[i + 1], "bf16") == 0;
        if (strcmp(argv[i], "--dtype") != 0 || !(is_f32 || is_bf16)) {
            (void)fprintf(stderr, "usage: onednn_attention [--dtype f32|bf16]\n");
            return EXIT_USAGE;
        }
        bench.type = is_bf16 ? dnnl_bf16 : dnnl_f32;
    }
    if (dnnl_engine_create(&bench.engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&bench.stream, bench.engine, dnnl_stream_default_flags) !=
            dnnl_success) {
        (void)fprintf(stderr, "onednn_attention: oneDNN does not start here\n");
        return EXIT_FAILURE;
    }
    const dnnl_version_t *version = dnnl_version();
    printf("ready {\"version\": \"oneDNN %d.%d.%d\"}\n", version->major, version->minor,
           version->patch);
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &bench, .set_shape = set_shape, .run = run});
    clear_shape(&bench);
    (void)dnnl_stream_destroy(bench.stream);
    (void)dnnl_engine_destroy(bench.engine);
    return EXIT_SUCCESS;
}
