/* The search for a plan of blocks: a model of the machine proposes, this machine decides. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/threads.h"
#include "measure/tune_trials.h"
#include "model/model.h"
#include "tune/fusion/fusion_cpu.h"
#include "tune/tuning.h"

enum { LONGEST = 12, FIXED_LENGTH = 4, MILLI = 1000, GUESSES = 4, PLANS_PER_BUDGET = 24 };

static const double reserved = 0.35; /* of the budget, for comparing the best with no plan */
static const double most_slice = 0.3;
/* What is foretold of a fused block is not trusted to a third: candidates that would be slower by
 * that are measured too. */
static const double doubt[GUESSES] = {1, 0.85, 0.7, 0.5};

const char *const spry_tune_strategy_names[] = {"s1", "s2", "s3",       "s4", "s5",
                                                "s6", "s7", "measured", NULL};

static const char *const texts[] = {"one thread, no fusion",       "all threads, no fusion",
                                    "threads by layer, no fusion", "all threads, everything fused",
                                    "all threads, blocks of four", "DLFusion",
                                    "foretold to be best",         "best of what was measured"};

typedef struct search {
    const spry_tune_options *options;
    spry_tuning *made;
    model *bound; /* the model with the feed's sizes; NULL: it has them */
    spry_session *looked_at;
    fusion_cpu machine;
    fusion_cpu_context context;
    partition_problem problem;
    tune_trials trials;
    arena memory;
    double distrust; /* in the costs of fused blocks: times this */
    int64_t start_ns;
    bool was_stopped;
} search;

spry_tune_options spry_tune_options_default(void)
{
    return (spry_tune_options){
        .struct_size = sizeof(spry_tune_options), .strategy = SPRY_TUNE_MEASURED, .seconds = 10};
}

static spry_status check_options(const spry_tune_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "spry_tune_options",
                         "start from spry_tune_options_default()", "struct_size is %zu",
                         o->struct_size);
    }
    if ((unsigned)o->strategy > SPRY_TUNE_MEASURED || !(o->seconds >= 0) || o->threads < 0 ||
        o->threads > FUSION_TEAM_MOST) {
        return spry_fail(error, SPRY_USAGE, "spry_tune_options", NULL,
                         "strategy, seconds or threads are out of range");
    }
    return SPRY_OK;
}

/* ---- the model ---- */

/* A copy whose inputs have the sizes of the feed, where the model leaves some open. */
static spry_status bind_sizes(search *s, const spry_model *m, const spry_feed *feed,
                              spry_error *error)
{
    bool is_open = false;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < spry_feed_dimension_count(feed); i++) {
        is_open = is_open || spry_feed_dimension_at(feed, i).size != 1;
    }
    if (is_open) {
        status = model_copy(m, &s->bound, error);
    }
    for (int32_t i = 0; is_open && status == SPRY_OK && i < s->bound->main->input_count; i++) {
        graph *g = s->bound->main;
        graph_value *v = &g->values[g->inputs[i]];
        const spry_value *given = NULL;
        const spry_tensor *t;

        for (int32_t k = 0; k < spry_feed_count(feed); k++) {
            given =
                strcmp(spry_feed_name(feed, k), v->name) == 0 ? spry_feed_value(feed, k) : given;
        }
        t = given != NULL ? spry_value_tensor(given) : NULL;
        if (t != NULL && v->type.has_rank && v->type.rank == spry_tensor_rank(t)) {
            v->type = graph_type_tensor(spry_tensor_dtype(t), v->type.rank, spry_tensor_shape(t));
        }
    }
    return status;
}

static spry_status read_layers(search *s, const spry_model *m, spry_error *error)
{
    spry_session_options options = s->trials.options;
    spry_status status;

    options.threads = 1;
    status = spry_session_create(s->bound != NULL ? s->bound : m, &options, &s->looked_at, error);
    if (status == SPRY_OK) {
        status = spry_session_layers(s->looked_at, &s->trials.layers, &s->trials.count, error);
    }
    if (status == SPRY_OK && s->trials.count > FUSION_LAYERS_MOST) {
        return spry_fail(error, SPRY_LIMIT, "layers", NULL, "more than %d",
                         (int)FUSION_LAYERS_MOST);
    }
    return status;
}

/* ---- the machine ---- */

/* Where this machine was not calibrated, or by a Spry that kept less, guesses have to do. */
static spry_status read_machine(search *s, spry_error *error)
{
    const char *name = s->options->target != NULL ? s->options->target : "cpu";
    target *t = NULL;
    spry_status status = target_load(NULL, name, &t, error);

    if (status == SPRY_OK) {
        status = fusion_cpu_read(&s->machine, t, s->trials.options.threads, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    target_destroy(t);
    if (status != SPRY_OK && s->options->target == NULL) {
        fusion_cpu_guess(&s->machine, s->trials.options.threads);
        return SPRY_OK;
    }
    return status;
}

/* Seconds as foretold, those of fused blocks times a factor. */
static double foretold(const void *context, int32_t first, int32_t last, int32_t team)
{
    const search *s = context;
    double seconds = fusion_cpu_seconds(&s->context, first, last, team);

    return seconds * (first < last ? s->distrust : 1);
}

static bool fits(const void *context, int32_t first, int32_t last, int32_t team)
{
    const search *s = context;

    return fusion_cpu_fits(&s->context, first, last, team);
}

/* What was measured; a block of which nothing is known costs more than anything. */
static double measured(const void *context, int32_t first, int32_t last, int32_t team)
{
    const search *s = context;
    const tune_timed *e = tune_trials_find(&s->trials, first, last, team);

    if (e != NULL && !e->is_refused) {
        return e->seconds;
    }
    /* A single layer always has a time on all threads; where its team is another, it does not. */
    return first == last && team == s->trials.options.threads
               ? fusion_cpu_seconds(&s->context, first, last, team)
               : HUGE_VAL;
}

static spry_status open_problem(search *s, spry_error *error)
{
    int32_t count = s->trials.count;
    int32_t *wanted = arena_array(&s->memory, (size_t)count + 1, sizeof *wanted);
    spry_status status =
        fusion_cpu_open(&s->context, &s->machine, s->trials.layers, count, &s->memory, error);

    if (status == SPRY_OK && wanted == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *wanted);
    }
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        const spry_layer *l = &s->trials.layers[i];

        wanted[i] =
            scaling_team(&s->machine.threads, fusion_layer_operations(l), (double)l->out[0]);
    }
    s->distrust = 1;
    s->problem = (partition_problem){.network = s->context.network,
                                     .team_count = s->machine.threads.team_count,
                                     .longest = LONGEST,
                                     .most = SPRY_BLOCK_MOST_LAYERS,
                                     .cost = foretold,
                                     .fits = fits,
                                     .context = s,
                                     .wanted = wanted,
                                     .critical = s->machine.threads.critical,
                                     .fixed_team = s->trials.options.threads,
                                     .fixed_length = FIXED_LENGTH};
    memcpy(s->problem.teams, s->machine.threads.teams, sizeof s->problem.teams);
    return status;
}

/* ---- measuring ---- */

static bool go_on(search *s, const char *task)
{
    const spry_progress *p = s->options->progress;
    double spent = 1e-9 * (double)(clock_ns() - s->start_ns);

    if (p != NULL && p->report != NULL &&
        !p->report(p->context, task, fmin(spent, s->options->seconds), s->options->seconds)) {
        s->was_stopped = true;
    }
    return !s->was_stopped && spent < (1 - reserved) * s->options->seconds;
}

static spry_status cut_by_time(search *s, partition *best, spry_error *error)
{
    partition_problem p = s->problem;

    p.cost = measured;
    return partition_by(&p, PARTITION_S7, &s->memory, best, error);
}

/* Every layer by itself, all on one team. */
static spry_status time_alone(search *s, int32_t team, spry_error *error)
{
    partition_problem p = s->problem;
    partition alone;
    spry_status status;

    p.fixed_team = team;
    status = partition_by(&p, PARTITION_S2, &s->memory, &alone, error);
    return status == SPRY_OK ? tune_trials_run(&s->trials, &alone, NULL, NULL, error) : status;
}

/* Blocks that the machine's model proposes, believed more and more; then blocks of fixed lengths,
 * which need no model. */
static spry_status time_proposals(search *s, spry_error *error)
{
    static const int32_t lengths[] = {2, 3, 4, 6};
    spry_status status = SPRY_OK;
    partition p;

    for (int i = 0; i < GUESSES && status == SPRY_OK && go_on(s, "timing proposed blocks"); i++) {
        s->distrust = doubt[i];
        status = partition_by(&s->problem, PARTITION_S7, &s->memory, &p, error);
        s->distrust = 1;
        if (status == SPRY_OK) {
            status = tune_trials_run(&s->trials, &p, NULL, NULL, error);
        }
    }
    if (status == SPRY_OK && go_on(s, "timing DLFusion's blocks")) {
        status = partition_by(&s->problem, PARTITION_S6, &s->memory, &p, error);
        if (status == SPRY_OK) {
            status = tune_trials_run(&s->trials, &p, NULL, NULL, error);
        }
    }
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths && status == SPRY_OK &&
                       go_on(s, "timing blocks of equal length");
         i++) {
        partition_problem equal = s->problem;

        equal.fixed_length = lengths[i];
        status = partition_by(&equal, PARTITION_S5, &s->memory, &p, error);
        if (status == SPRY_OK) {
            status = tune_trials_run(&s->trials, &p, NULL, NULL, error);
        }
    }
    return status;
}

/* Other heights of strips for the blocks that have won so far. */
static spry_status time_strips(search *s, spry_error *error)
{
    static const int32_t heights[] = {2, 4, 8, 1, 16};
    spry_status status = SPRY_OK;

    for (size_t i = 0;
         i < sizeof heights / sizeof *heights && status == SPRY_OK && go_on(s, "timing strips");
         i++) {
        partition best;
        int32_t *strips;

        status = cut_by_time(s, &best, error);
        if (status != SPRY_OK || best.count == s->trials.count) {
            break; /* nothing is fused */
        }
        strips = arena_array(&s->memory, (size_t)best.count, sizeof *strips);
        if (strips == NULL) {
            return alloc_failed(error, (size_t)best.count * sizeof *strips);
        }
        for (int32_t k = 0; k < best.count; k++) {
            strips[k] = heights[i];
        }
        status = tune_trials_run(&s->trials, &best, strips, NULL, error);
    }
    return status;
}

static spry_status time_teams(search *s, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t k = 0; k < s->problem.team_count && status == SPRY_OK &&
                        go_on(s, "timing layers on fewer threads");
         k++) {
        if (s->problem.teams[k] != s->trials.options.threads) {
            status = time_alone(s, s->problem.teams[k], error);
        }
    }
    return status;
}

/* ---- the result ---- */

static double time_of(const search *s, int32_t first, int32_t last, int32_t team)
{
    const tune_timed *e = tune_trials_find(&s->trials, first, last, team);

    return e != NULL && !e->is_refused ? e->seconds : 0;
}

/* Writes the rows of the tuning. */
static spry_status keep(search *s, const partition *p, spry_error *error)
{
    spry_tuning *t = s->made;
    spry_status status = tuning_reserve(t, p->count, error);

    t->totals.predicted_ms = 0;
    for (int32_t i = 0; i < p->count && status == SPRY_OK; i++) {
        const partition_block *b = &p->blocks[i];
        const tune_timed *e = tune_trials_find(&s->trials, b->first, b->last, b->team);
        int32_t count = b->last - b->first + 1;
        const char **names = arena_array(&t->memory, (size_t)count, sizeof *names);
        spry_tune_row *r = &t->rows[t->row_count];
        bool is_timed = true;

        if (names == NULL) {
            return alloc_failed(error, (size_t)count * sizeof *names);
        }
        r->predicted_ms = MILLI * fusion_cpu_seconds(&s->context, b->first, b->last, b->team);
        r->measured_ms = MILLI * time_of(s, b->first, b->last, b->team);
        r->between = (int64_t)fusion_cpu_between(&s->context.network, b->first, b->last);
        for (int32_t k = b->first; k <= b->last; k++) {
            const char *name = s->trials.layers[k].name;
            double alone = time_of(s, k, k, s->trials.options.threads);

            names[k - b->first] = arena_text(&t->memory, name, strlen(name));
            if (names[k - b->first] == NULL) {
                return alloc_failed(error, strlen(name) + 1);
            }
            is_timed = is_timed && alone > 0;
            r->alone_ms += MILLI * alone;
        }
        r->alone_ms = is_timed ? r->alone_ms : 0;
        t->own[t->row_count++] =
            (spry_block){names, count, b->team, count > 1 && e != NULL ? e->strip : 0, 0};
        t->totals.predicted_ms += r->predicted_ms;
    }
    tuning_settle(t);
    return status;
}

/* Whole runs of the plan, of no fusion, and of what is done without a plan, in turn. A plan that is
 * no faster than no fusion is not kept. */
static spry_status judge(search *s, spry_error *error)
{
    static const spry_blocks none = {NULL, 0};
    const spry_blocks *contestants[TUNE_CONTESTANTS_MOST] = {&none, NULL, &s->made->blocks};
    spry_tune_totals *totals = &s->made->totals;
    double spent = 1e-9 * (double)(clock_ns() - s->start_ns);
    double left = s->was_stopped ? 0 : s->options->seconds - spent;
    double least[TUNE_CONTESTANTS_MOST] = {0};
    partition alone;
    spry_status status;

    if (s->options->seconds <= 0) {
        return SPRY_OK; /* nothing is measured: the plan is what is foretold */
    }
    status = tune_trials_compare(&s->trials, s->made->blocks.count > 0 ? 3 : 2, contestants,
                                 fmax(left, 0), least, error);
    totals->unfused_ms = MILLI * least[0];
    totals->automatic_ms = MILLI * least[1];
    totals->measured_ms = MILLI * least[2];
    if (status != SPRY_OK || s->made->blocks.count == 0 || least[2] > least[0]) {
        totals->is_unfused = true;
        totals->measured_ms = totals->unfused_ms;
        if (status == SPRY_OK) {
            s->problem.fixed_team = s->trials.options.threads;
            status = partition_by(&s->problem, PARTITION_S2, &s->memory, &alone, error);
        }
        return status == SPRY_OK ? keep(s, &alone, error) : status;
    }
    return SPRY_OK;
}

static spry_status try_all(search *s, spry_error *error)
{
    spry_tuning *t = s->made;
    spry_status status = SPRY_OK;

    t->trials = arena_array(&t->memory, SPRY_TUNE_MEASURED + 1, sizeof *t->trials);
    if (t->trials == NULL) {
        return alloc_failed(error, (SPRY_TUNE_MEASURED + 1) * sizeof *t->trials);
    }
    for (int k = 0; k <= SPRY_TUNE_MEASURED && status == SPRY_OK; k++) {
        spry_tune_trial *trial = &t->trials[t->trial_count];
        double seconds = 0;
        partition p;

        status = k < SPRY_TUNE_MEASURED
                     ? partition_by(&s->problem, (partition_strategy)k, &s->memory, &p, error)
                     : cut_by_time(s, &p, error);
        if (status == SPRY_OK && s->options->seconds > 0 && !s->was_stopped) {
            status = tune_trials_run(&s->trials, &p, NULL, &seconds, error);
        }
        if (status == SPRY_OK) {
            *trial = (spry_tune_trial){spry_tune_strategy_names[k], texts[k], p.count, 0,
                                       MILLI * seconds};
            for (int32_t i = 0; i < p.count; i++) {
                trial->predicted_ms +=
                    MILLI * fusion_cpu_seconds(&s->context, p.blocks[i].first, p.blocks[i].last,
                                               p.blocks[i].team);
            }
            t->trial_count++;
        }
    }
    return status;
}

/* ---- the whole ---- */

static spry_status note_subject(search *s, const spry_model *m, const spry_feed *feed,
                                spry_error *error)
{
    spry_tuning *t = s->made;
    int32_t count = spry_feed_count(feed);

    t->model_path = arena_text(&t->memory, m->path, strlen(m->path));
    t->inputs = arena_array(&t->memory, (size_t)count + 1, sizeof *t->inputs);
    if (t->model_path == NULL || t->inputs == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *t->inputs);
    }
    for (int32_t i = 0; i < count; i++) {
        tuning_input *in = &t->inputs[i];
        const spry_value *v = spry_feed_value(feed, i);
        const spry_tensor *x = v != NULL ? spry_value_tensor(v) : NULL;
        const char *name = spry_feed_name(feed, i);

        in->name = arena_text(&t->memory, name, strlen(name));
        if (in->name == NULL) {
            return alloc_failed(error, strlen(name) + 1);
        }
        in->rank = x != NULL && spry_tensor_rank(x) <= TUNING_RANK_MOST ? spry_tensor_rank(x) : 0;
        for (int a = 0; a < in->rank; a++) {
            in->shape[a] = spry_tensor_shape(x)[a];
        }
        t->input_count++;
    }
    tuning_machine(t->machine);
    return m->file != NULL ? sha256_file(m->path, t->model_hash, error) : SPRY_OK;
}

static spry_status plan(search *s, const spry_model *m, const spry_feed *feed, partition *p,
                        spry_error *error)
{
    spry_tune_strategy strategy = s->options->strategy;
    int64_t start = clock_ns();
    spry_status status = bind_sizes(s, m, feed, error);

    if (status == SPRY_OK) {
        status = read_layers(s, m, error);
    }
    if (status == SPRY_OK) {
        status = read_machine(s, error);
    }
    if (status == SPRY_OK) {
        status = open_problem(s, error);
    }
    if (status == SPRY_OK) {
        status = partition_by(&s->problem,
                              strategy == SPRY_TUNE_MEASURED ? PARTITION_S7
                                                             : (partition_strategy)strategy,
                              &s->memory, p, error);
    }
    s->made->totals.planning_ms = 1e-6 * (double)(clock_ns() - start);
    return status;
}

/* From a foretold plan to the best that was measured. */
static spry_status refine(search *s, partition *p, spry_error *error)
{
    spry_status status = SPRY_OK;

    s->trials.slice = fmin(s->options->seconds / PLANS_PER_BUDGET, most_slice);
    if (s->options->seconds > 0 && go_on(s, "timing layers")) {
        status = time_alone(s, s->trials.options.threads, error);
    }
    if (s->options->strategy == SPRY_TUNE_MEASURED && s->options->seconds > 0 &&
        s->trials.tried > 0) {
        if (status == SPRY_OK) {
            status = time_proposals(s, error);
        }
        if (status == SPRY_OK) {
            status = time_teams(s, error);
        }
        if (status == SPRY_OK) {
            status = time_strips(s, error);
        }
        if (status == SPRY_OK) {
            status = cut_by_time(s, p, error);
        }
    } else if (status == SPRY_OK && s->trials.tried > 0 && go_on(s, "timing the plan")) {
        status = tune_trials_run(&s->trials, p, NULL, NULL, error);
    }
    if (status == SPRY_OK && s->options->compare) {
        status = try_all(s, error);
    }
    return status;
}

static spry_status tune(search *s, const spry_model *m, const spry_feed *feed, spry_error *error)
{
    partition p;
    spry_status status = plan(s, m, feed, &p, error);

    if (status == SPRY_OK) {
        status = note_subject(s, m, feed, error);
    }
    s->start_ns = clock_ns();
    if (status == SPRY_OK) {
        status = refine(s, &p, error);
    }
    if (status == SPRY_OK) {
        status = keep(s, &p, error);
    }
    if (status == SPRY_OK) {
        status = judge(s, error);
    }
    s->made->totals.strategy = spry_tune_strategy_names[s->options->strategy];
    s->made->totals.is_guessed = s->machine.is_guessed;
    s->made->totals.was_stopped = s->was_stopped;
    s->made->totals.tried = s->trials.tried;
    return status;
}

spry_status spry_tune(const spry_model *m, const spry_feed *feed, const spry_tune_options *given,
                      spry_tuning **tuning, spry_error *error)
{
    spry_tune_options options = given != NULL ? *given : spry_tune_options_default();
    search s = {.options = &options};
    spry_status status = check_options(&options, error);

    *tuning = NULL;
    if (status == SPRY_OK) {
        status = tuning_create(NULL, &s.made, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    arena_init(&s.memory, NULL, SIZE_MAX);
    tune_trials_init(&s.trials, &s.memory);
    s.trials.model = m;
    s.trials.feed = feed;
    s.trials.options = spry_session_options_default();
    s.trials.options.threads = options.threads > 0 ? options.threads : threads_available();
    s.trials.options.precision = options.precision;
    s.made->totals.threads = s.trials.options.threads;
    s.made->totals.precision = options.precision;
    status = tune(&s, m, feed, error);
    tune_trials_fini(&s.trials);
    spry_session_destroy(s.looked_at);
    spry_model_destroy(s.bound);
    arena_fini(&s.memory);
    if (status != SPRY_OK) {
        spry_tuning_destroy(s.made);
        return status;
    }
    *tuning = s.made;
    return SPRY_OK;
}
