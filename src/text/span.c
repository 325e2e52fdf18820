/* The search for answers in the logits of one window. */
#include <math.h>
#include <stdlib.h>

#include "text/window.h"

/* Indices of the `most` largest of `count` values, largest first, of equals the first first;
 * returns how many there are above -infinity. */
static int64_t largest(const float *values, int64_t count, int64_t most, int64_t *indices)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < count; i++) {
        int64_t place = kept;

        if (!(values[i] > -INFINITY)) {
            continue; /* NaN, or a token that the model dropped */
        }
        while (place > 0 && values[i] > values[indices[place - 1]]) {
            place--;
        }
        if (place >= most) {
            continue;
        }
        for (int64_t k = kept < most ? kept : most - 1; k > place; k--) {
            indices[k] = indices[k - 1];
        }
        indices[place] = i;
        kept += kept < most;
    }
    return kept;
}

static int compare(const void *left, const void *right)
{
    const span *a = left;
    const span *b = right;

    if (a->score != b->score) {
        return a->score > b->score ? -1 : 1;
    }
    if (a->first != b->first) {
        return a->first < b->first ? -1 : 1;
    }
    return (a->last > b->last) - (a->last < b->last);
}

int64_t span_search(const text_window *windows, int64_t count, int64_t which,
                    const span_logits *logits, int32_t candidates, int32_t longest, span *found)
{
    const text_window *w = &windows[which];
    int64_t starts[SPAN_MOST_CANDIDATES];
    int64_t ends[SPAN_MOST_CANDIDATES];
    const float *start = logits->start + logits->offset;
    const float *end = logits->end + logits->offset;
    int64_t start_count = largest(start, w->count, candidates, starts);
    int64_t end_count = largest(end, w->count, candidates, ends);
    int64_t kept = 0;

    for (int64_t s = 0; s < start_count; s++) {
        if (!window_is_best(windows, count, which, w->first + starts[s])) {
            continue;
        }
        for (int64_t e = 0; e < end_count; e++) {
            if (ends[e] >= starts[s] && ends[e] - starts[s] < longest) {
                found[kept++] = (span){.first = w->first + starts[s],
                                       .last = w->first + ends[e],
                                       .score = (double)start[starts[s]] + (double)end[ends[e]],
                                       .window = (int32_t)which};
            }
        }
    }
    qsort(found, (size_t)kept, sizeof *found, compare);
    return kept;
}
