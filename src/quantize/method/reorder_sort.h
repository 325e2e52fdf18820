/* Orders of channels by size: what a search for better ones starts from. */
#ifndef QUANTIZE_REORDER_SORT_H
#define QUANTIZE_REORDER_SORT_H

#include <stdbool.h>

#include "quantize/method/reorder.h"

/* Of one channel. */
typedef struct channel_size {
    float largest, high, low; /* of |x|, x, x */
    int cluster;
    int32_t channel;
} channel_size;

/* Fills order[place] with channels of one axis (outputs, or inputs) of `w`, those with the largest
 * weights last; `clustered`: within two clusters of similar ranges. `room` has twice as many
 * entries as there are channels. */
void reorder_by_size(const reorder_weights *w, bool inputs, bool clustered, channel_size *room,
                     int32_t *order);

#endif
