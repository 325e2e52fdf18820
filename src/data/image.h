/* Decoding pictures into tensors on the stack or in an arena. */
#ifndef DATA_IMAGE_H
#define DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "spry/image.h"
#include "tensor/tensor.h"

/* Files of pictures are read whole; larger ones are no photographs. */
#define IMAGE_FILE_BYTES ((uint64_t)1 << 30)

/* As spry_image_decode and spry_image_load into a tensor that tensor_fini releases. */
SPRY_MUST_USE spry_status image_decode(const spry_allocator *allocator, const uint8_t *bytes,
                                       size_t size, const char *where, tensor *image,
                                       spry_error *error);
SPRY_MUST_USE spry_status image_load(const spry_allocator *allocator, const char *path,
                                     tensor *image, spry_error *error);

#endif
