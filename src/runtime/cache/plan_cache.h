/* Packed weights kept on the disk from one process to the next: a plan's cache.
 *
 *     plan_cache_open -> per step: plan_cache_begin, packed_make by its provider (packed.h), any
 *     number of times, plan_cache_end -> plan_cache_finish -> (runs) -> plan_cache_close
 *
 * Where a whole and matching file is there, providers get addresses in its map instead of packing,
 * and weights that they would have packed are not even read. Otherwise what they make is written,
 * to a file of its own that replaces what was there. Nothing here ever fails a plan: without a
 * cache, with a damaged file or a full disk the plan is made as without. */
#ifndef RUNTIME_CACHE_PLAN_CACHE_H
#define RUNTIME_CACHE_PLAN_CACHE_H

#include "base/threads.h"
#include "model/graph.h"
#include "spry/session.h"

typedef struct plan_cache plan_cache;

/* The cache in options->plan_cache of a plan for `g`; NULL: none is wanted, or memory ran out. */
plan_cache *plan_cache_open(const graph *g, const spry_session_options *options, threads *team);
/* NULL is allowed. What plan_cache_take gave ends here. */
void plan_cache_close(plan_cache *c);

/* Between the two, blobs are those of step `step`, which executes `node`. plan_cache_begin holds
 * the constants that the node reads (model/weights.h) but those that are packed in the file; both
 * do what has to be done about them also where `c` is NULL. `spent` is that of provider_step. Fail
 * with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status plan_cache_begin(plan_cache *c, const graph *g, const graph_node *node,
                                           int32_t step, spry_error *error);
SPRY_MUST_USE spry_status plan_cache_end(plan_cache *c, const graph *g, const graph_node *node,
                                         unsigned spent, spry_error *error);

/* The next blob of the step. NULL: it has to be made, and everything that the node reads is held
 * from then on; or, where *refused, it was made once and found to be of no use. `kind` names what
 * makes it. */
SPRY_MUST_USE spry_status plan_cache_take(plan_cache *c, const char *kind, size_t bytes,
                                          const void **data, bool *refused, spry_error *error);
/* The blob that was made instead; it stays where it is until plan_cache_finish. */
void plan_cache_give(plan_cache *c, const char *kind, const void *data, size_t bytes);
/* The last blob is of no use and will be released. */
void plan_cache_refuse(plan_cache *c);

/* All steps are done: writes the file where something in it would change. */
void plan_cache_finish(plan_cache *c);

/* What became of the cache: spry_session_plan_cache. */
const char *plan_cache_report(const plan_cache *c);

#endif
