/* Which keys survive the filters of attention (spry adapt --method energon) in a real run.
 *
 *     spry_survivors *survivors = NULL;
 *     spry_status status = spry_survivors_create(NULL, &survivors, &error);
 *     options.attention = spry_survivors_probe(survivors);
 *     ... spry_session_create(model, &options, ...), spry_session_run(...) ...
 *     status = spry_survivors_save(survivors, "survivors.npz", &error);
 *     spry_survivors_destroy(survivors);
 *
 * A file has these arrays for each filtered attention, by its number in the order of execution,
 * three digits from 000 on. Q = batch x heads x queries, in that order; S is how many keys survive
 * round 1, over all queries.
 *
 *     000.name     u8 [characters]   of the value that the attention computes
 *     000.form     i64 [7]           batch, heads, heads of keys, queries, keys, elements of a key,
 *                                    rounds
 *     000.visible  i32 [Q]           keys that the query may look at: causality and masks hide the
 *                                    others. Round 1 scores these.
 *     000.offsets  i64 [Q + 1]       query q has the entries offsets[q] to offsets[q + 1] - 1 of
 *     000.keys     i32 [S]           the survivors of round 1, ascending, and of
 *     000.rounds   u8 [S]            how many rounds each survived: 1 to their number. Round
 *                                    r + 1 scores those with at least r; those with all are read
 *                                    for exact products.
 *     000.work     i64 [9]           counted by the kernels: visible keys, survivors of rounds 1 to
 *                                    3 (the last repeated), multiply-adds of codes, bytes of codes,
 *                                    exact multiply-adds, bytes of keys, of values
 *
 * A query that sees fewer than 16 keys is not filtered: all its keys have survived all rounds. */
#ifndef SPRY_SURVIVORS_H
#define SPRY_SURVIVORS_H

#include "spry/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_survivors spry_survivors;

/* Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_survivors_create(const spry_allocator *allocator,
                                                         spry_survivors **survivors,
                                                         spry_error *error);
/* NULL is allowed. Sessions that look here must be destroyed before. */
SPRY_API void spry_survivors_destroy(spry_survivors *survivors);

/* For spry_session_options.attention. An attention that runs again replaces what it left. */
SPRY_API const spry_attention_probe *spry_survivors_probe(spry_survivors *survivors);

/* Attentions that were seen. */
SPRY_API int32_t spry_survivors_layers(const spry_survivors *survivors);

/* Writes .npz or .safetensors, replacing `path` atomically. Fails with SPRY_USAGE (no filtered
 * attention has run), SPRY_LIMIT (memory, also what went wrong while running), SPRY_IO. */
SPRY_API SPRY_MUST_USE spry_status spry_survivors_save(const spry_survivors *survivors,
                                                       const char *path, spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
