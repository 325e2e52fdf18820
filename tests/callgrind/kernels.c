/* Runs ten kernels once each, on inputs that never change, for an instruction counter: counts.py
 * counts what happens inside `measured`.
 *
 *     kernels        prints their names in the order in which they run */
#include <stdio.h>
#include <stdlib.h>

#include "bench/layer.h"
#include "kernels/elementwise/elementwise_f32.h"

enum { ROW = 4096, REASON_SIZE = 256 };

/* Layers of networks, small: by what the runtime chooses for them. */
static const struct {
    const char *name;
    layer_type type;
    const char *shape;
} layers[] = {
    {"product_f32", LAYER_F32, "gemm 50 100 128"},
    {"product_u8s8", LAYER_U8S8, "gemm 50 100 128"},
    {"conv3x3_f32", LAYER_F32, "conv 1 32 14 14 48 3 3 1 1 1 1"},
    {"conv3x3_u8s8", LAYER_U8S8, "conv 1 32 14 14 48 3 3 1 1 1 1"},
    {"conv1x1_f32", LAYER_F32, "conv 1 96 14 14 64 1 1 1 0 1 1"},
    {"depthwise_f32", LAYER_F32, "conv 1 96 28 28 96 3 3 1 1 1 96"},
    {"depthwise_u8s8", LAYER_U8S8, "conv 1 96 28 28 96 3 3 1 1 1 96"},
};

/* Of one row. */
typedef enum row_kind { GELU, SOFTMAX, LAYER_NORM, ROW_KINDS } row_kind;
static const char *const row_names[ROW_KINDS] = {"gelu_f32", "softmax_f32", "layer_norm_f32"};

typedef struct row_work {
    row_kind kind;
    float from[ROW];
    float to[ROW];
} row_work;

static void run_row(void *context)
{
    row_work *w = context;
    const elementwise_f32_kernel *kernel = elementwise_f32_select();
    const elementwise_f32_norm norm = {.epsilon = 1e-5f};

    switch (w->kind) {
    case GELU: kernel->gelu(w->to, w->from, ROW); break;
    case SOFTMAX: kernel->softmax(w->to, w->from, ROW); break;
    default: (void)kernel->layer_norm(w->to, w->from, ROW, &norm); break;
    }
}

static void run_layer(void *context)
{
    (void)layer_run(context);
}

/* What is counted. It is called through a pointer, so that it stays a function. */
void measured(void (*work)(void *context), void *context);
void measured(void (*work)(void *context), void *context)
{
    work(context);
}

int main(void)
{
    static row_work w;
    void (*volatile count)(void (*work)(void *context), void *context) = measured;

    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        char reason[REASON_SIZE];
        shape s;
        layer l;

        if (!shape_parse(layers[i].shape, &s) ||
            !layer_make(&l, &s, layers[i].type, LAYER_ANY, NULL, threads_single(), reason,
                        sizeof reason)) {
            (void)fprintf(stderr, "kernels: %s: cannot be made\n", layers[i].name);
            return EXIT_FAILURE;
        }
        printf("%s\n", layers[i].name);
        count(run_layer, &l);
        layer_clear(&l);
    }
    for (int i = 0; i < ROW; i++) {
        w.from[i] = (float)(i * 37 % 1000) / 100.0f - 5.0f;
    }
    for (int kind = 0; kind < ROW_KINDS; kind++) {
        w.kind = (row_kind)kind;
        printf("%s\n", row_names[kind]);
        count(run_row, &w);
    }
    return EXIT_SUCCESS;
}
