/* A growable text with a ceiling.
 *
 * Appending never returns a status: the first failure (memory ran out, the ceiling is passed) is
 * remembered, later appends do nothing, and text_status tells at the end. So code that builds a
 * page of output stays readable, yet no failure is lost. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct text {
    char *data;    /* NUL-terminated, never NULL */
    size_t length; /* without the NUL */
    size_t capacity;
    size_t ceiling; /* most bytes, without the NUL */
    bool fixed;     /* the memory is the caller's and does not grow */
    bool failed;
    spry_allocator allocator;
} text;

/* Where the text will stand; decides what must be escaped. */
typedef enum text_escape {
    TEXT_JSON,  /* inside a JSON string, without the quotes around it */
    TEXT_MARKUP /* in HTML or XML, also inside a quoted attribute */
} text_escape;

/* An empty text of at most `ceiling` bytes from `allocator` (NULL: the system's). */
void text_init(text *t, const spry_allocator *allocator, size_t ceiling);

/* An empty text in `buffer` of `size` bytes (at least 1): holds at most size - 1. An append
 * that does not fit whole is left out, as at any ceiling. */
void text_init_fixed(text *t, char *buffer, size_t size);

/* Releases the memory; the text is then empty and may be used again. */
void text_fini(text *t);

/* Empties the text, keeping its memory, and forgets a failure. */
void text_clear(text *t);

void text_append(text *t, const char *bytes, size_t length);
void text_append_string(text *t, const char *string);
void text_append_char(text *t, char c);
void text_append_format(text *t, const char *format, ...) SPRY_PRINTF(2, 3);

/* The shortest decimal number that reads back as exactly `value`, with '.' in every locale; "nan",
 * "inf" or "-inf" otherwise. */
void text_append_f64(text *t, double value);

/* Appends with escapes; bytes that are not valid UTF-8, and in markup forbidden control characters,
 * become U+FFFD. */
void text_append_escaped(text *t, text_escape how, const char *bytes, size_t length);

/* Appends bytes in base64 (RFC 4648, padded). */
void text_append_base64(text *t, const uint8_t *bytes, size_t length);

/* SPRY_OK when every append has worked; else SPRY_LIMIT, with `what` naming the text. */
SPRY_MUST_USE spry_status text_status(const text *t, const char *what, spry_error *error);

/* Is this well-formed UTF-8 (no overlong forms, surrogates, or values above U+10FFFF)? */
bool text_is_utf8(const char *bytes, size_t length);

/* Length (1 to 4) of the well-formed character at the start of `bytes`; 0 where there is none. */
size_t text_utf8_length(const char *bytes, size_t length);

/* Does all of `string` follow `pattern`, in which '*' stands for any characters and '?' for one? */
bool text_matches(const char *pattern, const char *string);

#endif
