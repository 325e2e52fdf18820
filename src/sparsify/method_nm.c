/* Of each M neighbours along the axis that is summed N stay, the largest: 2:4 is what tensor cores
 * of graphics processors skip (arXiv 2104.08378). */
#include "sparsify/method.h"

const sparsify_method sparsify_method_nm = {
    .facts = {"nm", "N of each M neighbouring inputs stay (--pattern N:M)"}};
