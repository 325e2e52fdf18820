/* Matching attention from its softmax, backwards to the scores and forwards to the result. */
#include "runtime/attention/match.h"

#include <math.h>
#include <string.h>

#include "kernels/attention/attention_heads.h"
#include "model/match.h"
#include "ops/head_policy.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "tensor/convert.h"

enum { MOST_LABELS = SPRY_TENSOR_MAX_RANK, MOST_DEPTH = 8 };

/* ---- products ---- */

/* A product of two tensors with the axes [leading..., row, depth] and [leading..., depth, column].
 * Axis i of the result, seen as [leading..., row, column], is axis order[i] of the output. */
typedef struct product {
    view a, b;
    int64_t order[SPRY_TENSOR_MAX_RANK];
    int rank;
} product;

static const graph_type *type_of(const graph *g, int32_t id)
{
    return &g->values[id].type;
}

static bool is_static_f32(const graph *g, int32_t id)
{
    return id != GRAPH_NONE && match_is_f32(g, id) && graph_type_is_static(type_of(g, id));
}

static void dims_of(const graph *g, int32_t id, int64_t *dims)
{
    for (int i = 0; i < type_of(g, id)->rank; i++) {
        dims[i] = type_of(g, id)->dims[i].size;
    }
}

/* Gives an operand of MatMul all leading axes of the result. */
static bool widen(view *v, int rank, const int64_t *leading)
{
    int64_t dims[SPRY_TENSOR_MAX_RANK];

    if (v->rank < 2) {
        return false;
    }
    memcpy(dims, leading, (size_t)rank * sizeof *dims);
    dims[rank - 2] = v->dims[v->rank - 2];
    dims[rank - 1] = v->dims[v->rank - 1];
    return view_expand(v, rank, dims);
}

static bool read_matmul(const graph *g, const graph_node *n, bool takes_factors, product *p)
{
    int64_t dims[SPRY_TENSOR_MAX_RANK];

    dims_of(g, n->outputs[0], dims);
    p->rank = type_of(g, n->outputs[0])->rank;
    for (int i = 0; i < p->rank; i++) {
        p->order[i] = i;
    }
    return p->rank >= 2 && view_trace(g, n->inputs[0], takes_factors, &p->a) &&
           view_trace(g, n->inputs[1], takes_factors, &p->b) && widen(&p->a, p->rank, dims) &&
           widen(&p->b, p->rank, dims);
}

/* The labels of both operands and the result of an equation without blanks and dots. */
static bool read_labels(const char *equation, char labels[3][MOST_LABELS + 1])
{
    const char *at = equation;

    for (int i = 0; i < 3; i++) {
        size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (n < 2 || n > MOST_LABELS) {
            return false;
        }
        memcpy(labels[i], at, n);
        labels[i][n] = '\0';
        at += n;
        if (strncmp(at, i == 0 ? "," : "->", (size_t)i) == 0 && i < 2) {
            at += i == 0 ? 1 : 2;
        }
        for (size_t k = 1; k < n; k++) {
            if (strchr(labels[i] + k, labels[i][k - 1]) != NULL) {
                return false;
            }
        }
    }
    return *at == '\0';
}

/* Sorts the axes of an operand to those labels. */
static bool sort_axes(view *v, const char *labels, const char *wanted)
{
    int64_t perm[SPRY_TENSOR_MAX_RANK];

    if (strlen(labels) != strlen(wanted) || (int)strlen(labels) != v->rank) {
        return false;
    }
    for (int i = 0; wanted[i] != '\0'; i++) {
        const char *found = strchr(labels, wanted[i]);

        if (found == NULL) {
            return false;
        }
        perm[i] = found - labels;
    }
    return view_transpose(v, perm);
}

/* Einsum as a product of its operands; with `swapped`, of the second and the first. */
static bool read_einsum(const graph *g, const graph_node *n, bool swapped, bool takes_factors,
                        product *p)
{
    char labels[3][MOST_LABELS + 1];
    const char *a = labels[swapped];
    const char *b = labels[!swapped];
    const char *c = labels[2];
    char wanted_a[MOST_LABELS + 1];
    char wanted_b[MOST_LABELS + 1];
    int count = 0;
    char row = '\0';
    char column = '\0';
    char depth = '\0';

    if (n->input_count != 2 || !read_labels(graph_attribute_string(n, "equation", ""), labels)) {
        return false;
    }
    p->rank = (int)strlen(c);
    for (int i = 0; c[i] != '\0'; i++) {
        bool in_a = strchr(a, c[i]) != NULL;
        bool in_b = strchr(b, c[i]) != NULL;

        if (in_a && in_b) {
            p->order[count] = i;
            wanted_a[count] = wanted_b[count] = c[i];
            count++;
        } else if (in_a && row == '\0') {
            row = c[i];
            p->order[p->rank - 2] = i;
        } else if (in_b && column == '\0') {
            column = c[i];
            p->order[p->rank - 1] = i;
        } else {
            return false;
        }
    }
    for (int i = 0; a[i] != '\0'; i++) {
        depth = strchr(b, a[i]) != NULL && strchr(c, a[i]) == NULL ? a[i] : depth;
    }
    if (row == '\0' || column == '\0' || depth == '\0') {
        return false;
    }
    memcpy(wanted_a + count, (char[]){row, depth, '\0'}, 3);
    memcpy(wanted_b + count, (char[]){depth, column, '\0'}, 3);
    return view_trace(g, n->inputs[swapped], takes_factors, &p->a) &&
           view_trace(g, n->inputs[!swapped], takes_factors, &p->b) &&
           sort_axes(&p->a, a, wanted_a) && sort_axes(&p->b, b, wanted_b);
}

static bool is_product(const graph *g, const graph_node *n)
{
    return (graph_node_is(n, "MatMul") || graph_node_is(n, "Einsum")) && n->input_count == 2 &&
           is_static_f32(g, n->inputs[0]) && is_static_f32(g, n->inputs[1]) &&
           is_static_f32(g, n->outputs[0]);
}

static bool in_order(const product *p)
{
    for (int i = 0; i < p->rank; i++) {
        if (p->order[i] != i) {
            return false;
        }
    }
    return true;
}

/* The product whose result has its rows and columns last. */
static bool read_scores(const graph *g, const graph_node *n, product *p)
{
    if (graph_node_is(n, "MatMul")) {
        return read_matmul(g, n, true, p);
    }
    return (read_einsum(g, n, false, true, p) && in_order(p)) ||
           (read_einsum(g, n, true, true, p) && in_order(p));
}

/* The product of `weights`, whose rows and columns are its last axes, with something else. */
static bool read_mixture(const graph *g, const graph_node *n, int32_t weights, product *p)
{
    view plain;

    if (graph_node_is(n, "MatMul")) {
        return n->inputs[0] == weights && n->inputs[1] != weights && read_matmul(g, n, false, p);
    }
    if (!view_of_value(g, weights, &plain)) {
        return false;
    }
    for (int swapped = 0; swapped < 2; swapped++) {
        view_part parts[VIEW_MOST_PARTS];

        if (n->inputs[swapped] == weights && n->inputs[!swapped] != weights &&
            read_einsum(g, n, swapped != 0, false, p) && p->a.base == weights &&
            view_axes(&p->a, 0, p->a.rank, parts) <= 1) {
            return true;
        }
    }
    return false;
}

/* ---- backwards: from the softmax to the scores ---- */

static bool has_one_use(const graph *g, const graph_uses *uses, int32_t id)
{
    return id != GRAPH_NONE && !g->values[id].is_output &&
           uses->offsets[id + 1] - uses->offsets[id] == 1;
}

static bool absorb(attention_match *m, int32_t node)
{
    if (m->absorbed_count == ATTENTION_MOST_ABSORBED) {
        return false;
    }
    m->absorbed[m->absorbed_count++] = node;
    return true;
}

/* Only shapes change, and not those of rows and columns. */
static bool keeps_rows(const graph *g, const graph_node *n)
{
    const graph_type *from = type_of(g, n->inputs[0]);
    const graph_type *to = type_of(g, n->outputs[0]);

    return (graph_node_is(n, "Reshape") || graph_node_is(n, "Squeeze") ||
            graph_node_is(n, "Unsqueeze") || graph_node_is(n, "Identity")) &&
           is_static_f32(g, n->inputs[0]) && is_static_f32(g, n->outputs[0]) && from->rank >= 2 &&
           to->rank >= 2 && from->dims[from->rank - 2].size == to->dims[to->rank - 2].size &&
           from->dims[from->rank - 1].size == to->dims[to->rank - 1].size;
}

/* A mask for scores like `id`, to be seen with all axes of these. */
static bool take_mask(const graph *g, int32_t mask, int32_t id, attention_mask_kind kind,
                      attention_match *m)
{
    int64_t dims[SPRY_TENSOR_MAX_RANK];

    if (m->mask_kind != ATTENTION_NO_MASK || m->scale != 1.0 || mask == GRAPH_NONE) {
        return false;
    }
    dims_of(g, id, dims);
    m->mask_kind = kind;
    return view_trace(g, mask, false, &m->mask) &&
           view_expand(&m->mask, type_of(g, id)->rank, dims);
}

static bool same_dims(const graph *g, int32_t a, int32_t b)
{
    return is_static_f32(g, a) && graph_type_same(type_of(g, a), type_of(g, b));
}

static bool walk_back(const graph *g, const graph_uses *uses, int32_t id, int depth,
                      attention_match *m, product *scores);

/* Scores plus a mask. */
static bool walk_add(const graph *g, const graph_uses *uses, const graph_node *n, int depth,
                     attention_match *m, product *scores)
{
    for (int side = 0; side < 2; side++) {
        attention_match before = *m;

        if (n->input_count == 2 && same_dims(g, n->inputs[side], n->outputs[0]) &&
            match_is_f32(g, n->inputs[!side]) &&
            take_mask(g, n->inputs[!side], n->outputs[0], ATTENTION_ADD, m) &&
            walk_back(g, uses, n->inputs[side], depth, m, scores)) {
            return true;
        }
        *m = before;
    }
    return false;
}

/* Scores where a condition says so, a number elsewhere. */
static bool walk_where(const graph *g, const graph_uses *uses, const graph_node *n, int depth,
                       attention_match *m, product *scores)
{
    for (int side = 1; side < 3; side++) {
        const tensor *fill = graph_constant(g, n->inputs[3 - side]);
        attention_mask_kind kind = side == 1 ? ATTENTION_KEEP : ATTENTION_HIDE;

        if (fill != NULL && tensor_count(fill) == 1 &&
            same_dims(g, n->inputs[side], n->outputs[0])) {
            m->fill = (float)convert_get_f64(fill, 0);
            return m->fill < 0.0f && take_mask(g, n->inputs[0], n->outputs[0], kind, m) &&
                   walk_back(g, uses, n->inputs[side], depth, m, scores);
        }
    }
    return false;
}

/* Windows that hold the query itself. */
static bool has_windows(const tensor *t)
{
    const int64_t *reach = t->data;

    for (int64_t i = 0; i < tensor_count(t); i++) {
        if (reach[i] < 0 || reach[i] > HEAD_POLICY_ALL) {
            return false;
        }
    }
    return true;
}

/* Windows and sinks that are known, of scores by image and head. */
static bool is_policy(const graph *g, const graph_node *n)
{
    bool is_known = strcmp(n->domain, HEAD_POLICY_DOMAIN) == 0 &&
                    strcmp(n->type, HEAD_POLICY_OP) == 0 && n->input_count == HEAD_POLICY_PORTS &&
                    is_static_f32(g, n->inputs[0]) && type_of(g, n->inputs[0])->rank == 4;

    for (int i = HEAD_POLICY_BEFORE; is_known && i < HEAD_POLICY_PORTS; i++) {
        const tensor *t = graph_constant(g, n->inputs[i]);
        int64_t heads = type_of(g, n->inputs[0])->dims[1].size;

        is_known = t != NULL && t->dtype == SPRY_DTYPE_I64 && heads > 0 &&
                   (i == HEAD_POLICY_SINKS || has_windows(t)) &&
                   (i == HEAD_POLICY_SINKS ? tensor_count(t) % heads == 0 &&
                                                 tensor_count(t) / heads <= ATTENTION_MOST_SINKS
                                           : tensor_count(t) == heads);
    }
    return is_known;
}

/* Which keys count. Of what comes before masks and factors, and one of its kind. */
static bool walk_choice(const graph *g, const graph_uses *uses, int32_t node, int depth,
                        attention_match *m, product *scores)
{
    const graph_node *n = &g->nodes[node];

    if (m->policy != GRAPH_NONE || m->filter != GRAPH_NONE || m->scale != 1.0 ||
        m->mask_kind != ATTENTION_NO_MASK) {
        return false;
    }
    *(is_policy(g, n) ? &m->policy : &m->filter) = node;
    return walk_back(g, uses, n->inputs[0], depth, m, scores);
}

static bool walk_back(const graph *g, const graph_uses *uses, int32_t id, int depth,
                      attention_match *m, product *scores)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
    double factor;

    if (n == NULL || depth == MOST_DEPTH || n->output_count != 1 || !has_one_use(g, uses, id) ||
        g->values[id].constant != NULL || !absorb(m, producer)) {
        return false;
    }
    if (is_product(g, n)) {
        return attention_filters(g, n, m) && read_scores(g, n, scores);
    }
    if (graph_node_is(n, "Add")) {
        return walk_add(g, uses, n, depth + 1, m, scores);
    }
    if (graph_node_is(n, "Where")) {
        return walk_where(g, uses, n, depth + 1, m, scores);
    }
    if (is_policy(g, n) || attention_is_filter(g, n)) {
        return walk_choice(g, uses, producer, depth + 1, m, scores);
    }
    if (graph_node_is(n, "Div") && match_scalar(g, n->inputs[1], &factor) && factor != 0.0) {
        m->scale /= factor;
        return walk_back(g, uses, n->inputs[0], depth + 1, m, scores);
    }
    if (graph_node_is(n, "Mul")) {
        int32_t other = match_beside_scalar(g, n, &factor);

        m->scale *= other != GRAPH_NONE ? factor : 1.0;
        return walk_back(g, uses, other, depth + 1, m, scores);
    }
    return keeps_rows(g, n) && walk_back(g, uses, n->inputs[0], depth + 1, m, scores);
}

/* ---- forwards: from the softmax to the result ---- */

/* Zeros instead of the NaN of rows that see nothing: Where(IsNaN(w), 0, w). */
static bool take_blind(const graph *g, const graph_uses *uses, int32_t *weights, attention_match *m)
{
    int32_t first = uses->offsets[*weights];
    int32_t choice = GRAPH_NONE;
    int32_t test = GRAPH_NONE;
    double zero;

    if (g->values[*weights].is_output || uses->offsets[*weights + 1] - first != 2) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        choice = graph_node_is(&g->nodes[uses->users[first + i]], "Where") ? uses->users[first + i]
                                                                           : choice;
        test = graph_node_is(&g->nodes[uses->users[first + i]], "IsNaN") ? uses->users[first + i]
                                                                         : test;
    }
    if (choice == GRAPH_NONE || test == GRAPH_NONE ||
        g->nodes[choice].inputs[0] != g->nodes[test].outputs[0] ||
        g->nodes[choice].inputs[2] != *weights ||
        !match_scalar(g, g->nodes[choice].inputs[1], &zero) || zero != 0.0 ||
        !has_one_use(g, uses, g->nodes[test].outputs[0]) || !absorb(m, test) ||
        !absorb(m, choice)) {
        return false;
    }
    m->blind = 0.0f;
    *weights = g->nodes[choice].outputs[0];
    return true;
}

/* Follows the result through transpositions and reshapes as long as nothing else reads it. */
static bool find_result(const graph *g, const graph_uses *uses, const product *p,
                        attention_match *m)
{
    int32_t first = g->nodes[m->node].outputs[0];
    int32_t path[MOST_DEPTH];
    int32_t at = first;
    int32_t user;
    int steps = 0;
    int kept = 0;
    view_part parts[VIEW_MOST_PARTS];
    int64_t dims[SPRY_TENSOR_MAX_RANK];
    int64_t stride = 1;
    view v;

    m->result = first;
    while (steps < MOST_DEPTH && (user = chain_only_user(g, uses, at)) != GRAPH_NONE) {
        const graph_node *n = &g->nodes[user];

        if (!(graph_node_is(n, "Transpose") || graph_node_is(n, "Reshape") ||
              graph_node_is(n, "Squeeze") || graph_node_is(n, "Unsqueeze")) ||
            n->inputs[0] != at || !is_static_f32(g, n->outputs[0])) {
            break;
        }
        path[steps++] = user;
        at = n->outputs[0];
        if (graph_node_is(n, "Transpose") && view_trace(g, at, false, &v) && v.base == first) {
            m->result = at;
            kept = steps;
        }
    }
    for (int i = 0; i < kept; i++) {
        if (!absorb(m, path[i])) {
            return false;
        }
    }
    /* The other way round: where elements of the product's result go. */
    if (!view_trace(g, m->result, false, &v) || v.base != first) {
        return false;
    }
    for (int i = v.part_count - 1; i >= 0; i--) {
        int64_t size = v.parts[i].size;
        int place = v.part_count - 1;

        for (int k = 0; k < v.part_count; k++) {
            place -= k != i && v.parts[k].stride < v.parts[i].stride;
        }
        parts[place] = (view_part){size, stride};
        stride *= size;
    }
    m->out = v;
    memcpy(m->out.parts, parts, sizeof parts);
    m->out.rank = 1;
    m->out.dims[0] = stride;
    dims_of(g, first, dims);
    return view_reshape(&m->out, p->rank, dims) && view_transpose(&m->out, p->order);
}

static bool walk_forward(const graph *g, const graph_uses *uses, int32_t weights,
                         attention_match *m)
{
    product p;

    (void)take_blind(g, uses, &weights, m);
    for (int depth = 0; depth < MOST_DEPTH; depth++) {
        int32_t user = chain_only_user(g, uses, weights);
        const graph_node *n = user != GRAPH_NONE ? &g->nodes[user] : NULL;

        if (n == NULL) {
            return false;
        }
        if (is_product(g, n)) {
            m->node = user;
            if (!read_mixture(g, n, weights, &p)) {
                return false;
            }
            m->v = p.b;
            return find_result(g, uses, &p, m);
        }
        if (!keeps_rows(g, n) || n->inputs[0] != weights || !absorb(m, user)) {
            return false;
        }
        weights = n->outputs[0];
    }
    return false;
}

/* ---- masks that are constants ---- */

static double mask_at(const attention_match *m, const tensor *t, int64_t row, int64_t key,
                      int64_t row_stride)
{
    double number = convert_get_f64(t, m->mask.offset + row * row_stride + key);

    if (m->mask_kind == ATTENTION_ADD) {
        return number;
    }
    return (number != 0.0) == (m->mask_kind == ATTENTION_KEEP) ? 0.0 : (double)m->fill;
}

/* A constant mask that hides what comes after a query, and nothing else, is told to the kernel,
 * which then leaves half of the work; one that hides nothing is dropped. */
static void simplify_mask(const graph *g, attention_match *m)
{
    const tensor *t = m->mask_kind != ATTENTION_NO_MASK ? graph_constant(g, m->mask.base) : NULL;
    int64_t rows = m->mask.rank >= 2 ? m->mask.dims[m->mask.rank - 2] : 0;
    int64_t keys = m->mask.rank >= 2 ? m->mask.dims[m->mask.rank - 1] : 0;
    view_part parts[VIEW_MOST_PARTS];
    int64_t row_stride;
    int count = t != NULL ? view_axes(&m->mask, 0, m->mask.rank - 2, parts) : 0;
    int64_t past = 0;

    /* One for all heads. */
    if (t == NULL || count > 1 || (count == 1 && parts[0].stride != 0) ||
        !view_stride(&m->mask, m->mask.rank - 2, &row_stride)) {
        return;
    }
    while (past + 1 < keys && mask_at(m, t, 0, past + 1, row_stride) == 0.0) {
        past++;
    }
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t key = 0; key < keys; key++) {
            double number = mask_at(m, t, row, key, row_stride);

            if (key <= row + past ? number != 0.0 : !(number <= -1e30)) {
                return;
            }
        }
    }
    m->mask_kind = ATTENTION_NO_MASK;
    m->is_causal = past + 1 < keys;
    m->past = past;
}

bool attention_match_softmax(const graph *g, const graph_uses *uses, int32_t node,
                             attention_match *m)
{
    const graph_node *n = &g->nodes[node];
    product scores;
    int axis;

    *m = (attention_match){
        .scale = 1.0, .fill = -INFINITY, .blind = NAN, .policy = GRAPH_NONE, .filter = GRAPH_NONE};
    if (n->removed || !graph_node_is(n, "Softmax") || !is_static_f32(g, n->outputs[0]) ||
        !op_normalize_axis(graph_attribute_int(n, "axis", n->opset < 13 ? 1 : -1),
                           type_of(g, n->outputs[0])->rank, &axis) ||
        axis != type_of(g, n->outputs[0])->rank - 1 || !absorb(m, node) ||
        !walk_forward(g, uses, n->outputs[0], m) ||
        !walk_back(g, uses, n->inputs[0], 0, m, &scores)) {
        return false;
    }
    m->q = scores.a;
    m->k = scores.b;
    m->scale *= scores.a.factor * scores.b.factor;
    /* Keys have their elements last: those of a product's second factor come first. */
    for (int i = 0; i < scores.rank; i++) {
        scores.order[i] = i < scores.rank - 2 ? i : 2 * scores.rank - 3 - i;
    }
    simplify_mask(g, m);
    return view_transpose(&m->k, scores.order);
}
