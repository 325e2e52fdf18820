#include "simulate/prices.h"

const char *prices_source(target *t)
{
    const char *source = NULL;

    return target_has(t, "energy.source") &&
                   target_text(t, "energy.source", &source, NULL) == SPRY_OK
               ? source
               : "the target does not say";
}

spry_status prices_read(target *t, const char *key, quantity_unit unit, double *joules,
                        spry_error *error)
{
    return target_quantity(t, key, unit, 0.0, 1.0, joules, error);
}
