/* Attention as exporters write it: found, and equal to the operators as they are. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "model/pass.h"
#include "runtime/attention/attention.h"
#include "runtime/execute.h"
#include "runtime/plan.h"
#include "spry/random.h"
#include "support/net.h"

enum { MOST_INPUTS = 4, B = 2, T = 19, H = 4, D = 8, W = H * D };

/* A graph with f32 inputs of random numbers and one output y. */
typedef struct trial {
    net n;
    spry_random r;
    int count;
    value inputs[MOST_INPUTS];
    float *data[MOST_INPUTS];
} trial;

static void init(trial *t)
{
    *t = (trial){.r = spry_random_stream(3, 0)};
    net_init(&t->n, 18);
}

static float *random_floats(trial *t, int64_t count)
{
    float *data = malloc((size_t)count * sizeof *data);

    assert_non_null(data);
    spry_random_fill_uniform(&t->r, data, (size_t)count, -2.0f, 2.0f);
    return data;
}

static float *input(trial *t, const char *name, int rank, const int64_t *shape)
{
    int64_t count = 1;
    value *v = &t->inputs[t->count];

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    t->data[t->count] = random_floats(t, count);
    (void)net_input(&t->n, name, SPRY_DTYPE_F32, rank, shape);
    value_init(v, NULL);
    assert_int_equal(tensor_init(&v->tensor, SPRY_DTYPE_F32, rank, shape, t->data[t->count], NULL),
                     SPRY_OK);
    v->kind = SPRY_VALUE_TENSOR;
    v->dtype = SPRY_DTYPE_F32;
    return t->data[t->count++];
}

static void ints(trial *t, const char *name, int64_t count, const int64_t *numbers)
{
    (void)net_constant(&t->n, name, SPRY_DTYPE_I64, 1, &count, numbers);
}

static void scalar(trial *t, const char *name, float number)
{
    (void)net_constant(&t->n, name, SPRY_DTYPE_F32, 0, NULL, &number);
}

static void transpose(trial *t, const char *from, const char *to, int64_t count,
                      const int64_t *perm)
{
    int32_t node = net_node(&t->n, "Transpose", from, to);

    assert_int_equal(graph_set_ints(t->n.g, node, "perm", count, perm, NULL), SPRY_OK);
}

static void set_int(trial *t, int32_t node, const char *name, int64_t number)
{
    assert_int_equal(graph_set_int(t->n.g, node, name, number, NULL), SPRY_OK);
}

static void run_graph(trial *t, bool with_providers, value *y)
{
    spry_session_options options = spry_session_options_default();
    const value *inputs[MOST_INPUTS];
    value *outputs[] = {y};
    spry_error error = {0};
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};

    for (int i = 0; i < t->count; i++) {
        inputs[i] = &t->inputs[i];
    }
    assert_int_equal(threads_create(NULL, 2, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    value_init(y, NULL);
    if (plan_create(t->n.g, &options, team, !with_providers, &p, &error) != SPRY_OK ||
        execute_plan(&e, p, NULL, inputs, t->count, outputs, 1) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
    threads_destroy(team);
}

static int64_t same_numbers(const value *got, const value *wanted)
{
    const float *a = got->tensor.data;
    const float *b = wanted->tensor.data;

    assert_true(tensor_same_shape(&got->tensor, &wanted->tensor));
    for (int64_t i = 0; i < tensor_count(&wanted->tensor); i++) {
        if (isnan(b[i]) ? !isnan(a[i]) : !(fabsf(a[i] - b[i]) <= 1e-5f)) {
            fail_msg("element %lld: %g, expected %g", (long long)i, (double)a[i], (double)b[i]);
        }
    }
    return tensor_count(&wanted->tensor);
}

/* Runs the graph as it is, rewrites it, and runs it again. `left`: types of operators that must be
 * gone afterwards, if attention is found. */
static void finish(trial *t, bool is_found, const char *gone)
{
    pass_context context = {0};
    char copy[128];
    char *rest = copy;
    value plain;
    value fast;

    net_output(&t->n, "y");
    assert_int_equal(infer_graph(t->n.g, NULL), SPRY_OK);
    run_graph(t, false, &plain);
    assert_int_equal(pass_attention(t->n.g, &context, NULL), SPRY_OK);
    assert_int_equal(infer_graph(t->n.g, NULL), SPRY_OK);
    assert_int_equal(attention_graph(t->n.g, NULL), SPRY_OK);
    run_graph(t, true, &fast);
    assert_true(same_numbers(&fast, &plain) > 0);
    assert_int_equal(net_count(&t->n, "Attention"), is_found);
    if (is_found) {
        assert_string_equal(net_find(&t->n, "Attention")->domain, ATTENTION_DOMAIN);
    }
    (void)snprintf(copy, sizeof copy, "%s", gone);
    for (char *type; (type = strtok_r(rest, " ", &rest)) != NULL;) {
        if (net_count(&t->n, type) != 0) {
            fail_msg("%s is still there", type);
        }
    }
    value_fini(&plain);
    value_fini(&fast);
    for (int i = 0; i < t->count; i++) {
        free(t->data[i]);
    }
    net_fini(&t->n);
}

/* Queries, keys and values of [B, T, W] as [B, H, T, D]; keys transposed at once when asked. */
static void split_heads(trial *t, bool keys_at_once)
{
    ints(t, "split", 4, (int64_t[]){B, T, H, D});
    ints(t, "joined", 3, (int64_t[]){B, T, W});
    input(t, "x", 3, (int64_t[]){B, T, W});
    input(t, "y0", 3, (int64_t[]){B, T, W});
    input(t, "z", 3, (int64_t[]){B, T, W});
    (void)net_node(&t->n, "Reshape", "x split", "q4");
    (void)net_node(&t->n, "Reshape", "y0 split", "k4");
    (void)net_node(&t->n, "Reshape", "z split", "v4");
    transpose(t, "q4", "q", 4, (int64_t[]){0, 2, 1, 3});
    transpose(t, "v4", "v", 4, (int64_t[]){0, 2, 1, 3});
    if (keys_at_once) {
        transpose(t, "k4", "kt", 4, (int64_t[]){0, 2, 3, 1});
    } else {
        transpose(t, "k4", "k", 4, (int64_t[]){0, 2, 1, 3});
        transpose(t, "k", "kt", 4, (int64_t[]){0, 1, 3, 2});
    }
}

/* From the softmax's input to y. */
static void mix(trial *t, const char *scores)
{
    int32_t node = net_node(&t->n, "Softmax", scores, "w");

    set_int(t, node, "axis", -1);
    (void)net_node(&t->n, "MatMul", "w v", "o");
    transpose(t, "o", "o4", 4, (int64_t[]){0, 2, 1, 3});
    (void)net_node(&t->n, "Reshape", "o4 joined", "y");
}

static void test_bert(void **state)
{
    trial t;
    float *mask;

    (void)state;
    init(&t);
    split_heads(&t, true);
    mask = input(&t, "mask", 4, (int64_t[]){B, 1, 1, T});
    for (int i = 0; i < B * T; i++) {
        mask[i] = i % 5 == 0 ? -10000.0f : 0.0f;
    }
    scalar(&t, "root", 2.828427f);
    (void)net_node(&t.n, "MatMul", "q kt", "s");
    (void)net_node(&t.n, "Div", "s root", "s2");
    (void)net_node(&t.n, "Add", "s2 mask", "s3");
    mix(&t, "s3");
    finish(&t, true, "Transpose MatMul Softmax Div Add");
}

/* scaled_dot_product_attention: the root of the scale on both sides, a mask per pair, and zeros for
 * queries that see nothing. */
static void test_both_sides(void **state)
{
    trial t;
    float *mask;
    int32_t node;

    (void)state;
    init(&t);
    split_heads(&t, false);
    mask = input(&t, "mask", 2, (int64_t[]){T, T});
    for (int i = 0; i < T * T; i++) {
        mask[i] = i / T == 3 || i % 7 == 0 ? -INFINITY : mask[i];
    }
    scalar(&t, "root", 0.59460354f);
    scalar(&t, "zero", 0.0f);
    (void)net_node(&t.n, "Mul", "q root", "qs");
    (void)net_node(&t.n, "Mul", "kt root", "ks");
    (void)net_node(&t.n, "MatMul", "qs ks", "s");
    (void)net_node(&t.n, "Add", "mask s", "s3");
    node = net_node(&t.n, "Softmax", "s3", "w0");
    set_int(&t, node, "axis", 3);
    (void)net_node(&t.n, "IsNaN", "w0", "nan");
    (void)net_node(&t.n, "Where", "nan zero w0", "w");
    (void)net_node(&t.n, "MatMul", "w v", "o");
    transpose(&t, "o", "y", 4, (int64_t[]){0, 2, 1, 3});
    finish(&t, true, "Transpose MatMul Softmax Mul Add Where IsNaN");
}

/* Without the zeros: NaN, as Softmax says. */
static void test_blind(void **state)
{
    trial t;
    float *mask;

    (void)state;
    init(&t);
    split_heads(&t, true);
    mask = input(&t, "mask", 2, (int64_t[]){T, T});
    for (int i = 0; i < T * T; i++) {
        mask[i] = i / T == 3 ? -INFINITY : 0.0f;
    }
    (void)net_node(&t.n, "MatMul", "q kt", "s");
    (void)net_node(&t.n, "Add", "s mask", "s3");
    mix(&t, "s3");
    finish(&t, true, "Transpose MatMul Softmax Add");
}

/* One product for all three, taken apart by Split or by Gather, as vision transformers do. */
static void packed(bool by_gather)
{
    trial t;

    init(&t);
    ints(&t, "split", 5, (int64_t[]){B, T, 3, H, D});
    ints(&t, "joined", 3, (int64_t[]){B, T, W});
    input(&t, "x", 3, (int64_t[]){B, T, 3 * W});
    (void)net_node(&t.n, "Reshape", "x split", "x5");
    transpose(&t, "x5", "qkv", 5, (int64_t[]){2, 0, 3, 1, 4});
    if (by_gather) {
        for (int64_t i = 0; i < 3; i++) {
            const char *const ports[3][2] = {{"qkv i0", "q"}, {"qkv i1", "k"}, {"qkv i2", "v"}};

            (void)net_constant(&t.n, ports[i][0] + 4, SPRY_DTYPE_I64, 0, NULL, &i);
            set_int(&t, net_node(&t.n, "Gather", ports[i][0], ports[i][1]), "axis", 0);
        }
    } else {
        ints(&t, "ones", 3, (int64_t[]){1, 1, 1});
        ints(&t, "first", 1, (int64_t[]){0});
        set_int(&t, net_node(&t.n, "Split", "qkv ones", "q5 k5 v5"), "axis", 0);
        (void)net_node(&t.n, "Squeeze", "q5 first", "q");
        (void)net_node(&t.n, "Squeeze", "k5 first", "k");
        (void)net_node(&t.n, "Squeeze", "v5 first", "v");
    }
    transpose(&t, "k", "kt", 4, (int64_t[]){0, 1, 3, 2});
    scalar(&t, "scale", 0.35355339f);
    (void)net_node(&t.n, "MatMul", "q kt", "s");
    (void)net_node(&t.n, "Mul", "s scale", "s2");
    mix(&t, "s2");
    finish(&t, true, "Transpose MatMul Softmax Mul Split Gather Squeeze");
}

static void test_packed(void **state)
{
    (void)state;
    packed(false);
    packed(true);
}

/* A constant triangle chooses between scores and a number, with queries cut from one row. */
static void test_where(void **state)
{
    trial t;
    bool seen[T * T];

    (void)state;
    init(&t);
    for (int i = 0; i < T * T; i++) {
        seen[i] = i % T <= i / T;
    }
    (void)net_constant(&t.n, "seen", SPRY_DTYPE_BOOL, 4, (int64_t[]){1, 1, T, T}, seen);
    scalar(&t, "least", -3.4028235e38f);
    scalar(&t, "root", 2.828427f);
    ints(&t, "split", 4, (int64_t[]){B, T, H, D});
    ints(&t, "joined", 3, (int64_t[]){B, T, W});
    ints(&t, "widths", 3, (int64_t[]){W, W, W});
    input(&t, "x", 3, (int64_t[]){B, T, 3 * W});
    set_int(&t, net_node(&t.n, "Split", "x widths", "q3 k3 v3"), "axis", 2);
    (void)net_node(&t.n, "Reshape", "q3 split", "q4");
    (void)net_node(&t.n, "Reshape", "k3 split", "k4");
    (void)net_node(&t.n, "Reshape", "v3 split", "v4");
    transpose(&t, "q4", "q", 4, (int64_t[]){0, 2, 1, 3});
    transpose(&t, "k4", "kt", 4, (int64_t[]){0, 2, 3, 1});
    transpose(&t, "v4", "v", 4, (int64_t[]){0, 2, 1, 3});
    (void)net_node(&t.n, "MatMul", "q kt", "s");
    (void)net_node(&t.n, "Div", "s root", "s2");
    (void)net_node(&t.n, "Where", "seen s2 least", "s3");
    mix(&t, "s3");
    finish(&t, true, "Transpose MatMul Softmax Where Split");
}

/* The triangle is told to the kernel instead of being read. */
static void test_triangle(void **state)
{
    attention_form form;
    trial t;
    float mask[T * T];

    (void)state;
    for (int repeat = 0; repeat < 2; repeat++) {
        init(&t);
        split_heads(&t, true);
        for (int i = 0; i < T * T; i++) {
            mask[i] = i % T <= i / T + 2 ? 0.0f : -INFINITY;
        }
        (void)net_constant(&t.n, "mask", SPRY_DTYPE_F32, 2, (int64_t[]){T, T}, mask);
        (void)net_node(&t.n, "MatMul", "q kt", "s");
        (void)net_node(&t.n, "Add", "s mask", "s3");
        mix(&t, "s3");
        if (repeat == 0) {
            net_output(&t.n, "y");
            assert_int_equal(infer_graph(t.n.g, NULL), SPRY_OK);
            assert_int_equal(attention_graph(t.n.g, NULL), SPRY_OK);
            assert_true(attention_read(net_find(&t.n, "Attention"), &form));
            assert_true(form.problem.is_causal && form.problem.past == 2);
            assert_int_equal(form.problem.mask.kind, ATTENTION_NO_MASK);
            for (int i = 0; i < t.count; i++) {
                free(t.data[i]);
            }
            net_fini(&t.n);
        } else {
            finish(&t, true, "Add Softmax");
        }
    }
}

/* Key heads repeated for groups of query heads: Unsqueeze, Expand, Reshape. */
static void test_groups(void **state)
{
    trial t;
    float *mask;

    (void)state;
    init(&t);
    ints(&t, "split", 4, (int64_t[]){B, T, H, D});
    ints(&t, "split2", 4, (int64_t[]){B, T, 2, D});
    ints(&t, "repeated", 5, (int64_t[]){B, 2, 2, T, D});
    ints(&t, "all", 4, (int64_t[]){B, H, T, D});
    ints(&t, "joined", 3, (int64_t[]){B, T, W});
    ints(&t, "two", 1, (int64_t[]){2});
    scalar(&t, "scale", 0.35355339f);
    input(&t, "x", 3, (int64_t[]){B, T, W});
    input(&t, "y0", 3, (int64_t[]){B, T, W / 2});
    input(&t, "z", 3, (int64_t[]){B, T, W / 2});
    mask = input(&t, "mask", 4, (int64_t[]){B, 1, T, T});
    mask[7] = -3.4028235e38f;
    (void)net_node(&t.n, "Reshape", "x split", "q4");
    (void)net_node(&t.n, "Reshape", "y0 split2", "k4");
    (void)net_node(&t.n, "Reshape", "z split2", "v4");
    transpose(&t, "q4", "q", 4, (int64_t[]){0, 2, 1, 3});
    transpose(&t, "k4", "k0", 4, (int64_t[]){0, 2, 1, 3});
    transpose(&t, "v4", "v0", 4, (int64_t[]){0, 2, 1, 3});
    (void)net_node(&t.n, "Unsqueeze", "k0 two", "k1");
    (void)net_node(&t.n, "Unsqueeze", "v0 two", "v1");
    (void)net_node(&t.n, "Expand", "k1 repeated", "k2");
    (void)net_node(&t.n, "Expand", "v1 repeated", "v2");
    (void)net_node(&t.n, "Reshape", "k2 all", "k");
    (void)net_node(&t.n, "Reshape", "v2 all", "v");
    transpose(&t, "k", "kt", 4, (int64_t[]){0, 1, 3, 2});
    (void)net_node(&t.n, "MatMul", "q kt", "s");
    (void)net_node(&t.n, "Mul", "s scale", "s2");
    (void)net_node(&t.n, "Add", "s2 mask", "s3");
    mix(&t, "s3");
    finish(&t, true, "Transpose MatMul Softmax Expand Unsqueeze Mul Add");
}

static void einsum(trial *t, const char *equation, const char *from, const char *to)
{
    int32_t node = net_node(&t->n, "Einsum", from, to);

    assert_int_equal(graph_set_string(t->n.g, node, "equation", equation, NULL), SPRY_OK);
}

/* Keras writes products of [batch, position, head, element] directly. */
static void test_einsum(void **state)
{
    const char *const equations[2][3] = {{"aecd,abcd->acbe", "acbe,aecd->abcd", "k q"},
                                         {"bqhd,bkhd->bhqk", "bkhd,bhqk->bqhd", "q k"}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        trial t;

        init(&t);
        scalar(&t, "scale", 0.35355339f);
        input(&t, "q0", 4, (int64_t[]){B, T, H, D});
        input(&t, "k", 4, (int64_t[]){B, T + 3, H, D});
        input(&t, "v", 4, (int64_t[]){B, T + 3, H, D});
        (void)net_node(&t.n, "Mul", "q0 scale", "q");
        einsum(&t, equations[i][0], equations[i][2], "s");
        set_int(&t, net_node(&t.n, "Softmax", "s", "w"), "axis", -1);
        einsum(&t, equations[i][1], i == 0 ? "w v" : "v w", "y");
        finish(&t, true, "Einsum Softmax Mul");
    }
}

/* Batched products of rank 3, with the batch taken apart around the mask. */
static void test_joined_batch(void **state)
{
    trial t;

    (void)state;
    init(&t);
    ints(&t, "apart", 4, (int64_t[]){B, H, T, T});
    ints(&t, "together", 3, (int64_t[]){B * H, T, T});
    ints(&t, "heads", 3, (int64_t[]){B * H, T, D});
    ints(&t, "result", 4, (int64_t[]){B, H, T, D});
    ints(&t, "joined", 3, (int64_t[]){B, T, W});
    split_heads(&t, false);
    input(&t, "mask", 4, (int64_t[]){B, 1, T, T});
    (void)net_node(&t.n, "Reshape", "q heads", "q3");
    (void)net_node(&t.n, "Reshape", "k heads", "k3");
    (void)net_node(&t.n, "Reshape", "v heads", "v3");
    transpose(&t, "k3", "kt3", 3, (int64_t[]){0, 2, 1});
    (void)net_node(&t.n, "MatMul", "q3 kt3", "s");
    (void)net_node(&t.n, "Reshape", "s apart", "s4");
    (void)net_node(&t.n, "Add", "s4 mask", "s5");
    (void)net_node(&t.n, "Reshape", "s5 together", "s6");
    set_int(&t, net_node(&t.n, "Softmax", "s6", "w"), "axis", 2);
    (void)net_node(&t.n, "MatMul", "w v3", "o3");
    (void)net_node(&t.n, "Reshape", "o3 result", "o");
    transpose(&t, "o", "o4", 4, (int64_t[]){0, 2, 1, 3});
    (void)net_node(&t.n, "Reshape", "o4 joined", "y");
    finish(&t, true, "Transpose MatMul Softmax Add");
}

/* The operator itself, with three and four axes and shared key heads. */
static void test_operator(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        trial t;
        int32_t node;

        init(&t);
        t.n.opset = 23;
        if (form & 1) {
            input(&t, "q", 4, (int64_t[]){B, H, T, D});
            input(&t, "k", 4, (int64_t[]){B, 2, T + 1, D});
            input(&t, "v", 4, (int64_t[]){B, 2, T + 1, 5});
        } else {
            input(&t, "q", 3, (int64_t[]){B, T, W});
            input(&t, "k", 3, (int64_t[]){B, T + 1, W / 2});
            input(&t, "v", 3, (int64_t[]){B, T + 1, 10});
        }
        if (form & 2) {
            float *mask = input(&t, "mask", 2, (int64_t[]){T, T + 1});

            for (int j = 0; j <= T; j++) {
                mask[4 * (T + 1) + j] = -INFINITY;
            }
        }
        node = net_node(&t.n, "Attention", form & 2 ? "q k v mask" : "q k v", "y");
        set_int(&t, node, "q_num_heads", H);
        set_int(&t, node, "kv_num_heads", 2);
        set_int(&t, node, "is_causal", form == 3);
        finish(&t, true, "");
    }
}

/* Operators of com.microsoft, with a bias and hidden keys. */
static void test_microsoft(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        trial t;
        int32_t mask[B * T];
        float *numbers;
        int32_t node;

        init(&t);
        for (int i = 0; i < B * T; i++) {
            mask[i] = i % 4 != 1;
        }
        (void)net_constant(&t.n, "mask", SPRY_DTYPE_I32, 2, (int64_t[]){B, T}, mask);
        numbers = random_floats(&t, 3 * W * W);
        (void)net_constant(&t.n, "bias", SPRY_DTYPE_F32, 1, (int64_t[]){3 * W}, numbers);
        (void)net_constant(&t.n, "weights", SPRY_DTYPE_F32, 2, (int64_t[]){W, 3 * W}, numbers);
        free(numbers);
        input(&t, "x", 3, (int64_t[]){B, T, W});
        for (int i = 0; i < B * T * W; i++) {
            t.data[0][i] *= 0.1f;
        }
        node = form == 0 ? net_node(&t.n, "Attention", "x weights bias mask", "y")
                         : net_node(&t.n, "MultiHeadAttention", "x x x bias mask", "y");
        t.n.g->nodes[node].domain = "com.microsoft";
        t.n.g->nodes[node].opset = 1;
        t.n.g->nodes[node].op = op_find("com.microsoft", t.n.g->nodes[node].type, 1);
        set_int(&t, node, "num_heads", H);
        finish(&t, true, "MultiHeadAttention");
    }
}

/* What must stay as it is. */
static void test_refused(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        trial t;

        init(&t);
        split_heads(&t, true);
        scalar(&t, "scale", 0.5f);
        input(&t, "mask", 2, (int64_t[]){T, T});
        (void)net_node(&t.n, "MatMul", "q kt", "s");
        if (form == 0) { /* scaled after the mask */
            (void)net_node(&t.n, "Add", "s mask", "s2");
            (void)net_node(&t.n, "Mul", "s2 scale", "s3");
            mix(&t, "s3");
        } else if (form == 1) { /* normalised over queries */
            set_int(&t, net_node(&t.n, "Softmax", "s", "w"), "axis", 2);
            (void)net_node(&t.n, "MatMul", "w v", "y");
        } else { /* somebody else reads the scores */
            (void)net_node(&t.n, "Add", "s mask", "s3");
            set_int(&t, net_node(&t.n, "Softmax", "s3", "w"), "axis", 3);
            (void)net_node(&t.n, "MatMul", "w v", "o");
            ints(&t, "last", 1, (int64_t[]){-1});
            (void)net_node(&t.n, "ReduceMean", "s last", "mean");
            (void)net_node(&t.n, "Add", "o mean", "y");
        }
        finish(&t, false, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert),     cmocka_unit_test(test_both_sides),
        cmocka_unit_test(test_blind),    cmocka_unit_test(test_packed),
        cmocka_unit_test(test_where),    cmocka_unit_test(test_triangle),
        cmocka_unit_test(test_groups),   cmocka_unit_test(test_einsum),
        cmocka_unit_test(test_operator), cmocka_unit_test(test_joined_batch),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_microsoft),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
