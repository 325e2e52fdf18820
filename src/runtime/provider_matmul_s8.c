/* QLinearMatMul and MatMulInteger with constant weights: packed once, activations on the way. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/provider_integer.h"
#include "runtime/providers.h"

enum { ROW_PANELS = 16 }; /* panels of rows per piece of work */

typedef struct matmul_state {
    spry_allocator allocator;
    const gemm_s8_kernel *gemm;
    integer_node node;
    integer_channels channels;
    int64_t m, n, k;
    int64_t w_k, w_column; /* strides of the weights */
    uint8_t *packed;
    int64_t packed_size;
    int64_t row_slice, column_slice;
    int64_t worker_size; /* workspace per worker: packed activations, then the sums of rows */
    int64_t a_size;      /* of the packed activations */
} matmul_state;

static bool read_problem(const provider_site *site, matmul_state *s)
{
    const graph_type *x;
    bool turn = graph_attribute_int(site->node, "transB", 0) != 0;

    memset(s, 0, sizeof *s);
    if (!integer_read(site, "QLinearMatMul", "MatMulInteger", &s->node)) {
        return false;
    }
    x = provider_input_type(site, s->node.ports.x);
    if (x->rank < 1 || s->node.w->rank != 2) {
        return false;
    }
    s->k = x->dims[x->rank - 1].size;
    s->m = s->k > 0 ? op_work_count(x) / s->k : 0;
    s->n = s->node.w->shape[!turn];
    s->w_k = turn ? 1 : s->n;
    s->w_column = turn ? s->k : 1;
    return s->node.w->shape[turn] == s->k && s->m > 0 && s->n > 0 &&
           integer_fits(site, &s->node, s->n, s->k);
}

static bool accepts(const provider_site *site)
{
    matmul_state s;

    return read_problem(site, &s);
}

static void release(matmul_state *s)
{
    spry_allocator allocator = s->allocator;

    integer_channels_release(&allocator, &s->channels);
    alloc_release(&allocator, s->packed, (size_t)s->packed_size);
    alloc_release(&allocator, s, sizeof *s);
}

static spry_status pack_weights(matmul_state *s, spry_error *error)
{
    gemm_s8_matrix w = {s->node.w->data, s->w_column, s->w_k, s->k, s->node.w_flip};

    s->packed_size = gemm_s8_packed_size(s->n, s->k, s->gemm->nr);
    s->packed = alloc_bytes(&s->allocator, (size_t)s->packed_size);
    if (s->packed == NULL) {
        return alloc_failed(error, (size_t)s->packed_size);
    }
    gemm_s8_pack(&w, 0, s->n, s->gemm->nr, s->packed);
    return integer_channels_create(&s->allocator, &s->node, s->n, s->w_column, s->k, s->w_k,
                                   &s->channels, error);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    matmul_state *s = alloc_zeroed(site->allocator, sizeof *s);
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->gemm = gemm_s8_select();
    s->row_slice = (int64_t)ROW_PANELS * s->gemm->mr;
    s->row_slice = s->row_slice < s->m ? s->row_slice : s->m;
    s->column_slice = s->m > s->row_slice ? s->n : gemm_s8_block(s->gemm, s->k);
    s->a_size = round_up(gemm_s8_packed_size(s->row_slice, s->k, s->gemm->mr));
    s->worker_size = s->a_size + round_up(s->row_slice * (int64_t)sizeof(int32_t));
    status = pack_weights(s, error);
    if (status != SPRY_OK) {
        release(s);
        return status;
    }
    step->state = s;
    step->kernel = s->gemm->name;
    step->packed_bytes = (size_t)s->packed_size;
    step->workspace_bytes =
        integer_room(&s->channels) + (size_t)s->worker_size * (size_t)threads_count(site->team);
    return SPRY_OK;
}

static void destroy(void *state)
{
    release(state);
}

typedef struct matmul_run {
    const matmul_state *s;
    const uint8_t *x;
    tensor *y;
    gemm_s8_finish finish;
    uint8_t *workspace;
} matmul_run;

/* One piece: (slice of rows, slice of columns). */
static void run_piece(const matmul_run *r, int64_t piece, int worker)
{
    const matmul_state *s = r->s;
    int64_t column_pieces = provider_pieces(s->n, s->column_slice);
    int64_t column = piece % column_pieces * s->column_slice;
    int64_t row = piece / column_pieces * s->row_slice;
    int64_t rows = provider_least(s->m - row, s->row_slice);
    size_t size = spry_dtype_bits(r->y->dtype) / 8;
    uint8_t *packed_a = r->workspace + worker * s->worker_size;
    gemm_s8_matrix a = {r->x, s->k, 1, s->k, s->node.x_flip};
    gemm_s8_problem p = {.m = rows,
                         .k = s->k,
                         .n_first = column,
                         .n = provider_least(s->n - column, s->column_slice),
                         .packed_a = packed_a,
                         .a_is_unsigned = true,
                         .b = {.packed = s->packed},
                         .c = (uint8_t *)r->y->data + (size_t)(row * s->n) * size,
                         .c_stride = s->n,
                         .finish = r->finish};

    gemm_s8_pack(&a, row, rows, s->gemm->mr, packed_a);
    if (s->node.w_zero != 0) {
        int32_t *sums = (int32_t *)(void *)(packed_a + s->a_size);

        gemm_s8_sum_lines(packed_a, rows, s->k, s->gemm->mr, -s->node.w_zero, sums);
        p.finish.row_offset = sums;
    }
    gemm_s8_run(s->gemm, &p, NULL);
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
    const graph_type *type = &call->g->values[call->node->outputs[0]].type;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    matmul_run r = {.s = s,
                    .x = op_call_input(call, s->node.ports.x)->data,
                    .workspace = (uint8_t *)workspace + integer_room(&s->channels)};
    const int32_t *offsets;
    const float *factors;
    spry_status status;

    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    status = op_call_output(call, 0, s->node.y_dtype, type->rank, shape, &r.y);
    if (status != SPRY_OK || r.y == NULL) {
        return status;
    }
    r.finish = integer_finish(&s->node, &s->channels, call, workspace, &offsets, &factors);
    r.finish.column_offset = offsets;
    r.finish.column_factor = factors;
    threads_for(call->team,
                provider_pieces(s->m, s->row_slice) * provider_pieces(s->n, s->column_slice), 1,
                run_pieces, &r);
    return SPRY_OK;
}

const provider provider_matmul_s8 = {"matmul_s8", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};
