/* Any bytes as an NPY file: read, and what could be read is written and read again. */
#include <stddef.h>
#include <stdint.h>

#include "tensor/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static spry_status count_bytes(void *context, const void *bytes, size_t size, spry_error *error)
{
    size_t *total = context;

    (void)bytes;
    (void)error;
    *total += size;
    return SPRY_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spry_error error;
    size_t expected = 0;
    size_t written = 0;
    tensor t;

    if (npy_read(NULL, data, size, NULL, "input", &t, &error) == SPRY_OK) {
        if (npy_size(&t, &expected, &error) == SPRY_OK && expected < (1 << 24) &&
            (npy_write(&t, count_bytes, &written, &error) != SPRY_OK || written != expected)) {
            __builtin_trap();
        }
        tensor_fini(&t);
    }
    return 0;
}
