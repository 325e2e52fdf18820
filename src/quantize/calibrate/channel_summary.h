/* Mean and range of each channel of values, over calibration samples and positions. */
#ifndef QUANTIZE_CHANNEL_SUMMARY_H
#define QUANTIZE_CHANNEL_SUMMARY_H

#include "model/model.h"
#include "spry/quantize.h"

/* A value of the main graph whose channels are its last dimension, or its second. */
typedef struct channel_summary {
    int32_t value;
    int64_t channels;
    bool channels_last;
    double *means;     /* [channels]: the result; NULL: not wanted */
    float *low, *high; /* [channels]: likewise; where there are no samples infinite */
    double numbers;    /* that each is the mean of */
} channel_summary;

/* Runs the samples of `options` through `m`; `what` is for the progress bar. Results do not depend
 * on the number of threads. Fails as samples_visit, and with SPRY_BAD_INPUT where a value has other
 * channels than is said. */
SPRY_MUST_USE spry_status channel_summary_find(const model *m, const spry_quantize_options *options,
                                               channel_summary *of, int32_t count, const char *what,
                                               spry_error *error);

/* Do channels lie in the last dimension of what this operator with weights reads and gives? */
bool channel_summary_last(const graph_node *n);

#endif
