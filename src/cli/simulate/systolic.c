/* spry simulate systolic: one product on an array, register by register. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "cli/output.h"
#include "cli/simulate/models.h"
#include "simulate/array/lowering_compute.h"
#include "simulate/array/lowering_target.h"
#include "spry/random.h"

static const char *const taken[] = {"target", "set", "dataflow", "seed", NULL};

enum { EXTENT_MOST = 4096 };

typedef struct product {
    int64_t m, n, k;
    float *a, *b, *y; /* m x k, k x n, m x n */
    uint64_t counted, foretold;
    double difference; /* largest, from a sum in f64, over the largest element */
} product;

/* MxNxK */
static spry_status parse_sizes(const char *word, product *p, spry_error *error)
{
    int64_t *sizes[] = {&p->m, &p->n, &p->k};
    const char *rest = word;

    for (int i = 0; i < 3; i++) {
        size_t length = strcspn(rest, "x");
        char number[16] = "";

        if (length < sizeof number) {
            memcpy(number, rest, length);
        }
        if (!parse_i64(number, 1, EXTENT_MOST, sizes[i]) || (rest[length] == 'x') != (i < 2)) {
            return spry_fail(error, SPRY_USAGE, word, "write MxNxK: 64x32x128",
                             "three sizes of 1 to %d are wanted", (int)EXTENT_MOST);
        }
        rest += length + 1;
    }
    return SPRY_OK;
}

static void compare(product *p)
{
    double largest = 0.0;
    double worst = 0.0;

    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0.0;

            for (int64_t k = 0; k < p->k; k++) {
                sum += (double)p->a[i * p->k + k] * (double)p->b[k * p->n + j];
            }
            largest = fmax(largest, fabs(sum));
            worst = fmax(worst, fabs(sum - (double)p->y[i * p->n + j]));
        }
    }
    p->difference = largest > 0.0 ? worst / largest : 0.0;
}

static spry_status run_weights(product *p, systolic_shape shape, spry_error *error)
{
    const simulate_layer l = {.name = "product",
                              .images = 1,
                              .in_height = 1,
                              .in_width = p->m,
                              .channels = p->k,
                              .out_height = 1,
                              .out_width = p->m,
                              .filters = p->n,
                              .kernel_height = 1,
                              .kernel_width = 1,
                              .stride_height = 1,
                              .stride_width = 1,
                              .dilation_height = 1,
                              .dilation_width = 1,
                              .groups = 1};
    uint64_t passes = (uint64_t)((p->k + shape.rows - 1) / shape.rows) *
                      (uint64_t)((p->n + shape.columns - 1) / shape.columns);

    p->foretold = systolic_cycles_weights(shape, passes, (uint64_t)p->m);
    return lowering_compute(NULL, shape, &l, LOWERING_CHANNEL_FIRST, LOWERING_MULTI_OFF, p->a, p->b,
                            p->y, &p->counted, error);
}

/* Fold by fold: an array's worth of results each, zeros beyond the matrices. */
static spry_status run_outputs(product *p, systolic_shape shape, float *room, spry_error *error)
{
    float *a = room;
    float *b = a + (int64_t)shape.rows * p->k;
    float *y = b + (int64_t)shape.columns * p->k;
    spry_status status = SPRY_OK;

    for (int64_t i = 0; i < p->m && status == SPRY_OK; i += shape.rows) {
        for (int64_t j = 0; j < p->n && status == SPRY_OK; j += shape.columns) {
            uint64_t cycles;

            for (int64_t r = 0; r < shape.rows; r++) {
                for (int64_t k = 0; k < p->k; k++) {
                    a[r * p->k + k] = i + r < p->m ? p->a[(i + r) * p->k + k] : 0.0F;
                }
            }
            for (int64_t k = 0; k < p->k; k++) {
                for (int64_t c = 0; c < shape.columns; c++) {
                    b[k * shape.columns + c] = j + c < p->n ? p->b[k * p->n + j + c] : 0.0F;
                }
            }
            status = systolic_run_outputs(NULL, shape, a, b, p->k, y, &cycles, error);
            p->counted += cycles;
            p->foretold += systolic_cycles_outputs(shape, (uint64_t)p->k);
            for (int64_t r = 0; r < shape.rows && i + r < p->m; r++) {
                for (int64_t c = 0; c < shape.columns && j + c < p->n; c++) {
                    p->y[(i + r) * p->n + j + c] = y[r * shape.columns + c];
                }
            }
        }
    }
    return status;
}

static spry_status run_product(const cli_call *call, product *p, systolic_shape shape,
                               spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    spry_random random = {.seed = (uint64_t)cli_integer(call, "seed")};
    int64_t room =
        ((int64_t)shape.rows + shape.columns) * p->k + (int64_t)shape.rows * shape.columns;
    int64_t count = p->m * p->k + p->k * p->n + p->m * p->n + room;
    size_t bytes = (size_t)count * sizeof *p->a;
    spry_status status;

    p->a = alloc_array(&own, (size_t)count, sizeof *p->a);
    if (p->a == NULL) {
        return alloc_failed(error, bytes);
    }
    p->b = p->a + p->m * p->k;
    p->y = p->b + p->k * p->n;
    for (float *x = p->a; x < p->y; x++) {
        *x = (float)(spry_random_u32(&random) >> 8) * 0x1p-23F - 1.0F;
    }
    if (strcmp(cli_text(call, "dataflow"), "weights") == 0) {
        status = run_weights(p, shape, error);
    } else {
        status = run_outputs(p, shape, p->y + p->m * p->n, error);
    }
    if (status == SPRY_OK) {
        compare(p);
    }
    alloc_release(&own, p->a, bytes);
    return status;
}

static double used(const product *p, systolic_shape shape)
{
    return (double)(p->m * p->n * p->k) /
           ((double)shape.rows * (double)shape.columns * (double)p->counted);
}

static spry_status print_json(const cli_call *call, const target *t, const product *p,
                              systolic_shape shape, spry_error *error)
{
    const output_record record = {.is_seeded = true, .seed = (uint64_t)cli_integer(call, "seed")};
    output_document document;
    spry_status status;

    output_begin(&document, call);
    json_write_string(&document.json, "model", "systolic");
    target_write_resolved(t, &document.json, "target");
    json_write_string(&document.json, "dataflow", cli_text(call, "dataflow"));
    json_write_u64(&document.json, "cycles", p->counted);
    json_write_u64(&document.json, "closed_form", p->foretold);
    json_write_f64(&document.json, "utilisation", used(p, shape));
    json_write_f64(&document.json, "difference", p->difference);
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    product p = {0};
    lowering_machine machine;
    lowering_prices prices;
    target *t = NULL;
    spry_status status = parse_sizes(call->arguments[1], &p, error);

    if (status == SPRY_OK) {
        status = simulate_target(call, "edge32", &t, error);
    }
    if (status == SPRY_OK) {
        status = lowering_machine_read(t, &machine, error);
    }
    if (status == SPRY_OK) {
        status = lowering_prices_read(t, &prices, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    if (status == SPRY_OK) {
        status = run_product(call, &p, machine.shape, error);
    }
    if (status == SPRY_OK && cli_given(call, "json")) {
        status = print_json(call, t, &p, machine.shape, error);
    } else if (status == SPRY_OK) {
        (void)fprintf(call->out, "cycles       %" PRIu64 " counted, %" PRIu64 " by the formula\n",
                      p.counted, p.foretold);
        (void)fprintf(call->out, "used         %.1f %% of the array\n",
                      100.0 * used(&p, machine.shape));
        (void)fprintf(call->out, "difference   %.1e of the largest element, from sums in f64\n",
                      p.difference);
    }
    target_destroy(t);
    return status;
}

const simulate_model simulate_systolic = {
    .name = "systolic", .options = taken, .arguments = 1, .run = run};
