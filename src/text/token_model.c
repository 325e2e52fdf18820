/* WordPiece and whole words; tables of byte pairs. */
#include "text/token_model.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tensor/utf8.h"

/* ---- lists ---- */

void token_list_init(token_list *t, const spry_allocator *allocator)
{
    *t = (token_list){.allocator = alloc_resolve(allocator)};
}

void token_list_fini(token_list *t)
{
    alloc_release(&t->allocator, t->at, t->capacity * sizeof *t->at);
    token_list_init(t, &t->allocator);
}

void token_list_add(token_list *t, spry_token token)
{
    void *at = t->at;

    if (t->count == t->capacity && !t->failed) {
        t->failed = alloc_grow(&t->allocator, &at, &t->capacity, t->count + 1, sizeof *t->at,
                               LIMIT_TEXT_BYTES, NULL) != SPRY_OK;
        t->at = at;
    }
    if (!t->failed) {
        t->at[t->count++] = token;
    }
}

spry_status token_list_status(const token_list *t, spry_error *error)
{
    return t->failed ? spry_fail(error, SPRY_LIMIT, "text", "cut it into parts",
                                 "its tokens do not fit into memory")
                     : SPRY_OK;
}

/* ---- scratch ---- */

void token_scratch_init(token_scratch *s, const spry_allocator *allocator)
{
    *s = (token_scratch){.allocator = alloc_resolve(allocator)};
}

bool token_scratch_word(token_scratch *s, const char_at *c, size_t count)
{
    void *bytes = s->bytes;
    void *starts = s->starts;

    if (alloc_grow(&s->allocator, &bytes, &s->byte_capacity, count * UTF8_MAX_BYTES, 1, SIZE_MAX,
                   NULL) != SPRY_OK) {
        s->failed = true;
    }
    s->bytes = bytes;
    if (alloc_grow(&s->allocator, &starts, &s->start_capacity, count + 1, sizeof *s->starts,
                   SIZE_MAX, NULL) != SPRY_OK) {
        s->failed = true;
    }
    s->starts = starts;
    if (s->failed) {
        return false;
    }
    s->starts[0] = 0;
    for (size_t i = 0; i < count; i++) {
        s->starts[i + 1] = s->starts[i] + (uint32_t)utf8_encode(c[i].code, s->bytes + s->starts[i]);
    }
    return true;
}

/* ---- tables ---- */

void token_model_find_bytes(token_model *m)
{
    for (int b = 0; b < 256; b++) {
        char name[8];

        (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        m->byte_ids[b] = vocabulary_find_string(m->words, name);
    }
}

spry_status token_model_make_merges(token_model *m, const spry_allocator *allocator, size_t count,
                                    spry_error *error)
{
    size_t slots = 16;

    while (slots < count * 2) {
        slots *= 2;
    }
    m->merges = alloc_array(allocator, slots, sizeof *m->merges);
    if (m->merges == NULL) {
        return alloc_failed(error, slots * sizeof *m->merges);
    }
    m->merge_slots = slots;
    for (size_t i = 0; i < slots; i++) {
        m->merges[i].merged = -1;
    }
    return SPRY_OK;
}

void token_model_add_merge(token_model *m, token_merge merge)
{
    uint64_t key = (uint64_t)(uint32_t)merge.left << 32 | (uint32_t)merge.right;
    size_t slot = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (m->merge_slots - 1);

    while (m->merges[slot].merged >= 0 &&
           (m->merges[slot].left != merge.left || m->merges[slot].right != merge.right)) {
        slot = (slot + 1) & (m->merge_slots - 1);
    }
    m->merges[slot] = merge;
}

void token_model_fini(token_model *m, const spry_allocator *allocator)
{
    alloc_release(allocator, m->merges, m->merge_slots * sizeof *m->merges);
    m->merges = NULL;
}

/* ---- WordPiece ---- */

/* Id of the longest token that begins at character `at`, and one behind its last character. */
static int32_t longest_piece(const token_model *m, const token_scratch *s, size_t count, size_t at,
                             size_t *end)
{
    size_t prefix = at > 0 ? strlen(m->prefix) : 0;
    char piece[LIMIT_NAME_BYTES];

    memcpy(piece, m->prefix, prefix);
    for (size_t to = count; to > at; to--) {
        size_t length = s->starts[to] - s->starts[at];

        if (prefix + length > m->words->longest || prefix + length > sizeof piece) {
            continue;
        }
        memcpy(piece + prefix, s->bytes + s->starts[at], length);
        int32_t id = vocabulary_find(m->words, piece, prefix + length);
        if (id >= 0) {
            *end = to;
            return id;
        }
    }
    return -1;
}

/* Greedy from the left; a word that cannot be covered is one unknown token. */
static void wordpiece(const token_model *m, const char_at *c, size_t count, token_scratch *s,
                      token_list *out)
{
    size_t before = out->count;

    for (size_t at = 0, end = 0; at < count; at = end) {
        int32_t id = count > (size_t)m->longest_word ? -1 : longest_piece(m, s, count, at, &end);

        if (id < 0) {
            out->count = before;
            token_list_add(
                out, (spry_token){.id = m->unknown, .begin = c[0].begin, .end = c[count - 1].end});
            return;
        }
        token_list_add(out, (spry_token){.id = id, .begin = c[at].begin, .end = c[end - 1].end});
    }
}

void token_model_word(const token_model *m, const char_at *c, size_t count, token_scratch *scratch,
                      token_list *out)
{
    if (m->kind == TOKEN_MODEL_BPE || m->kind == TOKEN_MODEL_SCORE) {
        token_pairs_word(m, c, count, scratch, out);
    } else if (!token_scratch_word(scratch, c, count)) {
        out->failed = true;
    } else if (m->kind == TOKEN_MODEL_WORDPIECE) {
        wordpiece(m, c, count, scratch, out);
    } else {
        int32_t id = vocabulary_find(m->words, scratch->bytes, scratch->starts[count]);
        id = id >= 0 ? id : m->unknown;
        if (id >= 0) {
            token_list_add(out,
                           (spry_token){.id = id, .begin = c[0].begin, .end = c[count - 1].end});
        }
    }
}
