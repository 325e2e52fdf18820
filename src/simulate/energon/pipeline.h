/* Queries of a head through three engines: one that chooses keys, a memory that brings their rows,
 * and one that attends. While one query is attended to, keys of the next are chosen. */
#ifndef SIMULATE_ENERGON_PIPELINE_H
#define SIMULATE_ENERGON_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct energon_machine {
    double clock; /* Hz */
    /* Choosing: lanes of products of 4 by 2 bits, each so many elements a cycle. */
    int64_t filter_lanes, filter_width;
    int64_t select;       /* scores a cycle that thresholds are applied to */
    int64_t drain;        /* cycles until most, least and mean of all rounds are known */
    bool select_overlaps; /* thresholds hide behind products */
    /* Attending: lanes of 16-bit products. */
    int64_t lanes, width;
    int64_t softmax, softmax_latency; /* elements a cycle; cycles until the first */
    bool is_pipelined;                /* scores, softmax and sums of neighbouring queries overlap */
    int64_t fifo;                     /* queries whose keys may be chosen ahead */
    int64_t code_bytes, key_bytes, value_bytes; /* of the buffers on the chip */
    double memory_bytes;                        /* a cycle */
    int64_t memory_latency;
    /* Joules. */
    bool has_prices;
    const char *source;
    double low_energy, mac_energy, buffer_energy, memory_energy; /* the last two: of a bit */
} energon_machine;

/* What a query asks for. */
typedef struct energon_step {
    int64_t choosing; /* cycles */
    int64_t scored;   /* keys with exact scores */
    int64_t weighed;  /* values summed */
    int64_t bytes;    /* that must come before it can be attended to */
} energon_step;

/* Cycles, and where they went. Counts are of all heads so far. */
typedef struct energon_cost {
    uint64_t cycles;
    uint64_t choosing, attending; /* cycles that the engines worked, the busiest of its phases */
    uint64_t phases[3];           /* scores, softmax, sums */
    double memory;                /* cycles that the memory worked */
    uint64_t waits_for_keys;      /* cycles that attending waited for the choice */
    uint64_t waits_for_rows;      /* for the memory */
    uint64_t waits_for_room;      /* that choosing waited for attending */
    double bytes;
    uint64_t low_products, products; /* multiply-adds */
    uint64_t key_rows, value_rows;   /* fetched */
    uint64_t kept, visible;          /* pairs of query and key */
    uint64_t queries;
} energon_cost;

/* Where the engines stand, from head to head. */
typedef struct energon_pipeline {
    const energon_machine *m;
    energon_cost *cost;
    uint64_t chosen;    /* the query before is chosen */
    double ready;       /* and has its rows */
    uint64_t stages[3]; /* scores, softmax and sums of the query before are done */
    uint64_t *begun;    /* [fifo]: when the last queries were begun to be attended to */
    int64_t count;      /* of queries */
} energon_pipeline;

enum { ENERGON_FIFO_MOST = 64 };

/* Cycles of the phases of attending: scores, softmax, sums. */
void energon_phases(const energon_machine *m, const energon_step *s, int64_t size,
                    uint64_t phases[3]);

/* `begun` has room for m->fifo, at most ENERGON_FIFO_MOST. */
void energon_pipeline_begin(energon_pipeline *p, const energon_machine *m, uint64_t *begun,
                            energon_cost *cost);
/* Bytes that choosing needs before it can begin with the next head. `ahead`: they came while the
 * memory had nothing else to do during the head before, as far as it had time. */
void energon_pipeline_load(energon_pipeline *p, double bytes, bool ahead);
/* One query of keys with `size` elements. */
void energon_pipeline_query(energon_pipeline *p, const energon_step *s, int64_t size);

#endif
