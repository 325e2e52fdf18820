/* Any bytes as the description of a machine: values that are taken lie in their ranges. */
#include <stddef.h>
#include <stdint.h>

#include "tune/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target *t;
    spry_error error = {0};
    double value = 0;
    int64_t count = 0;
    bool flag;
    const char *word;

    if (target_parse(NULL, (const char *)data, size, "input", &t, &error) != SPRY_OK) {
        return 0;
    }
    for (int unit = 0; unit < UNIT_COUNT; unit++) {
        if (target_quantity(t, "a.b", (quantity_unit)unit, 1, 1e12, &value, &error) == SPRY_OK &&
            !(value >= 1 && value <= 1e12)) {
            __builtin_trap();
        }
    }
    if (target_count(t, "a.0", 1, 7, &count, &error) == SPRY_OK && (count < 1 || count > 7)) {
        __builtin_trap();
    }
    (void)target_has(t, "compute.clock");
    (void)target_length(t, "a");
    if (target_set(t, "memory.dram.bandwidth=3 GB/s", &error) != SPRY_OK ||
        target_quantity(t, "memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1, 1e15, &value,
                        &error) != SPRY_OK ||
        value != 3e9) {
        __builtin_trap();
    }
    if (target_flag(t, "a.flag", &flag, &error) != SPRY_OK ||
        target_text(t, "a.text", &word, &error) != SPRY_OK || target_finish(t, &error) != SPRY_OK) {
        /* Refused, as most are. */
    }
    target_destroy(t);
    return 0;
}
