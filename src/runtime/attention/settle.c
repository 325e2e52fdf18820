/* From views to strides: batch, heads and tokens of all operands at once. */
#include <string.h>

#include "runtime/attention/match.h"

/* The leading axes of an operand: `count` parts, and how often each of its heads is repeated. */
typedef struct leading {
    view_part parts[VIEW_MOST_PARTS];
    int count;
    int64_t repeated;
} leading;

static int64_t product_of(const view *v, int from, int end)
{
    int64_t product = 1;

    for (int i = from; i < end; i++) {
        product *= v->dims[i];
    }
    return product;
}

static leading read_leading(const view *v)
{
    leading l = {.repeated = 1};

    l.count = view_axes(v, 0, v->rank - 2, l.parts);
    return l;
}

/* Takes apart what neighbours share: keys that are repeated for a group of heads. */
static void group(leading *l)
{
    if (l->count > 0 && l->parts[l->count - 1].stride == 0) {
        l->repeated = l->parts[--l->count].size;
    }
}

/* Strides for `batch` times `heads`. */
static bool split(const leading *l, int64_t batch, int64_t heads, int64_t *batch_stride,
                  int64_t *head_stride)
{
    *batch_stride = *head_stride = 0;
    if (l->count == 2 && l->parts[0].size == batch && l->parts[1].size == heads) {
        *batch_stride = l->parts[0].stride;
        *head_stride = l->parts[1].stride;
        return true;
    }
    if (l->count == 1 && l->parts[0].size == batch * heads) {
        *head_stride = l->parts[0].stride;
        *batch_stride = heads * *head_stride;
        return true;
    }
    return l->count == 0 && batch * heads == 1;
}

static bool settle_operand(const view *v, const leading *l, int64_t batch, int64_t heads,
                           attention_operand *o, int64_t *offset)
{
    int64_t element;

    *offset = v->offset;
    return split(l, batch, heads, &o->batch, &o->head) && view_stride(v, v->rank - 2, &o->token) &&
           view_stride(v, v->rank - 1, &element) && (element == 1 || v->dims[v->rank - 1] == 1);
}

static bool settle_mask(const attention_match *m, int64_t batch, int64_t heads,
                        attention_form *form)
{
    leading l = read_leading(&m->mask);
    attention_operand o = {0};

    form->problem.mask = (attention_mask){.kind = m->mask_kind, .fill = m->fill};
    if (m->mask_kind == ATTENTION_NO_MASK) {
        return true;
    }
    if (!settle_operand(&m->mask, &l, batch, heads, &o, &form->offsets[ATTENTION_MASK])) {
        return false;
    }
    form->problem.mask.batch = o.batch;
    form->problem.mask.head = o.head;
    form->problem.mask.row = o.token;
    return true;
}

/* The number of images: what the first operand says whose leading axes have two parts. */
static int64_t batch_of(const leading *l, int count)
{
    for (int i = 0; i < count; i++) {
        if (l[i].count == 2) {
            return l[i].parts[0].size;
        }
    }
    return 1;
}

bool attention_settle(const attention_match *m, attention_form *form)
{
    enum { Q, OUT, K, V, MASK, ALL };
    attention_problem *p = &form->problem;
    leading l[ALL] = {read_leading(&m->q),
                      read_leading(&m->out),
                      read_leading(&m->k),
                      read_leading(&m->v),
                      {.repeated = 1}};
    attention_operand out = {0};
    int64_t total = product_of(&m->q, 0, m->q.rank - 2);
    int64_t out_offset;

    memset(form, 0, sizeof *form);
    if (m->mask_kind != ATTENTION_NO_MASK) {
        l[MASK] = read_leading(&m->mask);
    }
    group(&l[K]);
    group(&l[V]);
    p->batch = batch_of(l, ALL);
    p->heads = total / p->batch;
    p->kv_heads = p->heads / l[K].repeated;
    p->rows = m->q.dims[m->q.rank - 2];
    p->size = m->q.dims[m->q.rank - 1];
    p->keys = m->k.dims[m->k.rank - 2];
    p->value_size = m->v.dims[m->v.rank - 1];
    p->scale = (float)m->scale;
    p->blind = m->blind;
    p->is_causal = m->is_causal;
    p->past = m->past;
    if (total % p->batch != 0 || l[K].repeated != l[V].repeated ||
        p->kv_heads * l[K].repeated != p->heads || p->size > ATTENTION_MOST_SIZE) {
        return false;
    }
    if (!settle_operand(&m->q, &l[Q], p->batch, p->heads, &p->q, &form->offsets[ATTENTION_Q]) ||
        !settle_operand(&m->k, &l[K], p->batch, p->kv_heads, &p->k, &form->offsets[ATTENTION_K]) ||
        !settle_operand(&m->v, &l[V], p->batch, p->kv_heads, &p->v, &form->offsets[ATTENTION_V]) ||
        !settle_operand(&m->out, &l[OUT], p->batch, p->heads, &out, &out_offset)) {
        return false;
    }
    p->out_batch = out.batch;
    p->out_head = out.head;
    p->out_token = out.token;
    return settle_mask(m, p->batch, p->heads, form);
}
