/* The worst block of a weight tensor, with a histogram of its weights. */
#include <math.h>

#include "base/alloc.h"
#include "quantize/facts.h"

typedef struct block_sums {
    double signal, noise;
    float least, most;
    int64_t count;
    int64_t output, input;
} block_sums;

/* Calls for every weight in the order of dense. */
typedef void (*weight_visitor)(void *context, int64_t block, int64_t output, int64_t input, float x,
                               int8_t code);

static void visit(const weight_record *r, const float *dense, weight_visitor see, void *context)
{
    const int8_t *code = r->codes;

    for (int64_t m = 0; m < r->w.outputs; m++) {
        for (int64_t n = 0; n < r->w.inputs; n++) {
            int64_t block = record_block(r, m, n);

            for (int64_t tap = 0; tap < r->w.taps; tap++) {
                see(context, block, m, n, *dense++, *code++);
            }
        }
    }
}

typedef struct summing {
    const weight_record *r;
    block_sums *sums;
} summing;

static void add(void *context, int64_t block, int64_t output, int64_t input, float x, int8_t code)
{
    const summing *s = context;
    block_sums *sums = &s->sums[block];
    double d = (double)record_value(s->r, block, code) - (double)x;

    if (sums->count == 0) {
        *sums = (block_sums){.least = x, .most = x, .output = output, .input = input};
    }
    sums->count++;
    sums->signal += (double)x * (double)x;
    sums->noise += d * d;
    sums->least = x < sums->least ? x : sums->least;
    sums->most = x > sums->most ? x : sums->most;
}

typedef struct counting {
    spry_quantize_block *block;
    int64_t index;
} counting;

static void count(void *context, int64_t block, int64_t output, int64_t input, float x, int8_t code)
{
    const counting *c = context;
    spry_quantize_block *b = c->block;
    double width = (double)b->most - (double)b->least;
    int bin;

    (void)output;
    (void)input;
    (void)code;
    if (block != c->index) {
        return;
    }
    bin = width > 0.0 ? (int)(((double)x - (double)b->least) / width * SPRY_QUANTIZE_BINS) : 0;
    b->counts[bin < SPRY_QUANTIZE_BINS ? bin : SPRY_QUANTIZE_BINS - 1]++;
}

/* Noise over signal; blocks of zeros lose nothing. */
static double loss(const block_sums *s)
{
    return s->signal > 0.0 ? s->noise / s->signal : 0.0;
}

spry_status facts_find_worst(spry_quantization *f, const weight_record *r, const float *dense,
                             const spry_quantize_block **worst, spry_error *error)
{
    size_t blocks = (size_t)record_blocks(r);
    grid_options grid = record_grid(r);
    grid_codes codes = grid_codes_of(&grid);
    summing s = {r, alloc_zeroed(&f->allocator, blocks * sizeof *s.sums)};
    spry_quantize_block *b = arena_zeroed(&f->memory, sizeof *b);
    int64_t index = 0;

    if (s.sums == NULL || b == NULL) {
        alloc_release(&f->allocator, s.sums, blocks * sizeof *s.sums);
        return alloc_failed(error, blocks * sizeof *s.sums);
    }
    visit(r, dense, add, &s);
    for (size_t i = 1; i < blocks; i++) {
        index = loss(&s.sums[i]) > loss(&s.sums[index]) ? (int64_t)i : index;
    }
    const block_sums *sums = &s.sums[index];
    *b = (spry_quantize_block){
        .output = sums->output,
        .input = sums->input,
        .weights = sums->count,
        .sqnr_db = sums->noise > 0.0 ? 10.0 * log10(sums->signal / sums->noise) : INFINITY,
        .step = r->steps[index],
        .zero = record_zero(r, index),
        .low = codes.low,
        .high = codes.high,
        .least = sums->least,
        .most = sums->most};
    visit(r, dense, count, &(counting){b, index});
    alloc_release(&f->allocator, s.sums, blocks * sizeof *s.sums);
    *worst = b;
    return SPRY_OK;
}
