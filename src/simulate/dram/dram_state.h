/* What dram.c (requests) and dram_channel.c (commands) share. */
#ifndef SIMULATE_DRAM_DRAM_STATE_H
#define SIMULATE_DRAM_DRAM_STATE_H

#include "simulate/dram/dram.h"

enum {
    DRAM_QUEUE = 32,      /* requests of a kind that wait in a channel */
    DRAM_BANK_QUEUE = 8,  /* commands that wait for a bank */
    DRAM_PAGE_HITS = 4,   /* before another page may have the bank */
    DRAM_DRAIN_FROM = 8,  /* writes, above which an idle channel writes */
    DRAM_ACTIVATIONS = 4, /* of a rank within tFAW */
    DRAM_BUCKETS = 1024,  /* of requests by address: a power of two */
    DRAM_NOBODY = -1
};

#define DRAM_NEVER UINT64_MAX

/* A request that is not done; those of one address hang together. */
typedef struct dram_pending {
    uint64_t address;
    uint64_t tag;
    int32_t next;  /* in its bucket, or among the free */
    int32_t again; /* another read of the same address, made later */
    bool is_write;
} dram_pending;

/* A request in a queue, and where it goes. */
typedef struct dram_place {
    int32_t request;
    int32_t row;
    int16_t column;
    int8_t rank;
    int8_t bank; /* of the channel: (rank * groups + group) * banks + bank */
    bool is_write;
} dram_place;

typedef struct dram_queue {
    dram_place items[DRAM_QUEUE];
    int count;
} dram_queue;

/* The earliest cycles of commands to something. */
typedef struct dram_times {
    uint64_t next[DRAM_COMMANDS];
} dram_times;

typedef struct dram_bank {
    dram_times times;
    int32_t row; /* that is open, or DRAM_NOBODY */
    int hits;    /* of it */
    int count;
    dram_place queue[DRAM_BANK_QUEUE];
} dram_bank;

typedef struct dram_rank {
    dram_times times;
    uint64_t activations[DRAM_ACTIVATIONS]; /* a ring: when each stops to count */
    int oldest;
    int open; /* banks */
} dram_rank;

typedef struct dram_return {
    uint64_t cycle;
    uint64_t tag;
    bool is_write;
} dram_return;

/* First in, first out: what is done at rising cycles. */
typedef struct dram_returns {
    dram_return *items;
    size_t capacity;
    size_t first;
    size_t count;
} dram_returns;

typedef struct dram_channel {
    dram_queue reads;
    dram_queue writes;
    int draining;          /* writes that are still to go before reads do again */
    int queued;            /* requests in all banks */
    size_t reads_underway; /* without those that found their data among the writes */
    dram_bank banks[DRAM_BANKS_MOST];
    uint64_t not_before[DRAM_BANKS_MOST]; /* no command of the bank can be issued earlier */
    uint64_t wake;                        /* the least of them */
    dram_times groups[DRAM_BANKS_MOST];
    dram_rank ranks[DRAM_RANKS_MOST];
    int turn;                           /* the bank that was served last */
    int refreshes[DRAM_RANKS_MOST * 2]; /* ranks that wait for one, a ring */
    int refresh_first;
    int refresh_count;
    int refresh_next; /* the rank whose turn comes */
    bool refreshing;  /* the first of the ring's ranks takes no other command */
    dram_returns read_returns;
    dram_returns soon; /* writes, and reads of what waits to be written */
} dram_channel;

struct dram {
    spry_allocator allocator;
    dram_options options;
    dram_events events;
    uint64_t cycle;
    uint64_t underway;
    int rank_banks; /* of a rank */
    int all_banks;  /* of a channel */
    int shifts[DRAM_FIELDS];
    dram_counts counts;
    dram_pending *requests;
    size_t request_capacity;
    int32_t request_count;
    int32_t free_request;
    int32_t buckets[DRAM_BUCKETS];
    dram_channel *channels;
};

/* The first pending request of that kind and address, or DRAM_NOBODY. */
int32_t dram_find(const dram *d, uint64_t address, bool is_write);
/* Takes a request, and what hangs on it, out of the books. */
void dram_forget(dram *d, int32_t request);
/* Sets requests down as done at `cycle`. */
void dram_return_at(dram *d, dram_returns *returns, uint64_t cycle, uint64_t tag, bool is_write);

/* A channel's cycle: refresh, a command or two, and a request on its way to a bank. */
void dram_channel_tick(dram *d, int channel);
/* The next cycle in which the channel has anything to do; the present one when in doubt. */
uint64_t dram_channel_next(const dram *d, int channel);

#endif
