/* What every format writes is read again and means the same, also with data in a file of its own;
 * models of old operator sets are raised, or refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/files.h"
#include "model/onnx_write.h"
#include "spry/spry.h"
#include "support/data.h"
#include "support/proto.h"

enum { ROWS = 3, SIDE = 8, PLANES = 3, CHANNELS = 40, HIDDEN = 48, CLASSES = 5, KEPT = 200 };

static const char kept_text[] = "something of a later version";

/* ---- the model: a network with all that is quantized, in operator set 11 ---- */

static void add_weights(proto *body, const char *name, int rank, const int64_t *shape)
{
    static float values[CHANNELS * HIDDEN];
    spry_random r = spry_random_stream(8, (uint64_t)name[0]);
    size_t count = 1;

    for (int i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    assert_true(count <= sizeof values / sizeof *values);
    spry_random_fill_uniform(&r, values, count, -0.5f, 0.4f);
    proto_tensor(body, 5, name, SPRY_DTYPE_F32, rank, shape, values, count * sizeof *values);
}

static void ints(proto *attributes, const char *name, int count, const int64_t *numbers)
{
    proto a = {0};

    proto_text(&a, 1, name);
    for (int i = 0; i < count; i++) {
        proto_int(&a, 8, (uint64_t)numbers[i]);
    }
    proto_int(&a, 20, 7);
    proto_message(attributes, 5, &a);
}

static void add_node(proto *body, const char *type, const char *in, const char *out,
                     const char *name, int count, const int64_t *numbers)
{
    proto attributes = {0};

    if (name != NULL && count == 0) {
        proto_attribute_int(&attributes, name, 1);
    } else if (name != NULL) {
        ints(&attributes, name, count, numbers);
    }
    proto_node_with(body, 1, type, in, out, &attributes);
}

/* `file` must live as long as the model. */
static spry_model *make_model(int64_t opset, int64_t ir_version, proto *file)
{
    static const int64_t pixels[] = {2, 3};
    static const int64_t first[] = {1};
    static const int64_t pads[] = {1, 1, 1, 1};
    proto body = {0};
    spry_model *m = NULL;

    add_node(&body, "Conv", "x w b", "a", "pads", 4, pads);
    add_node(&body, "Relu", "a", "r", NULL, 0, NULL);
    add_node(&body, "ReduceMean", "r", "m", "axes", 2, pixels);
    add_node(&body, "Squeeze", "m", "s", "axes", 2, pixels);
    add_node(&body, "Gemm", "s v c", "g", "transB", 0, NULL);
    add_node(&body, "Softmax", "g", "p", "axis", 0, NULL);
    add_node(&body, "MatMul", "p u", "q", NULL, 0, NULL);
    add_node(&body, "Unsqueeze", "q", "t", "axes", 1, first);
    add_node(&body, "ReduceSum", "t", "y", "axes", 1, first);
    add_weights(&body, "w", 4, (const int64_t[]){CHANNELS, PLANES, 3, 3});
    add_weights(&body, "b", 1, (const int64_t[]){CHANNELS});
    add_weights(&body, "v", 2, (const int64_t[]){HIDDEN, CHANNELS});
    add_weights(&body, "c", 1, (const int64_t[]){HIDDEN});
    add_weights(&body, "u", 2, (const int64_t[]){HIDDEN, CLASSES});
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){-1, PLANES, SIDE, SIDE});
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 3, (const int64_t[]){-1, 1, CLASSES});
    proto_text(&body, KEPT, kept_text);
    proto_model(file, ir_version, opset, &body);
    proto_text(file, KEPT, kept_text);
    assert_int_equal(spry_model_parse(NULL, file->data, file->size, NULL, &m, NULL), SPRY_OK);
    return m;
}

/* ---- running ---- */

static void run(const spry_model *m, bool keep_order, float *y)
{
    const char *name = "x";
    const int64_t shape[] = {ROWS, PLANES, SIDE, SIDE};
    spry_session_options options = spry_session_options_default();
    spry_random r = spry_random_stream(9, 0);
    spry_tensor *x = NULL;
    spry_value *in = NULL;
    spry_value *out = NULL;
    spry_session *session = NULL;
    spry_error error = {0};

    options.keep_order = keep_order;
    options.threads = 1;
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &x, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(x), (size_t)spry_tensor_count(x), -1.0f, 1.0f);
    assert_int_equal(spry_value_from_tensor(NULL, x, &in, NULL), SPRY_OK);
    if (spry_session_create(m, &options, &session, &error) != SPRY_OK ||
        spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, &error) !=
            SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    memcpy(y, spry_tensor_const_data(spry_value_tensor(out)), ROWS * CLASSES * sizeof *y);
    spry_value_destroy(in);
    spry_value_destroy(out);
    spry_session_destroy(session);
}

static void check_close(const float *a, const float *b, float tolerance)
{
    for (int i = 0; i < ROWS * CLASSES; i++) {
        assert_true(fabsf(a[i] - b[i]) <= tolerance);
    }
}

/* ---- the tests ---- */

static bool keeps_unknown(graph_bytes unknown)
{
    size_t length = strlen(kept_text);

    for (size_t i = 0; i + length <= unknown.size; i++) {
        if (memcmp(unknown.data + i, kept_text, length) == 0) {
            return true;
        }
    }
    return false;
}

/* Saved with and without a file of data: equal to what was made, and to itself as written. */
static void check_file(const spry_model *made, const char *folder, uint64_t ceiling,
                       const float *expected)
{
    const char *path = data_join(folder, "made.onnx");
    float as_written[ROWS * CLASSES];
    float fast[ROWS * CLASSES];
    spry_model *m = NULL;
    spry_error error = {0};

    if (onnx_write(made, path, ceiling, &error) != SPRY_OK ||
        spry_model_load(NULL, path, &m, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    assert_true(keeps_unknown(m->unknown) && keeps_unknown(m->main->unknown));
    run(m, true, as_written);
    run(m, false, fast);
    check_close(as_written, fast, 1e-5f);
    assert_memory_equal(fast, expected, sizeof fast);
    spry_model_destroy(m);
}

static void check_variant(const spry_quantize_options *options, const char *folder,
                          const float *plain)
{
    proto file = {0};
    spry_model *source = make_model(11, 4, &file);
    spry_model *made = NULL;
    spry_quantization *facts = NULL;
    float y[ROWS * CLASSES];
    spry_error error = {0};
    bool is_newest = options->weight_bits <= 4 || options->group != 0;

    if (spry_quantize(source, options, &made, &facts, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    assert_int_equal(model_opset_version(made, ""), is_newest ? 21 : 13);
    assert_true(made->ir_version >= (is_newest ? 10 : 7));
    run(made, false, y);
    check_close(y, plain, options->weight_bits == 8 ? 0.01f : 0.4f);
    check_file(made, folder, UINT64_MAX, y);
    check_file(made, folder, 0, y);
    spry_quantization_destroy(facts);
    spry_model_destroy(made);
    spry_model_destroy(source);
    proto_fini(&file);
}

static void written_and_read(void **state)
{
    static const char *const formats[] = {"qdq", "matmulnbits"};
    static const char *const methods[] = {"nearest", "squant", "hqq"};
    static const int bits[] = {8, 5, 4, 3, 2};
    const char *folder = data_make_folder();
    proto file = {0};
    spry_model *source = make_model(11, 4, &file);
    float plain[ROWS * CLASSES];

    (void)state;
    run(source, false, plain);
    for (size_t i = 0; i < 2 * 3 * 5 * 2; i++) {
        spry_quantize_options options = spry_quantize_options_default();

        options.threads = 1;
        options.format = formats[i % 2];
        options.method = methods[i / 2 % 3];
        options.weight_bits = bits[i / 6 % 5];
        options.group = i / 30 != 0 ? 16 : 0;
        options.symmetric = i % 4 == 0 && i / 2 % 3 != 2;
        check_variant(&options, folder, plain);
    }
    spry_model_destroy(source);
    proto_fini(&file);
    (void)remove(data_join(folder, "made.onnx"));
    (void)remove(data_join(folder, "made.onnx.data"));
    data_remove_folder(folder);
}

/* Without groups no more is asked for than steps per channel. */
static void refused(void **state)
{
    static const int64_t shape[] = {4, 4};
    static const float weights[16] = {1, 2, 3};
    spry_quantize_options options = spry_quantize_options_default();
    spry_model *made = NULL;
    spry_model *source = NULL;
    spry_quantization *facts = NULL;
    spry_error error = {0};
    proto body = {0};
    proto file = {0};

    (void)state;
    add_node(&body, "MatMul", "x w", "a", NULL, 0, NULL);
    add_node(&body, "Softmax", "a", "y", NULL, 0, NULL); /* from axis 1 of 3 on */
    proto_tensor(&body, 5, "w", SPRY_DTYPE_F32, 2, shape, weights, sizeof weights);
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 3, (const int64_t[]){-1, 4, 4});
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 3, (const int64_t[]){-1, 4, 4});
    proto_model(&file, 6, 12, &body);
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &source, NULL), SPRY_OK);
    assert_int_equal(spry_quantize(source, &options, &made, &facts, &error), SPRY_UNSUPPORTED);
    assert_non_null(strstr(error.where, "Softmax"));
    assert_non_null(strstr(error.what, "12 and 13"));
    options.group = 24;
    assert_int_equal(spry_quantize(source, &options, &made, &facts, &error), SPRY_USAGE);
    options.group = 0;
    options.format = "qoperator";
    assert_int_equal(spry_quantize(source, &options, &made, &facts, &error), SPRY_USAGE);
    options.format = "qdq";
    options.method = "hqq";
    options.symmetric = true;
    assert_int_equal(spry_quantize(source, &options, &made, &facts, &error), SPRY_USAGE);
    spry_model_destroy(source);
    proto_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
