/* A memory as a target describes it: sections memory.dram and memory.dram.timing. */
#ifndef SIMULATE_DRAM_DRAM_TARGET_H
#define SIMULATE_DRAM_DRAM_TARGET_H

#include "simulate/dram/dram.h"
#include "tune/target.h"

/* Fails with SPRY_BAD_INPUT (a key is missing, mistyped or out of range). */
SPRY_MUST_USE spry_status dram_options_read(target *t, dram_options *options, spry_error *error);

#endif
