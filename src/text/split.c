/* The steps that cut text into words. */
#include "text/split.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "tensor/utf8.h"
#include "text/unicode.h"

void words_init(words *w, const spry_allocator *allocator)
{
    *w = (words){0};
    chars_init(&w->chars, allocator);
}

void words_fini(words *w)
{
    alloc_release(&w->chars.allocator, w->ends, w->capacity * sizeof *w->ends);
    chars_fini(&w->chars);
    words_init(w, &w->chars.allocator);
}

void words_clear(words *w)
{
    chars_clear(&w->chars);
    w->count = 0;
}

void words_end(words *w)
{
    void *ends = w->ends;

    if (w->chars.count == (w->count > 0 ? w->ends[w->count - 1] : 0) || w->chars.failed) {
        return;
    }
    if (w->count == w->capacity &&
        alloc_grow(&w->chars.allocator, &ends, &w->capacity, w->count + 1, sizeof *w->ends,
                   LIMIT_TEXT_BYTES, NULL) != SPRY_OK) {
        w->chars.failed = true;
        return;
    }
    w->ends = ends;
    w->ends[w->count++] = w->chars.count;
}

/* ---- bytes as characters ---- */

/* Printable characters of Latin-1 stand for themselves; the others, in order, for U+0100 and up. */
static bool stands_for_itself(uint32_t code)
{
    return (code >= '!' && code <= '~') || (code >= 0xa1 && code <= 0xac) ||
           (code >= 0xae && code <= 0xff);
}

uint32_t split_byte_char(uint8_t byte)
{
    uint32_t moved = 0;

    if (stands_for_itself(byte)) {
        return byte;
    }
    for (uint32_t b = 0; b < byte; b++) {
        moved += !stands_for_itself(b);
    }
    return 0x100 + moved;
}

int split_char_byte(uint32_t code)
{
    if (code < 0x100) {
        return stands_for_itself(code) ? (int)code : -1;
    }
    for (uint32_t b = 0, moved = 0x100; b < 0x100; b++) {
        if (!stands_for_itself(b) && moved++ == code) {
            return (int)b;
        }
    }
    return -1;
}

/* ---- finding where to cut ---- */

typedef enum char_class { CLASS_WORD, CLASS_CUT, CLASS_GONE } char_class;

static char_class class_of(const split_step *s, uint32_t code)
{
    switch (s->kind) {
    case SPLIT_BERT:
        return unicode_is_space(code)         ? CLASS_GONE
               : unicode_is_punctuation(code) ? CLASS_CUT
                                              : CLASS_WORD;
    case SPLIT_SPACES: return unicode_is_space(code) ? CLASS_GONE : CLASS_WORD;
    case SPLIT_WORDS:
        return unicode_is_space(code) ? CLASS_GONE : unicode_is_word(code) ? CLASS_WORD : CLASS_CUT;
    case SPLIT_PUNCTUATION: return unicode_is_punctuation(code) ? CLASS_CUT : CLASS_WORD;
    case SPLIT_DIGITS: return unicode_is_number(code) ? CLASS_CUT : CLASS_WORD;
    default: return CLASS_WORD;
    }
}

/* Cuts by the class of single characters. */
static void cut_classes(const split_step *s, const char_at *c, size_t count, words *out)
{
    char_class before = CLASS_GONE;
    split_keep keep = s->kind == SPLIT_WORDS || (s->kind == SPLIT_DIGITS && !s->each_digit)
                          ? SPLIT_CONTIGUOUS
                          : s->keep;

    for (size_t i = 0; i < count; i++) {
        char_class here = class_of(s, c[i].code);
        bool is_cut = here == CLASS_CUT;

        if (here != before && !(is_cut && keep == SPLIT_TO_PREVIOUS) &&
            !(before == CLASS_CUT && keep == SPLIT_TO_NEXT)) {
            words_end(out);
        } else if (is_cut && before == CLASS_CUT && keep != SPLIT_CONTIGUOUS &&
                   keep != SPLIT_TO_PREVIOUS) {
            words_end(out);
        }
        if (here != CLASS_GONE && !(is_cut && keep == SPLIT_REMOVED)) {
            chars_add_all(&out->chars, &c[i], 1);
        }
        if (is_cut && keep == SPLIT_TO_PREVIOUS) {
            words_end(out);
        }
        before = here;
    }
    words_end(out);
}

static bool is_at(code_points wanted, const char_at *c, size_t count)
{
    bool is_equal = wanted.count > 0 && wanted.count <= count;

    for (size_t k = 0; is_equal && k < wanted.count; k++) {
        is_equal = c[k].code == wanted.at[k];
    }
    return is_equal;
}

static void cut_text(const split_step *s, const char_at *c, size_t count, words *out)
{
    for (size_t i = 0; i < count;) {
        if (!is_at(s->from, c + i, count - i)) {
            chars_add_all(&out->chars, &c[i++], 1);
            continue;
        }
        if (s->keep != SPLIT_TO_PREVIOUS) {
            words_end(out);
        }
        if (s->keep != SPLIT_REMOVED) {
            chars_add_all(&out->chars, c + i, s->from.count);
        }
        if (s->keep != SPLIT_TO_NEXT) {
            words_end(out);
        }
        i += s->from.count;
    }
    words_end(out);
}

static void cut_pattern(const split_step *s, const char_at *c, size_t count, words *out)
{
    for (size_t i = 0; i < count;) {
        size_t end = split_pattern_end(s->pattern, c, count, i);

        chars_add_all(&out->chars, c + i, end - i);
        words_end(out);
        i = end;
    }
}

/* ---- changing as well ---- */

/* A word of bytes, with a blank in front where it is wanted; cut by s->pattern if there is one. */
static void cut_bytes(const split_step *s, const char_at *c, size_t count, words *out)
{
    const char_at blank = {' ', c[0].begin, c[0].begin};
    bool is_added = s->prefix == SPLIT_ALWAYS && c[0].code != ' ';
    words cut;

    words_init(&cut, &out->chars.allocator);
    if (is_added) {
        chars_add_all(&cut.chars, &blank, 1);
    }
    chars_add_all(&cut.chars, c, count);
    for (size_t i = 0; i < cut.chars.count;) {
        size_t end = s->pattern == NULL
                         ? cut.chars.count
                         : split_pattern_end(s->pattern, cut.chars.at, cut.chars.count, i);

        for (; i < end; i++) {
            const char_at *from = &cut.chars.at[i];
            char bytes[UTF8_MAX_BYTES];
            size_t length = utf8_encode(from->code, bytes);

            for (size_t k = 0; k < length; k++) {
                chars_add(&out->chars, split_byte_char((uint8_t)bytes[k]), from->begin, from->end);
            }
        }
        words_end(out);
    }
    out->chars.failed = out->chars.failed || cut.chars.failed;
    words_fini(&cut);
}

static void cut_metaspace(const split_step *s, const char_at *c, size_t count, bool is_first,
                          words *out)
{
    uint32_t sign = s->from.at[0];
    bool is_wanted = s->prefix == SPLIT_ALWAYS || (s->prefix == SPLIT_FIRST && is_first);

    if (is_wanted && c[0].code != ' ' && c[0].code != sign) {
        chars_add(&out->chars, sign, c[0].begin, c[0].begin);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t code = c[i].code == ' ' ? sign : c[i].code;

        if (s->cuts && code == sign) {
            words_end(out);
        }
        chars_add(&out->chars, code, c[i].begin, c[i].end);
    }
    words_end(out);
}

static void cut_word(const split_step *s, const char_at *c, size_t count, bool is_first, words *out)
{
    switch (s->kind) {
    case SPLIT_TEXT: cut_text(s, c, count, out); break;
    case SPLIT_PATTERN: cut_pattern(s, c, count, out); break;
    case SPLIT_BYTES: cut_bytes(s, c, count, out); break;
    case SPLIT_METASPACE: cut_metaspace(s, c, count, is_first, out); break;
    default: cut_classes(s, c, count, out); break;
    }
}

void split(const split_step *steps, size_t count, bool is_first, words *w, words *scratch)
{
    for (size_t i = 0; i < count && !w->chars.failed; i++) {
        size_t begin = 0;

        words_clear(scratch);
        for (size_t k = 0; k < w->count; k++) {
            cut_word(&steps[i], w->chars.at + begin, w->ends[k] - begin, is_first && k == 0,
                     scratch);
            begin = w->ends[k];
        }
        scratch->chars.failed = scratch->chars.failed || w->chars.failed;

        words other = *w;
        *w = *scratch;
        *scratch = other;
    }
}
