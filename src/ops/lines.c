/* Lines along one axis. */
#include "ops/lines.h"

lines lines_along(const tensor *t, int axis)
{
    lines l = {.length = t->shape[axis], .inner = tensor_span(t, axis + 1, t->rank)};

    l.count = tensor_span(t, 0, axis) * l.inner;
    return l;
}

int64_t lines_grain(int64_t length, int64_t elements)
{
    return length >= elements ? 1 : elements / (length > 0 ? length : 1);
}

void lines_read_f64(const tensor *t, int64_t offset, int64_t stride, int64_t count, double *to)
{
    const float *floats = t->data;

    if (stride == 1) {
        convert_read_f64(t, offset, count, to);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (t->dtype == SPRY_DTYPE_F32) {
            to[i] = (double)floats[offset + i * stride];
        } else {
            convert_read_f64(t, offset + i * stride, 1, &to[i]);
        }
    }
}

void lines_write_f64(tensor *t, int64_t offset, int64_t stride, int64_t count, const double *from)
{
    if (stride == 1) {
        convert_write_f64(t, offset, count, from);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        convert_write_f64(t, offset + i * stride, 1, &from[i]);
    }
}

void lines_read_i64(const tensor *t, int64_t offset, int64_t stride, int64_t count, int64_t *to)
{
    if (stride == 1) {
        convert_read_i64(t, offset, count, to);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        convert_read_i64(t, offset + i * stride, 1, &to[i]);
    }
}

void lines_write_i64(tensor *t, int64_t offset, int64_t stride, int64_t count, const int64_t *from)
{
    if (stride == 1) {
        convert_write_i64(t, offset, count, from);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        convert_write_i64(t, offset + i * stride, 1, &from[i]);
    }
}
