/* Small models to adapt (adapting.h). */
#include "support/adapting.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "spry/random.h"
#include "spry/session.h"
#include "support/data.h"

enum { BATCH = 2 };

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

spry_model *adapting_vit(int64_t depth)
{
    spry_architecture_options o = spry_architecture_options_default();
    spry_model *m = NULL;
    spry_error error = {0};

    o.height = o.width = 8;
    o.patch = 4;
    o.units = 8;
    o.heads = 2;
    o.depth = depth;
    o.classes = 5;
    o.seed = 3;
    expect(spry_architecture_create(NULL, "vit-cifar", &o, &m, &error), &error);
    return m;
}

spry_model *adapting_reload(const spry_model *m)
{
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "model.onnx");
    spry_model *loaded = NULL;
    spry_error error = {0};

    expect(spry_model_save(m, path, &error), &error);
    expect(spry_model_load(NULL, path, &loaded, &error), &error);
    data_remove_folder(folder); /* the map stays */
    return loaded;
}

spry_adapt_options adapting_options(const char *method)
{
    spry_adapt_options o = spry_adapt_options_default();

    o.method = method;
    o.rank = 3;
    o.prompts = 4;
    o.seed = 11;
    return o;
}

spry_model *adapting_make(const spry_model *base, const spry_adapt_options *o,
                          spry_adaptation **facts)
{
    spry_model *m = NULL;
    spry_error error = {0};

    expect(spry_adapt(base, o, &m, facts, &error), &error);
    return m;
}

float *adapting_run(const spry_model *m, uint64_t seed, int64_t *count)
{
    spry_random random = spry_random_stream(seed, 1);
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    spry_tensor *x = NULL;
    spry_value *input = NULL;
    spry_value *output = NULL;
    spry_port port;
    spry_error error = {0};
    const spry_tensor *y;
    float *copy;

    options.threads = 1;
    expect(spry_model_input(m, 0, &port, &error), &error);
    port.shape[0] = port.shape[0] < 0 ? BATCH : port.shape[0];
    expect(spry_tensor_create(NULL, SPRY_DTYPE_F32, port.rank, port.shape, &x, &error), &error);
    spry_random_fill_normal(&random, spry_tensor_data(x), (size_t)spry_tensor_count(x), 0.0f, 1.0f);
    expect(spry_value_from_tensor(NULL, x, &input, &error), &error);
    expect(spry_session_create(m, &options, &session, &error), &error);
    expect(spry_session_run(session, 1, (const char *[]){port.name}, (const spry_value *[]){input},
                            1, &output, &error),
           &error);
    y = spry_value_tensor(output);
    *count = spry_tensor_count(y);
    copy = malloc(spry_tensor_bytes(y));
    assert_non_null(copy);
    memcpy(copy, spry_tensor_const_data(y), spry_tensor_bytes(y));
    spry_value_destroy(output);
    spry_value_destroy(input);
    spry_session_destroy(session);
    return copy;
}

void adapting_assert_same(const spry_model *a, const spry_model *b)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        int64_t count_a;
        int64_t count_b;
        float *x = adapting_run(a, seed, &count_a);
        float *y = adapting_run(b, seed, &count_b);

        assert_int_equal(count_a, count_b);
        assert_memory_equal(x, y, (size_t)count_a * sizeof *x);
        free(x);
        free(y);
    }
}

double adapting_difference(const spry_model *a, const spry_model *b)
{
    int64_t count;
    float *x = adapting_run(a, 1, &count);
    float *y = adapting_run(b, 1, &count);
    double largest = 0.0;
    double difference = 0.0;

    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(x[i]) && isfinite(y[i]));
        largest = fmax(largest, fabs((double)y[i]));
        difference = fmax(difference, fabs((double)x[i] - (double)y[i]));
    }
    free(x);
    free(y);
    return difference / largest;
}

float *adapting_tensor(spry_model *m, const char *name, int64_t *count)
{
    int32_t id = graph_find_value(m->main, name);
    const tensor *t = id != GRAPH_NONE ? m->main->values[id].constant : NULL;
    tensor *own = arena_zeroed(&m->memory, sizeof *own);

    if (t == NULL) {
        fail_msg("no initializer '%s'", name);
    }
    assert_non_null(own);
    *own = *t;
    own->storage = NULL;
    own->data = arena_bytes(&m->memory, t->bytes + 1);
    assert_non_null(own->data);
    memcpy(own->data, t->data, t->bytes);
    m->main->values[id].constant = own;
    *count = tensor_count(own);
    return own->data;
}

void adapting_train(spry_model *m, const spry_adaptation *facts)
{
    const char *const *names;
    int32_t count = spry_adaptation_trainable(facts, &names);

    for (int32_t i = 0; i < count; i++) {
        spry_random random = spry_random_stream(77, (uint64_t)i);
        int64_t elements;
        float *data = adapting_tensor(m, names[i], &elements);

        spry_random_fill_normal(&random, data, (size_t)elements, 0.0f, 0.3f);
    }
}
