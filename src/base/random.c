/* Counter-based random numbers.
 *
 * The normal distribution needs log, sin and cos. The C library's may differ in the last bit from
 * one machine to the next, so they are written here with plain IEEE operations, whose results are
 * fixed (this file must not be compiled with contraction or fast-math). */
#include "base/random.h"

#include <math.h>

enum { ROUNDS = 10, WORDS = 4 };

#define MULTIPLIER_0 0xd2511f53u
#define MULTIPLIER_1 0xcd9e8d57u
#define WEYL_0 0x9e3779b9u
#define WEYL_1 0xbb67ae85u

void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    uint32_t c0 = counter[0];
    uint32_t c1 = counter[1];
    uint32_t c2 = counter[2];
    uint32_t c3 = counter[3];
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0;
        uint64_t p1 = (uint64_t)MULTIPLIER_1 * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

uint64_t random_branch(uint64_t seed, uint64_t purpose)
{
    /* Blocks of streams have the number of the stream in the upper words: two of ~0 keep apart. */
    const uint32_t counter[4] = {(uint32_t)purpose, (uint32_t)(purpose >> 32), UINT32_MAX,
                                 UINT32_MAX};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];

    random_philox(counter, key, words);
    return (uint64_t)words[1] << 32 | words[0];
}

/* The block with index `index`: the counter is (index, stream), the key is the seed. */
static void load_block(spry_random *r, uint64_t index)
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)r->stream,
                                 (uint32_t)(r->stream >> 32)};
    const uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};

    random_philox(counter, key, r->block);
}

spry_random spry_random_stream(uint64_t seed, uint64_t stream)
{
    return (spry_random){.seed = seed, .stream = stream};
}

void spry_random_seek(spry_random *random, uint64_t position)
{
    random->position = position;
    /* A block is loaded when its first word is drawn: between blocks nothing is needed. */
    if (position % WORDS != 0) {
        load_block(random, position / WORDS);
    }
}

uint32_t spry_random_u32(spry_random *random)
{
    uint64_t lane = random->position % WORDS;

    if (lane == 0) {
        load_block(random, random->position / WORDS);
    }
    random->position++;
    return random->block[lane];
}

uint64_t spry_random_u64(spry_random *random)
{
    uint64_t low = spry_random_u32(random);

    return (uint64_t)spry_random_u32(random) << 32 | low;
}

uint64_t spry_random_below(spry_random *random, uint64_t bound)
{
    uint64_t excess;
    uint64_t value;

    if (bound == 0) {
        return 0;
    }
    /* 2^64 mod bound: this many of the lowest values would come up once too often. */
    excess = (0 - bound) % bound;
    do {
        value = spry_random_u64(random);
    } while (value < excess);
    return value % bound;
}

static float unit_f32(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

float spry_random_f32(spry_random *random)
{
    return unit_f32(spry_random_u32(random));
}

double spry_random_f64(spry_random *random)
{
    return (double)(spry_random_u64(random) >> 11) * 0x1p-53;
}

/* Natural logarithm of x in (0, 1], to about 2 units in the last place: x = m 2^e with m near 1,
 * log m = 2 atanh((m - 1) / (m + 1)). */
static double fixed_log(double x)
{
    static const double ln2 = 0x1.62e42fefa39efp-1;
    int exponent;
    double mantissa = frexp(x, &exponent);
    double s;
    double square;
    double sum = 0;

    if (mantissa < 0x1.6a09e667f3bcdp-1) {
        mantissa *= 2;
        exponent--;
    }
    s = (mantissa - 1) / (mantissa + 1);
    square = s * s;
    for (int power = 21; power >= 1; power -= 2) {
        sum = sum * square + 1.0 / power;
    }
    return exponent * ln2 + 2 * s * sum;
}

/* An angle of at most pi / 4 and some quarter turns. */
void random_sin_cos(double x, double *sine, double *cosine)
{
    static const double two_pi = 0x1.921fb54442d18p+2;
    int quarter = (int)(x * 4 + 0.5);
    double angle = (x - quarter * 0.25) * two_pi;
    double square = angle * angle;
    double s = 1;
    double c = 1;

    for (int n = 16; n >= 2; n -= 2) {
        s = 1 - s * square / (n * (n + 1));
        c = 1 - c * square / (n * (n - 1));
    }
    s *= angle;
    *sine = quarter % 2 == 0 ? s : c;
    *cosine = quarter % 2 == 0 ? c : -s;
    if (quarter % 4 >= 2) {
        *sine = -*sine;
        *cosine = -*cosine;
    }
}

/* Two independent normal values from u in (0, 1] and v in [0, 1). */
static void box_muller(double u, double v, double *first, double *second)
{
    double radius = sqrt(-2 * fixed_log(u));

    random_sin_cos(v, second, first);
    *first *= radius;
    *second *= radius;
}

double spry_random_normal(spry_random *random)
{
    double u = 1 - spry_random_f64(random);
    double first;
    double second;

    box_muller(u, spry_random_f64(random), &first, &second);
    return first;
}

void spry_random_fill_uniform(spry_random *random, float *values, size_t count, float low,
                              float high)
{
    float width = high - low;

    for (size_t i = 0; i < count; i++) {
        values[i] = low + unit_f32(spry_random_u32(random)) * width;
    }
}

void spry_random_fill_normal(spry_random *random, float *values, size_t count, float mean,
                             float deviation)
{
    for (size_t i = 0; i < count; i += 2) {
        double u = ((double)spry_random_u32(random) + 1) * 0x1p-32;
        double v = (double)spry_random_u32(random) * 0x1p-32;
        double first;
        double second;

        box_muller(u, v, &first, &second);
        values[i] = mean + deviation * (float)first;
        if (i + 1 < count) {
            values[i + 1] = mean + deviation * (float)second;
        }
    }
}
