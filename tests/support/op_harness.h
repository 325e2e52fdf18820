/* Runs one operator as a plan would: looks it up, asks its shape rule, runs its kernel.
 *
 *     op_harness h;
 *     op_harness_init(&h, "", "LeakyRelu", 16);
 *     op_harness_float(&h, "alpha", 0.1f);
 *     op_harness_f32(&h, 1, (int64_t[]){3}, (float[]){-1, 0, 1});
 *     op_harness_run(&h, 1);
 *     assert_float_equal(op_harness_f32_at(&h, 0, 0), -0.1f, 1e-7f);
 *     op_harness_fini(&h);
 *
 * A run also checks what every operator promises: that the shape rule says nothing which the kernel
 * contradicts, with and without known inputs; and that the result has the same bits in a planned
 * buffer, over an input where the operator allows that, and for any number of threads. */
#ifndef SUPPORT_OP_HARNESS_H
#define SUPPORT_OP_HARNESS_H

#include "ops/op.h"

enum { OP_HARNESS_PORTS = 16, OP_HARNESS_ATTRIBUTES = 16 };

typedef struct op_harness {
    arena memory; /* everything but the values */
    graph g;
    graph_node node;
    graph_attribute attributes[OP_HARNESS_ATTRIBUTES];
    value inputs[OP_HARNESS_PORTS];
    bool present[OP_HARNESS_PORTS]; /* false: omitted port */
    int input_count;
    bool hide_constants; /* the shape rule does not see the values of the inputs */
    value outputs[OP_HARNESS_PORTS];
    graph_type types[OP_HARNESS_PORTS];    /* what the shape rule said of the outputs */
    graph_dim *contents[OP_HARNESS_PORTS]; /* and of their elements; NULL: nothing */
    int32_t content_counts[OP_HARNESS_PORTS];
    int output_count;
    uint64_t seed;
    uint64_t state; /* of op_harness_next */
    op_host host;   /* for operators with subgraphs */
    spry_error error;
} op_harness;

void op_harness_init(op_harness *h, const char *domain, const char *name, int opset);
void op_harness_fini(op_harness *h);

/* Attributes; data is copied. */
void op_harness_int(op_harness *h, const char *name, int64_t number);
void op_harness_float(op_harness *h, const char *name, float number);
void op_harness_string(op_harness *h, const char *name, const char *text);
void op_harness_ints(op_harness *h, const char *name, int64_t count, const int64_t *numbers);
void op_harness_floats(op_harness *h, const char *name, int64_t count, const float *numbers);
void op_harness_strings(op_harness *h, const char *name, int64_t count, const char *const *texts);
void op_harness_tensor(op_harness *h, const char *name, const tensor *t);
void op_harness_graph(op_harness *h, const char *name, graph *body);

/* The next input: zeroed, for the caller to fill. */
tensor *op_harness_input(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape);
/* The next input from numbers, converted to the element type (as convert_write_*). */
tensor *op_harness_f32(op_harness *h, int rank, const int64_t *shape, const float *data);
tensor *op_harness_f64s(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape,
                        const double *data);
tensor *op_harness_i64s(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape,
                        const int64_t *data);
/* The next input, of strings that must outlive the harness. */
tensor *op_harness_texts(op_harness *h, int rank, const int64_t *shape, const char *const *texts);
/* The next input: small numbers (floats: quarters in [-4, 4]; integers: -9..9 or 0..18; bools), and
 * now and then an extreme one when `extremes` is set (infinities, NaN, the integer limits). The
 * same sequence for the same calls since op_harness_init. */
tensor *op_harness_any(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape,
                       bool extremes);
/* Deterministic numbers in [0, below). */
int64_t op_harness_next(op_harness *h, int64_t below);
/* A random shape of rank 0 to `most_rank`, with dimensions 0 (seldom), 1, and more; returns the
 * rank. */
int op_harness_shape(op_harness *h, int most_rank, int64_t *shape);
/* A random shape that broadcasts to (rank, shape); returns its rank. */
int op_harness_smaller(op_harness *h, int rank, const int64_t *shape, int64_t *smaller);
/* The index into `input` of what lies at `index` of `output`, by the definition of broadcasting. */
int64_t op_harness_source(const tensor *input, const tensor *output, int64_t index);
/* The next input: an empty value for the caller to fill (sequences). */
value *op_harness_value(op_harness *h);
/* The next input is omitted. */
void op_harness_omit(op_harness *h);

/* Runs with `output_count` outputs and asserts success. */
void op_harness_run(op_harness *h, int output_count);
/* As above, giving back the first failure (h->error has its details), among them SPRY_UNSUPPORTED
 * for an operator or element type that is not in the tables. */
spry_status op_harness_try(op_harness *h, int output_count);
/* Only the shape rule; h->types has the result. */
spry_status op_harness_infer(op_harness *h, int output_count);

const tensor *op_harness_output(const op_harness *h, int i);
float op_harness_f32_at(const op_harness *h, int i, int64_t index);
double op_harness_f64_at(const op_harness *h, int i, int64_t index);
int64_t op_harness_i64_at(const op_harness *h, int i, int64_t index);
/* Asserts type and shape of output `i`. */
void op_harness_expect(const op_harness *h, int i, spry_dtype dtype, int rank,
                       const int64_t *shape);
/* Asserts the elements of output `i`: equal (NaN equals NaN), or
 * |a - b| <= tolerance * (1 + |b|). */
void op_harness_expect_f64(const op_harness *h, int i, const double *expected, double tolerance);
void op_harness_expect_i64(const op_harness *h, int i, const int64_t *expected);

#endif
