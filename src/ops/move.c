/* The element mover: axes that can be are merged first, then one of three inner loops runs: rows of
 * adjacent elements, square tiles where the two sides disagree on the fast axis, single steps. */
#include "ops/move.h"

#include <string.h>

#include "kernels/transpose/transpose.h"

enum {
    TILE = 16,         /* elements: a tile of 8-byte elements is 16 cache lines on each side */
    ROWS_OF_TILE = 64, /* of the largest tile of kernels/transpose */
    BYTES_PER_TASK = 1 << 17 /* below this, waking a thread costs more than it brings */
};

size_t move_element_size(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_STRING ? sizeof(spry_text) : spry_dtype_bits(dtype) / 8;
}

void move_dense_strides(int rank, const int64_t *shape, int64_t *stride)
{
    int64_t step = 1;

    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i] > 0 ? shape[i] : 1;
    }
}

void move_add_axis(move_plan *plan, int64_t shape, int64_t to_stride, int64_t from_stride)
{
    plan->shape[plan->rank] = shape;
    plan->to_stride[plan->rank] = to_stride;
    plan->from_stride[plan->rank] = from_stride;
    plan->rank++;
}

void move_fill(void *to, int64_t count, const void *element, size_t size)
{
    unsigned char *target = to;
    size_t total = (size_t)count * size;
    size_t done = size;

    if (total == 0) {
        return;
    }
    memcpy(target, element, size);
    while (done < total) { /* what is there doubles */
        size_t step = done < total - done ? done : total - done;

        memcpy(target + done, target, step);
        done += step;
    }
}

/* ---- inner loops ---- */

typedef struct mover {
    move_plan outer; /* axes around the inner loop */
    int64_t rows, columns;
    int64_t to_row, from_row; /* strides of the two inner axes, in bytes */
    int64_t to_column, from_column;
    size_t size;
    bool tiled;
    int64_t row_step;         /* rows of a piece of work */
    transpose_run *transpose; /* of planes whose fast axes differ and have no gaps; else NULL */
    unsigned char *to;
    const unsigned char *from;
} mover;

static inline void run_of(const mover *m, unsigned char *to, const unsigned char *from,
                          int64_t count, size_t size)
{
    for (int64_t i = 0; i < count; i++) {
        memcpy(to + i * m->to_column, from + i * m->from_column, size);
    }
}

static void copy_row(const mover *m, unsigned char *to, const unsigned char *from, int64_t count)
{
    if (m->to_column == (int64_t)m->size && m->from_column == (int64_t)m->size) {
        memcpy(to, from, (size_t)count * m->size);
        return;
    }
    switch (m->size) { /* constant sizes become plain loads and stores */
    case 1: run_of(m, to, from, count, 1); break;
    case 2: run_of(m, to, from, count, 2); break;
    case 4: run_of(m, to, from, count, 4); break;
    case 8: run_of(m, to, from, count, 8); break;
    default: run_of(m, to, from, count, m->size); break;
    }
}

static void copy_rows(const mover *m, unsigned char *to, const unsigned char *from, int64_t rows)
{
    int64_t step = m->tiled ? TILE : m->columns;

    if (m->transpose != NULL) {
        const transpose_matrix matrix = {.from = from,
                                         .to = to,
                                         .rows = m->columns,
                                         .columns = rows,
                                         .from_pitch = m->from_column,
                                         .to_pitch = m->to_row};

        m->transpose(&matrix);
        return;
    }
    for (int64_t column = 0; column < m->columns; column += step) {
        int64_t width = step < m->columns - column ? step : m->columns - column;

        for (int64_t row = 0; row < rows; row++) {
            copy_row(m, to + row * m->to_row + column * m->to_column,
                     from + row * m->from_row + column * m->from_column, width);
        }
    }
}

/* A piece is a run of rows of one plane. */
static void copy_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const mover *m = context;
    const move_plan *p = &m->outer;
    int64_t row_pieces = (m->rows + m->row_step - 1) / m->row_step;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = i / row_pieces;
        int64_t row = i % row_pieces * m->row_step;
        int64_t rows = m->rows - row < m->row_step ? m->rows - row : m->row_step;
        int64_t to = 0;
        int64_t from = 0;

        for (int axis = p->rank - 1; axis >= 0; axis--) {
            int64_t at = rest % p->shape[axis];

            rest /= p->shape[axis];
            to += at * p->to_stride[axis];
            from += at * p->from_stride[axis];
        }
        copy_rows(m, m->to + to * (int64_t)m->size + row * m->to_row,
                  m->from + from * (int64_t)m->size + row * m->from_row, rows);
    }
}

/* ---- preparation ---- */

/* Drops axes of size 1 and joins neighbours that are one axis on both sides. Returns false when
 * there is nothing to move. */
static bool simplify(const move_plan *plan, move_plan *simple)
{
    simple->rank = 0;
    for (int i = 0; i < plan->rank; i++) {
        int last = simple->rank - 1;

        if (plan->shape[i] == 0) {
            return false;
        }
        if (plan->shape[i] == 1) {
            continue;
        }
        if (last >= 0 && simple->to_stride[last] == plan->shape[i] * plan->to_stride[i] &&
            simple->from_stride[last] == plan->shape[i] * plan->from_stride[i]) {
            simple->shape[last] *= plan->shape[i];
            simple->to_stride[last] = plan->to_stride[i];
            simple->from_stride[last] = plan->from_stride[i];
        } else {
            move_add_axis(simple, plan->shape[i], plan->to_stride[i], plan->from_stride[i]);
        }
    }
    return true;
}

static void take_axis(move_plan *plan, int axis)
{
    for (int i = axis; i + 1 < plan->rank; i++) {
        plan->shape[i] = plan->shape[i + 1];
        plan->to_stride[i] = plan->to_stride[i + 1];
        plan->from_stride[i] = plan->from_stride[i + 1];
    }
    plan->rank--;
}

/* The axis beside the last that the inner loop covers too: the one that is adjacent in `from` when
 * the last is not, else the one before. */
static int second_axis(const move_plan *plan, bool *tiled)
{
    int last = plan->rank - 1;

    *tiled = false;
    for (int i = 0; i < last && plan->from_stride[last] != 1; i++) {
        if (plan->from_stride[i] == 1) {
            *tiled = true;
            return i;
        }
    }
    return last - 1;
}

void move_strided(threads *team, const move_plan *plan, size_t size, void *to, const void *from)
{
    mover m = {.rows = 1, .columns = 1, .size = size, .to = to, .from = from};
    int64_t width = (int64_t)size;
    int64_t planes = 1;
    int64_t grain;

    m.to_column = m.from_column = width;
    if (!simplify(plan, &m.outer)) {
        return;
    }
    if (m.outer.rank > 1) {
        int axis = second_axis(&m.outer, &m.tiled);

        m.rows = m.outer.shape[axis];
        m.to_row = m.outer.to_stride[axis] * width;
        m.from_row = m.outer.from_stride[axis] * width;
        take_axis(&m.outer, axis);
    }
    if (m.outer.rank > 0) {
        int last = --m.outer.rank;

        m.columns = m.outer.shape[last];
        m.to_column = m.outer.to_stride[last] * width;
        m.from_column = m.outer.from_stride[last] * width;
    }
    for (int i = 0; i < m.outer.rank; i++) {
        planes *= m.outer.shape[i];
    }
    if (m.tiled && m.to_column == width && m.from_row == width) {
        m.transpose = width == 4   ? transpose_select()->words
                      : width == 1 ? transpose_select()->bytes
                                   : NULL;
    }
    m.row_step = (BYTES_PER_TASK / (m.columns * width) / ROWS_OF_TILE + 1) * ROWS_OF_TILE;
    m.row_step = m.row_step < m.rows ? m.row_step : m.rows;
    grain = BYTES_PER_TASK / (m.row_step * m.columns * width) + 1;
    threads_for(team, planes * ((m.rows + m.row_step - 1) / m.row_step), grain, copy_pieces, &m);
}

void move_unpack(const tensor *from, unsigned char *to)
{
    const unsigned char *packed = from->data;
    unsigned bits = spry_dtype_bits(from->dtype);
    int64_t per_byte = 8 / (int64_t)bits;
    int64_t count = tensor_count(from);

    for (int64_t i = 0; i < count; i++) {
        unsigned shift = (unsigned)(i % per_byte) * bits;

        to[i] = (unsigned char)(packed[i / per_byte] >> shift & ((1u << bits) - 1));
    }
}

void move_pack(const unsigned char *from, tensor *to)
{
    unsigned char *packed = to->data;
    unsigned bits = spry_dtype_bits(to->dtype);
    int64_t per_byte = 8 / (int64_t)bits;
    int64_t count = tensor_count(to);

    if (to->bytes > 0) {
        memset(packed, 0, to->bytes);
    }
    for (int64_t i = 0; i < count; i++) {
        unsigned shift = (unsigned)(i % per_byte) * bits;

        packed[i / per_byte] = (unsigned char)(packed[i / per_byte] | from[i] << shift);
    }
}

spry_status move_reshaped(op_call *call, int i, const tensor *from, int rank, const int64_t *shape)
{
    tensor *out;
    spry_status status = op_call_output(call, i, from->dtype, rank, shape, &out);

    if (status == SPRY_OK && out != NULL && out->data != from->data && from->bytes > 0) {
        memcpy(out->data, from->data, from->bytes);
    }
    return status;
}
