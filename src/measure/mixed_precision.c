/* The search: sensitivities and latencies in, an assignment of bits out. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "measure/mixed_latency.h"
#include "measure/mixed_search.h"
#include "quantize/assignment.h"
#include "spry/evaluate.h"

/* Integers that are slower by less than this may be noise. */
static const double SLOWER = 1.03;
/* A whole model counts as faster from here. */
static const double FASTER = 0.98;

spry_mixed_options spry_mixed_options_default(void)
{
    return (spry_mixed_options){.struct_size = sizeof(spry_mixed_options),
                                .max_drop = -1.0,
                                .fewest_bits = 4,
                                .trials = 24};
}

/* ---- whole models ---- */

/* Bits as s->levels say, then what the caller has asked for. */
static void assign(mixed_search *s, const int *levels)
{
    spry_mixed *r = s->result;

    for (int32_t i = 0; i < r->row_count; i++) {
        const int bits[SPRY_MIXED_LEVELS] = {0, 8, s->options->fewest_bits};
        bool reads_integers = levels[i] == EIGHT;

        r->rows[i].bits = bits[levels[i]];
        r->assignments[i] = (spry_quantize_assignment){
            .node = r->rows[i].name,
            .weight_bits = r->rows[i].bits,
            .activation_bits = reads_integers ? s->quantize.activation_bits : 0};
    }
}

static bool is_all_float(const mixed_search *s, const int *levels)
{
    for (int32_t i = 0; i < s->result->row_count; i++) {
        if (levels[i] != F32 && s->result->rows[i].weights > 0) {
            return false;
        }
    }
    return true;
}

spry_status mixed_make(mixed_search *s, const int *levels, spry_model **made, spry_error *error)
{
    spry_quantize_options o = s->quantize;
    spry_quantization *facts = NULL;
    spry_status status;

    assign(s, levels);
    o.assignments = s->result->assignments;
    o.assignment_count = s->result->assignment_count;
    o.weight_bits = 8; /* of nobody: every layer is assigned */
    o.progress = NULL;
    status = spry_quantize(s->source, &o, made, &facts, error);
    spry_quantization_destroy(facts);
    return status;
}

static spry_status find_top1(const mixed_search *s, const spry_model *m, double *top1,
                             spry_error *error)
{
    spry_evaluate_options asked = spry_evaluate_options_default();
    spry_session_options options = spry_session_options_default();
    spry_evaluation *evaluation = NULL;
    spry_session *session = NULL;
    spry_status status;

    options.threads = s->quantize.threads;
    asked.progress = s->quantize.progress;
    asked.recipe = s->quantize.recipe;
    asked.limit = s->options->limit;
    asked.class_offset = s->options->class_offset;
    status = spry_session_create(m, &options, &session, error);
    if (status == SPRY_OK) {
        status = spry_evaluate(m, session, s->options->data, &asked, &evaluation, error);
    }
    if (status == SPRY_OK) {
        *top1 = spry_evaluation_totals(evaluation)->top1;
    }
    spry_evaluation_destroy(evaluation);
    spry_session_destroy(session);
    return status;
}

/* Measures what the bounds are about, and the latency where `timed`. */
static spry_status measure(mixed_search *s, const spry_model *m, bool timed,
                           spry_mixed_trial *trial, spry_error *error)
{
    double top1 = 0.0;
    spry_status status = SPRY_OK;

    trial->drop = NAN;
    if (s->options->max_drop >= 0.0) {
        status = find_top1(s, m, &top1, error);
        trial->drop = 100.0 * (s->float_top1 - top1);
    }
    if (status == SPRY_OK && timed) {
        status = mixed_time_model(m, s->quantize.threads, &trial->ms, error);
    }
    return status;
}

static bool can_try(const mixed_search *s)
{
    return s->result->trial_count < s->options->trials;
}

static bool keeps_drop(const mixed_search *s, const spry_mixed_trial *trial)
{
    return !(s->options->max_drop >= 0.0) || trial->drop <= s->options->max_drop;
}

static bool keeps_ms(const mixed_search *s, const spry_mixed_trial *trial)
{
    return !(s->options->max_ms > 0.0) || trial->ms <= s->options->max_ms;
}

/* The model of s->levels as a trial; it is not kept yet. */
static spry_status try_levels(mixed_search *s, const char *what, bool timed,
                              spry_mixed_trial **tried, spry_error *error)
{
    spry_mixed *r = s->result;
    spry_mixed_trial *trial = &r->trials[r->trial_count++];
    spry_model *made = NULL;
    spry_status status = progress_report(s->quantize.progress, "trying whole models",
                                         r->trial_count - 1, s->options->trials, error);

    *trial = (spry_mixed_trial){.what = what, .drop = 0.0};
    *tried = trial;
    for (int32_t i = 0; i < r->row_count; i++) {
        trial->count[s->levels[i]]++;
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (is_all_float(s, s->levels)) {
        trial->ms = s->float_ms;
        return SPRY_OK;
    }
    status = mixed_make(s, s->levels, &made, error);
    if (status == SPRY_OK) {
        status = measure(s, made, timed, trial, error);
    }
    spry_model_destroy(made);
    return status;
}

static void keep(mixed_search *s, spry_mixed_trial *trial)
{
    trial->is_kept = true;
    memcpy(s->best, s->levels, (size_t)s->result->row_count * sizeof *s->best);
}

/* ---- moves ---- */

/* Shares of the model's time and of its bytes that a level saves. Where only latency is bounded,
 * bytes count for nothing but to tell equals apart. */
static void find_points(mixed_search *s)
{
    spry_mixed *r = s->result;
    bool for_speed = s->options->max_ms > 0.0 && !(s->options->max_drop >= 0.0);
    double bytes = 0.0;
    double ms = 0.0;

    for (int32_t i = 0; i < r->row_count; i++) {
        bytes += (double)r->rows[i].bytes[F32];
        ms += r->rows[i].ms[F32];
    }
    for (int32_t i = 0; i < r->row_count; i++) {
        spry_mixed_row *row = &r->rows[i];

        row->is_slowed =
            s->in_integers && row->ms[F32] > 0.0 && row->ms[EIGHT] > SLOWER * row->ms[F32];
        for (int level = F32; level < SPRY_MIXED_LEVELS; level++) {
            mixed_point *p = &s->points[i][level];
            bool is_timed = s->in_integers && row->ms[F32] > 0.0 && row->ms[level] > 0.0;
            double time = is_timed ? (row->ms[F32] - row->ms[level]) / ms : 0.0;
            double size = bytes > 0.0 ? (double)(row->bytes[F32] - row->bytes[level]) / bytes : 0.0;

            *p = (mixed_point){.is_allowed = level == F32 || (level == EIGHT && !row->is_slowed) ||
                                             (level == FEWEST && !row->is_slowed && s->has_low &&
                                              row->weights > 0),
                               .gain = time + (for_speed ? 1e-3 * size : size),
                               .damage = row->divergence[level]};
        }
    }
    s->move_count = mixed_list_moves((const mixed_point(*)[SPRY_MIXED_LEVELS])s->points,
                                     r->row_count, s->moves);
}

static void take_moves(mixed_search *s, int32_t count)
{
    memset(s->levels, 0, (size_t)s->result->row_count * sizeof *s->levels);
    for (int32_t i = 0; i < count; i++) {
        s->levels[s->moves[i].layer] = s->moves[i].level;
    }
}

/* ---- a bound on accuracy ---- */

/* The most steps, in order, that keep the bound. */
static spry_status find_most_steps(mixed_search *s, int32_t *steps, spry_error *error)
{
    int32_t low = 0;
    int32_t high = s->move_count + 1; /* the first that is known to break the bound */
    int32_t next = s->move_count;

    while (next > low && can_try(s)) {
        spry_mixed_trial *trial;
        spry_status status;

        take_moves(s, next);
        status =
            try_levels(s, next == s->move_count ? "all steps" : "some steps", false, &trial, error);
        if (status != SPRY_OK) {
            return status;
        }
        if (keeps_drop(s, trial)) {
            keep(s, trial);
            low = next;
        } else {
            high = next;
        }
        next = low + (high - low) / 2;
    }
    *steps = low;
    return SPRY_OK;
}

/* Steps behind the first that broke the bound, one at a time on top of the best. */
static spry_status refine_drop(mixed_search *s, int32_t steps, spry_error *error)
{
    for (int32_t i = steps; i < s->move_count && can_try(s); i++) {
        const mixed_move *move = &s->moves[i];
        spry_mixed_trial *trial;
        spry_status status;

        memcpy(s->levels, s->best, (size_t)s->result->row_count * sizeof *s->best);
        if (s->points[move->layer][s->levels[move->layer]].gain >=
            s->points[move->layer][move->level].gain) {
            continue;
        }
        s->levels[move->layer] = move->level;
        status = try_levels(s, "one more step", false, &trial, error);
        if (status != SPRY_OK) {
            return status;
        }
        if (keeps_drop(s, trial)) {
            keep(s, trial);
        }
    }
    return SPRY_OK;
}

/* ---- a bound on latency ---- */

/* The fewest steps, in order, that keep the bound; all when none do. */
static spry_status find_fewest_steps(mixed_search *s, int32_t *steps, spry_error *error)
{
    int32_t low = -1; /* the last that is known to be too slow */
    int32_t high = s->move_count;
    int32_t next = s->move_count;

    *steps = s->move_count;
    while (can_try(s) && next > low) {
        spry_mixed_trial *trial;
        spry_status status;

        take_moves(s, next);
        status =
            try_levels(s, next == s->move_count ? "all steps" : "some steps", true, &trial, error);
        if (status != SPRY_OK) {
            return status;
        }
        if (keeps_ms(s, trial)) {
            keep(s, trial);
            high = next;
        } else if (next == s->move_count) { /* cannot be met: the fastest there is */
            memcpy(s->best, s->levels, (size_t)s->result->row_count * sizeof *s->best);
            return SPRY_OK;
        } else {
            low = next;
        }
        next = low + (high - low) / 2;
        if (next == high) {
            break;
        }
    }
    *steps = high;
    return SPRY_OK;
}

/* Undoes steps, the most damaging first, where the bound still holds. */
static spry_status refine_ms(mixed_search *s, int32_t steps, spry_error *error)
{
    for (int32_t i = steps - 1; i >= 0 && can_try(s); i--) {
        spry_mixed_trial *trial;
        spry_status status;

        memcpy(s->levels, s->best, (size_t)s->result->row_count * sizeof *s->best);
        if (s->levels[s->moves[i].layer] != s->moves[i].level || s->moves[i].ratio <= 0.0) {
            continue;
        }
        s->levels[s->moves[i].layer] = F32;
        status = try_levels(s, "one layer back", true, &trial, error);
        if (status != SPRY_OK) {
            return status;
        }
        if (keeps_ms(s, trial)) {
            keep(s, trial);
        }
    }
    return SPRY_OK;
}

/* ---- the measured whole decides ---- */

/* Layers that integers slow down were left f32, which costs conversions at their borders: the whole
 * with integers throughout may still be faster. */
static spry_status try_throughout(mixed_search *s, const spry_mixed_trial *chosen, bool *is_better,
                                  spry_error *error)
{
    spry_mixed *r = s->result;
    spry_mixed_trial *trial;
    spry_status status;
    bool differs = false;

    *is_better = false;
    memcpy(s->levels, s->best, (size_t)r->row_count * sizeof *s->best);
    for (int32_t i = 0; i < r->row_count; i++) {
        if (s->levels[i] == F32 && r->rows[i].is_slowed) {
            s->levels[i] = EIGHT;
            differs = true;
        }
    }
    if (!differs) {
        return SPRY_OK;
    }
    status = try_levels(s, "slowed layers too", true, &trial, error);
    if (status == SPRY_OK && keeps_drop(s, trial) && trial->ms < FASTER * chosen->ms) {
        keep(s, trial);
        *is_better = true;
    }
    return status;
}

static spry_status conclude(mixed_search *s, spry_error *error)
{
    spry_mixed *r = s->result;
    spry_mixed_trial *chosen;
    bool is_better;
    spry_status status;

    memcpy(s->levels, s->best, (size_t)r->row_count * sizeof *s->best);
    status = try_levels(s, "the choice", true, &chosen, error);
    if (status != SPRY_OK) {
        return status;
    }
    keep(s, chosen);
    if (s->in_integers) {
        status = try_throughout(s, chosen, &is_better, error);
        chosen = is_better ? &r->trials[r->trial_count - 1] : chosen;
    }
    r->is_met = keeps_drop(s, chosen) && keeps_ms(s, chosen) && !is_all_float(s, s->best);
    assign(s, s->best);
    return status;
}

/* ---- the whole ---- */

static spry_status run(mixed_search *s, spry_error *error)
{
    int32_t steps = 0;
    spry_status status;

    if (s->options->max_drop >= 0.0) {
        status = find_top1(s, s->source, &s->float_top1, error);
        if (status == SPRY_OK) {
            status = find_most_steps(s, &steps, error);
        }
        if (status == SPRY_OK) {
            status = refine_drop(s, steps, error);
        }
    } else {
        status = find_fewest_steps(s, &steps, error);
        if (status == SPRY_OK) {
            status = refine_ms(s, steps, error);
        }
    }
    return status == SPRY_OK ? conclude(s, error) : status;
}

static spry_status check(const spry_quantize_options *quantize, const spry_mixed_options *o,
                         spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_mixed_options_default()",
                         "not initialised");
    }
    if (!(o->max_drop >= 0.0) && !(o->max_ms > 0.0)) {
        return spry_fail(error, SPRY_USAGE, "mixed precision", "--max-drop POINTS or --max-ms MS",
                         "without a bound there is nothing to choose");
    }
    if (o->max_drop >= 0.0 && o->data == NULL) {
        return spry_fail(error, SPRY_USAGE, "--max-drop", "give labelled samples with --data",
                         "accuracy cannot be measured without data");
    }
    if (quantize->calibration == NULL) {
        return spry_fail(error, SPRY_USAGE, "mixed precision",
                         "for example --calibrate cifar10:train.bin",
                         "what layers cost is measured on samples; none are given");
    }
    if (o->fewest_bits < 2 || o->fewest_bits > 8 || o->trials < 1) {
        return spry_fail(error, SPRY_USAGE, "options", "2 to 8 bits, at least one trial",
                         "out of range");
    }
    return SPRY_OK;
}

static spry_status prepare(mixed_search *s, spry_error *error)
{
    spry_mixed *r = s->result;
    size_t trials = (size_t)s->options->trials + 4; /* conclusions are always drawn */
    size_t room;
    spry_status status = model_copy(s->source, &s->named, error);

    if (status == SPRY_OK) {
        status = assignment_name_nodes(s->named->main, error);
    }
    if (status == SPRY_OK) {
        status = mixed_find_costs(s, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    room = (size_t)r->row_count + (size_t)s->quantize.assignment_count + 1;
    r->trials = arena_array(&r->memory, trials, sizeof *r->trials);
    r->assignments = arena_array(&r->memory, room, sizeof *r->assignments);
    if (r->trials == NULL || r->assignments == NULL) {
        return alloc_failed(error, room * sizeof *r->assignments);
    }
    for (int32_t i = 0; i < s->quantize.assignment_count; i++) {
        r->assignments[r->row_count + i] = s->quantize.assignments[i];
    }
    r->assignment_count = r->row_count + s->quantize.assignment_count;
    memset(s->best, 0, (size_t)r->row_count * sizeof *s->best);
    status = mixed_find_latencies(s, error);
    if (status == SPRY_OK) {
        find_points(s);
    }
    return status;
}

spry_status spry_mixed_search(const spry_model *source, const spry_quantize_options *quantize,
                              const spry_mixed_options *options, spry_mixed **mixed,
                              spry_error *error)
{
    mixed_search s = {.source = source,
                      .quantize = *quantize,
                      .options = options,
                      .in_integers = assignment_wants_activations(quantize),
                      .has_low = options->fewest_bits < 8};
    spry_status status = check(quantize, options, error);

    *mixed = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    s.result = alloc_zeroed(&source->allocator, sizeof *s.result);
    if (s.result == NULL) {
        return alloc_failed(error, sizeof *s.result);
    }
    s.result->allocator = source->allocator;
    arena_init(&s.result->memory, &source->allocator, SIZE_MAX);
    status = prepare(&s, error);
    if (status == SPRY_OK) {
        status = run(&s, error);
    }
    spry_model_destroy(s.named);
    if (status != SPRY_OK) {
        spry_mixed_destroy(s.result);
        return status;
    }
    *mixed = s.result;
    return SPRY_OK;
}

void spry_mixed_destroy(spry_mixed *mixed)
{
    if (mixed != NULL) {
        spry_allocator allocator = mixed->allocator;

        arena_fini(&mixed->memory);
        alloc_release(&allocator, mixed, sizeof *mixed);
    }
}

bool spry_mixed_is_met(const spry_mixed *mixed)
{
    return mixed->is_met;
}

int32_t spry_mixed_rows(const spry_mixed *mixed, const spry_mixed_row **rows)
{
    *rows = mixed->rows;
    return mixed->row_count;
}

int32_t spry_mixed_trials(const spry_mixed *mixed, const spry_mixed_trial **trials)
{
    *trials = mixed->trials;
    return mixed->trial_count;
}

int32_t spry_mixed_assignments(const spry_mixed *mixed,
                               const spry_quantize_assignment **assignments)
{
    *assignments = mixed->assignments;
    return mixed->assignment_count;
}
