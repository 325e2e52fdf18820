/* One input for 16 outputs, at all places of the kernel: stays zero when Winograd's method
 * transforms the weights. */
#include "sparsify/method.h"

static sparsify_unit unit(const sparsify_view *v)
{
    return (sparsify_unit){SPARSIFY_PANEL, 1, v->taps, 0};
}

const sparsify_method sparsify_method_block = {
    .facts = {"block", "16 outputs of one input at all places of the kernel"}, .unit = unit};
