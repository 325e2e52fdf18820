/* The rules, in order. */
#include "inspect/heads_name.h"

#include <string.h>

#include "spry/heads.h"

static const char *diagonal(const double *f)
{
    if (f[SPRY_HEAD_PREVIOUS] >= f[SPRY_HEAD_NEXT] &&
        f[SPRY_HEAD_PREVIOUS] >= f[SPRY_HEAD_BAND_0]) {
        return "diagonal (previous)";
    }
    return f[SPRY_HEAD_NEXT] >= f[SPRY_HEAD_BAND_0] ? "diagonal (next)" : "diagonal (self)";
}

const char *heads_pattern(const double *f)
{
    if (f[SPRY_HEAD_BAND_1] >= 0.3 && f[SPRY_HEAD_COLUMNS] >= 0.2) {
        return "vertical+diagonal";
    }
    if (f[SPRY_HEAD_BAND_1] >= 0.5) {
        return diagonal(f);
    }
    if (f[SPRY_HEAD_SPECIAL] >= 0.5) {
        return "vertical (delimiter)";
    }
    if (f[SPRY_HEAD_COLUMNS] >= 0.35) {
        return "vertical";
    }
    /* Before blocks: a band hardly leaves its segment either. */
    if (f[SPRY_HEAD_BAND_4] >= 0.5) {
        return "local band";
    }
    if (f[SPRY_HEAD_BLOCK] >= 0.5) {
        return "block";
    }
    return f[SPRY_HEAD_ENTROPY] >= 0.9 ? "uniform" : "heterogeneous";
}

bool heads_same_kind(const char *a, const char *b)
{
    size_t length = strcspn(a, " ");

    return length == strcspn(b, " ") && strncmp(a, b, length) == 0;
}
