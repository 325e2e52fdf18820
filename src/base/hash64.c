/* XXH64: four sums of eight bytes each run side by side, then meet. */
#include "base/hash64.h"

#include <string.h>

enum { WORD = 8, LANES = 4, STRIPE = WORD * LANES };

static const uint64_t prime1 = UINT64_C(0x9E3779B185EBCA87);
static const uint64_t prime2 = UINT64_C(0xC2B2AE3D27D4EB4F);
static const uint64_t prime3 = UINT64_C(0x165667B19E3779F9);
static const uint64_t prime4 = UINT64_C(0x85EBCA77C2B2AE63);
static const uint64_t prime5 = UINT64_C(0x27D4EB2F165667C5);

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* The specification counts bytes in little-endian order whatever the machine's. */
static uint64_t little(const uint8_t *bytes, int count)
{
    uint64_t x = 0;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (count == WORD) {
        memcpy(&x, bytes, WORD);
        return x;
    }
#endif
    for (int i = 0; i < count; i++) {
        x |= (uint64_t)bytes[i] << 8 * i;
    }
    return x;
}

static uint64_t mix(uint64_t sum, uint64_t word)
{
    return rotate(sum + word * prime2, 31) * prime1;
}

static uint64_t hash_stripes(const uint8_t *bytes, size_t stripes, uint64_t seed)
{
    static const int turns[LANES] = {1, 7, 12, 18};
    uint64_t lanes[LANES] = {seed + prime1 + prime2, seed + prime2, seed, seed - prime1};
    uint64_t hash = 0;

    for (size_t i = 0; i < stripes; i++, bytes += STRIPE) {
        for (int lane = 0; lane < LANES; lane++) {
            lanes[lane] = mix(lanes[lane], little(bytes + WORD * lane, WORD));
        }
    }
    for (int lane = 0; lane < LANES; lane++) {
        hash += rotate(lanes[lane], turns[lane]);
    }
    for (int lane = 0; lane < LANES; lane++) {
        hash = (hash ^ mix(0, lanes[lane])) * prime1 + prime4;
    }
    return hash;
}

uint64_t hash64(const void *bytes, size_t size, uint64_t seed)
{
    const uint8_t *at = bytes;
    size_t left = size % STRIPE;
    uint64_t hash = size >= STRIPE ? hash_stripes(at, size / STRIPE, seed) : seed + prime5;

    at += size - left;
    hash += size;
    for (; left >= WORD; left -= WORD, at += WORD) {
        hash = rotate(hash ^ mix(0, little(at, WORD)), 27) * prime1 + prime4;
    }
    if (left >= WORD / 2) {
        hash = rotate(hash ^ little(at, WORD / 2) * prime1, 23) * prime2 + prime3;
        at += WORD / 2;
        left -= WORD / 2;
    }
    for (; left > 0; left--, at++) {
        hash = rotate(hash ^ *at * prime5, 11) * prime1;
    }
    hash = (hash ^ hash >> 33) * prime2;
    hash = (hash ^ hash >> 29) * prime3;
    return hash ^ hash >> 32;
}
