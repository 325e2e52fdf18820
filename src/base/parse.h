/* Numbers from text that users wrote. Each function takes the whole string or nothing: no leading
 * blanks, no rest; false, leaving the result untouched, when it does not fit. NULL is no number. */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal, or hexadecimal after "0x"; within [least, most]. */
bool parse_i64(const char *string, int64_t least, int64_t most, int64_t *value);
bool parse_u64(const char *string, uint64_t least, uint64_t most, uint64_t *value);

/* A finite decimal number with '.' whatever the locale; within [least, most]. */
bool parse_f64(const char *string, double least, double most, double *value);

/* true/false, yes/no, on/off, 1/0. */
bool parse_bool(const char *string, bool *value);

#endif
