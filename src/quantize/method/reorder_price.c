/* Prices of blocks from the largest numbers in them. */
#include "quantize/method/reorder_price.h"

#include <math.h>
#include <string.h>

enum { STEPS = 20 /* of REORDER_MSE */ };

/* ---- room ---- */

bool candidate_make(const reorder_layout *l, arena *room, candidate *c)
{
    for (int a = 0; a < 2; a++) {
        c->order[a] = arena_array(room, (size_t)l->channels[a], sizeof *c->order[a]);
    }
    c->prices = arena_array(room, (size_t)(l->blocks[0] * l->blocks[1]), sizeof *c->prices);
    return c->order[0] != NULL && c->order[1] != NULL && c->prices != NULL;
}

bool maxima_make(const reorder_layout *l, arena *room, maxima *m)
{
    for (int a = 0; a < 2; a++) {
        m->by[a] = arena_array(room, (size_t)(l->blocks[a] * l->channels[1 - a]), sizeof *m->by[a]);
    }
    return m->by[0] != NULL && m->by[1] != NULL;
}

static void fill_largest(reorder_layout *l)
{
    const reorder_weights *w = l->w;
    const float *x = w->dense;

    for (int64_t m = 0; m < w->outputs; m++) {
        for (int64_t n = 0; n < w->inputs; n++) {
            float largest = 0.0f;

            for (int64_t tap = 0; tap < w->taps; tap++, x++) {
                largest = fabsf(*x) > largest ? fabsf(*x) : largest;
            }
            l->largest[OUTPUTS][m * w->inputs + n] = largest;
            l->largest[INPUTS][n * w->outputs + m] = largest;
        }
    }
}

bool layout_make(const reorder_weights *w, reorder_objective objective, arena *room,
                 reorder_layout *l)
{
    size_t kernels = (size_t)(w->outputs * w->inputs);

    *l = (reorder_layout){.w = w,
                          .objective = objective,
                          .channels = {w->outputs, w->inputs},
                          .block = {w->row_block, w->column_block}};
    for (int a = 0; a < 2; a++) {
        l->blocks[a] = (l->channels[a] + l->block[a] - 1) / l->block[a];
        l->largest[a] = arena_array(room, kernels, sizeof *l->largest[a]);
    }
    if (l->largest[0] == NULL || l->largest[1] == NULL) {
        return false;
    }
    fill_largest(l);
    return true;
}

/* ---- prices ---- */

static int64_t places_in(const reorder_layout *l, axis a, int64_t block)
{
    int64_t left = l->channels[a] - block * l->block[a];

    return left < l->block[a] ? left : l->block[a];
}

static double range_price(const reorder_layout *l, float largest, int64_t weights)
{
    double step = (double)largest / ((double)(1 << (l->w->bits - 1)) - 0.5);

    return step * step / 12.0 * (double)weights;
}

static double error_with_step(const reorder_layout *l, const candidate *c, int64_t row,
                              int64_t column, float step)
{
    const reorder_weights *w = l->w;
    float high = (float)((1 << (w->bits - 1)) - 1);
    double sum = 0.0;

    for (int64_t i = 0; i < places_in(l, OUTPUTS, row); i++) {
        int64_t output = c->order[OUTPUTS][row * l->block[OUTPUTS] + i];

        for (int64_t j = 0; j < places_in(l, INPUTS, column); j++) {
            int64_t input = c->order[INPUTS][column * l->block[INPUTS] + j];
            const float *x = w->dense + (output * w->inputs + input) * w->taps;

            for (int64_t tap = 0; tap < w->taps; tap++) {
                float code = rintf(x[tap] / step);
                double d;

                code = code < -high - 1.0f ? -high - 1.0f : code > high ? high : code;
                d = (double)(code * step) - (double)x[tap];
                sum += d * d;
            }
        }
    }
    return sum;
}

/* From the step that reaches the largest weight down to half of it. */
static double error_price(const reorder_layout *l, const candidate *c, int64_t row, int64_t column,
                          float largest)
{
    double step = (double)largest / ((double)(1 << (l->w->bits - 1)) - 0.5);
    double best = INFINITY;

    if (!(step > 1e-30)) {
        return 0.0;
    }
    for (int i = 0; i < STEPS; i++) {
        double factor = 1.0 - 0.5 * i / (STEPS - 1);

        best = fmin(best, error_with_step(l, c, row, column, (float)(step * factor)));
    }
    return best;
}

/* Price of a block whose largest number is taken over the places of `a`, from the maxima over the
 * blocks of the other axis. */
double price_block(const reorder_layout *l, const candidate *c, const maxima *m, axis a,
                   int64_t block, int64_t other)
{
    const float *by = m->by[1 - a] + other * l->channels[a];
    const int32_t *order = c->order[a] + block * l->block[a];
    int64_t places = places_in(l, a, block);
    int64_t row = a == OUTPUTS ? block : other;
    int64_t column = a == OUTPUTS ? other : block;
    float largest = 0.0f;

    for (int64_t i = 0; i < places; i++) {
        largest = by[order[i]] > largest ? by[order[i]] : largest;
    }
    return l->objective == REORDER_RANGE
               ? range_price(l, largest, places * places_in(l, (axis)(1 - a), other) * l->w->taps)
               : error_price(l, c, row, column, largest);
}

double *price_at(const reorder_layout *l, const candidate *c, axis a, int64_t block, int64_t other)
{
    return c->prices +
           (a == OUTPUTS ? block * l->blocks[INPUTS] + other : other * l->blocks[INPUTS] + block);
}

/* Prices again what lies in one block of `a`. */
void price_line(const reorder_layout *l, candidate *c, const maxima *m, axis a, int64_t block)
{
    for (int64_t other = 0; other < l->blocks[1 - a]; other++) {
        double *price = price_at(l, c, a, block, other);
        double now = price_block(l, c, m, a, block, other);

        c->total += now - *price;
        *price = now;
    }
}

void price_all(const reorder_layout *l, candidate *c, const maxima *m, axis a)
{
    for (int64_t block = 0; block < l->blocks[a]; block++) {
        price_line(l, c, m, a, block);
    }
    c->total = 0.0;
    for (int64_t i = 0; i < l->blocks[0] * l->blocks[1]; i++) {
        c->total += c->prices[i];
    }
}

void maxima_find(const reorder_layout *l, const candidate *c, maxima *m, axis a)
{
    int64_t others = l->channels[1 - a];

    for (int64_t block = 0; block < l->blocks[a]; block++) {
        float *to = m->by[a] + block * others;

        memset(to, 0, (size_t)others * sizeof *to);
        for (int64_t i = 0; i < places_in(l, a, block); i++) {
            const float *from = l->largest[a] + c->order[a][block * l->block[a] + i] * others;

            for (int64_t k = 0; k < others; k++) {
                to[k] = from[k] > to[k] ? from[k] : to[k];
            }
        }
    }
}
