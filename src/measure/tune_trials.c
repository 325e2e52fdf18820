#include "measure/tune_trials.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

enum { LEAST_RUNS = 3, MOST_RUNS = 25, LEAST_ROUNDS = 3, MOST_ROUNDS = 400, MOST_TIMED = 1 << 20 };

void tune_trials_init(tune_trials *t, arena *memory)
{
    *t = (tune_trials){.memory = memory, .allocator = *spry_allocator_system(), .slice = 0.25};
}

void tune_trials_fini(tune_trials *t)
{
    alloc_release(&t->allocator, t->timed, t->timed_capacity * sizeof *t->timed);
    t->timed = NULL;
}

const tune_timed *tune_trials_find(const tune_trials *t, int32_t first, int32_t last, int32_t team)
{
    for (size_t i = 0; i < t->timed_count; i++) {
        const tune_timed *e = &t->timed[i];

        if (e->first == first && e->last == last && (e->team == team || e->is_refused)) {
            return e;
        }
    }
    return NULL;
}

static spry_status note(tune_trials *t, tune_timed made, spry_error *error)
{
    spry_status status;

    for (size_t i = 0; i < t->timed_count; i++) {
        tune_timed *e = &t->timed[i];

        if (e->first == made.first && e->last == made.last && e->team == made.team) {
            *e = made.is_refused || made.seconds < e->seconds ? made : *e;
            return SPRY_OK;
        }
    }
    status = alloc_grow(&t->allocator, (void **)&t->timed, &t->timed_capacity, t->timed_count + 1,
                        sizeof *t->timed, MOST_TIMED, error);
    if (status == SPRY_OK) {
        t->timed[t->timed_count++] = made;
    }
    return status;
}

/* ---- blocks ---- */

spry_status tune_trials_blocks(const tune_trials *t, const partition *p, const int32_t *strips,
                               spry_blocks *blocks, spry_error *error)
{
    spry_block *made = arena_array(t->memory, (size_t)p->count + 1, sizeof *made);
    const char **names = arena_array(t->memory, (size_t)t->count + 1, sizeof *names);

    if (made == NULL || names == NULL) {
        return alloc_failed(error, (size_t)t->count * sizeof *names);
    }
    *blocks = (spry_blocks){made, 0};
    for (int32_t i = 0; i < t->count; i++) {
        names[i] = t->layers[i].name;
    }
    for (int32_t i = 0; i < p->count; i++) {
        const partition_block *b = &p->blocks[i];

        if (b->first < b->last || b->team != t->options.threads) {
            made[blocks->count++] =
                (spry_block){names + b->first, b->last - b->first + 1, b->team,
                             strips != NULL && b->first < b->last ? strips[i] : 0, 0};
        }
    }
    return SPRY_OK;
}

/* ---- runs ---- */

static spry_status run_once(const tune_trials *t, spry_session *session, double *seconds,
                            spry_error *error)
{
    int32_t count = spry_feed_output_count(t->feed);
    spry_value **outputs = alloc_array(&t->allocator, (size_t)count + 1, sizeof(spry_value *));
    int64_t start = clock_ns();
    spry_status status;

    if (outputs == NULL) {
        return alloc_failed(error, (size_t)count * sizeof(spry_value *));
    }
    status = spry_feed_run(t->feed, session, count, outputs, error);
    *seconds = 1e-9 * (double)(clock_ns() - start);
    for (int32_t i = 0; i < count; i++) {
        spry_value_destroy(outputs[i]);
    }
    alloc_release(&t->allocator, outputs, ((size_t)count + 1) * sizeof(spry_value *));
    return status;
}

/* The least time of each block so far, from the rows of one run. */
static void read_rows(const tune_trials *t, const partition *p, spry_session *session,
                      double *least)
{
    const spry_profile_row *rows;
    int32_t count = spry_session_profile(session, &rows);
    int32_t next = 0;

    for (int32_t i = 0; i < p->count; i++) {
        const char *name = t->layers[p->blocks[i].last].name;

        for (int32_t k = 0; k < count; k++) { /* mostly the row behind the last one's */
            const spry_profile_row *r = &rows[(next + k) % count];

            if (strcmp(r->result, name) == 0) {
                if (r->calls > 0) {
                    least[i] = fmin(least[i], 1e-3 * r->milliseconds / (double)r->calls);
                }
                next = (next + k + 1) % count;
                break;
            }
        }
    }
}

static spry_status time_blocks(const tune_trials *t, const partition *p, const int32_t *strips,
                               double *least, double *whole, spry_error *error)
{
    spry_session_options options = t->options;
    spry_session *session = NULL;
    spry_blocks blocks;
    double seconds;
    int64_t start;
    spry_status status = tune_trials_blocks(t, p, strips, &blocks, error);

    options.profile = true;
    options.blocks = &blocks;
    *whole = HUGE_VAL;
    if (status == SPRY_OK) {
        status = spry_session_create(t->model, &options, &session, error);
    }
    if (status == SPRY_OK) {
        status = run_once(t, session, &seconds, error); /* plans and packs */
    }
    start = clock_ns();
    for (int run = 0; status == SPRY_OK && run < MOST_RUNS &&
                      (run < LEAST_RUNS || 1e-9 * (double)(clock_ns() - start) < t->slice);
         run++) {
        spry_session_profile_reset(session);
        status = run_once(t, session, &seconds, error);
        if (status == SPRY_OK) {
            *whole = fmin(*whole, seconds);
            read_rows(t, p, session, least);
        }
    }
    spry_session_destroy(session);
    return status;
}

/* The block with a layer of that name; -1: none of several layers. */
static int32_t block_with(const tune_trials *t, const partition *p, const char *name)
{
    for (int32_t i = 0; i < p->count; i++) {
        for (int32_t k = p->blocks[i].first; k <= p->blocks[i].last; k++) {
            if (strcmp(t->layers[k].name, name) == 0) {
                return p->blocks[i].first < p->blocks[i].last ? i : -1;
            }
        }
    }
    return -1;
}

/* Block `i` becomes its layers. */
static spry_status take_apart(tune_trials *t, partition *p, int32_t i, spry_error *error)
{
    partition_block whole = p->blocks[i];
    int32_t more = whole.last - whole.first;

    memmove(&p->blocks[i + 1 + more], &p->blocks[i + 1],
            (size_t)(p->count - i - 1) * sizeof *p->blocks);
    for (int32_t k = 0; k <= more; k++) {
        p->blocks[i + k] =
            (partition_block){whole.first + k, whole.first + k, t->options.threads, 0};
    }
    p->count += more;
    return note(t, (tune_timed){whole.first, whole.last, whole.team, 0, HUGE_VAL, true}, error);
}

spry_status tune_trials_run(tune_trials *t, const partition *from, const int32_t *strips,
                            double *seconds, spry_error *error)
{
    size_t room = (size_t)t->count + 1;
    double *least = arena_array(t->memory, room, sizeof *least);
    partition p = {.blocks = arena_array(t->memory, room, sizeof *p.blocks), .count = from->count};
    spry_error refusal = {0};
    double whole;
    spry_status status;

    if (least == NULL || p.blocks == NULL) {
        return alloc_failed(error, room * (sizeof *least + sizeof *p.blocks));
    }
    memcpy(p.blocks, from->blocks, (size_t)from->count * sizeof *p.blocks);
    for (;;) {
        int32_t refused;

        for (int32_t i = 0; i < t->count; i++) {
            least[i] = HUGE_VAL;
        }
        status = time_blocks(t, &p, strips, least, &whole, &refusal);
        refused = status == SPRY_USAGE ? block_with(t, &p, refusal.where) : -1;
        if (refused < 0) {
            break;
        }
        strips = NULL; /* they no longer stand beside their blocks */
        status = take_apart(t, &p, refused, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    if (status != SPRY_OK) {
        if (error != NULL) {
            *error = refusal;
        }
        return status;
    }
    for (int32_t i = 0; status == SPRY_OK && i < p.count; i++) {
        const partition_block *b = &p.blocks[i];

        if (isfinite(least[i])) {
            int32_t strip = strips != NULL && b->first < b->last ? strips[i] : 0;

            status =
                note(t, (tune_timed){b->first, b->last, b->team, strip, least[i], false}, error);
        }
    }
    t->tried++;
    if (seconds != NULL) {
        *seconds = whole;
    }
    return status;
}

/* ---- side by side ---- */

spry_status tune_trials_compare(const tune_trials *t, int count, const spry_blocks *const *blocks,
                                double seconds, double *least, spry_error *error)
{
    spry_session *sessions[TUNE_CONTESTANTS_MOST] = {NULL};
    spry_status status = SPRY_OK;
    int rounds = 0;
    int64_t start;

    for (int i = 0; i < count && status == SPRY_OK; i++) {
        spry_session_options options = t->options;
        double ignored;

        least[i] = HUGE_VAL;
        options.blocks = blocks[i];
        status = spry_session_create(t->model, &options, &sessions[i], error);
        for (int k = 0; k < 2 && status == SPRY_OK; k++) { /* the second warms up */
            status = run_once(t, sessions[i], &ignored, error);
        }
    }
    start = clock_ns();
    while (status == SPRY_OK && rounds < MOST_ROUNDS &&
           (rounds < LEAST_ROUNDS || 1e-9 * (double)(clock_ns() - start) < seconds)) {
        for (int i = 0; i < count && status == SPRY_OK; i++) {
            int turn = rounds % 2 == 0 ? i : count - 1 - i; /* nobody is always first */
            double taken = HUGE_VAL;

            status = run_once(t, sessions[turn], &taken, error);
            least[turn] = fmin(least[turn], taken);
        }
        rounds++;
    }
    for (int i = 0; i < count; i++) {
        spry_session_destroy(sessions[i]);
    }
    return status;
}
