/* Gram matrices against the outputs of the layers themselves. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "quantize/calibrate/columns.h"
#include "quantize/calibrate/gram.h"
#include "quantize/calibrate/importance.h"
#include "quantize/choose.h"
#include "support/quantizing.h"
#include "tensor/quantize.h"
#include "tensor/tensor.h"

enum { NODE = 1, INPUT = 11, OUTPUT = 12, SAMPLES = 20 };

static void put_ints(proto *attributes, const char *name, int count, const int64_t *ints)
{
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    for (int i = 0; i < count; i++) {
        proto_int(&attribute, 8, (uint64_t)ints[i]);
    }
    proto_int(&attribute, 20, 7);
    proto_message(attributes, 5, &attribute);
}

/* A chain of all that has weights: strides, dilations, lopsided pads, groups, depthwise,
 * transposed, one spatial axis, products. No biases: outputs are W X. */
static proto make_chain(void)
{
    static const int64_t shape[] = {-1, 4, 9, 7};
    static const int64_t out[] = {-1, 5};
    proto g = {0};
    proto a = {0};

    proto_text(&g, 2, "chain");
    quantizing_weights(&g, "w0", 4, (int64_t[]){6, 4, 3, 2}, 1);
    put_ints(&a, "pads", 4, (int64_t[]){1, 0, 2, 1});
    put_ints(&a, "strides", 2, (int64_t[]){2, 1});
    put_ints(&a, "dilations", 2, (int64_t[]){1, 2});
    proto_node_with(&g, NODE, "Conv", "x w0", "y0", &a); /* [6][5][6] */
    a = (proto){0};
    quantizing_weights(&g, "w1", 4, (int64_t[]){8, 3, 1, 3}, 2);
    proto_attribute_int(&a, "group", 2);
    proto_node_with(&g, NODE, "Conv", "y0 w1", "y1", &a); /* [8][5][4] */
    a = (proto){0};
    quantizing_weights(&g, "w2", 4, (int64_t[]){8, 1, 3, 3}, 3);
    proto_attribute_int(&a, "group", 8);
    put_ints(&a, "pads", 4, (int64_t[]){1, 1, 1, 1});
    proto_node_with(&g, NODE, "Conv", "y1 w2", "y2", &a); /* [8][5][4] */
    a = (proto){0};
    quantizing_weights(&g, "w3", 4, (int64_t[]){8, 3, 3, 2}, 4);
    put_ints(&a, "strides", 2, (int64_t[]){2, 3});
    put_ints(&a, "pads", 4, (int64_t[]){1, 0, 0, 1});
    proto_node_with(&g, NODE, "ConvTranspose", "y2 w3", "y3", &a); /* [3][10][10] */
    quantizing_weights(&g, "w4", 2, (int64_t[]){10, 6}, 5);
    proto_node(&g, NODE, "MatMul", "y3 w4", "y4"); /* [3][10][6] */
    a = (proto){0};
    proto_node(&g, NODE, "Flatten", "y4", "flat");
    quantizing_weights(&g, "w5", 2, (int64_t[]){5, 180}, 6);
    proto_attribute_int(&a, "transB", 1);
    proto_node_with(&g, NODE, "Gemm", "flat w5", "y5", &a);
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, shape);
    proto_value_info(&g, OUTPUT, "y5", SPRY_DTYPE_F32, 2, out);
    return g;
}

/* Sums over all outputs: y y^T and y, of the channels of one weight. */
typedef struct output_sums {
    const quantize_job *job;
    int32_t values[QUANTIZING_MOST_NODES];
    double *yy[QUANTIZING_MOST_NODES]; /* [outputs][outputs] */
    double *y[QUANTIZING_MOST_NODES];
    double *shares[QUANTIZING_MOST_NODES]; /* [outputs] */
    int64_t outputs[QUANTIZING_MOST_NODES], groups[QUANTIZING_MOST_NODES];
    bool by_importance; /* sums are known up to a factor */
    int32_t seen;
} output_sums;

/* Channels and pixels of the results of weight `i`. */
static int64_t pixels_of(const output_sums *s, int32_t i, const spry_tensor *t)
{
    const graph *g = s->job->m->main;
    bool is_window = strstr(g->nodes[s->job->weights[i].w.node].type, "Conv") != NULL;

    return is_window ? tensor_span(t, 2, t->rank) : 1;
}

/* `squares` is how much each element matters: columns count by the mean over a group's outputs. */
static void add_outputs(output_sums *s, int32_t i, const spry_tensor *t, const float *squares)
{
    const float *y = t->data;
    int64_t channels = s->outputs[i];
    int64_t inner = pixels_of(s, i, t);
    int64_t outer = spry_tensor_count(t) / (channels * inner);
    int64_t in_group = channels / s->groups[i];

    for (int64_t at = 0; at < outer * inner; at++) {
        int64_t place = at / inner * channels * inner + at % inner;
        const float *first = y + place;

        for (int64_t m = 0; m < channels; m++) {
            double a = (double)first[m * inner];
            double count = squares != NULL ? 0.0 : 1.0;

            for (int64_t o = 0; squares != NULL && o < in_group; o++) {
                int64_t other = m / in_group * in_group + o;

                count += (double)squares[place + other * inner] / (double)in_group;
            }
            s->y[i][m] += a * sqrt(count);
            s->shares[i][m] += squares != NULL ? (double)squares[place + m * inner] : 0.0;
            for (int64_t n = 0; n < channels; n++) {
                s->yy[i][m * channels + n] += a * (double)first[n * inner] * count;
            }
        }
    }
}

static spry_status see_outputs(void *context, const samples_view *view, spry_error *error)
{
    output_sums *s = context;

    (void)error;
    for (int32_t i = 0; i < s->job->weight_count; i++) {
        add_outputs(s, i, view->tensors[i], NULL);
    }
    return SPRY_OK;
}

static void check_near(double got, double expected, double scale)
{
    if (!(fabs(got - expected) <= 1e-5 * scale)) {
        fail_msg("%.9g is not %.9g (scale %.9g)", got, expected, scale);
    }
}

/* Brings the sums of a weight to the unit that matrices have, and shares to 1 in the mean. */
static void change_unit(output_sums *s, int32_t i, const gram *sums, const float *dense)
{
    int64_t outputs = s->outputs[i];
    double total = 0.0;
    double found = 0.0;
    double wanted = 0.0;

    for (int64_t m = 0; m < outputs; m++) {
        int64_t group = m / (outputs / sums->groups);

        for (int64_t k = 0; k < sums->size * sums->size; k++) {
            found += (double)dense[m * sums->size + k / sums->size] *
                     sums->xx[group * sums->size * sums->size + k] *
                     (double)dense[m * sums->size + k % sums->size];
        }
        wanted += s->yy[i][m * outputs + m];
        total += s->shares[i][m];
    }
    for (int64_t m = 0; m < outputs * outputs; m++) {
        s->yy[i][m] *= found / wanted;
    }
    for (int64_t m = 0; m < outputs; m++) {
        s->y[i][m] *= sqrt(found / wanted);
        check_near(sums->outputs[m], s->shares[i][m] * (double)outputs / total, 10.0);
    }
}

/* w_m G w_n^T is the sum of y_m y_n, for every pair of channels of a group. */
static spry_status compare(void *context, int32_t index, const gram *sums, spry_error *error)
{
    output_sums *s = context;
    const weight *w = &s->job->weights[index].w;
    float *dense = calloc((size_t)weight_count(w), sizeof *dense);
    int64_t in_group = w->outputs / sums->groups;
    double most = 0.0;

    (void)error;
    s->seen++;
    assert_non_null(dense);
    weight_gather(w, dense);
    if (s->by_importance) {
        change_unit(s, index, sums, dense);
    }
    for (int64_t m = 0; m < w->outputs; m++) {
        most = fmax(most, s->yy[index][m * w->outputs + m]);
    }
    for (int64_t m = 0; m < w->outputs; m++) {
        int64_t group = m / in_group;
        const double *xx = sums->xx + group * sums->size * sums->size;
        const float *row = dense + m * sums->size;
        double mean = 0.0;

        for (int64_t n = group * in_group; n < (group + 1) * in_group; n++) {
            double total = 0.0;

            for (int64_t i = 0; i < sums->size; i++) {
                for (int64_t j = 0; j < sums->size; j++) {
                    total +=
                        (double)row[i] * xx[i * sums->size + j] * (double)dense[n * sums->size + j];
                }
            }
            check_near(total, s->yy[index][m * w->outputs + n], most);
        }
        for (int64_t i = 0; i < sums->size; i++) {
            mean += (double)row[i] * sums->sum[group * sums->size + i];
        }
        check_near(mean, s->y[index][m], sqrt(most * (double)sums->columns));
    }
    free(dense);
    return SPRY_OK;
}

static void begin(output_sums *s, quantizing *q)
{
    proto g = make_chain();

    quantizing_init(q, &g, 4, (int64_t[]){SAMPLES, 4, 9, 7}, 0);
    *s = (output_sums){.job = &q->job};
    for (int32_t i = 0; i < q->job.weight_count; i++) {
        const weight *w = &q->job.weights[i].w;

        s->values[i] = q->job.m->main->nodes[w->node].outputs[0];
        s->outputs[i] = w->outputs;
        s->groups[i] = columns_groups(q->job.m->main, w->node, w);
        s->y[i] = calloc((size_t)w->outputs, sizeof(double));
        s->shares[i] = calloc((size_t)w->outputs, sizeof(double));
        s->yy[i] = calloc((size_t)(w->outputs * w->outputs), sizeof(double));
    }
}

static void end(output_sums *s, quantizing *q)
{
    for (int32_t i = 0; i < q->job.weight_count; i++) {
        free(s->y[i]);
        free(s->shares[i]);
        free(s->yy[i]);
    }
    quantizing_fini(q);
}

static void matrices_give_the_outputs(void **state)
{
    gram_options options = gram_options_default();
    quantizing q;
    output_sums s;

    (void)state;
    begin(&s, &q);
    assert_int_equal(
        samples_visit(q.job.m, &q.options, s.values, q.job.weight_count, "", see_outputs, &s, NULL),
        SPRY_OK);
    options.most_columns = 0;
    assert_int_equal(gram_for_each(&q.job, &options, compare, &s, NULL), SPRY_OK);
    assert_int_equal(s.seen, 6);
    options.budget = 1; /* a pass for each */
    assert_int_equal(gram_for_each(&q.job, &options, compare, &s, NULL), SPRY_OK);
    assert_int_equal(s.seen, 12);
    end(&s, &q);
}

/* Columns count by the importance of what becomes of them. */
static void important_outputs_count_more(void **state)
{
    gram_options options = gram_options_default();
    quantizing q;
    output_sums s;
    importance_probe probe;
    spry_error error = {0};

    (void)state;
    begin(&s, &q);
    importance_request request = {s.values,           q.job.weight_count, s.values,
                                  q.job.weight_count, FISHER_MODEL,       0};

    assert_int_equal(importance_open(&q.job, &request, &probe, &error), SPRY_OK);
    for (int64_t run = 0; run < probe.runs; run++) {
        assert_int_equal(importance_run(&probe, run, &error), SPRY_OK);
        for (int32_t i = 0; i < q.job.weight_count; i++) {
            add_outputs(&s, i, importance_value(&probe, i), importance_of(&probe, i));
        }
    }
    importance_close(&probe);
    s.by_importance = true;
    options.most_columns = 0;
    options.metric = FISHER_MODEL;
    assert_int_equal(gram_for_each(&q.job, &options, compare, &s, &error), SPRY_OK);
    assert_int_equal(s.seen, 6);
    end(&s, &q);
}

/* ---- threads, choice of columns, quantized inputs ---- */

static spry_status copy_first(void *context, int32_t index, const gram *sums, spry_error *error)
{
    double *to = context;

    (void)error;
    if (index == 0) {
        memcpy(to, sums->xx, (size_t)(sums->size * sums->size) * sizeof *to);
        to[sums->size * sums->size] = (double)sums->columns;
    }
    return SPRY_OK;
}

static void threads_change_no_bit(void **state)
{
    enum { SIZE = 24 };
    gram_options options = gram_options_default();
    double sums[2][SIZE * SIZE + 1];
    quantizing q;
    proto g = make_chain();

    (void)state;
    options.most_columns = 200; /* of 20 x 30 */
    quantizing_init(&q, &g, 4, (int64_t[]){SAMPLES, 4, 9, 7}, 0);
    assert_int_equal(gram_for_each(&q.job, &options, copy_first, sums[0], NULL), SPRY_OK);
    threads_destroy(q.job.team);
    q.job.team = threads_single();
    assert_int_equal(gram_for_each(&q.job, &options, copy_first, sums[1], NULL), SPRY_OK);
    q.job.team = NULL;
    assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
    assert_true(sums[0][SIZE * SIZE] == 200.0);
    quantizing_fini(&q);
}

enum { WIDTH = 5 };

typedef struct naive {
    const activation_record *input;
    double xx[WIDTH][WIDTH], xq[WIDTH][WIDTH], qq[WIDTH][WIDTH];
    int seen;
} naive;

static spry_status see_inputs(void *context, const samples_view *view, spry_error *error)
{
    naive *n = context;
    const tensor_grid *grid = &n->input->grid;
    quantize_target target = quantize_target_of(grid->dtype, grid->zero);
    const float *x = view->tensors[0]->data;
    int64_t rows = spry_tensor_count(view->tensors[0]) / WIDTH;

    (void)error;
    for (int64_t row = 0; row < rows; row++, x += WIDTH) {
        for (int i = 0; i < WIDTH; i++) {
            for (int j = 0; j < WIDTH; j++) {
                double a = (double)quantize_back(quantize_f32(x[i], grid->step, target), grid->step,
                                                 grid->zero);
                double b = (double)quantize_back(quantize_f32(x[j], grid->step, target), grid->step,
                                                 grid->zero);

                n->xx[i][j] += (double)x[i] * (double)x[j];
                n->xq[i][j] += (double)x[i] * b;
                n->qq[i][j] += a * b;
            }
        }
    }
    return SPRY_OK;
}

static spry_status compare_quantized(void *context, int32_t index, const gram *sums,
                                     spry_error *error)
{
    naive *n = context;

    (void)index;
    (void)error;
    assert_int_equal(sums->size, WIDTH);
    for (int i = 0; i < WIDTH; i++) {
        for (int j = 0; j < WIDTH; j++) {
            check_near(sums->xx[i * WIDTH + j], n->xx[i][j], n->xx[i][i]);
            check_near(sums->xq[i * WIDTH + j], n->xq[i][j], n->xx[i][i]);
            check_near(sums->qq[i * WIDTH + j], n->qq[i][j], n->xx[i][i]);
        }
    }
    n->seen++;
    return SPRY_OK;
}

static void inputs_are_read_as_integers(void **state)
{
    static const int64_t shape[] = {-1, 3, WIDTH};
    gram_options options = gram_options_default();
    naive n = {0};
    proto g = {0};
    quantizing q;
    int32_t value;

    (void)state;
    proto_text(&g, 2, "product");
    quantizing_weights(&g, "w", 2, (int64_t[]){WIDTH, 4}, 1);
    proto_node(&g, NODE, "MatMul", "x w", "y");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 3, shape);
    proto_value_info(&g, OUTPUT, "y", SPRY_DTYPE_F32, 3, (int64_t[]){-1, 3, 4});
    quantizing_init(&q, &g, 3, (int64_t[]){SAMPLES, 3, WIDTH}, 8);
    n.input = job_input_record(&q.job, q.job.weights[0].w.node);
    assert_non_null(n.input);
    value = n.input->value;
    assert_int_equal(samples_visit(q.job.m, &q.options, &value, 1, "", see_inputs, &n, NULL),
                     SPRY_OK);
    options.quantized = true;
    assert_int_equal(gram_for_each(&q.job, &options, compare_quantized, &n, NULL), SPRY_OK);
    assert_int_equal(n.seen, 1);
    quantizing_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_give_the_outputs),
        cmocka_unit_test(important_outputs_count_more),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(inputs_are_read_as_integers),
    };

    return cmocka_run_group_tests_name("quantize/gram", tests, NULL, NULL);
}
