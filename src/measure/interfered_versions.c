/* Versions of a model, measured beside an aggressor and chosen while it works. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/progress.h"
#include "base/threads.h"
#include "measure/bench.h"
#include "measure/interfered.h"

enum { LEAST_RUNS = 5, TURNS = 4 };

static const double slack = 1.25;        /* over the target, from which a version is dropped */
static const double times_fastest = 2.0; /* the target where none is given */

typedef struct chooser {
    const spry_model *m;
    const spry_feed *feed;
    const spry_session_options *options;
    double seconds;
    interfered_versions *r;
    spry_session *sessions[VERSIONS_KEPT];
    spry_value **outputs;
} chooser;

/* ---- making versions ---- */

static void list_versions(interfered_versions *r, int most)
{
    for (int written = 0; written < 2; written++) {
        for (int members = 1; r->count < VERSIONS_MOST;
             members = members * 2 < most ? members * 2 : most) {
            interfered_version *v = &r->all[r->count++];

            *v = (interfered_version){.threads = members, .as_written = written == 1};
            (void)snprintf(v->name, sizeof v->name, "%d thread%s%s", members,
                           members == 1 ? "" : "s", written == 1 ? ", nothing fused" : "");
            if (members >= most) {
                break;
            }
        }
    }
}

static spry_status open_version(const chooser *c, const interfered_version *v, bool profile,
                                spry_session **session, spry_error *error)
{
    spry_session_options options = *c->options;

    options.threads = v->threads;
    options.keep_order = v->as_written;
    options.profile = profile;
    return spry_session_create(c->m, &options, session, error);
}

/* Mean of a run. Stalls count: they are what others do to this one. */
static spry_status time_for(const chooser *c, spry_session *session, double seconds, double *ms,
                            spry_error *error)
{
    int64_t begin = clock_ns();
    int64_t now[2] = {begin, begin};
    spry_status status = SPRY_OK;
    int32_t runs = 0;

    while (status == SPRY_OK && (runs < LEAST_RUNS || (double)(now[1] - begin) * 1e-9 < seconds)) {
        status = bench_time_run(c->feed, session, c->outputs, &now[0], &now[1], error);
        runs++;
    }
    *ms = (double)(now[1] - begin) * 1e-6 / runs;
    return status;
}

static spry_status warm_up(const chooser *c, spry_session *session, spry_error *error)
{
    double ignored;

    return time_for(c, session, 0.0, &ignored, error);
}

static spry_status examine(const chooser *c, interfered_version *v, spry_error *error)
{
    const spry_profile_row *rows;
    spry_session *session = NULL;
    spry_status status = open_version(c, v, true, &session, error);
    int32_t count;

    if (status == SPRY_OK) {
        status = warm_up(c, session, error);
    }
    if (status == SPRY_OK) {
        status = time_for(c, session, c->seconds, &v->facts.alone_ms, error);
    }
    if (status == SPRY_OK) {
        count = spry_session_profile(session, &rows);
        for (int32_t i = 0; i < count; i++) {
            v->bytes += (double)rows[i].bytes;
        }
        v->facts.chunks = v->threads;
        v->facts.footprint = v->bytes / v->facts.alone_ms;
    }
    spry_session_destroy(session);
    return status;
}

static spry_status keep_versions(chooser *c, spry_error *error)
{
    interfered_versions *r = c->r;
    version_facts facts[VERSIONS_MOST];
    double fastest = 0.0;

    for (int32_t i = 0; i < r->count; i++) {
        spry_status status = examine(c, &r->all[i], error);

        if (status != SPRY_OK) {
            return status;
        }
        facts[i] = r->all[i].facts;
        fastest = i == 0 || facts[i].alone_ms < fastest ? facts[i].alone_ms : fastest;
    }
    r->target_ms = r->target_ms > 0.0 ? r->target_ms : times_fastest * fastest;
    /* A target that nothing keeps: the fastest will do. */
    r->kept_count =
        versions_keep(facts, r->count, slack * (r->target_ms > fastest ? r->target_ms : fastest),
                      VERSIONS_KEPT, r->kept);
    for (int32_t k = 0; k < r->kept_count; k++) {
        spry_status status;

        r->all[r->kept[k]].is_kept = true;
        status = open_version(c, &r->all[r->kept[k]], false, &c->sessions[k], error);
        if (status == SPRY_OK) {
            status = warm_up(c, c->sessions[k], error);
        }
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

/* ---- times by level ---- */

static spry_status measure_level(const chooser *c, int level, spry_error *error)
{
    interfered_versions *r = c->r;
    aggressor *other = NULL;
    spry_status status = aggressor_start(level, &other, error);

    for (int32_t k = 0; status == SPRY_OK && k < r->kept_count; k++) {
        status = time_for(c, c->sessions[k], c->seconds, &r->all[r->kept[k]].ms[level], error);
    }
    aggressor_stop(other, NULL);
    return status;
}

/* Where no aggressor made a level of slowdown, the next lower one's times stand for it. */
static void fill_table(interfered_versions *r)
{
    int32_t seen[INTERFERENCE_LEVELS] = {0};

    r->alone = 0;
    for (int32_t k = 1; k < r->kept_count; k++) {
        r->alone = r->all[r->kept[k]].ms[0] < r->all[r->kept[r->alone]].ms[0] ? k : r->alone;
    }
    for (int a = 0; a < INTERFERED_LEVELS; a++) {
        const double *alone = r->all[r->kept[r->alone]].ms;
        int level = a == 0 ? 0 : interference_level(alone[a] / alone[0]);

        r->at[a].slowdown = alone[a] / alone[0];
        r->at[a].level = level;
        for (int32_t k = 0; k < r->kept_count; k++) {
            r->table[k][level] += r->all[r->kept[k]].ms[a];
        }
        seen[level]++;
    }
    for (int level = 0; level < INTERFERENCE_LEVELS; level++) {
        for (int32_t k = 0; k < r->kept_count; k++) {
            r->table[k][level] =
                seen[level] > 0 ? r->table[k][level] / seen[level] : r->table[k][level - 1];
        }
    }
}

/* ---- choosing ---- */

/* One turn of the versions that are chosen; `choice` and `proxy` live through all turns of a
 * level. */
static spry_status run_chosen(const chooser *c, int level, version_choice *choice,
                              interference *proxy, double *ms, spry_error *error)
{
    interfered_versions *r = c->r;
    double alone_ms = r->all[r->kept[r->alone]].ms[0];
    int64_t begin = clock_ns();
    int64_t now[2] = {begin, begin};
    spry_status status = SPRY_OK;
    int32_t runs = 0;

    while (status == SPRY_OK &&
           (runs < LEAST_RUNS || (double)(now[1] - begin) * 1e-9 < c->seconds)) {
        int32_t k = version_choice_next(choice);

        status = bench_time_run(c->feed, c->sessions[k], c->outputs, &now[0], &now[1], error);
        if (k == r->alone) {
            interference_observe(proxy, now[1], (double)(now[1] - now[0]) * 1e-6, alone_ms);
            version_choice_read(choice, interference_read(proxy));
        }
        r->at[level].runs[k]++;
        runs++;
    }
    r->at[level].last = choice->current;
    *ms = (double)(now[1] - begin) * 1e-6 / runs;
    return status;
}

static spry_status choose_at(const chooser *c, int level, spry_error *error)
{
    interfered_versions *r = c->r;
    interfered_choice *at = &r->at[level];
    interference proxy = {0};
    version_choice choice;
    aggressor *other = NULL;
    spry_status status = aggressor_start(level, &other, error);

    version_choice_start(&choice, r->kept_count, r->table);
    for (int turn = 0; status == SPRY_OK && turn < TURNS; turn++) {
        double fixed = 0.0;
        double chosen = 0.0;

        status = time_for(c, c->sessions[r->alone], c->seconds, &fixed, error);
        if (status == SPRY_OK) {
            status = run_chosen(c, level, &choice, &proxy, &chosen, error);
        }
        at->fixed_ms += fixed / TURNS;
        at->adaptive_ms += chosen / TURNS;
    }
    aggressor_stop(other, NULL);
    return status;
}

spry_status interfered_versions_measure(const spry_model *m, const spry_feed *feed,
                                        const spry_session_options *options, double target_ms,
                                        double seconds, const spry_progress *progress,
                                        interfered_versions *result, spry_error *error)
{
    size_t bytes = ((size_t)spry_feed_output_count(feed) + 1) * sizeof(spry_value *);
    chooser c = {m, feed, options, seconds, result, {NULL}, NULL};
    spry_status status = SPRY_OK;

    memset(result, 0, sizeof *result);
    result->target_ms = target_ms;
    c.outputs = alloc_zeroed(spry_allocator_system(), bytes);
    if (c.outputs == NULL) {
        return alloc_failed(error, bytes);
    }
    list_versions(result, options->threads > 0 ? options->threads : threads_available());
    status = keep_versions(&c, error);
    for (int level = 0; status == SPRY_OK && level < INTERFERED_LEVELS; level++) {
        status = measure_level(&c, level, error);
        if (status == SPRY_OK) {
            status = progress_report(progress, "measuring versions", level + 1,
                                     2.0 * INTERFERED_LEVELS, error);
        }
    }
    if (status == SPRY_OK) {
        fill_table(result);
    }
    for (int level = 0; status == SPRY_OK && level < INTERFERED_LEVELS; level++) {
        status = choose_at(&c, level, error);
        if (status == SPRY_OK) {
            status = progress_report(progress, "choosing versions", level + 1 + INTERFERED_LEVELS,
                                     2.0 * INTERFERED_LEVELS, error);
        }
    }
    for (int32_t k = 0; k < VERSIONS_KEPT; k++) {
        spry_session_destroy(c.sessions[k]);
    }
    alloc_release(spry_allocator_system(), c.outputs, bytes);
    return status;
}
