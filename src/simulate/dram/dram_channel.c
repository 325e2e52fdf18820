#include <string.h>

#include "simulate/dram/dram_state.h"

static int greater(int a, int b)
{
    return a > b ? a : b;
}

static void not_earlier(dram_times *t, dram_command command, uint64_t cycle)
{
    if (cycle > t->next[command]) {
        t->next[command] = cycle;
    }
}

static int rank_of(const dram *d, int bank)
{
    return bank / d->rank_banks;
}

static int group_of(const dram *d, int bank)
{
    return bank / d->options.banks;
}

/* When `command` to `bank` becomes possible, by all that was issued so far. */
static uint64_t earliest(const dram *d, const dram_channel *c, int bank, dram_command command)
{
    const dram_rank *rank = &c->ranks[rank_of(d, bank)];
    uint64_t cycle = c->banks[bank].times.next[command];
    uint64_t group = c->groups[group_of(d, bank)].next[command];

    cycle = group > cycle ? group : cycle;
    cycle = rank->times.next[command] > cycle ? rank->times.next[command] : cycle;
    if (command == DRAM_ACTIVATE && rank->activations[rank->oldest] > cycle) {
        cycle = rank->activations[rank->oldest];
    }
    return cycle;
}

/* What the bank needs next for a request to `row`. */
static dram_command required(const dram_bank *bank, int32_t row, bool is_write)
{
    if (bank->row == DRAM_NOBODY) {
        return DRAM_ACTIVATE;
    }
    if (bank->row != row) {
        return DRAM_PRECHARGE;
    }
    return is_write ? DRAM_WRITE : DRAM_READ;
}

/* A page may be closed for the bank's oldest request only, and not while others hit it, unless
 * enough have. */
static bool may_close(const dram_bank *bank, int index)
{
    if (index > 0) {
        return false;
    }
    for (int i = 0; i < bank->count && bank->hits < DRAM_PAGE_HITS; i++) {
        if (bank->queue[i].row == bank->row) {
            return false;
        }
    }
    return true;
}

/* A write must not overtake an older read of the same place. */
static bool may_write(const dram_bank *bank, int index)
{
    const dram_place *write = &bank->queue[index];

    for (int i = 0; i < index; i++) {
        const dram_place *other = &bank->queue[i];

        if (!other->is_write && other->row == write->row && other->column == write->column) {
            return false;
        }
    }
    return true;
}

/* The index of the first request of a bank that can be served in this cycle, and by what command;
 * DRAM_NOBODY when there is none: then not_before says until when. */
static int first_ready(const dram *d, dram_channel *c, int bank, dram_command *command)
{
    const dram_bank *b = &c->banks[bank];
    uint64_t cycles[DRAM_COMMANDS];
    bool known[DRAM_COMMANDS] = {false};
    uint64_t least = DRAM_NEVER;

    for (int i = 0; i < b->count; i++) {
        dram_command need = required(b, b->queue[i].row, b->queue[i].is_write);

        if (!known[need]) {
            cycles[need] = earliest(d, c, bank, need);
            known[need] = true;
        }
        if (cycles[need] > d->cycle) {
            least = cycles[need] < least ? cycles[need] : least;
            continue;
        }
        if ((need == DRAM_PRECHARGE && !may_close(b, i)) ||
            (need == DRAM_WRITE && !may_write(b, i))) {
            continue;
        }
        *command = need;
        return i;
    }
    c->not_before[bank] = least;
    return DRAM_NOBODY;
}

/* What a command forbids for how long. */
static void forbid_after_column(const dram *d, dram_channel *c, int bank, bool is_write)
{
    const dram_options *o = &d->options;
    int rank = rank_of(d, bank);
    int RL = o->AL + o->CL;
    int WL = o->AL + o->CWL;
    int rd = RL + o->burst;
    int wr = WL + o->burst;
    uint64_t now = d->cycle;
    dram_times *group = &c->groups[group_of(d, bank)];
    dram_times *own = &c->ranks[rank].times;
    dram_command same = is_write ? DRAM_WRITE : DRAM_READ;
    uint64_t turn = now + (uint64_t)(is_write ? wr : RL + o->burst - WL + o->tRTRS);

    not_earlier(group, same, now + (uint64_t)greater(o->burst, o->tCCD_L));
    not_earlier(own, same, now + (uint64_t)greater(o->burst, o->tCCD_S));
    if (is_write) {
        not_earlier(&c->banks[bank].times, DRAM_PRECHARGE, now + (uint64_t)(wr + o->tWR));
        not_earlier(group, DRAM_READ, turn + (uint64_t)o->tWTR_L);
        not_earlier(own, DRAM_READ, turn + (uint64_t)o->tWTR_S);
    } else {
        not_earlier(&c->banks[bank].times, DRAM_PRECHARGE, now + (uint64_t)(o->AL + o->tRTP));
        not_earlier(own, DRAM_WRITE, turn);
    }
    for (int r = 0; r < o->ranks; r++) {
        dram_times *other = &c->ranks[r].times;

        if (r == rank) {
            continue;
        }
        not_earlier(other, DRAM_READ,
                    now + (uint64_t)greater(0, is_write ? wr + o->burst + o->tRTRS - rd
                                                        : o->burst + o->tRTRS));
        not_earlier(other, DRAM_WRITE,
                    now +
                        (uint64_t)greater(0, is_write ? o->burst : rd + o->burst + o->tRTRS - wr));
    }
}

static void forbid_after_activation(const dram *d, dram_channel *c, int bank)
{
    const dram_options *o = &d->options;
    dram_rank *rank = &c->ranks[rank_of(d, bank)];
    dram_times *times = &c->banks[bank].times;
    uint64_t now = d->cycle;

    not_earlier(times, DRAM_ACTIVATE, now + (uint64_t)(o->tRAS + o->tRP));
    not_earlier(times, DRAM_REFRESH, now + (uint64_t)(o->tRAS + o->tRP));
    not_earlier(times, DRAM_PRECHARGE, now + (uint64_t)o->tRAS);
    not_earlier(times, DRAM_READ, now + (uint64_t)(o->tRCDRD - o->AL));
    not_earlier(times, DRAM_WRITE, now + (uint64_t)(o->tRCDWR - o->AL));
    not_earlier(&c->groups[group_of(d, bank)], DRAM_ACTIVATE, now + (uint64_t)o->tRRD_L);
    not_earlier(&rank->times, DRAM_ACTIVATE, now + (uint64_t)o->tRRD_S);
    rank->activations[rank->oldest] = now + (uint64_t)o->tFAW;
    rank->oldest = (rank->oldest + 1) % DRAM_ACTIVATIONS;
}

static void report(const dram *d, int channel, int bank, dram_command command, int row, int column)
{
    if (d->events.issued != NULL) {
        int within = bank % d->rank_banks;

        d->events.issued(d->events.context,
                         &(dram_issue){d->cycle, command, channel, rank_of(d, bank),
                                       within / d->options.banks, within % d->options.banks, row,
                                       column});
    }
}

/* A command to one bank. */
static void issue(dram *d, int channel, int bank, dram_command command, int row, int column)
{
    dram_channel *c = &d->channels[channel];
    dram_bank *b = &c->banks[bank];
    dram_rank *rank = &c->ranks[rank_of(d, bank)];

    d->counts.commands[command]++;
    report(d, channel, bank, command, row, column);
    switch (command) {
    case DRAM_ACTIVATE:
        b->row = row;
        b->hits = 0;
        rank->open++;
        forbid_after_activation(d, c, bank);
        break;
    case DRAM_PRECHARGE:
        b->row = DRAM_NOBODY;
        b->hits = 0;
        rank->open--;
        not_earlier(&b->times, DRAM_ACTIVATE, d->cycle + (uint64_t)d->options.tRP);
        not_earlier(&b->times, DRAM_REFRESH, d->cycle + (uint64_t)d->options.tRP);
        break;
    default:
        b->hits++;
        d->counts.busy_cycles += (uint64_t)d->options.burst;
        forbid_after_column(d, c, bank, command == DRAM_WRITE);
        break;
    }
    c->not_before[bank] = 0;
    c->wake = 0;
}

static void complete(dram *d, dram_channel *c, const dram_place *place)
{
    uint64_t cycle = d->cycle + (uint64_t)(d->options.AL + d->options.CL + d->options.burst);

    for (int32_t r = place->request; r != DRAM_NOBODY && !place->is_write;
         r = d->requests[r].again) {
        dram_return_at(d, &c->read_returns, cycle, d->requests[r].tag, false);
    }
    dram_forget(d, place->request);
}

/* Looks for a command, going round the banks from the one after the last, and takes it out of its
 * bank's queue if it serves a request. False when there is none. */
typedef struct choice {
    int bank;
    dram_command command;
    dram_place place;
} choice;

static bool choose(dram *d, dram_channel *c, choice *chosen)
{
    uint64_t least = DRAM_NEVER;
    int refreshed = c->refreshing ? c->refreshes[c->refresh_first] : DRAM_NOBODY;

    if (d->cycle < c->wake) {
        return false;
    }
    for (int i = 1; i <= d->all_banks; i++) {
        int bank = (c->turn + i) % d->all_banks;
        dram_bank *b = &c->banks[bank];
        int index;

        if (b->count == 0 || rank_of(d, bank) == refreshed) {
            continue;
        }
        if (c->not_before[bank] <= d->cycle) {
            index = first_ready(d, c, bank, &chosen->command);
            if (index != DRAM_NOBODY) {
                chosen->bank = bank;
                chosen->place = b->queue[index];
                c->turn = bank;
                return true;
            }
        }
        least = c->not_before[bank] < least ? c->not_before[bank] : least;
    }
    c->wake = least;
    return false;
}

static void serve(dram *d, int channel, const choice *chosen)
{
    dram_channel *c = &d->channels[channel];
    dram_bank *b = &c->banks[chosen->bank];

    issue(d, channel, chosen->bank, chosen->command, chosen->place.row, chosen->place.column);
    if (chosen->command != DRAM_READ && chosen->command != DRAM_WRITE) {
        return;
    }
    for (int i = 0; i < b->count; i++) {
        if (b->queue[i].request == chosen->place.request) {
            memmove(&b->queue[i], &b->queue[i + 1], (size_t)(b->count - i - 1) * sizeof *b->queue);
            break;
        }
    }
    b->count--;
    c->queued--;
    complete(d, c, &chosen->place);
}

static bool is_column(dram_command command)
{
    return command == DRAM_READ || command == DRAM_WRITE;
}

/* The rank that waits for refresh: its open pages are closed, one a cycle, then it is refreshed.
 * True when a command was issued. */
static bool refresh(dram *d, int channel)
{
    dram_channel *c = &d->channels[channel];
    int rank = c->refreshes[c->refresh_first];
    int ready = 0;
    int first = rank * d->rank_banks;

    c->refreshing = true;
    for (int bank = first; bank < first + d->rank_banks; bank++) {
        bool open = c->banks[bank].row != DRAM_NOBODY;

        if (earliest(d, c, bank, open ? DRAM_PRECHARGE : DRAM_REFRESH) > d->cycle) {
            continue;
        }
        if (open) {
            issue(d, channel, bank, DRAM_PRECHARGE, 0, 0);
            return true;
        }
        ready++;
    }
    if (ready < d->rank_banks) {
        return false;
    }
    d->counts.commands[DRAM_REFRESH]++;
    report(d, channel, first, DRAM_REFRESH, 0, 0);
    not_earlier(&c->ranks[rank].times, DRAM_ACTIVATE, d->cycle + (uint64_t)d->options.tRFC);
    not_earlier(&c->ranks[rank].times, DRAM_REFRESH, d->cycle + (uint64_t)d->options.tREFI);
    c->refresh_first = (c->refresh_first + 1) % (DRAM_RANKS_MOST * 2);
    c->refresh_count--;
    c->refreshing = false;
    c->wake = 0;
    return true;
}

/* Moves a request from the channel's queues to its bank's. */
static void hand_over(dram *d, dram_channel *c)
{
    dram_queue *q;

    if (c->draining == 0 &&
        (c->writes.count == DRAM_QUEUE || (c->writes.count > DRAM_DRAIN_FROM && c->queued == 0))) {
        c->draining = c->writes.count;
    }
    q = c->draining > 0 ? &c->writes : &c->reads;
    for (int i = 0; i < q->count; i++) {
        dram_place place = q->items[i];
        dram_bank *b = &c->banks[place.bank];

        if (b->count == DRAM_BANK_QUEUE) {
            continue;
        }
        if (place.is_write) {
            if (dram_find(d, d->requests[place.request].address, false) != DRAM_NOBODY) {
                c->draining = 0; /* an older read goes first */
                return;
            }
            c->draining--;
        }
        b->queue[b->count++] = place;
        c->queued++;
        c->not_before[place.bank] = 0;
        c->wake = 0;
        memmove(&q->items[i], &q->items[i + 1], (size_t)(q->count - i - 1) * sizeof *q->items);
        q->count--;
        return;
    }
}

static void ask_for_refresh(const dram *d, dram_channel *c)
{
    uint64_t interval = (uint64_t)(d->options.tREFI / d->options.ranks);

    if (d->cycle == 0 || d->cycle % interval != 0 || c->refresh_count == DRAM_RANKS_MOST * 2) {
        return;
    }
    c->refreshes[(c->refresh_first + c->refresh_count++) % (DRAM_RANKS_MOST * 2)] = c->refresh_next;
    c->refresh_next = (c->refresh_next + 1) % d->options.ranks;
}

void dram_channel_tick(dram *d, int channel)
{
    dram_channel *c = &d->channels[channel];
    choice first;
    choice second;

    ask_for_refresh(d, c);
    if (c->refresh_count > 0 && refresh(d, channel)) {
        first.command = DRAM_PRECHARGE;
    } else if (choose(d, c, &first)) {
        serve(d, channel, &first);
    } else {
        first.command = DRAM_COMMANDS;
    }
    if (d->options.two_commands && first.command != DRAM_COMMANDS && choose(d, c, &second) &&
        is_column(first.command) != is_column(second.command)) {
        serve(d, channel, &second);
    }
    for (int r = 0; r < d->options.ranks; r++) {
        d->counts.active_cycles += c->ranks[r].open > 0;
    }
    hand_over(d, c);
}

uint64_t dram_channel_next(const dram *d, int channel)
{
    const dram_channel *c = &d->channels[channel];
    uint64_t interval = (uint64_t)(d->options.tREFI / d->options.ranks);
    uint64_t next = (d->cycle + interval - 1) / interval * interval;

    if (c->refresh_count > 0 || c->reads.count > 0 || c->draining > 0 ||
        c->writes.count > DRAM_DRAIN_FROM) {
        return d->cycle;
    }
    next = next == 0 ? interval : next;
    next = c->queued > 0 && c->wake < next ? c->wake : next;
    if (c->read_returns.count > 0 && c->read_returns.items[c->read_returns.first].cycle < next) {
        next = c->read_returns.items[c->read_returns.first].cycle;
    }
    if (c->soon.count > 0 && c->soon.items[c->soon.first].cycle < next) {
        next = c->soon.items[c->soon.first].cycle;
    }
    return next > d->cycle ? next : d->cycle;
}
