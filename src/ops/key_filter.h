/* KeyFilter of the domain ai.spry: scores of attention, of which only those of keys that matter
 * stay: Energon's multi-round filtering (arXiv 2110.09310) by products of few bits.
 *
 *     KeyFilter(scores [N, H, T, K], queries [N, H, T, d], keys [N, H, d, K],
 *               scale [H, 1, 1], alpha [2, H, 1, 1])
 *
 * `scores` are scaled and masked; a key whose score is below FILTER_HIDDEN (kernels/filter) is
 * hidden. `queries` and `keys` are what the scores are the product of. Codes of keys are those of
 * kernels/filter/filter_keys.h for the scale of their head, those of a query follow from its own
 * largest element. alpha (f64) holds the thresholds of round 1, of 2 bits, and round 2, of 4, in
 * [-1, 1): -1 keeps all. A query that sees fewer than FILTER_LEAST_KEYS keys keeps them. Scores of
 * visible keys that do not survive become KEY_FILTER_FILL. Since a key's codes follow from the key
 * alone, a query's survivors are the same whether it comes in a batch or one by one.
 *
 * Files define it as a function of standard operators (model/key_filter_function.h), so that every
 * runtime can run them; where the whole attention is known, Spry computes the survivors' scores
 * alone. */
#ifndef OPS_KEY_FILTER_H
#define OPS_KEY_FILTER_H

#define KEY_FILTER_DOMAIN "ai.spry"
#define KEY_FILTER_OP "KeyFilter"
#define KEY_FILTER_FILL (-1e30f)

enum {
    KEY_FILTER_SCORES,
    KEY_FILTER_QUERIES,
    KEY_FILTER_KEYS,
    KEY_FILTER_SCALE,
    KEY_FILTER_ALPHA,
    KEY_FILTER_PORTS
};

enum { KEY_FILTER_ROUNDS = 2 };

#endif
