/* Code points and where they came from. */
#include "text/chars.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tensor/utf8.h"

/* Normalisation may make a text longer, by 18 code points for one at worst. */
enum { MOST_CHARS = LIMIT_TEXT_BYTES };

void chars_init(chars *c, const spry_allocator *allocator)
{
    *c = (chars){.allocator = alloc_resolve(allocator)};
}

void chars_fini(chars *c)
{
    alloc_release(&c->allocator, c->at, c->capacity * sizeof *c->at);
    *c = (chars){.allocator = c->allocator};
}

void chars_clear(chars *c)
{
    c->count = 0;
}

static bool reserve(chars *c, size_t more)
{
    void *at = c->at;

    if (!c->failed && c->count + more > c->capacity) {
        c->failed = alloc_grow(&c->allocator, &at, &c->capacity, c->count + more, sizeof *c->at,
                               MOST_CHARS, NULL) != SPRY_OK;
        c->at = at;
    }
    return !c->failed;
}

void chars_add(chars *c, uint32_t code, uint32_t begin, uint32_t end)
{
    if (reserve(c, 1)) {
        c->at[c->count++] = (char_at){code, begin, end};
    }
}

void chars_add_all(chars *c, const char_at *at, size_t count)
{
    if (count > 0 && reserve(c, count)) {
        memcpy(c->at + c->count, at, count * sizeof *at);
        c->count += count;
    }
}

void chars_swap(chars *a, chars *b)
{
    chars other = *a;

    *a = *b;
    *b = other;
}

spry_status chars_read(chars *c, const char *bytes, size_t size, uint32_t base, spry_error *error)
{
    if (size > LIMIT_TEXT_BYTES) {
        return spry_fail(error, SPRY_LIMIT, "text", "cut it into parts",
                         "%zu bytes are more than %d", size, (int)LIMIT_TEXT_BYTES);
    }
    for (size_t i = 0; i < size && !c->failed;) {
        uint32_t code = 0;
        size_t length = utf8_decode(bytes + i, size - i, &code);

        if (length == 0) {
            return spry_fail(error, SPRY_BAD_INPUT, "text", "convert it to UTF-8",
                             "byte %zu, 0x%02x, is not part of a UTF-8 character", base + i,
                             (unsigned)(uint8_t)bytes[i]);
        }
        chars_add(c, code, base + (uint32_t)i, base + (uint32_t)(i + length));
        i += length;
    }
    return chars_status(c, error);
}

spry_status chars_status(const chars *c, spry_error *error)
{
    return c->failed ? spry_fail(error, SPRY_LIMIT, "text", "cut it into parts",
                                 "it does not fit into memory")
                     : SPRY_OK;
}
