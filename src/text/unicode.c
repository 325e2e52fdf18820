/* Questions about characters, put to utf8proc. */
#include "text/unicode.h"

#include <utf8proc.h>

static utf8proc_category_t category(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code);
}

bool unicode_is_space(uint32_t code)
{
    return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool unicode_is_letter(uint32_t code)
{
    if (code < 0x80) {
        return (code | 0x20) >= 'a' && (code | 0x20) <= 'z';
    }
    utf8proc_category_t c = category(code);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool unicode_is_number(uint32_t code)
{
    if (code < 0x80) {
        return code >= '0' && code <= '9';
    }
    utf8proc_category_t c = category(code);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool unicode_is_word(uint32_t code)
{
    utf8proc_category_t c = category(code);

    /* Alphabetic also holds letter numbers (Roman numerals) and circled Latin letters. */
    return unicode_is_letter(code) || unicode_is_mark(code) || c == UTF8PROC_CATEGORY_ND ||
           c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_PC || code == 0x200c ||
           code == 0x200d || (code >= 0x24b6 && code <= 0x24e9);
}

bool unicode_is_punctuation(uint32_t code)
{
    if (code < 0x80) {
        return code > ' ' && code < 0x7f && !unicode_is_letter(code) && !unicode_is_number(code);
    }
    utf8proc_category_t c = category(code);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool unicode_is_control(uint32_t code)
{
    utf8proc_category_t c = category(code);

    return (c >= UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CN) && code != '\t' &&
           code != '\n' && code != '\r';
}

bool unicode_is_cjk(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } blocks[] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
                  {0x2b740, 0x2b81f}, {0x2b820, 0x2ceaf}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};

    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        if (code >= blocks[i].first && code <= blocks[i].last) {
            return true;
        }
    }
    return false;
}

bool unicode_is_nonspacing_mark(uint32_t code)
{
    return code >= 0x300 && category(code) == UTF8PROC_CATEGORY_MN;
}

bool unicode_is_mark(uint32_t code)
{
    utf8proc_category_t c = category(code);

    return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
}

size_t unicode_lower(uint32_t code, uint32_t lower[2])
{
    /* The only character whose lower case is two. */
    if (code == 0x130) {
        lower[0] = 'i';
        lower[1] = 0x307;
        return 2;
    }
    lower[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    return 1;
}

size_t unicode_decompose(uint32_t code, bool compatible, uint32_t parts[UNICODE_MOST_PARTS])
{
    utf8proc_int32_t found[UNICODE_MOST_PARTS];
    utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                    (compatible ? (unsigned)UTF8PROC_COMPAT : 0));
    utf8proc_ssize_t count =
        utf8proc_decompose_char((utf8proc_int32_t)code, found, UNICODE_MOST_PARTS, options, NULL);

    if (count < 1 || count > UNICODE_MOST_PARTS) {
        parts[0] = code;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        parts[i] = (uint32_t)found[i];
    }
    return (size_t)count;
}

int unicode_combining_class(uint32_t code)
{
    return code < 0x300 ? 0 : utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
}

uint32_t unicode_compose(uint32_t first, uint32_t second)
{
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second};

    return utf8proc_normalize_utf32(pair, 2,
                                    (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE)) == 1
               ? (uint32_t)pair[0]
               : 0;
}
