/* The tokenizer files of llama2.c: i32 length of the longest token, then for each id f32 score, i32
 * length, bytes, all little-endian. Ids 0, 1, 2 are unknown, beginning and end, 3 to 258 bytes. */
#include <string.h>

#include "base/alloc.h"
#include "text/tokenizer.h"

enum { UNKNOWN = 0, BEGIN = 1, END = 2, FIRST_BYTE = 3, HEAD = 8 };

static uint32_t read_u32(const char *from)
{
    const uint8_t *b = (const uint8_t *)from;

    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* How many tokens there are, so that the scores get one place. */
static spry_status count_tokens(const spry_tokenizer *t, const char *bytes, size_t size,
                                size_t *count, spry_error *error)
{
    uint32_t most = read_u32(bytes);

    *count = 0;
    for (size_t at = 4; at < size; (*count)++) {
        uint32_t length = size - at >= HEAD ? read_u32(bytes + at + 4) : UINT32_MAX;

        if (length > most || length > size - at - HEAD) {
            return spry_fail(error, SPRY_BAD_INPUT, t->name, "give a tokenizer file of llama2.c",
                             "token %zu, at byte %zu, is cut off or longer than the %u bytes that "
                             "the file announces",
                             *count, at, (unsigned)most);
        }
        at += HEAD + length;
    }
    if (*count < FIRST_BYTE + 256) {
        return spry_fail(error, SPRY_BAD_INPUT, t->name, "give a tokenizer file of llama2.c",
                         "%zu tokens are fewer than the %d special ones and bytes", *count,
                         FIRST_BYTE + 256);
    }
    return SPRY_OK;
}

static spry_status read_tokens(spry_tokenizer *t, const char *bytes, size_t count, float *scores,
                               spry_error *error)
{
    spry_status status = SPRY_OK;
    size_t at = 4;

    for (size_t id = 0; status == SPRY_OK && id < count; id++) {
        uint32_t bits = read_u32(bytes + at);
        uint32_t length = read_u32(bytes + at + 4);

        memcpy(&scores[id], &bits, sizeof bits);
        if (!(scores[id] > -1e10F && scores[id] < 1e10F)) {
            return spry_fail(error, SPRY_BAD_INPUT, t->name, NULL, "the score of token %zu is %g",
                             id, (double)scores[id]);
        }
        status = vocabulary_add(&t->words, t->name, bytes + at + HEAD, length, (int64_t)id, error);
        at += HEAD + length;
    }
    return status;
}

spry_status tokenizer_read_llama2(spry_tokenizer *t, const char *bytes, size_t size,
                                  spry_error *error)
{
    static const uint32_t blank = ' ';
    size_t count = 0;
    spry_status status = count_tokens(t, bytes, size, &count, error);

    if (status != SPRY_OK) {
        return status;
    }
    float *scores = arena_array(&t->memory, count, sizeof *scores);
    t->added.at = arena_array(&t->memory, FIRST_BYTE, sizeof *t->added.at);
    if (scores == NULL || t->added.at == NULL) {
        return alloc_failed(error, count * sizeof *scores);
    }
    status = read_tokens(t, bytes, count, scores, error);
    t->info.kind = "BPE";
    t->info.unknown = UNKNOWN;
    t->info.begin = BEGIN;
    t->info.end = END;
    t->model.kind = TOKEN_MODEL_SCORE;
    t->model.unknown = UNKNOWN;
    t->model.scores = scores;
    t->model.bytes = true;
    for (int b = 0; b < 256; b++) {
        t->model.byte_ids[b] = FIRST_BYTE + b;
    }
    /* Contents without characters are found in no text: these three stand only for "special". */
    for (int64_t id = 0; id < FIRST_BYTE; id++) {
        t->added.at[t->added.count++] = (added_token){.id = id, .special = true};
    }
    t->normal[t->normal_count++] = (normalize_step){.kind = NORMALIZE_PREPEND, .to = {&blank, 1}};
    t->decodes[t->decode_count++].kind = DECODE_FALLBACK;
    t->decodes[t->decode_count++].kind = DECODE_LLAMA2;
    t->single = (form){{{.source = -1, .id = BEGIN}, {.source = 0}}, 2};
    return status;
}
