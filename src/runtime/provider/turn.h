/* Turning images between planes [channels][pixels] and channels side by side [pixels][channels],
 * for providers whose kernels want the other. */
#ifndef RUNTIME_PROVIDER_TURN_H
#define RUNTIME_PROVIDER_TURN_H

#include <stdint.h>

#include "base/threads.h"

/* Rows of each matrix become columns: to[image][column][row] = from[image][row][column], elements
 * of `size` bytes (1 or 4). */
void provider_turn(threads *team, int64_t images, int64_t rows, int64_t columns, int64_t size,
                   const void *from, void *to);

#endif
