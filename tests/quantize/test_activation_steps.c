/* Steps of activations against outputs computed for every candidate. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "quantize/calibrate/samples.h"
#include "quantize/choose.h"
#include "quantize/method/activation_steps.h"
#include "quantize/method/blocks.h"
#include "support/quantizing.h"
#include "tensor/quantize.h"

enum {
    NODE = 1,
    INPUT = 11,
    OUTPUT = 12,
    SAMPLES = 12,
    ROWS = 3,
    WIDTH = 7,
    FIRST = 5,
    SECOND = 4,
    MOST = 40
};

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

/* Two products read x; the first is read by another behind a Reshape, which shares its grid. */
static proto make_products(void)
{
    proto g = {0};
    const int64_t shape[] = {0, WIDTH - 2, ROWS};

    quantizing_weights(&g, "w0", 2, (int64_t[]){WIDTH, FIRST}, 1);
    quantizing_weights(&g, "w1", 2, (int64_t[]){WIDTH, SECOND}, 2);
    quantizing_weights(&g, "w2", 2, (int64_t[]){ROWS, 2}, 3);
    proto_tensor(&g, 5, "shape", SPRY_DTYPE_I64, 1, (int64_t[]){3}, shape, sizeof shape);
    proto_node(&g, NODE, "MatMul", "x w0", "y0");
    proto_node(&g, NODE, "MatMul", "x w1", "y1");
    proto_node(&g, NODE, "Reshape", "y0 shape", "z"); /* [5][3] */
    proto_node(&g, NODE, "MatMul", "z w2", "y2");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 3, (int64_t[]){-1, ROWS, WIDTH});
    proto_value_info(&g, OUTPUT, "y1", SPRY_DTYPE_F32, 3, (int64_t[]){-1, ROWS, SECOND});
    proto_value_info(&g, OUTPUT, "y2", SPRY_DTYPE_F32, 3, (int64_t[]){-1, FIRST, 2});
    return g;
}

static void begin(quantizing *q, int bits)
{
    proto g = make_products();
    spry_error error = {0};

    quantizing_init(q, &g, 3, (int64_t[]){SAMPLES, ROWS, WIDTH}, bits);
    for (int32_t i = 0; i < q->job.weight_count; i++) {
        weight_record *r = &q->job.weights[i];
        float *dense = calloc((size_t)weight_count(&r->w), sizeof *dense);

        assert_non_null(dense);
        r->bits = 4;
        weight_gather(&r->w, dense);
        expect(blocks_cut(r, 1, r->w.inputs, NULL, NULL, q->job.memory, &error), &error);
        blocks_absmax(r, dense);
        blocks_round(r, dense);
        free(dense);
    }
}

typedef struct outputs {
    const quantize_job *job;
    int count;
    float factors[MOST]; /* of the present steps */
    double errors[MOST][3], norms[3];
} outputs;

/* What layer `i` gives for rows of x, as it is and with numbers on grids. */
static void see_layer(outputs *o, int i, const tensor *x)
{
    const weight_record *r = &o->job->weights[i];
    const activation_record *a = job_input_record(o->job, r->w.node);
    const tensor_grid *grid = &o->job->activations[a->like].grid;
    grid_codes codes = tensor_grid_codes(grid);
    quantize_target target = {codes.low, codes.high, grid->zero};
    int64_t inputs = r->w.inputs;
    float dense[WIDTH * WIDTH];
    float rounded[WIDTH * WIDTH];

    weight_gather(&r->w, dense);
    blocks_values(r, rounded);
    for (int64_t at = 0; at < tensor_count(x) / inputs * r->w.outputs; at++) {
        const float *row = (const float *)x->data + at / r->w.outputs * inputs;
        int64_t m = at % r->w.outputs;
        double exact = 0.0;

        for (int64_t k = 0; k < inputs; k++) {
            exact += (double)row[k] * (double)dense[m * inputs + k];
        }
        o->norms[i] += exact * exact;
        for (int f = 0; f < o->count; f++) {
            float step = grid->step * o->factors[f];
            double found = 0.0;

            for (int64_t k = 0; k < inputs; k++) {
                float on = quantize_back(quantize_f32(row[k], step, target), step, grid->zero);

                found += (double)on * (double)rounded[m * inputs + k];
            }
            o->errors[f][i] += (exact - found) * (exact - found);
        }
    }
}

static spry_status see(void *context, const samples_view *view, spry_error *error)
{
    (void)error;
    for (int i = 0; i < 3; i++) {
        see_layer(context, i, view->tensors[i]);
    }
    return SPRY_OK;
}

/* No factor that was tried has a smaller error, over the layers [first, last] that read the
 * record. */
static void check_record(const quantizing *q, const float *before, int first, int last)
{
    const activation_record *a = job_input_record(&q->job, q->job.weights[first].w.node);
    float present = q->job.activations[a->like].grid.step;
    outputs o = {.job = &q->job, .count = 30, .factors = {1.0f}};
    int32_t values[3];
    spry_error error = {0};
    double sums[MOST] = {0.0};

    for (int i = 0; i < 3; i++) {
        values[i] = q->job.m->main->nodes[q->job.weights[i].w.node].inputs[0];
    }
    for (int f = 1; f < o.count; f++) {
        o.factors[f] = before[a->like] / present * (0.5f + 0.025f * (float)(f - 1));
    }
    expect(samples_visit(q->job.m, &q->options, values, 3, "", see, &o, &error), &error);
    for (int f = 0; f < o.count; f++) {
        for (int i = first; i <= last; i++) {
            sums[f] += o.errors[f][i] / o.norms[i];
        }
        assert_true(sums[0] <= sums[f] * (1.0 + 1e-5));
    }
    assert_true(a->grid.step == present);
}

static void steps_are_those_of_an_explicit_search(void **state)
{
    static const int bits[] = {8, 4, 2};

    (void)state;
    for (int i = 0; i < 3; i++) {
        spry_error error = {0};
        float before[8];
        bool changed;
        quantizing q;

        begin(&q, bits[i]);
        for (int32_t k = 0; k < q.job.activation_count; k++) {
            q.job.activations[k].grid.step *= 1.1f; /* something to find */
            before[k] = q.job.activations[k].grid.step;
        }
        expect(activation_steps(&q.job, FISHER_NONE, &changed, &error), &error);
        assert_true(changed);
        check_record(&q, before, 0, 1);
        check_record(&q, before, 2, 2);
        quantizing_fini(&q);
    }
}

static void threads_change_no_bit(void **state)
{
    float steps[2][8];
    int32_t count = 0;

    (void)state;
    for (int i = 0; i < 2; i++) {
        spry_error error = {0};
        threads *own;
        bool changed;
        quantizing q;

        begin(&q, 4);
        own = q.job.team;
        q.job.team = i == 0 ? own : threads_single();
        expect(activation_steps(&q.job, FISHER_NONE, &changed, &error), &error);
        q.job.team = own;
        count = q.job.activation_count;
        for (int32_t k = 0; k < count; k++) {
            steps[i][k] = q.job.activations[k].grid.step;
        }
        quantizing_fini(&q);
    }
    assert_memory_equal(steps[0], steps[1], (size_t)count * sizeof(float));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_those_of_an_explicit_search),
        cmocka_unit_test(threads_change_no_bit),
    };

    return cmocka_run_group_tests_name("quantize/activation_steps", tests, NULL, NULL);
}
