/* Cutting a text. */
#include "inspect/heads_text.h"

#include <ctype.h>

#include "base/alloc.h"
#include "text/tokenizer.h"
#include "text/window.h"

enum { LEAST_TOKENS = 8 };

static const form *form_of(const heads_text *t)
{
    return t->has_pairs ? &t->tokenizer->pair : &t->tokenizer->single;
}

static int64_t added_by(const form *f)
{
    int64_t count = 0;

    for (size_t i = 0; i < f->count; i++) {
        count += f->items[i].source < 0;
    }
    return count;
}

static spry_status make_room(heads_text *t, arena *memory, spry_error *error)
{
    size_t n = (size_t)t->length;

    t->ids = arena_array(memory, n, sizeof *t->ids);
    t->mask = arena_array(memory, n, sizeof *t->mask);
    t->segments = arena_array(memory, n, sizeof *t->segments);
    t->classes = arena_array(memory, n, sizeof *t->classes);
    t->key_segments = arena_array(memory, n, sizeof *t->key_segments);
    t->special = arena_array(memory, n, sizeof *t->special);
    t->punctuation = arena_array(memory, n, sizeof *t->punctuation);
    return t->ids != NULL && t->mask != NULL && t->segments != NULL && t->classes != NULL &&
                   t->key_segments != NULL && t->special != NULL && t->punctuation != NULL
               ? SPRY_OK
               : alloc_failed(error, n * sizeof *t->ids);
}

spry_status heads_text_open(heads_text *t, const spry_tokenizer *tokenizer, const char *text,
                            size_t size, bool has_segments, int64_t window, int64_t fixed,
                            int64_t limit, arena *memory, spry_error *error)
{
    *t = (heads_text){.tokenizer = tokenizer,
                      .has_pairs = has_segments && window_added(tokenizer) >= 0};
    token_list_init(&t->tokens, &memory->allocator);
    spry_status status = tokenizer_tokens(tokenizer, text, size, true, &t->tokens, error);
    int64_t count = (int64_t)t->tokens.count;

    if (status != SPRY_OK) {
        return status;
    }
    if (count < LEAST_TOKENS) {
        return spry_fail(error, SPRY_USAGE, "text", "give a longer text",
                         "it has %lld tokens; patterns need at least %d", (long long)count,
                         (int)LEAST_TOKENS);
    }
    t->window = fixed > 0 && fixed < window ? fixed : window;
    t->room = t->window - added_by(form_of(t));
    if (t->room < LEAST_TOKENS / 2) {
        return spry_fail(error, SPRY_USAGE, "window", "use longer windows",
                         "sequences of %lld tokens leave room for %lld of the text",
                         (long long)t->window, (long long)t->room);
    }
    t->room = count < t->room ? count : t->room;
    t->window = t->room + added_by(form_of(t));
    t->length = fixed > 0 ? fixed : t->window;
    t->sequences = count / t->room < limit ? count / t->room : limit;
    return make_room(t, memory, error);
}

void heads_text_close(heads_text *t)
{
    token_list_fini(&t->tokens);
}

/* Nothing but punctuation, beside what stands for a blank before it. */
static bool is_punctuation(const spry_tokenizer *tokenizer, int64_t id)
{
    const char *c = spry_tokenizer_token(tokenizer, id);
    int count = 0;

    for (; c != NULL && *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;

        if (ispunct(byte) == 0 && byte != ' ' && byte < 0x80) {
            return false;
        }
        count += ispunct(byte) != 0;
    }
    return count > 0;
}

static void write_token(heads_text *t, int64_t id, int32_t segment, bool is_added)
{
    int64_t at = t->used++;

    t->ids[at] = id;
    t->mask[at] = 1;
    t->segments[at] = segment;
    t->key_segments[at] = (int8_t)(segment != 0);
    t->special[at] = is_added;
    t->punctuation[at] = !is_added && is_punctuation(t->tokenizer, id);
    t->classes[at] = is_added && !t->keeps_special_rows ? (int8_t)-1 : t->key_segments[at];
}

void heads_text_write(heads_text *t, int64_t which, bool is_causal)
{
    const form *f = form_of(t);
    int64_t first = which * t->room;
    int64_t half = t->has_pairs ? t->room / 2 : t->room;

    t->used = 0;
    for (size_t i = 0; i < f->count; i++) {
        const form_item *item = &f->items[i];
        int64_t from = item->source == 1 ? half : 0;
        int64_t to = item->source == 1 ? t->room : half;

        if (item->source < 0) {
            write_token(t, item->id, item->segment, true);
        }
        for (int64_t n = from; item->source >= 0 && n < to; n++) {
            write_token(t, t->tokens.at[first + n].id, item->segment, false);
        }
    }
    for (int64_t n = 0; f->count == 0 && n < t->room; n++) {
        write_token(t, t->tokens.at[first + n].id, 0, false);
    }
    for (int64_t n = t->used; n < t->length; n++) {
        t->ids[n] = t->mask[n] = t->segments[n] = 0;
        t->classes[n] = -1;
        t->key_segments[n] = 0;
        t->special[n] = t->punctuation[n] = false;
    }
    t->classes[0] = is_causal ? -1 : t->classes[0];
}
