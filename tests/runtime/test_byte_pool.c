/* Averages of bytes are those of the numbers that they stand for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/spry.h"
#include "support/proto.h"

enum { SIDE = 11, CHANNELS = 70, INTS = 7 };

/* What is pooled: bytes between two convolutions, channels-last. */
typedef struct pooled {
    const char *type;
    int64_t kernel, stride, pad;
    bool counts_padding;
    bool is_signed;
} pooled;

static void add_ints(proto *attributes, const char *name, int64_t count, int64_t number)
{
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    for (int64_t i = 0; i < count; i++) {
        proto_int(&attribute, 8, (uint64_t)number);
    }
    proto_int(&attribute, 20, INTS);
    proto_message(attributes, 5, &attribute);
}

static void add_numbers(proto *graph, const char *name, int rank, const int64_t *shape,
                        uint64_t stream)
{
    static float numbers[CHANNELS * 8];
    spry_random r = spry_random_stream(51, stream);
    size_t count = 1;

    for (int i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    spry_random_fill_uniform(&r, numbers, count, -0.6f, 0.6f);
    proto_tensor(graph, 5, name, SPRY_DTYPE_F32, rank, shape, numbers, count * sizeof *numbers);
}

static void add_pool(proto *graph, const pooled *p)
{
    proto attributes = {0};

    if (strcmp(p->type, "AveragePool") == 0) {
        add_ints(&attributes, "kernel_shape", 2, p->kernel);
        add_ints(&attributes, "strides", 2, p->stride);
        add_ints(&attributes, "pads", 4, p->pad);
        proto_attribute_int(&attributes, "count_include_pad", p->counts_padding);
    }
    proto_node_with(graph, 1, p->type, "numbers", "means", &attributes);
}

static proto make_network(const pooled *p)
{
    const float scale = 0.019f;
    int64_t side = p->stride > 0 ? (SIDE + 2 * p->pad - p->kernel) / p->stride + 1 : 1;
    const uint8_t zero = p->is_signed ? (uint8_t)-7 : 119;
    proto graph = {0};
    proto file = {0};

    add_numbers(&graph, "weights", 4, (const int64_t[]){CHANNELS, 8, 1, 1}, 1);
    proto_tensor(&graph, 5, "scale", SPRY_DTYPE_F32, 0, NULL, &scale, sizeof scale);
    proto_tensor(&graph, 5, "zero", p->is_signed ? SPRY_DTYPE_I8 : SPRY_DTYPE_U8, 0, NULL, &zero,
                 1);
    proto_node(&graph, 1, "Conv", "x weights", "image");
    proto_node(&graph, 1, "QuantizeLinear", "image scale zero", "bytes");
    proto_node(&graph, 1, "DequantizeLinear", "bytes scale zero", "numbers");
    add_pool(&graph, p);
    add_numbers(&graph, "more", 4, (const int64_t[]){8, CHANNELS, 1, 1}, 2);
    proto_node(&graph, 1, "Conv", "means more", "y");
    proto_text(&graph, 2, "network");
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){2, 8, SIDE, SIDE});
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 4, (const int64_t[]){2, 8, side, side});
    proto_model(&file, 8, 13, &graph);
    return file;
}

static spry_value *run(const pooled *p, bool keep_order, bool *pools_bytes)
{
    proto file = make_network(p);
    spry_session_options options = spry_session_options_default();
    const int64_t shape[] = {2, 8, SIDE, SIDE};
    spry_random r = spry_random_stream(51, 0);
    const char *names[] = {"x"};
    spry_model *model = NULL;
    spry_session *session = NULL;
    const spry_profile_row *rows;
    spry_tensor *x = NULL;
    spry_value *in = NULL;
    spry_value *out = NULL;
    spry_error error = {0};

    options.threads = 1;
    options.profile = true;
    options.keep_order = keep_order;
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &model, NULL), SPRY_OK);
    assert_int_equal(spry_session_create(model, &options, &session, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &x, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(x), (size_t)2 * 8 * SIDE * SIDE, -1.0f, 1.0f);
    assert_int_equal(spry_value_from_tensor(NULL, x, &in, NULL), SPRY_OK);
    if (spry_session_run(session, 1, names, (const spry_value *const *)&in, 1, &out, &error) !=
        SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    *pools_bytes = true;
    for (int32_t i = 0; i < spry_session_profile(session, &rows); i++) {
        *pools_bytes = *pools_bytes && strcmp(rows[i].type, "DequantizeLinear") != 0;
    }
    spry_value_destroy(in);
    spry_session_destroy(session);
    spry_model_destroy(model);
    proto_fini(&file);
    return out;
}

static void averages_of_bytes_are_those_of_numbers(void **state)
{
    static const pooled all[] = {
        {"GlobalAveragePool", 0, 0, 0, false, false}, {"GlobalAveragePool", 0, 0, 0, false, true},
        {"AveragePool", 4, 4, 0, false, false},       {"AveragePool", 3, 2, 1, false, true},
        {"AveragePool", 3, 2, 1, true, false},        {"AveragePool", 1, 1, 0, false, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool fast, plain;
        spry_value *found = run(&all[i], false, &fast);
        spry_value *wanted = run(&all[i], true, &plain);
        size_t count = spry_tensor_bytes(spry_value_tensor(wanted)) / sizeof(float);
        const float *a = spry_tensor_const_data(spry_value_tensor(found));
        const float *b = spry_tensor_const_data(spry_value_tensor(wanted));

        if (!fast || plain) {
            fail_msg("case %zu: bytes are pooled: %d, as written: %d", i, fast, plain);
        }
        for (size_t k = 0; k < count; k++) {
            if (!(fabsf(a[k] - b[k]) <= 1e-5f)) {
                fail_msg("case %zu, number %zu: %g, not %g", i, k, (double)a[k], (double)b[k]);
            }
        }
        spry_value_destroy(found);
        spry_value_destroy(wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(averages_of_bytes_are_those_of_numbers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
