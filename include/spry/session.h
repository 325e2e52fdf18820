/* Sessions: a model made ready to run on this machine.
 *
 *     spry_session_options options = spry_session_options_default();
 *     spry_session *session = NULL;
 *     spry_status status = spry_session_create(model, &options, &session, &error);
 *     const char *names[] = {"image"};
 *     const spry_value *inputs[] = {image};
 *     spry_value *outputs[1] = {NULL};           // one per model output
 *     status = spry_session_run(session, 1, names, inputs, 1, outputs, &error);
 *     ... spry_value_tensor(outputs[0]) ...
 *     spry_value_destroy(outputs[0]);
 *     spry_session_destroy(session);
 *
 * A session plans once per set of input shapes and keeps the plans. It may be used by one thread at
 * a time; several sessions of one model may run side by side. */
#ifndef SPRY_SESSION_H
#define SPRY_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/model.h"
#include "spry/trace.h"
#include "spry/value.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_session spry_session;
typedef struct spry_attention_probe spry_attention_probe; /* of spry/heads.h */
typedef struct spry_blocks spry_blocks;                   /* of spry/blocks.h */

/* In what a model of f32 multiplies; inputs and results stay f32. Quantized models run as integers
 * in any precision. */
typedef enum spry_precision {
    SPRY_PRECISION_F32 = 0,
    /* Convolutions and products with one matrix of weights, constant or not, round their factors to
     * bf16 where that gains, and sum in f32; those that give the model's answer stay f32, and all
     * do on a processor without AVX-512 BF16. */
    SPRY_PRECISION_BF16 = 1,
    SPRY_PRECISION_INT8 = 2 /* only for quantized models */
} spry_precision;

typedef struct spry_session_options {
    size_t struct_size; /* sizeof(spry_session_options): lets the struct grow */
    int threads;        /* 0: as many as the process may use */
    spry_precision precision;
    uint64_t seed;                   /* of random operators */
    size_t memory_ceiling;           /* bytes for one plan's activations; 0: no ceiling */
    bool keep_order;                 /* skip the clean-up and fusion passes: nodes run as written */
    bool profile;                    /* record time per operator (see spry_session_profile) */
    const spry_allocator *allocator; /* NULL: the system's */
    spry_trace *trace;               /* records every operator; outlives the session; NULL: none */
    /* A folder for packed weights, which the next session of the same model, shapes, options and
     * machine maps instead of packing them again; NULL: none. It must exist, belong to somebody
     * trusted, and outlive the session. Files in it may be removed at any time, never rewritten. */
    const char *plan_cache;
    /* Looks into attention (spry/heads.h); outlives the session; NULL: none. */
    const spry_attention_probe *attention;
    /* Which layers run together, and on how many threads (spry/blocks.h); copied. NULL: pairs of
     * layers do where that is known to gain. A block that cannot run as one, or has a name that no
     * layer of a plan has, fails with SPRY_USAGE when the plan is made, naming the layer and
     * why. */
    const spry_blocks *blocks;
} spry_session_options;

SPRY_API spry_session_options spry_session_options_default(void);

/* Checks that every operator is supported, cleans the graph up, and chooses kernels.
 * Fails with SPRY_UNSUPPORTED (the error tells how many operators and names the first ones;
 * spry_model_unsupported lists all; or the precision is not for this model), SPRY_USAGE (options),
 * SPRY_BAD_INPUT (shapes contradict), SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_session_create(const spry_model *model,
                                                       const spry_session_options *options,
                                                       spry_session **session, spry_error *error);
SPRY_API void spry_session_destroy(spry_session *session);

/* Runs once. `names`/`inputs` give the model's inputs in any order; inputs with an initializer may
 * be left out. `outputs` receives `output_count` new values (of the model's outputs in order),
 * which the caller destroys; on failure all are NULL.
 * Fails with SPRY_USAGE (a name, type or shape does not fit), SPRY_BAD_INPUT (the model
 * contradicts itself on this input), SPRY_LIMIT (memory), SPRY_UNSUPPORTED. */
SPRY_API SPRY_MUST_USE spry_status spry_session_run(spry_session *session, int32_t input_count,
                                                    const char *const *names,
                                                    const spry_value *const *inputs,
                                                    int32_t output_count, spry_value **outputs,
                                                    spry_error *error);

/* Time of one operator summed over the runs since the last reset. */
typedef struct spry_profile_row {
    const char *node;   /* label; lives as long as the session */
    const char *type;   /* operator */
    const char *kernel; /* what executed it, e.g. "gemm_f32_14x32__avx512" or "reference" */
    int64_t calls;
    double milliseconds;
    int64_t macs;            /* per call; 0 when unknown */
    int64_t bytes;           /* read and written per call; 0 when unknown */
    const char *plan;        /* how, where the kernel has several ways, e.g. "winograd"; else "" */
    int32_t threads;         /* that the work was cut for; 0 when unknown */
    double predicted_cycles; /* per call, foretold when planning; 0 when unknown */
    double
        density; /* mean share of the results that were computed, where a mask decides; else -1 */
    /* Where zeros are skipped; else -1: share of the weights that is not zero; the same of the
     * input, from samples, the mean over calls; the foretold time of the best dense way over that
     * of the way taken, the mean over calls. */
    double weight_density, input_density, gain;
    /* Where layers run together (spry/blocks.h); else -1: bytes of the images between them; those
     * of their rows that a thread holds at one time; bytes of these images that the last call wrote
     * elsewhere (none); and multiplications done over those of one thread: several make the rows
     * where they meet twice. */
    int64_t block_images, block_windows, block_outside;
    double block_redundancy;
    const char *result; /* the first value that the node makes; of a block, its last layer's */
} spry_profile_row;

/* Rows in order of first execution; *rows lives until the next run or reset. Empty unless
 * options.profile was set. */
SPRY_API int32_t spry_session_profile(const spry_session *session, const spry_profile_row **rows);
SPRY_API void spry_session_profile_reset(spry_session *session);

/* What became of options.plan_cache in the plan that was made last: "off", "read: FILE", "written:
 * FILE", or why not. Lives until the next run. */
SPRY_API const char *spry_session_plan_cache(const spry_session *session);

/* Bytes of the largest plan's activation arena, and of packed weights. */
SPRY_API size_t spry_session_arena_bytes(const spry_session *session);
SPRY_API size_t spry_session_packed_bytes(const spry_session *session);

#ifdef __cplusplus
}
#endif

#endif
