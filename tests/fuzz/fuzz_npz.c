/* Any bytes as an NPZ archive: every entry is read. */
#include <stddef.h>
#include <stdint.h>

#include "tensor/npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spry_error error;
    npz *archive = NULL;

    if (npz_open(NULL, data, size, "input", &archive, &error) == SPRY_OK) {
        for (int32_t i = 0; i < npz_count(archive); i++) {
            tensor t;

            if (npz_read(archive, i, &t, &error) == SPRY_OK) {
                tensor_fini(&t);
            }
        }
    }
    npz_close(archive);
    return 0;
}
