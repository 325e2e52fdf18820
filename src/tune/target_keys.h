/* What target.c and target_keys.c share: the inside of a target. */
#ifndef TUNE_TARGET_KEYS_H
#define TUNE_TARGET_KEYS_H

#include "base/arena.h"
#include "tune/target.h"

/* A key that was asked for. */
typedef struct target_asked {
    const char *key;
    const char *text; /* its value; NULL: `number` is */
    double number;
    bool found; /* a value was taken; false: only asked about, or missing */
} target_asked;

typedef struct target_set_value {
    const char *key;
    const char *value;
} target_set_value;

struct target {
    spry_allocator allocator;
    arena memory; /* names, and the texts of `asked` and `set` */
    const char *name;
    json_document *document;
    target_asked *asked;
    size_t asked_count, asked_capacity;
    target_set_value *set;
    size_t set_count, set_capacity;
};

/* NULL: nobody asked. */
target_asked *target_find_asked(const target *t, const char *key);

#endif
