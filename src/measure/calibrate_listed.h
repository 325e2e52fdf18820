/* The half of a calibration that is about layers of which a mask leaves out squares. */
#ifndef MEASURE_CALIBRATE_LISTED_H
#define MEASURE_CALIBRATE_LISTED_H

#include "measure/calibrate.h"

/* Times layers at random squares and fits c->cpu.listed, all its other numbers being known: no
 * factor is below 0, and relative errors count. Fails as listed_measure. */
SPRY_MUST_USE spry_status calibrate_listed(calibration *c, spry_error *error);

/* Times other layers, and fills c->points with what was predicted for them. Fails likewise. */
SPRY_MUST_USE spry_status calibrate_listed_check(calibration *c, spry_error *error);

/* Spearman's, of `count` numbers each. */
double calibrate_rank_correlation(const double *a, const double *b, int count);

#endif
