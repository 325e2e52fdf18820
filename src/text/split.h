/* Cutting normalised text into words, in which a model then finds tokens: a list of steps, each of
 * which cuts, and may change, what the step before left whole. */
#ifndef TEXT_SPLIT_H
#define TEXT_SPLIT_H

#include "text/chars.h"
#include "text/normalize.h"

/* Words as ranges of characters, one behind the other. */
typedef struct words {
    chars chars;
    size_t *ends; /* [count]: one behind the last character of each */
    size_t count;
    size_t capacity;
} words;

void words_init(words *w, const spry_allocator *allocator);
void words_fini(words *w);
void words_clear(words *w);
/* Ends a word behind the last character; nothing where it would be empty. */
void words_end(words *w);

typedef enum split_kind {
    SPLIT_BERT,        /* at white space, which goes, and around punctuation */
    SPLIT_SPACES,      /* at white space, which goes */
    SPLIT_WORDS,       /* \w+|[^\w\s]+ */
    SPLIT_PUNCTUATION, /* around punctuation */
    SPLIT_DIGITS,      /* around numbers, or around each digit of them */
    SPLIT_TEXT,        /* around, or at, each `from` */
    SPLIT_PATTERN,     /* by a pattern of split_pattern.c */
    SPLIT_BYTES,       /* bytes become the characters that byte-level vocabularies write for them */
    SPLIT_METASPACE    /* blanks become `from`, with which words begin */
} split_kind;

/* What becomes of what a step cuts at. */
typedef enum split_keep {
    SPLIT_ISOLATED, /* a word of its own */
    SPLIT_REMOVED,
    SPLIT_CONTIGUOUS, /* neighbours of the same kind are one word */
    SPLIT_TO_PREVIOUS,
    SPLIT_TO_NEXT
} split_keep;

typedef enum split_prefix { SPLIT_NEVER, SPLIT_FIRST, SPLIT_ALWAYS } split_prefix;

/* The regular expressions that byte-level vocabularies are cut by. They differ in few places. */
typedef struct split_pattern {
    const char *expression;
    bool any_prefix;    /* one character that is no letter, number, line end may precede letters;
                           otherwise a blank may, and before numbers as well */
    bool fold_case;     /* 'S and 'RE are contractions too */
    size_t most_digits; /* of one word; 0: any number */
    bool line_ends;     /* line ends follow signs, and end words of white space */
} split_pattern;

typedef struct split_step {
    split_kind kind;
    split_keep keep;
    split_prefix prefix; /* BYTES, METASPACE: does a text without a blank in front get one? */
    bool each_digit;
    bool cuts; /* METASPACE */
    code_points from;
    const split_pattern *pattern;
} split_step;

/* The pattern that is written so; NULL: unknown. */
const split_pattern *split_pattern_find(const char *expression);
/* The pattern of GPT-2. */
const split_pattern *split_pattern_gpt2(void);
/* One behind the word that begins at `at` < count. */
size_t split_pattern_end(const split_pattern *p, const char_at *c, size_t count, size_t at);

/* The character that stands for a byte in byte-level vocabularies, and back (-1: none). */
uint32_t split_byte_char(uint8_t byte);
int split_char_byte(uint32_t code);

/* Applies the steps to `w`, which holds one word: all of the text; `is_first` tells that it begins
 * there. Failures are remembered in w->chars. */
void split(const split_step *steps, size_t count, bool is_first, words *w, words *scratch);

#endif
