/* Deltas: what was trained, away from the model and back; and files that do not fit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapt/delta.h"
#include "model/model.h"
#include "spry/tensor_file.h"
#include "support/adapting.h"
#include "support/data.h"
#include "tensor/safetensors.h"

static spry_error error;

static void expect(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static const char *const methods[] = {"lora", "adapter", "bias", "prompt", "head", "full"};
enum { METHODS = sizeof methods / sizeof methods[0] };

static void test_round_trip(void **state)
{
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "delta.safetensors");
    spry_model *base = adapting_vit(2);

    (void)state;
    for (size_t i = 0; i < METHODS; i++) {
        spry_adapt_options o = adapting_options(methods[i]);
        spry_adaptation *facts = NULL;
        spry_adaptation *again = NULL;
        spry_model *m, *applied = NULL;

        o.classes = i % 2 == 0 ? 7 : 0;
        m = adapting_make(base, &o, &facts);
        adapting_train(m, facts);
        expect(spry_adapt_save_delta(m, path, &error));
        expect(spry_adapt_apply_delta(base, path, &applied, &again, &error));
        adapting_assert_same(applied, m);
        assert_string_equal(spry_adaptation_method(again), methods[i]);
        spry_model_destroy(applied);
        spry_model_destroy(m);
        spry_adaptation_destroy(again);
        spry_adaptation_destroy(facts);
    }
    spry_model_destroy(base);
    data_remove_folder(folder);
}

/* The file has the trained tensors and nothing else. */
static void test_holds_trained_only(void **state)
{
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "delta.safetensors");
    spry_model *base = adapting_vit(2);
    spry_adapt_options o = adapting_options("bias");
    spry_adaptation *facts = NULL;
    spry_model *m = adapting_make(base, &o, &facts);
    spry_archive *archive = NULL;
    const char *const *names;

    (void)state;
    expect(spry_adapt_save_delta(m, path, &error));
    expect(spry_archive_open(NULL, path, &archive, &error));
    assert_int_equal(spry_archive_count(archive), spry_adaptation_trainable(facts, &names));
    for (int32_t i = 0; i < spry_archive_count(archive); i++) {
        assert_true(spry_archive_find(archive, names[i]) >= 0);
    }
    spry_archive_close(archive);
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
    spry_model_destroy(base);
    data_remove_folder(folder);
}

/* ---- what does not fit ---- */

typedef struct parts {
    spry_model *base;
    const char *names[64];
    const tensor *tensors[64];
    tensor copies[64];
    int32_t count;
    char note[4096];
} parts;

/* The parts of a valid delta of bias tuning, to be spoiled. */
static void take_parts(parts *p, const char *folder)
{
    const char *path = data_join(folder, "valid.safetensors");
    spry_adapt_options o = adapting_options("bias");
    spry_adaptation *facts = NULL;
    spry_model *m;
    const char *const *names;

    *p = (parts){.base = adapting_vit(1)};
    m = adapting_make(p->base, &o, &facts);
    expect(spry_adapt_save_delta(m, path, &error));
    p->count = spry_adaptation_trainable(facts, &names);
    assert_true(p->count > 4 && p->count < 63);
    for (int32_t i = 0; i < p->count; i++) {
        const tensor *t = m->main->values[graph_find_value(m->main, names[i])].constant;

        p->names[i] = strdup(names[i]);
        expect(tensor_init_copy(&p->copies[i], NULL, t, &error));
        p->tensors[i] = &p->copies[i];
    }
    (void)snprintf(p->note, sizeof p->note,
                   "{\"schema\":1,\"method\":\"bias\",\"base\":\"%s\",\"rank\":8,\"alpha\":16,"
                   "\"prompts\":10,\"shallow\":false,\"targets\":[],\"classes\":0,"
                   "\"zero_head\":false,\"seed\":0}",
                   spry_adaptation_base_hash(facts));
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
}

static void drop_parts(parts *p)
{
    for (int32_t i = 0; i < 64; i++) {
        tensor_fini(&p->copies[i]);
    }
    for (int32_t i = 0; i < p->count; i++) {
        free((void *)(uintptr_t)p->names[i]);
    }
    spry_model_destroy(p->base);
}

static void try(const parts *p, int32_t count, const char *note, spry_status status,
                const char *says)
{
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "spoiled.safetensors");
    const safetensors_note notes[] = {{"ai.spry.adapt", note}};
    spry_model *m = NULL;
    spry_adaptation *facts = NULL;

    memset(&error, 0, sizeof error);
    expect(safetensors_save(path, count, p->names, p->tensors, note != NULL, notes, &error));
    assert_int_equal(spry_adapt_apply_delta(p->base, path, &m, &facts, &error), status);
    if (status != SPRY_OK) {
        assert_null(m);
        assert_null(facts);
        if (strstr(error.what, says) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error.what, says);
        }
    }
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
    data_remove_folder(folder);
}

static void test_refuses(void **state)
{
    const char *folder = data_make_folder();
    char *at;
    char kept;
    const tensor *first;
    tensor wide, narrow;
    float *x;
    parts p;

    (void)state;
    take_parts(&p, folder);
    data_remove_folder(folder);
    try(&p, p.count, p.note, SPRY_OK, "");
    try(&p, p.count, NULL, SPRY_BAD_INPUT, "do not say what it adapts");
    try(&p, p.count - 1, p.note, SPRY_BAD_INPUT, "is missing");
    p.names[p.count] = "one.too.many";
    p.tensors[p.count] = p.tensors[0];
    try(&p, p.count + 1, p.note, SPRY_BAD_INPUT, "is not a tensor that this method trains");

    first = p.tensors[0];
    expect(tensor_init_owned(&wide, NULL, SPRY_DTYPE_F32, 1, (int64_t[]){tensor_count(first) + 1},
                             &error));
    p.tensors[0] = &wide;
    try(&p, p.count, p.note, SPRY_BAD_INPUT, "must be f32[");
    tensor_fini(&wide);
    expect(tensor_init_owned(&narrow, NULL, SPRY_DTYPE_F16, first->rank, first->shape, &error));
    p.tensors[0] = &narrow;
    try(&p, p.count, p.note, SPRY_BAD_INPUT, "must be f32[");
    tensor_fini(&narrow);
    p.tensors[0] = first;

    x = p.copies[0].data;
    x[1] = NAN;
    try(&p, p.count, p.note, SPRY_BAD_INPUT, "element 1");
    x[1] = -INFINITY;
    try(&p, p.count, p.note, SPRY_BAD_INPUT, "infinite");
    x[1] = 0.0f;

    at = strstr(p.note, "\"base\":\"") + strlen("\"base\":\"");
    kept = *at;
    *at = kept == '0' ? '1' : '0';
    try(&p, p.count, p.note, SPRY_UNVERIFIED, "was made for a model with the hash");
    *at = kept;
    try(&p, p.count, "{\"schema\":1}", SPRY_BAD_INPUT, "");
    try(&p, p.count, "not json", SPRY_BAD_INPUT, "");
    at = strstr(p.note, "bias");
    memcpy(at, "abra", 4);
    try(&p, p.count, p.note, SPRY_BAD_INPUT, "not known");
    drop_parts(&p);
}

/* Trained to death: nothing is written. */
static void test_does_not_save_nan(void **state)
{
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "delta.safetensors");
    spry_model *base = adapting_vit(1);
    spry_adapt_options o = adapting_options("head");
    spry_adaptation *facts = NULL;
    spry_model *m = adapting_make(base, &o, &facts);
    const char *const *names;
    int64_t count;

    (void)state;
    assert_int_equal(spry_adaptation_trainable(facts, &names), 2);
    adapting_tensor(m, names[0], &count)[count - 1] = NAN;
    assert_int_equal(spry_adapt_save_delta(m, path, &error), SPRY_BAD_INPUT);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(spry_adapt_save_delta(base, path, &error), SPRY_USAGE);
    assert_int_not_equal(access(path, F_OK), 0);
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
    spry_model_destroy(base);
    data_remove_folder(folder);
}

/* Every byte changed in turn, every length: an error or a model, never anything else. */
static void test_hostile(void **state)
{
    const char *folder = data_make_folder();
    uint8_t bytes[8192];
    size_t size;
    parts p;
    FILE *file;

    (void)state;
    take_parts(&p, folder);
    file = fopen(data_join(folder, "valid.safetensors"), "rb");
    assert_non_null(file);
    size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    assert_true(size > 600 && size < sizeof bytes);
    for (size_t i = 0; i < size; i += i < 1600 ? 1 : 37) {
        uint8_t kept = bytes[i];
        spry_model *m = NULL;
        spry_adaptation *facts = NULL;

        bytes[i] ^= 0x21;
        (void)!delta_apply(p.base, bytes, size, "hostile", &m, &facts, &error);
        spry_adaptation_destroy(facts);
        spry_model_destroy(m);
        bytes[i] = kept;
        assert_int_not_equal(delta_apply(p.base, bytes, i, "short", &m, &facts, &error), SPRY_OK);
        assert_null(m);
    }
    drop_parts(&p);
    data_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_holds_trained_only),
        cmocka_unit_test(test_refuses),    cmocka_unit_test(test_does_not_save_nan),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
