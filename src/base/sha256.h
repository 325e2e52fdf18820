/* SHA-256 (FIPS 180-4): names a file's content in records of results, so that a number can be
 * traced to the exact bytes that gave it. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "spry/status.h"

enum { SHA256_BYTES = 32, SHA256_BLOCK_BYTES = 64, SHA256_TEXT_SIZE = 2 * SHA256_BYTES + 1 };

typedef struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes taken in */
    uint8_t block[SHA256_BLOCK_BYTES];
} sha256;

void sha256_init(sha256 *hash);
void sha256_update(sha256 *hash, const void *bytes, size_t size);
void sha256_final(sha256 *hash, uint8_t digest[SHA256_BYTES]);

/* The digest in lower-case hexadecimal. */
void sha256_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_TEXT_SIZE]);

/* The digest of a file's content in hexadecimal, read in pieces. Fails with SPRY_IO. */
SPRY_MUST_USE spry_status sha256_file(const char *path, char text[SHA256_TEXT_SIZE],
                                      spry_error *error);

#endif
