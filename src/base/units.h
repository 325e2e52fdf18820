/* Large numbers for people: "3.87 G", "1.04 MiB". */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

enum { UNITS_SIZE = 32 };

/* Writes `number` in thousands (k, M, G, T) or in steps of 1024 bytes into `buffer` of UNITS_SIZE
 * bytes and returns it; "?" for negative numbers, which stand for the unknown. */
char *units_count(char *buffer, int64_t number);
char *units_bytes(char *buffer, int64_t number);

#endif
