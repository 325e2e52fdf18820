/* Candidates, and the best of them for every unit on its own. */
#include "quantize/method/search.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

static const double LAST = 1.2; /* the largest multiple of a step that is tried, less one step */

/* The search at work on one form. */
typedef struct searcher {
    const search_problem *p;
    search_form form;
    search_result *result;
    double *b_best, *b_try;    /* multiples of base steps, per unit of the second operand */
    double *a_best, *a_try;    /* per unit of the first; exponents where they are */
    double *b_error, *a_error; /* of the best */
    double *errors;            /* of a trial, per unit of it */
    double *centre;
    float *steps;
    trial_grid *grids;
} searcher;

const char *search_form_name(search_form form)
{
    static const char *const names[] = {"symmetric", "affine", "twin", "twin"};

    return names[form];
}

/* ---- grids ---- */

static float step_of(double step)
{
    return step > 1e-30 ? (float)step : 1.0f; /* constant zeros: any step will do */
}

/* Negatives have a range of their own, as long as the function goes. */
static trial_grid twin_grid_of(const searcher *s, double parameter, double high)
{
    int bits = s->p->t->bits;
    double top = twin_top(bits);
    twin_grid twin = {s->p->twin, bits, 0.0f, (float)(1.0 / top)};

    if (s->p->twin == TWIN_POSITIVE) {
        twin.d1 = ldexpf(twin.d2, -(int)parameter);
    } else {
        twin.d1 = (float)((double)s->p->low / top);
        twin.d2 = s->form == SEARCH_TWIN_FREE ? step_of(parameter * high / (top + 0.5))
                                              : ldexpf(twin.d1, (int)parameter);
    }
    return (trial_grid){.is_twin = true, .twin = twin};
}

/* The grid of unit `u` for a multiple of its range, or an exponent. */
static trial_grid grid_of(const searcher *s, int64_t u, double parameter)
{
    double low = fmin((double)s->p->a_low[u], 0.0);
    double high = fmax((double)s->p->a_high[u], 0.0);
    int bits = s->p->t->bits;
    trial_grid grid = {.dtype = SPRY_DTYPE_I8};

    if (s->form == SEARCH_TWIN || s->form == SEARCH_TWIN_FREE) {
        return twin_grid_of(s, parameter, high);
    }
    if (s->form == SEARCH_AFFINE) {
        int32_t top = (1 << bits) - 1;

        grid.dtype = SPRY_DTYPE_U8;
        grid.step = step_of(parameter * (high - low) / top);
        grid.zero = (int32_t)fmin(fmax(rint(-parameter * low / (double)grid.step), 0.0), top);
        return grid;
    }
    grid.step = step_of(parameter * fmax(-low, high) / ((double)twin_top(bits) + 0.5));
    return grid;
}

static bool is_listed(const searcher *s) /* exponents, one by one */
{
    return s->form == SEARCH_TWIN || (s->form == SEARCH_TWIN_FREE && s->p->twin == TWIN_POSITIVE);
}

/* ---- trials ---- */

static int64_t b_unit(const searcher *s, int64_t i)
{
    return s->p->t->unit_of != NULL ? s->p->t->unit_of[i] : i;
}

static void set_b(searcher *s, const double *multiples)
{
    for (int64_t i = 0; i < s->p->b_count; i++) {
        s->steps[i] = step_of((double)s->p->b_base[i] * multiples[b_unit(s, i)]);
    }
    trial_set_b(s->p->t, s->steps);
}

static void set_a(searcher *s, const double *parameters)
{
    for (int64_t u = 0; u < s->p->t->a_units; u++) {
        s->grids[u] = s->p->a_is_fixed ? s->result->grids[u] : grid_of(s, u, parameters[u]);
    }
    trial_set_a(s->p->t, s->grids);
}

/* Errors told apart by units of the first operand: heads, or all together. */
static void errors_of_a(const searcher *s, double *errors)
{
    const trial *t = s->p->t;

    memset(errors, 0, (size_t)t->a_units * sizeof *errors);
    for (int64_t u = 0; u < t->units; u++) {
        errors[t->a_units > 1 ? u : 0] += s->errors[u];
    }
}

static void take_better(double *best, double *best_error, const double *tried, const double *error,
                        int64_t units)
{
    for (int64_t u = 0; u < units; u++) {
        if (error[u] < best_error[u]) {
            best_error[u] = error[u];
            best[u] = tried[u];
        }
    }
}

static void try_b(searcher *s)
{
    set_b(s, s->b_try);
    trial_measure(s->p->t, s->errors);
    take_better(s->b_best, s->b_error, s->b_try, s->errors, s->p->t->units);
}

static void try_a(searcher *s)
{
    double *errors = s->centre + s->p->t->a_units; /* behind the centres */

    set_a(s, s->a_try);
    trial_measure(s->p->t, s->errors);
    errors_of_a(s, errors);
    take_better(s->a_best, s->a_error, s->a_try, errors, s->p->t->a_units);
}

/* Coarse candidates, then finer ones around each unit's best. */
static void scan(searcher *s, double *best, double *tried, int64_t units,
                 void (*attempt)(searcher *))
{
    double width = (LAST - s->p->from) / SEARCH_COARSE;

    for (int i = 0; i < SEARCH_COARSE; i++) {
        for (int64_t u = 0; u < units; u++) {
            tried[u] = s->p->from + i * width;
        }
        attempt(s);
    }
    for (int stage = 0; stage < SEARCH_FINE_STAGES; stage++) {
        width /= SEARCH_FINE / 2 + 1;
        memcpy(s->centre, best, (size_t)units * sizeof *best);
        for (int i = 1; i <= SEARCH_FINE; i++) {
            for (int64_t u = 0; u < units; u++) {
                double step = width * (double)((i + 1) / 2);

                tried[u] = fmax(s->centre[u] + (i % 2 == 0 ? step : -step), 1e-3);
            }
            attempt(s);
        }
    }
}

static void search_b(searcher *s)
{
    int64_t units = s->p->t->units;

    set_a(s, s->a_best);
    set_b(s, s->b_best);
    trial_measure(s->p->t, s->b_error);
    scan(s, s->b_best, s->b_try, units, try_b);
    set_b(s, s->b_best);
}

static void search_a(searcher *s)
{
    int64_t units = s->p->t->a_units;

    set_b(s, s->b_best);
    set_a(s, s->a_best);
    trial_measure(s->p->t, s->errors);
    errors_of_a(s, s->a_error);
    if (is_listed(s)) {
        int count = s->p->twin == TWIN_POSITIVE ? SEARCH_POSITIVE_M : SEARCH_SIGNED_M;

        for (int m = 0; m < count; m++) {
            for (int64_t u = 0; u < units; u++) {
                s->a_try[u] = m;
            }
            try_a(s);
        }
    } else {
        scan(s, s->a_best, s->a_try, units, try_a);
    }
    set_a(s, s->a_best);
}

/* ---- the whole ---- */

static double total_error(searcher *s)
{
    double total = 0.0;

    set_a(s, s->a_best);
    set_b(s, s->b_best);
    trial_measure(s->p->t, s->errors);
    for (int64_t u = 0; u < s->p->t->units; u++) {
        total += s->errors[u];
    }
    return total;
}

/* Where the search begins: what covers the ranges. */
static double beginning(const searcher *s)
{
    double m;

    if (!is_listed(s)) {
        return 1.0;
    }
    if (s->p->twin == TWIN_POSITIVE) {
        return 0.0;
    }
    m = ceil(log2(fmax((double)s->p->a_high[0], 1e-6) / (double)s->p->low));
    return fmin(fmax(m, 0.0), SEARCH_SIGNED_M - 1);
}

spry_status search_run(const search_problem *p, search_form form, arena *scratch,
                       search_result *result, spry_error *error)
{
    size_t most = (size_t)(p->t->units + p->t->a_units + p->b_count) * 2;
    searcher s = {.p = p, .form = form, .result = result};
    double *room = arena_array(scratch, most * 8, sizeof *room);

    s.steps = arena_array(scratch, (size_t)p->b_count, sizeof *s.steps);
    s.grids = arena_array(scratch, (size_t)p->t->a_units, sizeof *s.grids);
    if (room == NULL || s.steps == NULL || s.grids == NULL) {
        return alloc_failed(error, most * sizeof *room);
    }
    double **const arrays[] = {&s.b_best,  &s.b_try,   &s.a_best, &s.a_try,
                               &s.b_error, &s.a_error, &s.errors, &s.centre};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = room + i * most;
    }
    for (int64_t u = 0; u < p->t->units; u++) {
        s.b_best[u] = 1.0;
    }
    for (int64_t u = 0; u < p->t->a_units; u++) {
        s.a_best[u] = beginning(&s);
    }
    result->before = total_error(&s);
    for (int i = 0; i < p->rounds; i++) {
        bool first_first = p->t->unit_of == NULL; /* of two activations */

        if (first_first && !p->a_is_fixed) {
            search_a(&s);
        }
        search_b(&s);
        if (!first_first && !p->a_is_fixed) {
            search_a(&s);
        }
    }
    result->after = total_error(&s);
    result->form = form;
    result->m = is_listed(&s) ? (int)s.a_best[0] : 0;
    memcpy(result->grids, s.grids, (size_t)p->t->a_units * sizeof *s.grids);
    memcpy(result->steps, s.steps, (size_t)p->b_count * sizeof *s.steps);
    return SPRY_OK;
}
