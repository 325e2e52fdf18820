/* Copies of input rows, and the loops around tiles of outer products. */
#include "kernels/conv/conv_gradient.h"

#include <string.h>

#include "kernels/transpose/transpose.h"

enum {
    ALIGN = 64,
    COPY_BYTES = 384 << 10, /* of x at one time, in the second-level cache */
    MOST_COLUMNS = 192,     /* of a piece: channels x kernel columns */
    LEAST_LINE_PIXELS = 512,
    WANTED_PIECES = 16,
    SUM_BYTES = 16 << 20, /* of all partial sums */
    MOST_SLICE = 256      /* channels */
};

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- the plan ---- */

/* Pieces of images, at most, that so many rows of pixels are of. */
static int64_t segments_of(const conv_gradient *c, int64_t lines)
{
    int64_t out_h = c->problem.shape.out_h;

    return (lines + out_h - 2) / out_h + 1;
}

/* Input rows that are copied for them. */
static int64_t rows_of(const conv_gradient *c, int64_t lines)
{
    const conv_f32_shape *s = &c->problem.shape;
    int64_t halo = (s->kernel_h - 1) * s->dilation_h + s->stride_h;

    return lines * s->stride_h + segments_of(c, lines) * halo;
}

static void slice_channels(conv_gradient *c)
{
    const conv_f32_shape *s = &c->problem.shape;
    int64_t nr = c->kernel->nr;
    int64_t fit = most(MOST_COLUMNS / s->kernel_w / nr, 1) * nr;

    c->channel_slice = least(s->channels, c->in_place ? s->channels : least(fit, MOST_SLICE));
}

static void slice_lines(conv_gradient *c)
{
    const conv_gradient_problem *p = &c->problem;
    const conv_f32_shape *s = &p->shape;
    int64_t lines = p->batch * s->out_h;
    int64_t parts = p->groups * pieces_of(s->channels, c->channel_slice);
    int64_t slices = least(pieces_of(WANTED_PIECES, parts),
                           most(SUM_BYTES / (c->sum_floats * (int64_t)sizeof(float)), 1));
    int64_t row_bytes = c->steps * s->kernel_w * c->channel_slice * (int64_t)sizeof(float);
    int64_t wanted;

    slices = most(least(slices, lines * s->out_w / LEAST_LINE_PIXELS), 1);
    c->line_slice = pieces_of(lines, slices);
    slices = pieces_of(lines, c->line_slice);
    wanted = least(pieces_of(WANTED_PIECES, parts * slices), pieces_of(p->filters, c->kernel->mr));
    c->filter_slice = round_up(pieces_of(p->filters, wanted), wanted > 1 ? c->kernel->mr : 1);
    c->lines = c->line_slice;
    while (!c->in_place && c->lines > 1 && rows_of(c, c->lines) * row_bytes > COPY_BYTES) {
        c->lines = pieces_of(c->lines, 2);
    }
    c->pieces = parts * slices * pieces_of(p->filters, c->filter_slice);
}

/* Runs of one kernel row. */
static int64_t most_runs(const conv_gradient *c)
{
    return c->in_place && c->problem.shape.stride_h > 1 ? c->lines : segments_of(c, c->lines);
}

/* Bytes that start a worker's part of the workspace. */
typedef struct scratch {
    int64_t counts; /* of runs, per kernel row */
    int64_t runs;
    int64_t a, b; /* copies */
    int64_t end;
} scratch;

static scratch scratch_of(const conv_gradient *c)
{
    const conv_f32_shape *s = &c->problem.shape;
    int64_t row_bytes = c->steps * s->kernel_w * c->channel_slice * (int64_t)sizeof(float);
    int64_t a_bytes = c->kernel->type == OUTER_BF16
                          ? c->lines * c->steps * c->filter_slice * (int64_t)sizeof(uint32_t)
                          : 0;
    scratch at = {.runs = round_up(s->kernel_h * (int64_t)sizeof(int64_t), ALIGN)};

    at.a = at.runs + round_up(s->kernel_h * most_runs(c) * (int64_t)sizeof(outer_run), ALIGN);
    at.b = at.a + round_up(a_bytes, ALIGN);
    at.end = at.b + (c->in_place ? 0 : round_up(c->copied_rows * row_bytes, ALIGN));
    at.end = most(at.end, round_up(c->sum_floats / (c->problem.groups * c->problem.filters) *
                                       (int64_t)sizeof(float),
                                   ALIGN));
    return at;
}

void conv_gradient_plan(const conv_gradient_problem *problem, const outer_kernel *kernel,
                        conv_gradient *c)
{
    const conv_f32_shape *s = &problem->shape;

    *c = (conv_gradient){.problem = *problem,
                         .kernel = kernel,
                         .narrow = bf16_select(),
                         .in_place = kernel->type == OUTER_F32 && s->kernel_w == 1 &&
                                     s->stride_w == 1 && s->pad_w == 0 && s->out_w == s->in_w,
                         .steps = pieces_of(s->out_w, kernel->group)};
    c->sum_floats = problem->groups * problem->filters * s->channels * s->kernel_h * s->kernel_w;
    slice_channels(c);
    slice_lines(c);
    c->copied_rows = rows_of(c, c->lines);
    c->worker_bytes = scratch_of(c).end;
    c->shared_bytes = round_up(pieces_of(problem->batch * s->out_h, c->line_slice) * c->sum_floats *
                                   (int64_t)sizeof(float),
                               ALIGN);
}

/* ---- copies ---- */

/* A piece of work. */
typedef struct piece {
    const conv_gradient_call *call;
    int64_t group;
    int64_t channel, channels;
    int64_t filter, filters;
    int64_t line, end; /* rows of pixels */
    float *sums;       /* row 0, channel 0 of the slice */
    char *worker;
    scratch at;
} piece;

/* What pixel `j` of a row sees at kernel column `q`; zeros beyond the edges. */
static const float *seen(const piece *p, const float *row, int64_t j, int64_t q)
{
    static const float zeros[MOST_SLICE];
    const conv_gradient_problem *problem = &p->call->c->problem;
    const conv_f32_shape *s = &problem->shape;
    int64_t column = j * s->stride_w - s->pad_w + q * s->dilation_w;

    return j < s->out_w && column >= 0 && column < s->in_w
               ? row + column * problem->groups * s->channels
               : zeros;
}

/* Pixels [begin, end) see a row from its first to its last kernel column inside, side by side. */
static void whole_pixels(const conv_f32_shape *s, int64_t *begin, int64_t *end)
{
    int64_t reach = s->in_w - s->kernel_w + s->pad_w;

    *begin = least(pieces_of(s->pad_w, s->stride_w), s->out_w);
    *end = reach < 0 ? *begin : most(least(reach / s->stride_w + 1, s->out_w), *begin);
}

static void copy_pixels(const piece *p, const float *row, int64_t begin, int64_t end, float *to)
{
    int64_t kernel_w = p->call->c->problem.shape.kernel_w;

    to += begin * kernel_w * p->channels;
    for (int64_t j = begin; j < end; j++) {
        for (int64_t q = 0; q < kernel_w; q++, to += p->channels) {
            memcpy(to, seen(p, row, j, q), (size_t)p->channels * sizeof *to);
        }
    }
}

/* `row` is that of the piece's first channel. */
static void copy_row(const piece *p, const float *row, float *to)
{
    const conv_gradient_problem *problem = &p->call->c->problem;
    const conv_f32_shape *s = &problem->shape;
    int64_t width = s->kernel_w * p->channels;
    int64_t begin = 0;
    int64_t end = 0;

    if (s->dilation_w == 1 && p->channels == problem->groups * s->channels) {
        whole_pixels(s, &begin, &end);
    }
    copy_pixels(p, row, 0, begin, to);
    for (int64_t j = begin; j < end; j++) {
        memcpy(to + j * width, row + (j * s->stride_w - s->pad_w) * p->channels,
               (size_t)width * sizeof *to);
    }
    copy_pixels(p, row, end, s->out_w, to);
}

/* The same in pairs of pixels. */
static void pair_row(const piece *p, const float *row, uint32_t *to)
{
    const conv_gradient *c = p->call->c;

    for (int64_t j = 0; j < 2 * c->steps; j += 2) {
        for (int64_t q = 0; q < c->problem.shape.kernel_w; q++, to += p->channels) {
            c->narrow->pair(to, seen(p, row, j, q), seen(p, row, j + 1, q), p->channels);
        }
    }
}

/* dy of a row of pixels in pairs; the last may be half of one. */
static void pair_line(const piece *p, const float *line, uint32_t *to)
{
    const conv_gradient *c = p->call->c;
    int64_t pitch = c->problem.groups * c->problem.filters;
    int64_t pixels = c->problem.shape.out_w;

    for (int64_t j = 0; j < pixels; j += 2, to += p->filters) {
        const float *even = line + j * pitch;

        c->narrow->pair(to, even, j + 1 < pixels ? even + pitch : NULL, p->filters);
    }
}

/* ---- chunks: rows of pixels whose sums are added in one go ---- */

typedef struct chunk {
    const piece *p;
    const char *a, *b;
    int64_t a_pitch, b_pitch; /* from step to step */
    int64_t a_line, b_row;    /* from row to row of pixels, and of copied rows */
    int64_t *counts;          /* of runs, per kernel row */
    outer_run *runs;          /* [kernel_h][most_runs] */
    int64_t copied;           /* rows so far */
} chunk;

static void add_run(const chunk *k, int64_t r, int64_t a, int64_t b, int64_t steps)
{
    k->runs[r * most_runs(k->p->call->c) + k->counts[r]++] = (outer_run){a, b, steps};
}

/* The part of [begin, end) of output rows that see a row of the image at kernel row `r`. */
static void rows_inside(const conv_f32_shape *s, int64_t r, int64_t *begin, int64_t *end)
{
    int64_t offset = r * s->dilation_h - s->pad_h;
    int64_t first = offset < 0 ? pieces_of(-offset, s->stride_h) : 0;
    int64_t after = s->in_h > offset ? pieces_of(s->in_h - offset, s->stride_h) : 0;

    *begin = most(*begin, first);
    *end = most(least(*end, after), *begin);
}

/* Runs of output rows [row, end) of an image, x read where it lies. `done` rows of the chunk come
 * before. */
static void see_in_place(const chunk *k, int64_t image, int64_t row, int64_t end, int64_t done)
{
    const conv_gradient *c = k->p->call->c;
    const conv_f32_shape *s = &c->problem.shape;

    for (int64_t r = 0; r < s->kernel_h; r++) {
        int64_t first = row;
        int64_t last = end;

        rows_inside(s, r, &first, &last);
        for (int64_t i = first; i < last;) {
            int64_t rows = s->stride_h == 1 ? last - i : 1;
            int64_t in = i * s->stride_h - s->pad_h + r * s->dilation_h;

            add_run(k, r, (done + i - row) * k->a_line,
                    (image * s->in_h + in) * s->in_w * k->b_pitch, rows * s->out_w);
            i += rows;
        }
    }
}

/* Is row `at` of a segment, counted from the first that it may see, seen at some kernel row? */
static bool is_seen(const conv_f32_shape *s, int64_t at)
{
    for (int64_t r = 0; r < s->kernel_h; r++) {
        if (at >= r * s->dilation_h && (at - r * s->dilation_h) % s->stride_h == 0) {
            return true;
        }
    }
    return false;
}

/* The same of copies: rows a stride apart lie one after the other. */
static void see_copies(chunk *k, int64_t image, int64_t row, int64_t end, int64_t done)
{
    const piece *p = k->p;
    const conv_gradient *c = p->call->c;
    const conv_gradient_problem *problem = &c->problem;
    const conv_f32_shape *s = &problem->shape;
    int64_t span = (end - row - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
    int64_t phase = pieces_of(span, s->stride_h);
    int64_t top = row * s->stride_h - s->pad_h;
    int64_t pitch = problem->groups * s->channels;
    const float *x =
        p->call->x + image * s->in_h * s->in_w * pitch + p->group * s->channels + p->channel;

    for (int64_t at = 0; at < span; at++) {
        int64_t place = k->copied + at % s->stride_h * phase + at / s->stride_h;
        char *to = p->worker + p->at.b + place * k->b_row;
        int64_t in = top + at;

        if (in < 0 || in >= s->in_h || !is_seen(s, at)) {
            continue;
        }
        if (c->kernel->type == OUTER_BF16) {
            pair_row(p, x + in * s->in_w * pitch, (uint32_t *)(void *)to);
        } else {
            copy_row(p, x + in * s->in_w * pitch, (float *)(void *)to);
        }
    }
    for (int64_t r = 0; r < s->kernel_h; r++) {
        int64_t first = row;
        int64_t last = end;
        int64_t at = r * s->dilation_h;

        rows_inside(s, r, &first, &last);
        if (first < last) {
            add_run(k, r, (done + first - row) * k->a_line,
                    (k->copied + at % s->stride_h * phase + at / s->stride_h + first - row) *
                        k->b_row,
                    (last - first) * c->steps);
        }
    }
    k->copied += phase * s->stride_h;
}

/* Rows [line, end) of pixels: copies, and the runs of every kernel row. */
static void gather(chunk *k, int64_t line, int64_t end)
{
    const piece *p = k->p;
    const conv_gradient *c = p->call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t pitch = c->problem.groups * c->problem.filters;
    const float *dy =
        p->call->dy + line * s->out_w * pitch + p->group * c->problem.filters + p->filter;

    memset(k->counts, 0, (size_t)s->kernel_h * sizeof *k->counts);
    k->copied = 0;
    k->a = (const char *)dy;
    if (c->kernel->type == OUTER_BF16) {
        k->a = p->worker + p->at.a;
        for (int64_t i = line; i < end; i++) {
            pair_line(p, dy + (i - line) * s->out_w * pitch,
                      (uint32_t *)(void *)(p->worker + p->at.a + (i - line) * k->a_line));
        }
    }
    for (int64_t at = line; at < end;) {
        int64_t image = at / s->out_h;
        int64_t row = at % s->out_h;
        int64_t last = least(s->out_h, row + end - at);

        if (c->in_place) {
            see_in_place(k, image, row, last, at - line);
        } else {
            see_copies(k, image, row, last, at - line);
        }
        at += last - row;
    }
}

/* All tiles of the piece; `accumulate` onto what earlier chunks gave. */
static void multiply(const chunk *k, bool accumulate)
{
    const piece *p = k->p;
    const conv_gradient *c = p->call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t columns = s->kernel_w * p->channels;
    int64_t row_floats = s->channels * s->kernel_h * s->kernel_w;
    int64_t tiles = pieces_of(p->filters, c->kernel->mr);
    int64_t rows = pieces_of(p->filters, tiles);

    for (int64_t column = 0; column < columns; column += c->kernel->nr) {
        for (int64_t r = 0; r < s->kernel_h; r++) {
            for (int64_t row = 0; row < p->filters; row += rows) {
                outer_tile tile = {.a = k->a + row * (int64_t)sizeof(float),
                                   .b = k->b + column * (int64_t)sizeof(float),
                                   .a_pitch = k->a_pitch,
                                   .b_pitch = k->b_pitch,
                                   .runs = k->runs + r * most_runs(c),
                                   .run_count = k->counts[r],
                                   .c = p->sums + row * row_floats + r * columns + column,
                                   .c_pitch = row_floats,
                                   .rows = (int)least(rows, p->filters - row),
                                   .columns = (int)least(c->kernel->nr, columns - column),
                                   .accumulate = accumulate};

                c->kernel->tile(&tile);
            }
        }
    }
}

static void run_piece(const piece *p)
{
    const conv_gradient *c = p->call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t pitch = c->problem.groups * s->channels;
    bool pairs = c->kernel->type == OUTER_BF16;
    int64_t filters = pairs ? p->filters : c->problem.groups * c->problem.filters;
    chunk k = {.p = p,
               .b = p->worker + p->at.b,
               .a_pitch = filters * (int64_t)sizeof(float),
               .a_line = c->steps * filters * (int64_t)sizeof(float),
               .b_pitch =
                   (c->in_place ? pitch : s->kernel_w * p->channels) * (int64_t)sizeof(float),
               .counts = (int64_t *)(void *)(p->worker + p->at.counts),
               .runs = (outer_run *)(void *)(p->worker + p->at.runs)};

    k.b_row = c->steps * k.b_pitch;
    if (c->in_place) {
        k.b = (const char *)(p->call->x + p->group * s->channels + p->channel);
    }
    for (int64_t line = p->line; line < p->end; line += c->lines) {
        gather(&k, line, least(line + c->lines, p->end));
        multiply(&k, line > p->line);
    }
}

void conv_gradient_run(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_gradient_call *call = context;
    const conv_gradient *c = call->c;
    const conv_gradient_problem *problem = &c->problem;
    const conv_f32_shape *s = &problem->shape;
    int64_t filter_slices = pieces_of(problem->filters, c->filter_slice);
    int64_t channel_slices = pieces_of(s->channels, c->channel_slice);
    int64_t positions = s->kernel_h * s->kernel_w;

    for (int64_t i = begin; i < end; i++) {
        piece p = {.call = call,
                   .filter = i % filter_slices * c->filter_slice,
                   .channel = i / filter_slices % channel_slices * c->channel_slice,
                   .group = i / filter_slices / channel_slices % problem->groups,
                   .worker = (char *)call->workspace + c->shared_bytes + worker * c->worker_bytes,
                   .at = scratch_of(c)};
        int64_t slice = i / filter_slices / channel_slices / problem->groups;

        p.filters = least(problem->filters - p.filter, c->filter_slice);
        p.channels = least(s->channels - p.channel, c->channel_slice);
        p.line = slice * c->line_slice;
        p.end = least(p.line + c->line_slice, problem->batch * s->out_h);
        p.sums = (float *)call->workspace + slice * c->sum_floats +
                 (p.group * problem->filters + p.filter) * s->channels * positions +
                 p.channel * positions;
        run_piece(&p);
    }
}

void conv_gradient_finish(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_gradient_call *call = context;
    const conv_gradient *c = call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t positions = s->kernel_h * s->kernel_w;
    int64_t floats = s->channels * positions;
    int64_t slices = pieces_of(c->problem.batch * s->out_h, c->line_slice);
    float *sum =
        (float *)(void *)((char *)call->workspace + c->shared_bytes + worker * c->worker_bytes);

    for (int64_t row = begin; row < end; row++) {
        const float *from = (const float *)call->workspace + row * floats;

        for (int64_t slice = 1; slice < slices; slice++) {
            const float *next = from + slice * c->sum_floats;
            const float *before = slice == 1 ? from : sum;

            for (int64_t i = 0; i < floats; i++) {
                sum[i] = before[i] + next[i];
            }
        }
        from = slices > 1 ? sum : from;
        for (int64_t channel = 0; channel < s->channels; channel += c->channel_slice) {
            int64_t channels = least(s->channels - channel, c->channel_slice);
            transpose_matrix m = {.from = from + channel * positions,
                                  .to = call->dw + row * floats + channel * positions,
                                  .rows = positions,
                                  .columns = channels,
                                  .from_pitch = channels * (int64_t)sizeof(float),
                                  .to_pitch = positions * (int64_t)sizeof(float)};

            transpose_select()->words(&m);
        }
    }
}
