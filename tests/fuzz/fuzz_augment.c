/* Any text as augmentation: what is accepted must be applicable to pictures, or to numbers, of any
 * size. The first three bytes are the size. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "data/augment.h"

enum { MOST_TEXT = 256, MOST_SIDE = 12 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t pixels[MOST_SIDE * MOST_SIDE * 3];
    float numbers[MOST_SIDE];
    char text[MOST_TEXT];
    augment a;
    spry_error error;
    tensor t;
    tensor n;

    if (size < 3 || size - 3 >= sizeof text) {
        return 0;
    }
    memcpy(text, data + 3, size - 3);
    text[size - 3] = '\0';
    if (augment_parse(text, &a, &error) != SPRY_OK) {
        return 0;
    }
    {
        const int64_t shape[] = {1 + data[0] % MOST_SIDE, 1 + data[1] % MOST_SIDE,
                                 data[2] % 2 == 0 ? 1 : 3};
        spry_status made = tensor_init(&t, SPRY_DTYPE_U8, 3, shape, pixels, &error);
        spry_status also = tensor_init(&n, SPRY_DTYPE_F32, 1, shape, numbers, &error);

        if (made != SPRY_OK || also != SPRY_OK) {
            __builtin_trap();
        }
    }
    memset(pixels, data[2], sizeof pixels);
    memset(numbers, 0, sizeof numbers);
    if ((augment_check(&a, true, &error) == SPRY_OK) !=
            (augment_apply(&a, NULL, data[0], data[1], data[2], true, &t, &error) == SPRY_OK) ||
        (augment_check(&a, false, &error) == SPRY_OK) !=
            (augment_apply(&a, NULL, data[0], data[1], data[2], false, &n, &error) == SPRY_OK)) {
        __builtin_trap();
    }
    return 0;
}
