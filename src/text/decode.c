/* Ids to text: the tokens' bytes go through the steps of the tokenizer, then are put together. */
#include <string.h>

#include "base/alloc.h"
#include "tensor/utf8.h"
#include "text/tokenizer.h"

typedef struct piece {
    const char *bytes;
    size_t length;
} piece;

typedef struct decoding {
    const spry_tokenizer *t;
    arena memory;
    piece *pieces;
    size_t count;
    bool begins; /* the first id is the one that begins texts */
    bool failed;
} decoding;

static bool starts_with(const piece *p, const char *with)
{
    size_t length = strlen(with);

    return length > 0 && p->length >= length && memcmp(p->bytes, with, length) == 0;
}

static bool ends_with(const piece *p, const char *with)
{
    size_t length = strlen(with);

    return length > 0 && p->length >= length &&
           memcmp(p->bytes + p->length - length, with, length) == 0;
}

/* `first` and `second` as one piece. */
static piece join(decoding *x, const char *first, size_t first_length, const char *second,
                  size_t second_length)
{
    char *both = arena_bytes(&x->memory, first_length + second_length + 1);

    if (both == NULL) {
        x->failed = true;
        return (piece){"", 0};
    }
    memcpy(both, first, first_length);
    memcpy(both + first_length, second, second_length);
    return (piece){both, first_length + second_length};
}

static void cut_front(piece *p, size_t length)
{
    p->bytes += length;
    p->length -= length;
}

static void replace(decoding *x, piece *p, const char *from, const char *to)
{
    size_t from_length = strlen(from);
    size_t to_length = strlen(to);

    for (size_t i = 0; from_length > 0 && i + from_length <= p->length;) {
        if (memcmp(p->bytes + i, from, from_length) != 0) {
            i++;
            continue;
        }
        piece front = join(x, p->bytes, i, to, to_length);
        piece rest = {p->bytes + i + from_length, p->length - i - from_length};
        *p = join(x, front.bytes, front.length, rest.bytes, rest.length);
        i += to_length;
        if (x->failed) {
            return;
        }
    }
}

/* Words get blanks in front; not so what stands close to the word before it. */
static void wordpiece(decoding *x, const decode_step *s, size_t i)
{
    static const char *const close[] = {" .",  " ?",  " !",   " ,",  " n't",
                                        " 'm", " 's", " 've", " 're"};
    piece *p = &x->pieces[i];

    if (i == 0) {
        return;
    }
    if (starts_with(p, s->from)) {
        cut_front(p, strlen(s->from));
        return;
    }
    *p = join(x, " ", 1, p->bytes, p->length);
    for (size_t k = 0; s->flag && k < sizeof close / sizeof close[0]; k++) {
        if (starts_with(p, close[k])) {
            cut_front(p, 1);
            return;
        }
    }
}

/* Characters that stand for bytes; a token that has others is left as it is. */
static void to_bytes(decoding *x, piece *p)
{
    char *bytes = arena_bytes(&x->memory, p->length + 1);
    size_t count = 0;

    x->failed = x->failed || bytes == NULL;
    for (size_t i = 0; !x->failed && i < p->length;) {
        uint32_t code = 0;
        size_t length = utf8_decode(p->bytes + i, p->length - i, &code);
        int byte = length > 0 ? split_char_byte(code) : -1;

        if (byte < 0) {
            return;
        }
        bytes[count++] = (char)(uint8_t)byte;
        i += length;
    }
    if (!x->failed) {
        *p = (piece){bytes, count};
    }
}

static void fall_back(decoding *x, piece *p)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *high = NULL;
    const char *low = NULL;

    if (p->length == 6 && memcmp(p->bytes, "<0x", 3) == 0 && p->bytes[5] == '>' &&
        p->bytes[3] != '\0' && p->bytes[4] != '\0') {
        high = strchr(digits, p->bytes[3]);
        low = strchr(digits, p->bytes[4]);
    }
    if (high != NULL && low != NULL) {
        char byte = (char)(uint8_t)((high - digits) << 4 | (low - digits));
        *p = join(x, &byte, 1, "", 0);
    }
}

static void fuse(decoding *x)
{
    size_t total = 0;

    for (size_t i = 0; i < x->count; i++) {
        total += x->pieces[i].length;
    }
    char *all = arena_bytes(&x->memory, total + 1);
    if (all == NULL || x->count == 0) {
        x->failed = x->failed || all == NULL;
        return;
    }
    for (size_t i = 0, at = 0; i < x->count; i++) {
        memcpy(all + at, x->pieces[i].bytes, x->pieces[i].length);
        at += x->pieces[i].length;
    }
    x->pieces[0] = (piece){all, total};
    x->count = 1;
}

static void strip(const decode_step *s, piece *p)
{
    size_t length = strlen(s->from);

    for (size_t i = 0; i < s->left && starts_with(p, s->from); i++) {
        cut_front(p, length);
    }
    for (size_t i = 0; i < s->right && ends_with(p, s->from); i++) {
        p->length -= length;
    }
}

static void apply_to(decoding *x, const decode_step *s, size_t i)
{
    piece *p = &x->pieces[i];

    switch (s->kind) {
    case DECODE_WORDPIECE: wordpiece(x, s, i); break;
    case DECODE_BYTES: to_bytes(x, p); break;
    case DECODE_METASPACE:
        replace(x, p, s->from, " ");
        if (i == 0 && s->flag && starts_with(p, " ")) {
            cut_front(p, 1);
        }
        break;
    case DECODE_REPLACE: replace(x, p, s->from, s->to); break;
    case DECODE_FALLBACK: fall_back(x, p); break;
    case DECODE_FUSE: break;
    case DECODE_STRIP: strip(s, p); break;
    case DECODE_SUFFIX: replace(x, p, s->from, i + 1 < x->count ? " " : ""); break;
    case DECODE_SPACED:
        if (i > 0) {
            *p = join(x, " ", 1, p->bytes, p->length);
        }
        break;
    case DECODE_LLAMA2:
        if (i == 0 && x->begins && starts_with(p, " ")) {
            cut_front(p, 1);
        }
        break;
    }
}

static bool is_special(const spry_tokenizer *t, int64_t id)
{
    for (size_t i = 0; i < t->added.count; i++) {
        if (t->added.at[i].id == id) {
            return t->added.at[i].special;
        }
    }
    return false;
}

spry_status spry_tokenizer_decode(const spry_tokenizer *t, const int64_t *ids, int64_t count,
                                  bool skip_special, char *buffer, size_t size, size_t *length,
                                  spry_error *error)
{
    decoding x = {.t = t};

    *length = 0;
    arena_init(&x.memory, &t->allocator, SIZE_MAX);
    x.pieces = arena_array(&x.memory, (size_t)(count > 0 ? count : 0) + 1, sizeof *x.pieces);
    x.failed = x.pieces == NULL;
    x.begins = count > 0 && ids[0] == t->info.begin && skip_special;
    for (int64_t i = 0; !x.failed && i < count; i++) {
        vocabulary_entry e = vocabulary_at(&t->words, ids[i]);

        if (e.bytes != NULL && !(skip_special && is_special(t, ids[i]))) {
            x.pieces[x.count++] = (piece){e.bytes, e.length};
        }
    }
    for (size_t s = 0; s < t->decode_count && !x.failed; s++) {
        if (t->decodes[s].kind == DECODE_FUSE) {
            fuse(&x);
        }
        for (size_t i = 0; i < x.count && !x.failed; i++) {
            apply_to(&x, &t->decodes[s], i);
        }
    }
    for (size_t i = 0; !x.failed && i < x.count; i++) {
        size_t room = size > *length + 1 ? size - *length - 1 : 0;
        size_t part = x.pieces[i].length < room ? x.pieces[i].length : room;

        if (part > 0) {
            memcpy(buffer + *length, x.pieces[i].bytes, part);
        }
        *length += x.pieces[i].length;
    }
    if (size > 0) {
        buffer[*length < size ? *length : size - 1] = '\0';
    }
    bool failed = x.failed;
    arena_fini(&x.memory);
    return failed ? alloc_failed(error, (size_t)count * sizeof(piece)) : SPRY_OK;
}
