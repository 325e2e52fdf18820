/* Ranks of scores: equal scores, and scores that are no numbers. Memory running out meanwhile. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "measure/evaluate.h"
#include "spry/tensor_file.h"
#include "support/data.h"
#include "support/fault.h"
#include "support/sample.h"

static void test_best_and_rank(void **state)
{
    const float scores[] = {1, 3, 2, 3};
    const float odd[] = {NAN, -1, NAN, -2};
    const float none[] = {NAN, NAN};
    (void)state;

    assert_int_equal(evaluate_best(scores, 4), 1);
    assert_int_equal(evaluate_rank(scores, 4, 1), 0);
    assert_int_equal(evaluate_rank(scores, 4, 3), 1);
    assert_int_equal(evaluate_rank(scores, 4, 2), 2);
    assert_int_equal(evaluate_rank(scores, 4, 0), 3);
    assert_int_equal(evaluate_best(odd, 4), 1);
    assert_int_equal(evaluate_rank(odd, 4, 0), 4);
    assert_int_equal(evaluate_rank(odd, 4, 3), 1);
    assert_int_equal(evaluate_best(none, 2), 0);
    assert_int_equal(evaluate_best(scores, 1), 0);
}

/* Ranks are a permutation, and the best has rank 0. */
static void test_ranks_are_a_permutation(void **state)
{
    enum { COUNT = 97 };
    spry_random random = spry_random_stream(5, 0);
    (void)state;

    for (int round = 0; round < 20; round++) {
        float scores[COUNT];
        bool seen[COUNT] = {false};
        sample_f32(&random, scores, COUNT);
        assert_int_equal(evaluate_rank(scores, COUNT, evaluate_best(scores, COUNT)), 0);
        for (int64_t i = 0; i < COUNT; i++) {
            int64_t rank = evaluate_rank(scores, COUNT, i);
            assert_true(rank >= 0 && rank < COUNT && !seen[rank]);
            seen[rank] = true;
        }
    }
}

/* A model of five scores for 3 x 4 x 4 pixels, and samples for it. */
typedef struct subject {
    char model[1024];
    char data[700];
} subject;

static spry_status evaluate_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    const subject *s = context;
    spry_session_options session_options = spry_session_options_default();
    spry_evaluate_options options = spry_evaluate_options_default();
    spry_model *model = NULL;
    spry_session *session = NULL;
    spry_dataset *data = NULL;
    spry_evaluation *result = NULL;
    spry_status status = spry_model_load(allocator, s->model, &model, error);

    session_options.threads = 1;
    session_options.allocator = allocator;
    options.allocator = allocator;
    options.keep_scores = true;
    if (status == SPRY_OK) {
        status = spry_session_create(model, &session_options, &session, error);
    }
    if (status == SPRY_OK) {
        status = spry_dataset_open(allocator, s->data, &data, error);
    }
    if (status == SPRY_OK) {
        status = spry_evaluate(model, session, data, &options, &result, error);
    }
    if (status == SPRY_OK) {
        assert_int_equal(spry_evaluation_totals(result)->count, 3);
    } else {
        assert_null(result);
    }
    spry_evaluation_destroy(result);
    spry_dataset_close(data);
    spry_session_destroy(session);
    spry_model_destroy(model);
    return status;
}

static void test_memory_runs_out(void **state)
{
    const int64_t shape[] = {3, 3, 4, 4};
    const int64_t count[] = {3};
    const char *const names[] = {"images", "labels"};
    const char *root = getenv("SPRY_SOURCE_DIR");
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "samples.npz");
    spry_tensor *images = NULL;
    spry_tensor *labels = NULL;
    subject s;
    (void)state;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 4, shape, &images, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 1, count, &labels, NULL), SPRY_OK);
    memcpy(spry_tensor_data(labels), "\0\1\4", 3);
    assert_int_equal(
        spry_archive_save(path, 2, names, (const spry_tensor *const[]){images, labels}, NULL),
        SPRY_OK);
    (void)snprintf(s.model, sizeof s.model, "%s/tests/cli/models/scores.onnx",
                   root != NULL ? root : ".");
    (void)snprintf(s.data, sizeof s.data, "npz:%s", path);
    assert_true(fault_sweep(evaluate_once, &s) > 10);
    spry_tensor_destroy(images);
    spry_tensor_destroy(labels);
    data_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_and_rank),
        cmocka_unit_test(test_ranks_are_a_permutation),
        cmocka_unit_test(test_memory_runs_out),
    };

    return cmocka_run_group_tests_name("evaluate", tests, NULL, NULL);
}
