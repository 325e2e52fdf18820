/* Normalisation: what is done to text before it is cut into words, as a list of steps. Offsets to
 * the original bytes are kept through all of them. */
#ifndef TEXT_NORMALIZE_H
#define TEXT_NORMALIZE_H

#include "text/chars.h"

typedef enum normalize_kind {
    NORMALIZE_CLEAN, /* BERT: controls, NUL and U+FFFD go, all white space becomes blanks */
    NORMALIZE_CJK,   /* blanks around ideographs */
    NORMALIZE_NFD,
    NORMALIZE_NFC,
    NORMALIZE_NFKD,
    NORMALIZE_NFKC,
    NORMALIZE_DROP_NONSPACING, /* marks of category Mn */
    NORMALIZE_DROP_MARKS,      /* of categories M* */
    NORMALIZE_LOWER,
    NORMALIZE_REPLACE,        /* each `from` by `to` */
    NORMALIZE_REPLACE_SPACES, /* each run of at least `least` blanks (all white space when
                                 `white`) by `to` */
    NORMALIZE_PREPEND,        /* `to` before a text that is not empty */
    NORMALIZE_STRIP           /* white space at the ends */
} normalize_kind;

/* A short text, as code points. */
typedef struct code_points {
    const uint32_t *at;
    size_t count;
} code_points;

typedef struct normalize_step {
    normalize_kind kind;
    code_points from, to;
    size_t least;
    bool white;
    bool left, right; /* STRIP */
} normalize_step;

/* Applies the steps in order to `c`; `scratch` is used meanwhile. Failures are remembered in
 * `c`. */
void normalize(const normalize_step *steps, size_t count, chars *c, chars *scratch);

/* normalize_form.c: one of the four forms of UAX #15, from `in` into the empty `out`. */
void normalize_form(normalize_kind form, const chars *in, chars *out);

#endif
