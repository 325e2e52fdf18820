/* spry simulate metro: known traffic, scheduled beforehand. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "cli/simulate/metro.h"

enum { WIDTHS_MOST = 16 };

static const char *const taken[] = {"compare", "seed", "threads", NULL};

static const cli_option own[] = {
    {.name = "flit",
     .kind = CLI_INTEGER,
     .value = "BITS",
     .lowest = 8,
     .highest = 65536,
     .help = "width of a link, in place of the target's"},
    {.name = "flits", .kind = CLI_TEXT, .value = "BITS,...", .help = "a row per width: 64,128,256"},
    {.name = "chunk",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "64",
     .lowest = 1,
     .highest = 1e9,
     .help = "flits that are scheduled together"},
    {.name = "headers",
     .kind = CLI_CHOICE,
     .value = "WHERE",
     .fallback = "none",
     .choices = metro_headers_names,
     .help = "flits that say whose the others are: none, one per chunk, one per 8"},
    {.name = "generations",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "60",
     .lowest = 0,
     .highest = 1000000,
     .help = "of the search for routes and orders, at most; 0: rules of thumb alone"},
    {.name = "exact",
     .kind = CLI_FLAG,
     .help = "up to 12 flows: look for the best of all orders and routes as well"},
    {.name = "schedule",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write trees, injections and tables as JSON, which this command checks again"},
    {0},
};

static spry_status parse_widths(const cli_call *call, int *widths, int *count, spry_error *error)
{
    const char *rest = cli_text(call, "flits");

    while (rest != NULL && *count < WIDTHS_MOST) {
        size_t length = strcspn(rest, ",");
        char number[16] = "";
        int64_t width;

        if (length < sizeof number) {
            memcpy(number, rest, length);
        }
        if (!parse_i64(number, 8, 65536, &width)) {
            break;
        }
        widths[(*count)++] = (int)width;
        rest = rest[length] == ',' ? rest + length + 1 : NULL;
    }
    return rest == NULL ? SPRY_OK
                        : spry_fail(error, SPRY_USAGE, "--flits", "write 64,128,256",
                                    "'%.40s' is no list of at most %d widths of 8 to 65536 bits",
                                    cli_text(call, "flits"), (int)WIDTHS_MOST);
}

static bool ends_with(const char *path, const char *end)
{
    size_t length = strlen(path);

    return length >= strlen(end) && strcmp(path + length - strlen(end), end) == 0;
}

static spry_status read_machine(metro_job *j, spry_error *error)
{
    spry_status status = simulate_target(j->call, "mesh-8x8", &j->t, error);

    if (status == SPRY_OK) {
        status = mesh_options_read(j->t, &j->network, error);
    }
    if (status == SPRY_OK) {
        status = mesh_hardware_read(j->t, &j->hardware, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(j->t, error);
    }
    j->options =
        (metro_options){.flit_bits = cli_given(j->call, "flit") ? (int)cli_integer(j->call, "flit")
                                                                : j->hardware.flit_bits,
                        .chunk_flits = (int)cli_integer(j->call, "chunk")};
    while (strcmp(metro_headers_names[j->options.headers], cli_text(j->call, "headers")) != 0) {
        j->options.headers++;
    }
    return status;
}

static spry_status read_layers(metro_job *j, spry_error *error)
{
    spry_model *model = NULL;
    spry_status status;

    metro_tiles_default(&j->tiles, j->network.width, j->network.height);
    status = spry_model_load(NULL, j->call->arguments[1], &model, error);
    if (status == SPRY_OK) {
        status = simulate_layers_of_model(&j->layers, model, error);
    }
    spry_model_destroy(model);
    return status;
}

/* A table of flows, or else a network. */
static spry_status read_work(metro_job *j, spry_error *error)
{
    spry_status status;

    j->is_file = ends_with(j->call->arguments[1], ".csv");
    if (j->is_file) {
        arena_init(&j->layers.memory, NULL, (size_t)1 << 28);
        metro_flows_init(&j->flows, j->network.width, j->network.height);
        status = metro_flows_read(&j->flows, j->call->arguments[1], error);
    } else {
        status = read_layers(j, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    j->count = j->is_file ? 1 : j->layers.count;
    j->rows = arena_array(&j->layers.memory, (size_t)j->count, sizeof *j->rows);
    j->tracks =
        arena_array(&j->layers.memory, (size_t)(j->network.width * j->network.height * METRO_LINKS),
                    sizeof *j->tracks);
    if (j->rows == NULL || j->tracks == NULL) {
        return alloc_failed(error, (size_t)j->count * sizeof *j->rows);
    }
    for (int32_t i = 0; i < j->count; i++) {
        j->rows[i].name = j->is_file ? "flows" : j->layers.items[i].name;
    }
    return threads_create(NULL, (int)cli_integer(j->call, "threads"), &j->team, error);
}

static spry_status schedule(metro_job *j, spry_error *error)
{
    const char *path = cli_text(j->call, "schedule");
    output_document file;
    spry_status status;

    if (path != NULL) {
        j->file = &file;
        output_begin(&file, j->call);
        json_write_array(&file.json, "bursts");
    }
    status = metro_schedule_all(j, error);
    if (path != NULL) {
        json_write_end(&file.json);
        j->file = NULL;
    }
    if (path != NULL && status == SPRY_OK) {
        status = output_save(&file, path, error);
    } else if (path != NULL) {
        output_drop(&file);
    }
    return status;
}

static spry_status sweep(metro_job *j, const int *widths, int count, spry_error *error)
{
    metro_total totals[WIDTHS_MOST];
    timeline *times = j->r.timeline;
    spry_status status = SPRY_OK;

    j->r.timeline = NULL; /* one network at a time */
    for (int i = 0; i < count && status == SPRY_OK; i++) {
        j->options.flit_bits = widths[i];
        status = metro_schedule_all(j, error);
        totals[i] = metro_sum_up(j);
    }
    j->r.timeline = times;
    if (status == SPRY_OK) {
        metro_tell_widths(j, widths, totals, count);
    }
    return status;
}

static spry_status work(metro_job *j, spry_error *error)
{
    const output_record record = {.model = j->is_file ? NULL : j->call->arguments[1],
                                  .threads = (int)cli_integer(j->call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(j->call, "seed")};
    int widths[WIDTHS_MOST];
    int count = 0;
    char title[64];
    spry_status status = parse_widths(j->call, widths, &count, error);

    if (status != SPRY_OK) {
        return status;
    }
    (void)snprintf(title, sizeof title, "Scheduled traffic on %d x %d tiles", j->network.width,
                   j->network.height);
    simulate_report(&j->r, j->call, title);
    if (count > 0) {
        status = sweep(j, widths, count, error);
    } else {
        status = schedule(j, error);
        if (status == SPRY_OK) {
            metro_tell_rows(j);
        }
    }
    output_detail(j->call, "scheduled in %.2f s", j->seconds);
    return status == SPRY_OK ? simulate_tell(j->call, &j->r, j->t, &record, error) : status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const char *path = cli_text(call, "schedule");
    metro_job j = {.call = call};
    spry_status status = path != NULL ? output_check_free(call, path, error) : SPRY_OK;

    if (status != SPRY_OK || ends_with(call->arguments[1], ".json")) {
        return status == SPRY_OK ? metro_check(call, error) : status;
    }
    status = read_machine(&j, error);
    if (status == SPRY_OK) {
        status = read_work(&j, error);
    }
    if (status == SPRY_OK) {
        status = work(&j, error);
    }
    report_fini(&j.r);
    threads_destroy(j.team);
    metro_flows_fini(&j.flows);
    simulate_layers_fini(&j.layers);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_metro = {
    .name = "metro",
    .part = {.title = "metro FLOWS.csv|MODEL.onnx|SCHEDULE.json",
             .about =
                 "Schedules known traffic over a mesh so that no two flits want one link, lets "
                 "a replay confirm it, and says how far it is from the bound of its routes. "
                 "FLOWS is a CSV of id,type,src,dst list,bytes,release,due,group; of an ONNX "
                 "file, every layer's weights, inputs and results are moved between memory "
                 "and tiles. A file of --schedule is replayed as it stands.",
             .options = own},
    .options = taken,
    .arguments = 1,
    .run = run};
