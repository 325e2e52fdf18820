/* Products in integers that need more than one factor per column: of a twin operand
 * (tensor/twin.h), which is two planes of bytes with a step each, and of heads that have steps of
 * their own.
 *
 *     Y = d1 * s * (plane 1 x W) + d2 * s * (plane 2 x W)        sums in i32, exact
 *
 * Rows are split into planes on the way; a tile of one plane is added to that of the other while it
 * is in the first-level cache. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/elementwise/twin_s8.h"
#include "ops/twin.h"
#include "runtime/fuse.h"
#include "runtime/integer/integer.h"
#include "runtime/provider/providers.h"
#include "tensor/convert.h"

enum {
    PLANE_BYTES = 192 * 1024, /* of rows that stay in cache while all columns pass by */
    PIECES_PER_MEMBER = 4,
    LINE = 64,
    MOST_K = 65000 /* 65000 * 255 * 128 < 2^31 */
};

typedef struct twin_state {
    spry_allocator allocator;
    const brgemm_kernel *kernel;
    const twin_s8_kernel *split;
    bool is_twin; /* else: bytes with a step per head */
    twin_grid grid;
    uint8_t flip;   /* makes bytes unsigned */
    int32_t x_zero; /* of the unsigned bytes */
    int64_t heads;
    int64_t batches; /* products, each with a second operand of its own */
    int64_t m, n, k;
    int64_t w_k, w_column; /* strides of the second operand */
    const tensor *w;       /* NULL: computed */
    const float *bias;     /* or NULL */
    float lower, upper;
    int64_t pitch; /* of rows in planes */
    int64_t packed_size;
    uint8_t *packed; /* constant weights */
    int64_t row_slice;
    int64_t worker_size;
} twin_state;

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* ---- reading ---- */

static bool has_port(const graph_node *n, int port)
{
    return port < n->input_count && n->inputs[port] != GRAPH_NONE;
}

/* Signed bytes whose zero point is 0, or none. */
static bool is_plain(const provider_site *site, int port)
{
    const graph_type *type = provider_input_type(site, port);
    const tensor *zero = has_port(site->node, port + 2) ? provider_constant(site, port + 2) : NULL;

    if (type == NULL || type->dtype != SPRY_DTYPE_I8 || op_work_count(type) == 0 ||
        (has_port(site->node, port + 2) && zero == NULL)) {
        return false;
    }
    for (int64_t i = 0; zero != NULL && i < tensor_count(zero); i++) {
        if (((const int8_t *)zero->data)[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Bytes with one zero point, or several that are the same. */
static bool read_bytes(const provider_site *site, twin_state *s)
{
    const graph_type *x = provider_input_type(site, INTEGER_X);
    const tensor *zero =
        has_port(site->node, INTEGER_X + 2) ? provider_constant(site, INTEGER_X + 2) : NULL;
    int64_t first = 0;

    if ((x->dtype != SPRY_DTYPE_I8 && x->dtype != SPRY_DTYPE_U8) ||
        (has_port(site->node, INTEGER_X + 2) && (zero == NULL || tensor_count(zero) == 0))) {
        return false;
    }
    for (int64_t i = 0; zero != NULL && i < tensor_count(zero); i++) {
        first = i == 0 ? convert_get_i64(zero, 0) : first;
        if (convert_get_i64(zero, i) != first) {
            return false;
        }
    }
    s->flip = x->dtype == SPRY_DTYPE_I8 ? 0x80 : 0;
    s->x_zero = (int32_t)first + (s->flip != 0 ? 128 : 0);
    return true;
}

/* A step for all, or one per head. */
static bool has_steps(const provider_site *site, int port, int64_t heads)
{
    const tensor *scale = provider_constant(site, port);

    return scale != NULL && scale->dtype == SPRY_DTYPE_F32 &&
           (tensor_count(scale) == 1 || tensor_count(scale) == heads);
}

/* One second operand per batch of the same shape, or weights for all. */
static bool read_shapes(const provider_site *site, twin_state *s)
{
    const graph_type *x = provider_input_type(site, INTEGER_X);
    const graph_type *w = provider_input_type(site, INTEGER_W);
    bool turn = graph_attribute_int(site->node, "transB", 0) != 0;

    if (x->rank < 2 || w->rank < 2 || op_work_count(x) == 0 ||
        (w->rank > 2 && (w->rank != x->rank || s->w != NULL))) {
        return false;
    }
    s->batches = 1;
    for (int i = 0; i < w->rank - 2; i++) {
        if (w->dims[i].size != x->dims[i].size) {
            return false;
        }
        s->batches *= w->dims[i].size;
    }
    s->heads = w->rank > 2 ? w->dims[w->rank - 3].size : 1;
    s->k = x->dims[x->rank - 1].size;
    s->m = op_work_count(x) / s->k / s->batches;
    s->n = w->dims[w->rank - (turn ? 2 : 1)].size;
    s->w_k = turn ? 1 : s->n;
    s->w_column = turn ? s->k : 1;
    return w->dims[w->rank - (turn ? 1 : 2)].size == s->k && s->k <= MOST_K;
}

static bool read_problem(const provider_site *site, twin_state *s)
{
    const graph_node *n = site->node;
    const graph_type *x = provider_input_type(site, INTEGER_X);
    const graph_type *y = provider_output_type(site, 0);
    const tensor *bias = has_port(n, INTEGER_BIAS) ? provider_constant(site, INTEGER_BIAS) : NULL;

    memset(s, 0, sizeof *s);
    if (strcmp(n->domain, INTEGER_DOMAIN) != 0 || strcmp(n->type, "QLinearMatMul") != 0 ||
        x == NULL || y == NULL || y->dtype != SPRY_DTYPE_F32 || has_port(n, INTEGER_Y_SCALE) ||
        !is_plain(site, INTEGER_W)) {
        return false;
    }
    s->is_twin = twin_read(n, &s->grid) && x->dtype == SPRY_DTYPE_F32;
    s->w = provider_constant(site, INTEGER_W);
    if (!read_shapes(site, s) || (!s->is_twin && !read_bytes(site, s))) {
        return false;
    }
    s->lower = graph_attribute_float(n, FUSE_LOWER, -INFINITY);
    s->upper = graph_attribute_float(n, FUSE_UPPER, INFINITY);
    s->bias = bias != NULL ? bias->data : NULL;
    return (!has_port(n, INTEGER_BIAS) ||
            (bias != NULL && bias->dtype == SPRY_DTYPE_F32 && tensor_count(bias) == s->n)) &&
           (s->is_twin || has_steps(site, INTEGER_X + 1, s->heads)) &&
           has_steps(site, INTEGER_W + 1, s->w != NULL ? s->n : s->heads);
}

static bool accepts(const provider_site *site)
{
    twin_state s;

    return read_problem(site, &s);
}

/* ---- state ---- */

static void destroy(void *state)
{
    twin_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s->packed, (size_t)s->packed_size);
    alloc_release(&allocator, s, sizeof *s);
}

static int planes_of(const twin_state *s)
{
    return s->is_twin ? 2 : 1;
}

/* Panel `column` of a second operand at `w`, and the sums of its columns. */
static void pack_panel(const twin_state *s, const uint8_t *w, int64_t column, uint8_t *packed)
{
    const brgemm_source source = {
        .data = w + column * s->w_column, .k_stride = s->w_k, .column_stride = s->w_column};

    brgemm_s8_pack_panel(s->kernel, &source, s->k, provider_least(s->n - column, s->kernel->nr),
                         packed + column * s->pitch);
}

/* What the zero point of bytes adds to each column. */
static void find_offsets(const twin_state *s, const uint8_t *w, int64_t column, int32_t *offsets)
{
    int64_t count = provider_least(s->n - column, s->kernel->nr);

    memset(offsets, 0, (size_t)count * sizeof *offsets);
    for (int64_t i = 0; s->x_zero != 0 && i < s->k; i++) {
        const uint8_t *row = w + i * s->w_k + column * s->w_column;

        for (int64_t j = 0; j < count; j++) {
            offsets[j] -= s->x_zero * (int8_t)row[j * s->w_column];
        }
    }
}

static void choose_slices(twin_state *s, int members)
{
    int64_t wanted = members > 1 ? (int64_t)members * PIECES_PER_MEMBER : 1;
    int64_t tiles = provider_pieces(s->m, s->kernel->mr);
    int64_t slice = PLANE_BYTES / (s->pitch * s->kernel->mr * planes_of(s));
    int64_t spread = provider_pieces(tiles * s->batches, wanted);

    slice = slice < spread ? slice : spread;
    s->row_slice = provider_least(slice > 1 ? slice : 1, tiles) * s->kernel->mr;
    s->worker_size = round_up(s->row_slice * s->pitch * planes_of(s) + LINE, LINE);
}

/* Workspace: factors of both planes per product, offsets, packed second operands, workers. */
static int64_t columns_size(const twin_state *s)
{
    return round_up(s->batches * s->n * (int64_t)sizeof(float), LINE);
}

static bool workspace_bytes(const twin_state *s, int members, size_t *bytes)
{
    size_t packed = 0;
    size_t columns;
    size_t all;

    return (s->w != NULL || checked_mul((size_t)s->packed_size, (size_t)s->batches, &packed)) &&
           checked_mul((size_t)columns_size(s), 3, &columns) &&
           checked_add(packed, columns, &all) &&
           checked_add(all, (size_t)(s->worker_size * members), bytes);
}

static int64_t pieces_of(const twin_state *s)
{
    return s->batches * provider_pieces(s->m, s->row_slice);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    twin_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int members = threads_count(site->team);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->kernel = brgemm_select(BRGEMM_S8);
    s->split = twin_s8_select();
    s->pitch = round_up(s->k, s->kernel->group);
    s->packed_size = round_up(brgemm_packed_size(s->kernel, 1, s->k, s->n), LINE);
    choose_slices(s, members);
    if (s->w != NULL) {
        s->packed = alloc_bytes(&s->allocator, (size_t)s->packed_size);
        for (int64_t j = 0; s->packed != NULL && j < s->n; j += s->kernel->nr) {
            pack_panel(s, s->w->data, j, s->packed);
        }
        step->packed_bytes = (size_t)s->packed_size;
    }
    if ((s->w != NULL && s->packed == NULL) ||
        !workspace_bytes(s, members, &step->workspace_bytes)) {
        destroy(s);
        return alloc_failed(error, (size_t)s->packed_size);
    }
    step->state = s;
    step->kernel = s->kernel->name;
    step->plan = s->is_twin ? "two planes" : "";
    step->threads = (int)provider_least(pieces_of(s), members);
    return SPRY_OK;
}

/* ---- running ---- */

typedef struct twin_run {
    const twin_state *s;
    const void *x;
    const uint8_t *w;
    float *y;
    float *factors[2]; /* [batches][n], one per plane */
    int32_t *offsets;  /* [batches][n] */
    const uint8_t *packed;
    uint8_t *packing;
    uint8_t *workers;
} twin_run;

/* Panels [begin, end) of all second operands. */
static void run_packing(void *context, int64_t begin, int64_t end, int worker)
{
    const twin_run *r = context;
    const twin_state *s = r->s;
    int64_t panels = provider_pieces(s->n, s->kernel->nr);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t batch = i / panels;
        int64_t column = i % panels * s->kernel->nr;
        const uint8_t *w = r->w + batch * s->k * s->n;

        if (s->w == NULL) {
            pack_panel(s, w, column, r->packing + batch * s->packed_size);
        }
        find_offsets(s, w, column, r->offsets + batch * s->n + column);
    }
}

static float step_at(const op_call *call, int port, int64_t index)
{
    const tensor *t = op_call_input(call, port);

    return ((const float *)t->data)[tensor_count(t) == 1 ? 0 : index];
}

static void find_factors(const twin_run *r, const op_call *call)
{
    const twin_state *s = r->s;

    for (int64_t batch = 0; batch < s->batches; batch++) {
        int64_t head = batch % s->heads;
        float first = s->is_twin ? (s->grid.kind == TWIN_SIGNED ? -s->grid.d1 : s->grid.d1)
                                 : step_at(call, INTEGER_X + 1, head);

        for (int64_t j = 0; j < s->n; j++) {
            float step = step_at(call, INTEGER_W + 1, s->w != NULL ? j : head);

            r->factors[0][batch * s->n + j] = first * step;
            r->factors[1][batch * s->n + j] = s->grid.d2 * step;
        }
    }
}

/* Rows of the first operand as planes, or as bytes with something behind the last; tells whether
 * the second plane is all zeros. */
static bool fill_planes(const twin_run *r, int64_t from, int64_t rows, uint8_t *planes)
{
    const twin_state *s = r->s;
    int64_t size = s->row_slice * s->pitch;
    bool any = false;

    for (int64_t i = 0; i < rows; i++) {
        uint8_t *to = planes + i * s->pitch;

        if (s->is_twin) {
            bool found = s->split->split(to, to + size, (const float *)r->x + (from + i) * s->k,
                                         s->k, s->grid);

            any = any || found;
        } else {
            memcpy(to, (const uint8_t *)r->x + (from + i) * s->k, (size_t)s->k);
        }
    }
    return any;
}

/* Where a tile lies. */
typedef struct twin_tile {
    int64_t batch, row; /* row within the piece */
    int64_t column;
    int rows, columns;
} twin_tile;

static void run_tile(const twin_run *r, const twin_tile *at, const uint8_t *planes, bool has_second,
                     float *c)
{
    static const int64_t none = 0;
    const twin_state *s = r->s;
    int64_t half = s->kernel->mr / 2;
    int64_t place = at->batch * s->n + at->column;
    const uint8_t *packed = r->packed + (s->w == NULL ? at->batch * s->packed_size : 0);
    brgemm_finish last = {.bias = s->bias != NULL ? s->bias + at->column : NULL,
                          .lower = s->lower,
                          .upper = s->upper,
                          .result = BRGEMM_FLOATS,
                          .offset = r->offsets + place,
                          .factor = r->factors[0] + place};
    brgemm_finish first = {.lower = -INFINITY,
                           .upper = INFINITY,
                           .result = BRGEMM_FLOATS,
                           .factor = r->factors[0] + place};
    brgemm_tile tile = {.a = planes + at->row * s->pitch,
                        .a_pitch = s->pitch,
                        .a_second = half * s->pitch,
                        .tap_offsets = &none,
                        .taps = 1,
                        .steps = s->pitch / s->kernel->group,
                        .b = packed + at->column * s->pitch,
                        .flip = s->flip,
                        .c = c,
                        .c_pitch = s->n * (int64_t)sizeof *c,
                        .c_second = half * s->n * (int64_t)sizeof *c,
                        .rows = at->rows,
                        .columns = at->columns,
                        .finish = has_second ? &first : &last};

    s->kernel->tile(&tile);
    if (has_second) {
        last.factor = r->factors[1] + place;
        last.residual = c;
        last.residual_pitch = s->n;
        last.residual_second = half * s->n;
        tile.a = planes + s->row_slice * s->pitch + at->row * s->pitch;
        tile.finish = &last;
        s->kernel->tile(&tile);
    }
}

/* A piece: a slice of rows of one product. Where all second magnitudes are 0 nothing is added: the
 * results have the same bits, because those of the first have no negative zeros. */
static void run_piece(const twin_run *r, int64_t piece, int worker)
{
    const twin_state *s = r->s;
    int64_t slices = provider_pieces(s->m, s->row_slice);
    int64_t batch = piece / slices;
    int64_t row = piece % slices * s->row_slice;
    int64_t rows = provider_least(s->m - row, s->row_slice);
    uint8_t *planes = r->workers + worker * s->worker_size;
    bool any = fill_planes(r, batch * s->m + row, rows, planes);
    bool has_second = s->is_twin && (any || s->grid.kind == TWIN_SIGNED);
    float *c = r->y + (batch * s->m + row) * s->n;

    for (int64_t column = 0; column < s->n; column += s->kernel->nr) {
        twin_tile at = {.batch = batch,
                        .column = column,
                        .columns = (int)provider_least(s->n - column, s->kernel->nr)};

        for (at.row = 0; at.row < rows; at.row += s->kernel->mr) {
            at.rows = (int)provider_least(rows - at.row, s->kernel->mr);
            run_tile(r, &at, planes, has_second, c + at.row * s->n + column);
        }
    }
}

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    for (int64_t piece = begin; piece < end; piece++) {
        run_piece(context, piece, worker);
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const twin_state *s = state;
    uint8_t *room = workspace;
    twin_run r = {.s = s,
                  .x = op_call_input(call, INTEGER_X)->data,
                  .w = op_call_input(call, INTEGER_W)->data,
                  .packed = s->packed};
    tensor *y;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    r.factors[0] = (float *)(void *)room;
    r.factors[1] = (float *)(void *)(room + columns_size(s));
    r.offsets = (int32_t *)(void *)(room + 2 * columns_size(s));
    r.packing = room + 3 * columns_size(s);
    r.workers = r.packing + (s->w == NULL ? s->batches * s->packed_size : 0);
    r.packed = s->w == NULL ? r.packing : s->packed;
    find_factors(&r, call);
    threads_for(call->team, provider_pieces(s->n, s->kernel->nr) * s->batches, 1, run_packing, &r);
    threads_for(call->team, pieces_of(s), 1, run_pieces, &r);
    return SPRY_OK;
}

const provider provider_twin_s8 = {"twin_s8", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                   destroy};
