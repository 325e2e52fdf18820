/* QLinearMatMul and MatMulInteger. Constant weights are packed once; a second operand that is
 * computed, as in attention, is packed by each run. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "runtime/provider/integer.h"
#include "runtime/provider/providers.h"

enum {
    SLICE_BYTES = 512 * 1024, /* of rows that stay in cache while all columns pass by */
    PIECES_PER_MEMBER = 4     /* of a team: so that nobody waits long for the last */
};

typedef struct matmul_state {
    spry_allocator allocator;
    const brgemm_kernel *kernel;
    integer_node node;
    int64_t batches;        /* products, each with a second operand of its own */
    int64_t m, n, k;        /* of one product */
    int64_t w_k, w_column;  /* strides of the second operand */
    int64_t packed_size;    /* bytes of a packed operand */
    packed_memory constant; /* packed columns, then their sums */
    const uint8_t *packed;  /* in there; NULL: packed by each run */
    const int32_t *sums;    /* of the columns, less the zero point; NULL likewise */
    uint8_t *ones;          /* a column of them, packed: makes sums of rows; then a row of them */
    int64_t ones_size;      /* of the column */
    int64_t row_slice, column_slice;
    int64_t worker_size;  /* workspace per worker: offsets of rows, then a row */
    int64_t offsets_size; /* of the offsets */
} matmul_state;

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* ---- reading ---- */

/* One second operand per batch, or one for all. */
static bool read_batches(const graph_type *x, const graph_type *w, matmul_state *s)
{
    if (w->rank == 2) {
        s->batches = 1;
        return true;
    }
    s->batches = 1;
    for (int i = 0; i < w->rank - 2; i++) {
        if (w->rank != x->rank || w->dims[i].size != x->dims[i].size) {
            return false;
        }
        s->batches *= w->dims[i].size;
    }
    return s->node.w == NULL && w->rank > 2;
}

static bool read_problem(const provider_site *site, matmul_state *s)
{
    const graph_type *x;
    const graph_type *w;
    bool turn = graph_attribute_int(site->node, "transB", 0) != 0;

    memset(s, 0, sizeof *s);
    if (!integer_read(site, "QLinearMatMul", "MatMulInteger", &s->node)) {
        return false;
    }
    x = provider_input_type(site, s->node.ports.x);
    w = provider_input_type(site, s->node.ports.w);
    if (x->rank < 1 || w->rank < 2 || op_work_count(x) == 0 || op_work_count(w) == 0 ||
        !read_batches(x, w, s)) {
        return false;
    }
    s->k = x->dims[x->rank - 1].size;
    s->m = op_work_count(x) / s->k / s->batches;
    s->n = w->dims[w->rank - (turn ? 2 : 1)].size;
    s->w_k = turn ? 1 : s->n;
    s->w_column = turn ? s->k : 1;
    return w->dims[w->rank - (turn ? 1 : 2)].size == s->k &&
           integer_fits(site, &s->node, s->n, s->k);
}

static bool accepts(const provider_site *site)
{
    matmul_state s;

    return read_problem(site, &s);
}

/* ---- state ---- */

static int64_t ones_bytes(const matmul_state *s)
{
    return s->ones_size + round_up(s->k, 64);
}

static void release(matmul_state *s)
{
    spry_allocator allocator = s->allocator;

    packed_release(&allocator, &s->constant);
    alloc_release(&allocator, s->ones, (size_t)ones_bytes(s));
    alloc_release(&allocator, s, sizeof *s);
}

/* Sums of the packed columns [column, column + count), less their zero point: a product by a row of
 * ones. */
static void sum_columns(const matmul_state *s, const uint8_t *panel, int64_t count, int32_t w_zero,
                        int32_t *sums)
{
    static const int64_t none = 0;
    brgemm_tile tile = {.a = s->ones + s->ones_size,
                        .tap_offsets = &none,
                        .taps = 1,
                        .steps = round_up(s->k, s->kernel->group) / s->kernel->group,
                        .b = panel,
                        .c = sums,
                        .rows = 1,
                        .columns = (int)count};

    s->kernel->tile(&tile);
    for (int64_t j = 0; j < count; j++) {
        sums[j] = (int32_t)((uint32_t)sums[j] - (uint32_t)w_zero * (uint32_t)s->k);
    }
}

static void pack_panel(const matmul_state *s, const uint8_t *w, int64_t column, int64_t count,
                       int32_t w_zero, uint8_t *packed, int32_t *sums)
{
    const brgemm_source source = {.data = w + column * s->w_column,
                                  .k_stride = s->w_k,
                                  .column_stride = s->w_column,
                                  .flip = s->node.w_flip};
    uint8_t *panel = packed + column * round_up(s->k, s->kernel->group);

    brgemm_s8_pack_panel(s->kernel, &source, s->k, count, panel);
    sum_columns(s, panel, count, w_zero, sums + column);
}

static spry_status make_ones(matmul_state *s, spry_error *error)
{
    static const uint8_t one = 1;
    const brgemm_source source = {.data = &one};

    s->ones_size = brgemm_packed_size(s->kernel, 1, s->k, 1);
    s->ones = alloc_bytes(&s->allocator, (size_t)ones_bytes(s));
    if (s->ones == NULL) {
        return alloc_failed(error, (size_t)ones_bytes(s));
    }
    brgemm_pack(s->kernel, &source, 1, s->k, 1, s->ones);
    memset(s->ones + s->ones_size, 1, (size_t)round_up(s->k, 64));
    return SPRY_OK;
}

/* Panels, then the sums of their columns. */
static spry_status fill_constant(void *state, void *to, spry_error *error)
{
    const matmul_state *s = state;
    uint8_t *panels = to;
    int32_t *sums = (int32_t *)(void *)(panels + s->packed_size);

    (void)error;
    for (int64_t j = 0; j < s->n; j += s->kernel->nr) {
        pack_panel(s, s->node.w->data, j, provider_least(s->n - j, s->kernel->nr), s->node.w_zero,
                   panels, sums);
    }
    return SPRY_OK;
}

static spry_status pack_weights(const provider_site *site, matmul_state *s, spry_error *error)
{
    size_t bytes = (size_t)s->packed_size + (size_t)s->n * sizeof(int32_t);
    spry_status status =
        packed_make(site, s->kernel->name, bytes, fill_constant, s, &s->constant, error);

    if (status == SPRY_OK) {
        s->packed = s->constant.data;
        s->sums = (const int32_t *)(const void *)(s->packed + s->packed_size);
    }
    return status;
}

/* Rows first, whose bytes stay in cache; columns where there are too few rows for the team. Sums
 * are exact, so that results do not depend on it. */
static void choose_slices(matmul_state *s, int members)
{
    int64_t wanted = members > 1 ? (int64_t)members * PIECES_PER_MEMBER : 1;
    int64_t rows = provider_pieces(s->m, s->kernel->mr);
    int64_t slice = SLICE_BYTES / (s->k * s->kernel->mr);
    int64_t spread = provider_pieces(rows * s->batches, wanted);
    int64_t row_pieces;
    int64_t column_pieces;

    slice = slice < spread ? slice : spread;
    slice = slice > 1 ? slice : 1;
    s->row_slice = provider_least(slice, rows) * s->kernel->mr;
    row_pieces = provider_pieces(s->m, s->row_slice) * s->batches;
    column_pieces = row_pieces < members ? provider_pieces(wanted, row_pieces) : 1;
    s->column_slice = round_up(provider_pieces(s->n, column_pieces), s->kernel->nr);
    s->offsets_size = round_up(s->row_slice * (int64_t)sizeof(int32_t), 64);
    s->worker_size = s->offsets_size + round_up(s->k + s->kernel->group, 64);
}

/* Offsets and factors of the columns of one product, at the head of the workspace. */
static int64_t columns_size(const matmul_state *s)
{
    return round_up(s->n * (int64_t)sizeof(int32_t), 64);
}

static bool workspace_bytes(const matmul_state *s, int members, size_t *bytes)
{
    int64_t per_batch = columns_size(s) * 2 + (s->packed == NULL ? s->packed_size : 0);
    size_t all;

    return checked_mul((size_t)per_batch, (size_t)s->batches, &all) &&
           checked_add(all, (size_t)(columns_size(s) + s->worker_size * members), bytes);
}

/* What the products are cut into. */
static int64_t pieces_of(const matmul_state *s)
{
    return s->batches * provider_pieces(s->m, s->row_slice) *
           provider_pieces(s->n, s->column_slice);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    matmul_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int members = threads_count(site->team);
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->kernel = brgemm_select(BRGEMM_S8);
    s->packed_size = round_up(brgemm_packed_size(s->kernel, 1, s->k, s->n), 64);
    choose_slices(s, members);
    status = make_ones(s, error);
    if (status == SPRY_OK && s->node.w != NULL) {
        status = pack_weights(site, s, error);
    }
    if (status == SPRY_OK && !workspace_bytes(s, members, &step->workspace_bytes)) {
        status = alloc_failed(error, SIZE_MAX);
    }
    if (status != SPRY_OK) {
        release(s);
        return status;
    }
    step->state = s;
    step->kernel = s->kernel->name;
    step->threads = (int)provider_least(pieces_of(s), members);
    step->packed_bytes = s->packed != NULL ? (size_t)s->packed_size : 0;
    return SPRY_OK;
}

static void destroy(void *state)
{
    release(state);
}

/* ---- running ---- */

typedef struct matmul_run {
    const matmul_state *s;
    const uint8_t *x;
    const uint8_t *w; /* computed */
    uint8_t *y;
    int64_t y_size; /* of an element */
    int32_t w_zero;
    brgemm_finish finish;
    const uint8_t *packed; /* [batches][packed_size] */
    uint8_t *packing;      /* the same, while it is written */
    int32_t *sums;         /* [batches][n], likewise */
    int32_t *offsets;      /* [batches][n] */
    const float *factors;
    uint8_t *workers;
} matmul_run;

/* Panels [begin, end) of all second operands. */
static void run_packing(void *context, int64_t begin, int64_t end, int worker)
{
    const matmul_run *r = context;
    const matmul_state *s = r->s;
    int64_t panels = provider_pieces(s->n, s->kernel->nr);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t batch = i / panels;
        int64_t column = i % panels * s->kernel->nr;

        pack_panel(s, r->w + batch * s->k * s->n, column,
                   provider_least(s->n - column, s->kernel->nr), r->w_zero,
                   r->packing + batch * s->packed_size, r->sums + batch * s->n);
    }
}

/* What the zero point of the second operand adds to each row. */
static void find_row_offsets(const matmul_run *r, const uint8_t *a, int64_t rows, int32_t *offsets)
{
    static const int64_t none = 0;
    const matmul_state *s = r->s;
    int64_t mr = s->kernel->mr;

    for (int64_t i = 0; i < rows; i += mr) {
        brgemm_tile tile = {.a = a + i * s->k,
                            .a_pitch = s->k,
                            .a_second = mr / 2 * s->k,
                            .tap_offsets = &none,
                            .taps = 1,
                            .steps = round_up(s->k, s->kernel->group) / s->kernel->group,
                            .b = s->ones,
                            .flip = s->node.x_flip,
                            .c = offsets + i,
                            .c_pitch = sizeof *offsets,
                            .c_second = mr / 2 * (int64_t)sizeof *offsets,
                            .rows = (int)provider_least(rows - i, mr),
                            .columns = 1};

        s->kernel->tile(&tile);
    }
    for (int64_t i = 0; i < rows; i++) {
        offsets[i] = (int32_t)(0u - (uint32_t)r->w_zero * (uint32_t)offsets[i]);
    }
}

/* Columns [column, column + count) of rows [0, rows) at `a` and `c`. */
static void run_panel(const matmul_run *r, const uint8_t *a, int64_t rows, const uint8_t *panel,
                      int count, const brgemm_finish *finish, uint8_t *c)
{
    static const int64_t none = 0;
    const matmul_state *s = r->s;
    int64_t mr = s->kernel->mr;
    int64_t pitch = s->n * r->y_size;
    int64_t panel_bytes = round_up(s->k, s->kernel->group) * s->kernel->nr;
    int64_t share = provider_pieces(panel_bytes, provider_pieces(rows, mr)); /* of the next panel */
    brgemm_finish at = *finish;
    brgemm_tile tile = {.a_pitch = s->k,
                        .a_second = mr / 2 * s->k,
                        .tap_offsets = &none,
                        .taps = 1,
                        .steps = round_up(s->k, s->kernel->group) / s->kernel->group,
                        .b = panel,
                        .flip = s->node.x_flip,
                        .c_pitch = pitch,
                        .c_second = mr / 2 * pitch,
                        .columns = count,
                        .finish = &at};

    for (int64_t i = 0, number = 0; i < rows; i += tile.rows, number++) {
        tile.a = a + i * s->k;
        tile.c = c + i * pitch;
        tile.rows = brgemm_tile_rows(s->kernel, rows - i);
        at.row_offset = finish->row_offset != NULL ? finish->row_offset + i : NULL;
        brgemm_prefetch(panel + panel_bytes + number * share, share);
        s->kernel->tile(&tile);
    }
}

/* Where a piece lies. */
typedef struct matmul_piece {
    int64_t batch;
    int64_t row, rows;
    int64_t column, end;
} matmul_piece;

/* The piece's rows, which lie at `a`. */
static void run_rows(const matmul_run *r, const matmul_piece *p, const uint8_t *a,
                     int32_t *row_offsets)
{
    const matmul_state *s = r->s;
    uint8_t *c = r->y + (p->batch * s->m + p->row) * s->n * r->y_size;
    const uint8_t *packed = r->packed + p->batch * s->packed_size;
    brgemm_finish finish = r->finish;

    if (p->rows == 0) {
        return;
    }
    if (r->w_zero != 0) {
        find_row_offsets(r, a, p->rows, row_offsets);
        finish.row_offset = row_offsets;
    }
    for (int64_t column = p->column; column < p->end; column += s->kernel->nr) {
        finish.offset = r->offsets + p->batch * s->n + column;
        finish.factor = r->factors != NULL ? r->factors + column : NULL;
        finish.bias = r->finish.bias != NULL ? r->finish.bias + column : NULL;
        run_panel(r, a, p->rows, packed + column * round_up(s->k, s->kernel->group),
                  (int)provider_least(p->end - column, s->kernel->nr), &finish,
                  c + column * r->y_size);
    }
}

/* One piece: (product, slice of rows, slice of columns). Steps may reach beyond the last k, so the
 * very last row is copied to where there is something behind it. */
static void run_piece(const matmul_run *r, int64_t piece, int worker)
{
    const matmul_state *s = r->s;
    int64_t column_pieces = provider_pieces(s->n, s->column_slice);
    int64_t row_pieces = provider_pieces(s->m, s->row_slice);
    uint8_t *room = r->workers + worker * s->worker_size;
    uint8_t *copy = room + s->offsets_size;
    matmul_piece p = {.batch = piece / column_pieces / row_pieces,
                      .row = piece / column_pieces % row_pieces * s->row_slice,
                      .column = piece % column_pieces * s->column_slice};
    const uint8_t *a = r->x + (p.batch * s->m + p.row) * s->k;
    bool is_last;

    p.end = provider_least(s->n, p.column + s->column_slice);
    p.rows = provider_least(s->m - p.row, s->row_slice);
    is_last = s->k % s->kernel->group != 0 && p.batch == s->batches - 1 && p.row + p.rows == s->m;
    p.rows -= is_last;
    run_rows(r, &p, a, (int32_t *)(void *)room);
    if (is_last) {
        memcpy(copy, a + p.rows * s->k, (size_t)s->k);
        p.row += p.rows;
        p.rows = 1;
        run_rows(r, &p, copy, (int32_t *)(void *)room);
    }
}

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    for (int64_t piece = begin; piece < end; piece++) {
        run_piece(context, piece, worker);
    }
}

/* Divides the workspace, and packs a computed operand. */
static void prepare_columns(matmul_run *r, op_call *call, uint8_t *workspace)
{
    const matmul_state *s = r->s;
    const int32_t *sums = s->sums;
    float *factors = (float *)(void *)workspace;

    r->offsets = (int32_t *)(void *)(workspace + columns_size(s));
    r->sums = (int32_t *)(void *)(workspace + columns_size(s) * (1 + s->batches));
    r->packing = workspace + columns_size(s) * (1 + 2 * s->batches);
    r->workers = r->packing + (s->packed == NULL ? s->packed_size * s->batches : 0);
    r->packed = s->packed;
    if (s->packed == NULL) {
        r->packed = r->packing;
        sums = r->sums;
        threads_for(call->team, provider_pieces(s->n, s->kernel->nr) * s->batches, 1, run_packing,
                    r);
    }
    for (int64_t i = 0; i < s->batches; i++) {
        integer_offsets(&s->node, call, sums + i * s->n, s->n, r->offsets + i * s->n);
    }
    if (r->finish.result != BRGEMM_SUMS) {
        integer_factors(&s->node, call, s->n, factors);
        r->factors = factors;
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const matmul_state *s = state;
    matmul_run r = {.s = s,
                    .x = op_call_input(call, s->node.ports.x)->data,
                    .w = op_call_input(call, s->node.ports.w)->data,
                    .w_zero = integer_w_zero(&s->node, call),
                    .finish = integer_brgemm_finish(&s->node, call)};
    tensor *y;
    spry_status status;

    status = provider_output(call, s->node.y_dtype, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    r.y_size = (int64_t)(spry_dtype_bits(y->dtype) / 8);
    prepare_columns(&r, call, workspace);
    threads_for(call->team, pieces_of(s), 1, run_pieces, &r);
    return SPRY_OK;
}

const provider provider_matmul_s8 = {"matmul_s8", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};
