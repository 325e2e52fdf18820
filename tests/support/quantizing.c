/* Jobs for tests (quantizing.h). */
#include "support/quantizing.h"

#include "quantize/method/method.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/calibrate/calibrate.h"
#include "quantize/choose.h"
#include "quantize/format/format.h"
#include "spry/random.h"
#include "spry/tensor_file.h"
#include "support/data.h"

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

static void open_samples(quantizing *q, int rank, const int64_t *shape)
{
    static const char *const names[] = {"x", "y"};
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "samples.npz");
    spry_random random = spry_random_stream(7, 1);
    char description[700];
    spry_tensor *x = NULL;
    spry_tensor *y = NULL;
    spry_error error = {0};

    expect(spry_tensor_create(NULL, SPRY_DTYPE_F32, rank, shape, &x, &error), &error);
    expect(spry_tensor_create(NULL, SPRY_DTYPE_I64, 1, shape, &y, &error), &error);
    spry_random_fill_normal(&random, spry_tensor_data(x), (size_t)spry_tensor_count(x), 0.0f, 1.0f);
    expect(spry_archive_save(path, 2, names, (const spry_tensor *[]){x, y}, &error), &error);
    (void)snprintf(description, sizeof description, "npz:%s", path);
    expect(spry_dataset_open(NULL, description, &q->options.calibration, &error), &error);
    spry_tensor_destroy(x);
    spry_tensor_destroy(y);
    data_remove_folder(folder);
}

void quantizing_init(quantizing *q, proto *g, int rank, const int64_t *shape, int activation_bits)
{
    spry_error error = {0};

    memset(q, 0, sizeof *q);
    proto_model(&q->file, 10, 21, g);
    expect(spry_model_parse(NULL, q->file.data, q->file.size, NULL, &q->model, &error), &error);
    q->options = spry_quantize_options_default();
    q->options.threads = 2;
    q->options.activation_bits = activation_bits;
    q->options.symmetric = true;
    open_samples(q, rank, shape);
    q->job = (quantize_job){.options = &q->options, .format = &format_qdq, .opset = 21};
    expect(threads_create(NULL, 2, &q->job.team, &error), &error);
    expect(model_copy(q->model, &q->job.m, &error), &error);
    q->job.memory = &q->job.m->memory;
    expect(choose_weights(&q->job, &error), &error);
    expect(choose_activations(&q->job, &error), &error);
    expect(calibrate(&q->job, &error), &error);
}

void quantizing_fini(quantizing *q)
{
    threads_destroy(q->job.team);
    spry_quantization_destroy(q->job.facts);
    spry_model_destroy(q->job.m);
    spry_model_destroy(q->model);
    spry_dataset_close(q->options.calibration);
    proto_fini(&q->file);
}

void quantizing_weights(proto *g, const char *name, int rank, const int64_t *shape, uint64_t seed)
{
    enum { INITIALIZER = 5 };
    spry_random random = spry_random_stream(seed, 2);
    size_t count = 1;
    float *data;

    for (int i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    data = calloc(count, sizeof *data);
    assert_non_null(data);
    spry_random_fill_normal(&random, data, count, 0.0f, 0.5f);
    proto_tensor(g, INITIALIZER, name, SPRY_DTYPE_F32, rank, shape, data, count * sizeof *data);
    free(data);
}

void quantizing_by(quantizing *q, const method *m)
{
    q->job.method = m;
    q->job.metric = m->metric;
    q->job.rounds = m->rounds;
}
