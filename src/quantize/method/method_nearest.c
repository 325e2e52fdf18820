/* Rounding to the nearest code: what the others are measured against. */
#include "quantize/method/method.h"

static spry_status round_weights(const method_call *call, spry_error *error)
{
    return method_round(call, SQUANT_E, error);
}

const method method_nearest = {.facts = {"nearest", "each weight to its nearest code"},
                               .round = round_weights};
