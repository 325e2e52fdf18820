/* Any bytes as a model: read, list what is unsupported, and clean up what was accepted. Nothing may
 * crash, leak or hang. */
#include "model/pass.h"
#include "spry/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every pass over a copy of the graph, with a ceiling so that inputs which describe huge tensors
 * end soon. */
static void clean_up(const spry_model *m)
{
    enum { CEILING = 64 << 20 };
    arena memory;
    graph *g = NULL;
    pass_context passes = {.m = m, .fold_dequantize = true};
    spry_status status;

    arena_init(&memory, NULL, CEILING);
    status = graph_copy(m->main, &memory, NULL, &g, NULL);
    if (status == SPRY_OK) {
        status = pass_run_all(g, &passes, NULL);
    }
    (void)status;
    arena_fini(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spry_model *m = NULL;
    spry_error error = {0};
    int64_t count;

    if (spry_model_parse(NULL, data, size, NULL, &m, &error) != SPRY_OK) {
        return 0;
    }
    if (spry_model_unsupported(m, NULL, NULL, &count, &error) == SPRY_OK && count == 0) {
        clean_up(m);
    }
    spry_model_destroy(m);
    return 0;
}
