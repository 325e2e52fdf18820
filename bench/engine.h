/* One layer on the channels-last engine alone, by a way of the caller's choice: what the planner
 * chose is compared with what it might have chosen. */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include "base/threads.h"
#include "kernels/conv/conv_nhwc.h"
#include "shape.h"

typedef struct engine {
    conv_nhwc plan;
    conv_nhwc_call call;
    threads *team;
    void *memory; /* of all operands; NULL: nothing to run */
    size_t bytes;
} engine;

/* The way of that name ("auto" lets the planner choose), or CONV_NHWC_WAYS. */
conv_nhwc_way engine_parse_way(const char *text);

/* Plans and packs with seeded numbers. On false, `reason` (of `size` bytes) says why not; the
 * engine is empty then. */
bool engine_make(engine *e, const shape *of, brgemm_type type, conv_nhwc_way way, threads *team,
                 char *reason, size_t size);
void engine_clear(engine *e);

void engine_run(engine *e);

#endif
