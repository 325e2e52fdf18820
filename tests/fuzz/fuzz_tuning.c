/* Any bytes as a plan of blocks: what is taken is within its limits and can be written. */
#include <stddef.h>
#include <stdint.h>

#include "spry/tune.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spry_tuning *t = NULL;
    spry_error error = {0};
    const spry_tune_row *rows;
    int32_t count;

    if (spry_tuning_parse(NULL, (const char *)data, size, "input", &t, &error) != SPRY_OK) {
        if (t != NULL || error.code == SPRY_OK) {
            __builtin_trap();
        }
        return 0;
    }
    count = spry_tuning_rows(t, &rows);
    if (spry_tuning_blocks(t)->count > count || spry_tuning_totals(t)->threads < 1) {
        __builtin_trap();
    }
    for (int32_t i = 0; i < count; i++) {
        const spry_block *b = rows[i].block;

        if (b->layer_count < 1 || b->layer_count > SPRY_BLOCK_MOST_LAYERS || b->threads < 0 ||
            b->threads > spry_tuning_totals(t)->threads || b->strip < 0 || b->chunk < 0 ||
            !(rows[i].predicted_ms >= 0)) {
            __builtin_trap();
        }
        for (int32_t k = 0; k < b->layer_count; k++) {
            if (b->layers[k] == NULL) {
                __builtin_trap();
            }
        }
    }
    spry_tuning_destroy(t);
    return 0;
}
