/* Running a model that shows its masks, and drawing them. */
#include "cli/inspect/look.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/mask_picture.h"
#include "cli/mask_report.h"
#include "cli/subject.h"
#include "spry/evaluate.h"
#include "spry/feed.h"
#include "spry/session.h"

enum {
    NAME_SIZE = 256,
    CAPTION_SIZE = NAME_SIZE + 32,
    LEAST_PICTURES = 64,
    MOST_PICTURES = 1 << 20
};

typedef struct viewer {
    const cli_call *call;
    inspect_look *look;
    mask_report masks;
    spry_session *session;
    spry_preprocess recipe;
    int64_t limit;
} viewer;

/* ---- drawing ---- */

static spry_status grow(inspect_look *look, spry_error *error)
{
    spry_inspect_picture *more;
    int32_t room = look->room > 0 ? 2 * look->room : LEAST_PICTURES;

    if (look->count < look->room) {
        return SPRY_OK;
    }
    if (room > MOST_PICTURES) {
        return spry_fail(error, SPRY_LIMIT, "pictures", "show fewer: --samples", "more than %d",
                         (int)MOST_PICTURES);
    }
    more = arena_array(&look->memory, (size_t)room, sizeof *more);
    if (more == NULL) {
        return alloc_failed(error, (size_t)room * sizeof *more);
    }
    for (int32_t i = 0; i < look->count; i++) {
        more[i] = look->pictures[i];
    }
    look->pictures = more;
    look->room = room;
    return SPRY_OK;
}

/* The sample as far as `mask` says, or as a whole. */
static spry_status add(inspect_look *look, const mask_picture *p, const spry_tensor *mask,
                       const char *group, const char *caption, spry_error *error)
{
    const int64_t shape[] = {p->height, p->width, 3};
    const char *kept = arena_text(&look->memory, caption, strlen(caption));
    spry_tensor *picture = NULL;
    spry_status status = grow(look, error);

    if (status == SPRY_OK && kept == NULL) {
        status = alloc_failed(error, CAPTION_SIZE);
    }
    if (status == SPRY_OK) {
        status = spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &picture, error);
    }
    if (status == SPRY_OK) {
        mask_picture_draw(p, mask, 1, spry_tensor_data(picture), p->width);
        look->pictures[look->count++] =
            (spry_inspect_picture){.group = group, .caption = kept, .image = picture};
    }
    return status;
}

static spry_status add_sample(viewer *v, const spry_evaluate_batch *batch, int64_t i,
                              spry_error *error)
{
    mask_picture p = mask_picture_of(batch->input, i);
    char caption[CAPTION_SIZE];
    const char *group;
    spry_status status;

    (void)snprintf(caption, sizeof caption, "sample %lld", (long long)(batch->first + i));
    group = arena_text(&v->look->memory, caption, strlen(caption));
    if (group == NULL) {
        return alloc_failed(error, sizeof caption);
    }
    status = add(v->look, &p, NULL, group, "the sample", error);
    for (int32_t k = 0; k < v->masks.count && status == SPRY_OK; k++) {
        const spry_tensor *mask = spry_value_tensor(batch->outputs[v->masks.first + k]);
        char name[NAME_SIZE];

        status = mask_report_block(&v->masks, k, name, sizeof name, error);
        if (status == SPRY_OK) {
            (void)snprintf(caption, sizeof caption, "%s, %.0f %%", name, 100 * mask_share(mask, i));
            status = add(v->look, &p, mask, group, caption, error);
        }
    }
    return status;
}

/* As spry_evaluate_options.visit. */
static spry_status see(void *context, const spry_evaluate_batch *batch, spry_error *error)
{
    viewer *v = context;
    spry_status status = mask_report_take(&v->masks, batch, error); /* which checks the masks */

    if (status == SPRY_OK && !mask_picture_fits(batch->input)) {
        return spry_fail(error, SPRY_USAGE, "input", "leave --input and --data out",
                         "samples are no pictures, f32 [N,C,H,W]");
    }
    for (int64_t i = batch->skip; i < batch->count && status == SPRY_OK; i++) {
        if (batch->first + i < v->limit) {
            status = add_sample(v, batch, i, error);
        }
    }
    return status;
}

/* ---- running ---- */

static spry_status run_file(viewer *v, const char *path, spry_error *error)
{
    int32_t count = spry_model_output_count(v->masks.revealed);
    spry_value **outputs = arena_zeroed(&v->look->memory, (size_t)count * sizeof *outputs);
    spry_evaluate_batch batch = {.outputs = outputs};
    spry_feed *feed = NULL;
    spry_status status = outputs != NULL ? spry_feed_create(NULL, v->masks.revealed, &feed, error)
                                         : alloc_failed(error, (size_t)count * sizeof *outputs);

    if (status == SPRY_OK) {
        status = spry_feed_load(feed, NULL, path, &v->recipe, error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_run(feed, v->session, count, outputs, error);
    }
    if (status == SPRY_OK) {
        batch.input = spry_value_tensor(spry_feed_value(feed, 0));
        batch.count = spry_tensor_rank(batch.input) > 0 ? spry_tensor_shape(batch.input)[0] : 0;
        status = see(v, &batch, error);
    }
    for (int32_t i = 0; outputs != NULL && i < count; i++) {
        spry_value_destroy(outputs[i]);
    }
    spry_feed_destroy(feed);
    return status;
}

static spry_status run_data(viewer *v, const char *source, spry_error *error)
{
    spry_evaluate_options asked = spry_evaluate_options_default();
    spry_evaluation *result = NULL;
    spry_dataset *data = NULL;
    spry_status status = spry_dataset_open(NULL, source, &data, error);

    asked.recipe = &v->recipe;
    asked.limit = v->limit;
    asked.visit = see;
    asked.visit_context = v;
    if (status == SPRY_OK) {
        status = spry_evaluate(v->masks.revealed, v->session, data, &asked, &result, error);
    }
    spry_evaluation_destroy(result);
    spry_dataset_close(data);
    return status;
}

static spry_status view(viewer *v, const spry_model *m, const char *file, const char *data,
                        spry_error *error)
{
    const spry_session_options options = spry_session_options_default();
    spry_status status = spry_preprocess_parse(cli_text(v->call, "preprocess"), &v->recipe, error);

    if (status == SPRY_OK) {
        status = mask_report_open(&v->masks, m, NULL, error);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(v->masks.revealed, &options, &v->session, error);
    }
    if (status == SPRY_OK) {
        status = file != NULL ? run_file(v, file, error) : run_data(v, data, error);
    }
    spry_session_destroy(v->session);
    mask_report_close(&v->masks);
    return status;
}

spry_status inspect_look_open(inspect_look *look, const cli_call *call, const spry_model *m,
                              spry_error *error)
{
    const char *file = cli_text(call, "input");
    const char *data = cli_text(call, "data");
    viewer v = {.call = call, .look = look, .limit = cli_integer(call, "samples")};

    *look = (inspect_look){.count = 0};
    arena_init(&look->memory, NULL, SIZE_MAX);
    if (file == NULL && data == NULL) {
        return SPRY_OK;
    }
    if (file != NULL && data != NULL) {
        return spry_fail(error, SPRY_USAGE, "--data", "give one of them",
                         "--input names what to look at already");
    }
    if (!cli_given(call, "html")) {
        return spry_fail(error, SPRY_USAGE, "--html", "for example --html page.html",
                         "no page given to show it on");
    }
    return view(&v, m, file, data, error);
}

void inspect_look_close(inspect_look *look)
{
    for (int32_t i = 0; i < look->count; i++) {
        spry_tensor_destroy((spry_tensor *)look->pictures[i].image); /* made in add */
    }
    arena_fini(&look->memory);
}
