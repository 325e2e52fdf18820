/* Products that skip zeros of both sides. */
#include "kernels/sparse/sparse_both.h"

#include <string.h>

enum {
    LINE = 64,
    WIDE = 16, /* floats of the vectors that costs are given for */
    MASK_BITS = 16,
    LEAST_LINE = 64,
    MOST_LINE = 384,        /* pixels that share what is read of the weights */
    LIST_NUMBERS = 1 << 20, /* of them, listed in a worker's workspace */
    SAMPLED_ROWS = 16,
    SAMPLED_NUMBERS = 1024 /* of a row */
};

/* Cycles. */
static const double entry_cost = 1.35;  /* per vector */
static const double entry_start = 1.2;  /* its place and its broadcast */
static const double row_cost = 4.0;     /* per vector: sums loaded and stored */
static const double row_start = 20.0;   /* of a row: its length is not known before */
static const double list_cost = 0.8;    /* per number looked at */
static const double join_cost = 1.5;    /* per entry */
static const double join_start = 12.0;  /* of a row */
static const double weight_cost = 0.06; /* per byte of weights that a piece reads */
static const double finish_cost = 6.0;  /* per vector */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t parts_of(int64_t extent, int64_t part)
{
    return (extent + part - 1) / part;
}

static int64_t padded(int64_t bytes)
{
    return parts_of(bytes, LINE) * LINE;
}

bool sparse_both_can(const sparse_both_problem *problem, const sparse_kernel *kernel, int panel)
{
    const conv_f32_shape *s = &problem->shape;

    if (s->kernel_h * s->kernel_w == 1 && (s->out_h != s->in_h || s->out_w != s->in_w)) {
        return false;
    }
    return panel == kernel->panel && s->stride_h == 1 && s->stride_w == 1 && s->dilation_h == 1 &&
           s->dilation_w == 1 && s->pad_h < s->kernel_h && s->pad_w < s->kernel_w;
}

enum { LEAST_BLOCK = 64, MOST_BLOCK = SPARSE_KEEP_BITS };

/* Channels of a block of weights that stays in the first-level cache, unless rows have few
 * entries. */
static int64_t block_of(double density)
{
    return density > 0.09 ? LEAST_BLOCK : density > 0.045 ? 2 * LEAST_BLOCK : MOST_BLOCK;
}

/* A product has lines of its own, of as many pixels as a piece. */
static void plan_shape(sparse_both *b)
{
    conv_f32_shape *s = &b->shape;
    int64_t line = most(least(LIST_NUMBERS / s->channels, MOST_LINE), LEAST_LINE);

    b->batch = b->problem.batch;
    b->pixels = b->batch * s->out_h * s->out_w;
    if (s->kernel_h == 1 && s->kernel_w == 1) {
        s->in_w = s->out_w = least(b->pixels, line);
        s->in_h = s->out_h = parts_of(b->pixels, s->in_w);
        b->batch = 1;
    }
    b->band = least(most(line / s->out_w, 1), s->out_h);
    b->bands = parts_of(s->out_h, b->band);
    b->band_in = b->band + s->kernel_h - 1;
}

void sparse_both_plan(const sparse_both_problem *problem, const sparse_kernel *kernel, int workers,
                      sparse_both *b)
{
    const conv_f32_shape *s = &b->shape;
    int64_t blocks = parts_of(problem->shape.channels, LEAST_BLOCK);

    *b = (sparse_both){.problem = *problem,
                       .kernel = kernel,
                       .rows = sparse_rows_select(),
                       .taps = problem->shape.kernel_h * problem->shape.kernel_w,
                       .tiles = parts_of(problem->filters, kernel->columns),
                       .mask_words = parts_of(problem->shape.channels, MASK_BITS),
                       .shape = problem->shape};
    b->mask_bytes = (b->tiles * b->taps * b->mask_words + SPARSE_KEEP_WORDS) *
                    (int64_t)sizeof(uint16_t); /* joins read words behind */
    plan_shape(b);
    b->slice = parts_of(b->tiles, parts_of(workers, b->batch * b->bands));
    b->slices = parts_of(b->tiles, b->slice);
    b->pieces = b->batch * b->bands * b->slices;
    b->sums_bytes = padded(b->band * s->out_w * kernel->columns * 4);
    b->lists_bytes = padded((b->band_in * s->in_w * s->channels + SPARSE_LIST_SLACK) * 4);
    b->joined_bytes = padded((s->in_w * MOST_BLOCK + SPARSE_LIST_SLACK) * 4);
    b->rows_bytes = padded(b->band_in * s->in_w * blocks * (int64_t)sizeof(sparse_row));
    b->starts_bytes = padded(b->band_in * blocks * (int64_t)sizeof(int64_t));
    b->worker_bytes = b->sums_bytes + 2 * b->lists_bytes + 2 * b->joined_bytes + b->rows_bytes +
                      padded(s->in_w * (int64_t)sizeof(sparse_row)) + b->starts_bytes;
}

/* Has any column of a tile a weight in that row of the packed panels? */
static bool has_weight(const sparse_both *b, const float *packed, int64_t tile, int64_t row)
{
    int64_t panel_floats = b->taps * b->shape.channels * b->kernel->panel;
    int64_t panels = parts_of(b->problem.filters, b->kernel->panel);
    int64_t per_tile = b->kernel->columns / b->kernel->panel;

    for (int64_t p = tile * per_tile; p < least((tile + 1) * per_tile, panels); p++) {
        const float *from = packed + p * panel_floats + row * b->kernel->panel;

        if (b->rows->count(from, b->kernel->panel) > 0) {
            return true;
        }
    }
    return false;
}

double sparse_both_masks(const sparse_both *b, const float *packed, uint16_t *masks)
{
    int64_t channels = b->shape.channels;
    int64_t kept = 0;

    memset(masks, 0, (size_t)b->mask_bytes);
    for (int64_t tile = 0; tile < b->tiles; tile++) {
        for (int64_t tap = 0; tap < b->taps; tap++, masks += b->mask_words) {
            for (int64_t channel = 0; channel < channels; channel++) {
                bool any = has_weight(b, packed, tile, tap * channels + channel);

                masks[channel / MASK_BITS] |= (uint16_t)(any << channel % MASK_BITS);
                kept += any;
            }
        }
    }
    return (double)kept / (double)(b->tiles * b->taps * channels);
}

double sparse_both_cost(const sparse_both *b, double density, double kept)
{
    double pixels = (double)b->pixels;
    double width = (double)b->kernel->vector / WIDE;
    double vectors = width * (double)parts_of(b->problem.filters, b->kernel->vector);
    double tiles = (double)b->tiles;
    double k = (double)(b->taps * b->shape.channels);
    double blocks = (double)(b->taps * parts_of(b->shape.channels, block_of(density * kept)));
    double entries = k * density * kept * (vectors * entry_cost + tiles * entry_start);
    double rows = blocks * (vectors * row_cost + tiles * row_start);
    double lists = list_cost * (double)b->shape.channels;

    if (kept < 1.0) { /* joined for each tile */
        lists += tiles * (join_cost * k * density + blocks * join_start);
    }
    return pixels * (entries + rows + lists + finish_cost * vectors) +
           weight_cost * (double)(b->batch * b->bands) * k * (double)b->problem.filters * 4.0 *
               kept;
}

/* ---- running ---- */

/* A piece of work, and the parts of its workspace. */
typedef struct both_piece {
    const sparse_both_call *call;
    int64_t image;
    int64_t out_row, out_rows;
    int64_t in_row, in_rows; /* that exist */
    int64_t block;           /* channels of a block */
    int shift;               /* places of entries are channels shifted by so many bits */
    char *sums;
    uint32_t *at;
    float *value;
    uint32_t *joined_at;
    float *joined_value;
    sparse_row *rows;   /* [block][input row][pixel] */
    sparse_row *joined; /* of one line */
    int64_t *starts;    /* [block][input row]: its first entry */
    int64_t entries;
} both_piece;

/* Pixels of a line that exist: the last line of a product may be shorter. */
static int64_t line_pixels(const sparse_both *b, int64_t row)
{
    return b->taps == 1 ? least(b->pixels - row * b->shape.in_w, b->shape.in_w) : b->shape.in_w;
}

static const float *line_of(const both_piece *p, int64_t row)
{
    const conv_f32_shape *s = &p->call->b->shape;

    return p->call->x + (p->image * s->in_h + row) * s->in_w * s->channels;
}

static void list_lines(both_piece *p)
{
    const sparse_both *b = p->call->b;
    const conv_f32_shape *s = &b->shape;
    uint32_t step = (uint32_t)b->kernel->panel * 4;
    sparse_row *row = p->rows;
    int64_t *start = p->starts;
    int64_t entry = 0;

    for (int64_t channel = 0; channel < s->channels; channel += p->block) {
        int64_t count = least(s->channels - channel, p->block);

        for (int64_t i = 0; i < p->in_rows; i++) {
            const float *x = line_of(p, p->in_row + i) + channel;
            int64_t pixels = line_pixels(b, p->in_row + i);

            *start++ = entry;
            for (int64_t ix = 0; ix < pixels; ix++, x += s->channels) {
                int64_t kept = b->rows->list(x, count, step, p->at + entry, p->value + entry);

                *row++ = (sparse_row){(uint32_t)ix, (uint32_t)kept};
                entry += kept;
            }
            row += s->in_w - pixels;
        }
    }
}

/* What a block of weights is to be multiplied by: a run of pixels of one input line. */
typedef struct both_run {
    int64_t block;
    int64_t in_row; /* of those listed */
    int64_t first, pixels;
    const uint16_t *keep; /* NULL: all */
} both_run;

/* The run's lists as they are. */
static sparse_block lists_of(const both_piece *p, const both_run *r)
{
    int64_t line = r->block * p->in_rows + r->in_row;
    const sparse_row *rows = p->rows + line * p->call->b->shape.in_w;
    int64_t entry = p->starts[line];

    for (int64_t i = 0; i < r->first; i++) {
        entry += rows[i].count;
    }
    return (sparse_block){rows + r->first, r->pixels, p->at + entry, p->value + entry};
}

/* Of these, what the weights have too. Pixels without are left out where sums are there already. */
static sparse_block join_lists(const both_piece *p, const both_run *r, const sparse_block *lists,
                               bool drops)
{
    sparse_joined to = {.keep = r->keep,
                        .shift = p->shift,
                        .drops = drops,
                        .rows = p->joined,
                        .at = p->joined_at,
                        .value = p->joined_value};

    return (sparse_block){p->joined, p->call->b->rows->join(lists, &to), to.at, to.value};
}

static bool is_all(const uint16_t *keep, int64_t channels, uint16_t like)
{
    int64_t words = channels / MASK_BITS;

    for (int64_t i = 0; i < words; i++) {
        if (keep[i] != like) {
            return false;
        }
    }
    if (channels % MASK_BITS != 0) {
        uint16_t bits = (uint16_t)((1u << channels % MASK_BITS) - 1);

        return (keep[words] & bits) == (like & bits);
    }
    return true;
}

/* One position of the kernel, one block of channels, one tile of columns, all lines of the band. */
static void run_tap(both_piece *p, int64_t ky, int64_t kx, both_run *r, sparse_tile *t)
{
    const sparse_both *b = p->call->b;
    const conv_f32_shape *s = &b->shape;
    int64_t shift = kx - s->pad_w;
    char *sums = p->sums - shift * t->c_pitch; /* rows are numbered by input pixels */

    for (int64_t i = 0; i < p->out_rows; i++) {
        int64_t iy = p->out_row + i + ky - s->pad_h;
        int64_t pixels = iy >= 0 && iy < s->in_h ? line_pixels(b, iy) : 0;
        sparse_block block;

        r->in_row = iy - p->in_row;
        r->first = most(shift, 0);
        r->pixels = least(pixels, s->out_w + shift) - r->first;
        if (r->pixels <= 0) {
            continue;
        }
        block = lists_of(p, r);
        if (r->keep != NULL) {
            block = join_lists(p, r, &block, t->accumulate);
        }
        t->rows = block.rows;
        t->row_count = block.row_count;
        t->at = block.at;
        t->value = block.value;
        t->c = sums + i * s->out_w * t->c_pitch;
        b->kernel->tile(t);
        for (int64_t row = 0; row < t->row_count; row++) {
            p->entries += t->rows[row].count;
        }
    }
}

static void finish_tile(const both_piece *p, int64_t column, int64_t columns, int64_t c_pitch)
{
    const sparse_both *b = p->call->b;
    const conv_f32_shape *s = &b->shape;
    int64_t all = b->problem.filters;
    int64_t pixel = (p->image * s->out_h + p->out_row) * s->out_w;
    int64_t pixels = least(p->out_rows * s->out_w, b->pixels - pixel);
    brgemm_finish finish = p->call->finish;

    finish.bias = finish.bias != NULL ? finish.bias + column : NULL;
    finish.residual = finish.residual != NULL ? finish.residual + pixel * all + column : NULL;
    finish.residual_pitch = all;
    b->rows->finish((const float *)(const void *)p->sums, c_pitch / 4,
                    p->call->y + pixel * all + column, all, pixels, columns, &finish);
}

/* One tile of columns. */
static void run_columns(both_piece *p, int64_t number)
{
    const sparse_both *b = p->call->b;
    const conv_f32_shape *s = &b->shape;
    int64_t column = number * b->kernel->columns;
    int64_t panel_floats = b->taps * s->channels * b->kernel->panel;
    const float *packed = p->call->packed + column / b->kernel->panel * panel_floats;
    sparse_tile t = {.b_panel = panel_floats * 4,
                     .c_pitch = b->kernel->columns * 4,
                     .columns = (int)least(b->problem.filters - column, b->kernel->columns),
                     .accumulate = b->taps > 1};

    if (t.accumulate) { /* pixels at the edges have fewer terms */
        memset(p->sums, 0, (size_t)(p->out_rows * s->out_w * t.c_pitch));
    }
    for (int64_t tap = 0; tap < b->taps; tap++) {
        const uint16_t *masks = p->call->masks;

        masks = masks != NULL ? masks + (number * b->taps + tap) * b->mask_words : NULL;
        for (int64_t channel = 0; channel < s->channels; channel += p->block) {
            int64_t channels = least(s->channels - channel, p->block);
            both_run r = {.block = channel / p->block};
            const uint16_t *keep = masks != NULL ? masks + channel / MASK_BITS : NULL;

            r.keep = keep == NULL || is_all(keep, channels, 0xFFFF) ? NULL : keep;
            if (r.keep != NULL && t.accumulate && is_all(keep, channels, 0)) {
                continue;
            }
            t.b = packed + (tap * s->channels + channel) * b->kernel->panel;
            run_tap(p, tap / s->kernel_w, tap % s->kernel_w, &r, &t);
            t.accumulate = true;
        }
    }
    finish_tile(p, column, t.columns, t.c_pitch);
}

/* The next part of a workspace. */
static void *part_of(char **from, int64_t bytes)
{
    void *part = *from;

    *from += bytes;
    return part;
}

static int64_t run_piece(const sparse_both_call *call, int64_t piece, char *workspace)
{
    const sparse_both *b = call->b;
    const conv_f32_shape *s = &b->shape;
    int64_t slice = piece % b->slices * b->slice;
    int64_t band = piece / b->slices;
    both_piece p = {.call = call,
                    .image = band / b->bands,
                    .out_row = band % b->bands * b->band,
                    .block = block_of(call->density * call->kept)};
    uint32_t step = (uint32_t)b->kernel->panel * 4;

    p.shift = __builtin_ctz(step);
    p.out_rows = least(s->out_h - p.out_row, b->band);
    p.in_row = most(p.out_row - s->pad_h, 0);
    p.in_rows = least(p.out_row + p.out_rows - s->pad_h + s->kernel_h - 1, s->in_h) - p.in_row;
    p.sums = part_of(&workspace, b->sums_bytes);
    p.at = part_of(&workspace, b->lists_bytes);
    p.value = part_of(&workspace, b->lists_bytes);
    p.joined_at = part_of(&workspace, b->joined_bytes);
    p.joined_value = part_of(&workspace, b->joined_bytes);
    p.rows = part_of(&workspace, b->rows_bytes);
    p.starts = part_of(&workspace, b->starts_bytes);
    p.joined = (sparse_row *)(void *)workspace;
    list_lines(&p);
    for (int64_t tile = slice; tile < least(slice + b->slice, b->tiles); tile++) {
        run_columns(&p, tile);
    }
    return p.entries;
}

void sparse_both_run(void *context, int64_t begin, int64_t end, int worker)
{
    const sparse_both_call *call = context;
    char *workspace = (char *)call->workspace + worker * call->b->worker_bytes;
    int64_t entries = 0;

    for (int64_t piece = begin; piece < end; piece++) {
        entries += run_piece(call, piece, workspace);
    }
    if (call->entries != NULL) {
        call->entries[worker] += entries;
    }
}

double sparse_density(const float *x, int64_t pixels, int64_t channels)
{
    const sparse_rows_kernel *rows = sparse_rows_select();
    int64_t sampled = least(pixels, SAMPLED_ROWS);
    int64_t numbers = least(channels, SAMPLED_NUMBERS);
    int64_t kept = 0;

    for (int64_t i = 0; i < sampled; i++) {
        kept += rows->count(x + (2 * i + 1) * pixels / (2 * sampled) * channels, numbers);
    }
    return sampled > 0 ? (double)kept / (double)(sampled * numbers) : 1.0;
}
