/* What tokenizers ask about characters (over utf8proc, whose tables follow the Unicode
 * standard). */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The property White_Space. */
bool unicode_is_space(uint32_t code);
bool unicode_is_letter(uint32_t code); /* categories L* */
bool unicode_is_number(uint32_t code); /* N* */
/* What \w is in regular expressions: alphabetic, marks, decimal digits, connectors, joiners. */
bool unicode_is_word(uint32_t code);
/* As BERT understands it: categories P*, and all ASCII that is neither letter, digit nor blank. */
bool unicode_is_punctuation(uint32_t code);
/* Categories C* (controls, formats, private, unassigned) but tab, line feed, carriage return. */
bool unicode_is_control(uint32_t code);
/* Ideographs that BERT makes words of their own; not kana or hangul. */
bool unicode_is_cjk(uint32_t code);
bool unicode_is_nonspacing_mark(uint32_t code); /* Mn */
bool unicode_is_mark(uint32_t code);            /* M* */

/* The lower-case form, one or two code points; returns how many. */
size_t unicode_lower(uint32_t code, uint32_t lower[2]);

enum { UNICODE_MOST_PARTS = 18 };
/* The full canonical, or compatibility, decomposition, not yet in canonical order; returns how many
 * code points. */
size_t unicode_decompose(uint32_t code, bool compatible, uint32_t parts[UNICODE_MOST_PARTS]);
/* The canonical combining class, 0 for starters. */
int unicode_combining_class(uint32_t code);
/* The one code point that `first` followed by `second` composes to, or 0. */
uint32_t unicode_compose(uint32_t first, uint32_t second);

#endif
