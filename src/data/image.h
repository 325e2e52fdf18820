/* Decoding pictures into tensors on the stack or in an arena. */
#ifndef DATA_IMAGE_H
#define DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "spry/image.h"
#include "tensor/tensor.h"

/* Files of pictures are read whole; larger ones are no photographs. */
#define IMAGE_FILE_BYTES ((uint64_t)1 << 30)

/* Brightness of a red, green and blue pixel: ITU-R 601 weights in 16-bit fixed point. */
static inline uint8_t image_gray(const uint8_t *pixel)
{
    return (uint8_t)((19595u * pixel[0] + 38470u * pixel[1] + 7471u * pixel[2] + 0x8000u) >> 16);
}

/* As spry_image_decode and spry_image_load into a tensor that tensor_fini releases. */
SPRY_MUST_USE spry_status image_decode(const spry_allocator *allocator, const uint8_t *bytes,
                                       size_t size, const char *where, tensor *image,
                                       spry_error *error);
SPRY_MUST_USE spry_status image_load(const spry_allocator *allocator, const char *path,
                                     tensor *image, spry_error *error);

/* A picture as a file has it. */
typedef struct image_bytes {
    uint8_t *data;
    size_t size, capacity;
} image_bytes;

/* As PNG; `where` names it in errors. Undo with image_bytes_release.
 * Fails with SPRY_USAGE (not u8 [H,W], [H,W,1] or [H,W,3]), SPRY_LIMIT. */
SPRY_MUST_USE spry_status image_encode_png(const spry_allocator *allocator,
                                           const spry_tensor *image, const char *where,
                                           image_bytes *encoded, spry_error *error);
void image_bytes_release(const spry_allocator *allocator, image_bytes *encoded);

#endif
