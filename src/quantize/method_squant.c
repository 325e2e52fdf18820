/* SQuant (squant.h). */
#include "quantize/method.h"

static spry_status round_weights(const method_call *call, spry_error *error)
{
    return squant_round(&call->weights, &call->grid, call->stages, call->allocator, call->team,
                        call->report, error);
}

const method method_squant = {
    {"squant", "errors of each kernel and output channel cancel (needs no data)"}, round_weights};
