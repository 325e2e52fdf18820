/* Pictures per second that a loader prepares, alone on the machine:
 *
 *     loader KIND:PATH RECIPE AUGMENT BATCH SIDE [SECONDS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/parse.h"
#include "data/loader.h"

typedef struct setting {
    spry_dataset *data;
    spry_preprocess recipe;
    augment augment;
    int64_t batch;
    int64_t side;
    double seconds;
} setting;

static int complain(const spry_error *error)
{
    (void)fprintf(stderr, "loader: %s: %s\n", error->where, error->what);
    return 1;
}

/* What a batch has cost, the first ones left out. */
typedef struct cost {
    double rate; /* pictures per second */
    double cpu;  /* microseconds of CPU time per picture, which other processes do not disturb */
} cost;

static double cpu_seconds(void)
{
    struct rusage used;

    if (getrusage(RUSAGE_SELF, &used) != 0) {
        return 0;
    }
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

/* Draws batches for the time given. */
static spry_status measure(const setting *s, int threads, cost *found, spry_error *error)
{
    const loader_options options = {.batch = s->batch,
                                    .seed = 1,
                                    .recipe = &s->recipe,
                                    .augment = &s->augment,
                                    .dtype = SPRY_DTYPE_F32,
                                    .rank = 4,
                                    .shape = {-1, -1, s->side, s->side},
                                    .threads = threads,
                                    .ahead = 4,
                                    .strict = true};
    const loader_batch *batch;
    loader *l = NULL;
    int64_t count = 0;
    int64_t begin = 0;
    int64_t end = 0;
    double cpu = 0;
    spry_status status = loader_create(s->data, &options, NULL, &l, error);

    for (int i = 0; status == SPRY_OK && (i < 16 || end - begin < (int64_t)(s->seconds * 1e9));
         i++) {
        status = loader_next(l, &batch, error);
        end = clock_ns();
        if (i == 8) {
            begin = end;
            cpu = cpu_seconds();
        }
        count += status == SPRY_OK && i > 8 ? batch->count : 0;
    }
    found->rate = (double)count / ((double)(end - begin) * 1e-9);
    found->cpu = (cpu_seconds() - cpu) * 1e6 / (double)count;
    loader_destroy(l);
    return status;
}

int main(int argc, char **argv)
{
    setting s = {.seconds = 1};
    spry_error error = {.code = SPRY_OK};
    spry_status status;

    if (argc < 6 || !parse_i64(argv[4], 1, 1 << 20, &s.batch) ||
        !parse_i64(argv[5], 1, 4096, &s.side) ||
        (argc > 6 && !parse_f64(argv[6], 0.01, 100, &s.seconds))) {
        (void)fputs("usage: loader KIND:PATH RECIPE AUGMENT BATCH SIDE [SECONDS]\n", stderr);
        return 2;
    }
    status = spry_preprocess_parse(argv[2], &s.recipe, &error);
    if (status == SPRY_OK) {
        status = augment_parse(argv[3], &s.augment, &error);
    }
    if (status == SPRY_OK) {
        status = spry_dataset_open(NULL, argv[1], &s.data, &error);
    }
    for (int threads = 0; threads <= 2 && status == SPRY_OK; threads++) {
        cost c = {0};

        status = measure(&s, threads, &c, &error);
        if (status == SPRY_OK) {
            (void)printf("threads %d: %.0f pictures/s, %.1f us of CPU each\n", threads, c.rate,
                         c.cpu);
        }
    }
    spry_dataset_close(s.data);
    return status == SPRY_OK ? 0 : complain(&error);
}
