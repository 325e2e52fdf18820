/* Decoders for JPEG, PNG, WebP and netpbm pictures, each with its size looked at before anything is
 * unpacked. */
#include "data/image.h"

#include <png.h>
#include <string.h>
#include <turbojpeg.h>
#include <webp/decode.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "data/image_pnm.h"

/* One picture being decoded. */
typedef struct job {
    const spry_allocator *allocator;
    const uint8_t *bytes;
    size_t size;
    const char *where;
    tensor *image;
    spry_error *error;
} job;

static spry_status damaged(const job *j, const char *format, const char *detail)
{
    return spry_fail(j->error, SPRY_BAD_INPUT, j->where, "replace the file or leave it out",
                     "is not an intact %s picture: %s", format, detail);
}

/* Room for height x width x channels, not cleared: the decoder fills it. */
static spry_status make_image(const job *j, int64_t height, int64_t width, int64_t channels)
{
    const int64_t shape[] = {height, width, channels};
    tensor layout;
    spry_status status;

    if (height <= 0 || width <= 0) {
        return damaged(j, "usable", "it has no pixels");
    }
    if (height > LIMIT_IMAGE_PIXELS / width) {
        return spry_fail(j->error, SPRY_LIMIT, j->where, "scale the picture down",
                         "has %lld x %lld pixels; at most %d are accepted", (long long)width,
                         (long long)height, LIMIT_IMAGE_PIXELS);
    }
    status = tensor_init(&layout, SPRY_DTYPE_U8, 3, shape, NULL, j->error);
    if (status == SPRY_OK) {
        status = tensor_init_bytes(j->image, j->allocator, (int64_t)layout.bytes, j->error);
    }
    if (status == SPRY_OK) {
        layout.data = j->image->data;
        layout.storage = j->image->storage;
        *j->image = layout;
    }
    return status;
}

/* --- JPEG ------------------------------------------------------------------------------------ */

/* Scans of a JPEG file: a progressive picture may repeat them without end. */
static int count_scans(const uint8_t *bytes, size_t size)
{
    int scans = 0;

    for (size_t i = 0; i + 1 < size; i++) {
        scans += bytes[i] == 0xff && bytes[i + 1] == 0xda;
    }
    return scans;
}

/* Complaints of the decoder about pictures that are whole nevertheless. Its error code does not
 * tell them from fatal ones that come after a warning; the text is always that of the last. */
static bool is_harmless(const char *complaint)
{
    static const char *const harmless[] = {"extraneous bytes before marker",
                                           "Unknown Adobe color transform",
                                           "Invalid SOS parameters for sequential JPEG"};

    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        if (strstr(complaint, harmless[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static spry_status unpack_jpeg(const job *j, tjhandle decoder, int width, int height, bool gray)
{
    const int flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;
    int failed = tjDecompress2(decoder, j->bytes, (unsigned long)j->size, j->image->data, width, 0,
                               height, gray ? TJPF_GRAY : TJPF_RGB, flags);

    return failed == 0 || is_harmless(tjGetErrorStr2(decoder))
               ? SPRY_OK
               : damaged(j, "JPEG", tjGetErrorStr2(decoder));
}

static spry_status decode_jpeg(const job *j)
{
    tjhandle decoder;
    int width = 0;
    int height = 0;
    int sampling = 0;
    int space = 0;
    spry_status status;

    if (count_scans(j->bytes, j->size) > LIMIT_JPEG_SCANS) {
        return spry_fail(j->error, SPRY_LIMIT, j->where, "save the picture again",
                         "has more than %d scans", LIMIT_JPEG_SCANS);
    }
    decoder = tjInitDecompress();
    if (decoder == NULL) {
        return alloc_failed(j->error, 0);
    }
    if (tjDecompressHeader3(decoder, j->bytes, (unsigned long)j->size, &width, &height, &sampling,
                            &space) != 0 &&
        !is_harmless(tjGetErrorStr2(decoder))) {
        status = damaged(j, "JPEG", tjGetErrorStr2(decoder));
    } else if (space == TJCS_CMYK || space == TJCS_YCCK) {
        status = spry_fail(j->error, SPRY_UNSUPPORTED, j->where, "convert the picture to RGB",
                           "is a CMYK picture");
    } else if ((size_t)width * (size_t)height / 512 > j->size) {
        /* The shortest code of a block of 64 pixels has one bit. */
        status = damaged(j, "JPEG", "it is too short for its number of pixels");
    } else {
        status = make_image(j, height, width, space == TJCS_GRAY ? 1 : 3);
        if (status == SPRY_OK) {
            status = unpack_jpeg(j, decoder, width, height, space == TJCS_GRAY);
        }
    }
    (void)tjDestroy(decoder);
    return status;
}

/* --- PNG ------------------------------------------------------------------------------------- */

/* Removes the last of `channels` of every pixel in place. */
static void drop_alpha(uint8_t *pixels, size_t count, size_t channels)
{
    for (size_t i = 0; i < count; i++) {
        memmove(pixels + i * (channels - 1), pixels + i * channels, channels - 1);
    }
}

static spry_status unpack_png(const job *j, png_image *png)
{
    bool color = (png->format & PNG_FORMAT_FLAG_COLOR) != 0;
    bool alpha = (png->format & PNG_FORMAT_FLAG_ALPHA) != 0;
    int64_t channels = (color ? 3 : 1) + (alpha ? 1 : 0);
    int64_t shape[3] = {(int64_t)png->height, (int64_t)png->width, channels - (alpha ? 1 : 0)};
    tensor view;
    spry_status status = make_image(j, shape[0], shape[1], channels);

    if (status != SPRY_OK) {
        return status;
    }
    /* With an alpha channel asked for, libpng leaves the colours alone instead of blending. */
    png->format = (color ? PNG_FORMAT_FLAG_COLOR : 0u) | (alpha ? PNG_FORMAT_FLAG_ALPHA : 0u);
    if (png_image_finish_read(png, NULL, j->image->data, 0, NULL) == 0) {
        return damaged(j, "PNG", png->message);
    }
    if (alpha) {
        drop_alpha(j->image->data, (size_t)(shape[0] * shape[1]), (size_t)channels);
        status = tensor_init(&view, SPRY_DTYPE_U8, 3, shape, j->image->data, j->error);
        view.storage = j->image->storage;
        *j->image = view;
    }
    return status;
}

static spry_status decode_png(const job *j)
{
    png_image png;
    spry_status status;

    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&png, j->bytes, j->size) == 0) {
        status = damaged(j, "PNG", png.message);
    } else {
        png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
        status = unpack_png(j, &png);
    }
    png_image_free(&png);
    return status;
}

/* --- WebP ------------------------------------------------------------------------------------ */

static spry_status decode_webp(const job *j)
{
    WebPBitstreamFeatures features;
    spry_status status;

    if (WebPGetFeatures(j->bytes, j->size, &features) != VP8_STATUS_OK) {
        return damaged(j, "WebP", "its header cannot be read");
    }
    if (features.has_animation != 0) {
        return spry_fail(j->error, SPRY_UNSUPPORTED, j->where, "extract one picture",
                         "is an animation");
    }
    status = make_image(j, features.height, features.width, 3);
    if (status == SPRY_OK && WebPDecodeRGBInto(j->bytes, j->size, j->image->data, j->image->bytes,
                                               3 * features.width) == NULL) {
        status = damaged(j, "WebP", "its pixels cannot be unpacked");
    }
    return status;
}

/* --- netpbm ---------------------------------------------------------------------------------- */

static spry_status decode_pnm(const job *j)
{
    image_pnm p;
    const char *problem = image_pnm_open(j->bytes, j->size, &p);
    spry_status status;

    if (problem != NULL) {
        return damaged(j, "netpbm", problem);
    }
    status = make_image(j, p.height, p.width, p.channels);
    if (status == SPRY_OK) {
        problem = image_pnm_read(j->bytes, j->size, &p, j->image->data);
    }
    return problem != NULL ? damaged(j, "netpbm", problem) : status;
}

/* --- all ------------------------------------------------------------------------------------- */

spry_status image_decode(const spry_allocator *allocator, const uint8_t *bytes, size_t size,
                         const char *where, tensor *image, spry_error *error)
{
    const job j = {allocator, bytes, size, where, image, error};
    spry_status status;

    *image = (tensor){0};
    if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) {
        status = decode_jpeg(&j);
    } else if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        status = decode_png(&j);
    } else if (size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0) {
        status = decode_webp(&j);
    } else if (image_is_pnm(bytes, size)) {
        status = decode_pnm(&j);
    } else {
        status = spry_fail(error, SPRY_BAD_INPUT, where, "convert it to JPEG, PNG or WebP",
                           "is not a JPEG, PNG, WebP, PGM or PPM picture");
    }
    if (status != SPRY_OK) {
        tensor_fini(image);
        *image = (tensor){0};
    }
    return status;
}

spry_status image_load(const spry_allocator *allocator, const char *path, tensor *image,
                       spry_error *error)
{
    file_map map;
    spry_status status = file_map_open(path, IMAGE_FILE_BYTES, &map, error);

    *image = (tensor){0};
    if (status == SPRY_OK) {
        status = image_decode(allocator, map.data, map.size, path, image, error);
        file_map_close(&map);
    }
    return status;
}

spry_status spry_image_load(const spry_allocator *allocator, const char *path, spry_tensor **result,
                            spry_error *error)
{
    tensor image;
    spry_status status = image_load(allocator, path, &image, error);

    *result = NULL;
    return status == SPRY_OK ? tensor_publish(allocator, &image, result, error) : status;
}

spry_status spry_image_decode(const spry_allocator *allocator, const void *bytes, size_t size,
                              const char *where, spry_tensor **result, spry_error *error)
{
    tensor image;
    spry_status status = image_decode(allocator, bytes, size, where, &image, error);

    *result = NULL;
    return status == SPRY_OK ? tensor_publish(allocator, &image, result, error) : status;
}

spry_status image_encode_png(const spry_allocator *allocator, const spry_tensor *image,
                             const char *where, image_bytes *encoded, spry_error *error)
{
    int64_t channels = image->rank == 3 ? image->shape[2] : 1;
    png_image png;
    png_alloc_size_t bytes;

    *encoded = (image_bytes){.data = NULL};
    if (image->dtype != SPRY_DTYPE_U8 || image->rank < 2 || image->rank > 3 ||
        (channels != 1 && channels != 3) || tensor_count(image) == 0 ||
        image->shape[0] > LIMIT_IMAGE_PIXELS / image->shape[1]) {
        return spry_fail(error, SPRY_USAGE, where, "give a u8 tensor [H,W], [H,W,1] or [H,W,3]",
                         "the tensor is no picture");
    }
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    png.height = (png_uint_32)image->shape[0];
    png.width = (png_uint_32)image->shape[1];
    png.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    encoded->capacity = PNG_IMAGE_PNG_SIZE_MAX(png);
    bytes = encoded->capacity;
    encoded->data = alloc_bytes(allocator, encoded->capacity);
    if (encoded->data == NULL) {
        return alloc_failed(error, encoded->capacity);
    }
    if (png_image_write_to_memory(&png, encoded->data, &bytes, 0, image->data, 0, NULL) == 0) {
        image_bytes_release(allocator, encoded);
        return spry_fail(error, SPRY_INTERNAL, where, NULL, "cannot be encoded: %s", png.message);
    }
    encoded->size = bytes;
    png_image_free(&png);
    return SPRY_OK;
}

void image_bytes_release(const spry_allocator *allocator, image_bytes *encoded)
{
    alloc_release(allocator, encoded->data, encoded->capacity);
    *encoded = (image_bytes){.data = NULL};
}

spry_status spry_image_save_png(const spry_tensor *image, const char *path, spry_error *error)
{
    spry_allocator allocator = alloc_resolve(NULL);
    image_bytes encoded;
    spry_status status = image_encode_png(&allocator, image, path, &encoded, error);

    if (status == SPRY_OK) {
        status = file_replace(path, encoded.data, encoded.size, error);
        image_bytes_release(&allocator, &encoded);
    }
    return status;
}
