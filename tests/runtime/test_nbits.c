/* Products with weights of four and eight bits: as written (dequantized, or the reference) and as
 * planned. */
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

enum { K = 100, N = 70, BLOCK = 32, BLOCKS = 4, MOST_ROWS = 40, CODES = N * BLOCKS * BLOCK / 2 };

typedef struct form {
    const char *type; /* MatMulNBits, MatMul or Gemm */
    spry_dtype dtype; /* of the codes */
    bool turned;      /* Gemm: weights [n][k] */
    bool zeros, bias;
    bool keeps_bits; /* runs without being dequantized */
    int bits;        /* of MatMulNBits, where it is not 4 */
    bool lone;       /* a scale per column instead of blocks */
} form;

static const form forms[] = {
    {"MatMulNBits", SPRY_DTYPE_U8, false, false, false, true, 0, false},
    {"MatMulNBits", SPRY_DTYPE_U8, false, true, true, true, 0, false},
    {"MatMul", SPRY_DTYPE_I4, false, false, false, true, 0, false},
    {"MatMul", SPRY_DTYPE_U4, false, true, false, true, 0, false},
    {"MatMul", SPRY_DTYPE_U4, false, false, false, true, 0, false},
    {"MatMul", SPRY_DTYPE_I4, false, true, false, true, 0, false},
    {"Gemm", SPRY_DTYPE_I4, true, true, true, true, 0, false},
    {"Gemm", SPRY_DTYPE_U4, false, true, false, true, 0, false},
    {"MatMul", SPRY_DTYPE_I8, false, false, false, true, 0, false},
    {"MatMul", SPRY_DTYPE_U8, false, true, false, true, 0, false},
    {"MatMul", SPRY_DTYPE_I8, false, true, false, true, 0, true},
    {"Gemm", SPRY_DTYPE_U8, true, true, true, true, 0, false},
    {"Gemm", SPRY_DTYPE_I8, true, false, true, true, 0, true},
    {"MatMulNBits", SPRY_DTYPE_U8, false, false, true, true, 2, false},
    {"MatMulNBits", SPRY_DTYPE_U8, false, true, true, true, 2, false},
    {"MatMulNBits", SPRY_DTYPE_U8, false, false, true, true, 8, false},
    {"MatMulNBits", SPRY_DTYPE_U8, false, true, false, true, 8, false},
    {"MatMul", SPRY_DTYPE_I4, false, false, false, true, 0, true},
    {"Gemm", SPRY_DTYPE_U4, true, true, true, true, 0, true},
    {"Gemm", SPRY_DTYPE_I4, false, true, false, true, 0, true},
};

static void add_bytes(proto *graph, const char *name, uint64_t stream, spry_dtype dtype, int rank,
                      const int64_t *shape, size_t size)
{
    spry_random r = spry_random_stream(6, stream);
    uint8_t bytes[2 * CODES];

    assert_true(size <= sizeof bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)spry_random_below(&r, 256);
    }
    proto_tensor(graph, 5, name, dtype, rank, shape, bytes, size);
}

static void add_floats(proto *graph, const char *name, uint64_t stream, int rank,
                       const int64_t *shape, size_t count)
{
    spry_random r = spry_random_stream(7, stream);
    float values[N * BLOCKS];

    assert_true(count <= sizeof values / sizeof *values);
    spry_random_fill_uniform(&r, values, count, 0.01f, 0.1f);
    proto_tensor(graph, 5, name, SPRY_DTYPE_F32, rank, shape, values, count * sizeof *values);
}

static void put_operator(proto *graph, const form *f)
{
    proto attributes = {0};
    int bits = f->bits != 0 ? f->bits : 4;
    size_t codes = (size_t)(N * BLOCKS * BLOCK * bits / 8);
    size_t zeros = (size_t)(N * BLOCKS * bits / 8); /* whole bytes in each row, as BLOCKS is 4 */
    /* A blank too many omits an input. */
    const char *inputs = f->bias ? f->zeros ? "x codes scales zeros  bias" : "x codes scales   bias"
                         : f->zeros ? "x codes scales zeros"
                                    : "x codes scales";

    proto_text(&attributes, 7, "com.microsoft"); /* the node's domain */
    proto_attribute_int(&attributes, "N", N);
    proto_attribute_int(&attributes, "K", K);
    proto_attribute_int(&attributes, "bits", bits);
    proto_attribute_int(&attributes, "block_size", BLOCK);
    proto_node_with(graph, 1, "MatMulNBits", inputs, "y", &attributes);
    add_bytes(graph, "codes", 1, SPRY_DTYPE_U8, 3, (const int64_t[]){N, BLOCKS, BLOCK * bits / 8},
              codes);
    add_floats(graph, "scales", 2, 1, (const int64_t[]){N * BLOCKS}, (size_t)N * BLOCKS);
    if (f->zeros) {
        add_bytes(graph, "zeros", 3, SPRY_DTYPE_U8, 1, (const int64_t[]){(int64_t)zeros}, zeros);
    }
    if (f->bias) {
        add_floats(graph, "bias", 4, 1, (const int64_t[]){N}, N);
    }
}

static bool is_byte(const form *f)
{
    return f->dtype == SPRY_DTYPE_I8 || f->dtype == SPRY_DTYPE_U8;
}

static void put_pair(proto *graph, const form *f)
{
    const int64_t codes[] = {f->turned ? N : K, f->turned ? K : N};
    const int64_t blocked[] = {f->turned ? N : BLOCKS, f->turned ? BLOCKS : N};
    const int64_t lone[] = {N};
    const int64_t *scales = f->lone ? lone : blocked;
    int rank = f->lone ? 1 : 2;
    size_t count = (size_t)(f->lone ? N : N * BLOCKS);
    size_t per_byte = is_byte(f) ? 1 : 2;
    proto attributes = {0};
    proto gemm = {0};

    proto_attribute_int(&attributes, "axis", f->turned != f->lone);
    if (!f->lone) {
        proto_attribute_int(&attributes, "block_size", BLOCK);
    }
    proto_node_with(graph, 1, "DequantizeLinear", f->zeros ? "codes scales zeros" : "codes scales",
                    "w", &attributes);
    if (strcmp(f->type, "Gemm") == 0) {
        proto_attribute_int(&gemm, "transB", f->turned);
    }
    proto_node_with(graph, 1, f->type, f->bias ? "x w bias" : "x w", "y", &gemm);
    add_bytes(graph, "codes", 1, f->dtype, 2, codes, K * N / per_byte);
    add_floats(graph, "scales", 2, rank, scales, count);
    if (f->zeros) {
        add_bytes(graph, "zeros", 3, f->dtype, rank, scales, count / per_byte);
    }
    if (f->bias) {
        add_floats(graph, "bias", 4, 1, (const int64_t[]){N}, N);
    }
}

static spry_value *make_input(int64_t rows)
{
    const int64_t shape[] = {rows, K};
    spry_random r = spry_random_stream(9, 0);
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 2, shape, &t, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(t), (size_t)(rows * K), -1.0f, 1.0f);
    assert_int_equal(spry_value_from_tensor(NULL, t, &v, NULL), SPRY_OK);
    return v;
}

/* Runs `rows` rows; true when the product ran on codes. */
static bool run_form(const form *f, int64_t rows, int threads, bool keep_order, float *y)
{
    const char *name = "x";
    spry_session_options options = spry_session_options_default();
    proto graph = {0};
    proto file = {0};
    proto imported = {0};
    spry_value *in = make_input(rows);
    spry_value *out = NULL;
    spry_model *model = NULL;
    spry_session *session = NULL;
    const spry_profile_row *profile;
    spry_error error = {0};
    bool on_codes = false;

    if (strcmp(f->type, "MatMulNBits") == 0) {
        put_operator(&graph, f);
    } else {
        put_pair(&graph, f);
    }
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, K});
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, N});
    proto_model(&file, 10, 21, &graph);
    proto_text(&imported, 1, "com.microsoft");
    proto_int(&imported, 2, 1);
    proto_message(&file, 8, &imported);
    options.threads = threads;
    options.keep_order = keep_order;
    options.profile = true;
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &model, NULL), SPRY_OK);
    if (spry_session_create(model, &options, &session, &error) != SPRY_OK ||
        spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, &error) !=
            SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    memcpy(y, spry_tensor_const_data(spry_value_tensor(out)), (size_t)(rows * N) * sizeof *y);
    for (int32_t i = 0; i < spry_session_profile(session, &profile); i++) {
        on_codes = on_codes || strncmp(profile[i].kernel, "w4_", 3) == 0 ||
                   strncmp(profile[i].kernel, "w8_", 3) == 0;
    }
    spry_value_destroy(out);
    spry_value_destroy(in);
    spry_session_destroy(session);
    spry_model_destroy(model);
    proto_fini(&file);
    return on_codes;
}

static void test_forms(void **state)
{
    static const int64_t rows[] = {1, 3, 5, 8, 9, MOST_ROWS};
    static float plain[MOST_ROWS * N];
    static float fast[MOST_ROWS * N];
    static float again[MOST_ROWS * N];

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            size_t size = (size_t)(rows[j] * N) * sizeof *fast;
            bool is_wide = forms[i].bits == 8 || (forms[i].bits == 0 && is_byte(&forms[i]) &&
                                                  strcmp(forms[i].type, "MatMulNBits") != 0);
            float tolerance = is_wide ? 4e-3f : 2e-4f;

            (void)run_form(&forms[i], rows[j], 1, true, plain);
            assert_int_equal(run_form(&forms[i], rows[j], 1, false, fast), forms[i].keeps_bits);
            for (int64_t n = 0; n < rows[j] * N; n++) {
                /* Sums of 100 products of codes up to 15, or 255, times a tenth. */
                assert_true(fabsf(fast[n] - plain[n]) <= tolerance);
            }
            (void)run_form(&forms[i], rows[j], 3, false, again);
            assert_memory_equal(fast, again, size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
