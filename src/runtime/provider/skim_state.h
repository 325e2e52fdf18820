/* What the files of the provider of skimming layers share (ops/skim.h): a layer as it is
 * planned. */
#ifndef RUNTIME_PROVIDER_SKIM_STATE_H
#define RUNTIME_PROVIDER_SKIM_STATE_H

#include "kernels/attention/attention_f32.h"
#include "kernels/attention/block_predictor.h"
#include "kernels/brgemm/brgemm_product.h"
#include "kernels/elementwise/elementwise_f32.h"
#include "ops/op.h"
#include "ops/skim.h"
#include "runtime/cache/packed.h"

/* The products of a layer, in the order of their ports. */
enum skim_product { SKIM_TO_Q, SKIM_TO_K, SKIM_TO_V, SKIM_TO_OUT, SKIM_TO_UP, SKIM_TO_DOWN };
enum { SKIM_PRODUCTS = SKIM_TO_DOWN + 1 };

typedef struct skim_state {
    spry_allocator allocator;
    skim_form form;
    const brgemm_kernel *products[SKIM_PRODUCTS];
    packed_memory packed[SKIM_PRODUCTS];
    const attention_kernel *attention;
    const elementwise_f32_kernel *elementwise;
    const block_predictor_kernel *predictor_kernel;
    block_predictor predictor;
    packed_memory predictor_packed;
    /* Workspace, offsets in bytes: numbers of kept rows, lists, and what each worker wants. */
    int64_t x, wide, middle, sum, bias, rows, firsts, blocks, images, logits, workers;
    int64_t worker_bytes;
    int64_t bytes;
    double density; /* of the last run: share of the tokens that were computed */
} skim_state;

/* Weights of product `which`: [inputs][outputs]. */
static inline int skim_product_port(int which)
{
    static const int ports[SKIM_PRODUCTS] = {SKIM_Q, SKIM_K, SKIM_V, SKIM_OUT, SKIM_UP, SKIM_DOWN};

    return ports[which];
}

/* The product for `rows` rows. */
static inline brgemm_product_problem skim_product_problem(const skim_form *f, int which,
                                                          int64_t rows)
{
    int64_t k = which == SKIM_TO_DOWN ? f->inner : f->hidden;
    int64_t n = which == SKIM_TO_UP ? f->inner : f->hidden;

    return (brgemm_product_problem){.m = rows, .n = n, .k = k, .a_row = k, .a_k = 1};
}

/* Attention within `rows` kept tokens of one sequence, without operands. */
static inline attention_problem skim_attention_problem(const skim_form *f, int64_t rows)
{
    return (attention_problem){.batch = 1,
                               .heads = f->heads,
                               .kv_heads = f->heads,
                               .rows = rows,
                               .keys = rows,
                               .size = f->hidden / f->heads,
                               .value_size = f->hidden / f->heads,
                               .scale = f->scale};
}

/* Computes what is kept: the provider's run (skim_run.c). */
SPRY_MUST_USE spry_status skim_run(skim_state *s, op_call *call, void *workspace);

#endif
