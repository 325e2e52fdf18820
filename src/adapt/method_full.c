/* Everything is trained. */
#include "adapt/census.h"
#include "adapt/method.h"

static spry_status take(void *context, int32_t node, int32_t port, int32_t id, spry_error *error)
{
    rewrite *job = context;
    spry_status status = rewrite_train(job, id, error);

    (void)port;
    return status == SPRY_OK ? rewrite_mention(job, job->g->nodes[node].outputs[0], error) : status;
}

static spry_status apply(rewrite *job, spry_error *error)
{
    return census_walk(job->g, take, job, error);
}

const adapt_method adapt_method_full = {
    .facts = {.name = "full", .summary = "all weights, as a yardstick"},
    .apply = apply,
    .needs_no_head = true,
};
