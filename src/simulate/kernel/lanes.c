#include "simulate/kernel/lanes.h"

#include <stdio.h>

/* Made when the first span needs it, so that few tracks are empty. */
static int new_track(lanes *l, timeline *t, const char *path)
{
    char name[128];

    if (l->count > 0) {
        (void)snprintf(name, sizeof name, "%s (%d)", path, l->count + 1);
    } else {
        (void)snprintf(name, sizeof name, "%s", path);
    }
    l->tracks[l->count] = timeline_track(t, name);
    return l->count++;
}

void lanes_span(lanes *l, timeline *t, const char *path, uint64_t start, uint64_t end,
                const char *category, const char *name)
{
    int i = 0;

    if (t == NULL) {
        return;
    }
    while (i < l->count && l->ends[i] > start) {
        i++;
    }
    if (i == LANES_MOST) {
        return;
    }
    i = i == l->count ? new_track(l, t, path) : i;
    l->ends[i] = end;
    timeline_span(t, l->tracks[i], start, end, category, name);
}
