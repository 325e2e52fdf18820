#include "profile.h"

#include <stdio.h>

void profile_print(const spry_profile_row *rows, int32_t count, int runs)
{
    double total = 0.0;

    for (int32_t i = 0; i < count; i++) {
        double ms = rows[i].milliseconds / runs;
        double calls = (double)rows[i].calls / runs; /* nodes of one name */

        total += ms;
        printf("%9.3f ms  %7.1f GMAC/s  %6.1f GB/s  %-26s %-30s %-9s %s\n", ms,
               calls * (double)rows[i].macs / ms / 1e6, calls * (double)rows[i].bytes / ms / 1e6,
               rows[i].type, rows[i].kernel, rows[i].plan, rows[i].node);
    }
    printf("%9.3f ms in all\n", total);
}
