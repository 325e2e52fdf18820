/* What a block of layers costs on a CPU that `spry doctor --calibrate` has measured.
 *
 * Computing, at the speed of each layer alone and with the rows that threads make twice where they
 * meet, and moving, of the block's input, output and weights at the speed of the memory that holds
 * them, overlap for the most part; a parallel region and each strip cost besides. Images in between
 * move only where their rows do not stay in the second-level cache. */
#ifndef TUNE_FUSION_FUSION_CPU_H
#define TUNE_FUSION_FUSION_CPU_H

#include "tune/fusion/partition.h"
#include "tune/fusion/scaling.h"
#include "tune/latency_cpu.h"
#include "tune/target.h"

typedef struct fusion_cpu {
    latency_cpu cpu;                  /* of one thread */
    scaling threads;                  /* by layer; its teams are numbers of threads */
    double region[FUSION_TEAMS_MOST]; /* seconds of an empty parallel region of each team */
    double per_strip;                 /* seconds of one layer's strip, beside its arithmetic */
    bool is_guessed;
} fusion_cpu;

/* Numbers of threads up to `most` that are worth a look: ascending, with 1 and `most`. */
int32_t fusion_cpu_teams(int32_t most, int32_t teams[FUSION_TEAMS_MOST]);

/* Careful guesses about a machine of which nothing is known. */
void fusion_cpu_guess(fusion_cpu *f, int32_t threads);
/* A calibrated one, for sessions of `threads`. Where the description has no section fusion, threads
 * are guessed. Fails as target_quantity. */
SPRY_MUST_USE spry_status fusion_cpu_read(fusion_cpu *f, target *t, int32_t threads,
                                          spry_error *error);
/* Writes the section fusion. */
void fusion_cpu_write(const fusion_cpu *f, json_writer *json);

/* A network on such a machine. */
typedef struct fusion_cpu_context {
    const fusion_cpu *machine;
    fusion_network network;
    double *alone;     /* seconds of each layer's arithmetic on one thread */
    fusion_rows *rows; /* room, an entry per layer */
} fusion_cpu_context;

/* Fills `alone` and `rows` from `memory`. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status fusion_cpu_open(fusion_cpu_context *c, const fusion_cpu *f,
                                          const spry_layer *layers, int32_t count, arena *memory,
                                          spry_error *error);
/* For partition_problem, with a fusion_cpu_context. */
double fusion_cpu_seconds(const void *context, int32_t first, int32_t last, int32_t threads);
bool fusion_cpu_fits(const void *context, int32_t first, int32_t last, int32_t threads);

/* Bytes of the images between the layers of a block, of all images of a batch. */
double fusion_cpu_between(const fusion_network *n, int32_t first, int32_t last);

#endif
