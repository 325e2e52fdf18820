/* Any bytes as a picture: decoded, and small ones prepared for a model. */
#include <stddef.h>
#include <stdint.h>

#include "spry/image.h"
#include "spry/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t shape[] = {1, 3, 8, 8};
    spry_preprocess recipe = spry_preprocess_default();
    spry_error error;
    spry_tensor *image = NULL;
    spry_tensor *input = NULL;

    if (spry_image_decode(NULL, data, size, "input", &image, &error) == SPRY_OK &&
        spry_tensor_bytes(image) < (1 << 20) &&
        spry_preprocess_image(NULL, &recipe, image, SPRY_DTYPE_F32, 4, shape, &input, &error) !=
            SPRY_OK) {
        __builtin_trap(); /* every picture fits every model */
    }
    spry_tensor_destroy(input);
    spry_tensor_destroy(image);
    return 0;
}
