/* Matrix products in the three types that operators compute in. */
#include "ops/product.h"

#include <math.h>
#include <string.h>

#include "kernels/gemm/gemm_f32.h"
#include "ops/whole.h"

enum { ROW_PANELS = 8, COLUMN_PANELS = 8 }; /* of one piece of work: A's rows stay in the cache */

/* ---- f32 ---- */

typedef struct packed_work {
    const product *p;
    const gemm_f32_kernel *kernel;
    int64_t row_slice, column_slice;
    int64_t row_slices, column_slices;
    int64_t a_floats, b_floats; /* workspace per worker */
    float *workspace;
} packed_work;

static int64_t offset_of(const int64_t *offsets, int64_t batch)
{
    return offsets != NULL ? offsets[batch] : 0;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* One slice of rows by one slice of columns of one product. */
static void run_piece(const packed_work *w, int64_t piece, float *workspace)
{
    const product *p = w->p;
    int64_t column = piece % w->column_slices * w->column_slice;
    int64_t row = piece / w->column_slices % w->row_slices * w->row_slice;
    int64_t batch = piece / (w->column_slices * w->row_slices);
    int64_t rows = smaller(w->row_slice, p->m - row);
    const float *a = (const float *)p->a + offset_of(p->a_offset, batch) + row * p->a_row;
    gemm_f32_matrix b = {.data = (const float *)p->b + offset_of(p->b_offset, batch),
                         .k_stride = p->b_k,
                         .n_stride = p->b_column};
    gemm_f32_problem problem = {.m = rows, .k = p->k, .n_first = column};

    gemm_f32_pack(a, p->a_row, p->a_k, rows, p->k, w->kernel->mr, workspace);
    problem.n = smaller(w->column_slice, p->n - column);
    problem.packed_a = workspace;
    problem.b = (gemm_f32_source){.pack = gemm_f32_pack_matrix, .context = &b};
    problem.c = (float *)p->c + (batch * p->m + row) * p->n;
    problem.c_stride = p->n;
    problem.finish = (gemm_f32_finish){.lower = -INFINITY, .upper = INFINITY};
    gemm_f32_run(w->kernel, &problem, workspace + w->a_floats);
}

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const packed_work *w = context;
    float *workspace = w->workspace + worker * (w->a_floats + w->b_floats);

    for (int64_t piece = begin; piece < end; piece++) {
        run_piece(w, piece, workspace);
    }
}

spry_status product_f32(op_call *call, const product *p)
{
    packed_work w = {.p = p, .kernel = gemm_f32_select()};
    void *memory = NULL;
    spry_status status;

    if (p->batch == 0 || p->m == 0 || p->n == 0) {
        return SPRY_OK;
    }
    if (p->k == 0) {
        memset(p->c, 0, (size_t)(p->batch * p->m * p->n) * sizeof(float));
        return SPRY_OK;
    }
    w.row_slice = (int64_t)w.kernel->mr * ROW_PANELS;
    w.column_slice = (int64_t)w.kernel->nr * COLUMN_PANELS;
    w.row_slices = (p->m + w.row_slice - 1) / w.row_slice;
    w.column_slices = (p->n + w.column_slice - 1) / w.column_slice;
    w.a_floats = gemm_f32_packed_size(smaller(p->m, w.row_slice), p->k, w.kernel->mr);
    w.b_floats = gemm_f32_workspace(w.kernel, p->k, smaller(p->n, w.column_slice));
    w.a_floats = (w.a_floats + 15) / 16 * 16;
    w.b_floats = (w.b_floats + 15) / 16 * 16;
    status = whole_room(call, w.a_floats + w.b_floats, threads_count(call->team), sizeof(float),
                        &memory);
    if (status == SPRY_OK) {
        w.workspace = memory;
        threads_for(call->team, p->batch * w.row_slices * w.column_slices, 1, run_pieces, &w);
    }
    return status;
}

/* ---- f64 and i64: rows [begin, end), counted over all products ---- */

static int64_t row_grain(const product *p)
{
    return 1 + 65536 / (p->n * p->k + 1);
}

static void rows_f64(void *context, int64_t begin, int64_t end, int worker)
{
    const product *p = context;

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        int64_t batch = row / p->m;
        const double *a =
            (const double *)p->a + offset_of(p->a_offset, batch) + row % p->m * p->a_row;
        const double *b = (const double *)p->b + offset_of(p->b_offset, batch);
        double *c = (double *)p->c + row * p->n;

        memset(c, 0, (size_t)p->n * sizeof *c);
        for (int64_t k = 0; k < p->k; k++) {
            double x = a[k * p->a_k];

            for (int64_t j = 0; j < p->n; j++) {
                c[j] += x * b[k * p->b_k + j * p->b_column];
            }
        }
    }
}

static void rows_i64(void *context, int64_t begin, int64_t end, int worker)
{
    const product *p = context;

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        int64_t batch = row / p->m;
        const uint64_t *a =
            (const uint64_t *)p->a + offset_of(p->a_offset, batch) + row % p->m * p->a_row;
        const uint64_t *b = (const uint64_t *)p->b + offset_of(p->b_offset, batch);
        uint64_t *c = (uint64_t *)p->c + row * p->n;

        memset(c, 0, (size_t)p->n * sizeof *c);
        for (int64_t k = 0; k < p->k; k++) {
            uint64_t x = a[k * p->a_k];

            for (int64_t j = 0; j < p->n; j++) {
                c[j] += x * b[k * p->b_k + j * p->b_column];
            }
        }
    }
}

spry_status product_f64(op_call *call, const product *p)
{
    product copy = *p;

    threads_for(call->team, p->batch * p->m, row_grain(p), rows_f64, &copy);
    return SPRY_OK;
}

spry_status product_i64(op_call *call, const product *p)
{
    product copy = *p;

    threads_for(call->team, p->batch * p->m, row_grain(p), rows_i64, &copy);
    return SPRY_OK;
}
