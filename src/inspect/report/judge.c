/* What bounds a layer: the time that the machine would need for its multiply-adds, and for its
 * bytes, beside the time that it took. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "inspect/report/report.h"
#include "spry/compare.h"

enum { ADVICE_MOST = 12, SENTENCE = 512 };

const char *const report_bound_names[REPORT_BOUNDS] = {"arithmetic", "memory", "overhead",
                                                       "general code"};

/* Below this share of what the machine could do, something else costs the time. */
static const double least_reach = 0.4;
/* Runs that take so much longer than their layers do typically were disturbed. */
static const double disturbed = 1.25;
/* And so were those in which the calling thread had a CPU for less of the time. */
static const double least_cpu = 0.85;
/* A layer is worth a word from this share of the run. */
static const double worth_a_word = 0.02;

double report_reach(const report_layer *l)
{
    double least = fmax(l->arithmetic_ms, l->memory_ms);

    return l->ms > 0.0 ? least / l->ms : 0.0;
}

static bool is_general(const report_layer *l)
{
    return strcmp(l->row.kernel, "reference") == 0;
}

/* ---- bounds ---- */

static void find_bound(const report *r, report_layer *l)
{
    int members = l->row.threads > 0 ? l->row.threads : r->threads;
    double computed = l->row.density >= 0.0 ? l->row.density : 1.0;
    double weights = l->weight_bytes > 0.0 ? l->weight_bytes : 0.0;
    double results = l->bytes > weights ? l->bytes - weights : 0.0;
    /* Weights are read once a run, after all others: they come from where all of them lie. */
    machine_level far = machine_level_of(&r->m, (double)(r->packed_bytes + r->arena_bytes));

    l->level = machine_level_of(&r->m, results);
    l->level = l->level == MACHINE_L1 ? MACHINE_L2 : l->level; /* another layer was there before */
    far = far < l->level ? l->level : far;
    l->arithmetic_ms =
        1e-6 * l->operations * computed / machine_peak(&r->m, peak_type_of(l->row.kernel), members);
    l->memory_ms = 1e3 * (results / r->m.rates[l->level] + weights / r->m.rates[far]);
    if (report_reach(l) >= least_reach) {
        l->bound = l->arithmetic_ms >= l->memory_ms ? REPORT_ARITHMETIC : REPORT_MEMORY;
    } else {
        l->bound = is_general(l) ? REPORT_GENERAL : REPORT_OVERHEAD;
    }
}

double report_share(const report *r, const report_layer *l)
{
    return r->layers_ms > 0.0 ? l->ms / r->layers_ms : 0.0;
}

/* Percent of the peak that the layer reaches. */
static double percent_of_peak(const report_layer *l)
{
    return l->ms > 0.0 ? 100.0 * l->arithmetic_ms / l->ms : 0.0;
}

/* Did the layer mostly wait for somebody else's work? */
static bool is_disturbed(const report *r, const report_layer *l)
{
    return r->had_cpu < least_cpu || (l->least_ms > 0.0 && l->ms > 2.0 * l->least_ms);
}

static const char *explain(report *r, const report_layer *l)
{
    peak_type type = peak_type_of(l->row.kernel);
    int members = l->row.threads > 0 ? l->row.threads : r->threads;

    switch (l->bound) {
    case REPORT_ARITHMETIC:
        return report_text(r,
                           "It multiplies and adds at %.0f billion operations a second: %.0f %% of "
                           "what %d thread%s can do with %s%s.",
                           1e-6 * l->operations / l->ms, percent_of_peak(l), members,
                           members == 1 ? "" : "s",
                           peak_type_name(type < PEAK_TYPES ? type : PEAK_F32),
                           strncmp(l->row.plan, "winograd", 8) == 0
                               ? ", counting those that Winograd's method saves"
                               : "");
    case REPORT_MEMORY:
        return report_text(r,
                           "It moves %.2f MB at %.1f GB a second: %.0f %% of what the %s gives. "
                           "Its multiplications alone would take %.3g ms.",
                           l->bytes * 1e-6, 1e-6 * l->bytes / l->ms, 100.0 * report_reach(l),
                           l->weight_bytes > 0.5 * l->bytes ? "place of its weights"
                                                            : machine_level_names[l->level],
                           l->arithmetic_ms);
    case REPORT_GENERAL:
        return report_text(r,
                           "It runs as general code: its %.2f MB could be moved in %.3g ms, its "
                           "multiplications done in %.3g ms.",
                           l->bytes * 1e-6, l->memory_ms, l->arithmetic_ms);
    default:
        if (is_disturbed(r, l)) {
            return report_text(r,
                               "Something else used the processor meanwhile, so this says little. "
                               "Its fastest run took %.3g ms.",
                               l->least_ms);
        }
        return report_text(r,
                           "Neither multiplying, for which %.3g ms would do, nor moving %.2f MB, "
                           "%.3g ms, explains its %.3g ms.",
                           l->arithmetic_ms, l->bytes * 1e-6, l->memory_ms, l->ms);
    }
}

/* ---- what to try with a layer ---- */

/* How many times as fast integers are at most; 1 where the layer has them already. What Winograd's
 * method saves, integers would not. */
static double integers_gain(const report *r, const report_layer *l)
{
    peak_type type = peak_type_of(l->row.kernel);

    return type == PEAK_F32 || type == PEAK_BF16
               ? machine_peak(&r->m, PEAK_S8, 1) / machine_peak(&r->m, type, 1) /
                     fmax(1.0, report_reach(l))
               : 1.0;
}

static const char *advise_arithmetic(report *r, const report_layer *l)
{
    double gain = integers_gain(r, l);

    if (gain > 1.2) {
        return report_text(r,
                           "quantize to 8-bit integers (spry quantize --activation-bits 8): they "
                           "multiply up to %.1f times as fast here",
                           gain);
    }
    if (l->row.density >= 0.0) {
        return "a mask that leaves more pixels out";
    }
    return "it runs near the machine's peak: only less work helps, as fewer channels or a smaller "
           "picture";
}

static const char *advise_memory(report *r, const report_layer *l)
{
    if (l->weight_bytes > 0.5 * l->bytes) {
        return report_text(r,
                           "its %.1f MB of weights are read for little work: fewer bits per "
                           "weight (spry quantize --weight-bits 4), or larger batches, which "
                           "share them",
                           l->weight_bytes * 1e-6);
    }
    if (integers_gain(r, l) > 1.2) {
        return "bytes instead of floats between layers (spry quantize --activation-bits 8) move a "
               "quarter as much";
    }
    return "smaller results between layers: fewer channels, or a smaller picture";
}

/* Do more threads than one hardly help where they could? */
static bool is_poorly_shared(const report *r, const report_layer *l)
{
    return r->threads > 1 && l->alone_ms > 0.0 && l->alone_ms < 1.15 * l->ms;
}

static const char *advise_overhead(report *r, const report_layer *l)
{
    if (is_disturbed(r, l)) {
        return "measuring again when the machine is idle";
    }
    if (l->row.threads > 1 && is_poorly_shared(r, l)) {
        return report_text(r,
                           "one thread (it takes %.3g ms alone, %d take %.3g ms), and other work "
                           "for the other cores",
                           l->alone_ms, r->threads, l->ms);
    }
    if (l->operations > 0.0 && l->ms < 0.2) {
        return "it is too small to fill the machine: larger batches (--set of the first dimension)";
    }
    if (l->operations > 0.0) {
        return "more channels in fewer layers, or larger batches: what is narrow fills the "
               "processor "
               "badly";
    }
    return "nothing at once: what it does is neither multiply-adds nor bytes moved in order";
}

static const char *advise(report *r, const report_layer *l)
{
    switch (l->bound) {
    case REPORT_ARITHMETIC: return advise_arithmetic(r, l);
    case REPORT_MEMORY: return advise_memory(r, l);
    case REPORT_GENERAL:
        return "Spry has no fast kernel for it in this place: another operator or layout may have";
    default: return advise_overhead(r, l);
    }
}

/* ---- the whole ---- */

static void say(report *r, const char *sentence)
{
    if (r->advice_count < ADVICE_MOST && sentence != NULL) {
        r->advice[r->advice_count++] = sentence;
    }
}

static double share_of(const report *r, report_bound bound)
{
    double ms = 0.0;

    for (int32_t i = 0; i < r->layer_count; i++) {
        ms += r->layers[i].bound == bound ? r->layers[i].ms : 0.0;
    }
    return r->layers_ms > 0.0 ? ms / r->layers_ms : 0.0;
}

static void say_threads(report *r)
{
    double gain = r->alone_ms > 0.0 ? r->alone_ms / r->layers_ms : 0.0;

    if (gain > 0.0 && gain < 1.1) {
        say(r, report_text(r,
                           "%d threads gain nothing: one alone takes %.3g ms. Use --threads 1, and "
                           "the other cores for other work.",
                           r->threads, r->alone_ms));
    } else if (gain > 0.0) {
        say(r,
            report_text(r, "%d threads make it %.2f times as fast as one, which takes %.3g ms%s.",
                        r->threads, gain, r->alone_ms,
                        gain > 0.75 * r->threads
                            ? ""
                            : ": several copies of the model with fewer threads each would do "
                              "more per second"));
    }
}

/* How the run divides by what bounds it. */
static void say_bounds(report *r)
{
    static const char *const what[REPORT_BOUNDS] = {
        "bound by multiplying", "bound by moving bytes",
        "bound by neither (they are small, start up, or wait)", "without a fast kernel"};
    char line[SENTENCE];
    text t;

    text_init_fixed(&t, line, sizeof line);
    for (int b = 0; b < REPORT_BOUNDS; b++) {
        double share = share_of(r, (report_bound)b);

        if (share >= 0.01) {
            text_append_format(&t, "%s%.0f %%%s in layers %s", t.length > 0 ? ", " : "",
                               100.0 * share, t.length > 0 ? "" : " of the time is spent", what[b]);
        }
    }
    if (t.length > 0) {
        say(r, report_text(r, "%s.", line));
    }
}

static void say_quantize(report *r, const spry_model *model)
{
    double share = 0.0;

    for (int32_t i = 0; i < r->layer_count; i++) {
        const report_layer *l = &r->layers[i];

        if (l->bound == REPORT_ARITHMETIC && integers_gain(r, l) > 1.2) {
            share += l->ms / r->layers_ms;
        }
    }
    if (share >= 0.2 && !spry_model_is_quantized(model)) {
        say(r, report_text(r,
                           "Try first: spry quantize --activation-bits 8. Layers that are bound "
                           "by multiplying floats take %.0f %% of the time, and bytes multiply up "
                           "to %.1f times as fast here.",
                           100.0 * share,
                           machine_peak(&r->m, PEAK_S8, 1) / machine_peak(&r->m, PEAK_F32, 1)));
    }
}

static void say_fastest_possible(report *r)
{
    double least = 0.0;

    for (int32_t i = 0; i < r->layer_count; i++) {
        least += fmin(fmax(r->layers[i].arithmetic_ms, r->layers[i].memory_ms), r->layers[i].ms);
    }
    if (r->layers_ms > 0.0) {
        say(r, report_text(r,
                           "With every layer at the machine's limits and the same numbers a run "
                           "would take %.3g ms; its layers take %.3g ms.",
                           least, r->layers_ms));
    }
}

static void say_disturbed(report *r)
{
    if (r->had_cpu < least_cpu) {
        say(r, report_text(r,
                           "Something else ran on this machine: the thread that called had a "
                           "processor for %.0f %% of the time only. Measure again when the machine "
                           "is idle: until then figures are too high, and differ from run to run.",
                           100.0 * r->had_cpu));
    } else if (r->runs.median_ms > disturbed * r->layers_ms) {
        say(r, report_text(r,
                           "Something else ran on this machine: a run took %.3g ms, though its "
                           "layers' medians add up to %.3g ms. Figures of layers are more reliable "
                           "than those of runs; best measure again when the machine is idle.",
                           r->runs.median_ms, r->layers_ms));
    }
}

static void say_few_layers(report *r)
{
    double ms = 0.0;
    int32_t count = 0;

    while (count < r->layer_count && ms < 0.5 * r->layers_ms) {
        ms += r->layers[r->slowest[count++]].ms;
    }
    if (count > 0) {
        say(r, report_text(r, "Half of the time goes into %d of %d layers.", (int)count,
                           (int)r->layer_count));
    }
}

spry_status report_judge(report *r, const spry_model *model, spry_error *error)
{
    r->advice = arena_array(&r->memory, ADVICE_MOST, sizeof *r->advice);
    if (r->advice == NULL) {
        return alloc_failed(error, ADVICE_MOST * sizeof *r->advice);
    }
    for (int32_t i = 0; i < r->layer_count; i++) {
        report_layer *l = &r->layers[i];

        find_bound(r, l);
        l->try_next = l->ms >= worth_a_word * r->layers_ms ? advise(r, l) : "";
        l->why = explain(r, l);
        if (l->try_next == NULL || l->why == NULL) {
            return alloc_failed(error, SENTENCE);
        }
    }
    say_disturbed(r);
    say_few_layers(r);
    say_bounds(r);
    say_fastest_possible(r);
    say_threads(r);
    say_quantize(r, model);
    return SPRY_OK;
}
