/* Windows over a context. */
#include "text/window.h"

#include <string.h>

int64_t window_added(const spry_tokenizer *t)
{
    int64_t added = 0;
    bool has[2] = {false, false};

    for (size_t i = 0; i < t->pair.count; i++) {
        int32_t source = t->pair.items[i].source;

        added += source < 0;
        if (source >= 0) {
            if (has[source]) {
                return -1; /* a text twice: nobody does that */
            }
            has[source] = true;
        }
    }
    return has[0] && has[1] ? added : -1;
}

int64_t window_cut(int64_t tokens, int64_t room, int64_t stride, int64_t most, text_window *windows)
{
    int64_t count = 0;

    for (int64_t first = 0;; count++) {
        int64_t size = tokens - first < room ? tokens - first : room;

        if (count < most) {
            windows[count] = (text_window){first, size};
        }
        if (first + size == tokens) {
            return count + 1;
        }
        first += size < stride ? size : stride;
    }
}

typedef struct window_rows {
    int64_t *ids, *mask, *segments;
    int64_t at;
} window_rows;

static void put(window_rows *rows, int64_t id, int32_t segment)
{
    rows->ids[rows->at] = id;
    rows->mask[rows->at] = 1;
    rows->segments[rows->at++] = segment;
}

int64_t window_write(const spry_tokenizer *t, const token_list *question, const token_list *context,
                     text_window window, int64_t length, int64_t *ids, int64_t *mask,
                     int64_t *segments)
{
    window_rows rows = {ids, mask, segments, 0};
    int64_t begin = 0;

    for (size_t i = 0; i < t->pair.count; i++) {
        const form_item *item = &t->pair.items[i];

        if (item->source < 0) {
            put(&rows, item->id, item->segment);
        } else if (item->source == 0) {
            for (size_t k = 0; k < question->count; k++) {
                put(&rows, question->at[k].id, item->segment);
            }
        } else {
            begin = rows.at;
            for (int64_t k = 0; k < window.count; k++) {
                put(&rows, context->at[window.first + k].id, item->segment);
            }
        }
    }
    for (int64_t i = rows.at; i < length; i++) {
        ids[i] = t->info.padding >= 0 ? t->info.padding : 0;
        mask[i] = 0;
        segments[i] = 0;
    }
    return begin;
}

static bool contains(const text_window *w, int64_t token)
{
    return token >= w->first && token < w->first + w->count;
}

static double context_around(const text_window *w, int64_t token)
{
    int64_t left = token - w->first;
    int64_t right = w->first + w->count - 1 - token;

    return (double)(left < right ? left : right) + 0.01 * (double)w->count;
}

/* The windows that hold a token are neighbours. */
bool window_is_best(const text_window *windows, int64_t count, int64_t which, int64_t token)
{
    double own = context_around(&windows[which], token);

    for (int64_t w = which - 1; w >= 0 && contains(&windows[w], token); w--) {
        if (context_around(&windows[w], token) >= own) {
            return false;
        }
    }
    for (int64_t w = which + 1; w < count && contains(&windows[w], token); w++) {
        if (context_around(&windows[w], token) > own) {
            return false;
        }
    }
    return true;
}
