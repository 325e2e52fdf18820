/* Dynamic memory at the level of commands: DDR4, HBM2 and their like, cycle by cycle.
 *
 * Every channel has queues of 32 reads and 32 writes, a queue of 8 commands per bank, and an open
 * page per bank. It issues the first command that no constraint forbids, going round the banks; of
 * a bank's commands the oldest first, but later ones to the open page before those to another, up
 * to four. Writes wait until their queue is full, or has more than eight and nothing else is to do.
 * Every rank is refreshed each tREFI in turn. The constraints are those of DRAMsim3 (Li and others,
 * IEEE CAL 2020), to which tests/simulate/test_dram.c compares the model.
 *
 * Requests are of 64 bytes. A read is done when its last data are on the bus, a write one cycle
 * after it was accepted. */
#ifndef SIMULATE_DRAM_DRAM_H
#define SIMULATE_DRAM_DRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct dram dram;

enum {
    DRAM_REQUEST_BYTES = 64,
    DRAM_CHANNELS_MOST = 32,
    DRAM_RANKS_MOST = 4,
    DRAM_BANKS_MOST = 64 /* of a channel, over all ranks */
};

/* The parts of an address, from the highest bit to the lowest above the request's bytes. */
typedef enum dram_field {
    DRAM_ROW,
    DRAM_RANK,
    DRAM_GROUP,
    DRAM_BANK,
    DRAM_CHANNEL,
    DRAM_COLUMN,
    DRAM_FIELDS
} dram_field;

/* In cycles of the command clock, unless said otherwise; names as in the standards of JEDEC. */
typedef struct dram_options {
    uint64_t period; /* of the clock, fs */
    int channels;    /* all sizes are powers of two */
    int ranks;
    int groups; /* of banks, in a rank */
    int banks;  /* of a group */
    int rows;
    int columns; /* requests of a row */
    int burst;   /* cycles of data: half the burst length */
    int CL, CWL, AL;
    int tRCDRD, tRCDWR, tRP, tRAS;
    int tRFC, tREFI;
    int tRRD_S, tRRD_L, tFAW;
    int tCCD_S, tCCD_L;
    int tWTR_S, tWTR_L, tWR, tRTP, tRTRS;
    bool two_commands; /* a cycle: one to a row, one to a column (HBM) */
    dram_field order[DRAM_FIELDS];
} dram_options;

typedef enum dram_command {
    DRAM_ACTIVATE,
    DRAM_PRECHARGE,
    DRAM_READ,
    DRAM_WRITE,
    DRAM_REFRESH,
    DRAM_COMMANDS
} dram_command;

/* A command as it was issued; row, column of those that have one. */
typedef struct dram_issue {
    uint64_t cycle;
    dram_command command;
    int channel, rank, group, bank, row, column;
} dram_issue;

typedef struct dram_events {
    /* A request is done. Called within dram_tick. */
    void (*done)(void *context, uint64_t tag, bool is_write, uint64_t cycle);
    /* Every command, for those who check or draw them; may be NULL. */
    void (*issued)(void *context, const dram_issue *issue);
    void *context;
} dram_events;

typedef struct dram_counts {
    uint64_t commands[DRAM_COMMANDS];
    uint64_t reads; /* requests that are done */
    uint64_t writes;
    uint64_t busy_cycles;   /* of data, over all channels */
    uint64_t active_cycles; /* ranks with an open page, times cycles */
} dram_counts;

/* Fails with SPRY_USAGE (a size that is no power of two or out of range, a time below 1),
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status dram_create(const spry_allocator *allocator, const dram_options *options,
                                      const dram_events *events, dram **made, spry_error *error);
/* NULL is allowed. */
void dram_destroy(dram *d);

/* Is there room for a request to `address`? And taking it, in the present cycle, where there is.
 * Fails with SPRY_LIMIT (memory). Requests to one address are done in order. */
bool dram_accepts(const dram *d, uint64_t address, bool is_write);
SPRY_MUST_USE spry_status dram_request(dram *d, uint64_t address, bool is_write, uint64_t tag,
                                       spry_error *error);

/* One cycle. */
void dram_tick(dram *d);
/* Cycles finished so far. */
uint64_t dram_cycle(const dram *d);
/* Passes over cycles in which nothing would happen, up to `most`; returns how many. To be called
 * between ticks: whoever has no request to make until a certain cycle. */
uint64_t dram_skip(dram *d, uint64_t most);
/* Requests that are not done. */
uint64_t dram_underway(const dram *d);
const dram_counts *dram_count(const dram *d);

/* Bytes a second that the data bus could carry at most, all channels together. */
double dram_peak_bandwidth(const dram_options *options);

#endif
