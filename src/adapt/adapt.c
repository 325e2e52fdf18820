/* The order of steps: look, renew the head, apply the method, record. */
#include <math.h>
#include <string.h>

#include "adapt/census.h"
#include "adapt/method.h"
#include "adapt/record.h"
#include "model/match.h"
#include "ops/skim.h"

static const double MOST_BIAS = 1000.0;

enum {
    MOST_WIDTH = 4096,
    MOST_CLASSES = 1 << 20,
    DEFAULT_RANK = 8,
    DEFAULT_PROMPTS = 10,
    DEFAULT_BLOCK = 32
};

static const double DEFAULT_ALPHA = 16.0;

spry_adapt_options spry_adapt_options_default(void)
{
    return (spry_adapt_options){.struct_size = sizeof(spry_adapt_options),
                                .method = "lora",
                                .rank = DEFAULT_RANK,
                                .alpha = DEFAULT_ALPHA,
                                .prompts = DEFAULT_PROMPTS,
                                .block = DEFAULT_BLOCK};
}

static spry_status check_options(const spry_adapt_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_adapt_options_default()",
                         "not initialised");
    }
    if (adapt_method_find(o->method) == NULL) {
        return spry_fail(error, SPRY_USAGE, o->method != NULL ? o->method : "method",
                         "use lora, adapter, bias, prompt, head, full, lasnet or block-skim",
                         "no such method");
    }
    if (o->rank < 1 || o->rank > MOST_WIDTH) {
        return spry_fail(error, SPRY_USAGE, "rank", "1 to 4096", "a rank of %d", (int)o->rank);
    }
    if (!(o->alpha > 0.0) || !isfinite(o->alpha)) {
        return spry_fail(error, SPRY_USAGE, "alpha", "a number above 0", "an alpha of %g",
                         o->alpha);
    }
    if (o->prompts < 0 || o->prompts > MOST_WIDTH) {
        return spry_fail(error, SPRY_USAGE, "prompts", "0 to 4096", "%d prompts", (int)o->prompts);
    }
    if (!(o->masker_bias >= 0.0 && o->masker_bias <= MOST_BIAS)) {
        return spry_fail(error, SPRY_USAGE, "masker bias", "0 (as usual) to 1000", "a bias of %g",
                         o->masker_bias);
    }
    if (o->block < 4 || o->block > SKIM_MOST_BLOCK || o->block % 4 != 0) {
        return spry_fail(error, SPRY_USAGE, "block", "a multiple of 4 from 4 to 256",
                         "blocks of %d tokens", (int)o->block);
    }
    if (o->classes != 0 && (o->classes < 2 || o->classes > MOST_CLASSES)) {
        return spry_fail(error, SPRY_USAGE, "classes", "2 to 1048576, or 0: as they are",
                         "%lld classes", (long long)o->classes);
    }
    return SPRY_OK;
}

/* Neither adapted nor quantized already. */
static spry_status check_source(const spry_model *m, spry_error *error)
{
    static const char *const integers[] = {"QuantizeLinear", "DequantizeLinear", "QLinearConv",
                                           "QLinearMatMul",  "ConvInteger",      "MatMulInteger"};

    if (record_text(m) != NULL) {
        return spry_fail(error, SPRY_BAD_INPUT, m->path,
                         "merge it first (--merge), or start from its base",
                         "the model is adapted already");
    }
    for (int32_t i = 0; i < m->main->node_count; i++) {
        for (size_t k = 0; k < sizeof integers / sizeof integers[0]; k++) {
            if (graph_node_is(&m->main->nodes[i], integers[k])) {
                return spry_fail(error, SPRY_BAD_INPUT, m->path,
                                 "adapt the float model that it was made of, then quantize",
                                 "the model is quantized");
            }
        }
    }
    return SPRY_OK;
}

spry_status adapt_method_run(rewrite *job, spry_error *error)
{
    const adapt_method *method = adapt_method_find(job->options.method);
    spry_status status = head_renew(job, error);

    if (status == SPRY_OK && method->apply != NULL) {
        status = method->apply(job, error);
    }
    if (status == SPRY_OK && !(method->needs_no_head && job->found.head == GRAPH_NONE)) {
        status = head_train(job, error);
    }
    return status == SPRY_OK ? rewrite_finish(job, error) : status;
}

spry_status spry_adapt(const spry_model *source, const spry_adapt_options *options,
                       spry_model **adapted, spry_adaptation **facts, spry_error *error)
{
    char base[SHA256_TEXT_SIZE];
    rewrite job;
    spry_status status = check_options(options, error);

    *adapted = NULL;
    *facts = NULL;
    if (status == SPRY_OK) {
        status = check_source(source, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    status = rewrite_open(&job, source, options, error);
    if (status == SPRY_OK) {
        status = census_hash(source, base, error);
    }
    if (status == SPRY_OK) {
        status = adapt_method_run(&job, error);
    }
    if (status == SPRY_OK) {
        status = record_create(&job, base, facts, error);
    }
    if (status == SPRY_OK) {
        status = record_attach(job.m, *facts, error);
    }
    if (status == SPRY_OK) {
        *adapted = job.m;
        job.m = NULL;
    } else {
        spry_adaptation_destroy(*facts);
        *facts = NULL;
    }
    rewrite_close(&job);
    return status;
}
