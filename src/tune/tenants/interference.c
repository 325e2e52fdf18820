/* Quantised slowdowns. */
#include "tune/tenants/interference.h"

#include <math.h>

const double interference_bounds[INTERFERENCE_LEVELS - 1] = {1.05, 1.15, 1.3, 1.6};

int interference_level(double slowdown)
{
    int level = 0;

    while (level < INTERFERENCE_LEVELS - 1 && slowdown >= interference_bounds[level]) {
        level++;
    }
    return level;
}

void interference_observe(interference *p, int64_t now_ns, double took, double alone)
{
    double weight;

    if (!(took > 0.0) || !(alone > 0.0) || !isfinite(took / alone)) {
        return;
    }
    weight = p->pieces == 0
                 ? 1.0
                 : 1.0 - exp2(-(double)(now_ns - p->seen_ns) / (double)INTERFERENCE_HALF_NS);
    weight = fmin(1.0, fmax(0.0, weight));
    p->slowdown += weight * (took / alone - p->slowdown);
    p->seen_ns = now_ns;
    p->pieces++;
}

int interference_read(const interference *p)
{
    return p->pieces > 0 ? interference_level(p->slowdown) : 0;
}
