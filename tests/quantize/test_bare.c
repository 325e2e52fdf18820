/* Weights without a model: what the file says is what rounding them gives. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "quantize/method/squant.h"
#include "spry/quantize.h"
#include "spry/random.h"
#include "spry/tensor_file.h"
#include "tensor/tensor.h"

enum { TENSORS = 4, PATH_SIZE = 256 };

static const char *const names[TENSORS] = {"conv.weight", "fc.weight", "fc.bias", "steps"};
static const int ranks[TENSORS] = {4, 2, 1, 2};
static const int64_t shapes[TENSORS][4] = {{6, 3, 3, 3}, {5, 40}, {5}, {2, 2}};

typedef struct files {
    char folder[PATH_SIZE];
    spry_tensor *tensors[TENSORS]; /* the last is no f32 */
} files;

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

static const char *path_of(const files *f, const char *name)
{
    static char path[2 * PATH_SIZE];

    (void)snprintf(path, sizeof path, "%s/%s", f->folder, name);
    return path;
}

static void begin(files *f)
{
    spry_random r = spry_random_stream(5, 0);
    const char *temporary = getenv("TMPDIR");
    spry_error error = {0};

    (void)snprintf(f->folder, sizeof f->folder, "%s/spry_bare_XXXXXX",
                   temporary != NULL ? temporary : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    for (int i = 0; i < TENSORS; i++) {
        spry_dtype dtype = i == 3 ? SPRY_DTYPE_I64 : SPRY_DTYPE_F32;

        expect(spry_tensor_create(NULL, dtype, ranks[i], shapes[i], &f->tensors[i], &error),
               &error);
        if (i == 3) {
            memset(f->tensors[i]->data, 1, 32);
        } else {
            spry_random_fill_normal(&r, f->tensors[i]->data,
                                    (size_t)spry_tensor_count(f->tensors[i]), 0.0f, 0.1f);
        }
    }
}

static void end(files *f)
{
    static const char *const used[] = {"in.npz", "in.safetensors", "in.npy", "out.npz",
                                       "out.safetensors"};

    for (size_t i = 0; i < sizeof used / sizeof *used; i++) {
        (void)unlink(path_of(f, used[i]));
    }
    assert_int_equal(rmdir(f->folder), 0);
    for (int i = 0; i < TENSORS; i++) {
        spry_tensor_destroy(f->tensors[i]);
    }
}

static const spry_tensor *entry(spry_archive *a, const char *name)
{
    const spry_tensor *t = NULL;
    spry_error error = {0};

    if (spry_archive_find(a, name) < 0) {
        return NULL;
    }
    expect(spry_archive_tensor(a, spry_archive_find(a, name), &t, &error), &error);
    return t;
}

/* Codes and grids of tensor `i` are SQuant's. */
static void check_tensor(const files *f, spry_archive *a, int i, int bits)
{
    const spry_tensor *source = f->tensors[i];
    char name[64];
    int8_t codes[256];
    float steps[8];
    int32_t zeros[8];
    spry_allocator allocator = alloc_resolve(NULL);
    grid_options grid = {.bits = bits};
    int64_t outputs = source->shape[0];
    squant_tensor t = {.weights = source->data,
                       .outputs = outputs,
                       .inputs = source->shape[1],
                       .taps = tensor_span(source, 2, source->rank),
                       .codes = codes,
                       .steps = steps,
                       .zeros = zeros};

    assert_int_equal(squant_round(&t, &grid, SQUANT_EKC, &allocator, threads_single(), NULL, NULL),
                     SPRY_OK);
    assert_int_equal(entry(a, names[i])->dtype, SPRY_DTYPE_I8);
    assert_true(tensor_same_shape(entry(a, names[i]), source));
    assert_memory_equal(entry(a, names[i])->data, codes, (size_t)tensor_count(source));
    (void)snprintf(name, sizeof name, "%s.scale", names[i]);
    assert_int_equal(entry(a, name)->rank, 1);
    assert_memory_equal(entry(a, name)->data, steps, (size_t)outputs * sizeof *steps);
    (void)snprintf(name, sizeof name, "%s.zero_point", names[i]);
    assert_memory_equal(entry(a, name)->data, zeros, (size_t)outputs * sizeof *zeros);
}

static void archives_are_rounded(void **state)
{
    static const char *const pairs[][2] = {{"in.npz", "out.safetensors"},
                                           {"in.safetensors", "out.npz"}};

    (void)state;
    for (int k = 0; k < 2; k++) {
        spry_quantize_options options = spry_quantize_options_default();
        spry_quantization *facts = NULL;
        spry_archive *a = NULL;
        const spry_quantize_row *rows;
        spry_error error = {0};
        char in[2 * PATH_SIZE];
        files f;

        begin(&f);
        options.weight_bits = 3 + k;
        (void)snprintf(in, sizeof in, "%s", path_of(&f, pairs[k][0]));
        expect(spry_archive_save(in, TENSORS, names, (const spry_tensor *const *)f.tensors, &error),
               &error);
        expect(spry_quantize_weights(in, &options, path_of(&f, pairs[k][1]), &facts, &error),
               &error);
        assert_int_equal(spry_quantization_rows(facts, &rows), 2);
        expect(spry_archive_open(NULL, path_of(&f, pairs[k][1]), &a, &error), &error);
        check_tensor(&f, a, 0, options.weight_bits);
        check_tensor(&f, a, 1, options.weight_bits);
        assert_int_equal(spry_archive_count(a), 8);
        assert_memory_equal(entry(a, "fc.bias")->data, f.tensors[2]->data, 5 * sizeof(float));
        assert_memory_equal(entry(a, "steps")->data, f.tensors[3]->data, 32);
        spry_archive_close(a);
        spry_quantization_destroy(facts);
        end(&f);
    }
}

/* (code - zero point) * scale, wherever blocks are: near to the weights. */
static void check_blocks(const files *f, const char *method, int64_t group)
{
    spry_quantize_options options = spry_quantize_options_default();
    spry_quantization *facts = NULL;
    const float *w = f->tensors[1]->data;
    spry_archive *a = NULL;
    spry_error error = {0};
    char in[2 * PATH_SIZE];

    options.method = method;
    options.group = group;
    options.block_outputs = 2;
    options.block_inputs = 7;
    (void)snprintf(in, sizeof in, "%s", path_of(f, "in.npy"));
    expect(spry_tensor_save(f->tensors[1], in, &error), &error);
    expect(spry_quantize_weights(in, &options, path_of(f, "out.npz"), &facts, &error), &error);
    expect(spry_archive_open(NULL, path_of(f, "out.npz"), &a, &error), &error);
    const spry_tensor *scale = entry(a, "weight.scale");
    const spry_tensor *zero = entry(a, "weight.zero_point");
    const int32_t *output_block = entry(a, "weight.output_block")->data;
    const int32_t *input_block = entry(a, "weight.input_block")->data;
    const int8_t *codes = entry(a, "weight")->data;

    assert_int_equal(scale->rank, 2);
    for (int64_t i = 0; i < 5 * 40; i++) {
        int64_t at = output_block[i / 40] * scale->shape[1] + input_block[i % 40];
        float step = ((const float *)scale->data)[at];
        float from = zero == NULL                    ? 0.0f
                     : zero->dtype == SPRY_DTYPE_F32 ? ((const float *)zero->data)[at]
                                                     : (float)((const int32_t *)zero->data)[at];

        assert_true(fabsf(((float)codes[i] - from) * step - w[i]) <= 1.01f * step);
    }
    spry_archive_close(a);
    spry_quantization_destroy(facts);
}

static void blocks_say_where_they_are(void **state)
{
    files f;

    (void)state;
    begin(&f);
    check_blocks(&f, "squant", 16);
    check_blocks(&f, "ptq-sl", 0);
    check_blocks(&f, "hqq", 16);
    end(&f);
}

/* Files that end early, tensors that are no weights, options that ask for a model. */
static void what_does_not_fit_is_refused(void **state)
{
    spry_quantize_options options = spry_quantize_options_default();
    spry_quantization *facts = NULL;
    spry_error error = {0};
    char in[2 * PATH_SIZE];
    files f;

    (void)state;
    begin(&f);
    (void)snprintf(in, sizeof in, "%s", path_of(&f, "in.npy"));
    expect(spry_tensor_save(f.tensors[0], in, &error), &error);
    assert_int_equal(spry_quantize_weights(in, &options, path_of(&f, "out.npy"), &facts, &error),
                     SPRY_USAGE);
    options.activation_bits = 8;
    assert_int_equal(spry_quantize_weights(in, &options, path_of(&f, "out.npz"), &facts, &error),
                     SPRY_USAGE);
    options.activation_bits = 0;
    assert_int_equal(spry_quantize_weights(in, &options, NULL, &facts, &error), SPRY_OK);
    spry_quantization_destroy(facts);
    for (long size = 0; size < 700; size += 37) {
        assert_int_equal(truncate(in, size), 0);
        assert_int_equal(spry_quantize_weights(in, &options, NULL, &facts, &error), SPRY_BAD_INPUT);
        expect(spry_tensor_save(f.tensors[0], in, &error), &error);
    }
    ((float *)f.tensors[0]->data)[7] = NAN;
    expect(spry_tensor_save(f.tensors[0], in, &error), &error);
    assert_int_equal(spry_quantize_weights(in, &options, NULL, &facts, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "7"));
    expect(spry_tensor_save(f.tensors[2], in, &error), &error);
    assert_int_equal(spry_quantize_weights(in, &options, NULL, &facts, &error), SPRY_UNSUPPORTED);
    assert_int_equal(spry_quantize_weights(path_of(&f, "none.npz"), &options, NULL, &facts, &error),
                     SPRY_IO);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_are_rounded),
        cmocka_unit_test(blocks_say_where_they_are),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests_name("quantize/bare", tests, NULL, NULL);
}
