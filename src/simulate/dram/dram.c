#include "simulate/dram/dram.h"

#include "base/alloc.h"
#include "simulate/dram/dram_state.h"

enum {
    REQUESTS_MOST = 1 << 26,
    ROWS_MOST = 1 << 24,
    COLUMNS_MOST = 1 << 12,
    CYCLES_MOST = 1 << 20
};

static bool is_power(int value, int most)
{
    return value >= 1 && value <= most && (value & (value - 1)) == 0;
}

static bool sizes_hold(const dram_options *o)
{
    return is_power(o->channels, DRAM_CHANNELS_MOST) && is_power(o->ranks, DRAM_RANKS_MOST) &&
           is_power(o->groups, DRAM_BANKS_MOST) && is_power(o->banks, DRAM_BANKS_MOST) &&
           o->ranks * o->groups * o->banks <= DRAM_BANKS_MOST && is_power(o->rows, ROWS_MOST) &&
           is_power(o->columns, COLUMNS_MOST);
}

static bool times_hold(const dram_options *o)
{
    const int times[] = {o->burst,  o->CL,     o->CWL,    o->tRCDRD, o->tRCDWR, o->tRP,
                         o->tRAS,   o->tRFC,   o->tREFI,  o->tRRD_S, o->tRRD_L, o->tFAW,
                         o->tCCD_S, o->tCCD_L, o->tWTR_S, o->tWTR_L, o->tWR,    o->tRTP};

    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (times[i] < 1 || times[i] > CYCLES_MOST) {
            return false;
        }
    }
    return o->period > 0 && o->AL >= 0 && o->AL < o->tRCDRD && o->AL < o->tRCDWR && o->tRTRS >= 0 &&
           o->tREFI / o->ranks > 0;
}

/* Every field once. */
static bool order_holds(const dram_options *o)
{
    unsigned seen = 0;

    for (int i = 0; i < DRAM_FIELDS; i++) {
        seen |= o->order[i] < DRAM_FIELDS ? 1U << o->order[i] : 0;
    }
    return seen == (1U << DRAM_FIELDS) - 1;
}

static int size_of_field(const dram_options *o, dram_field field)
{
    const int sizes[DRAM_FIELDS] = {
        [DRAM_ROW] = o->rows,   [DRAM_RANK] = o->ranks,       [DRAM_GROUP] = o->groups,
        [DRAM_BANK] = o->banks, [DRAM_CHANNEL] = o->channels, [DRAM_COLUMN] = o->columns,
    };

    return sizes[field];
}

static void lay_out(dram *d)
{
    int shift = __builtin_ctz(DRAM_REQUEST_BYTES);

    for (int i = DRAM_FIELDS - 1; i >= 0; i--) {
        d->shifts[d->options.order[i]] = shift;
        shift += __builtin_ctz((unsigned)size_of_field(&d->options, d->options.order[i]));
    }
    for (int i = 0; i < DRAM_BUCKETS; i++) {
        d->buckets[i] = DRAM_NOBODY;
    }
    for (int c = 0; c < d->options.channels; c++) {
        d->channels[c].turn = d->all_banks - 1;
        for (int b = 0; b < d->all_banks; b++) {
            d->channels[c].banks[b].row = DRAM_NOBODY;
        }
    }
}

spry_status dram_create(const spry_allocator *allocator, const dram_options *options,
                        const dram_events *events, dram **made, spry_error *error)
{
    spry_allocator use = alloc_resolve(allocator);
    dram *d;

    *made = NULL;
    if (!sizes_hold(options) || !times_hold(options) || !order_holds(options)) {
        return spry_fail(
            error, SPRY_USAGE, "dram",
            "channels, ranks, groups, banks, rows and columns are powers of two, "
            "times at least 1 cycle, and the order of the address names each part once",
            "such a memory cannot be");
    }
    d = alloc_zeroed(&use, sizeof *d);
    if (d == NULL) {
        return alloc_failed(error, sizeof *d);
    }
    d->allocator = use;
    d->options = *options;
    d->events = *events;
    d->free_request = DRAM_NOBODY;
    d->rank_banks = options->groups * options->banks;
    d->all_banks = options->ranks * d->rank_banks;
    d->channels = alloc_array(&use, (size_t)options->channels, sizeof *d->channels);
    if (d->channels == NULL) {
        dram_destroy(d);
        return alloc_failed(error, (size_t)options->channels * sizeof *d->channels);
    }
    lay_out(d);
    *made = d;
    return SPRY_OK;
}

void dram_destroy(dram *d)
{
    spry_allocator allocator;

    if (d == NULL) {
        return;
    }
    allocator = d->allocator;
    for (int c = 0; d->channels != NULL && c < d->options.channels; c++) {
        dram_channel *ch = &d->channels[c];

        alloc_release(&allocator, ch->read_returns.items,
                      ch->read_returns.capacity * sizeof(dram_return));
        alloc_release(&allocator, ch->soon.items, ch->soon.capacity * sizeof(dram_return));
    }
    alloc_release(&allocator, d->channels, (size_t)d->options.channels * sizeof *d->channels);
    alloc_release(&allocator, d->requests, d->request_capacity * sizeof *d->requests);
    alloc_release(&allocator, d, sizeof *d);
}

static int part(const dram *d, uint64_t address, dram_field field)
{
    return (int)(address >> d->shifts[field] & (uint64_t)(size_of_field(&d->options, field) - 1));
}

static uint64_t block_of(uint64_t address)
{
    return address / DRAM_REQUEST_BYTES;
}

/* Fibonacci hashing: the top bits of a product, ten for DRAM_BUCKETS. */
static size_t bucket_of(uint64_t block)
{
    return (size_t)((block * 0x9e3779b97f4a7c15U) >> 54);
}

int32_t dram_find(const dram *d, uint64_t block, bool is_write)
{
    int32_t r = d->buckets[bucket_of(block)];

    while (r != DRAM_NOBODY &&
           (d->requests[r].address != block || d->requests[r].is_write != is_write)) {
        r = d->requests[r].next;
    }
    return r;
}

void dram_forget(dram *d, int32_t request)
{
    int32_t *link = &d->buckets[bucket_of(d->requests[request].address)];

    while (*link != request) {
        link = &d->requests[*link].next;
    }
    *link = d->requests[request].next;
    while (request != DRAM_NOBODY) {
        int32_t again = d->requests[request].again;

        d->requests[request].next = d->free_request;
        d->free_request = request;
        request = again;
    }
}

static spry_status take_request(dram *d, int32_t *taken, spry_error *error)
{
    void *requests = d->requests;
    spry_status status;

    if (d->free_request != DRAM_NOBODY) {
        *taken = d->free_request;
        d->free_request = d->requests[*taken].next;
        return SPRY_OK;
    }
    status = alloc_grow(&d->allocator, &requests, &d->request_capacity,
                        (size_t)d->request_count + 1, sizeof *d->requests, REQUESTS_MOST, error);
    d->requests = requests;
    if (status == SPRY_OK) {
        *taken = d->request_count++;
    }
    return status;
}

/* Room for `needed` in a ring whose capacity is a power of two; they grow one by one. */
static spry_status grow_returns(dram *d, dram_returns *r, size_t needed, spry_error *error)
{
    size_t capacity = r->capacity > 0 ? 2 * r->capacity : 64;
    dram_return *items;

    if (needed <= r->capacity) {
        return SPRY_OK;
    }
    items = capacity <= REQUESTS_MOST ? alloc_array(&d->allocator, capacity, sizeof *items) : NULL;
    if (items == NULL) {
        return alloc_failed(error, capacity * sizeof *items);
    }
    for (size_t i = 0; i < r->count; i++) {
        items[i] = r->items[(r->first + i) % r->capacity];
    }
    alloc_release(&d->allocator, r->items, r->capacity * sizeof *r->items);
    r->items = items;
    r->capacity = capacity;
    r->first = 0;
    return SPRY_OK;
}

void dram_return_at(dram *d, dram_returns *r, uint64_t cycle, uint64_t tag, bool is_write)
{
    (void)d;
    r->items[(r->first + r->count++) & (r->capacity - 1)] = (dram_return){cycle, tag, is_write};
}

static dram_queue *queue_of(const dram *d, uint64_t address, bool is_write)
{
    dram_channel *c = &d->channels[part(d, address, DRAM_CHANNEL)];

    return is_write ? &c->writes : &c->reads;
}

bool dram_accepts(const dram *d, uint64_t address, bool is_write)
{
    return queue_of(d, address, is_write)->count < DRAM_QUEUE;
}

static dram_place place_of(const dram *d, uint64_t address, int32_t request, bool is_write)
{
    int rank = part(d, address, DRAM_RANK);
    int bank = (rank * d->options.groups + part(d, address, DRAM_GROUP)) * d->options.banks +
               part(d, address, DRAM_BANK);

    return (dram_place){.request = request,
                        .row = part(d, address, DRAM_ROW),
                        .column = (int16_t)part(d, address, DRAM_COLUMN),
                        .rank = (int8_t)rank,
                        .bank = (int8_t)bank,
                        .is_write = is_write};
}

static void queue_request(dram *d, uint64_t address, bool is_write, uint64_t tag, int32_t made)
{
    uint64_t block = block_of(address);
    dram_queue *q = queue_of(d, address, is_write);
    int32_t *bucket = &d->buckets[bucket_of(block)];

    d->requests[made] = (dram_pending){
        .address = block, .tag = tag, .next = *bucket, .again = DRAM_NOBODY, .is_write = is_write};
    *bucket = made;
    q->items[q->count++] = place_of(d, address, made, is_write);
}

static void hang_on(dram *d, int32_t first, uint64_t tag, int32_t made)
{
    d->requests[made] = (dram_pending){.tag = tag, .next = DRAM_NOBODY, .again = DRAM_NOBODY};
    while (d->requests[first].again != DRAM_NOBODY) {
        first = d->requests[first].again;
    }
    d->requests[first].again = made;
}

spry_status dram_request(dram *d, uint64_t address, bool is_write, uint64_t tag, spry_error *error)
{
    dram_channel *c = &d->channels[part(d, address, DRAM_CHANNEL)];
    bool written = dram_find(d, block_of(address), true) != DRAM_NOBODY;
    int32_t first = DRAM_NOBODY;
    int32_t made = DRAM_NOBODY;
    spry_status status = grow_returns(d, &c->soon, c->soon.count + 1, error);

    if (status == SPRY_OK) {
        /* All reads under way may wait there in the end. */
        status = grow_returns(d, &c->read_returns, c->reads_underway + 1, error);
    }
    if (status == SPRY_OK && !written) {
        status = take_request(d, &made, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    d->underway++;
    if (is_write || written) {
        dram_return_at(d, &c->soon, d->cycle + 1, tag, is_write);
    }
    if (written) {
        return SPRY_OK; /* a write takes the place of the one that waits; a read finds its data */
    }
    c->reads_underway += !is_write;
    first = is_write ? DRAM_NOBODY : dram_find(d, block_of(address), false);
    if (first != DRAM_NOBODY) {
        hang_on(d, first, tag, made);
    } else {
        queue_request(d, address, is_write, tag, made);
    }
    return SPRY_OK;
}

static size_t give_back(dram *d, dram_returns *r)
{
    size_t count = r->count;

    while (r->count > 0 && r->items[r->first].cycle <= d->cycle) {
        dram_return done = r->items[r->first];

        r->first = (r->first + 1) & (r->capacity - 1);
        r->count--;
        d->underway--;
        d->counts.reads += !done.is_write;
        d->counts.writes += done.is_write;
        if (d->events.done != NULL) {
            d->events.done(d->events.context, done.tag, done.is_write, d->cycle);
        }
    }
    return count - r->count;
}

void dram_tick(dram *d)
{
    for (int c = 0; c < d->options.channels; c++) {
        d->channels[c].reads_underway -= give_back(d, &d->channels[c].read_returns);
        (void)give_back(d, &d->channels[c].soon);
    }
    for (int c = 0; c < d->options.channels; c++) {
        dram_channel_tick(d, c);
    }
    d->cycle++;
}

uint64_t dram_cycle(const dram *d)
{
    return d->cycle;
}

uint64_t dram_skip(dram *d, uint64_t most)
{
    uint64_t skipped = most;

    for (int c = 0; c < d->options.channels && skipped > 0; c++) {
        uint64_t wait = dram_channel_next(d, c) - d->cycle;

        skipped = wait < skipped ? wait : skipped;
    }
    for (int c = 0; c < d->options.channels; c++) {
        for (int r = 0; r < d->options.ranks; r++) {
            d->counts.active_cycles += d->channels[c].ranks[r].open > 0 ? skipped : 0;
        }
    }
    d->cycle += skipped;
    return skipped;
}

uint64_t dram_underway(const dram *d)
{
    return d->underway;
}

const dram_counts *dram_count(const dram *d)
{
    return &d->counts;
}

double dram_peak_bandwidth(const dram_options *options)
{
    return (double)options->channels * DRAM_REQUEST_BYTES /
           ((double)options->burst * (double)options->period * 1e-15);
}
