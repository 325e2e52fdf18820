/* What the parts of spry simulate metro share. */
#ifndef CLI_SIMULATE_METRO_H
#define CLI_SIMULATE_METRO_H

#include "base/threads.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "simulate/metro/baseline.h"
#include "simulate/metro/network.h"
#include "simulate/metro/schedule_file.h"
#include "simulate/noc/mesh_target.h"

/* What flows that are not scheduled are compared with. */
typedef struct metro_rival {
    const char *name;
    mesh_routing routing;
    metro_collective how;
} metro_rival;

enum { METRO_RIVALS = 8 };
extern const metro_rival metro_rivals[METRO_RIVALS];

/* One burst of flows: a layer's, or those of a file. */
typedef struct metro_row {
    const char *name;
    int flows;
    metro_parts parts;
    int64_t compute, makespan, bound, floor, first, tardiness;
    int generations;
    int64_t flit_links;   /* over all links */
    int64_t router_flits; /* that routers have sent */
    int64_t mesh_flits;   /* of those, to other routers */
    int64_t entries;      /* of all tables */
    int most_entries, chunk;
    int64_t headers[METRO_HEADERS_COUNT]; /* makespans, with --compare */
    metro_baseline rivals[METRO_RIVALS];  /* with --compare */
    int64_t optimum;                      /* with --exact; -1: not proven */
    double *links, *nodes; /* flits: by node and way, by node; in the memory of the layers */
} metro_row;

typedef struct metro_job {
    const cli_call *call;
    target *t;
    mesh_options network;
    mesh_hardware hardware;
    metro_tiles tiles;
    metro_options options;
    simulate_layers layers;
    metro_flows flows; /* of a file, where it is not a model */
    bool is_file;
    metro_row *rows;
    int32_t count;
    double seconds; /* of scheduling */
    threads *team;
    report r;
    output_document *file; /* of --schedule; NULL: not wanted */
    uint64_t clock;        /* fs: where the present row begins in the timeline */
    int *tracks;           /* by link: of the timeline, less 1; 0: none yet */
} metro_job;

/* Over all rows. */
typedef struct metro_total {
    int64_t compute, makespan, bound, floor, processing, tardiness;
    int64_t headers[METRO_HEADERS_COUNT];
    int64_t router_flits, mesh_flits, entries;
    uint64_t packets[METRO_RIVALS], packets_processing[METRO_RIVALS];
    double log_ratio[METRO_RIVALS];
    double joules[METRO_RIVALS]; /* of packets */
    double worst_gap;
} metro_total;

bool metro_compares(const metro_job *j);
double metro_gap(const metro_row *row);

/* Fills the rows: routes and orders are searched for, confirmed by a replay, compared. Fails as the
 * functions of simulate/metro. */
SPRY_MUST_USE spry_status metro_schedule_all(metro_job *j, spry_error *error);
metro_total metro_sum_up(const metro_job *j);

/* What the report says of the rows; of one total per width of flits. */
void metro_tell_rows(metro_job *j);
void metro_tell_widths(metro_job *j, const int *widths, const metro_total *totals, int count);

/* Replays a file of --schedule. Fails with SPRY_BAD_INPUT, SPRY_INTERNAL (the replay's). */
SPRY_MUST_USE spry_status metro_check(const cli_call *call, spry_error *error);

#endif
