/* Densities and pictures of masks. */
#include "cli/mask_report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "cli/table.h"
#include "spry/adapt.h"
#include "spry/image.h"
#include "tensor/tensor.h"

enum { MOST_PICTURES = 16, PATH_SIZE = 4096, NAME_SIZE = 256, IMAGE_RANK = 4, GAP = 2 };

spry_status mask_report_open(mask_report *r, const spry_model *m, const char *folder,
                             spry_error *error)
{
    spry_status status = spry_adapt_reveal(m, &r->revealed, error);

    if (status != SPRY_OK) {
        return status;
    }
    r->folder = folder;
    r->pictures = folder != NULL ? MOST_PICTURES : 0;
    r->first = spry_model_output_count(m);
    r->count = spry_model_output_count(r->revealed) - r->first;
    r->sums = alloc_zeroed(spry_allocator_system(), (size_t)r->count * sizeof *r->sums);
    if (r->sums == NULL) {
        return alloc_failed(error, (size_t)r->count * sizeof *r->sums);
    }
    if (folder != NULL && mkdir(folder, 0777) != 0 && errno != EEXIST) {
        return spry_fail(error, SPRY_IO, folder, NULL, "cannot be made: %s", strerror(errno));
    }
    return SPRY_OK;
}

void mask_report_close(mask_report *r)
{
    alloc_release(spry_allocator_system(), r->sums, (size_t)r->count * sizeof *r->sums);
    spry_model_destroy(r->revealed);
}

/* ---- pictures ---- */

/* One panel of a row: the sample at (top, left), pixels that `mask` leaves out at a quarter. */
typedef struct panel {
    uint8_t *pixels; /* [height][row_width][3] */
    int64_t row_width, left;
    const float *sample; /* [channels][height][width] */
    int64_t channels, height, width;
    float low, high;   /* of the sample */
    const float *mask; /* [rows][columns]; NULL: everything is shown */
    int64_t rows, columns;
} panel;

static void draw(const panel *p)
{
    float range = p->high > p->low ? p->high - p->low : 1.0f;

    for (int64_t y = 0; y < p->height; y++) {
        for (int64_t x = 0; x < p->width; x++) {
            const float *mask = p->mask;
            bool is_kept =
                mask == NULL ||
                mask[y * p->rows / p->height * p->columns + x * p->columns / p->width] > 0.5f;
            uint8_t *to = p->pixels + (y * p->row_width + p->left + x) * 3;

            for (int64_t c = 0; c < 3; c++) {
                int64_t plane = p->channels >= 3 ? c : 0;
                float v = (p->sample[(plane * p->height + y) * p->width + x] - p->low) / range;

                v = is_kept ? v : 0.25f * v + (c == 2 ? 0.2f : 0.0f); /* blue is left out */
                to[c] = (uint8_t)lrintf(v * 255.0f);
            }
        }
    }
}

static void find_range(panel *p)
{
    p->low = p->high = p->sample[0];
    for (int64_t i = 0; i < p->channels * p->height * p->width; i++) {
        p->low = fminf(p->low, p->sample[i]);
        p->high = fmaxf(p->high, p->sample[i]);
    }
}

/* Is it a batch of pictures in f32, channels first? */
static bool is_picture(const spry_tensor *t)
{
    return t->dtype == SPRY_DTYPE_F32 && t->rank == IMAGE_RANK && tensor_count(t) > 0;
}

/* The masks of all blocks for sample `i` of the batch. */
static spry_status write_picture(const mask_report *r, const spry_evaluate_batch *batch, int64_t i,
                                 spry_error *error)
{
    const spry_tensor *input = batch->input;
    int64_t width = (input->shape[3] + GAP) * (r->count + 1) - GAP;
    const int64_t shape[] = {input->shape[2], width, 3};
    spry_tensor *picture = NULL;
    char path[PATH_SIZE];
    panel p = {.channels = input->shape[1],
               .height = input->shape[2],
               .width = input->shape[3],
               .row_width = width};
    spry_status status = spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &picture, error);

    if (status != SPRY_OK) {
        return status;
    }
    p.pixels = spry_tensor_data(picture);
    memset(p.pixels, UINT8_MAX, picture->bytes);
    p.sample = (const float *)input->data + i * p.channels * p.height * p.width;
    find_range(&p);
    draw(&p);
    for (int32_t k = 0; k < r->count; k++) {
        const spry_tensor *mask = spry_value_tensor(batch->outputs[r->first + k]);

        p.left += p.width + GAP;
        p.rows = mask->shape[2];
        p.columns = mask->shape[3];
        p.mask = (const float *)mask->data + i * p.rows * p.columns;
        draw(&p);
    }
    (void)snprintf(path, sizeof path, "%s/%06lld.png", r->folder, (long long)(batch->first + i));
    status = spry_image_save_png(picture, path, error);
    spry_tensor_destroy(picture);
    return status;
}

/* ---- counting ---- */

static spry_status count_mask(mask_report *r, int32_t k, const spry_evaluate_batch *batch,
                              spry_error *error)
{
    const spry_tensor *mask = spry_value_tensor(batch->outputs[r->first + k]);
    int64_t cells;

    if (mask == NULL || !is_picture(mask) || mask->shape[0] != batch->count) {
        return spry_fail(error, SPRY_BAD_INPUT, "masks", NULL,
                         "a mask is not f32 [samples, 1, height, width]");
    }
    cells = tensor_count(mask) / batch->count;
    for (int64_t i = batch->skip; i < batch->count; i++) {
        const float *x = (const float *)mask->data + i * cells;
        double sum = 0;

        for (int64_t c = 0; c < cells; c++) {
            sum += (double)x[c];
        }
        r->sums[k] += sum / (double)cells;
    }
    return SPRY_OK;
}

spry_status mask_report_take(void *report, const spry_evaluate_batch *batch, spry_error *error)
{
    mask_report *r = report;
    spry_status status = SPRY_OK;

    for (int32_t k = 0; k < r->count && status == SPRY_OK; k++) {
        status = count_mask(r, k, batch, error);
    }
    r->samples += batch->count - batch->skip;
    for (int64_t i = batch->skip; i < batch->count && status == SPRY_OK; i++) {
        if (batch->first + i < r->pictures && is_picture(batch->input)) {
            status = write_picture(r, batch, i, error);
        }
    }
    return status;
}

/* ---- telling ---- */

/* The block that mask `k` belongs to: the name of its output without the last part. */
static spry_status block_name(const mask_report *r, int32_t k, char *name, size_t size,
                              spry_error *error)
{
    spry_port port;
    spry_status status = spry_model_output(r->revealed, r->first + k, &port, error);
    char *end;

    if (status == SPRY_OK) {
        (void)snprintf(name, size, "%s", port.name);
        end = strrchr(name, '/');
        if (end != NULL && end != name) {
            *end = '\0';
        }
    }
    return status;
}

static double density(const mask_report *r, int32_t k)
{
    return r->samples > 0 ? r->sums[k] / (double)r->samples : 0;
}

spry_status mask_report_print(const mask_report *r, const cli_call *call, spry_error *error)
{
    static const table_column columns[] = {{"block", false}, {"kept %", true}, {NULL, false}};
    double sum = 0;
    spry_status status = SPRY_OK;
    table t;

    table_init(&t, columns);
    for (int32_t k = 0; k < r->count && status == SPRY_OK; k++) {
        char name[NAME_SIZE];

        status = block_name(r, k, name, sizeof name, error);
        if (status == SPRY_OK) {
            table_cell(&t, "%s", name);
            table_cell(&t, "%.2f", 100 * density(r, k));
        }
        sum += density(r, k);
    }
    table_cell(&t, "%s", "mean");
    table_cell(&t, "%.2f", 100 * sum / (double)r->count);
    (void)fputc('\n', call->out);
    if (status == SPRY_OK) {
        status = table_print(&t, TABLE_PLAIN, call->out, error);
    }
    table_fini(&t);
    return status;
}

spry_status mask_report_json(const mask_report *r, json_writer *json, spry_error *error)
{
    spry_status status = SPRY_OK;

    json_write_array(json, "masks");
    for (int32_t k = 0; k < r->count && status == SPRY_OK; k++) {
        char name[NAME_SIZE];

        status = block_name(r, k, name, sizeof name, error);
        if (status == SPRY_OK) {
            json_write_object(json, NULL);
            json_write_string(json, "block", name);
            json_write_f64(json, "density", density(r, k));
            json_write_end(json);
        }
    }
    json_write_end(json);
    return status;
}
