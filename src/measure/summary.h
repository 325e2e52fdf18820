/* What a tensor holds, in a few numbers: for people to read after a run. */
#ifndef MEASURE_SUMMARY_H
#define MEASURE_SUMMARY_H

#include "tensor/tensor.h"

typedef struct summary {
    int64_t count;
    int64_t finite; /* elements that are neither infinite nor not-a-number */
    double min;     /* of the finite elements, as the next two; 0 when there are none */
    double max;
    double mean;
} summary;

/* Strings and complex numbers count as not finite. */
void summary_of(const tensor *t, summary *s);

/* Does it look like the scores of one example for at least two classes: floats [1,C], [C] or
 * [1,C,1,1]? */
bool summary_is_scores(const tensor *t);

/* Indices of the largest elements, largest first (of equal ones the first). Returns how many there
 * are: `most`, or fewer. Not-a-number is never among them. */
int summary_top(const tensor *t, int most, int64_t *indices, double *values);

#endif
