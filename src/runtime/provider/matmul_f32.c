/* f32 MatMul and Gemm by packed matrix products: weights packed once, activations on the way. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/gemm/gemm_f32.h"
#include "runtime/cache/packed.h"
#include "runtime/fuse.h"
#include "runtime/provider/providers.h"

/* A piece of work packs at most so much of A. Every piece of rows reads all of B, which may come
 * from memory, so pieces are large. */
enum { MOST_PACKED_FLOATS = 1 << 20 };

typedef struct matmul_state {
    spry_allocator allocator;
    gemm_f32_kernel gemm; /* blocked for products */
    int64_t batch;        /* products of equal shape; operands repeat where their step is 0 */
    int64_t m, n, k;
    int64_t a_step, b_step; /* floats between the operands of successive products */
    int64_t a_row, a_k;     /* strides of A */
    int64_t b_k, b_column;  /* strides of B */
    packed_memory packed;   /* constant B; no data: packed during the run */
    int64_t packed_size;
    gemm_f32_finish finish; /* all but bias and residual */
    int64_t row_slice, column_slice;
    int64_t a_floats, b_floats; /* workspace per worker */
} matmul_state;

/* ---- what is accepted ---- */

/* Leading dimensions of a MatMul operand, counted as products; the operand may also be one matrix
 * for all. Returns false when the batch dimensions broadcast in a more involved way. */
static bool batch_step(const graph_type *type, int64_t batch, int64_t matrix, int64_t *step)
{
    int64_t own = 1;

    for (int i = 0; i + 2 < type->rank; i++) {
        own *= type->dims[i].size;
    }
    *step = own == 1 ? 0 : matrix;
    return own == 1 || own == batch;
}

static bool read_matmul(const provider_site *site, matmul_state *s)
{
    const graph_type *a = provider_input_type(site, 0);
    const graph_type *b = provider_input_type(site, 1);
    const graph_type *c = provider_output_type(site, 0);

    if (a->rank < 2 || b->rank < 2) {
        return false;
    }
    s->m = a->dims[a->rank - 2].size;
    s->k = a->dims[a->rank - 1].size;
    s->n = b->dims[b->rank - 1].size;
    s->batch = 1;
    for (int i = 0; i + 2 < c->rank; i++) {
        s->batch *= c->dims[i].size;
    }
    s->a_row = s->k;
    s->a_k = 1;
    s->b_k = s->n;
    s->b_column = 1;
    if (!batch_step(a, s->batch, s->m * s->k, &s->a_step) ||
        !batch_step(b, s->batch, s->k * s->n, &s->b_step)) {
        return false;
    }
    if (s->b_step == 0 && s->a_step != 0) { /* one B for all: the batch is just more rows */
        s->m *= s->batch;
        s->batch = 1;
    }
    return true;
}

static bool read_gemm(const provider_site *site, matmul_state *s)
{
    const graph_type *a = provider_input_type(site, 0);
    const graph_type *b = provider_input_type(site, 1);
    bool turn_a = graph_attribute_int(site->node, "transA", 0) != 0;
    bool turn_b = graph_attribute_int(site->node, "transB", 0) != 0;

    if (graph_attribute_float(site->node, "alpha", 1.0f) != 1.0f || a->rank != 2 || b->rank != 2) {
        return false;
    }
    s->batch = 1;
    s->m = a->dims[turn_a].size;
    s->k = a->dims[!turn_a].size;
    s->n = b->dims[!turn_b].size;
    s->a_row = turn_a ? 1 : s->k;
    s->a_k = turn_a ? s->m : 1;
    s->b_k = turn_b ? 1 : s->n;
    s->b_column = turn_b ? s->k : 1;
    return true;
}

static bool read_problem(const provider_site *site, matmul_state *s)
{
    const graph_type *a = provider_input_type(site, 0);
    const graph_type *b = provider_input_type(site, 1);
    const graph_type *c = provider_output_type(site, 0);
    bool known;

    memset(s, 0, sizeof *s);
    if (a == NULL || b == NULL || c == NULL || a->dtype != SPRY_DTYPE_F32) {
        return false;
    }
    s->finish = provider_finish(site);
    if (provider_is(site, "MatMul")) {
        known = read_matmul(site, s);
    } else {
        known = provider_is(site, "Gemm") && read_gemm(site, s);
    }
    return known && provider_reads_bias(site, s->n) && s->m > 0 && s->n > 0 && s->k > 0 &&
           s->batch > 0;
}

static bool accepts(const provider_site *site)
{
    matmul_state s;

    return read_problem(site, &s);
}

/* ---- creation ---- */

/* The best kernel with blocks twice as deep and half as wide: results are added to memory less
 * often, which is worth more to products of few rows than wide blocks are. */
static gemm_f32_kernel product_kernel(void)
{
    gemm_f32_kernel kernel = *gemm_f32_select();

    kernel.kc *= 2;
    kernel.nc = kernel.nc / 2 / kernel.nr * kernel.nr;
    return kernel;
}

typedef struct pack_run {
    const matmul_state *s;
    const float *b;
} pack_run;

static spry_status pack_b(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;
    const matmul_state *s = r->s;

    (void)error;
    gemm_f32_pack(r->b, s->b_column, s->b_k, s->n, s->k, s->gemm.nr, to);
    return SPRY_OK;
}

static spry_status pack_constant(const provider_site *site, matmul_state *s, const tensor *b,
                                 spry_error *error)
{
    pack_run r = {s, b->data};

    s->packed_size = gemm_f32_packed_size(s->n, s->k, s->gemm.nr);
    return packed_make(site, s->gemm.name, (size_t)s->packed_size * sizeof(float), pack_b, &r,
                       &s->packed, error);
}

/* The slice that cuts `extent` into about `pieces` equal ones that are multiples of `unit`. */
static int64_t slice_of(int64_t extent, int64_t pieces, int64_t unit)
{
    int64_t slice = provider_pieces(provider_pieces(extent, pieces), unit) * unit;

    return slice < extent ? slice : extent;
}

/* Cuts the products into pieces for the team: by columns where there are enough, so that each piece
 * of B is read once; else by rows. */
static void choose_slices(matmul_state *s, int64_t members)
{
    int64_t most = MOST_PACKED_FLOATS / s->k;
    int64_t row_pieces = provider_pieces(s->m, most > s->gemm.mr ? most : s->gemm.mr);
    int64_t column_pieces = 1;
    int64_t wanted = provider_pieces(members, s->batch * row_pieces);

    if (s->n >= wanted * s->gemm.nc) {
        column_pieces = wanted;
    } else {
        row_pieces *= wanted;
    }
    s->row_slice = slice_of(s->m, row_pieces, s->gemm.mr);
    s->column_slice = slice_of(s->n, column_pieces, s->gemm.nr);
}

/* What the products are cut into. */
static int64_t pieces_of(const matmul_state *s)
{
    return s->batch * provider_pieces(s->m, s->row_slice) * provider_pieces(s->n, s->column_slice);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    const tensor *b = provider_constant(site, 1);
    matmul_state *s = alloc_zeroed(site->allocator, sizeof *s);
    spry_status status = SPRY_OK;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->gemm = product_kernel();
    choose_slices(s, threads_count(site->team));
    s->a_floats = gemm_f32_packed_size(s->row_slice, s->k, s->gemm.mr);
    if (b != NULL && s->b_step == 0) {
        status = pack_constant(site, s, b, error);
        step->packed_bytes = (size_t)s->packed_size * sizeof(float);
        step->spent = 1U << 1;
    } else {
        s->b_floats = gemm_f32_workspace(&s->gemm, s->k, s->column_slice);
    }
    if (status != SPRY_OK) {
        alloc_release(site->allocator, s, sizeof *s);
        return status;
    }
    step->state = s;
    step->kernel = s->gemm.name;
    step->threads = (int)provider_least(pieces_of(s), threads_count(site->team));
    step->workspace_bytes =
        (size_t)(s->a_floats + s->b_floats) * sizeof(float) * (size_t)threads_count(site->team);
    return SPRY_OK;
}

static void destroy(void *state)
{
    matmul_state *s = state;
    spry_allocator allocator = s->allocator;

    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

/* ---- running ---- */

typedef struct matmul_run {
    const matmul_state *s;
    const float *a;
    const float *b;
    const float *bias;     /* per column; NULL: none */
    const float *residual; /* NULL: none */
    float *c;
    float *workspace;
} matmul_run;

/* One piece: (product, slice of rows, slice of columns). */
static void run_piece(const matmul_run *r, int64_t piece, int worker)
{
    const matmul_state *s = r->s;
    int64_t column_pieces = provider_pieces(s->n, s->column_slice);
    int64_t row_pieces = provider_pieces(s->m, s->row_slice);
    int64_t column = piece % column_pieces * s->column_slice;
    int64_t row = piece / column_pieces % row_pieces * s->row_slice;
    int64_t product = piece / column_pieces / row_pieces;
    int64_t rows = s->m - row < s->row_slice ? s->m - row : s->row_slice;
    int64_t first = (product * s->m + row) * s->n;
    float *packed_a = r->workspace + worker * (s->a_floats + s->b_floats);
    gemm_f32_matrix b = {r->b + product * s->b_step, s->b_k, s->b_column};
    gemm_f32_problem p = {.m = rows,
                          .k = s->k,
                          .n_first = column,
                          .n = s->n - column < s->column_slice ? s->n - column : s->column_slice,
                          .packed_a = packed_a,
                          .b = {s->packed.data, gemm_f32_pack_matrix, &b},
                          .c = r->c + first,
                          .c_stride = s->n,
                          .finish = s->finish};

    p.finish.column_bias = r->bias;
    if (r->residual != NULL) {
        p.finish.residual = r->residual + first;
        p.finish.residual_stride = s->n;
    }
    gemm_f32_pack(r->a + product * s->a_step + row * s->a_row, s->a_row, s->a_k, rows, s->k,
                  s->gemm.mr, packed_a);
    gemm_f32_run(&s->gemm, &p, packed_a + s->a_floats);
}

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    for (int64_t piece = begin; piece < end; piece++) {
        run_piece(context, piece, worker);
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const matmul_state *s = state;
    matmul_run r = {.s = s,
                    .a = op_call_input(call, 0)->data,
                    .b = op_call_input(call, 1)->data,
                    .bias = provider_bias(call),
                    .residual = provider_residual(call),
                    .workspace = workspace};
    tensor *c;
    spry_status status;

    status = provider_output(call, SPRY_DTYPE_F32, &c);
    if (status != SPRY_OK || c == NULL) {
        return status;
    }
    r.c = c->data;
    threads_for(call->team, pieces_of(s), 1, run_pieces, &r);
    return SPRY_OK;
}

const provider provider_matmul_f32 = {"matmul_f32", PROVIDER_FUSES_SUMS, accepts, create, run,
                                      destroy};
