/* Which head keeps how much: where the next key is worth least, it is dropped first. */
#include <math.h>

#include "inspect/energon.h"

enum { HALVINGS = 100 };

/* The choice of one head at that price of keys. */
static int32_t choose_one(const energon_choice *of, int32_t choices, double price)
{
    int32_t best = 0;

    for (int32_t c = 1; c < choices; c++) {
        double gain = of[best].error + price * of[best].kept - of[c].error - price * of[c].kept;

        best = gain > 0.0 ? c : best;
    }
    return best;
}

static double choose_all(const energon_choice *curves, int32_t heads, int32_t choices, double price,
                         int32_t *chosen)
{
    double kept = 0.0;

    for (int32_t h = 0; h < heads; h++) {
        chosen[h] = choose_one(curves + h * choices, choices, price);
        kept += curves[h * choices + chosen[h]].kept;
    }
    return kept / heads;
}

double energon_allocate(const energon_choice *curves, int32_t heads, int32_t choices, double keep,
                        int32_t *chosen)
{
    /* Prices from nothing to more than any error. */
    double low = log(1e-12);
    double high = log(1e12);

    for (int i = 0; i < HALVINGS; i++) {
        double middle = (low + high) / 2.0;

        *(choose_all(curves, heads, choices, exp(middle), chosen) > keep ? &low : &high) = middle;
    }
    return choose_all(curves, heads, choices, exp(high), chosen);
}
