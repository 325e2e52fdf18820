/* Measures what one core can do at most: multiply-adds in registers by type of number and by
 * instruction set, and reading from the caches and from memory. SPRY_ISA sets a ceiling.
 *
 *     peak [--json]
 *
 * Prints a table, or one JSON object for the drivers of this folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/peak.h"

enum { EXIT_USAGE = 2, ALIGNMENT = 64 };

/* Half of the usual first level, half of a small second one, and more than any last level. */
static const struct {
    const char *name;
    size_t bytes;
} places[] = {{"L1", (size_t)16 << 10}, {"L2", (size_t)256 << 10}, {"memory", (size_t)512 << 20}};

static bool print(bool as_json)
{
    const char *rate = as_json ? ", \"read_%s\": %.2f" : "reading from %-6s %10.1f GB/s\n";
    size_t last = sizeof places / sizeof *places - 1;
    uint8_t *data = aligned_alloc(ALIGNMENT, places[last].bytes);
    peak p;

    if (data == NULL) {
        (void)fprintf(stderr, "peak: no memory for %zu bytes\n", places[last].bytes);
        return false;
    }
    memset(data, 1, places[last].bytes);
    peak_measure(&p);
    printf(as_json ? "{\"clock_ghz\": %.3f" : "clock               %10.2f GHz\n", p.gigahertz);
    for (int t = 0; t < PEAK_TYPES; t++) {
        const char *name = peak_type_name((peak_type)t);

        if (p.kernel[t] != NULL && as_json) {
            printf(", \"%s\": %.2f, \"%s_kernel\": \"%s\"", name, p.gigaflops[t], name,
                   p.kernel[t]);
        } else if (p.kernel[t] != NULL) {
            printf("%-4s                %10.1f G/s    %s\n", name, p.gigaflops[t], p.kernel[t]);
        }
    }
    for (size_t i = 0; i <= last; i++) {
        printf(rate, places[i].name, peak_read_rate(data, places[i].bytes));
    }
    printf(as_json ? "}\n" : "");
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    bool as_json = argc == 2 && strcmp(argv[1], "--json") == 0;

    if (argc > 1 && !as_json) {
        (void)fprintf(stderr, "usage: peak [--json]\n");
        return EXIT_USAGE;
    }
    return print(as_json) ? EXIT_SUCCESS : EXIT_FAILURE;
}
