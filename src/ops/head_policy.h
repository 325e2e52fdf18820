/* HeadPolicy of the domain ai.spry: scores of attention, of which heads may only look at some keys.
 *
 *     HeadPolicy(scores [N, H, T, K], before [H, 1, 1], after [H, 1, 1], sinks [H, 1, 1, S])
 *
 * Key j stays for query i of head h where -before[h] <= j - (i + K - T) <= after[h], or j is among
 * sinks[h] (-1: none); other scores become HEAD_POLICY_FILL. The integers are int64. Files define
 * it as a function of standard operators (model/head_policy_function.h), so that every runtime can
 * run them; where the whole attention is known, Spry does not compute the other scores. */
#ifndef OPS_HEAD_POLICY_H
#define OPS_HEAD_POLICY_H

#define HEAD_POLICY_DOMAIN "ai.spry"
#define HEAD_POLICY_OP "HeadPolicy"
#define HEAD_POLICY_FILL (-1e30f) /* finite: a row of nothing else has a softmax */
#define HEAD_POLICY_ALL (1 << 30) /* before and after of a head that looks at everything */

enum {
    HEAD_POLICY_SCORES,
    HEAD_POLICY_BEFORE,
    HEAD_POLICY_AFTER,
    HEAD_POLICY_SINKS,
    HEAD_POLICY_PORTS
};

#endif
