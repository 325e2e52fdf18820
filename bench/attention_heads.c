/* What it costs to survey attention heads, and what it saves when some look at few keys.
 *
 *     attention_heads [--rounds N]
 *
 * Self-attention of 12 heads with 64 elements, operands position by position, one thread, f32; all
 * ways against the dense kernel, in turns on the same operands. A line per length and way: the
 * median of the ratios of neighbouring turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels/attention/attention_heads.h"
#include "spry/random.h"

enum { HEADS = 12, SIZE = 64, WIDTH = HEADS * SIZE, MOST_ROUNDS = 1000, DEFAULT_ROUNDS = 15 };
enum { DENSE, SURVEY, WINDOW, MIXED, WAYS };

static const char *const names[WAYS] = {"dense", "survey", "window 16 + 1 sink",
                                        "3 of 4 heads window 16 + 1 sink"};

typedef struct bench {
    const attention_kernel *kernel;
    attention_problem problems[WAYS];
    attention_policy policies[2][HEADS];
    attention_survey survey;
    float *workspace;
} bench;

static void *room(size_t count, size_t size)
{
    void *memory = aligned_alloc(64, (count * size + 63) / 64 * 64);

    if (memory == NULL) {
        (void)fprintf(stderr, "attention_heads: no memory\n");
        exit(EXIT_FAILURE);
    }
    memset(memory, 0, count * size);
    return memory;
}

static void make(bench *b, int64_t n)
{
    spry_random r = spry_random_stream(1, 0);
    size_t floats = (size_t)n * WIDTH;
    float *data = room(4 * floats, sizeof *data);
    size_t most = 0;

    spry_random_fill_normal(&r, data, 3 * floats, 0.0F, 1.0F);
    for (int h = 0; h < HEADS; h++) {
        b->policies[0][h] = (attention_policy){.before = 16, .after = 16, .sink_count = 1};
        b->policies[1][h] = b->policies[0][h];
        b->policies[1][h].is_dense = h % 4 == 3;
    }
    b->survey = (attention_survey){.class_count = 1,
                                   .distance = room((size_t)(n * HEADS), sizeof(double)),
                                   .offset = room((size_t)(n * HEADS), sizeof(double)),
                                   .variance = room((size_t)(n * HEADS), sizeof(double)),
                                   .entropy = room((size_t)(n * HEADS), sizeof(double)),
                                   .columns = room((size_t)(n * HEADS), sizeof(double)),
                                   .profile = room((size_t)(2 * n * HEADS), sizeof(double))};
    for (int way = 0; way < WAYS; way++) {
        attention_problem *p = &b->problems[way];
        size_t own;

        *p = (attention_problem){.batch = 1,
                                 .heads = HEADS,
                                 .kv_heads = HEADS,
                                 .rows = n,
                                 .keys = n,
                                 .size = SIZE,
                                 .value_size = SIZE,
                                 .scale = 0.125F,
                                 .q = {data, 0, SIZE, WIDTH},
                                 .k = {data + floats, 0, SIZE, WIDTH},
                                 .v = {data + 2 * floats, 0, SIZE, WIDTH},
                                 .out = data + 3 * floats,
                                 .out_head = SIZE,
                                 .out_token = WIDTH,
                                 .survey = way == SURVEY ? &b->survey : NULL};
        p->policies = way >= WINDOW ? b->policies[way - WINDOW] : NULL;
        p->slice = attention_slice(b->kernel, p, 1);
        own = (size_t)attention_workspace(b->kernel, p);
        most = own > most ? own : most;
    }
    b->workspace = room(most, sizeof *b->workspace);
}

static void drop(bench *b)
{
    free((void *)(uintptr_t)b->problems[DENSE].q.data);
    free(b->survey.distance);
    free(b->survey.offset);
    free(b->survey.variance);
    free(b->survey.entropy);
    free(b->survey.columns);
    free(b->survey.profile);
    free(b->workspace);
}

static double run(const bench *b, int way, int times)
{
    const attention_problem *p = &b->problems[way];
    int64_t start = clock_ns();

    for (int t = 0; t < times; t++) {
        for (int64_t i = 0; i < attention_pieces(p); i++) {
            attention_run(b->kernel, p, i, b->workspace);
        }
    }
    return (double)(clock_ns() - start) * 1e-6 / times;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *numbers, int count)
{
    qsort(numbers, (size_t)count, sizeof *numbers, compare);
    return numbers[count / 2];
}

static void measure(bench *b, int64_t n, int way, int rounds)
{
    static double ratios[MOST_ROUNDS];
    static double times[2][MOST_ROUNDS];
    double once = run(b, DENSE, 1);
    int repeats = once < 10.0 ? (int)(10.0 / once) + 1 : 1;

    (void)run(b, way, 1);
    for (int i = 0; i < rounds; i++) {
        times[0][i] = run(b, DENSE, repeats);
        times[1][i] = run(b, way, repeats);
        ratios[i] = times[0][i] / times[1][i];
    }
    printf("%6lld  %-32s  %8.3f ms  %8.3f ms  %.3f\n", (long long)n, names[way],
           median(times[0], rounds), median(times[1], rounds), median(ratios, rounds));
}

int main(int argc, char **argv)
{
    static const int64_t lengths[] = {128, 256, 512, 1024, 2048};
    long rounds =
        argc == 3 && strcmp(argv[1], "--rounds") == 0 ? strtol(argv[2], NULL, 10) : DEFAULT_ROUNDS;
    bench b = {.kernel = attention_select(false)};

    if (rounds < 1 || rounds > MOST_ROUNDS || (argc != 1 && argc != 3)) {
        (void)fprintf(stderr, "usage: attention_heads [--rounds N]\n");
        return 2;
    }
    printf("tokens  way                                  dense          way       dense / way\n");
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        make(&b, lengths[i]);
        for (int way = SURVEY; way < WAYS; way++) {
            measure(&b, lengths[i], way, (int)rounds);
        }
        drop(&b);
    }
    return EXIT_SUCCESS;
}
