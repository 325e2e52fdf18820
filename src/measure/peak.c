/* Repeats the loops of kernels/peak until a clock can tell how fast they are. */
#include "measure/peak.h"

#include <string.h>

#include "base/clock.h"

enum { REPEATS = 5, SLICE_NS = 1000000, FIRST_ROUNDS = 64 };

static const char *const type_names[PEAK_TYPES] = {
    [PEAK_F32] = "f32", [PEAK_BF16] = "bf16", [PEAK_S8] = "s8"};

/* What is repeated. */
typedef struct subject {
    const peak_kernel *kernel; /* or NULL */
    const peak_reader *reader; /* or NULL; neither: the chain of additions */
    const void *data;
    size_t lines;
} subject;

static void repeat(const subject *s, int64_t rounds)
{
    volatile double sum = 0.0; /* somebody reads the result */

    if (s->kernel != NULL) {
        sum = s->kernel->run(rounds);
    } else if (s->reader != NULL) {
        for (int64_t r = 0; r < rounds; r++) {
            sum = (double)s->reader->read(s->data, s->lines);
        }
    } else {
        sum = (double)peak_wait(rounds);
    }
    (void)sum;
}

/* Rounds per nanosecond, of the best slice. */
static double rate(const subject *s)
{
    int64_t rounds = s->reader != NULL ? 1 : FIRST_ROUNDS;
    double best = 0.0;

    for (int i = 0; i < REPEATS;) {
        int64_t start = clock_ns();
        int64_t took;

        repeat(s, rounds);
        took = clock_ns() - start;
        if (took < SLICE_NS) {
            rounds *= 2; /* too short for the clock, and for the processor to speed up */
            continue;
        }
        best = (double)rounds / (double)took > best ? (double)rounds / (double)took : best;
        i++;
    }
    return best;
}

void peak_measure(peak *p)
{
    subject wait = {0};

    memset(p, 0, sizeof *p);
    for (int t = 0; t < PEAK_TYPES; t++) {
        subject s = {.kernel = peak_select((peak_type)t)};

        if (s.kernel != NULL) {
            p->kernel[t] = s.kernel->name;
            p->gigaflops[t] = rate(&s) * (double)s.kernel->operations;
        }
    }
    p->gigahertz = rate(&wait) * PEAK_CYCLES;
}

double peak_read_rate(const void *data, size_t bytes)
{
    enum { LINE = 64 };
    subject s = {.reader = peak_read_select(), .data = data, .lines = bytes / LINE};

    return rate(&s) * (double)(s.lines * LINE);
}

const char *peak_type_name(peak_type type)
{
    return (unsigned)type < PEAK_TYPES ? type_names[type] : "unknown";
}

peak_type peak_type_of(const char *kernel)
{
    const char *word = strchr(kernel, '_');

    while (word != NULL) {
        size_t length = strcspn(++word, "_");

        for (int t = 0; t < PEAK_TYPES; t++) {
            if (strlen(type_names[t]) == length && memcmp(word, type_names[t], length) == 0) {
                return (peak_type)t;
            }
        }
        word = strchr(word, '_');
    }
    return PEAK_TYPES;
}
