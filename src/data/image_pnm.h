/* Portable graymaps and pixmaps (netpbm: P2, P3, P5, P6): a header in text, then bare pixels. */
#ifndef DATA_IMAGE_PNM_H
#define DATA_IMAGE_PNM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct image_pnm {
    int64_t height;
    int64_t width;
    int64_t channels; /* 1 or 3 */
    int64_t most;     /* the value of white, 1 to 65535 */
    bool plain;       /* values are written as decimal numbers */
    size_t data;      /* where the pixels begin */
} image_pnm;

/* Is this the beginning of such a picture? */
bool image_is_pnm(const uint8_t *bytes, size_t size);

/* Reads the header of such a picture. NULL when it is intact, or what is wrong with it; then
 * neither of the sizes above is to be used. They are not negative; their product may overflow. */
const char *image_pnm_open(const uint8_t *bytes, size_t size, image_pnm *p);

/* Scales the values to 0 to 255, into height x width x channels bytes, for which the caller has
 * found room. NULL, or what is wrong. */
const char *image_pnm_read(const uint8_t *bytes, size_t size, const image_pnm *p, uint8_t *pixels);

#endif
