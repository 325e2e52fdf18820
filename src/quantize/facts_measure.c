/* How much rounding costs a weight tensor, and its worst block with a histogram of its weights. */
#include <math.h>

#include "base/alloc.h"
#include "kernels/quantize/round_f32.h"
#include "quantize/facts.h"

typedef struct block_sums {
    double signal, noise;
} block_sums;

/* Consecutive weights of one block. */
typedef struct run {
    int64_t block, output, input;
    const float *weights;
    const int8_t *codes;
    int64_t count;
} run;
typedef void (*run_visitor)(void *context, const run *of);

static void visit(const weight_record *r, const float *dense, run_visitor see, void *context)
{
    for (int64_t m = 0; m < r->w.outputs; m++) {
        int64_t inputs;

        for (int64_t n = 0; n < r->w.inputs; n += inputs) {
            int64_t place = (m * r->w.inputs + n) * r->w.taps;

            inputs = record_run(r, m, n);
            see(context, &(run){record_block(r, m, n), m, n, dense + place, r->codes + place,
                                inputs * r->w.taps});
        }
    }
}

typedef struct summing {
    const weight_record *r;
    const round_f32_kernel *kernel;
    block_sums *sums;
} summing;

static void add(void *context, const run *of)
{
    const summing *s = context;
    block_sums *sums = &s->sums[of->block];

    s->kernel->noise(&(round_f32_codes){of->weights, of->codes, of->count, s->r->steps[of->block],
                                        record_zero(s->r, of->block)},
                     &sums->signal, &sums->noise);
}

/* What is told of one block. */
typedef struct telling {
    spry_quantize_block *block;
    int64_t index;
    const round_f32_kernel *kernel;
} telling;

static void widen(void *context, const run *of)
{
    const telling *t = context;
    spry_quantize_block *b = t->block;
    float low;
    float high;

    if (of->block != t->index) {
        return;
    }
    t->kernel->range(of->weights, of->count, &low, &high);
    if (b->weights == 0) {
        b->output = of->output;
        b->input = of->input;
        b->least = low;
        b->most = high;
    }
    b->weights += of->count;
    b->least = low < b->least ? low : b->least;
    b->most = high > b->most ? high : b->most;
}

static void count(void *context, const run *of)
{
    const telling *t = context;
    spry_quantize_block *b = t->block;
    double width = (double)b->most - (double)b->least;

    for (int64_t i = 0; of->block == t->index && i < of->count; i++) {
        double place = ((double)of->weights[i] - (double)b->least) / width;
        int bin = width > 0.0 ? (int)(place * SPRY_QUANTIZE_BINS) : 0;

        b->counts[bin < SPRY_QUANTIZE_BINS ? bin : SPRY_QUANTIZE_BINS - 1]++;
    }
}

/* Noise over signal; blocks of zeros lose nothing. */
static double loss(const block_sums *s)
{
    return s->signal > 0.0 ? s->noise / s->signal : 0.0;
}

static double sqnr_db(const block_sums *s)
{
    return s->noise > 0.0 ? 10.0 * log10(s->signal / s->noise) : INFINITY;
}

spry_status facts_measure(spry_quantization *f, const weight_record *r, const float *dense,
                          spry_quantize_row *row, spry_error *error)
{
    size_t blocks = (size_t)record_blocks(r);
    grid_options grid = record_grid(r);
    grid_codes codes = grid_codes_of(&grid);
    summing s = {r, round_f32_select(), alloc_zeroed(&f->allocator, blocks * sizeof *s.sums)};
    telling t = {arena_zeroed(&f->memory, sizeof *t.block), 0, s.kernel};
    block_sums all = {0};

    if (s.sums == NULL || t.block == NULL) {
        alloc_release(&f->allocator, s.sums, blocks * sizeof *s.sums);
        return alloc_failed(error, blocks * sizeof *s.sums);
    }
    visit(r, dense, add, &s);
    for (size_t i = 0; i < blocks; i++) {
        t.index = loss(&s.sums[i]) > loss(&s.sums[t.index]) ? (int64_t)i : t.index;
        all.signal += s.sums[i].signal;
        all.noise += s.sums[i].noise;
    }
    *t.block = (spry_quantize_block){.sqnr_db = sqnr_db(&s.sums[t.index]),
                                     .step = r->steps[t.index],
                                     .zero = record_zero(r, t.index),
                                     .low = codes.low,
                                     .high = codes.high};
    visit(r, dense, widen, &t);
    visit(r, dense, count, &t);
    row->sqnr_db = sqnr_db(&all);
    row->worst = t.block;
    alloc_release(&f->allocator, s.sums, blocks * sizeof *s.sums);
    return SPRY_OK;
}
