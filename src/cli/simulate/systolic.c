/* spry simulate systolic: one product on an array, register by register. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "simulate/array/lowering_compute.h"
#include "simulate/array/lowering_target.h"
#include "spry/random.h"

static const char *const taken[] = {"seed", NULL};
static const char *const dataflows[] = {"weights", "outputs", NULL};

static const cli_option own[] = {
    {.name = "dataflow",
     .kind = CLI_CHOICE,
     .value = "WHICH",
     .fallback = "weights",
     .choices = dataflows,
     .help = "what stays in the array"},
    {0},
};

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
    spry_allocator memory = alloc_resolve(NULL);
    spry_random random = {.seed = (uint64_t)cli_integer(call, "seed")};
    int64_t room =
        ((int64_t)shape.rows + shape.columns) * p->k + (int64_t)shape.rows * shape.columns;
    int64_t count = p->m * p->k + p->k * p->n + p->m * p->n + room;
    size_t bytes = (size_t)count * sizeof *p->a;
    spry_status status;

    p->a = alloc_array(&memory, (size_t)count, sizeof *p->a);
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
    alloc_release(&memory, p->a, bytes);
    return status;
}

static double used(const product *p, systolic_shape shape)
{
    return (double)(p->m * p->n * p->k) /
           ((double)shape.rows * (double)shape.columns * (double)p->counted);
}

/* What is in the array when, with weights that stay: a pass every max(m, rows) cycles behind the
 * first weights; then the last sums drain. */
static void tell_passes(report *r, const product *p, systolic_shape shape, uint64_t period)
{
    int loads = timeline_track(r->timeline, "weights");
    int passes = timeline_track(r->timeline, "rows streaming");
    uint64_t every = (uint64_t)(p->m > shape.rows ? p->m : shape.rows);
    uint64_t rows = (uint64_t)shape.rows;

    for (uint64_t i = 0; rows + (i + 1) * every <= p->counted + every; i++) {
        uint64_t begin = rows + i * every;

        timeline_span(r->timeline, loads, (begin - rows) * period, begin * period, "weights",
                      "the next weights shift in");
        timeline_span(r->timeline, passes, begin * period, (begin + (uint64_t)p->m) * period,
                      "stream", "a pass");
    }
}

/* Fold after fold, with outputs that stay. */
static void tell_folds(report *r, const product *p, systolic_shape shape, uint64_t period)
{
    int folds = timeline_track(r->timeline, "fold");
    uint64_t each = systolic_cycles_outputs(shape, (uint64_t)p->k);

    for (uint64_t at = 0; at < p->counted; at += each) {
        timeline_span(r->timeline, folds, at * period, (at + each) * period, "stream", "a fold");
    }
}

static spry_status tell(const cli_call *call, report *r, const target *t, const product *p,
                        const lowering_machine *m, const lowering_prices *prices, spry_error *error)
{
    const output_record record = {.is_seeded = true, .seed = (uint64_t)cli_integer(call, "seed")};
    bool is_weights = strcmp(cli_text(call, "dataflow"), "weights") == 0;
    double macs = (double)(p->m * p->n * p->k);

    report_word(r, "dataflow", "what stays", cli_text(call, "dataflow"));
    report_number(r, "cycles", "cycles", (double)p->counted, 0, "counted");
    report_number(r, "closed_form", "formula", (double)p->foretold, 0, "cycles");
    report_number(r, "used", "used", 100.0 * used(p, m->shape), 1, "% of the array");
    report_number(r, "difference", "difference", p->difference, -1,
                  "of the largest element, from sums in f64");
    if (prices->are_known) {
        report_energy(r, "array", "multiply-add", macs, prices->mac * 1e12, prices->source);
    }
    (is_weights ? tell_passes : tell_folds)(r, p, m->shape, m->period);
    return simulate_tell(call, r, t, &record, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    product p = {0};
    lowering_machine machine;
    lowering_prices prices;
    char title[96];
    report r = {0};
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
    if (status == SPRY_OK) {
        (void)snprintf(title, sizeof title, "%s on an array of %d x %d", call->arguments[1],
                       machine.shape.rows, machine.shape.columns);
        simulate_report(&r, call, title);
        status = tell(call, &r, t, &p, &machine, &prices, error);
    }
    report_fini(&r);
    target_destroy(t);
    return status;
}

const simulate_model simulate_systolic = {
    .name = "systolic",
    .part = {.title = "systolic MxNxK",
             .about = "An array of multipliers, register by register, on random matrices of M x K "
                      "and K x N: the cycles that it takes are counted, and its result is "
                      "compared.",
             .options = own},
    .options = taken,
    .arguments = 1,
    .run = run};
