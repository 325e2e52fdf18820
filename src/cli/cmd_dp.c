/* spry dp: what training with noise spends of privacy, and the noise for what may be spent. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "train/privacy.h"

static const cli_option options[] = {
    {.name = "rate",
     .kind = CLI_NUMBER,
     .value = "Q",
     .lowest = 0,
     .highest = 1,
     .help = "chance of each sample to be in a batch: batch / samples"},
    {.name = "steps",
     .kind = CLI_INTEGER,
     .value = "N",
     .lowest = 1,
     .highest = 1e12,
     .help = "steps of training"},
    {.name = "delta",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "1e-5",
     .lowest = 0,
     .highest = 1,
     .help = "chance that the protection fails, well below 1 / samples"},
    {.name = "noise",
     .kind = CLI_NUMBER,
     .value = "X",
     .lowest = 0,
     .highest = 1e6,
     .help = "noise in units of the longest gradient of a sample (for epsilon)"},
    {.name = "epsilon",
     .kind = CLI_NUMBER,
     .value = "X",
     .lowest = 0,
     .highest = 1e6,
     .help = "what may be spent (for noise)"},
    {0},
};

typedef struct account {
    privacy_phase phase;
    double delta;
    privacy_spent spent;
} account;

static spry_status need(const cli_call *call, const char *option, const char *remedy,
                        spry_error *error)
{
    return cli_given(call, option)
               ? SPRY_OK
               : spry_fail(error, SPRY_USAGE, option, remedy, "it is not given");
}

/* What is asked for, from the rest. */
static spry_status work_out(const cli_call *call, account *a, spry_error *error)
{
    const char *what = call->argument_count > 0 ? call->arguments[0] : "";
    bool wants_noise = strcmp(what, "noise") == 0;
    spry_status status = SPRY_OK;

    if (!wants_noise && strcmp(what, "epsilon") != 0) {
        return spry_fail(error, SPRY_USAGE, what, "say epsilon or noise",
                         "what is to be worked out is not said");
    }
    status = need(call, "rate", "for example --rate 0.01", error);
    if (status == SPRY_OK) {
        status = need(call, "steps", "for example --steps 10000", error);
    }
    if (status == SPRY_OK) {
        status = wants_noise ? need(call, "epsilon", "for example --epsilon 4", error)
                             : need(call, "noise", "for example --noise 1.1", error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    *a = (account){.phase = {.rate = cli_number(call, "rate"),
                             .noise = cli_number(call, "noise"),
                             .steps = cli_integer(call, "steps")},
                   .delta = cli_number(call, "delta")};
    if (wants_noise) {
        status = privacy_noise_for(a->phase.rate, a->phase.steps, a->delta,
                                   cli_number(call, "epsilon"), &a->phase.noise, error);
    }
    return status == SPRY_OK
               ? privacy_spend(&a->phase, 1, a->delta, PRIVACY_MOST_ORDER, &a->spent, error)
               : status;
}

static spry_status tell_json(const cli_call *call, const account *a, spry_error *error)
{
    output_document document;
    json_writer *json = &document.json;

    output_begin(&document, call);
    if (isfinite(a->spent.epsilon)) {
        json_write_f64(json, "epsilon", a->spent.epsilon);
    } else {
        json_write_null(json, "epsilon");
    }
    json_write_f64(json, "delta", a->delta);
    json_write_f64(json, "noise", a->phase.noise);
    json_write_f64(json, "rate", a->phase.rate);
    json_write_i64(json, "steps", a->phase.steps);
    json_write_i64(json, "order", a->spent.order);
    return output_end(&document, call, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    account a;
    spry_status status = work_out(call, &a, error);

    if (status != SPRY_OK || cli_given(call, "json")) {
        return status == SPRY_OK ? tell_json(call, &a, error) : status;
    }
    if (!isfinite(a.spent.epsilon)) {
        (void)fprintf(call->out, "epsilon  no bound: without noise nothing is protected\n");
        return SPRY_OK;
    }
    (void)fprintf(call->out,
                  "epsilon  %.6f\ndelta    %g\nnoise    %.6f\nrate     %g\nsteps    %" PRId64 "\n",
                  a.spent.epsilon, a.delta, a.phase.noise, a.phase.rate, a.phase.steps);
    if (a.spent.at_edge && !cli_given(call, "quiet")) {
        (void)fprintf(stderr,
                      "spry: note: the bound is that of order %d, at the end of those tried; the "
                      "true one may be lower\n",
                      a.spent.order);
    }
    return SPRY_OK;
}

const cli_command cmd_dp = {
    .name = "dp",
    .summary = "account for the privacy that training with noise spends",
    .arguments = "epsilon|noise",
    .most_arguments = 1,
    .examples = {"spry dp epsilon --rate 0.01 --noise 1.1 --steps 10000",
                 "spry dp noise --rate 0.01 --epsilon 4 --steps 10000 --delta 1e-6"},
    .description =
        "An onlooker of weights that were trained with spry train --dp-noise learns of any one "
        "sample no more than (epsilon, delta) says. epsilon works that out from the noise, noise "
        "the least that keeps within an epsilon.\n\n"
        "It holds for samples that are drawn independently, each with the same chance, and for "
        "adding or removing one sample.",
    .options = options,
    .run = run,
};
