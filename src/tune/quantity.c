/* A unit is parsed into a factor and the powers of its dimensions; two units measure the same thing
 * when the powers agree. So new units are lines in the tables below. */
#include "tune/quantity.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

enum { NUMBER_SIZE = 64, UNIT_SIZE = 48 };

typedef enum dimension {
    TIME,
    INFORMATION,
    ENERGY,
    OPERATIONS,
    LENGTH,
    VOLTAGE,
    CYCLES,
    FLITS,
    ELEMENTS,
    DIMENSIONS
} dimension;

/* What a unit measures, and how many of its base units (s, b, J, ...) it is. */
typedef struct measure {
    double factor;
    signed char power[DIMENSIONS];
} measure;

typedef struct atom {
    const char *name;
    measure is;
} atom;

static const atom atoms[] = {
    {"s", {1, {[TIME] = 1}}},
    {"Hz", {1, {[TIME] = -1}}},
    {"b", {1, {[INFORMATION] = 1}}},
    {"bit", {1, {[INFORMATION] = 1}}},
    {"B", {8, {[INFORMATION] = 1}}},
    {"J", {1, {[ENERGY] = 1}}},
    {"W", {1, {[ENERGY] = 1, [TIME] = -1}}},
    {"OP", {1, {[OPERATIONS] = 1}}},
    {"FLOP", {1, {[OPERATIONS] = 1}}},
    {"MAC", {2, {[OPERATIONS] = 1}}},
    {"m", {1, {[LENGTH] = 1}}},
    {"V", {1, {[VOLTAGE] = 1}}},
    {"cycle", {1, {[CYCLES] = 1}}},
    {"flit", {1, {[FLITS] = 1}}},
    {"element", {1, {[ELEMENTS] = 1}}},
};

typedef struct prefix {
    const char *name;
    double factor;
    bool binary; /* of bits and bytes only */
} prefix;

/* The micro sign and the Greek letter are both written for u. */
static const prefix prefixes[] = {
    {"f", 1e-15, false},
    {"p", 1e-12, false},
    {"n", 1e-9, false},
    {"u", 1e-6, false},
    {"\xc2\xb5", 1e-6, false},
    {"\xce\xbc", 1e-6, false},
    {"m", 1e-3, false},
    {"k", 1e3, false},
    {"M", 1e6, false},
    {"G", 1e9, false},
    {"T", 1e12, false},
    {"P", 1e15, false},
    {"E", 1e18, false},
    {"Ki", 1024.0, true},
    {"Mi", 1048576.0, true},
    {"Gi", 1073741824.0, true},
    {"Ti", 1099511627776.0, true},
};

/* How values of a unit are given to callers, and written for people. */
typedef struct form {
    const char *canonical;
    const char *example;
} form;

static const form forms[UNIT_COUNT] = {
    [UNIT_ONE] = {"", ""},
    [UNIT_SECONDS] = {"s", "8 us"},
    [UNIT_HERTZ] = {"Hz", "1.5 GHz"},
    [UNIT_BYTES] = {"B", "40 KiB"},
    [UNIT_BITS] = {"b", "128 b"},
    [UNIT_BYTES_PER_SECOND] = {"B/s", "700 GB/s"},
    [UNIT_BYTES_PER_CYCLE] = {"B/cycle", "64 B/cycle"},
    [UNIT_OPERATIONS] = {"OP", "2 GOP"},
    [UNIT_OPERATIONS_PER_SECOND] = {"OP/s", "2 TFLOP/s"},
    [UNIT_JOULES] = {"J", "1.3 nJ"},
    [UNIT_JOULES_PER_BIT] = {"J/b", "3.2 pJ/b"},
    [UNIT_JOULES_PER_BIT_METER] = {"J/b/m", "0.1 pJ/b/mm"},
    [UNIT_JOULES_PER_OPERATION] = {"J/OP", "0.3 pJ/MAC"},
    [UNIT_WATTS] = {"W", "80 W"},
    [UNIT_WATTS_PER_BYTE] = {"W/B", "5 uW/KiB"},
    [UNIT_VOLTS] = {"V", "0.8 V"},
    [UNIT_METERS] = {"m", "1 mm"},
};

static const measure *find_atom(const char *name)
{
    for (size_t i = 0; i < sizeof atoms / sizeof *atoms; i++) {
        if (strcmp(atoms[i].name, name) == 0) {
            return &atoms[i].is;
        }
    }
    return NULL;
}

/* An atom with or without a prefix. A bare atom goes first: "m" is a metre. */
static bool parse_atom(const char *name, measure *m)
{
    const measure *found = find_atom(name);

    if (found != NULL) {
        *m = *found;
        return true;
    }
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const prefix *p = &prefixes[i];
        size_t length = strlen(p->name);

        if (strncmp(name, p->name, length) != 0) {
            continue;
        }
        found = find_atom(name + length);
        if (found != NULL && (!p->binary || found->power[INFORMATION] == 1)) {
            *m = *found;
            m->factor *= p->factor;
            return true;
        }
    }
    return false;
}

static bool parse_unit(const char *string, measure *m)
{
    char copy[UNIT_SIZE];
    char *rest = copy;
    bool first = true;

    *m = (measure){.factor = 1};
    if (strlen(string) >= sizeof copy) {
        return false;
    }
    memcpy(copy, string, strlen(string) + 1);
    while (rest != NULL) {
        char *slash = strchr(rest, '/');
        measure part;

        if (slash != NULL) {
            *slash = '\0';
        }
        if (!parse_atom(rest, &part)) {
            return false;
        }
        m->factor = first ? part.factor : m->factor / part.factor;
        for (int d = 0; d < DIMENSIONS; d++) {
            int power = m->power[d] + (first ? part.power[d] : -part.power[d]);

            m->power[d] = (signed char)power;
        }
        first = false;
        rest = slash != NULL ? slash + 1 : NULL;
    }
    return true;
}

/* Length of the number at the start: digits, sign, point and an exponent that has digits. */
static size_t number_length(const char *string)
{
    size_t length = strspn(string, "+-.0123456789");

    if (length > 0 && (string[length] == 'e' || string[length] == 'E')) {
        size_t sign = strspn(string + length + 1, "+-");
        size_t digits = strspn(string + length + 1 + sign, "0123456789");

        length += digits > 0 ? 1 + sign + digits : 0;
    }
    return length;
}

quantity_problem quantity_parse(const char *string, quantity_unit unit, double *value)
{
    char number[NUMBER_SIZE];
    size_t length = number_length(string);
    measure given;
    measure wanted;
    double plain;

    if (length == 0 || length >= sizeof number) {
        return QUANTITY_NO_NUMBER;
    }
    memcpy(number, string, length);
    number[length] = '\0';
    if (!parse_f64(number, -HUGE_VAL, HUGE_VAL, &plain)) {
        return QUANTITY_NO_NUMBER;
    }
    string += length + strspn(string + length, " ");
    if (*string == '\0') {
        if (unit != UNIT_ONE) {
            return QUANTITY_NO_UNIT;
        }
        *value = plain;
        return QUANTITY_FINE;
    }
    if (!parse_unit(string, &given)) {
        return QUANTITY_UNKNOWN_UNIT;
    }
    if (unit == UNIT_ONE || !parse_unit(forms[unit].canonical, &wanted) ||
        memcmp(given.power, wanted.power, sizeof given.power) != 0) {
        return QUANTITY_OTHER_UNIT;
    }
    *value = plain * (given.factor / wanted.factor);
    return QUANTITY_FINE;
}

const char *quantity_example(quantity_unit unit)
{
    return forms[unit].example;
}

char *quantity_format(char *buffer, double value, quantity_unit unit)
{
    const prefix *best = NULL;

    for (size_t i = 0; unit != UNIT_ONE && i < sizeof prefixes / sizeof *prefixes; i++) {
        const prefix *p = &prefixes[i];

        /* Prefixes of one byte only; the largest that leaves at least 1, none between 1 and
         * 1000. */
        if (!p->binary && p->name[1] == '\0' && fabs(value) >= p->factor * 0.99995) {
            best = p;
        }
    }
    if (best == NULL || (fabs(value) >= 0.99995 && fabs(value) < 999.95) || value == 0) {
        (void)snprintf(buffer, QUANTITY_SIZE, "%.4g%s%s", value, unit != UNIT_ONE ? " " : "",
                       forms[unit].canonical);
    } else {
        (void)snprintf(buffer, QUANTITY_SIZE, "%.4g %s%s", value / best->factor, best->name,
                       forms[unit].canonical);
    }
    return buffer;
}
