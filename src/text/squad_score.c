/* Exact match and F1 of SQuAD: what its official scripts compute, on words instead of strings. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "spry/answer.h"
#include "text/chars.h"
#include "text/split.h"
#include "text/unicode.h"

/* Lower case without ASCII punctuation. */
static void simplify(const chars *in, chars *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t codes[2];
        size_t count = unicode_lower(in->at[i].code, codes);

        if (in->at[i].code < 0x80 && unicode_is_punctuation(in->at[i].code)) {
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            chars_add(out, codes[k], 0, 0);
        }
    }
}

/* Where articles end: letters, numbers and '_' go on with a word. */
static bool goes_on(uint32_t code)
{
    return code == '_' || unicode_is_letter(code) || unicode_is_number(code);
}

static bool is_blank(uint32_t code)
{
    return unicode_is_space(code) || (code >= 0x1c && code <= 0x1f);
}

/* Characters of an article that begins at `at` as a word of its own; 0: there is none. */
static size_t article_at(const chars *c, size_t at)
{
    static const char *const articles[] = {"a", "an", "the"};

    if (at > 0 && goes_on(c->at[at - 1].code)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof articles / sizeof articles[0]; i++) {
        size_t length = strlen(articles[i]);
        bool is_equal = at + length <= c->count;

        for (size_t k = 0; is_equal && k < length; k++) {
            is_equal = c->at[at + k].code == (uint8_t)articles[i][k];
        }
        if (is_equal && (at + length == c->count || !goes_on(c->at[at + length].code))) {
            return length;
        }
    }
    return 0;
}

/* The words of an answer; the caller ends them with words_fini, also after a failure. */
static spry_status read_words(const char *answer, words *to, spry_error *error)
{
    chars raw;
    chars simple;

    words_init(to, NULL);
    chars_init(&raw, NULL);
    chars_init(&simple, NULL);
    spry_status status = chars_read(&raw, answer, strlen(answer), 0, error);
    if (status == SPRY_OK) {
        simplify(&raw, &simple);
        status = chars_status(&simple, error);
    }
    for (size_t i = 0; status == SPRY_OK && i < simple.count;) {
        size_t article = article_at(&simple, i);

        if (article > 0 || is_blank(simple.at[i].code)) {
            words_end(to);
        } else {
            chars_add_all(&to->chars, &simple.at[i], 1);
        }
        i += article > 0 ? article : 1;
    }
    words_end(to);
    chars_fini(&raw);
    chars_fini(&simple);
    return status == SPRY_OK ? chars_status(&to->chars, error) : status;
}

typedef struct word {
    const char_at *at;
    size_t count;
} word;

static word word_at(const words *w, size_t i)
{
    size_t begin = i > 0 ? w->ends[i - 1] : 0;

    return (word){w->chars.at + begin, w->ends[i] - begin};
}

static int compare_words(const void *left, const void *right)
{
    const word *a = left;
    const word *b = right;

    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (a->at[i].code != b->at[i].code) {
            return a->at[i].code < b->at[i].code ? -1 : 1;
        }
    }
    return (a->count > b->count) - (a->count < b->count);
}

static bool are_equal(const words *a, const words *b)
{
    bool is_equal = a->count == b->count;

    for (size_t i = 0; is_equal && i < a->count; i++) {
        word x = word_at(a, i);
        word y = word_at(b, i);
        is_equal = compare_words(&x, &y) == 0;
    }
    return is_equal;
}

static word *sorted_words(const words *w, arena *memory)
{
    word *list = arena_array(memory, w->count, sizeof *list);

    for (size_t i = 0; list != NULL && i < w->count; i++) {
        list[i] = word_at(w, i);
    }
    if (list != NULL) {
        qsort(list, w->count, sizeof *list, compare_words);
    }
    return list;
}

/* Words in both, each as often as in the one that has fewer of it. */
static spry_status common_words(const words *a, const words *b, size_t *common, spry_error *error)
{
    arena memory;
    size_t i = 0;
    size_t k = 0;

    *common = 0;
    if (a->count == 0 || b->count == 0) {
        return SPRY_OK;
    }
    arena_init(&memory, NULL, SIZE_MAX);
    const word *x = sorted_words(a, &memory);
    const word *y = sorted_words(b, &memory);
    bool failed = x == NULL || y == NULL;
    while (!failed && i < a->count && k < b->count) {
        int order = compare_words(&x[i], &y[k]);

        *common += order == 0;
        i += order <= 0;
        k += order >= 0;
    }
    arena_fini(&memory);
    return failed ? alloc_failed(error, (a->count + b->count) * sizeof(word)) : SPRY_OK;
}

static spry_status f1_of(const words *answer, const words *gold, bool version2, double *f1,
                         spry_error *error)
{
    size_t common = 0;
    spry_status status = common_words(answer, gold, &common, error);

    *f1 = version2 && answer->count == 0 && gold->count == 0;
    if (common > 0) {
        double precision = (double)common / (double)answer->count;
        double recall = (double)common / (double)gold->count;
        *f1 = 2 * precision * recall / (precision + recall);
    }
    return status;
}

spry_status spry_squad_score(const spry_squad_question *question, const char *answer, bool version2,
                             double *exact, double *f1, spry_error *error)
{
    words ours;
    int32_t compared = 0;
    spry_status status = read_words(answer, &ours, error);

    *exact = 0;
    *f1 = 0;
    for (int32_t i = 0; status == SPRY_OK && i < question->answer_count; i++) {
        words gold;

        status = read_words(question->answers[i].text, &gold, error);
        if (status == SPRY_OK && (gold.count > 0 || !version2)) {
            double f = 0;

            status = f1_of(&ours, &gold, version2, &f, error);
            compared++;
            *exact = are_equal(&ours, &gold) ? 1 : *exact;
            *f1 = f > *f1 ? f : *f1;
        }
        words_fini(&gold);
    }
    if (status == SPRY_OK && compared == 0 && version2) {
        *exact = *f1 = ours.count == 0;
    }
    words_fini(&ours);
    return status;
}
