/* What every model of hardware that charges energy says of it. */
#ifndef SIMULATE_PRICES_H
#define SIMULATE_PRICES_H

#include "tune/target.h"

/* The text of energy.source, which a target may have: who measured its prices, and on what. */
const char *prices_source(target *t);

/* `*joules` of a price that must be there. Fails as target_quantity. */
SPRY_MUST_USE spry_status prices_read(target *t, const char *key, quantity_unit unit,
                                      double *joules, spry_error *error);

#endif
