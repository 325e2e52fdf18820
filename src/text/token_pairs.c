/* Byte-pair encoding: a word begins as single characters, and the best pair of neighbours becomes
 * one token until no rule is left. Pairs wait in a heap, so a word of n characters costs n log n:
 * vocabularies without words, such as Llama's, see whole texts as one. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/token_model.h"

typedef struct token_symbol {
    int32_t id;             /* -1: gone into its left neighbour */
    int32_t previous, next; /* -1 at the ends */
    uint32_t begin, end;
} token_symbol;

typedef struct token_pair {
    double cost; /* rank, or minus the score: the least goes first, of equals the leftmost */
    int32_t at;
    int32_t left, right; /* what stood there when the pair was found */
    int32_t merged;
} token_pair;

typedef struct merging {
    const token_model *m;
    token_scratch *s;
    size_t symbols;
    size_t pairs;
} merging;

/* ---- the heap ---- */

static bool goes_first(const token_pair *a, const token_pair *b)
{
    return a->cost != b->cost ? a->cost < b->cost : a->at < b->at;
}

static void swap_pairs(token_pair *a, token_pair *b)
{
    token_pair other = *a;

    *a = *b;
    *b = other;
}

static void push_pair(merging *x, token_pair pair)
{
    void *heap = x->s->heap;
    size_t i = x->pairs;

    if (alloc_grow(&x->s->allocator, &heap, &x->s->heap_capacity, i + 1, sizeof(token_pair),
                   SIZE_MAX, NULL) != SPRY_OK) {
        x->s->failed = true;
        return;
    }
    x->s->heap = heap;
    x->s->heap[x->pairs++] = pair;
    for (; i > 0 && goes_first(&x->s->heap[i], &x->s->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        swap_pairs(&x->s->heap[i], &x->s->heap[(i - 1) / 2]);
    }
}

static token_pair pop_pair(merging *x)
{
    token_pair *heap = x->s->heap;
    token_pair top = heap[0];

    heap[0] = heap[--x->pairs];
    for (size_t i = 0;;) {
        size_t child = 2 * i + 1;

        child += child + 1 < x->pairs && goes_first(&heap[child + 1], &heap[child]);
        if (child >= x->pairs || !goes_first(&heap[child], &heap[i])) {
            return top;
        }
        swap_pairs(&heap[i], &heap[child]);
        i = child;
    }
}

/* ---- rules ---- */

static bool find_merge(const token_model *m, token_pair *pair)
{
    if (m->kind == TOKEN_MODEL_SCORE) {
        vocabulary_entry a = vocabulary_at(m->words, pair->left);
        vocabulary_entry b = vocabulary_at(m->words, pair->right);
        char both[2 * LIMIT_NAME_BYTES];

        if ((size_t)a.length + b.length > m->words->longest) {
            return false;
        }
        memcpy(both, a.bytes, a.length);
        memcpy(both + a.length, b.bytes, b.length);
        pair->merged = vocabulary_find(m->words, both, (size_t)a.length + b.length);
        pair->cost = pair->merged >= 0 ? -(double)m->scores[pair->merged] : 0;
        return pair->merged >= 0;
    }
    uint64_t key = (uint64_t)(uint32_t)pair->left << 32 | (uint32_t)pair->right;
    size_t slot = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (m->merge_slots - 1);

    for (; m->merges[slot].merged >= 0; slot = (slot + 1) & (m->merge_slots - 1)) {
        const token_merge *found = &m->merges[slot];

        if (found->left == pair->left && found->right == pair->right) {
            pair->merged = found->merged;
            pair->cost = found->rank;
            return true;
        }
    }
    return false;
}

/* Notes that symbol `at` and its right neighbour could merge. */
static void consider(merging *x, int32_t at)
{
    const token_symbol *left = &x->s->symbols[at];

    if (left->next >= 0) {
        token_pair pair = {.at = at, .left = left->id, .right = x->s->symbols[left->next].id};

        if (find_merge(x->m, &pair)) {
            push_pair(x, pair);
        }
    }
}

static void merge_all(merging *x)
{
    token_symbol *symbols = x->s->symbols;

    for (size_t i = 0; i + 1 < x->symbols; i++) {
        consider(x, (int32_t)i);
    }
    while (x->pairs > 0 && !x->s->failed) {
        token_pair pair = pop_pair(x);
        token_symbol *left = &symbols[pair.at];

        if (left->id != pair.left || left->next < 0 || symbols[left->next].id != pair.right) {
            continue; /* one of them has merged with another meanwhile */
        }
        token_symbol *right = &symbols[left->next];
        left->id = pair.merged;
        left->begin = right->begin < left->begin ? right->begin : left->begin;
        left->end = right->end > left->end ? right->end : left->end;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) {
            symbols[left->next].previous = pair.at;
        }
        if (left->previous >= 0) {
            consider(x, left->previous);
        }
        consider(x, pair.at);
    }
}

/* ---- the beginning ---- */

static void add_symbol(merging *x, int32_t id, const char_at *c)
{
    int32_t at = (int32_t)x->symbols++;

    x->s->symbols[at] = (token_symbol){id, at - 1, at + 1, c->begin, c->end};
}

static int32_t character_id(const merging *x, size_t i, bool is_last)
{
    const char *bytes = x->s->bytes + x->s->starts[i];
    size_t length = x->s->starts[i + 1] - x->s->starts[i];
    size_t suffix = is_last ? strlen(x->m->suffix) : 0;
    char name[LIMIT_NAME_BYTES + 8];

    if (suffix == 0) {
        return vocabulary_find(x->m->words, bytes, length);
    }
    memcpy(name, bytes, length);
    memcpy(name + length, x->m->suffix, suffix);
    return vocabulary_find(x->m->words, name, length + suffix);
}

/* A character that is no token: its bytes, where all of them are, else unknown. */
static void add_unknown(merging *x, size_t i, const char_at *c)
{
    const token_model *m = x->m;
    bool has_bytes = m->bytes;

    for (uint32_t k = x->s->starts[i]; k < x->s->starts[i + 1]; k++) {
        has_bytes = has_bytes && m->byte_ids[(uint8_t)x->s->bytes[k]] >= 0;
    }
    for (uint32_t k = x->s->starts[i]; has_bytes && k < x->s->starts[i + 1]; k++) {
        add_symbol(x, m->byte_ids[(uint8_t)x->s->bytes[k]], c);
    }
    if (has_bytes || m->unknown < 0) {
        return;
    }
    token_symbol *before = x->symbols > 0 ? &x->s->symbols[x->symbols - 1] : NULL;
    if (m->fuse_unknown && before != NULL && before->id == m->unknown) {
        before->end = c->end;
    } else {
        add_symbol(x, m->unknown, c);
    }
}

static bool begin(merging *x, const char_at *c, size_t count)
{
    void *symbols = x->s->symbols;

    if (!token_scratch_word(x->s, c, count)) {
        return false;
    }
    if (alloc_grow(&x->s->allocator, &symbols, &x->s->symbol_capacity, x->s->starts[count],
                   sizeof(token_symbol), INT32_MAX, NULL) != SPRY_OK) {
        return false;
    }
    x->s->symbols = symbols;
    for (size_t i = 0; i < count; i++) {
        int32_t id = character_id(x, i, i + 1 == count);

        if (id >= 0) {
            add_symbol(x, id, &c[i]);
        } else {
            add_unknown(x, i, &c[i]);
        }
    }
    if (x->symbols > 0) {
        x->s->symbols[x->symbols - 1].next = -1;
    }
    return true;
}

void token_pairs_word(const token_model *m, const char_at *c, size_t count, token_scratch *scratch,
                      token_list *out)
{
    merging x = {.m = m, .s = scratch};

    if (!begin(&x, c, count)) {
        out->failed = true;
        return;
    }
    int32_t whole =
        m->whole_words ? vocabulary_find(m->words, scratch->bytes, scratch->starts[count]) : -1;
    if (whole >= 0) {
        token_list_add(out,
                       (spry_token){.id = whole, .begin = c[0].begin, .end = c[count - 1].end});
        return;
    }
    merge_all(&x);
    out->failed = out->failed || scratch->failed;
    for (int32_t i = x.symbols > 0 ? 0 : -1; i >= 0; i = scratch->symbols[i].next) {
        const token_symbol *s = &scratch->symbols[i];
        token_list_add(out, (spry_token){.id = s->id, .begin = s->begin, .end = s->end});
    }
}

void token_scratch_fini(token_scratch *s)
{
    alloc_release(&s->allocator, s->bytes, s->byte_capacity);
    alloc_release(&s->allocator, s->starts, s->start_capacity * sizeof *s->starts);
    alloc_release(&s->allocator, s->symbols, s->symbol_capacity * sizeof *s->symbols);
    alloc_release(&s->allocator, s->heap, s->heap_capacity * sizeof *s->heap);
    token_scratch_init(s, &s->allocator);
}
