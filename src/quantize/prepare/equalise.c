/* Cross-layer equalisation (arXiv 1906.04721): of layers that follow each other (layer_pairs.h),
 * channel c of the first is divided by t and the same input of the second multiplied by it. With t
 * = sqrt(range of the first / range of the second) both ranges become equal, so that no channel is
 * left with a few codes only. Layers have several neighbours: all pairs are visited until nothing
 * changes. */
#include <math.h>

#include "quantize/prepare/layer_pairs.h"
#include "quantize/prepare/preparation.h"

enum { MOST_SWEEPS = 30 };

static const double SETTLED = 1e-3; /* |log t| */

/* Returns the largest |log t|. */
static double equalise_pair(layer_pairs *found, const layer_pair *pair)
{
    const pair_layer *first = &found->layers[pair->first];
    double most = 0.0;

    for (int64_t c = 0; c < first->w.outputs; c++) {
        double before = layer_pairs_output(first, c);
        double behind = layer_pairs_input(&found->layers[pair->second], c);
        double t = sqrt(before / behind);

        if (before > 0.0 && behind > 0.0 && isfinite(t) && t > 0.0) {
            layer_pairs_share(found, pair, c, t);
            most = fmax(most, fabs(log(t)));
        }
    }
    return most;
}

static spry_status equalise(quantize_job *job, spry_error *error)
{
    layer_pairs found;
    double most = INFINITY;
    spry_status status = layer_pairs_find(job->m->main, &found, error);

    for (int sweep = 0; status == SPRY_OK && sweep < MOST_SWEEPS && most > SETTLED; sweep++) {
        most = 0.0;
        for (int32_t i = 0; i < found.count; i++) {
            most = fmax(most, equalise_pair(&found, &found.list[i]));
        }
    }
    if (status == SPRY_OK) {
        status = layer_pairs_write(&found, error);
    }
    layer_pairs_release(&found);
    return status;
}

const preparation preparation_equalise = {
    .facts = {"equalise", "ranges of channels shared between layers that follow each other"},
    .run = equalise};
