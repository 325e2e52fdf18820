/* Rounding to the nearest code: what the others are measured against. */
#include "quantize/method.h"

static spry_status round_weights(const method_call *call, spry_error *error)
{
    return squant_round(&call->weights, &call->grid, SQUANT_E, call->allocator, call->team,
                        call->report, error);
}

const method method_nearest = {{"nearest", "each weight to its nearest code"}, round_weights};
