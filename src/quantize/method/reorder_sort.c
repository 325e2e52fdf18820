/* Channels sorted by their largest weights, in one line or in two clusters. */
#include "quantize/method/reorder_sort.h"

#include <math.h>
#include <string.h>

static channel_size size_of(const reorder_weights *w, bool inputs, int32_t channel)
{
    channel_size s = {.channel = channel, .high = -INFINITY, .low = INFINITY};
    int64_t others = inputs ? w->outputs : w->inputs;

    for (int64_t k = 0; k < others; k++) {
        int64_t kernel = inputs ? k * w->inputs + channel : channel * w->inputs + k;
        const float *x = w->dense + kernel * w->taps;

        for (int64_t tap = 0; tap < w->taps; tap++) {
            s.high = x[tap] > s.high ? x[tap] : s.high;
            s.low = x[tap] < s.low ? x[tap] : s.low;
        }
    }
    s.largest = fmaxf(fabsf(s.high), fabsf(s.low));
    return s;
}

/* Two means of (high, low), which start at the channels of least and largest size. */
static void cluster(channel_size *s, int64_t count)
{
    enum { ROUNDS = 16 };
    double mean[2][2];
    int64_t least = 0;
    int64_t most = 0;

    for (int64_t i = 0; i < count; i++) {
        least = s[i].largest < s[least].largest ? i : least;
        most = s[i].largest > s[most].largest ? i : most;
    }
    for (int k = 0; k < 2; k++) {
        mean[k][0] = (double)s[k == 0 ? least : most].high;
        mean[k][1] = (double)s[k == 0 ? least : most].low;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double sum[2][3] = {{0.0}};

        for (int64_t i = 0; i < count; i++) {
            double d[2];

            for (int k = 0; k < 2; k++) {
                d[k] = hypot((double)s[i].high - mean[k][0], (double)s[i].low - mean[k][1]);
            }
            s[i].cluster = d[1] < d[0];
            sum[s[i].cluster][0] += (double)s[i].high;
            sum[s[i].cluster][1] += (double)s[i].low;
            sum[s[i].cluster][2] += 1.0;
        }
        for (int k = 0; k < 2; k++) {
            for (int part = 0; sum[k][2] > 0.0 && part < 2; part++) {
                mean[k][part] = sum[k][part] / sum[k][2];
            }
        }
    }
}

static bool comes_first(const channel_size *a, const channel_size *b)
{
    if (a->cluster != b->cluster) {
        return a->cluster < b->cluster;
    }
    return a->largest != b->largest ? a->largest < b->largest : a->channel < b->channel;
}

/* Merge sort: `room` has as many entries. */
static void sort_channels(channel_size *s, int64_t count, channel_size *room)
{
    int64_t half = count / 2;
    int64_t i = 0;
    int64_t j = half;

    if (count < 2) {
        return;
    }
    sort_channels(s, half, room);
    sort_channels(s + half, count - half, room);
    for (int64_t k = 0; k < count; k++) {
        bool left = j >= count || (i < half && !comes_first(&s[j], &s[i]));

        room[k] = left ? s[i++] : s[j++];
    }
    memcpy(s, room, (size_t)count * sizeof *s);
}

void reorder_by_size(const reorder_weights *w, bool inputs, bool clustered, channel_size *room,
                     int32_t *order)
{
    int64_t count = inputs ? w->inputs : w->outputs;

    for (int64_t i = 0; i < count; i++) {
        room[i] = size_of(w, inputs, (int32_t)i);
        room[i].cluster = 0;
    }
    if (clustered) {
        cluster(room, count);
    }
    sort_channels(room, count, room + count);
    for (int64_t i = 0; i < count; i++) {
        order[i] = room[i].channel;
    }
}
