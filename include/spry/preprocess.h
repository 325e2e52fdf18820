/* Recipes: how a picture becomes a model's input.
 *
 *     spry_preprocess recipe;
 *     spry_status status = spry_preprocess_parse("imagenet", &recipe, &error);
 *     const int64_t shape[] = {1, 3, 224, 224};
 *     status = spry_preprocess_image(NULL, &recipe, picture, SPRY_DTYPE_F32, 4, shape, &input,
 *                                    &error);
 *
 * The steps, in order: resize, centre crop, channels, (pixel x scale - mean) / std, layout, type.
 *
 * Without steps of its own a recipe adapts to the model ("auto"): a picture of the model's size is
 * taken as it is; of any other the largest centred part with the model's proportions is cut out
 * (of pictures at least as large as the model's input 7/8 of its width and height, as is customary
 * for ImageNet: 224 of 256) and resized.
 *
 * Resizing works on 8-bit pixels, columns first, with 22-bit fixed-point weights. Pixel centres lie
 * at half-integers; when shrinking, the filter is stretched over all pixels it replaces. So the
 * result is the same everywhere, and (but for the ties of nearest) that of the Pillow library.
 *
 * JSON form (every key may be left out; unknown ones are refused):
 *
 *     {"geometry": "auto" | "none",
 *      "resize": {"shorter": 256} | {"height": 256, "width": 256},
 *      "method": "bilinear" | "bicubic" | "nearest", "crop": {"height": 224, "width": 224},
 *      "channels": "auto" | "rgb" | "bgr" | "gray",
 *      "scale": 0.00392156862745098, "mean": 0.5 | [0.485, 0.456, 0.406], "std": ...,
 *      "layout": "auto" | "nchw" | "nhwc", "dtype": "f32"} */
#ifndef SPRY_PREPROCESS_H
#define SPRY_PREPROCESS_H

#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spry_geometry {
    SPRY_GEOMETRY_AUTO = 0, /* fit to the model, see above */
    SPRY_GEOMETRY_NONE = 1, /* take pictures as they are */
    SPRY_GEOMETRY_STEPS = 2 /* the recipe's resize and crop */
} spry_geometry;

typedef enum spry_resize_method {
    SPRY_RESIZE_BILINEAR = 0,
    SPRY_RESIZE_BICUBIC = 1, /* a = -0.5 */
    SPRY_RESIZE_NEAREST = 2
} spry_resize_method;

typedef enum spry_channels {
    SPRY_CHANNELS_AUTO = 0, /* as many as the model takes, red first */
    SPRY_CHANNELS_RGB = 1,
    SPRY_CHANNELS_BGR = 2,
    SPRY_CHANNELS_GRAY = 3 /* 0.299 red + 0.587 green + 0.114 blue */
} spry_channels;

typedef enum spry_layout {
    SPRY_LAYOUT_AUTO = 0, /* where the model's shape has 1, 3 or 4 channels; otherwise NCHW */
    SPRY_LAYOUT_NCHW = 1,
    SPRY_LAYOUT_NHWC = 2
} spry_layout;

enum { SPRY_PREPROCESS_MAX_CHANNELS = 4, SPRY_PREPROCESS_MAX_SIDE = 16384 };

typedef struct spry_preprocess {
    size_t struct_size; /* sizeof(spry_preprocess): lets the struct grow */
    spry_geometry geometry;
    int32_t resize_shorter; /* pixels of the shorter side; 0: not so */
    int32_t resize_height;  /* both, or 0 */
    int32_t resize_width;
    spry_resize_method method;
    int32_t crop_height; /* both, or 0 */
    int32_t crop_width;
    spry_channels channels;
    double scale;
    int32_t statistics; /* how many of mean and std are set: 1 (for all channels), 3 or 4 */
    double mean[SPRY_PREPROCESS_MAX_CHANNELS];
    double std[SPRY_PREPROCESS_MAX_CHANNELS];
    spry_layout layout;
    spry_dtype dtype; /* SPRY_DTYPE_NONE: what the model takes */
} spry_preprocess;

/* The recipe "raw": pixel values 0 to 255, geometry auto. */
SPRY_API spry_preprocess spry_preprocess_default(void);

/* A recipe by name, or from a file whose name ends in ".json". Names: raw (0..255), unit (x / 255),
 * imagenet (x / 255, mean .485 .456 .406, std .229 .224 .225), cifar (x / 255, mean .4914 .4822
 * .4465, std .2023 .1994 .2010), tf ((x - 127.5) / 127.5), tf128 ((x - 128) / 128).
 * Fails with SPRY_USAGE (unknown name), SPRY_BAD_INPUT (the file: the error names the key),
 * SPRY_IO, SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_preprocess_parse(const char *name, spry_preprocess *recipe,
                                                         spry_error *error);

/* A recipe from `size` bytes of JSON; `where` names them in errors. Fails as above. */
SPRY_API SPRY_MUST_USE spry_status spry_preprocess_parse_json(const char *json, size_t size,
                                                              const char *where,
                                                              spry_preprocess *recipe,
                                                              spry_error *error);

/* The JSON form as a NUL-terminated text into `buffer`.
 * Fails with SPRY_LIMIT when `size` bytes do not suffice (1024 always do). */
SPRY_API SPRY_MUST_USE spry_status spry_preprocess_format_json(const spry_preprocess *recipe,
                                                               char *buffer, size_t size,
                                                               spry_error *error);

/* Name of the n-th named recipe, NULL behind the last. */
SPRY_API const char *spry_preprocess_name(int32_t index);

/* Turns a picture u8[H,W,C] into an input of `rank` and `shape` (dimensions -1 are taken from the
 * picture, the first is the batch and becomes 1) and type `dtype` (unless the recipe has its own).
 * Rank 4 is [N,C,H,W] or [N,H,W,C]; of other ranks only the number of elements must agree.
 * Values that an integer type cannot hold are rounded to nearest and saturate.
 * Fails with SPRY_USAGE (the picture, the recipe and the shape do not fit), SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_preprocess_image(const spry_allocator *allocator,
                                                         const spry_preprocess *recipe,
                                                         const spry_tensor *image, spry_dtype dtype,
                                                         int rank, const int64_t *shape,
                                                         spry_tensor **input, spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
