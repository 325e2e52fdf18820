/* Checks the gradient of a small graph against central differences.
 *
 *     static void build_product(gradient_check *c)
 *     {
 *         gradient_check_input(c, "a", 2, (int64_t[]){2, 3});
 *         gradient_check_input(c, "b", 2, (int64_t[]){3, 4});
 *         net_node(&c->n, "MatMul", "a b", "y");
 *     }
 *     gradient_check_run(build_product, NULL, 13);
 *
 * The graph is built in f64 and in f32 over the same numbers. L = sum of seed y with a random seed
 * is differentiated by every input: in f64 against differences, in f32 against f64, and in f32 the
 * bits of one, two and three threads. */
#ifndef SUPPORT_GRADIENT_CHECK_H
#define SUPPORT_GRADIENT_CHECK_H

#include "spry/value.h"
#include "support/net.h"

enum { GRADIENT_CHECK_INPUTS = 8 };

typedef struct gradient_check_value {
    const char *name;
    int rank;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t count;
    double *numbers;
    double *gradient; /* in f64, after the run; NULL where y does not depend on the input */
} gradient_check_value;

typedef struct gradient_check {
    net n;
    spry_dtype dtype;   /* of this build */
    const void *detail; /* the caller's */
    uint64_t seed;
    uint64_t drawn; /* streams of random numbers used so far */
    int input_count;
    gradient_check_value inputs[GRADIENT_CHECK_INPUTS];
    double tolerance;     /* relative, of differences; set to another by the builder */
    double f32_tolerance; /* relative length of what f32 differs from f64 */
    bool surrogate;       /* the gradient is not that of the function: no differences */
} gradient_check;

typedef void gradient_check_builder(gradient_check *c);

/* An input of the build's type that the gradient is checked for: normal numbers, or those given
 * (which f32 must hold exactly), or uniform ones in [low, high). */
int32_t gradient_check_input(gradient_check *c, const char *name, int rank, const int64_t *shape);
int32_t gradient_check_given(gradient_check *c, const char *name, int rank, const int64_t *shape,
                             const double *numbers);
int32_t gradient_check_uniform(gradient_check *c, const char *name, int rank, const int64_t *shape,
                               double low, double high);
/* Constants of the build's type: normal numbers; one number. */
int32_t gradient_check_constant(gradient_check *c, const char *name, int rank,
                                const int64_t *shape);
int32_t gradient_check_number(gradient_check *c, const char *name, double number);
/* A constant list of integers. */
int32_t gradient_check_ints(gradient_check *c, const char *name, int64_t count,
                            const int64_t *numbers);
/* Adds an attribute to a node. */
void gradient_check_set_int(gradient_check *c, int32_t node, const char *name, int64_t number);
void gradient_check_set_float(gradient_check *c, int32_t node, const char *name, float number);
void gradient_check_set_ints(gradient_check *c, int32_t node, const char *name, int64_t count,
                             const int64_t *numbers);
void gradient_check_set_string(gradient_check *c, int32_t node, const char *name, const char *text);

/* Builds a graph whose result is "y" and checks it. Gives back the f64 build with its gradients,
 * for further questions; release with gradient_check_fini. */
void gradient_check_start(gradient_check *c, gradient_check_builder *build, const void *detail,
                          int32_t opset);
void gradient_check_fini(gradient_check *c);
/* Both. */
void gradient_check_run(gradient_check_builder *build, const void *detail, int32_t opset);

/* Runs a graph in one session of so many threads: `outputs` are its outputs, `inputs` its inputs in
 * order. The results are released by spry_value_destroy. */
void gradient_check_execute(graph *g, int threads, const tensor *inputs, spry_value **outputs);

#endif
