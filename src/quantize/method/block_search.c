/* Coordinate descent on Gram matrices. */
#include "quantize/method/block_search.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/gemm/gemm_f32.h"

enum { ROWS = 8 }; /* outputs per piece of work */

block_search_options block_search_options_default(void)
{
    return (block_search_options){BLOCK_METRIC_L2, 0.5, 1.2, 36, 2, NULL};
}

/* What a change of one block does to an output's sums. */
typedef struct effect {
    double cross;  /* to w F w'^T */
    double square; /* to w' H w'^T */
} effect;

typedef struct search {
    weight_record *r;
    const float *dense;
    const gram *sums; /* NULL: the identity */
    const double *h;  /* H, or NULL */
    const block_search_options *options;
    const gemm_f32_kernel *kernel;
    const float *first; /* [blocks]: what factors multiply */
    int64_t size, groups, in_group;
    int64_t *order;            /* [size]: elements of a row, block by block */
    int64_t *begins;           /* [column_blocks + 1], of order */
    int64_t widest;            /* of blocks */
    float *values;             /* [outputs][size]: w' */
    double *u, *p;             /* [outputs][size] */
    double *crosses, *squares; /* [outputs]: w F w'^T and w' H w'^T */
    double *norms;             /* [outputs]: w G w^T */
    effect *effects;           /* [outputs][candidates] */
    effect *exact;             /* [outputs]: of the choice */
    float *steps;              /* [row_blocks]: the choice; the present one where that stays */
    float *packed;             /* [groups]: H_hh as panels, of the block at hand */
    float *changes, *left, *products; /* [workers][ROWS x candidates][widest] */
    struct row_sums *row_sums;        /* [row_blocks] */
    double *best;                     /* [row_blocks] */
    int64_t block;                    /* at hand */
} search;

/* ---- quadratic forms ---- */

static int64_t group_of(const search *s, int64_t output)
{
    return output / s->in_group;
}

typedef double two __attribute__((vector_size(2 * sizeof(double))));

/* to += x * line */
static void add_line(double x, const double *line, int64_t count, double *to)
{
    const two factor = {x, x};
    int64_t j = 0;

    for (; j + 4 <= count; j += 4) {
        two sum[2];
        two part[2];

        memcpy(sum, to + j, sizeof sum);
        memcpy(part, line + j, sizeof part);
        sum[0] += factor * part[0];
        sum[1] += factor * part[1];
        memcpy(to + j, sum, sizeof sum);
    }
    for (; j < count; j++) {
        to[j] += x * line[j];
    }
}

/* to = row x matrix, of one group; the identity without one. */
static void multiply_row(const double *matrix, int64_t size, const float *row, double *to)
{
    for (int64_t j = 0; j < size; j++) {
        to[j] = matrix == NULL ? (double)row[j] : 0.0;
    }
    for (int64_t i = 0; matrix != NULL && i < size; i++) {
        if (row[i] != 0.0f) {
            add_line((double)row[i], matrix + i * size, size, to);
        }
    }
}

static double dot(const double *a, const float *b, int64_t count)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        sum += a[i] * (double)b[i];
    }
    return sum;
}

static double form(const double *matrix, int64_t size, const float *a, const float *b)
{
    double sum = 0.0;

    for (int64_t i = 0; i < size; i++) {
        sum += (double)a[i] * dot(matrix + i * size, b, size);
    }
    return sum;
}

/* (w - v) G (w - v)^T */
static double error_form(const double *matrix, int64_t size, const float *w, const float *v)
{
    double sum = 0.0;

    for (int64_t i = 0; i < size; i++) {
        double d = (double)w[i] - (double)v[i];
        double line = 0.0;

        for (int64_t j = 0; d != 0.0 && j < size; j++) {
            line += matrix[i * size + j] * ((double)w[j] - (double)v[j]);
        }
        sum += d * line;
    }
    return sum;
}

/* How much errors of an output count. */
static double share_of(const gram *sums, int64_t output)
{
    return sums != NULL && sums->outputs != NULL ? sums->outputs[output] : 1.0;
}

double block_search_error(const gram *sums, int64_t outputs, int64_t output, const float *w,
                          const float *v)
{
    double share = share_of(sums, output);
    int64_t at = output / (outputs / sums->groups) * sums->size * sums->size;
    const double *f = sums->xq != NULL ? sums->xq : sums->xx;
    const double *h = sums->qq != NULL ? sums->qq : sums->xx;

    if (f == sums->xx) {
        return share * error_form(f + at, sums->size, w, v);
    }
    return share * (form(sums->xx + at, sums->size, w, w) - 2.0 * form(f + at, sums->size, w, v) +
                    form(h + at, sums->size, v, v));
}

/* Matrices of the output's group. */
static const double *matrix_of(const search *s, const double *matrices, int64_t output)
{
    return matrices != NULL ? matrices + group_of(s, output) * s->size * s->size : NULL;
}

static void start_rows(void *context, int64_t begin, int64_t end, int worker)
{
    search *s = context;
    const double *g = s->sums != NULL ? s->sums->xx : NULL;
    const double *f = s->sums != NULL && s->sums->xq != NULL ? s->sums->xq : g;

    (void)worker;
    for (int64_t m = begin; m < end; m++) {
        const float *w = s->dense + m * s->size;
        const float *v = s->values + m * s->size;
        double *u = s->u + m * s->size;
        double *p = s->p + m * s->size;

        if (f != g) {
            multiply_row(matrix_of(s, g, m), s->size, w, u);
            s->norms[m] = dot(u, w, s->size);
        }
        multiply_row(matrix_of(s, f, m), s->size, w, u);
        multiply_row(matrix_of(s, s->h, m), s->size, v, p);
        s->norms[m] = f == g ? dot(u, w, s->size) : s->norms[m];
        s->crosses[m] = dot(u, v, s->size);
        s->squares[m] = dot(p, v, s->size);
    }
}

/* ---- one block of inputs, one output ---- */

static int64_t width(const search *s)
{
    return s->begins[s->block + 1] - s->begins[s->block];
}

static const int64_t *elements(const search *s)
{
    return s->order + s->begins[s->block];
}

static int64_t step_index(const search *s, int64_t row_block)
{
    return row_block * s->r->column_blocks + s->block;
}

static int64_t row_block_of(const search *s, int64_t output)
{
    return s->r->row_map != NULL ? s->r->row_map[output] : output / s->r->row_block;
}

static float candidate(const search *s, int64_t row_block, int number)
{
    const block_search_options *o = s->options;
    double factor = o->least + (o->most - o->least) * number / (o->candidates - 1);

    return (float)((double)s->first[step_index(s, row_block)] * factor);
}

/* How the block's values change with that step. */
static void change_of(const search *s, int64_t output, float step, float *change)
{
    const float *w = s->dense + output * s->size;
    const float *v = s->values + output * s->size;
    const int64_t *e = elements(s);
    grid_codes limits = blocks_codes(s->r);

    for (int64_t i = 0; i < width(s); i++) {
        change[i] = blocks_round_one(w[e[i]], step, limits) * step - v[e[i]];
    }
}

/* The linear parts; `square` of it wants D H_hh D^T added. */
static effect linear_effect(const search *s, int64_t output, const float *change)
{
    const double *u = s->u + output * s->size;
    const double *p = s->p + output * s->size;
    const int64_t *e = elements(s);
    effect sum = {0.0, 0.0};

    for (int64_t i = 0; i < width(s); i++) {
        sum.cross += (double)change[i] * u[e[i]];
        sum.square += 2.0 * (double)change[i] * p[e[i]];
    }
    return sum;
}

/* ---- all candidates ---- */

/* Pieces of at most ROWS outputs, none across groups. */
static int64_t pieces_per_group(const search *s)
{
    return (s->in_group + ROWS - 1) / ROWS;
}

static void piece_outputs(const search *s, int64_t piece, int64_t *begin, int64_t *end)
{
    int64_t group = piece / pieces_per_group(s);

    *begin = group * s->in_group + piece % pieces_per_group(s) * ROWS;
    *end = *begin + ROWS < (group + 1) * s->in_group ? *begin + ROWS : (group + 1) * s->in_group;
}

/* products = changes x H_hh, of `rows` rows. */
static const float *multiply_changes(const search *s, int64_t group, int64_t rows, int worker)
{
    int64_t n = width(s);
    size_t room = (size_t)(ROWS * s->options->candidates * s->widest);
    size_t left =
        (size_t)gemm_f32_packed_size(ROWS * s->options->candidates, s->widest, s->kernel->mr);
    float *changes = s->changes + (size_t)worker * room;
    gemm_f32_problem problem = {
        .m = rows,
        .k = n,
        .n = n,
        .packed_a = s->left + (size_t)worker * left,
        .b = {.packed =
                  s->packed + group * gemm_f32_packed_size(s->widest, s->widest, s->kernel->nr)},
        .c = s->products + (size_t)worker * room,
        .c_stride = n,
        .finish = {.lower = -INFINITY, .upper = INFINITY}};

    if (s->h == NULL) {
        return changes;
    }
    gemm_f32_pack(changes, n, 1, rows, n, s->kernel->mr, s->left + (size_t)worker * left);
    gemm_f32_run(s->kernel, &problem, NULL);
    return problem.c;
}

static void try_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    search *s = context;
    int64_t n = width(s);
    int count = s->options->candidates;
    float *changes = s->changes + (size_t)worker * (size_t)(ROWS * count * s->widest);

    for (int64_t piece = begin; piece < end; piece++) {
        const float *products;
        int64_t from;
        int64_t to;

        piece_outputs(s, piece, &from, &to);
        for (int64_t i = 0; i < (to - from) * count; i++) {
            int64_t m = from + i / count;

            change_of(s, m, candidate(s, row_block_of(s, m), (int)(i % count)), changes + i * n);
        }
        products = multiply_changes(s, group_of(s, from), (to - from) * count, worker);
        for (int64_t i = 0; i < (to - from) * count; i++) {
            effect sum = linear_effect(s, from + i / count, changes + i * n);

            for (int64_t j = 0; j < n; j++) {
                sum.square += (double)changes[i * n + j] * (double)products[i * n + j];
            }
            s->effects[from * count + i] = sum;
        }
    }
}

/* ---- the choice ---- */

/* The part of the objective that outputs of one block of rows have; smaller is better. */
static double objective(const search *s, double norm, double cross, double square)
{
    if (s->options->metric == BLOCK_METRIC_COSINE) {
        double scale = sqrt(norm * square);

        return scale > 0.0 ? -cross / scale : norm > 0.0 ? 0.0 : -1.0;
    }
    return norm - 2.0 * cross + square;
}

/* Outputs of each block of rows together: their present sums, with what `pick` adds. */
struct row_sums {
    double norm, cross, square;
};

static void add_output(const search *s, int64_t output, effect e, struct row_sums *sum)
{
    double share = share_of(s->sums, output);

    sum->norm += share * s->norms[output];
    sum->cross += share * (s->crosses[output] + e.cross);
    sum->square += share * (s->squares[output] + e.square);
}

static void choose_steps(search *s)
{
    struct row_sums *sums = s->row_sums;
    double *best = s->best;
    int count = s->options->candidates;
    int64_t blocks = s->r->row_blocks;

    for (int number = -1; number < count; number++) {
        memset(sums, 0, (size_t)blocks * sizeof *sums);
        for (int64_t m = 0; m < s->r->w.outputs; m++) {
            add_output(s, m, number >= 0 ? s->effects[m * count + number] : (effect){0.0, 0.0},
                       &sums[row_block_of(s, m)]);
        }
        for (int64_t v = 0; v < blocks; v++) {
            double x = objective(s, sums[v].norm, sums[v].cross, sums[v].square);

            if (number < 0 || x < best[v]) {
                best[v] = x;
                s->steps[v] = number < 0 ? s->r->steps[step_index(s, v)] : candidate(s, v, number);
            }
        }
    }
}

/* The choice again, in f64. */
static void measure_rows(void *context, int64_t begin, int64_t end, int worker)
{
    search *s = context;
    int64_t n = width(s);
    const int64_t *e = elements(s);
    float *change =
        s->changes + (size_t)worker * (size_t)(ROWS * s->options->candidates * s->widest);

    for (int64_t m = begin; m < end; m++) {
        const double *h = matrix_of(s, s->h, m);
        float step = s->steps[row_block_of(s, m)];
        effect sum = {0.0, 0.0};

        if (step != s->r->steps[step_index(s, row_block_of(s, m))]) {
            change_of(s, m, step, change);
            sum = linear_effect(s, m, change);
            for (int64_t i = 0; i < n; i++) {
                double total = h == NULL ? (double)change[i] : 0.0;

                for (int64_t j = 0; h != NULL && change[i] != 0.0f && j < n; j++) {
                    total += h[e[i] * s->size + e[j]] * (double)change[j];
                }
                sum.square += (double)change[i] * total;
            }
        }
        s->exact[m] = sum;
    }
}

static void keep_better(search *s)
{
    struct row_sums *sums = s->row_sums;
    double *before = s->best;
    int64_t blocks = s->r->row_blocks;

    for (int with = 0; with < 2; with++) {
        memset(sums, 0, (size_t)blocks * sizeof *sums);
        for (int64_t m = 0; m < s->r->w.outputs; m++) {
            add_output(s, m, with ? s->exact[m] : (effect){0.0, 0.0}, &sums[row_block_of(s, m)]);
        }
        for (int64_t v = 0; v < blocks; v++) {
            double x = objective(s, sums[v].norm, sums[v].cross, sums[v].square);

            if (!with) {
                before[v] = x;
            } else if (!(x < before[v])) {
                s->steps[v] = s->r->steps[step_index(s, v)];
            }
        }
    }
}

static void apply_rows(void *context, int64_t begin, int64_t end, int worker)
{
    search *s = context;
    const int64_t *e = elements(s);
    grid_codes limits = blocks_codes(s->r);

    (void)worker;
    for (int64_t m = begin; m < end; m++) {
        const float *w = s->dense + m * s->size;
        const double *h = matrix_of(s, s->h, m);
        double *p = s->p + m * s->size;
        float *v = s->values + m * s->size;
        float step = s->steps[row_block_of(s, m)];

        if (step == s->r->steps[step_index(s, row_block_of(s, m))]) {
            continue;
        }
        s->crosses[m] += s->exact[m].cross;
        s->squares[m] += s->exact[m].square;
        for (int64_t i = 0; i < width(s); i++) {
            float value = blocks_round_one(w[e[i]], step, limits) * step;
            double d = (double)value - (double)v[e[i]];

            v[e[i]] = value;
            if (h == NULL) {
                p[e[i]] += d;
            }
            if (h != NULL && d != 0.0) {
                add_line(d, h + e[i] * s->size, s->size, p);
            }
        }
    }
}

static void pack_block(search *s)
{
    int64_t n = width(s);
    const int64_t *e = elements(s);
    int64_t room = gemm_f32_packed_size(s->widest, s->widest, s->kernel->nr);
    float *square = s->products; /* free now */

    for (int64_t group = 0; s->h != NULL && group < s->groups; group++) {
        const double *h = s->h + group * s->size * s->size;

        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < n; j++) {
                square[i * n + j] = (float)h[e[i] * s->size + e[j]];
            }
        }
        gemm_f32_pack(square, 1, n, n, n, s->kernel->nr, s->packed + group * room);
    }
}

/* True when a step changed. */
static bool improve_block(search *s, threads *team)
{
    int64_t outputs = s->r->w.outputs;
    bool changed = false;

    pack_block(s);
    threads_for(team, pieces_per_group(s) * s->groups, 1, try_pieces, s);
    choose_steps(s);
    threads_for(team, outputs, ROWS, measure_rows, s);
    keep_better(s);
    threads_for(team, outputs, ROWS, apply_rows, s);
    for (int64_t v = 0; v < s->r->row_blocks; v++) {
        float *step = &s->r->steps[step_index(s, v)];

        changed = changed || *step != s->steps[v];
        *step = s->steps[v];
    }
    return changed;
}

/* ---- the whole ---- */

/* Elements of a row block by block, in the order in which blocks hold their inputs. */
static void order_elements(search *s)
{
    const weight_record *r = s->r;
    int64_t at = 0;

    s->widest = 1;
    for (int64_t block = 0; block < r->column_blocks; block++) {
        s->begins[block] = at;
        for (int64_t i = 0; i < r->w.inputs; i++) {
            for (int64_t tap = 0;
                 record_block(r, 0, i) % r->column_blocks == block && tap < r->w.taps; tap++) {
                s->order[at++] = i * r->w.taps + tap;
            }
        }
        s->widest = at - s->begins[block] > s->widest ? at - s->begins[block] : s->widest;
    }
    s->begins[r->column_blocks] = at;
}

static spry_status make_room(search *s, int workers, arena *room, spry_error *error)
{
    size_t outputs = (size_t)s->r->w.outputs;
    size_t entries = outputs * (size_t)s->size;
    size_t tried = (size_t)(ROWS * s->options->candidates);
    size_t widest;
    size_t products;
    bool fits;

    s->order = arena_array(room, (size_t)s->size, sizeof *s->order);
    s->begins = arena_array(room, (size_t)s->r->column_blocks + 1, sizeof *s->begins);
    if (s->order == NULL || s->begins == NULL) {
        return alloc_failed(error, (size_t)s->size * sizeof *s->order);
    }
    order_elements(s);
    widest = (size_t)s->widest;
    products = tried * widest * (size_t)workers;
    products = products > widest * widest ? products : widest * widest;
    s->values = arena_array(room, entries, sizeof *s->values);
    s->u = arena_array(room, entries, sizeof *s->u);
    s->p = arena_array(room, entries, sizeof *s->p);
    s->crosses = arena_array(room, outputs, sizeof *s->crosses);
    s->squares = arena_array(room, outputs, sizeof *s->squares);
    s->norms = arena_array(room, outputs, sizeof *s->norms);
    s->effects = arena_array(room, outputs * (size_t)s->options->candidates, sizeof *s->effects);
    s->exact = arena_array(room, outputs, sizeof *s->exact);
    s->steps = arena_array(room, (size_t)s->r->row_blocks, sizeof *s->steps);
    s->packed = arena_array(
        room, (size_t)s->groups * (size_t)gemm_f32_packed_size(s->widest, s->widest, s->kernel->nr),
        sizeof *s->packed);
    s->changes = arena_array(room, tried * widest * (size_t)workers, sizeof *s->changes);
    s->left = arena_array(room,
                          (size_t)gemm_f32_packed_size((int64_t)tried, s->widest, s->kernel->mr) *
                              (size_t)workers,
                          sizeof *s->left);
    s->products = arena_array(room, products, sizeof *s->products);
    s->row_sums = arena_array(room, (size_t)s->r->row_blocks, sizeof *s->row_sums);
    s->best = arena_array(room, (size_t)s->r->row_blocks, sizeof *s->best);
    fits = s->values != NULL && s->u != NULL && s->p != NULL && s->crosses != NULL &&
           s->squares != NULL && s->norms != NULL && s->effects != NULL && s->exact != NULL &&
           s->steps != NULL && s->packed != NULL && s->changes != NULL && s->left != NULL &&
           s->products != NULL && s->row_sums != NULL && s->best != NULL;
    return fits ? SPRY_OK : alloc_failed(error, products * sizeof *s->products);
}

/* Errors of outputs without what the sums have added up in rounding. */
static void measure_errors(void *context, int64_t begin, int64_t end, int worker)
{
    search *s = context;

    (void)worker;
    for (int64_t m = begin; m < end; m++) {
        const float *w = s->dense + m * s->size;
        const float *v = s->values + m * s->size;

        if (s->sums != NULL) {
            s->norms[m] = block_search_error(s->sums, s->r->w.outputs, m, w, v);
            continue;
        }
        s->norms[m] = 0.0;
        for (int64_t i = 0; i < s->size; i++) {
            s->norms[m] += ((double)v[i] - (double)w[i]) * ((double)v[i] - (double)w[i]);
        }
    }
}

static double total_error(search *s, threads *team)
{
    double sum = 0.0;

    threads_for(team, s->r->w.outputs, ROWS, measure_errors, s);
    for (int64_t m = 0; m < s->r->w.outputs; m++) {
        sum += s->norms[m];
    }
    return sum;
}

static void descend(search *s, threads *team, block_search_report *report)
{
    bool changed = true;

    for (report->rounds = 0; changed && report->rounds < s->options->rounds; report->rounds++) {
        changed = false;
        for (s->block = 0; s->block < s->r->column_blocks; s->block++) {
            changed = improve_block(s, team) || changed;
        }
    }
}

spry_status block_search(weight_record *r, const float *dense, const gram *sums,
                         const block_search_options *options, const spry_allocator *allocator,
                         threads *team, block_search_report *report, spry_error *error)
{
    search s = {.r = r,
                .dense = dense,
                .sums = options->metric == BLOCK_METRIC_WEIGHT ? NULL : sums,
                .options = options,
                .kernel = gemm_f32_select(),
                .size = r->w.inputs * r->w.taps};
    size_t blocks = (size_t)record_blocks(r);
    float *first;
    arena room;
    spry_status status;

    s.groups = s.sums != NULL ? sums->groups : 1;
    s.in_group = r->w.outputs / s.groups;
    s.h = s.sums == NULL ? NULL : sums->qq != NULL ? sums->qq : sums->xx;
    arena_init(&room, allocator, SIZE_MAX);
    first = arena_array(&room, blocks, sizeof *first);
    status = first == NULL ? alloc_failed(error, blocks * sizeof *first)
                           : make_room(&s, threads_count(team), &room, error);
    if (status == SPRY_OK) {
        memcpy(first, r->steps, blocks * sizeof *first);
        s.first = options->base != NULL ? options->base : first;
        blocks_round(r, dense);
        blocks_values(r, s.values);
        report->before = total_error(&s, team);
        threads_for(team, r->w.outputs, ROWS, start_rows, &s);
        descend(&s, team, report);
        report->after = total_error(&s, team);
        report->changes = 0;
        for (size_t i = 0; i < blocks; i++) {
            report->changes += first[i] != r->steps[i];
        }
        blocks_round(r, dense);
    }
    arena_fini(&room);
    return status;
}
