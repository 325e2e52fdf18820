/* The greedy cut. */
#include "tune/tenants/layer_blocks.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

static double at(const layer_profile *p, int32_t layer, int32_t choice)
{
    return p->ms[(int64_t)layer * p->choices + choice];
}

spry_status layer_profile_check(const layer_profile *p, spry_error *error)
{
    bool fine = p->layers > 0 && p->layers <= LAYER_BLOCKS_MOST_LAYERS && p->choices > 0 &&
                p->choices <= LAYER_BLOCKS_MOST_CORES && p->target_ms > 0.0 && p->safety > 0.0 &&
                p->safety <= 1.0;

    for (int32_t c = 0; fine && c < p->choices; c++) {
        fine = p->cores[c] > (c > 0 ? p->cores[c - 1] : 0);
    }
    for (int32_t i = 0; fine && i < p->layers; i++) {
        fine = isfinite(p->work[i]) && p->work[i] > 0.0;
        for (int32_t c = 0; fine && c < p->choices; c++) {
            fine = isfinite(at(p, i, c)) && at(p, i, c) >= 0.0;
        }
    }
    return fine ? SPRY_OK
                : spry_fail(error, SPRY_USAGE, "profile", NULL,
                            "times, work or numbers of cores are out of range");
}

static double all_work(const layer_profile *p)
{
    double sum = 0.0;

    for (int32_t i = 0; i < p->layers; i++) {
        sum += p->work[i];
    }
    return sum;
}

static double sum_ms(const layer_profile *p, int32_t first, int32_t count, int32_t choice)
{
    double sum = 0.0;

    for (int32_t i = first; i < first + count; i++) {
        sum += at(p, i, choice);
    }
    return sum;
}

/* Work is summed once by the caller: models of many layers are cut often. */
static int32_t need(const layer_profile *p, int32_t first, int32_t count, double work)
{
    double part = 0.0;

    for (int32_t i = first; i < first + count; i++) {
        part += p->work[i];
    }
    part *= p->safety * p->target_ms / work;
    for (int32_t c = 0; c < p->choices; c++) {
        if (sum_ms(p, first, count, c) <= part) {
            return p->cores[c];
        }
    }
    return p->cores[p->choices - 1];
}

int32_t layer_blocks_need(const layer_profile *p, int32_t first, int32_t count)
{
    return need(p, first, count, all_work(p));
}

double layer_blocks_ms(const layer_profile *p, int32_t first, int32_t count, int32_t cores)
{
    int32_t c = 0;

    while (c < p->choices - 1 && p->cores[c] != cores) {
        c++;
    }
    return sum_ms(p, first, count, c);
}

int32_t layer_blocks_average(const layer_profile *p)
{
    return layer_blocks_need(p, 0, p->layers);
}

double layer_blocks_threshold(const layer_profile *p, double busy)
{
    int32_t all = p->cores[p->choices - 1];
    int32_t average = layer_blocks_average(p);
    double load = fmin(1.0, fmax(0.0, busy / all));

    return average + (all - average) * (1.0 - load);
}

int32_t layer_blocks_form(const layer_profile *p, double threshold, double least_ms,
                          layer_block *blocks)
{
    double work = all_work(p);
    int32_t made = 0;
    layer_block now = {0};

    for (int32_t i = 0; i < p->layers; i++) {
        now.count++;
        now.cores = need(p, now.first, now.count, work);
        if (now.cores <= threshold &&
            layer_blocks_ms(p, now.first, now.count, now.cores) >= least_ms) {
            blocks[made++] = now;
            now = (layer_block){.first = i + 1};
        }
    }
    if (now.count > 0 && made > 0) { /* what is left over joins the last block */
        now = (layer_block){.first = blocks[made - 1].first,
                            .count = blocks[made - 1].count + now.count};
        made--;
    }
    if (now.count > 0) {
        now.cores = need(p, now.first, now.count, work);
        blocks[made++] = now;
    }
    return made;
}

double layer_blocks_core_ms(const layer_profile *p, const layer_block *blocks, int32_t count)
{
    double sum = 0.0;

    for (int32_t b = 0; b < count; b++) {
        sum +=
            blocks[b].cores * layer_blocks_ms(p, blocks[b].first, blocks[b].count, blocks[b].cores);
    }
    return sum;
}
