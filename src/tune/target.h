/* A target: a machine described by data. One JSON file holds what the latency predictor, the tuner
 * and the simulators want to know of it; targets/README.md lists sections and keys.
 *
 *     target *t;
 *     double bandwidth;
 *     target_load(NULL, "v100", &t, error)
 *     target_set(t, "memory.dram.bandwidth=900 GB/s", error)        (what --set does)
 *     target_quantity(t, "memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1, 1e15, &bandwidth, error)
 *     target_finish(t, error)
 *     target_destroy(t)
 *
 * A key is a path of members with dots; a number in it is an item of an array ("levels.0.size").
 *
 * Several readers share a file, and mistyped keys must not be ignored, so keys belong to sections:
 * the listed objects (target_sections). A section of which this reader asked nothing is for others.
 * In a section of which it asked anything, it must have asked for all keys there: target_finish
 * refuses the rest, and whatever lies in no section. A new section is one line of the list. */
#ifndef TUNE_TARGET_H
#define TUNE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "spry/allocator.h"
#include "spry/status.h"
#include "tune/quantity.h"

typedef struct target target;

/* Paths of all sections ("compute", "memory.dram.timing"), ended by NULL. "about" is for people. */
extern const char *const target_sections[];

/* Names of the built-in targets, in alphabetical order, ended by NULL. */
const char *const *target_names(void);

/* Loads a target: the name of a built-in one, "cpu" or "host" for what `spry doctor --calibrate`
 * has written (target_host_path), or the path of a file: anything with '/' or ".json" in it. Fails
 * with SPRY_USAGE (no such name: lists those there are), SPRY_BAD_INPUT, SPRY_LIMIT, SPRY_IO. The
 * allocator may be NULL. */
SPRY_MUST_USE spry_status target_load(const spry_allocator *allocator, const char *name, target **t,
                                      spry_error *error);
/* The same from bytes; `name` stands for them in errors. */
SPRY_MUST_USE spry_status target_parse(const spry_allocator *allocator, const char *bytes,
                                       size_t size, const char *name, target **t,
                                       spry_error *error);
/* NULL is allowed. */
void target_destroy(target *t);

/* Where the calibration of this machine is kept: spry/cpu.json below $XDG_CACHE_HOME, or below
 * ~/.cache. Fails with SPRY_IO (neither is set), SPRY_LIMIT (too long for `size` bytes). */
SPRY_MUST_USE spry_status target_host_path(char *path, size_t size, spry_error *error);

/* "key=value" in place of what the file says: a text, or a number where one is asked for. Later
 * ones win. Fails with SPRY_USAGE (no '=', no key), SPRY_LIMIT. */
SPRY_MUST_USE spry_status target_set(target *t, const char *assignment, spry_error *error);

/* The name as given to target_load. */
const char *target_name(const target *t);

/* Does the key exist? Counts as asking for it, also where it is an object. */
bool target_has(target *t, const char *key);
/* Items of an array, members of an object; 0 where there is none. */
size_t target_length(target *t, const char *key);

/* The value of a key that must be there. All fail with SPRY_BAD_INPUT, naming file and key:
 * missing, of another kind, outside [least, most]; a quantity also without unit or with one of
 * something else. `least` above 0 refuses zero sizes. Memory: SPRY_LIMIT. */
SPRY_MUST_USE spry_status target_quantity(target *t, const char *key, quantity_unit unit,
                                          double least, double most, double *value,
                                          spry_error *error);
SPRY_MUST_USE spry_status target_count(target *t, const char *key, int64_t least, int64_t most,
                                       int64_t *value, spry_error *error);
SPRY_MUST_USE spry_status target_flag(target *t, const char *key, bool *value, spry_error *error);
/* Lives as long as the target. */
SPRY_MUST_USE spry_status target_text(target *t, const char *key, const char **value,
                                      spry_error *error);
/* One of `count` words. */
SPRY_MUST_USE spry_status target_choice(target *t, const char *key, const char *const *words,
                                        int count, int *chosen, spry_error *error);

/* The same of a key that may be left out: `*value` is then left as it is. */
SPRY_MUST_USE spry_status target_quantity_or(target *t, const char *key, quantity_unit unit,
                                             double least, double most, double *value,
                                             spry_error *error);
SPRY_MUST_USE spry_status target_count_or(target *t, const char *key, int64_t least, int64_t most,
                                          int64_t *value, spry_error *error);

/* Refuses (SPRY_BAD_INPUT) keys that nobody asked for, as said above, and values set by target_set
 * that nobody asked for. */
SPRY_MUST_USE spry_status target_finish(const target *t, spry_error *error);

/* Fails with SPRY_BAD_INPUT, saying that `key` of this target `problem`: "compute.units must be
 * ...". */
spry_status target_refuse(const target *t, const char *key, const char *problem, spry_error *error);

/* Writes what was asked for and its values as a flat object {"compute.units": 80, ...}: the
 * resolved description, to lie beside results. */
void target_write_resolved(const target *t, json_writer *json, const char *key);

#endif
