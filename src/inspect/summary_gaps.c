/* All that cannot be run, at once: (operator, opset, reason) with the nodes that need it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/summary.h"

enum { GAP_REASON_SIZE = 64 };

typedef struct gap_collector {
    summary *s;
    size_t capacity;
    spry_status status;
    spry_error *error;
} gap_collector;

/* One row per report; rows of equal meaning are joined afterwards. */
static void collect(void *context, const spry_unsupported *item)
{
    gap_collector *c = context;
    summary *s = c->s;
    char reason[GAP_REASON_SIZE] = "no such operator";

    if (c->status != SPRY_OK) {
        return;
    }
    void *array = s->gaps;
    c->status = summary_grow(s, &array, &c->capacity, s->gap_count, sizeof *s->gaps, c->error);
    s->gaps = array;
    if (c->status != SPRY_OK) {
        return;
    }
    if (item->dtype != SPRY_DTYPE_NONE) {
        (void)snprintf(reason, sizeof reason, "input %d is %s", (int)item->input,
                       spry_dtype_name(item->dtype));
    }
    spry_inspect_gap *gap = &s->gaps[s->gap_count];
    *gap = (spry_inspect_gap){.type = summary_text(s, item->type),
                              .domain = summary_text(s, item->domain),
                              .opset = item->opset,
                              .reason = summary_text(s, reason),
                              .nodes = s->gap_count, /* its place, while rows are sorted */
                              .labels = summary_text(s, item->node)};
    if (gap->type == NULL || gap->domain == NULL || gap->reason == NULL || gap->labels == NULL) {
        c->status = alloc_failed(c->error, SUMMARY_LABEL_SIZE);
        return;
    }
    s->gap_count++;
}

static int compare_meaning(const spry_inspect_gap *x, const spry_inspect_gap *y)
{
    int by_domain = strcmp(x->domain, y->domain);
    int by_type = strcmp(x->type, y->type);
    int by_opset = (x->opset > y->opset) - (x->opset < y->opset);

    return by_domain != 0  ? by_domain
           : by_type != 0  ? by_type
           : by_opset != 0 ? by_opset
                           : strcmp(x->reason, y->reason);
}

static int compare_gaps(const void *a, const void *b)
{
    const spry_inspect_gap *x = a;
    const spry_inspect_gap *y = b;
    int by_meaning = compare_meaning(x, y);

    return by_meaning != 0 ? by_meaning : (x->nodes > y->nodes) - (x->nodes < y->nodes);
}

static int compare_counts(const void *a, const void *b)
{
    const spry_inspect_gap *x = a;
    const spry_inspect_gap *y = b;

    return x->nodes != y->nodes ? (x->nodes < y->nodes) - (x->nodes > y->nodes)
                                : compare_meaning(x, y);
}

/* The labels of the first rows of gaps[first, end), joined. */
static const char *join_labels(summary *s, int32_t first, int32_t end)
{
    size_t size = 8;

    end = end - first > SUMMARY_GAP_LABELS ? first + SUMMARY_GAP_LABELS : end;
    for (int32_t i = first; i < end; i++) {
        size += strlen(s->gaps[i].labels) + 2;
    }
    char *joined = arena_zeroed(&s->memory, size);
    size_t length = 0;

    for (int32_t i = first; joined != NULL && i < end; i++) {
        length += (size_t)snprintf(joined + length, size - length, "%s%s", i > first ? ", " : "",
                                   s->gaps[i].labels);
    }
    return joined;
}

static spry_status join_rows(summary *s, spry_error *error)
{
    int32_t kept = 0;
    int32_t end = 0;

    for (int32_t first = 0; first < s->gap_count; first = end) {
        for (end = first + 1; end < s->gap_count; end++) {
            if (compare_meaning(&s->gaps[first], &s->gaps[end]) != 0) {
                break;
            }
        }
        const char *labels = join_labels(s, first, end);
        if (labels == NULL) {
            return alloc_failed(error, SUMMARY_LABEL_SIZE);
        }
        s->gaps[kept] = s->gaps[first];
        s->gaps[kept].nodes = end - first;
        s->gaps[kept++].labels = labels;
    }
    s->gap_count = kept;
    return SPRY_OK;
}

spry_status summary_find_gaps(summary *s, spry_error *error)
{
    gap_collector collector = {.s = s, .error = error};
    int64_t count = 0;
    spry_status status = spry_model_unsupported(s->m, collect, &collector, &count, error);

    status = status == SPRY_OK ? collector.status : status;
    if (status != SPRY_OK || s->gap_count == 0) {
        return status;
    }
    qsort(s->gaps, (size_t)s->gap_count, sizeof *s->gaps, compare_gaps);
    status = join_rows(s, error);
    qsort(s->gaps, (size_t)s->gap_count, sizeof *s->gaps, compare_counts);
    return status;
}
