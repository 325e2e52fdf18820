/* Pictures as tensors: u8[H,W,C], C = 1 (gray) or 3 (red, green, blue).
 *
 *     spry_tensor *picture = NULL;
 *     spry_status status = spry_image_load(NULL, "cat.jpg", &picture, &error);
 *
 * JPEG, PNG, WebP, PGM and PPM, told apart by their first bytes. Transparency is dropped, palettes
 * are expanded, 16 bits reduced to 8; colour profiles and EXIF rotation are ignored. */
#ifndef SPRY_IMAGE_H
#define SPRY_IMAGE_H

#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fails with SPRY_IO (cannot be opened), SPRY_BAD_INPUT (not an image, damaged, cut off),
 * SPRY_UNSUPPORTED (CMYK, animation), SPRY_LIMIT (pixels, JPEG scans, memory). */
SPRY_API SPRY_MUST_USE spry_status spry_image_load(const spry_allocator *allocator,
                                                   const char *path, spry_tensor **image,
                                                   spry_error *error);

/* As spry_image_load, from `size` bytes in memory; `where` names them in errors. */
SPRY_API SPRY_MUST_USE spry_status spry_image_decode(const spry_allocator *allocator,
                                                     const void *bytes, size_t size,
                                                     const char *where, spry_tensor **image,
                                                     spry_error *error);

/* Writes a u8 tensor [H,W], [H,W,1] or [H,W,3] as PNG, replacing `path` atomically.
 * Fails with SPRY_USAGE (type, shape), SPRY_IO, SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_image_save_png(const spry_tensor *image, const char *path,
                                                       spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
