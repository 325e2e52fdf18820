/* Densities and pictures of masks. */
#include "cli/mask_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "cli/mask_picture.h"
#include "cli/table.h"
#include "spry/adapt.h"
#include "spry/image.h"
#include "tensor/tensor.h"

enum {
    MOST_PICTURES = 16,
    PATH_SIZE = 4096,
    NAME_SIZE = 256,
    GAP = 2,
    LEAST_SIDE = 64,
    PER_ROW = 10
};

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

/* The sample and the masks of all blocks, PER_ROW beside each other, small ones enlarged. */
static spry_status write_picture(const mask_report *r, const spry_evaluate_batch *batch, int64_t i,
                                 spry_error *error)
{
    mask_picture p = mask_picture_of(batch->input, i);
    int64_t scale = p.height < LEAST_SIDE ? (LEAST_SIDE + p.height - 1) / p.height : 1;
    int64_t width = p.width * scale + GAP;
    int64_t height = p.height * scale + GAP;
    int64_t columns = r->count + 1 < PER_ROW ? r->count + 1 : PER_ROW;
    const int64_t shape[] = {(r->count / PER_ROW + 1) * height - GAP, columns * width - GAP, 3};
    spry_tensor *picture = NULL;
    char path[PATH_SIZE];
    spry_status status = spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &picture, error);
    uint8_t *pixels;

    if (status != SPRY_OK) {
        return status;
    }
    pixels = spry_tensor_data(picture);
    memset(pixels, UINT8_MAX, picture->bytes);
    for (int32_t k = -1; k < r->count; k++) {
        int64_t place = k + 1;

        mask_picture_draw(
            &p, k >= 0 ? spry_value_tensor(batch->outputs[r->first + k]) : NULL, scale,
            pixels + (place / PER_ROW * height * shape[1] + place % PER_ROW * width) * 3, shape[1]);
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

    if (mask == NULL || !mask_picture_fits(mask) || mask->shape[0] != batch->count) {
        return spry_fail(error, SPRY_BAD_INPUT, "masks", NULL,
                         "a mask is not f32 [samples, 1, height, width]");
    }
    for (int64_t i = batch->skip; i < batch->count; i++) {
        r->sums[k] += mask_share(mask, i);
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
        if (batch->first + i < r->pictures && mask_picture_fits(batch->input)) {
            status = write_picture(r, batch, i, error);
        }
    }
    return status;
}

/* ---- telling ---- */

spry_status mask_report_block(const mask_report *r, int32_t k, char *name, size_t size,
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

        status = mask_report_block(r, k, name, sizeof name, error);
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

        status = mask_report_block(r, k, name, sizeof name, error);
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
