/* Text building. */
#define _GNU_SOURCE
#include "base/text.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

static char no_text[1];

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void text_init(text *t, const spry_allocator *allocator, size_t ceiling)
{
    *t = (text){.data = no_text, .ceiling = ceiling, .allocator = alloc_resolve(allocator)};
}

void text_init_fixed(text *t, char *buffer, size_t size)
{
    *t = (text){.data = buffer, .capacity = size, .ceiling = size - 1, .fixed = true};
    buffer[0] = '\0';
}

void text_fini(text *t)
{
    if (!t->fixed && t->capacity != 0) {
        alloc_release(&t->allocator, t->data, t->capacity);
        t->data = no_text;
        t->capacity = 0;
    }
    text_clear(t);
}

void text_clear(text *t)
{
    t->length = 0;
    t->failed = false;
    if (t->capacity != 0) {
        t->data[0] = '\0';
    }
}

/* Makes room for `length` more bytes and the NUL. */
static bool reserve(text *t, size_t length)
{
    size_t needed;
    size_t ceiling;
    void *memory = t->capacity != 0 ? t->data : NULL;

    if (t->failed || !checked_add(t->length, length, &needed) || needed > t->ceiling ||
        !checked_add(needed, 1, &needed)) {
        return false;
    }
    if (needed <= t->capacity) {
        return true;
    }
    ceiling = t->ceiling < SIZE_MAX ? t->ceiling + 1 : SIZE_MAX;
    if (t->fixed ||
        alloc_grow(&t->allocator, &memory, &t->capacity, needed, 1, ceiling, NULL) != SPRY_OK) {
        return false;
    }
    t->data = memory;
    return true;
}

void text_append(text *t, const char *bytes, size_t length)
{
    if (!reserve(t, length)) {
        t->failed = true;
        return;
    }
    if (length != 0) {
        memcpy(t->data + t->length, bytes, length);
        t->length += length;
        t->data[t->length] = '\0';
    }
}

void text_append_string(text *t, const char *string)
{
    text_append(t, string, strlen(string));
}

void text_append_char(text *t, char c)
{
    text_append(t, &c, 1);
}

void text_append_format(text *t, const char *format, ...)
{
    va_list arguments;
    va_list again;
    int length;

    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || !reserve(t, (size_t)length)) {
        t->failed = true;
    } else if (length > 0) {
        (void)vsnprintf(t->data + t->length, (size_t)length + 1, format, again);
        t->length += (size_t)length;
    }
    va_end(again);
}

void text_append_f64(text *t, double value)
{
    char digits[40];

    if (!isfinite(value)) {
        text_append_string(t, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    for (int precision = DBL_DIG; precision <= DBL_DECIMAL_DIG; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) {
            break;
        }
    }
    for (char *c = digits; *c != '\0'; c++) {
        /* Some locales write a decimal comma. */
        if (strchr("0123456789+-e", *c) == NULL) {
            *c = '.';
        }
    }
    text_append_string(t, digits);
}

/* Appends one ASCII character as it must stand in JSON. */
static void escape_json(text *t, unsigned char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = c != '\0' ? strchr(plain, c) : NULL;

    if (found != NULL) {
        text_append_char(t, '\\');
        text_append_char(t, letters[found - plain]);
    } else if (c < 0x20 || c == 0x7f) {
        text_append_format(t, "\\u%04x", (unsigned)c);
    } else {
        text_append_char(t, (char)c);
    }
}

static void escape_markup(text *t, unsigned char c)
{
    switch (c) {
    case '&': text_append_string(t, "&amp;"); break;
    case '<': text_append_string(t, "&lt;"); break;
    case '>': text_append_string(t, "&gt;"); break;
    case '"': text_append_string(t, "&quot;"); break;
    case '\'': text_append_string(t, "&#39;"); break;
    default:
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            text_append_string(t, replacement);
        } else {
            text_append_char(t, (char)c);
        }
    }
}

void text_append_escaped(text *t, text_escape how, const char *bytes, size_t length)
{
    while (length != 0 && !t->failed) {
        size_t size = text_utf8_length(bytes, length);

        if (size == 0) {
            text_append_string(t, replacement);
            size = 1;
        } else if (size > 1) {
            text_append(t, bytes, size);
        } else if (how == TEXT_JSON) {
            escape_json(t, (unsigned char)*bytes);
        } else {
            escape_markup(t, (unsigned char)*bytes);
        }
        bytes += size;
        length -= size;
    }
}

void text_append_base64(text *t, const uint8_t *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t word = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                        (left > 2 ? bytes[i + 2] : 0u);
        char four[4] = {digits[word >> 18], digits[word >> 12 & 63],
                        left > 1 ? digits[word >> 6 & 63] : '=',
                        left > 2 ? digits[word & 63] : '='};

        text_append(t, four, sizeof four);
    }
}

spry_status text_status(const text *t, const char *what, spry_error *error)
{
    if (!t->failed) {
        return SPRY_OK;
    }
    return spry_fail(error, SPRY_LIMIT, what, NULL,
                     "the text would pass %zu bytes, or memory ran out", t->ceiling);
}

size_t text_utf8_length(const char *bytes, size_t length)
{
    /* First byte's range, and the range of the second, which excludes overlong forms, surrogates
     * and values that are too large. */
    static const struct {
        unsigned char first, last, second_first, second_last, size;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    const unsigned char *b = (const unsigned char *)bytes;

    for (size_t i = 0; length != 0 && i < sizeof forms / sizeof *forms; i++) {
        size_t size = forms[i].size;

        if (b[0] < forms[i].first || b[0] > forms[i].last) {
            continue;
        }
        if (size > length ||
            (size > 1 && (b[1] < forms[i].second_first || b[1] > forms[i].second_last))) {
            return 0;
        }
        for (size_t k = 2; k < size; k++) {
            if ((b[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return size;
    }
    return 0;
}

bool text_is_utf8(const char *bytes, size_t length)
{
    while (length != 0) {
        size_t size = text_utf8_length(bytes, length);

        if (size == 0) {
            return false;
        }
        bytes += size;
        length -= size;
    }
    return true;
}

bool text_matches(const char *pattern, const char *string)
{
    const char *star = NULL; /* the last one seen, and what it stood for */
    const char *resume = NULL;

    while (*string != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            resume = string;
        } else if (*pattern == '?' || *pattern == *string) {
            pattern++;
            string++;
        } else if (star != NULL) { /* the star takes one more */
            pattern = star;
            string = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}
