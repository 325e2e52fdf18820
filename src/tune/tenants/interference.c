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

void interference_observe(interference *p, int64_t now_ns, double took_ms, double alone_ms)
{
    double weight;

    if (!(took_ms > 0.0) || !(alone_ms > 0.0) || !isfinite(took_ms / alone_ms)) {
        return;
    }
    p->pieces++;
    p->took_ms += took_ms;
    p->alone_ms += alone_ms;
    if (p->alone_ms < INTERFERENCE_LEAST_MS) {
        return;
    }
    weight = p->readings == 0
                 ? 1.0
                 : 1.0 - exp2(-(double)(now_ns - p->seen_ns) / (double)INTERFERENCE_HALF_NS);
    weight = fmin(1.0, fmax(0.0, weight));
    p->slowdown += weight * (p->took_ms / p->alone_ms - p->slowdown);
    p->seen_ns = now_ns;
    p->readings++;
    p->took_ms = 0.0;
    p->alone_ms = 0.0;
}

int interference_read(const interference *p)
{
    return p->readings > 0 ? interference_level(p->slowdown) : 0;
}
