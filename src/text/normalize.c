/* The steps of normalisation. */
#include "text/normalize.h"

#include <string.h>

#include "text/unicode.h"

static void clean(const chars *in, chars *out)
{
    for (size_t i = 0; i < in->count; i++) {
        const char_at *c = &in->at[i];

        if (c->code != 0 && c->code != 0xfffd && !unicode_is_control(c->code)) {
            chars_add(out, unicode_is_space(c->code) ? ' ' : c->code, c->begin, c->end);
        }
    }
}

static void set_apart(const chars *in, chars *out)
{
    for (size_t i = 0; i < in->count; i++) {
        const char_at *c = &in->at[i];
        bool is_cjk = unicode_is_cjk(c->code);

        if (is_cjk) {
            chars_add(out, ' ', c->begin, c->begin);
        }
        chars_add(out, c->code, c->begin, c->end);
        if (is_cjk) {
            chars_add(out, ' ', c->end, c->end);
        }
    }
}

static void drop(const chars *in, chars *out, bool (*is_dropped)(uint32_t code))
{
    for (size_t i = 0; i < in->count; i++) {
        if (!is_dropped(in->at[i].code)) {
            chars_add_all(out, &in->at[i], 1);
        }
    }
}

static void lower(const chars *in, chars *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t codes[2];
        size_t count = unicode_lower(in->at[i].code, codes);

        for (size_t k = 0; k < count; k++) {
            chars_add(out, codes[k], in->at[i].begin, in->at[i].end);
        }
    }
}

/* `to` in the place of in[begin, end): its first character stands for the whole range. */
static void put(const chars *in, size_t begin, size_t end, code_points to, chars *out)
{
    uint32_t first = in->at[begin].begin;
    uint32_t last = in->at[end - 1].end;

    for (size_t k = 0; k < to.count; k++) {
        chars_add(out, to.at[k], first, last);
    }
}

static bool begins_with(const chars *in, size_t at, code_points wanted)
{
    if (wanted.count > in->count - at) {
        return false;
    }
    for (size_t k = 0; k < wanted.count; k++) {
        if (in->at[at + k].code != wanted.at[k]) {
            return false;
        }
    }
    return true;
}

static void replace(const normalize_step *s, const chars *in, chars *out)
{
    for (size_t i = 0; i < in->count;) {
        if (s->from.count > 0 && begins_with(in, i, s->from)) {
            put(in, i, i + s->from.count, s->to, out);
            i += s->from.count;
        } else {
            chars_add_all(out, &in->at[i++], 1);
        }
    }
}

static void replace_spaces(const normalize_step *s, const chars *in, chars *out)
{
    for (size_t i = 0; i < in->count;) {
        size_t end = i;

        while (end < in->count &&
               (s->white ? unicode_is_space(in->at[end].code) : in->at[end].code == ' ')) {
            end++;
        }
        if (end > i && end - i >= s->least) {
            put(in, i, end, s->to, out);
        } else {
            end = end > i ? end : i + 1;
            chars_add_all(out, in->at + i, end - i);
        }
        i = end;
    }
}

static void strip(const normalize_step *s, const chars *in, chars *out)
{
    size_t begin = 0;
    size_t end = in->count;

    while (s->left && begin < end && unicode_is_space(in->at[begin].code)) {
        begin++;
    }
    while (s->right && end > begin && unicode_is_space(in->at[end - 1].code)) {
        end--;
    }
    chars_add_all(out, in->at + begin, end - begin);
}

static void apply(const normalize_step *s, const chars *in, chars *out)
{
    switch (s->kind) {
    case NORMALIZE_CLEAN: clean(in, out); break;
    case NORMALIZE_CJK: set_apart(in, out); break;
    case NORMALIZE_NFD:
    case NORMALIZE_NFC:
    case NORMALIZE_NFKD:
    case NORMALIZE_NFKC: normalize_form(s->kind, in, out); break;
    case NORMALIZE_DROP_NONSPACING: drop(in, out, unicode_is_nonspacing_mark); break;
    case NORMALIZE_DROP_MARKS: drop(in, out, unicode_is_mark); break;
    case NORMALIZE_LOWER: lower(in, out); break;
    case NORMALIZE_REPLACE: replace(s, in, out); break;
    case NORMALIZE_REPLACE_SPACES: replace_spaces(s, in, out); break;
    case NORMALIZE_PREPEND:
        for (size_t k = 0; k < s->to.count; k++) {
            chars_add(out, s->to.at[k], in->at[0].begin, in->at[0].begin);
        }
        chars_add_all(out, in->at, in->count);
        break;
    case NORMALIZE_STRIP: strip(s, in, out); break;
    }
}

void normalize(const normalize_step *steps, size_t count, chars *c, chars *scratch)
{
    for (size_t i = 0; i < count && c->count > 0 && !c->failed; i++) {
        chars_clear(scratch);
        apply(&steps[i], c, scratch);
        c->failed = c->failed || scratch->failed;
        chars_swap(c, scratch);
        c->failed = c->failed || scratch->failed;
    }
}
