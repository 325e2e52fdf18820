/* Strict wrappers around the C library's conversions. */
#include "base/parse.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 512, BASE_DECIMAL = 10, BASE_HEXADECIMAL = 16 };

/* The digits' base, or 0 when `string` is not an optional '-' and digits. strtoll itself also
 * accepts blanks, '+', and (with base 0) octal, which surprises people. */
static int integer_base(const char *string, bool negative_allowed)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    int base = BASE_DECIMAL;

    if (string == NULL) {
        return 0;
    }
    if (*string == '-' && negative_allowed) {
        string++;
    }
    if (string[0] == '0' && (string[1] == 'x' || string[1] == 'X')) {
        base = BASE_HEXADECIMAL;
        string += 2;
    }
    if (*string == '\0' ||
        string[base == BASE_DECIMAL ? strspn(string, "0123456789") : strspn(string, digits)] !=
            '\0') {
        return 0;
    }
    return base;
}

bool parse_i64(const char *string, int64_t least, int64_t most, int64_t *value)
{
    int base = integer_base(string, true);
    long long number;

    if (base == 0) {
        return false;
    }
    errno = 0;
    number = strtoll(string, NULL, base);
    if (errno != 0 || number < least || number > most) {
        return false;
    }
    *value = number;
    return true;
}

bool parse_u64(const char *string, uint64_t least, uint64_t most, uint64_t *value)
{
    int base = integer_base(string, false);
    unsigned long long number;

    if (base == 0) {
        return false;
    }
    errno = 0;
    number = strtoull(string, NULL, base);
    if (errno != 0 || number < least || number > most) {
        return false;
    }
    *value = number;
    return true;
}

bool parse_f64(const char *string, double least, double most, double *value)
{
    char copy[NUMBER_BYTES];
    const char *point = localeconv()->decimal_point;
    char *dot;
    char *end;
    double number;
    size_t length = string != NULL ? strlen(string) : 0;

    /* Letters other than e would let through "inf", "nan" and hexadecimal forms. */
    if (length == 0 || length >= sizeof copy || strspn(string, "0123456789+-.eE") != length) {
        return false;
    }
    memcpy(copy, string, length + 1);
    dot = strchr(copy, '.');
    if (dot != NULL && strlen(point) == 1) {
        *dot = *point;
    }
    errno = 0;
    number = strtod(copy, &end);
    /* Too small numbers set ERANGE, too, but give what they should: nearly or exactly 0. */
    if (*end != '\0' || end == copy || !isfinite(number) || number < least || number > most) {
        return false;
    }
    *value = number;
    return true;
}

bool parse_bool(const char *string, bool *value)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true}, {"false", false}, {"yes", true}, {"no", false},
                 {"on", true},   {"off", false},   {"1", true},   {"0", false}};

    for (size_t i = 0; string != NULL && i < sizeof words / sizeof *words; i++) {
        if (strcmp(string, words[i].word) == 0) {
            *value = words[i].value;
            return true;
        }
    }
    return false;
}
