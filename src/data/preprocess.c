/* Applying recipes. Every sample is handled by one thread from start to end and 8-bit pixels pass
 * through a table of 256 results per channel, so the outcome depends on nothing but the sample. */
#include "data/preprocess.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "data/image.h"
#include "data/resize.h"
#include "tensor/convert.h"

/* --- resolving ------------------------------------------------------------------------------- */

static spry_status misfit(spry_error *error, const char *where, const char *remedy,
                          const char *what)
{
    return spry_fail(error, SPRY_USAGE, where, remedy, "%s", what);
}

static spry_status check_recipe(const spry_preprocess *r, const char *where, spry_error *error)
{
    bool sides_fit = r->resize_shorter >= 0 && r->resize_height >= 0 && r->resize_width >= 0 &&
                     r->crop_height >= 0 && r->crop_width >= 0 &&
                     r->resize_shorter <= SPRY_PREPROCESS_MAX_SIDE &&
                     r->resize_height <= SPRY_PREPROCESS_MAX_SIDE &&
                     r->resize_width <= SPRY_PREPROCESS_MAX_SIDE &&
                     r->crop_height <= SPRY_PREPROCESS_MAX_SIDE &&
                     r->crop_width <= SPRY_PREPROCESS_MAX_SIDE &&
                     (r->resize_height == 0) == (r->resize_width == 0) &&
                     (r->crop_height == 0) == (r->crop_width == 0) &&
                     (r->resize_shorter == 0 || r->resize_height == 0);
    bool numbers_fit =
        isfinite(r->scale) && (r->statistics == 1 || r->statistics == 3 || r->statistics == 4);

    for (int c = 0; numbers_fit && c < r->statistics; c++) {
        numbers_fit = isfinite(r->mean[c]) && isfinite(r->std[c]) && r->std[c] != 0.0;
    }
    if (r->struct_size != sizeof *r || !sides_fit || !numbers_fit) {
        return misfit(error, where, "start from spry_preprocess_default or a named recipe",
                      "the recipe contradicts itself");
    }
    return SPRY_OK;
}

static bool is_channel_count(int64_t size)
{
    return size == 1 || size == 3 || size == 4;
}

static spry_layout resolve_layout(const spry_preprocess *recipe, int rank, const int64_t *shape)
{
    if (recipe->layout != SPRY_LAYOUT_AUTO || rank != 4) {
        return recipe->layout == SPRY_LAYOUT_NHWC ? SPRY_LAYOUT_NHWC : SPRY_LAYOUT_NCHW;
    }
    return !is_channel_count(shape[1]) && is_channel_count(shape[3]) ? SPRY_LAYOUT_NHWC
                                                                     : SPRY_LAYOUT_NCHW;
}

static int64_t channel_axis(const preprocess_plan *plan)
{
    return plan->layout == SPRY_LAYOUT_NHWC ? 3 : 1;
}

/* Size of a picture after the recipe's own resize. */
static void resized_size(const spry_preprocess *r, int64_t height, int64_t width,
                         int64_t *to_height, int64_t *to_width)
{
    *to_height = height;
    *to_width = width;
    if (r->resize_height > 0) {
        *to_height = r->resize_height;
        *to_width = r->resize_width;
    } else if (r->resize_shorter > 0 && height <= width) {
        *to_height = r->resize_shorter;
        *to_width = width * r->resize_shorter / height;
    } else if (r->resize_shorter > 0) {
        *to_width = r->resize_shorter;
        *to_height = height * r->resize_shorter / width;
    }
}

/* Size of a picture after all of the recipe's own geometry. */
static void final_size(const spry_preprocess *r, int64_t height, int64_t width, int64_t *to_height,
                       int64_t *to_width)
{
    *to_height = height;
    *to_width = width;
    if (r->geometry == SPRY_GEOMETRY_STEPS) {
        resized_size(r, height, width, to_height, to_width);
        *to_height = r->crop_height > 0 ? r->crop_height : *to_height;
        *to_width = r->crop_width > 0 ? r->crop_width : *to_width;
    }
}

/* Channels when the model does not say. */
static int64_t natural_channels(const spry_preprocess *recipe, int64_t channels)
{
    switch (recipe->channels) {
    case SPRY_CHANNELS_GRAY: return 1;
    case SPRY_CHANNELS_RGB:
    case SPRY_CHANNELS_BGR: return 3;
    default: return channels;
    }
}

static spry_status check_channels(const preprocess_plan *plan, const char *where, spry_error *error)
{
    const spry_preprocess *recipe = plan->recipe;
    int64_t natural = natural_channels(recipe, plan->channels);

    if (plan->channels != 1 && plan->channels != 3) {
        return spry_fail(error, SPRY_USAGE, where, "check layout in the recipe",
                         "the model takes %lld channels; pictures have 1 or 3",
                         (long long)plan->channels);
    }
    if (natural != plan->channels) {
        return spry_fail(error, SPRY_USAGE, where, "set channels to auto in the recipe",
                         "the recipe gives %lld channels but the model takes %lld",
                         (long long)natural, (long long)plan->channels);
    }
    if (recipe->statistics != 1 && recipe->statistics != plan->channels) {
        return spry_fail(error, SPRY_USAGE, where, "choose another recipe, e.g. unit",
                         "mean and std have %d values but the model takes %lld channels",
                         (int)recipe->statistics, (long long)plan->channels);
    }
    return SPRY_OK;
}

/* Inputs of other ranks, e.g. [N,784]: the picture must have exactly their elements. */
static spry_status plan_flat(preprocess_plan *plan, int64_t channels, const char *where,
                             spry_error *error)
{
    int64_t pixels = plan->height * plan->width;
    int64_t count = 1;

    for (int i = 1; i < plan->rank; i++) {
        if (plan->shape[i] < 0 || (plan->shape[i] > 0 && count > INT64_MAX / plan->shape[i])) {
            return misfit(error, where, "bind the model's free dimensions",
                          "the model's input has no fixed size");
        }
        count *= plan->shape[i];
    }
    plan->channels = natural_channels(plan->recipe, channels);
    if (plan->recipe->channels == SPRY_CHANNELS_AUTO && pixels == count) {
        plan->channels = 1;
    }
    if (pixels * plan->channels != count) {
        return spry_fail(error, SPRY_USAGE, where, "resize in the recipe",
                         "the picture gives %lld values but the model takes %lld",
                         (long long)(pixels * plan->channels), (long long)count);
    }
    return check_channels(plan, where, error);
}

static spry_status plan_picture(preprocess_plan *plan, const tensor *picture, const char *where,
                                spry_error *error)
{
    int64_t channel = channel_axis(plan);
    int64_t row = plan->layout == SPRY_LAYOUT_NHWC ? 1 : 2;
    int64_t height;
    int64_t width;

    final_size(plan->recipe, picture->shape[0], picture->shape[1], &height, &width);
    if (plan->flat) {
        plan->height = height;
        plan->width = width;
        return plan_flat(plan, picture->shape[2], where, error);
    }
    plan->height = plan->shape[row] >= 0 ? plan->shape[row] : height;
    plan->width = plan->shape[row + 1] >= 0 ? plan->shape[row + 1] : width;
    plan->channels = plan->shape[channel] >= 0 ? plan->shape[channel]
                                               : natural_channels(plan->recipe, picture->shape[2]);
    if (plan->height < 1 || plan->width < 1 ||
        ((plan->height > SPRY_PREPROCESS_MAX_SIDE || plan->width > SPRY_PREPROCESS_MAX_SIDE) &&
         (plan->height != height || plan->width != width))) {
        return spry_fail(error, SPRY_USAGE, where, NULL,
                         "pictures can be resized to 1 to %d pixels a side, not to %lld x %lld",
                         SPRY_PREPROCESS_MAX_SIDE, (long long)plan->width, (long long)plan->height);
    }
    plan->shape[row] = plan->height;
    plan->shape[row + 1] = plan->width;
    plan->shape[channel] = plan->channels;
    return check_channels(plan, where, error);
}

static spry_status plan_numbers(preprocess_plan *plan, const tensor *sample, const char *where,
                                spry_error *error)
{
    for (int i = 1; i < plan->rank; i++) {
        if (plan->shape[i] < 0 && sample->rank == plan->rank - 1) {
            plan->shape[i] = sample->shape[i - 1];
        }
        if (plan->shape[i] < 0) {
            return misfit(error, where, "bind the model's free dimensions",
                          "the model's input has no fixed size");
        }
    }
    plan->channels = plan->flat ? 1 : plan->shape[channel_axis(plan)];
    if (plan->recipe->statistics != 1 && plan->recipe->statistics != plan->channels) {
        return misfit(error, where, "choose another recipe, e.g. raw",
                      "mean and std do not have as many values as the model has channels");
    }
    return SPRY_OK;
}

static double statistic(const spry_preprocess *r, const double *values, int64_t channel)
{
    return values[r->statistics == 1 ? 0 : channel];
}

static void fill_table(preprocess_plan *plan)
{
    const spry_preprocess *r = plan->recipe;

    for (int64_t c = 0; c < plan->channels; c++) {
        double mean = statistic(r, r->mean, c);
        double std = statistic(r, r->std, c);

        for (int x = 0; x < 256; x++) {
            plan->table[c][x] = (float)((x * r->scale - mean) / std);
        }
    }
}

spry_status preprocess_plan_init(preprocess_plan *plan, const spry_preprocess *recipe,
                                 const tensor *sample, bool picture, spry_dtype dtype, int rank,
                                 const int64_t *shape, const char *where, spry_error *error)
{
    dtype_class kind;
    spry_status status = check_recipe(recipe, where, error);

    *plan = (preprocess_plan){.recipe = recipe, .rank = rank, .flat = rank != 4};
    if (status != SPRY_OK) {
        return status;
    }
    if (rank < 1 || rank > SPRY_TENSOR_MAX_RANK) {
        return misfit(error, where, NULL, "the model's input has no batch dimension");
    }
    memcpy(plan->shape, shape, (size_t)rank * sizeof *shape);
    plan->dtype = recipe->dtype != SPRY_DTYPE_NONE ? recipe->dtype
                  : dtype != SPRY_DTYPE_NONE       ? dtype
                                                   : SPRY_DTYPE_F32;
    kind = dtype_class_of(plan->dtype);
    if (kind != DTYPE_CLASS_FLOAT && kind != DTYPE_CLASS_SIGNED && kind != DTYPE_CLASS_UNSIGNED) {
        return misfit(error, where, "choose a numeric type", "the model's input is not numeric");
    }
    plan->layout = resolve_layout(recipe, rank, shape);
    if (!picture) {
        return plan_numbers(plan, sample, where, error);
    }
    status = plan_picture(plan, sample, where, error);
    if (status == SPRY_OK) {
        fill_table(plan);
    }
    return status;
}

spry_status preprocess_plan_batch(const preprocess_plan *plan, const spry_allocator *allocator,
                                  int64_t count, tensor *batch, spry_error *error)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];

    memcpy(shape, plan->shape, sizeof shape);
    shape[0] = count;
    return tensor_init_owned(batch, allocator, plan->dtype, plan->rank, shape, error);
}

/* --- numbers out ----------------------------------------------------------------------------- */

/* Writes up to CONVERT_BLOCK results; integers are rounded to nearest even. */
static void emit(tensor *batch, int64_t at, int64_t count, float *values)
{
    if (dtype_class_of(batch->dtype) != DTYPE_CLASS_FLOAT) {
        for (int64_t i = 0; i < count; i++) {
            values[i] = rintf(values[i]);
        }
    }
    convert_write_f32(batch, at, count, values);
}

/* Channel `c` of the model comes from this one: reversed for BGR, the only one of a gray
 * picture. */
static int64_t source_channel(const preprocess_plan *plan, const resize_picture *from, int64_t c)
{
    if (from->channels == 1) {
        return 0;
    }
    return plan->recipe->channels == SPRY_CHANNELS_BGR ? from->channels - 1 - c : c;
}

/* Looks up `count` pixels that lie `from_step` apart. */
static void look_up(const float table[256], const uint8_t *from, int64_t from_step, float *to,
                    int64_t to_step, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i * to_step] = table[from[i * from_step]];
    }
}

/* One row of one channel, or of all channels interleaved. */
static void emit_row(const preprocess_plan *plan, const resize_picture *from, int64_t y,
                     int64_t first_channel, int64_t channels, tensor *batch, int64_t at)
{
    const uint8_t *row = from->data + y * from->stride;
    const int64_t most = CONVERT_BLOCK / channels;
    float block[CONVERT_BLOCK];

    for (int64_t x = 0; x < from->width; x += most) {
        int64_t count = from->width - x < most ? from->width - x : most;

        for (int64_t c = 0; c < channels; c++) {
            look_up(plan->table[first_channel + c],
                    row + x * from->channels + source_channel(plan, from, first_channel + c),
                    from->channels, block + c, channels, count);
        }
        emit(batch, at, count * channels, block);
        at += count * channels;
    }
}

static void emit_picture(const preprocess_plan *plan, const resize_picture *from, tensor *batch,
                         int64_t at)
{
    bool planes = plan->layout == SPRY_LAYOUT_NCHW;
    int64_t passes = planes ? plan->channels : 1;
    int64_t channels = planes ? 1 : plan->channels;

    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t y = 0; y < from->height; y++) {
            emit_row(plan, from, y, pass, channels, batch, at);
            at += from->width * channels;
        }
    }
}

/* --- geometry -------------------------------------------------------------------------------- */

/* Cut, then resize, then cut. */
typedef struct geometry {
    int64_t cut_height;
    int64_t cut_width;
    int64_t height;
    int64_t width;
} geometry;

/* The centred part of the model's proportions; 7/8 of it when nothing need be enlarged. */
static geometry fit(const preprocess_plan *plan, int64_t height, int64_t width)
{
    geometry g = {height, width, plan->height, plan->width};

    if (height == plan->height && width == plan->width) {
        return g;
    }
    if (width * plan->height > height * plan->width) {
        g.cut_width = (height * plan->width + plan->height / 2) / plan->height;
    } else {
        g.cut_height = (width * plan->height + plan->width / 2) / plan->width;
    }
    if (height >= plan->height && width >= plan->width) {
        g.cut_height = (g.cut_height * 7 + 4) / 8;
        g.cut_width = (g.cut_width * 7 + 4) / 8;
    }
    g.cut_height = g.cut_height < 1 ? 1 : g.cut_height;
    g.cut_width = g.cut_width < 1 ? 1 : g.cut_width;
    return g;
}

static resize_picture centre(const resize_picture *from, int64_t height, int64_t width)
{
    resize_picture part = *from;

    part.data += (from->height - height) / 2 * from->stride;
    part.data += (from->width - width) / 2 * from->channels;
    part.height = height;
    part.width = width;
    return part;
}

static spry_status choose_geometry(const preprocess_plan *plan, const resize_picture *from,
                                   const char *where, geometry *g, spry_error *error)
{
    int64_t height;
    int64_t width;

    *g = (geometry){from->height, from->width, from->height, from->width};
    if (plan->recipe->geometry == SPRY_GEOMETRY_AUTO) {
        *g = fit(plan, from->height, from->width);
        return SPRY_OK;
    }
    final_size(plan->recipe, from->height, from->width, &height, &width);
    if (plan->recipe->geometry == SPRY_GEOMETRY_STEPS) {
        resized_size(plan->recipe, from->height, from->width, &g->height, &g->width);
    }
    if (height != plan->height || width != plan->width) {
        return spry_fail(error, SPRY_USAGE, where, "use geometry auto, or resize and crop to fit",
                         "the picture becomes %lld x %lld (width x height) but the model takes "
                         "%lld x %lld",
                         (long long)width, (long long)height, (long long)plan->width,
                         (long long)plan->height);
    }
    if (g->height < height || g->width < width || g->height > SPRY_PREPROCESS_MAX_SIDE * 4 ||
        g->width > SPRY_PREPROCESS_MAX_SIDE * 4) {
        return spry_fail(error, SPRY_USAGE, where, "resize to at least the size of the crop",
                         "the picture is %lld x %lld (width x height) before the crop",
                         (long long)g->width, (long long)g->height);
    }
    return SPRY_OK;
}

/* A gray copy of a colour picture. */
static void make_gray(const resize_picture *from, const resize_picture *to)
{
    for (int64_t y = 0; y < from->height; y++) {
        const uint8_t *in = from->data + y * from->stride;
        uint8_t *out = to->data + y * to->stride;

        for (int64_t x = 0; x < from->width; x++) {
            out[x] = image_gray(in + 3 * x);
        }
    }
}

/* An own, dense picture of the size. */
static spry_status make_room(const spry_allocator *allocator, int64_t height, int64_t width,
                             int64_t channels, tensor *room, resize_picture *picture,
                             spry_error *error)
{
    spry_status status = tensor_init_bytes(room, allocator, height * width * channels, error);

    *picture = (resize_picture){room->data, height, width, channels, width * channels};
    return status;
}

static spry_status apply_picture(const preprocess_plan *plan, const spry_allocator *allocator,
                                 const tensor *sample, const char *where, tensor *batch, int64_t at,
                                 spry_error *error)
{
    resize_picture from = {sample->data, sample->shape[0], sample->shape[1], sample->shape[2],
                           sample->shape[1] * sample->shape[2]};
    tensor gray = {0};
    tensor resized = {0};
    resize_picture room;
    geometry g;
    spry_status status = choose_geometry(plan, &from, where, &g, error);

    if (status != SPRY_OK) {
        return status;
    }
    from = centre(&from, g.cut_height, g.cut_width);
    if (plan->channels == 1 && from.channels == 3) {
        status = make_room(allocator, from.height, from.width, 1, &gray, &room, error);
        if (status == SPRY_OK) {
            make_gray(&from, &room);
            from = room;
        }
    }
    if (status == SPRY_OK && (from.height != g.height || from.width != g.width)) {
        status = make_room(allocator, g.height, g.width, from.channels, &resized, &room, error);
        if (status == SPRY_OK) {
            status = resize_u8(allocator, &from, &room, plan->recipe->method, error);
            from = room;
        }
    }
    if (status == SPRY_OK) {
        from = centre(&from, plan->height, plan->width);
        emit_picture(plan, &from, batch, at);
    }
    tensor_fini(&gray);
    tensor_fini(&resized);
    return status;
}

/* --- numbers in ------------------------------------------------------------------------------ */

static void apply_statistics(const preprocess_plan *plan, int64_t at, int64_t count, float *values)
{
    const spry_preprocess *r = plan->recipe;
    bool last = plan->layout == SPRY_LAYOUT_NHWC;
    int64_t inner = plan->flat ? 1 : last ? 1 : plan->shape[2] * plan->shape[3];

    for (int64_t i = 0; i < count; i++) {
        int64_t channel = r->statistics == 1 ? 0 : (at + i) / inner % plan->channels;
        double value = (double)values[i] * r->scale - statistic(r, r->mean, channel);

        values[i] = (float)(value / statistic(r, r->std, channel));
    }
}

/* The sample in the model's order of axes: channels are moved where that makes the shapes equal. */
static spry_status match_axes(const preprocess_plan *plan, const tensor *sample, tensor *view,
                              spry_error *error)
{
    static const int to_last[] = {1, 2, 0};
    static const int to_first[] = {2, 0, 1};
    const int *permutation = plan->layout == SPRY_LAYOUT_NHWC ? to_last : to_first;
    bool permuted = !plan->flat && sample->rank == 3;
    bool equal = permuted;

    for (int i = 0; i < 3 && permuted; i++) {
        equal = equal && sample->shape[i] == plan->shape[i + 1];
        permuted = sample->shape[permutation[i]] == plan->shape[i + 1];
    }
    if (permuted && !equal) {
        return tensor_view_transpose(view, sample, permutation, error);
    }
    tensor_init_view(view, sample);
    return SPRY_OK;
}

static spry_status apply_numbers(const preprocess_plan *plan, const spry_allocator *allocator,
                                 const tensor *sample, const char *where, tensor *batch, int64_t at,
                                 spry_error *error)
{
    int64_t count = tensor_span(batch, 1, batch->rank);
    float block[CONVERT_BLOCK];
    tensor view;
    tensor dense;
    spry_status status;

    if (tensor_count(sample) != count) {
        return spry_fail(error, SPRY_USAGE, where, "choose data made for this model",
                         "the sample has %lld values but the model takes %lld",
                         (long long)tensor_count(sample), (long long)count);
    }
    status = match_axes(plan, sample, &view, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (tensor_is_dense(&view)) {
        tensor_init_view(&dense, &view);
    } else {
        status = tensor_init_copy(&dense, allocator, &view, error);
    }
    for (int64_t done = 0; done < count && status == SPRY_OK; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        convert_read_f32(&dense, done, n, block);
        apply_statistics(plan, done, n, block);
        emit(batch, at + done, n, block);
    }
    tensor_fini(&dense);
    tensor_fini(&view);
    return status;
}

spry_status preprocess_apply(const preprocess_plan *plan, const spry_allocator *allocator,
                             const tensor *sample, bool picture, const char *where, tensor *batch,
                             int64_t index, spry_error *error)
{
    int64_t at = index * tensor_span(batch, 1, batch->rank);

    return picture ? apply_picture(plan, allocator, sample, where, batch, at, error)
                   : apply_numbers(plan, allocator, sample, where, batch, at, error);
}

spry_status spry_preprocess_image(const spry_allocator *allocator, const spry_preprocess *recipe,
                                  const spry_tensor *image, spry_dtype dtype, int rank,
                                  const int64_t *shape, spry_tensor **input, spry_error *error)
{
    preprocess_plan plan;
    tensor batch;
    spry_status status;

    *input = NULL;
    if (image->dtype != SPRY_DTYPE_U8 || image->rank != 3 || !tensor_is_dense(image) ||
        tensor_count(image) == 0 || (image->shape[2] != 1 && image->shape[2] != 3)) {
        return misfit(error, "picture", "load it with spry_image_load",
                      "a picture must be a u8 tensor [H,W,1] or [H,W,3]");
    }
    status = preprocess_plan_init(&plan, recipe, image, true, dtype, rank, shape, "picture", error);
    if (status == SPRY_OK) {
        status = preprocess_plan_batch(&plan, allocator, 1, &batch, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    status = preprocess_apply(&plan, allocator, image, true, "picture", &batch, 0, error);
    if (status != SPRY_OK) {
        tensor_fini(&batch);
        return status;
    }
    return tensor_publish(allocator, &batch, input, error);
}
