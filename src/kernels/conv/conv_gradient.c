/* Copies of input rows, and the loops around tiles of outer products. */
#include "kernels/conv/conv_gradient.h"

#include <string.h>

#include "kernels/transpose/transpose.h"

enum {
    ALIGN = 64,
    COPY_BYTES = 384 << 10,
    /* of x at one time, in the second-level cache */ MOST_SLICE = 128, /* channels */
    LEAST_LINE_PIXELS = 512,
    WANTED_PIECES = 16,
    SUM_BYTES = 16 << 20 /* of all partial sums */
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

static void slice_lines(conv_gradient *c)
{
    const conv_gradient_problem *p = &c->problem;
    const conv_f32_shape *s = &p->shape;
    int64_t lines = p->batch * s->out_h;
    int64_t parts = p->groups * pieces_of(s->channels, c->channel_slice);
    int64_t slices = least(pieces_of(WANTED_PIECES, parts),
                           most(SUM_BYTES / (c->sum_floats * (int64_t)sizeof(float)), 1));
    int64_t row_bytes = c->row_pixels * c->channel_slice * (int64_t)sizeof(float);
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
    int64_t row_bytes = c->row_pixels * c->channel_slice * (int64_t)sizeof(float);
    int64_t a_bytes = c->kernel->type == OUTER_BF16
                          ? c->lines * s->out_w * c->filter_slice * (int64_t)sizeof(uint32_t)
                          : 0;
    scratch at = {.runs = round_up(s->kernel_h * (int64_t)sizeof(int64_t), ALIGN)};

    at.a = at.runs + round_up(s->kernel_h * c->lines * (int64_t)sizeof(outer_run), ALIGN);
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
    c->row_pixels =
        (c->steps * kernel->group - 1) * s->stride_w + (s->kernel_w - 1) * s->dilation_w + 1;
    c->channel_slice = c->in_place ? s->channels : least(s->channels, MOST_SLICE);
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

/* Pixel `i` of a row between its pads, from the piece's first channel on; zeros for pads. */
static const float *pixel_at(const piece *p, const float *row, int64_t i)
{
    static const float zeros[MOST_SLICE];
    const conv_gradient_problem *problem = &p->call->c->problem;
    const conv_f32_shape *s = &problem->shape;
    int64_t column = i - s->pad_w;

    return column >= 0 && column < s->in_w ? row + column * problem->groups * s->channels : zeros;
}

/* Does the piece take all channels of the image? Then pixels follow one another. */
static bool takes_all(const piece *p)
{
    const conv_gradient_problem *problem = &p->call->c->problem;

    return p->channels == problem->groups * problem->shape.channels;
}

/* Pixels [first, last) of a row between its pads lie in the image. */
static void find_inside(const conv_gradient *c, int64_t *first, int64_t *last)
{
    const conv_f32_shape *s = &c->problem.shape;

    *first = least(s->pad_w, c->row_pixels);
    *last = least(s->pad_w + s->in_w, c->row_pixels);
}

static void copy_row(const piece *p, const float *row, float *to)
{
    const conv_gradient *c = p->call->c;
    size_t bytes = (size_t)p->channels * sizeof *to;
    int64_t first;
    int64_t last;

    find_inside(c, &first, &last);
    memset(to, 0, (size_t)first * bytes);
    memset(to + last * p->channels, 0, (size_t)(c->row_pixels - last) * bytes);
    if (takes_all(p)) {
        memcpy(to + first * p->channels, row + (first - c->problem.shape.pad_w) * p->channels,
               (size_t)(last - first) * bytes);
        return;
    }
    for (int64_t i = first; i < last; i++) {
        memcpy(to + i * p->channels, pixel_at(p, row, i), bytes);
    }
}

/* The same where the upper half of a pair is what the next pixel of dy sees, a stride further on.
 * So the pairs of every second pixel of dy are there, and those of all its kernel columns. */
static void pair_row(const piece *p, const float *row, uint32_t *to)
{
    const conv_gradient *c = p->call->c;
    int64_t stride = c->problem.shape.stride_w;
    int64_t first;
    int64_t last;

    find_inside(c, &first, &last);
    last = last - stride > first && takes_all(p) ? last - stride : first;
    for (int64_t i = 0; i < c->row_pixels;) {
        int64_t count = i == first && last > first ? last - first : 1;

        c->narrow->pair(to + i * p->channels, pixel_at(p, row, i), pixel_at(p, row, i + stride),
                        count * p->channels);
        i += count;
    }
}

/* dy of a row of pixels, each paired with the next, of which every second pair is used; the last
 * may be half of one. */
static void pair_line(const piece *p, const float *line, uint32_t *to)
{
    const conv_gradient *c = p->call->c;
    int64_t pitch = c->problem.groups * c->problem.filters;
    int64_t last = c->problem.shape.out_w - 1;
    bool is_whole = p->filters == pitch;

    if (is_whole) {
        c->narrow->pair(to, line, line + pitch, last * pitch);
    }
    for (int64_t j = is_whole ? last : 0; j <= last; j += is_whole ? 1 : 2) {
        const float *even = line + j * pitch;

        c->narrow->pair(to + j * p->filters, even, j < last ? even + pitch : NULL, p->filters);
    }
}

/* ---- chunks: rows of pixels whose sums are added in one go ---- */

typedef struct chunk {
    const piece *p;
    const char *a, *b;
    int64_t a_pitch, b_pitch; /* from step to step */
    int64_t a_line, b_row;    /* from row to row of pixels, and of copied rows */
    int64_t *counts;          /* of runs, per kernel row */
    outer_run *runs;          /* [kernel_h][lines] */
    int64_t copied;           /* rows so far */
} chunk;

static void add_run(const chunk *k, int64_t r, int64_t a, int64_t b, int64_t steps)
{
    k->runs[r * k->p->call->c->lines + k->counts[r]++] = (outer_run){a, b, steps};
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

/* The same of copies. */
static void see_copies(chunk *k, int64_t image, int64_t row, int64_t end, int64_t done)
{
    const piece *p = k->p;
    const conv_gradient *c = p->call->c;
    const conv_gradient_problem *problem = &c->problem;
    const conv_f32_shape *s = &problem->shape;
    int64_t span = (end - row - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
    int64_t top = row * s->stride_h - s->pad_h;
    int64_t pitch = problem->groups * s->channels;
    const float *x =
        p->call->x + image * s->in_h * s->in_w * pitch + p->group * s->channels + p->channel;

    for (int64_t at = 0; at < span; at++) {
        char *to = p->worker + p->at.b + (k->copied + at) * k->b_row;
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

        rows_inside(s, r, &first, &last);
        for (int64_t i = first; i < last; i++) {
            int64_t at = (i - row) * s->stride_h + r * s->dilation_h;

            add_run(k, r, (done + i - row) * k->a_line, (k->copied + at) * k->b_row, c->steps);
        }
    }
    k->copied += span;
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

/* Tiles of neighbouring columns of one kernel row: `columns` of them, `at` bytes from the first of
 * the row in B. */
static void multiply_columns(const chunk *k, int64_t r, int64_t at, int64_t columns, float *sums,
                             bool accumulate)
{
    const piece *p = k->p;
    const conv_gradient *c = p->call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t row_floats = s->channels * s->kernel_h * s->kernel_w;
    int64_t rows = pieces_of(p->filters, pieces_of(p->filters, c->kernel->mr));

    for (int64_t column = 0; column < columns; column += c->kernel->nr) {
        for (int64_t row = 0; row < p->filters; row += rows) {
            outer_tile tile = {.a = k->a + row * (int64_t)sizeof(float),
                               .b = k->b + at + column * (int64_t)sizeof(float),
                               .a_pitch = k->a_pitch,
                               .b_pitch = k->b_pitch,
                               .runs = k->runs + r * c->lines,
                               .run_count = k->counts[r],
                               .c = sums + row * row_floats + column,
                               .c_pitch = row_floats,
                               .rows = (int)least(rows, p->filters - row),
                               .columns = (int)least(c->kernel->nr, columns - column),
                               .accumulate = accumulate};

            c->kernel->tile(&tile);
        }
    }
}

/* All tiles of the piece; `accumulate` onto what earlier chunks gave. Kernel columns that are
 * neighbours in the copies are columns of one matrix. */
static void multiply(const chunk *k, bool accumulate)
{
    const piece *p = k->p;
    const conv_f32_shape *s = &p->call->c->problem.shape;
    int64_t together = s->dilation_w == 1 ? s->kernel_w : 1;

    for (int64_t r = 0; r < s->kernel_h; r++) {
        for (int64_t q = 0; q < s->kernel_w; q += together) {
            multiply_columns(k, r, q * s->dilation_w * p->channels * (int64_t)sizeof(float),
                             together * p->channels, p->sums + (r * s->kernel_w + q) * p->channels,
                             accumulate);
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
    int64_t a_pixel = filters * (int64_t)sizeof(float);
    int64_t b_pixel = (c->in_place ? pitch : p->channels) * (int64_t)sizeof(float);
    chunk k = {.p = p,
               .b = p->worker + p->at.b,
               .a_pitch = a_pixel * c->kernel->group,
               .a_line = a_pixel * s->out_w,
               .b_pitch = b_pixel * c->kernel->group * s->stride_w,
               .b_row = b_pixel * c->row_pixels,
               .counts = (int64_t *)(void *)(p->worker + p->at.counts),
               .runs = (outer_run *)(void *)(p->worker + p->at.runs)};

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
        if (positions == 1) {
            memcpy(call->dw + row * floats, from, (size_t)floats * sizeof *from);
            continue;
        }
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
