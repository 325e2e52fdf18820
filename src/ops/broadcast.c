/* Broadcasting: shapes, and blocks of inputs laid over the output. */
#include "ops/broadcast.h"

#include <string.h>

spry_status broadcast_shape(const op_call *call, int count, int *rank, int64_t *shape)
{
    *rank = 0;
    for (int i = 0; i < count; i++) {
        const tensor *t = op_call_input(call, i);

        if (t == NULL) {
            return op_call_fail(call, SPRY_BAD_INPUT, "input %d is missing", i);
        }
        *rank = t->rank > *rank ? t->rank : *rank;
    }
    for (int d = 0; d < *rank; d++) {
        shape[d] = 1;
    }
    for (int i = 0; i < count; i++) {
        const tensor *t = op_call_input(call, i);

        for (int d = 0; d < t->rank; d++) {
            int64_t *to = &shape[*rank - t->rank + d];

            if (*to == 1) {
                *to = t->shape[d];
            } else if (t->shape[d] != 1 && t->shape[d] != *to) {
                return op_call_fail(call, SPRY_BAD_INPUT,
                                    "shapes cannot be broadcast: %lld against %lld", (long long)*to,
                                    (long long)t->shape[d]);
            }
        }
    }
    return SPRY_OK;
}

bool broadcast_fits(const tensor *input, int rank, const int64_t *shape)
{
    int lead = rank - input->rank;

    for (int d = 0; d < input->rank; d++) {
        if (lead < 0 || (input->shape[d] != 1 && input->shape[d] != shape[lead + d])) {
            return false;
        }
    }
    return true;
}

void broadcast_init(broadcast *b, const tensor *input, int rank, const int64_t *shape)
{
    int64_t stride[SPRY_TENSOR_MAX_RANK] = {0};
    int64_t step = 1;

    *b = (broadcast){.input = input};
    for (int d = input->rank - 1; d >= 0; d--) {
        int at = rank - input->rank + d;

        stride[at] = input->shape[d] == 1 ? 0 : step;
        step *= input->shape[d];
    }
    for (int d = 0; d < rank; d++) {
        int last = b->rank - 1;

        if (shape[d] == 1) {
            continue;
        }
        if (last >= 0 && b->stride[last] == stride[d] * shape[d]) {
            b->shape[last] *= shape[d];
            b->stride[last] = stride[d];
        } else {
            b->shape[b->rank] = shape[d];
            b->stride[b->rank++] = stride[d];
        }
    }
    b->direct = b->rank == 0 || (b->rank == 1 && b->stride[0] == 1);
    if (b->rank == 1 && b->stride[0] <= 1) {
        b->rank = 0;
    }
}

void broadcast_walk_init(broadcast_walk *w, const broadcast *b, int64_t start)
{
    *w = (broadcast_walk){.b = b};
    for (int d = b->rank - 1; d >= 0; d--) {
        w->index[d] = start % b->shape[d];
        w->offset += w->index[d] * b->stride[d];
        start /= b->shape[d];
    }
}

int64_t broadcast_walk_next(broadcast_walk *w, int64_t most, int64_t *from)
{
    const broadcast *b = w->b;
    int d = b->rank - 1;
    int64_t left = b->shape[d] - w->index[d];
    int64_t run = left < most ? left : most;

    *from = w->offset;
    w->index[d] += run;
    w->offset += run * b->stride[d];
    while (d > 0 && w->index[d] == b->shape[d]) {
        w->index[d] = 0;
        w->offset -= b->shape[d] * b->stride[d];
        d--;
        w->index[d]++;
        w->offset += b->stride[d];
    }
    return run;
}

/* The type that a block is read as. */
typedef enum hub { HUB_F32, HUB_F64, HUB_I64 } hub;

static void read_as(hub as, const tensor *t, int64_t start, int64_t count, void *to)
{
    switch (as) {
    case HUB_F32: convert_read_f32(t, start, count, to); break;
    case HUB_F64: convert_read_f64(t, start, count, to); break;
    case HUB_I64: convert_read_i64(t, start, count, to); break;
    }
}

static void repeat_first(hub as, void *room, int64_t count)
{
    uint32_t *narrow = room;
    uint64_t *wide = room;

    for (int64_t i = 1; as == HUB_F32 && i < count; i++) {
        narrow[i] = narrow[0];
    }
    for (int64_t i = 1; as != HUB_F32 && i < count; i++) {
        wide[i] = wide[0];
    }
}

static bool is_held_as(hub as, spry_dtype dtype)
{
    return (as == HUB_F32 && dtype == SPRY_DTYPE_F32) ||
           (as == HUB_F64 && dtype == SPRY_DTYPE_F64) ||
           (as == HUB_I64 && (dtype == SPRY_DTYPE_I64 || dtype == SPRY_DTYPE_U64));
}

static const void *gather(const broadcast *b, hub as, int64_t start, int64_t count, void *room)
{
    const tensor *t = b->input;
    int64_t size = as == HUB_F32 ? 4 : 8;
    broadcast_walk w;

    if (b->direct) {
        if (is_held_as(as, t->dtype)) {
            return (const char *)t->data + start * size;
        }
        read_as(as, t, start, count, room);
        return room;
    }
    if (b->rank == 0) {
        read_as(as, t, 0, 1, room);
        repeat_first(as, room, count);
        return room;
    }
    broadcast_walk_init(&w, b, start);
    for (int64_t done = 0; done < count;) {
        int64_t from;
        int64_t run = broadcast_walk_next(&w, count - done, &from);
        char *to = (char *)room + done * size;

        if (b->stride[b->rank - 1] == 0) {
            read_as(as, t, from, 1, to);
            repeat_first(as, to, run);
        } else {
            read_as(as, t, from, run, to);
        }
        done += run;
    }
    return room;
}

const float *broadcast_f32(const broadcast *b, int64_t start, int64_t count, float *room)
{
    return gather(b, HUB_F32, start, count, room);
}

const double *broadcast_f64(const broadcast *b, int64_t start, int64_t count, double *room)
{
    return gather(b, HUB_F64, start, count, room);
}

const int64_t *broadcast_i64(const broadcast *b, int64_t start, int64_t count, int64_t *room)
{
    return gather(b, HUB_I64, start, count, room);
}

void broadcast_offsets(const broadcast *b, int64_t start, int64_t count, int64_t *to)
{
    broadcast_walk w;

    broadcast_walk_init(&w, b, start);
    for (int64_t done = 0; done < count;) {
        int64_t from = b->direct ? start : 0;
        int64_t run = b->rank == 0 ? count : broadcast_walk_next(&w, count - done, &from);
        int64_t step = b->rank == 0 ? b->direct : b->stride[b->rank - 1];

        for (int64_t i = 0; i < run; i++) {
            to[done + i] = from + i * step;
        }
        done += run;
    }
}

void broadcast_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops += op_work_count(w->outputs[0]);
}
