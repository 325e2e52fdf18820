/* The textbook form: speed is that of the compiler's code, some hundred megabytes per second. */
#include "base/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 64, LENGTH_BYTES = 8, READ_BYTES = 64 << 10 };

/* Fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int count)
{
    return x >> count | x << (32 - count);
}

static void expand(const uint8_t block[SHA256_BLOCK_BYTES], uint32_t w[ROUNDS])
{
    for (int i = 0; i < 16; i++) {
        const uint8_t *b = block + (size_t)i * 4;

        w[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    }
    for (int i = 16; i < ROUNDS; i++) {
        uint32_t a = w[i - 15];
        uint32_t b = w[i - 2];

        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

static void compress(uint32_t state[8], const uint8_t block[SHA256_BLOCK_BYTES])
{
    uint32_t w[ROUNDS];
    uint32_t s[8]; /* a to h of the standard */

    expand(block, w);
    memcpy(s, state, sizeof s);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint32_t first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + choose +
                         constants[i] + w[i];
        uint32_t second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;

        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (int i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

void sha256_init(sha256 *hash)
{
    *hash = (sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                               0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_update(sha256 *hash, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    size_t held = (size_t)(hash->length % SHA256_BLOCK_BYTES);

    hash->length += size;
    while (size != 0) {
        size_t piece = SHA256_BLOCK_BYTES - held < size ? SHA256_BLOCK_BYTES - held : size;

        memcpy(hash->block + held, from, piece);
        held += piece;
        from += piece;
        size -= piece;
        if (held == SHA256_BLOCK_BYTES) {
            compress(hash->state, hash->block);
            held = 0;
        }
    }
}

void sha256_final(sha256 *hash, uint8_t digest[SHA256_BYTES])
{
    static const uint8_t padding[SHA256_BLOCK_BYTES] = {0x80};
    uint8_t length[LENGTH_BYTES];
    uint64_t bits = hash->length * 8;
    size_t held = (size_t)(hash->length % SHA256_BLOCK_BYTES);
    size_t room = SHA256_BLOCK_BYTES - LENGTH_BYTES;

    for (int i = 0; i < LENGTH_BYTES; i++) {
        length[i] = (uint8_t)(bits >> (8 * (LENGTH_BYTES - 1 - i)));
    }
    sha256_update(hash, padding, held < room ? room - held : room + SHA256_BLOCK_BYTES - held);
    sha256_update(hash, length, sizeof length);
    for (int i = 0; i < SHA256_BYTES; i++) {
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void sha256_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < SHA256_BYTES; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[SHA256_TEXT_SIZE - 1] = '\0';
}

spry_status sha256_file(const char *path, char text[SHA256_TEXT_SIZE], spry_error *error)
{
    uint8_t buffer[READ_BYTES];
    uint8_t digest[SHA256_BYTES];
    sha256 hash;
    ssize_t size;
    int reason;
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        return spry_fail(error, SPRY_IO, path, NULL, "cannot be opened: %s", strerror(errno));
    }
    sha256_init(&hash);
    while ((size = read(file, buffer, sizeof buffer)) > 0) {
        sha256_update(&hash, buffer, (size_t)size);
    }
    reason = errno;
    (void)close(file);
    if (size < 0) {
        return spry_fail(error, SPRY_IO, path, NULL, "cannot be read: %s", strerror(reason));
    }
    sha256_final(&hash, digest);
    sha256_text(digest, text);
    return SPRY_OK;
}
