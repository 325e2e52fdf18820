/* Scaling by tables of units. */
#include "base/units.h"

#include <stdio.h>

typedef struct unit {
    double size;
    const char *name;
} unit;

static const unit counts[] = {{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}, {1, ""}};
static const unit bytes[] = {{1099511627776.0, " TiB"},
                             {1073741824.0, " GiB"},
                             {1048576.0, " MiB"},
                             {1024.0, " KiB"},
                             {1, " B"}};

static char *scaled(char *buffer, int64_t number, const unit *u)
{
    if (number < 0) {
        (void)snprintf(buffer, UNITS_SIZE, "?");
        return buffer;
    }
    while (u->size > 1 && (double)number < u->size) {
        u++;
    }
    (void)snprintf(buffer, UNITS_SIZE, u->size > 1 ? "%.2f%s" : "%.0f%s", (double)number / u->size,
                   u->name);
    return buffer;
}

char *units_count(char *buffer, int64_t number)
{
    return scaled(buffer, number, counts);
}

char *units_bytes(char *buffer, int64_t number)
{
    return scaled(buffer, number, bytes);
}
