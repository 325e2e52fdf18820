/* For each of 16 outputs one input of its own among 16 neighbours, at one place of the kernel: what
 * the runtime's tile multiplies at a time, choosing each lane's input by a permutation. Outputs
 * keep their largest numbers, as many as their neighbours keep: where 16 outputs keep how many of
 * 16 inputs is left to what that costs, so that this is N:16 with an N of its own everywhere. */
#include "sparsify/method.h"

static sparsify_unit unit(const sparsify_view *v)
{
    (void)v;
    return (sparsify_unit){SPARSIFY_PANEL, 1, 1, SPARSIFY_PANEL};
}

const sparsify_method sparsify_method_lanes = {
    .facts = {"lanes", "of each 16 inputs as many for each of 16 outputs, the largest of each"},
    .unit = unit};
