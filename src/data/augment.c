/* Steps by name: reading their text, and applying them in turn. */
#include "data/augment.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/random.h"
#include "data/augment_steps.h"
#include "tensor/convert.h"

enum { PART_BYTES = 128, PURPOSE_AUGMENT = 4, NOISE_BLOCK = CONVERT_BLOCK };

/* What a step may be written with: `least` to `most` numbers, each from low to high. */
typedef struct step_row {
    augment_kind kind;
    const char *name;
    int least;
    int most;
    bool whole;
    double low;
    double high;
    double value; /* where none is written */
    bool pictures;
    bool numbers;
    const char *form;
} step_row;

static const step_row rows[] = {
    {AUGMENT_CROP, "crop", 1, 1, true, 1, 4096, 0, true, false, "crop:PIXELS"},
    {AUGMENT_ZOOM, "zoom", 1, 1, false, 0.001, 1, 0, true, false, "zoom:AREA, 0.001 to 1"},
    {AUGMENT_FLIP, "flip", 0, 1, false, 0, 1, 0.5, true, false, "flip or flip:PROBABILITY"},
    {AUGMENT_VFLIP, "vflip", 0, 1, false, 0, 1, 0.5, true, false, "vflip or vflip:PROBABILITY"},
    {AUGMENT_ROTATE, "rotate", 1, 1, false, 0, 180, 0, true, false, "rotate:DEGREES, 0 to 180"},
    {AUGMENT_JITTER, "jitter", 1, 4, false, 0, 1, 0, true, false,
     "jitter:STRENGTH or jitter:BRIGHTNESS:CONTRAST:SATURATION:HUE, 0 to 1, hue to 0.5"},
    {AUGMENT_GRAY, "gray", 0, 1, false, 0, 1, 0.1, true, false, "gray or gray:PROBABILITY"},
    {AUGMENT_INVERT, "invert", 0, 1, false, 0, 1, 0.5, true, false, "invert or invert:PROBABILITY"},
    {AUGMENT_CUTOUT, "cutout", 1, 1, true, 1, 4096, 0, true, false, "cutout:PIXELS"},
    {AUGMENT_NOISE, "noise", 1, 1, false, 0, 1e6, 0, true, true, "noise:DEVIATION"},
    {AUGMENT_GAIN, "gain", 1, 1, false, 0, 1, 0, false, true, "gain:STRENGTH, 0 to 1"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* --- text ------------------------------------------------------------------------------------ */

static const step_row *find_row(const char *name, size_t length)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strlen(rows[i].name) == length && strncmp(rows[i].name, name, length) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Reads the numbers behind a step's name, ":4" or ":0.4:0.4"; false when they do not fit. */
static bool read_numbers(const step_row *row, const char *text, augment_step *step, int *count)
{
    while (*text == ':') {
        char number[PART_BYTES];
        size_t length = strcspn(++text, ":");
        double high = row->kind == AUGMENT_JITTER && *count == 3 ? 0.5 : row->high;

        if (*count == row->most || length >= sizeof number) {
            return false;
        }
        memcpy(number, text, length);
        number[length] = '\0';
        if (!parse_f64(number, row->low, high, &step->number[*count]) ||
            (row->whole && step->number[*count] != floor(step->number[*count]))) {
            return false;
        }
        (*count)++;
        text += length;
    }
    return *count >= row->least;
}

static spry_status read_part(const char *text, size_t length, augment_step *step, spry_error *error)
{
    char part[PART_BYTES];
    const step_row *row;
    int count = 0;

    if (length >= sizeof part) {
        return spry_fail(error, SPRY_USAGE, "augment", "separate steps by commas",
                         "a step is longer than %d characters", PART_BYTES - 1);
    }
    memcpy(part, text, length);
    part[length] = '\0';
    row = find_row(part, strcspn(part, ":"));
    if (row == NULL) {
        return spry_fail(error, SPRY_USAGE, "augment",
                         "use crop, zoom, flip, vflip, rotate, jitter, gray, invert, cutout, noise "
                         "or gain, as in crop:4,flip,cutout:8",
                         "there is no step '%s'", part);
    }
    *step = (augment_step){.kind = row->kind, .number = {row->value}};
    if (!read_numbers(row, part + strlen(row->name), step, &count)) {
        char remedy[PART_BYTES];

        (void)snprintf(remedy, sizeof remedy, "write %s", row->form);
        return spry_fail(error, SPRY_USAGE, "augment", remedy,
                         "the step '%s' does not have the numbers it needs", part);
    }
    if (row->kind == AUGMENT_JITTER && count == 1) {
        step->number[2] = step->number[1] = step->number[0];
    }
    return SPRY_OK;
}

spry_status augment_parse(const char *text, augment *a, spry_error *error)
{
    *a = (augment){0};
    if (*text == '\0' || strcmp(text, "none") == 0) {
        return SPRY_OK;
    }
    for (;;) {
        size_t length = strcspn(text, ",");
        spry_status status;

        if (a->count == AUGMENT_MAX_STEPS) {
            return spry_fail(error, SPRY_USAGE, "augment", NULL, "at most %d steps are possible",
                             AUGMENT_MAX_STEPS);
        }
        status = read_part(text, length, &a->steps[a->count], error);
        if (status != SPRY_OK) {
            return status;
        }
        a->count++;
        if (text[length] == '\0') {
            return SPRY_OK;
        }
        text += length + 1;
    }
}

spry_status augment_check(const augment *a, bool pictures, spry_error *error)
{
    for (int i = 0; i < a->count; i++) {
        const step_row *row = &rows[a->steps[i].kind];

        if (pictures ? !row->pictures : !row->numbers) {
            return spry_fail(error, SPRY_USAGE, "augment",
                             pictures ? "use jitter for pictures" : "use noise or gain for numbers",
                             "the step '%s' is for %s", row->name,
                             pictures ? "numbers, and these samples are pictures"
                                      : "pictures, and these samples are numbers");
        }
    }
    return SPRY_OK;
}

/* --- numbers --------------------------------------------------------------------------------- */

/* Every value x becomes x times `factor` plus noise; pixels are rounded. */
static void change_numbers(tensor *sample, spry_random *r, double factor, double deviation)
{
    int64_t count = tensor_count(sample);
    bool whole = dtype_class_of(sample->dtype) != DTYPE_CLASS_FLOAT;
    double block[NOISE_BLOCK];
    float noise[NOISE_BLOCK];

    memset(noise, 0, sizeof noise);
    for (int64_t done = 0; done < count; done += NOISE_BLOCK) {
        int64_t n = count - done < NOISE_BLOCK ? count - done : NOISE_BLOCK;

        convert_read_f64(sample, done, n, block);
        if (deviation > 0) {
            spry_random_fill_normal(r, noise, (size_t)n, 0, (float)deviation);
        }
        for (int64_t i = 0; i < n; i++) {
            block[i] = block[i] * factor + (double)noise[i];
            block[i] = whole ? rint(block[i]) : block[i];
        }
        convert_write_f64(sample, done, n, block);
    }
}

/* --- applying -------------------------------------------------------------------------------- */

static spry_status apply_step(const augment_step *step, const spry_allocator *allocator,
                              spry_random *r, tensor *sample, spry_error *error)
{
    const double *number = step->number;

    switch (step->kind) {
    case AUGMENT_CROP: augment_crop(sample, r, (int64_t)number[0]); break;
    case AUGMENT_ZOOM: augment_zoom(sample, r, number[0]); break;
    case AUGMENT_FLIP:
        if (augment_chance(r, number[0])) {
            augment_flip(sample);
        }
        break;
    case AUGMENT_VFLIP:
        if (augment_chance(r, number[0])) {
            augment_vflip(sample);
        }
        break;
    case AUGMENT_ROTATE: return augment_rotate(sample, allocator, r, number[0], error);
    case AUGMENT_JITTER: augment_jitter(sample, r, number); break;
    case AUGMENT_GRAY:
        if (augment_chance(r, number[0])) {
            augment_gray(sample);
        }
        break;
    case AUGMENT_INVERT:
        if (augment_chance(r, number[0])) {
            augment_invert(sample);
        }
        break;
    case AUGMENT_CUTOUT: augment_cutout(sample, r, (int64_t)number[0]); break;
    case AUGMENT_NOISE: change_numbers(sample, r, 1, number[0]); break;
    case AUGMENT_GAIN: change_numbers(sample, r, 1 + augment_within(r, number[0]), 0); break;
    }
    return SPRY_OK;
}

spry_status augment_apply(const augment *a, const spry_allocator *allocator, uint64_t seed,
                          int64_t epoch, int64_t index, bool picture, tensor *sample,
                          spry_error *error)
{
    uint64_t key = random_branch(random_branch(seed, PURPOSE_AUGMENT), (uint64_t)epoch);
    spry_random r = spry_random_stream(key, (uint64_t)index);
    spry_status status = augment_check(a, picture, error);

    for (int i = 0; i < a->count && status == SPRY_OK; i++) {
        /* Each step begins at a place of its own: what it draws does not depend on the others. */
        spry_random_seek(&r, (uint64_t)(i + 1) << 40);
        status = apply_step(&a->steps[i], allocator, &r, sample, error);
    }
    return status;
}
