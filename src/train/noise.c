/* Keys, and the shares of the team. */
#include "train/noise.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "kernels/random/normal_f64.h"

enum { GRAIN = 256 }; /* batches of sums per piece of work */

static spry_status make_key(noise_source *source, uint32_t *key, spry_error *error)
{
    uint8_t *at = (uint8_t *)key;
    size_t left = NORMAL_F64_KEY * sizeof *key;

    for (int i = 0; source->is_seeded && i < NORMAL_F64_KEY; i++) {
        key[i] = spry_random_u32(&source->seeded);
    }
    while (!source->is_seeded && left > 0) {
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

typedef struct noise_loop {
    uint32_t key[NORMAL_F64_KEY];
    double deviation;
    int64_t count;
    float *numbers;
} noise_loop;

/* Batch i takes blocks [i x NORMAL_F64_BLOCKS, ...) of the key stream. */
static void add_batches(void *context, int64_t begin, int64_t end, int worker)
{
    static const uint32_t tail[2] = {0};
    const normal_f64_kernel *kernel = normal_f64_select();
    const noise_loop *l = context;

    (void)worker;
    for (int64_t batch = begin; batch < end; batch++) {
        uint32_t words[NORMAL_F64_STATE][NORMAL_F64_BLOCKS];
        double sums[NORMAL_F64_BATCH];
        int64_t first = batch * NORMAL_F64_BATCH;

        kernel->words(l->key, (uint64_t)batch * NORMAL_F64_BLOCKS, tail, words);
        kernel->sums(words, sums);
        for (int64_t k = 0; k < NORMAL_F64_BATCH && first + k < l->count; k++) {
            float *number = &l->numbers[first + k];

            *number = (float)((double)*number + l->deviation * sums[k]);
        }
    }
}

spry_status noise_add(noise_source *source, threads *team, double deviation, int64_t count,
                      float *numbers, spry_error *error)
{
    noise_loop l = {.deviation = deviation, .count = count, .numbers = numbers};
    spry_status status = make_key(source, l.key, error);

    if (status == SPRY_OK) {
        threads_for(team, (count + NORMAL_F64_BATCH - 1) / NORMAL_F64_BATCH, GRAIN, add_batches,
                    &l);
    }
    return status;
}
