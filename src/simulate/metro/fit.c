#include "simulate/metro/fit.h"

static int64_t longest(const metro_flows *flows, const metro_options *options)
{
    int64_t most = 0;

    for (int i = 0; i < flows->count; i++) {
        int64_t flits = metro_payload(options, &flows->items[i]);

        most = flits > most ? flits : most;
    }
    return most;
}

spry_status metro_schedule_fit(const metro_flows *flows, const metro_options *options,
                               const metro_route *routes, const int64_t *order, int entries,
                               metro_schedule *s, metro_program *p, spry_error *error)
{
    metro_options used = *options;
    int64_t whole = longest(flows, options);
    spry_status status;

    *p = (metro_program){0};
    for (;;) {
        status = metro_schedule_make(flows, &used, routes, order, s, error);
        if (status == SPRY_OK) {
            status = metro_program_make(s, p, error);
        }
        if (status != SPRY_OK || entries == 0 || p->most_entries <= entries) {
            return status;
        }
        if (used.chunk_flits >= whole || used.chunk_flits > INT32_MAX / 2) {
            return spry_fail(error, SPRY_UNSUPPORTED, "interconnect.table",
                             "larger tables, or fewer flows at a time",
                             "router %d needs %d entries of %d, even with whole flows as chunks",
                             p->fullest, p->most_entries, entries);
        }
        metro_program_fini(p);
        metro_schedule_fini(s);
        used.chunk_flits *= 2;
    }
}
