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
    double kept;

    if (!(took_ms > 0.0) || !(alone_ms > 0.0) || !isfinite(took_ms / alone_ms)) {
        return;
    }
    kept = exp2(-fmax(0.0, (double)(now_ns - p->seen_ns)) / (double)INTERFERENCE_HALF_NS);
    p->took_ms = p->took_ms * kept + took_ms;
    p->alone_ms = p->alone_ms * kept + alone_ms;
    p->slowdown = p->took_ms / p->alone_ms;
    p->seen_ns = now_ns;
    p->pieces++;
}

int interference_read(const interference *p)
{
    return p->alone_ms >= INTERFERENCE_LEAST_MS ? interference_level(p->slowdown) : 0;
}
