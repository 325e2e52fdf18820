/* UTF-8, one code point at a time. */
#ifndef TENSOR_UTF8_H
#define TENSOR_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum { UTF8_MAX_BYTES = 4 };

/* Bytes that `code_point` takes, written to `to`; 0 for surrogates and beyond U+10FFFF. */
static inline size_t utf8_encode(uint32_t code_point, char to[UTF8_MAX_BYTES])
{
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t length = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;

    if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) {
        return 0;
    }
    for (size_t i = length - 1; i > 0; i--) {
        to[i] = (char)(uint8_t)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    to[0] = (char)(uint8_t)(lead[length] | code_point);
    return length;
}

/* Bytes of the code point at the start of `bytes`, which is stored to *code_point; 0 when they
 * are not UTF-8 (overlong forms and surrogates included) or `size` is 0. */
static inline size_t utf8_decode(const char *bytes, size_t size, uint32_t *code_point)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = size > 0 ? (uint8_t)bytes[0] : 0x80;
    size_t length = first < 0x80             ? 1
                    : (first & 0xe0) == 0xc0 ? 2
                    : (first & 0xf0) == 0xe0 ? 3
                    : (first & 0xf8) == 0xf0 ? 4
                                             : 0;
    uint32_t value = length == 1 ? first : first & (0x7fu >> length);

    if (length == 0 || length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (((uint8_t)bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | ((uint8_t)bytes[i] & 0x3fu);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
        return 0;
    }
    *code_point = value;
    return length;
}

#endif
