/* Single numbers: the least in magnitude go first (Han and others, arXiv 1506.02626). Costs the
 * least accuracy; the runtime's lists skip such zeros from about nine tenths of a convolution by
 * 3 x 3, or a third of a product, on. */
#include "sparsify/method.h"

static sparsify_unit unit(const sparsify_view *v)
{
    (void)v;
    return (sparsify_unit){1, 1, 1, 0};
}

const sparsify_method sparsify_method_magnitude = {
    .facts = {"magnitude", "single numbers, the least in magnitude first"}, .unit = unit};
