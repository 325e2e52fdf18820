/* Symbolic dimensions through the arithmetic that exporters write around Reshape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"

enum { PORTS = 4 };

/* A value of a shape rule: its type, contents and constant. */
typedef struct fact {
    graph_type type;
    graph_dim *content;
    int32_t content_count;
    const tensor *constant;
} fact;

/* Applies the rule of an operator to facts; NULL inputs are omitted. */
static fact apply(op_harness *h, int count, const fact *const *inputs)
{
    const graph_type *types[PORTS] = {NULL};
    const tensor *constants[PORTS] = {NULL};
    const graph_dim *contents[PORTS] = {NULL};
    int32_t counts[PORTS] = {0};
    fact result = {.content_count = 0};
    op_shapes s = {.g = &h->g, .node = &h->node, .inputs = types, .constants = constants};

    for (int i = 0; i < count; i++) {
        types[i] = &inputs[i]->type;
        constants[i] = inputs[i]->constant;
        contents[i] = inputs[i]->content;
        counts[i] = inputs[i]->content_count;
    }
    s.contents = contents;
    s.content_counts = counts;
    s.outputs = &result.type;
    s.output_contents = &result.content;
    s.output_content_counts = &result.content_count;
    s.input_count = count;
    s.output_count = 1;
    s.error = &h->error;
    h->node.op = op_find("", h->node.type, h->node.opset);
    assert_non_null(h->node.op);
    assert_int_equal(h->node.op->infer(&s), SPRY_OK);
    return result;
}

static fact constant(tensor *t, int rank, const int64_t *shape, int64_t *numbers)
{
    fact f = {.type = graph_type_tensor(SPRY_DTYPE_I64, rank, shape), .constant = t};

    assert_int_equal(tensor_init(t, SPRY_DTYPE_I64, rank, shape, numbers, NULL), SPRY_OK);
    return f;
}

/* x.view(x.shape[0], -1, 64) for x of [N, 12, 8, 8]: Shape, Gather, Unsqueeze, Concat, Reshape. */
static void test_view(void **unused)
{
    const int64_t shape[4] = {-1, 12, 8, 8};
    const int64_t one = 1;
    const int64_t two = 2;
    int64_t zero = 0;
    int64_t tail[2] = {-1, 64};
    tensor tensors[3];
    fact x = {.type = graph_type_tensor(SPRY_DTYPE_F32, 4, shape)};
    fact index = constant(&tensors[0], 0, NULL, &zero);
    fact axes = constant(&tensors[1], 1, &one, &zero);
    fact rest = constant(&tensors[2], 1, &two, tail);
    op_harness h[5];
    fact sizes;
    fact first;
    fact list;
    fact request;
    fact result;

    (void)unused;
    x.type.dims[0] = (graph_dim){-1, "N"};
    op_harness_init(&h[0], "", "Shape", 15);
    op_harness_init(&h[1], "", "Gather", 13);
    op_harness_init(&h[2], "", "Unsqueeze", 13);
    op_harness_init(&h[3], "", "Concat", 13);
    op_harness_init(&h[4], "", "Reshape", 14);
    op_harness_int(&h[3], "axis", 0);
    sizes = apply(&h[0], 1, (const fact *[]){&x});
    assert_int_equal(sizes.content_count, 4);
    first = apply(&h[1], 2, (const fact *[]){&sizes, &index});
    assert_int_equal(first.type.rank, 0);
    list = apply(&h[2], 2, (const fact *[]){&first, &axes});
    request = apply(&h[3], 2, (const fact *[]){&list, &rest});
    assert_int_equal(request.content_count, 3);
    result = apply(&h[4], 2, (const fact *[]){&x, &request});
    assert_int_equal(result.type.rank, 3);
    assert_string_equal(result.type.dims[0].symbol, "N");
    assert_int_equal(result.type.dims[1].size, 12);
    assert_int_equal(result.type.dims[2].size, 64);
    for (int i = 0; i < 5; i++) {
        op_harness_fini(&h[i]);
    }
}

static void test_slice_of_shape(void **unused)
{
    const int64_t shape[3] = {-1, 5, 7};
    const int64_t one = 1;
    int64_t numbers[2] = {1, INT64_MAX};
    tensor tensors[2];
    fact x = {.type = graph_type_tensor(SPRY_DTYPE_F32, 3, shape)};
    fact start = constant(&tensors[0], 1, &one, &numbers[0]);
    fact end = constant(&tensors[1], 1, &one, &numbers[1]);
    op_harness h[2];
    fact sizes;
    fact last;

    (void)unused;
    op_harness_init(&h[0], "", "Shape", 13);
    op_harness_init(&h[1], "", "Slice", 13);
    sizes = apply(&h[0], 1, (const fact *[]){&x});
    last = apply(&h[1], 3, (const fact *[]){&sizes, &start, &end});
    assert_int_equal(last.content_count, 2);
    assert_int_equal(last.content[0].size, 5);
    assert_int_equal(last.content[1].size, 7);
    op_harness_fini(&h[0]);
    op_harness_fini(&h[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_slice_of_shape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
