/* The loops around the tiles of a matrix product. */
#include "kernels/brgemm/brgemm_product.h"

enum {
    LINE = 64,                /* bytes of a cache line */
    ALIASING_PITCH = 4096,    /* bytes: rows at multiples of it share one set of a cache */
    FEW_ROWS = 8,             /* fit into the ways of a set */
    PANEL_BYTES = 64 * 1024,  /* of B, in the second-level cache */
    BLOCK_BYTES = 384 * 1024, /* of A, in the second-level cache */
    PIECE_MACS = 1 << 19      /* less work is not worth the start of a thread */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

/* The slice that cuts `extent` into at most `pieces` equal ones that are multiples of `unit`. */
static int64_t slice_of(int64_t extent, int64_t pieces, int64_t unit)
{
    return pieces_of(pieces_of(extent, pieces), unit) * unit;
}

/* Blocks of A, in steps and rows. A single tile of rows needs no blocks: nothing is read twice. */
static void plan_blocks(brgemm_product *p)
{
    const brgemm_kernel *kernel = p->kernel;
    int64_t step_bytes = kernel->group * brgemm_size(kernel->type);
    int64_t fit = PANEL_BYTES / (kernel->nr * step_bytes);

    p->steps = pieces_of(p->problem.k, kernel->group);
    p->step_block = p->steps;
    if (p->problem.m > kernel->mr || p->problem.unpack_unit > 0) {
        int64_t unit = most(p->problem.unpack_unit, 1);

        p->step_block = slice_of(p->steps, pieces_of(p->steps, most(fit, unit)), unit);
    }
    fit = most(BLOCK_BYTES / (p->step_block * step_bytes), kernel->mr);
    p->row_block = slice_of(p->row_slice, pieces_of(p->row_slice, fit), kernel->mr);
}

/* Cuts the work for the team: by columns as far as they go, since a piece reads its rows of A and
 * columns of B, and B is what comes from memory; then by rows. */
static void plan_pieces(brgemm_product *p, int workers)
{
    const brgemm_product_problem *problem = &p->problem;
    int64_t panels = pieces_of(problem->n, p->kernel->nr);
    int64_t row_tiles = pieces_of(problem->m, p->kernel->mr);
    double macs = (double)problem->m * (double)problem->n * (double)problem->k;
    int64_t wanted = macs / PIECE_MACS < workers ? (int64_t)(macs / PIECE_MACS) + 1 : workers;
    int64_t column_pieces = panels >= 4 * wanted || panels % wanted == 0 ? wanted : 1;
    int64_t row_pieces = least(pieces_of(wanted, column_pieces), row_tiles);

    p->row_slice = slice_of(problem->m, row_pieces, p->kernel->mr);
    p->column_slice = slice_of(problem->n, column_pieces, p->kernel->nr);
    p->pieces = pieces_of(problem->m, p->row_slice) * pieces_of(problem->n, p->column_slice);
}

void brgemm_product_plan(const brgemm_product_problem *problem, const brgemm_kernel *kernel,
                         int workers, brgemm_product *p)
{
    int64_t row_bytes;
    bool aliases =
        problem->m > FEW_ROWS && problem->a_row * (int64_t)sizeof(float) % ALIASING_PITCH == 0;

    *p = (brgemm_product){.problem = *problem, .kernel = kernel, .narrow = bf16_select()};
    p->packed_bytes = brgemm_packed_size(kernel, 1, problem->k, problem->n);
    p->copies = kernel->type == BRGEMM_BF16 || problem->a_k != 1 || aliases;
    plan_pieces(p, workers);
    plan_blocks(p);
    if (p->copies) { /* an odd number of lines: rows begin in different sets of a cache */
        row_bytes = p->step_block * kernel->group * brgemm_size(kernel->type);
        p->copy_pitch = (pieces_of(row_bytes, LINE) | 1) * LINE;
        p->worker_bytes = p->copy_pitch * p->row_block;
    }
    if (problem->unpack_unit > 0) {
        p->panel_bytes = p->step_block * kernel->group * brgemm_size(kernel->type) * kernel->nr;
        p->panel_bytes = pieces_of(p->panel_bytes, LINE) * LINE;
        p->worker_bytes += p->panel_bytes;
    }
}

/* ---- running ---- */

/* A block of A and the columns it meets. */
typedef struct block {
    int64_t row, rows;
    int64_t step, steps;
    int64_t column, end;
} block;

/* Numbers [first, first + count) of k of one row, as the kernel reads them; `room` elements are
 * filled, the rest with zeros. */
static void copy_row(const brgemm_product *p, const float *from, int64_t count, int64_t room,
                     void *to)
{
    int64_t stride = p->problem.a_k;
    enum { PART = 256 };
    float part[PART];
    uint16_t *narrow = to;

    for (int64_t done = 0; done < count; done += PART) {
        int64_t n = least(count - done, PART);
        const float *source = from + done * stride;

        if (stride != 1) {
            for (int64_t i = 0; i < n; i++) {
                part[i] = source[i * stride];
            }
            source = part;
        }
        if (p->kernel->type == BRGEMM_BF16) {
            p->narrow->narrow(narrow + done, source, n);
        } else {
            memcpy((float *)to + done, source, (size_t)n * sizeof(float));
        }
    }
    if (room > count) { /* of bf16: the last group's second half */
        memset(narrow + count, 0, (size_t)(room - count) * sizeof *narrow);
    }
}

/* Where tiles read A: the block in place, or copied to the workspace. */
static void place_block(const brgemm_product_call *call, const block *at, char *workspace,
                        brgemm_tile *tile)
{
    const brgemm_product *p = call->p;
    int64_t first = at->step * p->kernel->group;
    int64_t room = at->steps * p->kernel->group;
    const float *a = call->a + at->row * p->problem.a_row + first * p->problem.a_k;

    tile->a = p->copies ? (const void *)workspace : a;
    tile->a_pitch = p->copies ? p->copy_pitch : p->problem.a_row * (int64_t)sizeof(float);
    tile->a_second = p->kernel->mr / 2 * tile->a_pitch;
    for (int64_t i = 0; p->copies && i < at->rows; i++) {
        copy_row(p, a + i * p->problem.a_row, least(p->problem.k - first, room), room,
                 workspace + i * p->copy_pitch);
    }
}

/* Sets where the tile reads a panel of B, and what it asks for on the way: the next one. */
static void place_panel(const brgemm_product_call *call, const block *at, int64_t column,
                        char *workspace, brgemm_tile *tile)
{
    const brgemm_kernel *kernel = call->p->kernel;
    int64_t step_bytes = kernel->group * brgemm_size(kernel->type) * kernel->nr;
    int64_t panel = column / kernel->nr;

    if (call->unpack != NULL) {
        call->unpack(call->packed, panel, at->step, at->steps, workspace);
        tile->b = workspace;
        tile->next = NULL;
        return;
    }
    tile->b = (const char *)call->packed + (panel * call->p->steps + at->step) * step_bytes;
    tile->next =
        column + kernel->nr < at->end ? (const char *)tile->b + call->p->steps * step_bytes : NULL;
}

/* What is wanted soon, while tile number `number` of a panel is computed: half of the next panel
 * during each of the first two, or rows of A that no tile has read yet. */
static const void *soon(const brgemm_product *p, const block *at, int64_t number,
                        const char *next_panel, const char *next_rows)
{
    int64_t step_bytes = p->kernel->group * brgemm_size(p->kernel->type) * p->kernel->nr;

    return next_panel != NULL && number < 2 ? next_panel + number * at->steps * step_bytes / 2
                                            : next_rows;
}

/* One panel of B by all rows of the block. */
static void run_panel(const brgemm_product_call *call, const block *at, int64_t column,
                      brgemm_tile tile)
{
    const brgemm_product *p = call->p;
    const brgemm_kernel *kernel = p->kernel;
    const char *a = tile.a;
    const char *next = tile.next;
    bool is_new = column == at->column && !p->copies; /* A, to the caches */
    brgemm_finish finish = call->finish;

    finish.bias = call->finish.bias != NULL ? call->finish.bias + column : NULL;
    finish.residual_pitch = p->problem.n;
    finish.residual_second = kernel->mr / 2 * p->problem.n;
    tile.finish = at->step + at->steps == p->steps ? &finish : NULL;
    tile.columns = (int)least(at->end - column, kernel->nr);
    for (int64_t row = 0, number = 0; row < at->rows; row += tile.rows, number++) {
        int64_t place = (at->row + row) * p->problem.n + column;
        int64_t end;

        tile.a = a + row * tile.a_pitch;
        tile.c = call->c + place;
        tile.rows = brgemm_tile_rows(kernel, at->rows - row);
        end = row + tile.rows;
        finish.residual = call->finish.residual != NULL ? call->finish.residual + place : NULL;
        tile.next =
            soon(p, at, number, next, is_new && end < at->rows ? a + end * tile.a_pitch : NULL);
        kernel->tile(&tile);
    }
}

static void run_block(const brgemm_product_call *call, const block *at, char *workspace)
{
    static const int64_t no_offset = 0;
    const brgemm_kernel *kernel = call->p->kernel;
    int64_t pitch = call->p->problem.n * (int64_t)sizeof(float);
    brgemm_tile tile = {.tap_offsets = &no_offset,
                        .taps = 1,
                        .steps = at->steps,
                        .c_pitch = pitch,
                        .c_second = kernel->mr / 2 * pitch,
                        .accumulate = at->step > 0};

    place_block(call, at, workspace + call->p->panel_bytes, &tile);
    for (int64_t column = at->column; column < at->end; column += kernel->nr) {
        place_panel(call, at, column, workspace, &tile);
        run_panel(call, at, column, tile);
    }
}

static void run_piece(const brgemm_product_call *call, int64_t piece, char *workspace)
{
    const brgemm_product *p = call->p;
    int64_t column_pieces = pieces_of(p->problem.n, p->column_slice);
    int64_t row = piece / column_pieces * p->row_slice;
    int64_t end = least(row + p->row_slice, p->problem.m);
    block at = {.column = piece % column_pieces * p->column_slice};

    at.end = least(at.column + p->column_slice, p->problem.n);
    for (at.row = row; at.row < end; at.row += p->row_block) {
        at.rows = least(end - at.row, p->row_block);
        for (at.step = 0; at.step < p->steps; at.step += p->step_block) {
            at.steps = least(p->steps - at.step, p->step_block);
            run_block(call, &at, workspace);
        }
    }
}

void brgemm_product_run(void *context, int64_t begin, int64_t end, int worker)
{
    const brgemm_product_call *call = context;
    char *workspace = (char *)call->workspace + worker * call->p->worker_bytes;

    for (int64_t piece = begin; piece < end; piece++) {
        run_piece(call, piece, workspace);
    }
}
