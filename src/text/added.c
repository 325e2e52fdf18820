/* Finding added tokens: a sorted list in which each further character narrows a range. */
#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/utf8.h"
#include "text/unicode.h"

code_points code_points_read(arena *memory, const char *bytes, size_t length)
{
    code_points points = {0};
    uint32_t *at = arena_array(memory, length + 1, sizeof *at);

    for (size_t i = 0; at != NULL && i < length;) {
        size_t used = utf8_decode(bytes + i, length - i, &at[points.count]);

        if (used == 0) {
            return (code_points){0};
        }
        points.count++;
        i += used;
    }
    points.at = at;
    return points;
}

/* By which list it is in, then by content. */
static int compare(const void *left, const void *right)
{
    const added_token *a = left;
    const added_token *b = right;
    size_t count = a->content.count < b->content.count ? a->content.count : b->content.count;

    if (a->normalized != b->normalized) {
        return a->normalized ? 1 : -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (a->content.at[i] != b->content.at[i]) {
            return a->content.at[i] < b->content.at[i] ? -1 : 1;
        }
    }
    return (a->content.count > b->content.count) - (a->content.count < b->content.count);
}

void added_sort(added_tokens *tokens)
{
    if (tokens->count > 0) {
        qsort(tokens->at, tokens->count, sizeof *tokens->at, compare);
    }
}

/* The first index in [low, high) whose character `place` is at least `code`; contents that end
 * before `place` come first. */
static size_t first_at_least(const added_tokens *tokens, size_t low, size_t high, size_t place,
                             uint64_t code)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const code_points *content = &tokens->at[middle].content;

        if (content->count <= place || content->at[place] < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token at `from` that lies in [low, high) of the list. */
static const added_token *longest_at(const added_tokens *tokens, size_t low, size_t high,
                                     const char_at *c, size_t count, size_t from)
{
    const added_token *found = NULL;

    for (size_t place = 0; from + place < count && low < high; place++) {
        uint64_t code = c[from + place].code;

        low = first_at_least(tokens, low, high, place, code);
        high = first_at_least(tokens, low, high, place, code + 1);
        if (low < high && tokens->at[low].content.count == place + 1) {
            found = &tokens->at[low];
        }
    }
    return found;
}

static bool stands_alone(const char_at *c, size_t count, size_t begin, size_t end)
{
    return (begin == 0 || !unicode_is_word(c[begin - 1].code)) &&
           (end == count || !unicode_is_word(c[end].code));
}

added_match added_find(const added_tokens *tokens, bool normalized, const char_at *c, size_t count,
                       size_t from)
{
    size_t low = 0;
    size_t high = tokens->count;

    while (low < high) { /* where the normalised ones begin */
        size_t middle = low + (high - low) / 2;

        if (tokens->at[middle].normalized) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    size_t first = normalized ? low : 0;
    size_t last = normalized ? tokens->count : low;

    for (size_t i = from; first < last && i < count; i++) {
        const added_token *found = longest_at(tokens, first, last, c, count, i);

        if (found == NULL) {
            continue;
        }
        added_match match = {found, i, i + found->content.count};
        if (found->single_word && !stands_alone(c, count, match.begin, match.end)) {
            i = match.end - 1;
            continue;
        }
        while (found->left && match.begin > from && unicode_is_space(c[match.begin - 1].code)) {
            match.begin--;
        }
        while (found->right && match.end < count && unicode_is_space(c[match.end].code)) {
            match.end++;
        }
        return match;
    }
    return (added_match){NULL, count, count};
}
