/* The triad of STREAM, on arrays that fit into each level. */
#include "measure/bandwidth.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/topology.h"

enum { ARRAYS = 3, BYTES = 4, TURNS = 6 };

static const double guessed_sizes[] = {32768, 1048576, 16777216}; /* where caches are not told */

void bandwidth_triad(float *restrict a, const float *restrict b, const float *restrict c,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        a[i] = b[i] + 3.0F * c[i];
    }
}

/* Each member's arrays lie behind one another. */
typedef struct triads {
    float *memory;
    size_t count; /* numbers of one array */
    int64_t repeats;
} triads;

static void run_triads(void *context, int64_t begin, int64_t end, int worker)
{
    const triads *t = context;

    (void)worker;
    for (int64_t m = begin; m < end; m++) {
        float *own = t->memory + (size_t)m * ARRAYS * t->count;

        for (int64_t i = 0; i < t->repeats; i++) {
            bandwidth_triad(own, own + t->count, own + 2 * t->count, t->count);
        }
    }
}

/* Bytes per second of all members, with three arrays of `bytes` together for each; 0 where there is
 * no memory. */
static double triad_rate(threads *team, double bytes)
{
    size_t members = (size_t)threads_count(team);
    triads t = {.count = (size_t)bytes / BYTES / ARRAYS, .repeats = (int64_t)(32e6 / bytes) + 1};
    size_t numbers = t.count * ARRAYS * members;
    double best = 0;

    t.memory = alloc_array(spry_allocator_system(), numbers, sizeof *t.memory);
    if (t.memory == NULL) {
        return 0;
    }
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t start = clock_ns();
        double rate;

        threads_for(team, (int64_t)members, 1, run_triads, &t);
        rate =
            (double)(numbers * BYTES) * (double)t.repeats * 1e9 / (double)(clock_ns() - start + 1);
        best = rate > best ? rate : best;
    }
    alloc_release(spry_allocator_system(), t.memory, numbers * sizeof *t.memory);
    return best;
}

spry_status bandwidth_measure(threads *team, double sizes[BANDWIDTH_LEVELS - 1],
                              double rates[BANDWIDTH_LEVELS], spry_error *error)
{
    enum { LAST = BANDWIDTH_LEVELS - 1 };
    int members = threads_count(team);
    topology machine;

    topology_read(&machine);
    for (int i = 0; i < BANDWIDTH_LEVELS; i++) {
        const topology_cache *cache = i < LAST ? topology_find_cache(&machine, i + 1) : NULL;
        double size = cache != NULL ? (double)cache->bytes : guessed_sizes[i < 2 ? i : 2];

        if (i < LAST) {
            sizes[i] = size;
        }
        /* The last cache and memory are shared. */
        size = i < LAST ? size / 2 : 4 * sizes[LAST - 1];
        rates[i] = triad_rate(team, i < LAST - 1 ? size : size / members);
        if (!(rates[i] > 0)) {
            return alloc_failed(error, (size_t)size);
        }
    }
    return SPRY_OK;
}
