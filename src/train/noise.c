/* Box-Muller in double precision over secret bits. */
#include "train/noise.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

enum {
    TERMS = 4,   /* normal numbers in one sum */
    BLOCK = 256, /* sums at a time */
    WORDS = BLOCK * TERMS
};

static spry_status fill_secret(uint64_t *words, spry_error *error)
{
    uint8_t *at = (uint8_t *)words;
    size_t left = WORDS * sizeof *words;

    while (left > 0) {
        ssize_t got = getrandom(at, left, 0);

        if (got < 0 && errno != EINTR) {
            return spry_fail(error, SPRY_IO, "getrandom", NULL, "no random bytes: %s",
                             strerror(errno));
        }
        at += got > 0 ? got : 0;
        left -= got > 0 ? (size_t)got : 0;
    }
    return SPRY_OK;
}

static spry_status fill(noise_source *source, uint64_t *words, spry_error *error)
{
    if (!source->is_seeded) {
        return fill_secret(words, error);
    }
    for (int i = 0; i < WORDS; i++) {
        words[i] = spry_random_u64(&source->seeded);
    }
    return SPRY_OK;
}

/* Strictly between 0 and 1. */
static double uniform(uint64_t word)
{
    return ((double)(word >> 11) + 0.5) * 0x1p-53;
}

/* Two words make two normal numbers; four of the eight words' numbers make a sum of variance 1. */
static void make_sums(const uint64_t *words, double *sums)
{
    double pi = acos(-1.0);

    for (int i = 0; i < BLOCK; i++) {
        double sum = 0;

        for (int k = 0; k < TERMS; k += 2) {
            double radius = sqrt(-2.0 * log(uniform(words[i * TERMS + k])));
            double angle = 2.0 * pi * uniform(words[i * TERMS + k + 1]);

            sum += radius * cos(angle) + radius * sin(angle);
        }
        sums[i] = sum / sqrt((double)TERMS);
    }
}

spry_status noise_add(noise_source *source, double deviation, int64_t count, float *numbers,
                      spry_error *error)
{
    uint64_t words[WORDS];
    double sums[BLOCK];
    spry_status status = SPRY_OK;

    for (int64_t i = 0; i < count && status == SPRY_OK; i += BLOCK) {
        status = fill(source, words, error);
        if (status != SPRY_OK) {
            break;
        }
        make_sums(words, sums);
        for (int64_t k = 0; k < BLOCK && i + k < count; k++) {
            numbers[i + k] = (float)((double)numbers[i + k] + deviation * sums[k]);
        }
    }
    return status;
}
