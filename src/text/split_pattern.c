/* The expressions of byte-level vocabularies as an automaton. Alternatives are tried in their
 * order, as in the expression, so the result is the same. */
#include <string.h>

#include "text/split.h"
#include "text/unicode.h"

static const split_pattern patterns[] = {
    {.expression = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
                   "\\s+(?!\\S)|\\s+"},
    {.expression = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                   " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     .any_prefix = true,
     .fold_case = true,
     .most_digits = 3,
     .line_ends = true},
    {.expression = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                   " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     .any_prefix = true,
     .fold_case = true,
     .most_digits = 1,
     .line_ends = true},
};

const split_pattern *split_pattern_find(const char *expression)
{
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (strcmp(expression, patterns[i].expression) == 0) {
            return &patterns[i];
        }
    }
    return NULL;
}

const split_pattern *split_pattern_gpt2(void)
{
    return &patterns[0];
}

static bool is_line_end(uint32_t code)
{
    return code == '\r' || code == '\n';
}

static bool is_sign(uint32_t code)
{
    return !unicode_is_space(code) && !unicode_is_letter(code) && !unicode_is_number(code);
}

static size_t run_end(const char_at *c, size_t count, size_t at, bool (*is_in)(uint32_t code))
{
    while (at < count && is_in(c[at].code)) {
        at++;
    }
    return at;
}

/* 's 't 're 've 'm 'll 'd */
static size_t contraction_end(const split_pattern *p, const char_at *c, size_t count, size_t at)
{
    static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d"};

    if (c[at].code != '\'') {
        return at;
    }
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t length = strlen(endings[i]);
        bool is_equal = at + length < count;

        for (size_t k = 0; is_equal && k < length; k++) {
            uint32_t code = c[at + 1 + k].code;
            if (p->fold_case && code >= 'A' && code <= 'Z') {
                code += 'a' - 'A';
            }
            code = p->fold_case && code == 0x17f ? 's' : code; /* long s folds to s */
            is_equal = code == (uint8_t)endings[i][k];
        }
        if (is_equal) {
            return at + 1 + length;
        }
    }
    return at;
}

/* Where a run of white space that begins at `at` is cut: its last blank belongs to what follows. */
static size_t space_end(const split_pattern *p, const char_at *c, size_t count, size_t at)
{
    size_t end = run_end(c, count, at, unicode_is_space);

    for (size_t i = end; p->line_ends && i > at; i--) {
        if (is_line_end(c[i - 1].code)) {
            return i;
        }
    }
    return end < count && end > at + 1 ? end - 1 : end;
}

size_t split_pattern_end(const split_pattern *p, const char_at *c, size_t count, size_t at)
{
    size_t end = contraction_end(p, c, count, at);
    if (end > at) {
        return end;
    }
    uint32_t first = c[at].code;
    bool has_next = at + 1 < count;
    size_t behind_blank = at + (first == ' ' && has_next);
    bool may_precede = p->any_prefix ? !unicode_is_letter(first) && !unicode_is_number(first) &&
                                           !is_line_end(first)
                                     : first == ' ';
    size_t letters = may_precede && has_next && unicode_is_letter(c[at + 1].code) ? at + 1 : at;

    if (unicode_is_letter(c[letters].code)) {
        return run_end(c, count, letters, unicode_is_letter);
    }
    size_t numbers = p->any_prefix ? at : behind_blank;
    if (unicode_is_number(c[numbers].code)) {
        size_t most = p->most_digits > 0 && p->most_digits < count - numbers
                          ? numbers + p->most_digits
                          : count;
        return run_end(c, most, numbers, unicode_is_number);
    }
    if (is_sign(c[behind_blank].code)) {
        end = run_end(c, count, behind_blank, is_sign);
        return p->line_ends ? run_end(c, count, end, is_line_end) : end;
    }
    return space_end(p, c, count, at);
}
