/* How benchmarks show where the time of a run goes. */
#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H

#include <stdint.h>

#include "spry/session.h"

/* Prints a line per row of a profile of `runs` runs, as times of one, and their sum. */
void profile_print(const spry_profile_row *rows, int32_t count, int runs);

#endif
