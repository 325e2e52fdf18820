/* One input at one place of the kernel, for 16 outputs: what the runtime's tile multiplies at a
 * time, so that every such zero is skipped. */
#include "sparsify/method.h"

static sparsify_unit unit(const sparsify_view *v)
{
    (void)v;
    return (sparsify_unit){SPARSIFY_PANEL, 1, 1, 0};
}

const sparsify_method sparsify_method_panel = {
    .facts = {"panel", "16 outputs of one input at one place of the kernel, as tiles skip them"},
    .unit = unit};
