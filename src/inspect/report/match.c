/* Which layers of two models are the same one. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/report/report.h"

/* What quantizers append to the names of nodes. */
static const char *const suffixes[] = {"_quant", "_quantized", "_qdq"};

/* The name without what a quantizer has appended. */
static size_t stem_length(const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t end = strlen(suffixes[i]);

        if (length > end && strcmp(name + length - end, suffixes[i]) == 0) {
            return length - end;
        }
    }
    return length;
}

static bool same_name(const report_layer *a, const report_layer *b)
{
    size_t length = stem_length(a->name);

    return length > 0 && length == stem_length(b->name) && memcmp(a->name, b->name, length) == 0;
}

/* Convolutions stay convolutions when they are quantized: QLinearConv. */
static const char *plain_type(const char *type)
{
    static const char prefix[] = "QLinear";

    return strncmp(type, prefix, sizeof prefix - 1) == 0 ? type + sizeof prefix - 1 : type;
}

static bool same_work(const report_layer *a, const report_layer *b)
{
    return a->row.macs == b->row.macs &&
           strcmp(plain_type(a->row.type), plain_type(b->row.type)) == 0;
}

typedef struct matcher {
    const report *a, *b;
    int32_t *partner; /* by layer of a */
    bool *is_taken;   /* by layer of b */
} matcher;

static void pair_by_name(const matcher *m)
{
    int32_t next = 0;

    for (int32_t i = 0; i < m->a->layer_count; i++) {
        m->partner[i] = -1;
        for (int32_t k = 0; k < m->b->layer_count; k++) {
            int32_t at = (next + k) % m->b->layer_count;

            if (!m->is_taken[at] && same_name(&m->a->layers[i], &m->b->layers[at])) {
                m->partner[i] = at;
                m->is_taken[at] = true;
                next = (at + 1) % m->b->layer_count;
                break;
            }
        }
    }
}

/* What no name has paired, where operator and work agree: the first with the first, and so on. */
static void pair_by_work(const matcher *m)
{
    for (int32_t i = 0; i < m->a->layer_count; i++) {
        for (int32_t k = 0; m->partner[i] < 0 && k < m->b->layer_count; k++) {
            if (!m->is_taken[k] && same_work(&m->a->layers[i], &m->b->layers[k])) {
                m->partner[i] = k;
                m->is_taken[k] = true;
            }
        }
    }
}

spry_status report_match(report *a, const report *b, report_pair **pairs, int32_t *count,
                         spry_error *error)
{
    size_t most = (size_t)a->layer_count + (size_t)b->layer_count + 1;
    matcher m = {a, b, arena_array(&a->memory, most, sizeof *m.partner),
                 arena_array(&a->memory, most, sizeof *m.is_taken)};
    report_pair *list = arena_array(&a->memory, most, sizeof *list);

    *count = 0;
    *pairs = list;
    if (m.partner == NULL || m.is_taken == NULL || list == NULL) {
        return alloc_failed(error, most * sizeof *list);
    }
    memset(m.is_taken, 0, most * sizeof *m.is_taken);
    pair_by_name(&m);
    pair_by_work(&m);
    for (int32_t i = 0; i < a->layer_count; i++) {
        list[(*count)++] = (report_pair){i, m.partner[i]};
    }
    for (int32_t k = 0; k < b->layer_count; k++) {
        if (!m.is_taken[k]) {
            list[(*count)++] = (report_pair){-1, k};
        }
    }
    return SPRY_OK;
}
