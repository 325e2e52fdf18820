/* Any bytes as a safetensors file: every tensor is read. */
#include <stddef.h>
#include <stdint.h>

#include "tensor/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spry_error error;
    safetensors *file = NULL;

    if (safetensors_open(NULL, data, size, NULL, "input", &file, &error) == SPRY_OK) {
        for (int32_t i = 0; i < safetensors_count(file); i++) {
            tensor t;

            if (safetensors_read(file, i, &t, &error) == SPRY_OK) {
                tensor_fini(&t);
            }
        }
    }
    safetensors_close(file);
    return 0;
}
