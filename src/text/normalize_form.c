/* The normalisation forms of UAX #15, done here because utf8proc's own keep no offsets. A
 * composition takes the range from its first to its last part. */
#include <string.h>

#include "text/normalize.h"
#include "text/unicode.h"

enum { CLASSES = 256 };

/* Puts a run of marks into canonical order: stable by combining class, in linear time because a
 * hostile text may be one run. `spare` is used meanwhile. */
static void order_run(chars *c, size_t begin, size_t end, chars *spare)
{
    size_t starts[CLASSES + 1] = {0};

    chars_clear(spare);
    chars_add_all(spare, c->at + begin, end - begin);
    if (spare->failed) {
        c->failed = true;
        return;
    }
    for (size_t i = 0; i < spare->count; i++) {
        starts[unicode_combining_class(spare->at[i].code) % CLASSES + 1]++;
    }
    for (size_t k = 0; k < CLASSES; k++) {
        starts[k + 1] += starts[k];
    }
    for (size_t i = 0; i < spare->count; i++) {
        c->at[begin + starts[unicode_combining_class(spare->at[i].code) % CLASSES]++] =
            spare->at[i];
    }
}

static void order(chars *c)
{
    chars spare;

    chars_init(&spare, &c->allocator);
    for (size_t i = 0; i < c->count && !c->failed;) {
        size_t end = i;
        bool is_sorted = true;

        while (end < c->count && unicode_combining_class(c->at[end].code) != 0) {
            is_sorted = is_sorted && (end == i || unicode_combining_class(c->at[end - 1].code) <=
                                                      unicode_combining_class(c->at[end].code));
            end++;
        }
        if (!is_sorted) {
            order_run(c, i, end, &spare);
        }
        i = end > i ? end : i + 1;
    }
    chars_fini(&spare);
}

/* In place: a character joins the last starter unless one between them has its class or none. */
static void compose(chars *c)
{
    size_t kept = 0;
    size_t starter = SIZE_MAX;
    int last = 0; /* class of the last kept character behind the starter; 0: there is none */

    for (size_t i = 0; i < c->count; i++) {
        char_at here = c->at[i];
        int class = unicode_combining_class(here.code);
        bool is_near = starter != SIZE_MAX && (kept == starter + 1 || (last != 0 && last < class));
        bool may = here.code >= 0x300 && is_near; /* nothing below composes with what is before */
        uint32_t joined = may ? unicode_compose(c->at[starter].code, here.code) : 0;

        if (joined != 0) {
            char_at *to = &c->at[starter];
            to->code = joined;
            to->begin = here.begin < to->begin ? here.begin : to->begin;
            to->end = here.end > to->end ? here.end : to->end;
            continue;
        }
        if (class == 0) {
            starter = kept;
        }
        last = class;
        c->at[kept++] = here;
    }
    c->count = kept;
}

void normalize_form(normalize_kind form, const chars *in, chars *out)
{
    bool is_compatible = form == NORMALIZE_NFKD || form == NORMALIZE_NFKC;

    for (size_t i = 0; i < in->count; i++) {
        const char_at *from = &in->at[i];
        uint32_t parts[UNICODE_MOST_PARTS] = {from->code};
        size_t count = from->code < 0x80 ? 1 : unicode_decompose(from->code, is_compatible, parts);

        for (size_t k = 0; k < count; k++) {
            chars_add(out, parts[k], from->begin, from->end);
        }
    }
    order(out);
    if (form == NORMALIZE_NFC || form == NORMALIZE_NFKC) {
        compose(out);
    }
}
