/* Permutations by key, and the four ways to draw from them. */
#include "data/sampler.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "data/dataset.h"

enum { ROUNDS = 6 };

/* Seeds of their own under the sampler's seed. */
enum { PURPOSE_SHUFFLE = 1, PURPOSE_CLASSES = 2, PURPOSE_POISSON = 3 };

/* --- the permutation ------------------------------------------------------------------------- */

/* One pass through the network: a bijection of numbers of 2 x `width` bits. */
static uint64_t encipher(const uint32_t key[2], uint64_t round, int width, uint64_t value)
{
    const uint32_t mask = (uint32_t)(((uint64_t)1 << width) - 1);
    uint32_t left = (uint32_t)(value >> width);
    uint32_t right = (uint32_t)value & mask;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        const uint32_t counter[4] = {right, i, (uint32_t)round, (uint32_t)(round >> 32)};
        uint32_t words[4];
        uint32_t next;

        random_philox(counter, key, words);
        next = left ^ (words[0] & mask);
        left = right;
        right = next;
    }
    return (uint64_t)left << width | right;
}

int64_t sampler_permute(uint64_t key, int64_t round, int64_t count, int64_t at)
{
    const uint32_t halves[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    uint64_t value = (uint64_t)at;
    int width = 1;

    while (width < 32 && (uint64_t)1 << (2 * width) < (uint64_t)count) {
        width++;
    }
    /* The orbit of a number below count comes back to one below count, after 4 steps on average. */
    do {
        value = encipher(halves, (uint64_t)round, width, value);
    } while (value >= (uint64_t)count);
    return (int64_t)value;
}

/* --- making ---------------------------------------------------------------------------------- */

static spry_status check(const sampler_options *o, spry_error *error)
{
    if (o->count < 1) {
        return spry_fail(error, SPRY_USAGE, "sampler", NULL, "there are no samples to draw");
    }
    if (o->kind == SAMPLER_POISSON) {
        return o->rate > 0 && o->rate <= 1
                   ? SPRY_OK
                   : spry_fail(error, SPRY_USAGE, "rate",
                               "give the batch size divided by the number of samples",
                               "the probability of a sample must be above 0 and at most 1");
    }
    if (o->batch < 1 || o->batch > o->count) {
        return spry_fail(error, SPRY_USAGE, "batch", "choose a smaller batch or add data",
                         "a batch of %lld cannot be taken from %lld samples", (long long)o->batch,
                         (long long)o->count);
    }
    return SPRY_OK;
}

/* Sorts the samples by class, by counting; classes without samples leave no trace. */
static spry_status group(sampler *s, spry_error *error)
{
    const sampler_options *o = &s->options;
    int64_t classes = 0;
    int64_t begin = 0;

    for (int64_t i = 0; i < o->count; i++) {
        classes = o->labels[i] >= classes ? (int64_t)o->labels[i] + 1 : classes;
    }
    s->classes = classes;
    s->first = alloc_array(&s->allocator, (size_t)classes + 1, sizeof *s->first);
    s->members = alloc_array(&s->allocator, (size_t)o->count, sizeof *s->members);
    if (s->first == NULL || s->members == NULL) {
        return alloc_failed(error, (size_t)o->count * sizeof *s->members);
    }
    for (int64_t i = 0; i < o->count; i++) {
        s->first[o->labels[i]]++;
    }
    for (int64_t c = 0; c < classes; c++) {
        int64_t size = s->first[c];

        s->first[c] = begin;
        begin += size;
    }
    for (int64_t i = 0; i < o->count; i++) {
        s->members[s->first[o->labels[i]]++] = i;
    }
    /* first[c] is now where class c ends: keep the beginnings of those that have samples. */
    begin = 0;
    for (int64_t c = 0; c < classes; c++) {
        int64_t end = s->first[c];

        if (end > begin) {
            s->first[s->groups++] = begin;
        }
        begin = end;
    }
    s->first[s->groups] = o->count;
    return SPRY_OK;
}

spry_status sampler_init(sampler *s, const sampler_options *options,
                         const spry_allocator *allocator, spry_error *error)
{
    spry_status status = check(options, error);

    *s = (sampler){.options = *options, .allocator = alloc_resolve(allocator)};
    if (status == SPRY_OK && options->kind == SAMPLER_POISSON) {
        /* 1 / 0.1 is 10: the quotient of a rate that was itself a quotient may be a bit too
         * small. */
        s->steps = (int64_t)fmin(1 / options->rate * (1 + 1e-12), 0x1p62);
    } else if (status == SPRY_OK) {
        s->steps = options->count / options->batch;
    }
    if (status == SPRY_OK && options->kind == SAMPLER_BALANCED) {
        status = group(s, error);
    }
    s->options.labels = NULL;
    if (status != SPRY_OK) {
        sampler_fini(s);
    }
    return status;
}

void sampler_fini(sampler *s)
{
    alloc_release(&s->allocator, s->first, ((size_t)s->classes + 1) * sizeof *s->first);
    alloc_release(&s->allocator, s->members, (size_t)s->options.count * sizeof *s->members);
    s->first = NULL;
    s->members = NULL;
}

int64_t sampler_steps_per_epoch(const sampler *s)
{
    return s->steps;
}

int64_t sampler_most(const sampler *s)
{
    return s->options.kind == SAMPLER_POISSON ? s->options.count : s->options.batch;
}

int64_t sampler_usual(const sampler *s)
{
    const sampler_options *o = &s->options;
    double mean = o->rate * (double)o->count;
    double usual = ceil(mean + 6 * sqrt(mean * (1 - o->rate))) + 1;

    return o->kind != SAMPLER_POISSON ? o->batch
           : usual < (double)o->count ? (int64_t)usual
                                      : o->count;
}

/* --- drawing --------------------------------------------------------------------------------- */

/* The sample at a place of the epoch's order. */
static sampler_pick pick_of_epoch(const sampler *s, int64_t epoch, int64_t place)
{
    const sampler_options *o = &s->options;
    int64_t index = place;

    if (o->kind == SAMPLER_SHUFFLED) {
        index = sampler_permute(random_branch(o->seed, PURPOSE_SHUFFLE), epoch, o->count, place);
    }
    return (sampler_pick){.index = index, .visit = epoch, .place = place};
}

/* The member at a place of a class's order in its `round`-th pass. */
static sampler_pick pick_of_group(const sampler *s, int64_t g, int64_t round, int64_t place)
{
    uint64_t key = random_branch(random_branch(s->options.seed, PURPOSE_SHUFFLE), (uint64_t)g);
    int64_t size = s->first[g + 1] - s->first[g];
    int64_t member = sampler_permute(key, round, size, place);

    return (sampler_pick){
        .index = s->members[s->first[g] + member], .visit = round, .place = place, .group = g};
}

/* The n-th draw of all steps together: classes take turns, in another order each round. */
static sampler_pick pick_balanced(const sampler *s, int64_t n)
{
    int64_t turn = n / s->groups;
    int64_t g = sampler_permute(random_branch(s->options.seed, PURPOSE_CLASSES), turn, s->groups,
                                n % s->groups);
    int64_t size = s->first[g + 1] - s->first[g];

    return pick_of_group(s, g, turn / size, turn % size);
}

static int64_t draw_poisson(const sampler *s, int64_t step, sampler_pick *picks, int64_t room)
{
    spry_random r =
        spry_random_stream(random_branch(s->options.seed, PURPOSE_POISSON), (uint64_t)step);
    /* Exact: a double below 1 times 2^64 is a whole number of less than 2^64, or below 1. */
    bool all = s->options.rate >= 1;
    uint64_t threshold = all ? 0 : (uint64_t)(s->options.rate * 0x1p64);
    int64_t count = 0;

    for (int64_t i = 0; i < s->options.count; i++) {
        if (all || spry_random_u64(&r) < threshold) {
            if (count < room) {
                picks[count] = (sampler_pick){.index = i, .visit = step};
            }
            count++;
        }
    }
    return count;
}

int64_t sampler_draw(const sampler *s, int64_t step, sampler_pick *picks, int64_t room)
{
    const sampler_options *o = &s->options;

    if (o->kind == SAMPLER_POISSON) {
        return draw_poisson(s, step, picks, room);
    }
    for (int64_t i = 0; i < o->batch && i < room; i++) {
        picks[i] = o->kind == SAMPLER_BALANCED
                       ? pick_balanced(s, step * o->batch + i)
                       : pick_of_epoch(s, step / s->steps, step % s->steps * o->batch + i);
    }
    return o->batch;
}

bool sampler_stand_in(const sampler *s, const sampler_pick *pick, int64_t n, sampler_pick *other)
{
    const sampler_options *o = &s->options;
    bool balanced = o->kind == SAMPLER_BALANCED;
    int64_t size = balanced ? s->first[pick->group + 1] - s->first[pick->group] : o->count;

    if (o->kind == SAMPLER_POISSON || n >= size) {
        return false;
    }
    *other = balanced ? pick_of_group(s, pick->group, pick->visit, (pick->place + n) % size)
                      : pick_of_epoch(s, pick->visit, (pick->place + n) % size);
    /* Its own turn in the epoch is another draw, and must not look the same. */
    other->visit += n << 32;
    return true;
}
