/* Any bytes as a recipe: what is accepted must come back from its own JSON, and be applicable or
 * refused. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "spry/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t pixels[5 * 7 * 3];
    const int64_t picture_shape[] = {5, 7, 3};
    const int64_t shape[] = {-1, 3, -1, 4};
    spry_preprocess recipe;
    spry_preprocess again;
    spry_error error;
    spry_tensor *image = NULL;
    spry_tensor *input = NULL;
    char text[1024];

    if (spry_preprocess_parse_json((const char *)data, size, "input", &recipe, &error) != SPRY_OK) {
        return 0;
    }
    if (spry_preprocess_format_json(&recipe, text, sizeof text, &error) != SPRY_OK ||
        spry_preprocess_parse_json(text, strlen(text), "again", &again, &error) != SPRY_OK ||
        again.scale != recipe.scale || again.resize_width != recipe.resize_width) {
        __builtin_trap();
    }
    memset(pixels, 77, sizeof pixels);
    if (recipe.resize_shorter < 512 && recipe.resize_height < 512 && recipe.resize_width < 512 &&
        spry_tensor_wrap(NULL, SPRY_DTYPE_U8, 3, picture_shape, pixels, sizeof pixels, &image,
                         &error) == SPRY_OK &&
        spry_preprocess_image(NULL, &recipe, image, SPRY_DTYPE_F32, 4, shape, &input, &error) ==
            SPRY_OK) {
        spry_tensor_destroy(input);
    }
    spry_tensor_destroy(image);
    return 0;
}
