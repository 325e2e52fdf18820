/* How zeros are spread over layers. */
#include <string.h>

#include "base/alloc.h"
#include "sparsify/layers.h"

static const double most_zeros = 0.98; /* of a layer */

/* Numbers of layers that may change. */
static int64_t open_numbers(const sparsify_layers *l)
{
    int64_t count = 0;

    for (int32_t i = 0; i < l->count; i++) {
        count += l->list[i].stays ? 0 : l->list[i].count;
    }
    return count;
}

/* The mean square of the rest of the layer is what a unit is weighed against: what is lost of what
 * is still there (LAMP, arXiv 2010.07611). Scores are those of one layer, sorted by energy. */
static void weigh(sparsify_score *scores, int64_t count)
{
    double rest = 0.0;

    for (int64_t i = count; i-- > 0;) {
        rest += scores[i].score;
        scores[i].score = rest > 0.0 ? scores[i].score / rest : 0.0;
    }
}

static spry_status spread_globally(sparsify_layers *l, double wanted, spry_error *error)
{
    arena memory;
    sparsify_score *scores;
    int32_t *room;
    int64_t units = 0;
    int64_t filled = 0;
    double gone = 0.0;

    for (int32_t i = 0; i < l->count; i++) {
        units += l->list[i].stays ? 0 : l->list[i].units;
    }
    arena_init(&memory, NULL, SIZE_MAX);
    scores = arena_array(&memory, (size_t)units, sizeof *scores);
    room = arena_array(&memory, (size_t)l->most_numbers, sizeof *room);
    if (scores == NULL || room == NULL) {
        arena_fini(&memory);
        return alloc_failed(error, (size_t)units * sizeof *scores);
    }
    for (int32_t i = 0; i < l->count; i++) {
        const sparsify_layer *layer = &l->list[i];
        const int32_t *places = sparsify_rank(layer, layer->data, room);
        int64_t first = filled;

        for (int32_t u = 0; u < layer->units && !layer->stays; u++) {
            int64_t count;
            double energy = sparsify_unit_energy(layer, layer->data, places, u, &count);

            scores[filled++] = (sparsify_score){energy, i, u};
        }
        sparsify_sort(scores + first, filled - first);
        weigh(scores + first, filled - first);
    }
    sparsify_sort(scores, filled);
    for (int64_t i = 0; i < filled && gone < wanted; i++) {
        sparsify_layer *layer = &l->list[scores[i].layer];
        int64_t count;

        (void)sparsify_unit_energy(layer, layer->data, NULL, scores[i].unit, &count);
        if (layer->ratio + (double)count / (double)layer->count <= most_zeros) {
            layer->ratio += (double)count / (double)layer->count;
            gone += (double)count;
        }
    }
    arena_fini(&memory);
    return SPRY_OK;
}

static spry_status take_shares(sparsify_layers *l, const spry_sparsify_options *o,
                               spry_error *error)
{
    for (int32_t k = 0; k < o->share_count; k++) {
        sparsify_layer *found = NULL;

        for (int32_t i = 0; i < l->count; i++) {
            found = strcmp(l->list[i].name, o->shares[k].name) == 0 ? &l->list[i] : found;
        }
        if (found == NULL || !(o->shares[k].ratio >= 0.0 && o->shares[k].ratio < 1.0)) {
            return spry_fail(error, SPRY_USAGE, o->shares[k].name, "0 to below 1, for a weight",
                             found == NULL ? "there is no such weight"
                                           : "its share is out of range");
        }
        found->ratio = o->shares[k].ratio;
        found->stays = o->shares[k].ratio == 0.0;
    }
    return SPRY_OK;
}

spry_status sparsify_spread(sparsify_layers *l, const spry_sparsify_options *options,
                            spry_error *error)
{
    bool is_global = strcmp(options->spread, "global") == 0;
    double wanted = options->ratio * (double)l->numbers;
    double open = (double)open_numbers(l);

    if (!is_global && strcmp(options->spread, "uniform") != 0) {
        return spry_fail(error, SPRY_USAGE, "spread", "uniform or global",
                         "zeros cannot be spread '%s'", options->spread);
    }
    if (options->share_count > 0) {
        return take_shares(l, options, error);
    }
    if (l->method->unit == NULL) { /* n:m says how many */
        for (int32_t i = 0; i < l->count; i++) {
            l->list[i].ratio = l->list[i].stays ? 0.0 : 1.0 - (double)l->keep / (double)l->of;
        }
        return SPRY_OK;
    }
    if (wanted > most_zeros * open) {
        return spry_fail(error, SPRY_USAGE, "ratio", "ask for less, or let more layers change",
                         "layers that may change hold %.1f %% of the numbers only",
                         100.0 * open / (double)l->numbers);
    }
    for (int32_t i = 0; i < l->count && !is_global; i++) {
        l->list[i].ratio = l->list[i].stays || open == 0.0 ? 0.0 : wanted / open;
    }
    return is_global ? spread_globally(l, wanted, error) : SPRY_OK;
}
