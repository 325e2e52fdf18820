/* SQuant (squant.h). */
#include "quantize/method.h"

static spry_status round_weights(const method_call *call, spry_error *error)
{
    return method_round(call, call->job->stages, error);
}

const method method_squant = {
    .facts = {"squant", "errors of each kernel and output channel cancel (needs no data)"},
    .round = round_weights};
