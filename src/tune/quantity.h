/* Numbers with units, as people write them in descriptions of machines: "1.5 GHz", "700 GB/s", "40
 * KiB", "8 us", "3.2 pJ/b".
 *
 * A unit is a product of atoms, each with a prefix: s, Hz, b (or bit), B, J, W, V, m, FLOP, OP, MAC
 * (two operations), cycle, flit, element; prefixes are f p n u m k M G T P E and, of b and B, Ki Mi
 * Gi Ti. "/" divides by the atom behind it: "pJ/b/mm". Case counts: "Mb" is no "MB". */
#ifndef TUNE_QUANTITY_H
#define TUNE_QUANTITY_H

#include <stddef.h>

typedef enum quantity_unit {
    UNIT_ONE, /* a plain number */
    UNIT_SECONDS,
    UNIT_HERTZ,
    UNIT_BYTES,
    UNIT_BITS,
    UNIT_BYTES_PER_SECOND,
    UNIT_BYTES_PER_CYCLE,
    UNIT_OPERATIONS, /* a multiply-add counts as two */
    UNIT_OPERATIONS_PER_SECOND,
    UNIT_JOULES,
    UNIT_JOULES_PER_BIT,
    UNIT_JOULES_PER_BIT_METER,
    UNIT_JOULES_PER_OPERATION,
    UNIT_WATTS,
    UNIT_WATTS_PER_BYTE,
    UNIT_VOLTS,
    UNIT_METERS,
    UNIT_COUNT
} quantity_unit;

typedef enum quantity_problem {
    QUANTITY_FINE,
    QUANTITY_NO_NUMBER,
    QUANTITY_NO_UNIT,
    QUANTITY_UNKNOWN_UNIT, /* no product of known atoms */
    QUANTITY_OTHER_UNIT    /* a unit, but of something else */
} quantity_problem;

enum { QUANTITY_SIZE = 48 };

/* Reads the whole of `string`; `*value` is in the unit itself (seconds, bytes per second), and is
 * left alone when there is a problem. */
quantity_problem quantity_parse(const char *string, quantity_unit unit, double *value);

/* How the unit is written ("GB/s" for bytes per second), for errors. "" for UNIT_ONE. */
const char *quantity_example(quantity_unit unit);

/* Writes `value` with four significant digits and a prefix into `buffer` of QUANTITY_SIZE bytes, so
 * that quantity_parse takes it; returns the buffer. */
char *quantity_format(char *buffer, double value, quantity_unit unit);

#endif
