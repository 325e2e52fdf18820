/* Thread teams. All talk between a caller and one member goes through that member's state word:
 *
 *      IDLE <-> PARKED                 the member spins, then sleeps on the word
 *        \        |
 *         -> POSTED -> IDLE            the caller offers a loop; takes it back when nobody started
 *              |
 *           RUNNING -> IDLE            the member works on the loop
 *              |         ^
 *           AWAITED -----'             as RUNNING, and the caller sleeps until it ends
 *
 * Taking an offer back is what makes tiny loops cheap: a caller that has done all the work alone
 * does not wait for a sleeping member to wake up. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/affinity.h"
#include "base/alloc.h"
#include "base/cgroup.h"
#include "base/clock.h"

enum { STATE_IDLE, STATE_PARKED, STATE_POSTED, STATE_RUNNING, STATE_AWAITED, STATE_EXIT };

enum {
    THREADS_MOST = 1024,
    SPIN_STEP_NS = 500,
    /* Above the gap between two loops, and between two runs of one caller: a member that sleeps
     * there is woken on the caller's own CPU and shares it for milliseconds. */
    SPIN_LEAST_NS = 100000,
    SPIN_MOST_NS = 300000,     /* below what a user notices */
    SPIN_ENGAGED_NS = 2000000, /* above the longest operator that runs alone in most networks */
    CPU_UNKNOWN = -2           /* no thread is there */
};

/* The words of two members must not share a cache line. */
typedef struct threads_member {
    _Alignas(64) _Atomic(uint32_t) state;
    int worker;
    threads *team;
    bool spins;
    _Atomic(int) number;         /* affinity_thread of the thread; 0 until it runs */
    _Atomic(int) cpu;            /* where it was lately; CPU_UNKNOWN since it was woken or moved */
    _Atomic(bool) engaged;       /* loops follow each other closely: waits awake */
    struct threads_member *next; /* while on its way back to the parent team */
    pthread_t thread;
} threads_member;

/* A worker's share of a loop: neighbouring pieces, the same ones in loops of one size, so that what
 * one operator leaves in a core's cache is there for the next. */
typedef struct threads_share {
    _Alignas(64) _Atomic(int64_t) next;
    int64_t end;
} threads_share;

struct threads {
    spry_allocator allocator;
    int capacity; /* threads_count: the most members, the caller included */
    int span;     /* members now here, the caller included; fewer while some are lent */
    int limit;    /* of threads_limit; 0: none */
    int helpers;  /* used entries of `members`; the first span - 1 take part in loops */
    int room;     /* entries allocated */
    bool spins;
    threads_member **members;
    threads_member *owned; /* the threads themselves: only in a team from threads_create */
    threads *parent;       /* only in a team from threads_split */
    _Atomic(threads_member *) returned; /* given back by sub-teams, not yet taken in */

    /* The loop that is running. */
    threads_body body;
    void *context;
    int64_t count;
    int64_t grain;
    int share_count;
    threads_share *shares; /* [room] */
};

/* Whose body this thread is in: such a thread runs further loops alone. */
static _Thread_local struct {
    const threads *team;
    int worker;
} inside;

static threads single_team = {.capacity = 1, .span = 1};

static void futex_wait(_Atomic(uint32_t) *word, uint32_t value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic(uint32_t) *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Spins while the word holds `value`, for at most `budget_ns`; true when it has changed. */
static bool spin_while(_Atomic(uint32_t) *word, uint32_t value, int64_t budget_ns)
{
    int64_t end = clock_ns() + budget_ns;

    do {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != value) {
                return true;
            }
            relax();
        }
    } while (clock_ns() < end);
    return false;
}

/* Runs pieces of the team's loop until none is left: its own share, then what others have not begun
 * of theirs. */
static void run_pieces(threads *team, int worker)
{
    inside.team = team;
    inside.worker = worker;
    for (int i = 0; i < team->share_count; i++) {
        threads_share *share = &team->shares[(worker + i) % team->share_count];

        for (;;) {
            int64_t piece = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed);
            int64_t begin;

            if (piece >= share->end) {
                break;
            }
            begin = piece * team->grain;
            team->body(team->context, begin,
                       team->grain < team->count - begin ? begin + team->grain : team->count,
                       worker);
        }
    }
    inside.team = NULL;
}

/* Cuts `pieces` into as many shares as there are workers for them. */
static void cut_shares(threads *team, int64_t pieces)
{
    int most = team->limit > 0 && team->limit < team->span ? team->limit : team->span;
    int count = pieces < most ? (int)pieces : most;
    int64_t begin = 0;

    team->share_count = count;
    for (int i = 0; i < count; i++) {
        int64_t size = pieces / count + (i < pieces % count);

        atomic_store_explicit(&team->shares[i].next, begin, memory_order_relaxed);
        begin += size;
        team->shares[i].end = begin;
    }
}

/* Takes down where the member runs, for its caller to compare. */
static void member_stamp(threads_member *member)
{
    atomic_store_explicit(&member->cpu, affinity_current(), memory_order_relaxed);
}

/* Waits awake for an offer while loops follow each other closely; true when the state changed. */
static bool member_linger(threads_member *member)
{
    int64_t end = clock_ns() + SPIN_ENGAGED_NS;

    while (atomic_load_explicit(&member->engaged, memory_order_relaxed) && clock_ns() < end) {
        member_stamp(member);
        if (spin_while(&member->state, STATE_IDLE, SPIN_STEP_NS)) {
            return true;
        }
    }
    return false;
}

/* Waits for an offer and accepts it. Returns false when the thread shall end. `*budget` adapts:
 * spinning that paid off is repeated for longer, spinning in vain is cut. */
static bool member_accept(threads_member *member, int64_t *budget)
{
    for (;;) {
        uint32_t state = STATE_POSTED;

        member_stamp(member);
        if (atomic_compare_exchange_strong(&member->state, &state, STATE_RUNNING)) {
            return true;
        }
        if (state == STATE_EXIT) {
            return false;
        }
        if (state == STATE_IDLE && member->spins && member_linger(member)) {
            continue;
        }
        if (state == STATE_IDLE && member->spins && spin_while(&member->state, state, *budget)) {
            *budget = *budget * 2 < SPIN_MOST_NS ? *budget * 2 : SPIN_MOST_NS;
            continue;
        }
        if (state == STATE_IDLE &&
            !atomic_compare_exchange_strong(&member->state, &state, STATE_PARKED)) {
            continue;
        }
        *budget = *budget / 2 > SPIN_LEAST_NS ? *budget / 2 : SPIN_LEAST_NS;
        futex_wait(&member->state, STATE_PARKED);
    }
}

static void *member_main(void *argument)
{
    threads_member *member = argument;
    int64_t budget = SPIN_MOST_NS;

    atomic_store(&member->number, affinity_thread());
    while (member_accept(member, &budget)) {
        run_pieces(member->team, member->worker);
        if (atomic_exchange(&member->state, STATE_IDLE) == STATE_AWAITED) {
            futex_wake(&member->state);
        }
    }
    return NULL;
}

/* Wakes a member that sleeps, elsewhere than on its caller's CPU: there it would push the caller
 * aside, and they would take turns of milliseconds. */
static void member_wake(threads_member *member)
{
    int thread = member->spins ? atomic_load(&member->number) : 0;
    affinity_mask before;

    atomic_store_explicit(&member->cpu, CPU_UNKNOWN, memory_order_relaxed);
    if (thread != 0) {
        affinity_exclude(thread, affinity_current(), &before);
    }
    futex_wake(&member->state);
    if (thread != 0) {
        affinity_restore(thread, &before);
    }
}

/* Moves a member that has been pushed aside by its caller on the CPU of both. */
static void member_part(threads_member *member)
{
    int cpu = affinity_current();
    affinity_mask before;

    if (member->spins && atomic_load_explicit(&member->cpu, memory_order_relaxed) == cpu) {
        atomic_store_explicit(&member->cpu, CPU_UNKNOWN, memory_order_relaxed);
        affinity_exclude(atomic_load(&member->number), cpu, &before);
        affinity_restore(atomic_load(&member->number), &before);
    }
}

/* Offers the team's loop, or the end (STATE_EXIT), to a member that is idle. */
static void member_post(threads_member *member, uint32_t state)
{
    if (atomic_exchange(&member->state, state) == STATE_PARKED) {
        member_wake(member);
    }
}

/* Waits awake for the member to end its work; false when that takes long. */
static bool await_member(threads_member *member)
{
    int64_t end = clock_ns() + (atomic_load(&member->engaged) ? SPIN_ENGAGED_NS : SPIN_MOST_NS);

    while (clock_ns() < end) {
        member_part(member);
        if (spin_while(&member->state, STATE_RUNNING, SPIN_STEP_NS)) {
            return true;
        }
    }
    return false;
}

/* Returns when the member no longer works on the loop, taking the offer back if it never began. */
static void member_settle(threads_member *member)
{
    uint32_t state = STATE_POSTED;

    if (atomic_compare_exchange_strong(&member->state, &state, STATE_IDLE)) {
        member_part(member);
        return;
    }
    if (member->spins && await_member(member)) {
        return;
    }
    state = STATE_RUNNING;
    if (!atomic_compare_exchange_strong(&member->state, &state, STATE_AWAITED)) {
        return;
    }
    while (atomic_load(&member->state) == STATE_AWAITED) {
        futex_wait(&member->state, STATE_AWAITED);
    }
}

static void add_member(threads *team, threads_member *member)
{
    member->team = team;
    member->worker = team->helpers + 1;
    team->members[team->helpers++] = member;
}

/* Gives the members from sub-teams that have ended their place again. */
static void take_in_returned(threads *team)
{
    threads_member *member = NULL;

    if (atomic_load_explicit(&team->returned, memory_order_relaxed) != NULL) {
        member = atomic_exchange(&team->returned, NULL);
    }
    while (member != NULL) {
        threads_member *next = member->next;

        add_member(team, member);
        team->span++;
        member = next;
    }
}

/* The whole loop on this thread, which may already be inside a body. */
static void run_alone(const threads *team, int64_t count, int64_t grain, threads_body body,
                      void *context)
{
    const threads *outer_team = inside.team;
    int outer_worker = inside.worker;
    int worker = outer_team == team ? outer_worker : 0;
    int64_t begin = 0;

    inside.team = team;
    inside.worker = worker;
    while (count - begin > grain) {
        body(context, begin, begin + grain, worker);
        begin += grain;
    }
    body(context, begin, count, worker);
    inside.team = outer_team;
    inside.worker = outer_worker;
}

void threads_for(threads *team, int64_t count, int64_t grain, threads_body body, void *context)
{
    if (count <= 0) {
        return;
    }
    grain = grain > 0 ? grain : 1;
    if (inside.team != NULL || threads_count(team) == 1 || count <= grain) {
        run_alone(team, count, grain, body, context);
        return;
    }
    take_in_returned(team);
    team->body = body;
    team->context = context;
    team->count = count;
    team->grain = grain;
    cut_shares(team, count / grain + (count % grain != 0));
    for (int i = 0; i < team->share_count - 1; i++) {
        member_post(team->members[i], STATE_POSTED);
    }
    run_pieces(team, 0);
    for (int i = 0; i < team->share_count - 1; i++) {
        member_settle(team->members[i]);
    }
}

void threads_engage(threads *team)
{
    if (team->capacity > 1) {
        take_in_returned(team);
    }
    for (int i = 0; team->spins && i < team->span - 1; i++) {
        threads_member *member = team->members[i];
        uint32_t state = STATE_PARKED;

        atomic_store(&member->engaged, true);
        if (atomic_compare_exchange_strong(&member->state, &state, STATE_IDLE)) {
            member_wake(member);
        }
        member_part(member);
    }
}

void threads_rest(threads *team)
{
    for (int i = 0; team->spins && i < team->span - 1; i++) {
        atomic_store(&team->members[i]->engaged, false);
    }
}

int threads_available(void)
{
    int cpus = affinity_count();
    int quota = cgroup_cpus();

    return quota > 0 && quota < cpus ? quota : cpus;
}

static void team_release(threads *team)
{
    spry_allocator source = team->allocator;
    size_t room = (size_t)team->room;

    alloc_release(&source, team->owned, room * sizeof *team->owned);
    alloc_release(&source, team->members, room * sizeof(threads_member *));
    alloc_release(&source, team->shares, room * sizeof *team->shares);
    alloc_release(&source, team, sizeof *team);
}

/* A team without members yet, with room for `room` of them. */
static spry_status team_allocate(const spry_allocator *allocator, int room, threads **team,
                                 spry_error *error)
{
    spry_allocator source = alloc_resolve(allocator);
    threads *made = alloc_zeroed(&source, sizeof *made);

    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = source;
    made->room = room;
    made->members = alloc_array(&source, (size_t)room, sizeof(threads_member *));
    made->shares = alloc_array(&source, (size_t)room, sizeof *made->shares);
    if (made->members == NULL || made->shares == NULL) {
        team_release(made);
        return alloc_failed(error, (size_t)room * sizeof *made->shares);
    }
    *team = made;
    return SPRY_OK;
}

/* Starts the members' threads; stops early when the system grants no more. */
static void start_members(threads *team)
{
    sigset_t all;
    sigset_t before;

    /* Signals belong to the program's own threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (team->helpers < team->room - 1) {
        threads_member *member = &team->owned[team->helpers];

        add_member(team, member);
        member->spins = team->spins;
        atomic_init(&member->state, STATE_IDLE);
        atomic_init(&member->cpu, CPU_UNKNOWN);
        if (pthread_create(&member->thread, NULL, member_main, member) != 0) {
            team->helpers--;
            break;
        }
        (void)pthread_setname_np(member->thread, "spry-worker");
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    team->span = team->helpers + 1;
    team->capacity = team->span;
}

spry_status threads_create(const spry_allocator *allocator, int count, threads **team,
                           spry_error *error)
{
    int available = threads_available();
    threads *made = NULL;
    spry_status status;

    *team = NULL;
    if (count < 0 || count > THREADS_MOST) {
        return spry_fail(error, SPRY_USAGE, "threads", "ask for 0 (as many as fit) to 1024",
                         "%d threads are not possible", count);
    }
    if (count == 0) {
        count = available < THREADS_MOST ? available : THREADS_MOST;
    }
    status = team_allocate(allocator, count, &made, error);
    if (status != SPRY_OK) {
        return status;
    }
    made->spins = count <= available;
    made->owned = alloc_array(&made->allocator, (size_t)count, sizeof *made->owned);
    if (made->owned == NULL) {
        team_release(made);
        return alloc_failed(error, (size_t)count * sizeof *made->owned);
    }
    start_members(made);
    *team = made;
    return SPRY_OK;
}

/* Hands the members of a sub-team back; the parent may be running a loop meanwhile. */
static void give_back(threads *team)
{
    for (int i = 0; i < team->helpers; i++) {
        threads_member *member = team->members[i];
        threads_member *head = atomic_load(&team->parent->returned);

        do {
            member->next = head;
        } while (!atomic_compare_exchange_weak(&team->parent->returned, &head, member));
    }
}

void threads_destroy(threads *team)
{
    if (team == NULL || team == &single_team) {
        return;
    }
    take_in_returned(team);
    if (team->parent != NULL) {
        give_back(team);
    } else {
        for (int i = 0; i < team->helpers; i++) {
            member_post(team->members[i], STATE_EXIT);
        }
        for (int i = 0; i < team->helpers; i++) {
            (void)pthread_join(team->members[i]->thread, NULL);
        }
    }
    team_release(team);
}

threads *threads_single(void)
{
    return &single_team;
}

int threads_count(const threads *team)
{
    return team->limit > 0 && team->limit < team->capacity ? team->limit : team->capacity;
}

void threads_limit(threads *team, int most)
{
    if (team != &single_team) {
        team->limit = most > 0 ? most : 0;
    }
}

spry_status threads_split(threads *team, int count, threads **part, spry_error *error)
{
    threads *made = NULL;
    spry_status status;

    *part = NULL;
    if (team->capacity > 1) {
        take_in_returned(team);
    }
    if (count < 1 || count > team->span - 1) {
        return spry_fail(error, SPRY_USAGE, "threads", NULL,
                         "%d of %d threads cannot be lent: one has to stay", count, team->span);
    }
    status = team_allocate(&team->allocator, count, &made, error);
    if (status != SPRY_OK) {
        return status;
    }
    made->parent = team;
    made->spins = team->spins;
    made->span = count;
    made->capacity = count;
    /* The new caller is itself one of `count`, so the last lent member rests: as many threads work
     * as before the split. */
    for (int i = 0; i < count; i++) {
        add_member(made, team->members[--team->helpers]);
    }
    team->span -= count;
    *part = made;
    return SPRY_OK;
}
