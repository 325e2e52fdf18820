/* Recipes by name and as JSON. */
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "spry/preprocess.h"
#include "tensor/dtype.h"

typedef struct recipe_row {
    const char *name;
    double scale;
    int32_t statistics;
    double mean[3];
    double std[3];
} recipe_row;

static const recipe_row recipe_rows[] = {
    {"raw", 1.0, 1, {0.0}, {1.0}},
    {"unit", 1.0 / 255.0, 1, {0.0}, {1.0}},
    {"imagenet", 1.0 / 255.0, 3, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
    {"cifar", 1.0 / 255.0, 3, {0.4914, 0.4822, 0.4465}, {0.2023, 0.1994, 0.2010}},
    {"tf", 1.0, 1, {127.5}, {127.5}},
    {"tf128", 1.0, 1, {128.0}, {128.0}},
};
enum { RECIPES = sizeof recipe_rows / sizeof recipe_rows[0] };

static const char *const geometry_names[] = {"auto", "none", "steps"};
static const char *const method_names[] = {"bilinear", "bicubic", "nearest"};
static const char *const channel_names[] = {"auto", "rgb", "bgr", "gray"};
static const char *const layout_names[] = {"auto", "nchw", "nhwc"};

static spry_preprocess recipe_of(const recipe_row *row)
{
    spry_preprocess recipe = {
        .struct_size = sizeof recipe, .scale = row->scale, .statistics = row->statistics};

    for (int32_t i = 0; i < row->statistics; i++) {
        recipe.mean[i] = row->mean[i];
        recipe.std[i] = row->std[i];
    }
    return recipe;
}

spry_preprocess spry_preprocess_default(void)
{
    return recipe_of(&recipe_rows[0]);
}

const char *spry_preprocess_name(int32_t index)
{
    return index >= 0 && index < RECIPES ? recipe_rows[index].name : NULL;
}

/* --- reading --------------------------------------------------------------------------------- */

/* An optional member that is one of `count` words. */
static spry_status read_word(const json_node *from, const char *key, const char *const *words,
                             size_t count, const char *problem, int *value, spry_error *error)
{
    json_node node;
    const char *word = NULL;
    spry_status status;

    if (!json_has(from, key)) {
        return SPRY_OK;
    }
    status = json_get(from, key, &node, error);
    if (status == SPRY_OK) {
        status = json_as_string(&node, &word, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            *value = (int)i;
            return SPRY_OK;
        }
    }
    return json_refuse(&node, problem, error);
}

/* {"height": h, "width": w}, each 1 to SPRY_PREPROCESS_MAX_SIDE. */
static spry_status read_size(const json_node *node, int32_t *height, int32_t *width,
                             spry_error *error)
{
    static const char *const keys[] = {"height", "width"};
    int64_t h = 0;
    int64_t w = 0;
    spry_status status = json_check_keys(node, keys, 2, error);

    if (status == SPRY_OK) {
        status = json_get_i64(node, "height", 1, SPRY_PREPROCESS_MAX_SIDE, &h, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(node, "width", 1, SPRY_PREPROCESS_MAX_SIDE, &w, error);
    }
    *height = (int32_t)h;
    *width = (int32_t)w;
    return status;
}

static spry_status read_resize(const json_node *root, spry_preprocess *recipe, spry_error *error)
{
    static const char *const keys[] = {"shorter"};
    json_node node;
    int64_t shorter = 0;
    spry_status status = json_get_object(root, "resize", &node, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (!json_has(&node, "shorter")) {
        return read_size(&node, &recipe->resize_height, &recipe->resize_width, error);
    }
    status = json_check_keys(&node, keys, 1, error);
    if (status == SPRY_OK) {
        status = json_get_i64(&node, "shorter", 1, SPRY_PREPROCESS_MAX_SIDE, &shorter, error);
    }
    recipe->resize_shorter = (int32_t)shorter;
    return status;
}

static spry_status read_geometry(const json_node *root, spry_preprocess *recipe, spry_error *error)
{
    int geometry = SPRY_GEOMETRY_AUTO;
    int method = SPRY_RESIZE_BILINEAR;
    json_node node;
    bool steps = json_has(root, "resize") || json_has(root, "crop");
    spry_status status =
        read_word(root, "geometry", geometry_names, 2,
                  "must be auto or none (give resize or crop for other steps)", &geometry, error);

    if (status == SPRY_OK && steps && json_has(root, "geometry")) {
        status = json_get(root, "geometry", &node, error);
        if (status == SPRY_OK) {
            status = json_refuse(&node, "cannot be combined with resize and crop", error);
        }
    }
    if (status == SPRY_OK) {
        status = read_word(root, "method", method_names, 3, "must be bilinear, bicubic or nearest",
                           &method, error);
    }
    if (status == SPRY_OK && json_has(root, "resize")) {
        status = read_resize(root, recipe, error);
    }
    if (status == SPRY_OK && json_has(root, "crop")) {
        status = json_get_object(root, "crop", &node, error);
        if (status == SPRY_OK) {
            status = read_size(&node, &recipe->crop_height, &recipe->crop_width, error);
        }
    }
    recipe->geometry = steps ? SPRY_GEOMETRY_STEPS : (spry_geometry)geometry;
    recipe->method = (spry_resize_method)method;
    return status;
}

/* A number for all channels, or a list of 1, 3 or 4. */
static spry_status read_statistics(const json_node *root, const char *key, bool divisor,
                                   double values[SPRY_PREPROCESS_MAX_CHANNELS], int32_t *count,
                                   spry_error *error)
{
    const double largest = 1e9;
    json_node node;
    json_node item;
    size_t length;
    spry_status status = json_get(root, key, &node, error);

    if (status != SPRY_OK) {
        return status;
    }
    length = json_length(&node);
    if (length == 0) { /* not a list */
        status = json_as_f64(&node, -largest, largest, &values[0], error);
        *count = 1;
    } else if (length != 1 && length != 3 && length != 4) {
        return json_refuse(&node, "must be one number or a list of 3 or 4", error);
    } else {
        status = json_as_array(&node, error);
        for (size_t i = 0; i < length && status == SPRY_OK; i++) {
            json_item(&node, i, &item);
            status = json_as_f64(&item, -largest, largest, &values[i], error);
        }
        *count = (int32_t)length;
    }
    for (int32_t i = 0; status == SPRY_OK && divisor && i < *count; i++) {
        if (!(values[i] > 1e-9 || values[i] < -1e-9)) {
            status = json_refuse(&node, "must not contain 0", error);
        }
    }
    return status;
}

static spry_status read_numbers(const json_node *root, spry_preprocess *recipe, spry_error *error)
{
    int32_t means = 1;
    int32_t stds = 1;
    json_node node;
    spry_status status = SPRY_OK;

    if (json_has(root, "scale")) {
        status = json_get_f64(root, "scale", -1e9, 1e9, &recipe->scale, error);
    }
    if (status == SPRY_OK && json_has(root, "mean")) {
        status = read_statistics(root, "mean", false, recipe->mean, &means, error);
    }
    if (status == SPRY_OK && json_has(root, "std")) {
        status = read_statistics(root, "std", true, recipe->std, &stds, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (means != stds && means != 1 && stds != 1) {
        status = json_get(root, "std", &node, error);
        return status == SPRY_OK ? json_refuse(&node, "must have as many values as mean", error)
                                 : status;
    }
    recipe->statistics = means > stds ? means : stds;
    for (int32_t i = 1; i < recipe->statistics; i++) {
        recipe->mean[i] = means == 1 ? recipe->mean[0] : recipe->mean[i];
        recipe->std[i] = stds == 1 ? recipe->std[0] : recipe->std[i];
    }
    return SPRY_OK;
}

static spry_status read_dtype(const json_node *root, spry_preprocess *recipe, spry_error *error)
{
    json_node node;
    const char *name = NULL;
    dtype_class kind;
    spry_status status = json_get(root, "dtype", &node, error);

    if (status == SPRY_OK) {
        status = json_as_string(&node, &name, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    recipe->dtype = spry_dtype_parse(name);
    kind = dtype_class_of(recipe->dtype);
    return kind == DTYPE_CLASS_FLOAT || kind == DTYPE_CLASS_SIGNED || kind == DTYPE_CLASS_UNSIGNED
               ? SPRY_OK
               : json_refuse(&node, "must be a numeric type such as f32 or u8", error);
}

static spry_status read_recipe(const json_node *root, spry_preprocess *recipe, spry_error *error)
{
    static const char *const keys[] = {"geometry", "resize", "method", "crop",   "channels",
                                       "scale",    "mean",   "std",    "layout", "dtype"};
    int channels = SPRY_CHANNELS_AUTO;
    int layout = SPRY_LAYOUT_AUTO;
    spry_status status = json_as_object(root, error);

    if (status == SPRY_OK) {
        status = json_check_keys(root, keys, sizeof keys / sizeof keys[0], error);
    }
    if (status == SPRY_OK) {
        status = read_geometry(root, recipe, error);
    }
    if (status == SPRY_OK) {
        status = read_word(root, "channels", channel_names, 4, "must be auto, rgb, bgr or gray",
                           &channels, error);
    }
    if (status == SPRY_OK) {
        status = read_numbers(root, recipe, error);
    }
    if (status == SPRY_OK) {
        status = read_word(root, "layout", layout_names, 3, "must be auto, nchw or nhwc", &layout,
                           error);
    }
    if (status == SPRY_OK && json_has(root, "dtype")) {
        status = read_dtype(root, recipe, error);
    }
    recipe->channels = (spry_channels)channels;
    recipe->layout = (spry_layout)layout;
    return status;
}

static spry_status read_document(json_document *document, spry_preprocess *recipe,
                                 spry_error *error)
{
    spry_preprocess result = spry_preprocess_default();
    json_node root;
    spry_status status;

    json_root(document, &root);
    status = read_recipe(&root, &result, error);
    json_close(document);
    if (status == SPRY_OK) {
        *recipe = result;
    }
    return status;
}

spry_status spry_preprocess_parse_json(const char *json, size_t size, const char *where,
                                       spry_preprocess *recipe, spry_error *error)
{
    json_document *document = NULL;
    spry_status status = json_open_bytes(json, size, where, &document, error);

    *recipe = spry_preprocess_default();
    return status == SPRY_OK ? read_document(document, recipe, error) : status;
}

spry_status spry_preprocess_parse(const char *name, spry_preprocess *recipe, spry_error *error)
{
    json_document *document = NULL;
    size_t length = strlen(name);
    spry_status status;

    *recipe = spry_preprocess_default();
    for (size_t i = 0; i < RECIPES; i++) {
        if (strcmp(name, recipe_rows[i].name) == 0) {
            *recipe = recipe_of(&recipe_rows[i]);
            return SPRY_OK;
        }
    }
    if (length < 5 || strcasecmp(name + length - 5, ".json") != 0) {
        return spry_fail(error, SPRY_USAGE, name,
                         "use raw, unit, imagenet, cifar, tf, tf128 or a .json file",
                         "is not the name of a preprocessing recipe");
    }
    status = json_open_file(name, &document, error);
    return status == SPRY_OK ? read_document(document, recipe, error) : status;
}

/* --- writing --------------------------------------------------------------------------------- */

static void write_size(json_writer *writer, const char *key, int32_t height, int32_t width)
{
    json_write_object(writer, key);
    json_write_i64(writer, "height", height);
    json_write_i64(writer, "width", width);
    json_write_end(writer);
}

static void write_statistics(json_writer *writer, const char *key, const double *values,
                             int32_t count)
{
    if (count == 1) {
        json_write_f64(writer, key, values[0]);
        return;
    }
    json_write_array(writer, key);
    for (int32_t i = 0; i < count; i++) {
        json_write_f64(writer, NULL, values[i]);
    }
    json_write_end(writer);
}

spry_status spry_preprocess_format_json(const spry_preprocess *recipe, char *buffer, size_t size,
                                        spry_error *error)
{
    json_writer writer;
    text out;

    if (size == 0) {
        return spry_fail(error, SPRY_LIMIT, "recipe", NULL, "the buffer has no room");
    }
    text_init_fixed(&out, buffer, size);
    json_writer_init(&writer, &out, 0);
    json_write_object(&writer, NULL);
    if (recipe->geometry != SPRY_GEOMETRY_STEPS) {
        json_write_string(&writer, "geometry", geometry_names[recipe->geometry]);
    }
    if (recipe->resize_shorter > 0) {
        json_write_object(&writer, "resize");
        json_write_i64(&writer, "shorter", recipe->resize_shorter);
        json_write_end(&writer);
    } else if (recipe->resize_height > 0) {
        write_size(&writer, "resize", recipe->resize_height, recipe->resize_width);
    }
    json_write_string(&writer, "method", method_names[recipe->method]);
    if (recipe->crop_height > 0) {
        write_size(&writer, "crop", recipe->crop_height, recipe->crop_width);
    }
    json_write_string(&writer, "channels", channel_names[recipe->channels]);
    json_write_f64(&writer, "scale", recipe->scale);
    write_statistics(&writer, "mean", recipe->mean, recipe->statistics);
    write_statistics(&writer, "std", recipe->std, recipe->statistics);
    json_write_string(&writer, "layout", layout_names[recipe->layout]);
    if (recipe->dtype != SPRY_DTYPE_NONE) {
        json_write_string(&writer, "dtype", spry_dtype_name(recipe->dtype));
    }
    json_write_end(&writer);
    return text_status(&out, "recipe", error);
}
