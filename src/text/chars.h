/* Text as tokenizers change it: code points, each with the bytes of the original that it came from.
 *
 *     "É!" -> NFD -> 'E' [0,2)  U+0301 [0,2)  '!' [2,3)
 *
 * Whatever is inserted has an empty range where it stands. As with base/text.h, the first failure
 * is remembered and asked for at the end. */
#ifndef TEXT_CHARS_H
#define TEXT_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct char_at {
    uint32_t code;
    uint32_t begin, end; /* bytes [begin, end) of the original */
} char_at;

typedef struct chars {
    char_at *at;
    size_t count;
    size_t capacity;
    bool failed;
    spry_allocator allocator;
} chars;

void chars_init(chars *c, const spry_allocator *allocator);
void chars_fini(chars *c);
/* Empties it, keeping memory and failure. */
void chars_clear(chars *c);
void chars_add(chars *c, uint32_t code, uint32_t begin, uint32_t end);
void chars_add_all(chars *c, const char_at *at, size_t count);
void chars_swap(chars *a, chars *b);

/* Code points of UTF-8, with offsets from `base`.
 * Fails with SPRY_BAD_INPUT (not UTF-8: the offset is named), SPRY_LIMIT (LIMIT_TEXT_BYTES,
 * memory). */
SPRY_MUST_USE spry_status chars_read(chars *c, const char *bytes, size_t size, uint32_t base,
                                     spry_error *error);
SPRY_MUST_USE spry_status chars_status(const chars *c, spry_error *error);

#endif
