/* Moves, reductions, pooling and rounding to a grid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "spry/random.h"
#include "support/gradient_check.h"
#include "support/sample.h"

/* ---- shapes and orders ---- */

/* What moves elements without adding any is multiplied afterwards, so that a share that went to a
 * wrong place has a wrong number. */
static void finish(gradient_check *c)
{
    (void)net_node(&c->n, "Mul", "moved moved", "y");
}

static void build_shapes(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "x", 3, (const int64_t[]){2, 3, 4});
    (void)gradient_check_ints(c, "shape", 3, (const int64_t[]){0, -1, 2});
    (void)gradient_check_ints(c, "two", 1, (const int64_t[]){2});
    (void)net_node(&c->n, "Reshape", "x shape", "a");
    node = net_node(&c->n, "Transpose", "a", "b");
    gradient_check_set_ints(c, node, "perm", 3, (const int64_t[]){1, 2, 0});
    (void)net_node(&c->n, "Transpose", "b", "d");
    node = net_node(&c->n, "Flatten", "d", "e");
    gradient_check_set_int(c, node, "axis", 2);
    (void)net_node(&c->n, "Unsqueeze", "e two", "f");
    (void)net_node(&c->n, "Squeeze", "f", "moved");
    finish(c);
}

static void build_concat(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "a", 2, (const int64_t[]){2, 3});
    (void)gradient_check_input(c, "b", 2, (const int64_t[]){2, 1});
    node = net_node(&c->n, "Concat", "a b a", "moved");
    gradient_check_set_int(c, node, "axis", -1);
    finish(c);
}

/* One part is not used, one twice. */
static void build_split(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "x", 2, (const int64_t[]){6, 2});
    (void)gradient_check_ints(c, "sizes", 3, (const int64_t[]){1, 2, 3});
    node = net_node(&c->n, "Split", "x sizes", "a b d");
    gradient_check_set_int(c, node, "axis", 0);
    (void)net_node(&c->n, "Mul", "a d", "product");
    (void)net_node(&c->n, "Add", "product d", "moved");
    finish(c);
}

static void build_space(gradient_check *c)
{
    const char *mode = c->detail;
    int32_t node;

    if (mode == NULL) {
        (void)gradient_check_input(c, "x", 4, (const int64_t[]){2, 3, 4, 2});
        node = net_node(&c->n, "SpaceToDepth", "x", "moved");
    } else {
        (void)gradient_check_input(c, "x", 4, (const int64_t[]){2, 12, 2, 3});
        node = net_node(&c->n, "DepthToSpace", "x", "moved");
        gradient_check_set_string(c, node, "mode", mode);
    }
    gradient_check_set_int(c, node, "blocksize", 2);
    finish(c);
}

static void build_triangle(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "x", 3, (const int64_t[]){2, 3, 4});
    (void)net_constant(&c->n, "axis", SPRY_DTYPE_I64, 0, NULL, &(int64_t){1});
    node = net_node(&c->n, "CumSum", "x axis", "sums");
    gradient_check_set_int(c, node, "exclusive", 1);
    node = net_node(&c->n, "Trilu", "sums", "moved");
    gradient_check_set_int(c, node, "upper", 0);
    finish(c);
}

static void test_shapes(void **state)
{
    (void)state;
    gradient_check_run(build_shapes, NULL, 13);
    gradient_check_run(build_concat, NULL, 13);
    gradient_check_run(build_split, NULL, 13);
    gradient_check_run(build_space, NULL, 13);
    gradient_check_run(build_space, "DCR", 13);
    gradient_check_run(build_space, "CRD", 13);
    gradient_check_run(build_triangle, NULL, 14);
}

/* ---- slices and edges ---- */

typedef struct slice {
    int64_t starts[2], ends[2], axes[2], steps[2];
} slice;

static void build_slice(gradient_check *c)
{
    const slice *v = c->detail;

    (void)gradient_check_input(c, "x", 3, (const int64_t[]){2, 6, 5});
    (void)gradient_check_ints(c, "starts", 2, v->starts);
    (void)gradient_check_ints(c, "ends", 2, v->ends);
    (void)gradient_check_ints(c, "axes", 2, v->axes);
    (void)gradient_check_ints(c, "steps", 2, v->steps);
    (void)net_node(&c->n, "Slice", "x starts ends axes steps", "moved");
    finish(c);
}

/* Starts that are computed from a shape. */
static void build_computed_slice(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 2, (const int64_t[]){4, 3});
    (void)gradient_check_ints(c, "one", 1, (const int64_t[]){1});
    (void)gradient_check_ints(c, "zero", 1, (const int64_t[]){0});
    (void)net_node(&c->n, "Shape", "x", "shape");
    (void)net_node(&c->n, "Gather", "shape zero", "rows");
    (void)net_node(&c->n, "Sub", "rows one", "end");
    (void)net_node(&c->n, "Slice", "x one end zero", "moved");
    finish(c);
}

static void build_old_slice(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "x", 2, (const int64_t[]){4, 3});
    node = net_node(&c->n, "Slice", "x", "moved");
    gradient_check_set_ints(c, node, "starts", 2, (const int64_t[]){1, -2});
    gradient_check_set_ints(c, node, "ends", 2, (const int64_t[]){9, 3});
    finish(c);
}

static void test_slices(void **state)
{
    static const slice cases[] = {
        {{1, 0}, {5, 3}, {1, 2}, {1, 1}},  {{-4, 1}, {99, -1}, {-2, 2}, {1, 1}},
        {{0, 0}, {6, 5}, {1, 2}, {2, 3}},  {{5, 4}, {-99, 0}, {1, 2}, {-1, -2}},
        {{1, 4}, {4, 0}, {1, 2}, {1, -1}}, {{3, 0}, {3, 5}, {1, 2}, {1, 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build_slice, &cases[i], 13);
    }
    gradient_check_run(build_computed_slice, NULL, 13);
    gradient_check_run(build_old_slice, NULL, 9);
}

typedef struct pad {
    const char *mode;
    int64_t pads[4];
} pad;

static void build_pad(gradient_check *c)
{
    const pad *v = c->detail;
    int32_t node;

    (void)gradient_check_input(c, "x", 2, (const int64_t[]){4, 5});
    (void)gradient_check_ints(c, "pads", 4, v->pads);
    (void)gradient_check_number(c, "value", 0.5);
    node = net_node(&c->n, "Pad", strcmp(v->mode, "constant") == 0 ? "x pads value" : "x pads",
                    "moved");
    gradient_check_set_string(c, node, "mode", v->mode);
    finish(c);
}

static void build_pad_axes(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 3, (const int64_t[]){2, 4, 3});
    (void)gradient_check_ints(c, "pads", 2, (const int64_t[]){1, 2});
    (void)gradient_check_ints(c, "axes", 1, (const int64_t[]){-2});
    (void)net_node(&c->n, "Pad", "x pads - axes", "moved");
    finish(c);
}

static void build_old_pad(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "x", 2, (const int64_t[]){2, 3});
    node = net_node(&c->n, "Pad", "x", "moved");
    gradient_check_set_ints(c, node, "pads", 4, (const int64_t[]){0, 1, 2, -1});
    finish(c);
}

static void test_pads(void **state)
{
    static const pad cases[] = {
        {"constant", {1, 0, 2, 3}}, {"constant", {-1, 2, 0, -2}}, {"reflect", {1, 2, 3, 4}},
        {"edge", {2, 0, 0, 3}},     {"wrap", {1, 2, 3, 0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build_pad, &cases[i], 19);
    }
    gradient_check_run(build_pad_axes, NULL, 18);
    gradient_check_run(build_old_pad, NULL, 10);
}

/* ---- repetition and choice ---- */

static void build_repeat(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 2, (const int64_t[]){3, 1});
    (void)gradient_check_ints(c, "shape", 3, (const int64_t[]){2, 1, 4});
    (void)gradient_check_ints(c, "repeats", 3, (const int64_t[]){1, 2, 3});
    (void)net_node(&c->n, "Expand", "x shape", "wide");
    (void)net_node(&c->n, "Tile", "wide repeats", "tiled");
    (void)gradient_check_input(c, "factor", 3, (const int64_t[]){2, 6, 12});
    (void)net_node(&c->n, "Mul", "tiled factor", "moved");
    finish(c);
}

typedef struct choice {
    const char *type;
    int64_t axis;
    int rank;
    int64_t shape[3]; /* of the indices */
} choice;

static void build_choice(gradient_check *c)
{
    static const int64_t indices[] = {1, 0, 1, -1, 2, 1, 0, 0, 2, -2, 1, 1};
    const choice *v = c->detail;
    int32_t node;

    (void)gradient_check_input(c, "x", 3, (const int64_t[]){3, 4, 3});
    (void)net_constant(&c->n, "indices", SPRY_DTYPE_I64, v->rank, v->shape, indices);
    node = net_node(&c->n, v->type, "x indices", "moved");
    if (strcmp(v->type, "GatherND") != 0) {
        gradient_check_set_int(c, node, "axis", v->axis);
    }
    finish(c);
}

static void build_scatter(gradient_check *c)
{
    static const int64_t indices[] = {1, 0, 2, 3, 1, 0};
    static const int64_t tuples[] = {0, 1, 2, 3};
    const char *reduction = c->detail;
    int32_t node;

    (void)gradient_check_input(c, "x", 2, (const int64_t[]){4, 3});
    (void)gradient_check_input(c, "u", 2, (const int64_t[]){2, 3});
    (void)gradient_check_input(c, "v", 1, (const int64_t[]){2});
    (void)net_constant(&c->n, "indices", SPRY_DTYPE_I64, 2, (const int64_t[]){2, 3}, indices);
    (void)net_constant(&c->n, "tuples", SPRY_DTYPE_I64, 2, (const int64_t[]){2, 2}, tuples);
    node = net_node(&c->n, "ScatterElements", "x indices u", "z");
    gradient_check_set_string(c, node, "reduction", reduction);
    (void)gradient_check_ints(c, "shape", 2, (const int64_t[]){3, 4});
    (void)net_node(&c->n, "Reshape", "z shape", "turned");
    node = net_node(&c->n, "ScatterND", "turned tuples v", "moved");
    gradient_check_set_string(c, node, "reduction", reduction);
    finish(c);
}

static void test_choices(void **state)
{
    static const choice cases[] = {
        {"Gather", 0, 1, {4}},
        {"Gather", 1, 2, {2, 3}},
        {"Gather", -1, 0, {0}},
        {"Gather", 2, 1, {12}},
        {"GatherElements", 1, 3, {2, 2, 3}},
        {"GatherElements", 0, 3, {3, 2, 2}},
        {"GatherND", 0, 2, {3, 2}},
        {"GatherND", 0, 1, {3}},
    };

    (void)state;
    gradient_check_run(build_repeat, NULL, 13);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build_choice, &cases[i], 13);
    }
    gradient_check_run(build_scatter, "none", 18);
    gradient_check_run(build_scatter, "add", 18);
}

/* ---- Resize ---- */

typedef struct resize {
    const char *mode, *grid, *rounding;
    bool sizes;
    float scales[4];
} resize;

static void build_resize(gradient_check *c)
{
    const resize *v = c->detail;
    const int64_t sizes[4] = {2, 2, (int64_t)(3.0f * v->scales[2]), (int64_t)(4.0f * v->scales[3])};
    int32_t node;

    (void)gradient_check_input(c, "x", 4, (const int64_t[]){2, 2, 3, 4});
    (void)net_constant(&c->n, "scales", SPRY_DTYPE_F32, 1, (const int64_t[]){4}, v->scales);
    (void)gradient_check_ints(c, "sizes", 4, sizes);
    node = net_node(&c->n, "Resize", v->sizes ? "x - - sizes" : "x - scales", "moved");
    gradient_check_set_string(c, node, "mode", v->mode);
    gradient_check_set_string(c, node, "coordinate_transformation_mode", v->grid);
    gradient_check_set_string(c, node, "nearest_mode", v->rounding);
    finish(c);
}

static void build_upsample(gradient_check *c)
{
    static const float scales[4] = {1.0f, 1.0f, 2.0f, 3.0f};
    int32_t node;

    (void)gradient_check_input(c, "x", 4, (const int64_t[]){2, 2, 3, 2});
    (void)net_constant(&c->n, "scales", SPRY_DTYPE_F32, 1, (const int64_t[]){4}, scales);
    node = net_node(&c->n, "Upsample", "x scales", "moved");
    gradient_check_set_string(c, node, "mode", c->detail);
    finish(c);
}

static void test_resize(void **state)
{
    static const resize cases[] = {
        {"nearest", "asymmetric", "floor", false, {1, 1, 2, 3}},
        {"nearest", "half_pixel", "round_prefer_floor", true, {1, 1, 2.4f, 1.5f}},
        {"nearest", "half_pixel", "round_prefer_ceil", false, {1, 1, 0.7f, 1}},
        {"linear", "half_pixel", "floor", false, {1, 1, 2, 1.6f}},
        {"linear", "align_corners", "floor", true, {1, 1, 1, 2}},
        {"cubic", "pytorch_half_pixel", "floor", false, {1, 1, 2, 0.8f}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build_resize, &cases[i], 13);
    }
    gradient_check_run(build_upsample, "nearest", 9);
    gradient_check_run(build_upsample, "linear", 9);
}

/* ---- reductions ---- */

typedef struct reduction {
    const char *type;
    int axis_count; /* -1: none given */
    int64_t axes[3];
    bool keep;
} reduction;

static void build_reduction(gradient_check *c)
{
    const reduction *v = c->detail;
    bool positive = strcmp(v->type, "ReduceLogSum") == 0;
    int32_t node;

    (void)gradient_check_uniform(c, "x", 3, (const int64_t[]){2, 3, 4}, positive ? 0.2 : -2.0, 2.0);
    if (v->axis_count >= 0) {
        (void)gradient_check_ints(c, "axes", v->axis_count, v->axes);
    }
    node = net_node(&c->n, v->type, v->axis_count >= 0 ? "x axes" : "x", "moved");
    gradient_check_set_int(c, node, "keepdims", v->keep);
    finish(c);
}

static void build_old_reduction(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "x", 3, (const int64_t[]){2, 3, 4});
    node = net_node(&c->n, c->detail, "x", "moved");
    gradient_check_set_ints(c, node, "axes", 2, (const int64_t[]){-1, 0});
    finish(c);
}

static void test_reductions(void **state)
{
    static const char *const types[] = {
        "ReduceSum", "ReduceMean", "ReduceMax",       "ReduceMin",    "ReduceL1",
        "ReduceL2",  "ReduceProd", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"};
    static const reduction forms[] = {
        {NULL, -1, {0}, true},      {NULL, -1, {0}, false},  {NULL, 1, {1}, true},
        {NULL, 1, {-1}, false},     {NULL, 2, {0, 2}, true}, {NULL, 2, {-1, 1}, false},
        {NULL, 3, {2, 0, 1}, true},
    };

    (void)state;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
            reduction r = forms[i];

            r.type = types[t];
            gradient_check_run(build_reduction, &r, 18);
        }
    }
    gradient_check_run(build_old_reduction, "ReduceMean", 13);
    gradient_check_run(build_old_reduction, "ReduceSum", 11);
}

/* ---- pooling ---- */

typedef struct pool {
    const char *type;
    int rank;
    int64_t in[3], kernel[3], stride[3], dilation[3], pads[6];
    int64_t ceil_mode, count_pads;
    bool same;
} pool;

static void build_pool(gradient_check *c)
{
    const pool *v = c->detail;
    int64_t x[5] = {2, 2};
    int32_t node;

    memcpy(x + 2, v->in, sizeof v->in);
    (void)gradient_check_input(c, "x", 2 + v->rank, x);
    node = net_node(&c->n, v->type, "x", "moved");
    gradient_check_set_ints(c, node, "kernel_shape", v->rank, v->kernel);
    gradient_check_set_ints(c, node, "strides", v->rank, v->stride);
    gradient_check_set_ints(c, node, "dilations", v->rank, v->dilation);
    gradient_check_set_int(c, node, "ceil_mode", v->ceil_mode);
    if (v->same) {
        gradient_check_set_string(c, node, "auto_pad", "SAME_UPPER");
    } else {
        gradient_check_set_ints(c, node, "pads", 2 * (int64_t)v->rank, v->pads);
    }
    if (strcmp(v->type, "AveragePool") == 0) {
        gradient_check_set_int(c, node, "count_include_pad", v->count_pads);
    }
    finish(c);
}

static void test_pools(void **state)
{
    spry_random r = spry_random_stream(3, 0);

    (void)state;
    for (int wanted = 120; wanted > 0;) {
        pool v = {.type = wanted % 2 == 0 ? "MaxPool" : "AveragePool",
                  .rank = wanted > 116 ? 3 : 1 + wanted / 2 % 2,
                  .ceil_mode = sample_integer(&r, 0, 1),
                  .count_pads = sample_integer(&r, 0, 1),
                  .same = sample_integer(&r, 0, 3) == 0};
        bool fits = true;

        for (int i = 0; i < v.rank; i++) {
            int64_t reach;

            v.in[i] = sample_integer(&r, 1, 5);
            v.kernel[i] = sample_integer(&r, 1, 3);
            v.stride[i] = sample_integer(&r, 1, 3);
            v.dilation[i] = sample_integer(&r, 1, 2);
            reach = (v.kernel[i] - 1) * v.dilation[i] + 1;
            /* No more than half a window of padding: every window sees something. */
            v.pads[i] = sample_integer(&r, 0, v.kernel[i] / 2);
            v.pads[v.rank + i] = sample_integer(&r, 0, v.kernel[i] / 2);
            fits = fits && reach <= v.in[i];
        }
        if (fits) {
            gradient_check_run(build_pool, &v, 19);
            wanted--;
        }
    }
}

static void build_global(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 4, (const int64_t[]){2, 3, 2, 3});
    (void)net_node(&c->n, c->detail, "x", "moved");
    finish(c);
}

/* Of equal elements the first gets everything. */
static void build_ties(gradient_check *c)
{
    static const double x[] = {1, 2, 2, 0, 2, 1};

    c->surrogate = true;
    (void)gradient_check_given(c, "x", 3, (const int64_t[]){1, 1, 6}, x);
    (void)net_node(&c->n, c->detail, "x", "y");
}

static void test_global_pools(void **state)
{
    static const char *const types[] = {"GlobalMaxPool", "ReduceMax"};

    (void)state;
    gradient_check_run(build_global, "GlobalAveragePool", 13);
    gradient_check_run(build_global, "GlobalMaxPool", 13);
    for (int i = 0; i < 2; i++) {
        gradient_check c;

        gradient_check_start(&c, build_ties, types[i], 13);
        for (int k = 0; k < 6; k++) {
            assert_true((c.inputs[0].gradient[k] != 0.0) == (k == 1));
        }
        gradient_check_fini(&c);
    }
}

/* ---- rounding to a grid ---- */

static void build_grid(gradient_check *c)
{
    static const double x[] = {-2.1, -1.9, 0.0, 0.26, 1.8, 1.7, 100.0, -100.0};
    static const float scale[] = {0.015625f, 0.5f};
    static const int8_t zero[] = {7, -3};
    bool per_axis = *(const bool *)c->detail;
    int32_t node;

    c->surrogate = true;
    (void)gradient_check_given(c, "x", 2, (const int64_t[]){4, 2}, x);
    (void)net_constant(&c->n, "scale", SPRY_DTYPE_F32, per_axis, (const int64_t[]){2}, scale);
    (void)net_constant(&c->n, "zero", SPRY_DTYPE_I8, per_axis, (const int64_t[]){2}, zero);
    (void)net_node(&c->n, "Cast", "x", "narrow");
    gradient_check_set_int(c, c->n.g->node_count - 1, "to", SPRY_DTYPE_F32);
    node = net_node(&c->n, "QuantizeLinear", "narrow scale zero", "codes");
    gradient_check_set_int(c, node, "axis", 1);
    node = net_node(&c->n, "DequantizeLinear", "codes scale zero", "grid");
    gradient_check_set_int(c, node, "axis", 1);
    (void)net_node(&c->n, "CastLike", "grid x", "y");
}

/* The range of the first scale is [-135 / 64, 120 / 64], of the second [-62.5, 65]. */
static void test_grid(void **state)
{
    static const bool inside[2][8] = {{true, true, true, true, true, true, false, false},
                                      {true, true, true, true, true, true, false, false}};

    (void)state;
    for (int form = 0; form < 2; form++) {
        bool per_axis = form == 1;
        gradient_check c;

        gradient_check_start(&c, build_grid, &per_axis, 15);
        for (int k = 0; k < 8; k++) {
            assert_true((c.inputs[0].gradient[k] != 0.0) == inside[form][k]);
        }
        gradient_check_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_slices),
        cmocka_unit_test(test_pads),   cmocka_unit_test(test_choices),
        cmocka_unit_test(test_resize), cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_pools),  cmocka_unit_test(test_global_pools),
        cmocka_unit_test(test_grid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
