/* Clean-up passes: graph to graph, same results. One file each; pass.c holds the table.
 *
 * A pass works on one graph without its bodies, expects it sorted, and leaves it valid and sorted.
 * Passes that look at types do what the types that are known allow: run infer_graph first. */
#ifndef MODEL_PASS_H
#define MODEL_PASS_H

#include "base/threads.h"
#include "model/model.h"

typedef struct pass_context {
    const model *m;       /* whose functions are inlined; NULL: none */
    threads *team;        /* for folding; NULL: one thread */
    bool fold_dequantize; /* also fold constants through DequantizeLinear, giving up on running them
                             as integers */
    bool inline_all;      /* also functions that Spry has an operator for */
    bool for_file;        /* skip passes whose result must not be written to a file */
    int64_t changes;      /* rewrites made so far, summed over passes */
} pass_context;

/* Each fails with SPRY_LIMIT (memory); others are named. */
typedef spry_status (*pass_function)(graph *g, pass_context *c, spry_error *error);

/* Replaces calls of model-local functions by their bodies, here and in subgraphs.
 * Fails with SPRY_LIMIT also when functions nest too deep (or call each other in circles). */
SPRY_MUST_USE spry_status pass_inline(graph *g, pass_context *c, spry_error *error);

/* Removes what does not change its input: Identity, Dropout, casts, transposes and reshapes that
 * undo each other, empty Pad and Slice, Concat of one. */
SPRY_MUST_USE spry_status pass_identity(graph *g, pass_context *c, spry_error *error);

/* Cancels a QuantizeLinear that follows a DequantizeLinear with the same parameters, which gives
 * back the very same integers. The opposite order rounds, and stays. */
SPRY_MUST_USE spry_status pass_quantize(graph *g, pass_context *c, spry_error *error);

/* Computes nodes whose inputs are constant, with the operator's own kernel. Results that are larger
 * than PASS_FOLD_BYTES and than their inputs stay computed at run time, except dequantized
 * weights. */
SPRY_MUST_USE spry_status pass_fold(graph *g, pass_context *c, spry_error *error);

/* Multiplies BatchNormalization into the constant weights of the Conv, ConvTranspose or Gemm before
 * it (f32). Results differ in rounding. */
SPRY_MUST_USE spry_status pass_batchnorm(graph *g, pass_context *c, spry_error *error);

/* Gathers formulas into the operator that they are (f32): LayerNormalization from its means and
 * roots; Gelu, Swish and HardSwish from their products. These may be of newer operator sets than
 * the model says: for graphs that are run, not written. Results differ in rounding. */
SPRY_MUST_USE spry_status pass_layer_norm(graph *g, pass_context *c, spry_error *error);
SPRY_MUST_USE spry_status pass_activation(graph *g, pass_context *c, spry_error *error);

/* Takes Attention and MultiHeadAttention of com.microsoft apart into standard operators, where they
 * keep no caches: for graphs that are run, as above. */
SPRY_MUST_USE spry_status pass_attention(graph *g, pass_context *c, spry_error *error);

/* Drops nodes and initializers that no output needs. */
SPRY_MUST_USE spry_status pass_dead(graph *g, pass_context *c, spry_error *error);

enum { PASS_FOLD_BYTES = 1 << 20 };

typedef struct pass_entry {
    const char *name;
    pass_function run;
    bool plan_only; /* makes operators that the model's operator set may lack, or loses functions */
} pass_entry;

/* All passes in the order they are run; ended by an entry without a name. */
const pass_entry *pass_table(void);

/* Inlines, infers types, and runs all passes over the graph and its bodies until nothing changes (a
 * few times at most). Fails as infer_graph and the passes do. */
SPRY_MUST_USE spry_status pass_run_all(graph *g, pass_context *c, spry_error *error);

#endif
