/* spry report: where the time of a model goes, for people: a page, or a few lines. */
#include <string.h>

#include "base/threads.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/report/print.h"
#include "spry/compare.h"

enum { LABEL_SIZE = 512 };

static const cli_option options[] = {
    {.name = "html",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write the report as one page, which opens without a network"},
    {.name = "trace",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write the timeline of all runs for ui.perfetto.dev (Chrome trace JSON)"},
    {.name = "against",
     .kind = CLI_PATH,
     .value = "MODEL",
     .help = "put a second model beside it, or the same one with other options"},
    {.name = "against-threads",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "-1",
     .lowest = -1,
     .highest = 1024,
     .help = "threads of the second, -1 for those of the first"},
    {.name = "against-precision",
     .kind = CLI_CHOICE,
     .value = "TYPE",
     .choices = subject_precisions,
     .help = "arithmetic of the second"},
    {.name = "runs",
     .letter = 'r',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 50,
     .help = "recorded runs, 0 for as many as fit into a second"},
    {.name = "no-one-thread",
     .kind = CLI_FLAG,
     .help = "do not also measure with one thread, which tells what threads gain"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace existing files"},
    SUBJECT_SESSION_OPTIONS,
    SUBJECT_INPUT_OPTIONS,
    {0},
};

/* One model with its report. */
typedef struct side {
    subject s;
    report r;
    bool is_open; /* the report */
    char label[LABEL_SIZE];
} side;

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static void describe(side *made)
{
    const char *numbers = spry_model_is_quantized(made->s.model)
                              ? "integers"
                              : subject_precisions[made->s.options.precision];
    int members = made->r.threads;

    (void)snprintf(made->label, sizeof made->label, "%.300s, %s, %d thread%s",
                   file_name(made->s.path), numbers, members, members == 1 ? "" : "s");
}

static spry_status measure(const cli_call *call, side *made, spry_error *error)
{
    report_options wanted = {.session = made->s.options,
                             .runs = (int32_t)cli_integer(call, "runs"),
                             .with_one_thread = !cli_given(call, "no-one-thread")};
    progress_bar bar;
    spry_status status = subject_gather(&made->s, call, error);

    if (status != SPRY_OK) {
        return status;
    }
    progress_bar_begin(&bar, call);
    wanted.progress = &bar.hook;
    made->is_open = true;
    status = report_open(&made->r, made->s.model, made->s.feed, &wanted, error);
    progress_bar_end(&bar);
    describe(made);
    return status;
}

static spry_status measure_second(const cli_call *call, side *second, spry_error *error)
{
    const char *path = cli_text(call, "against");
    spry_status status =
        subject_open_path(&second->s, call, path != NULL ? path : call->arguments[0], error);

    if (status != SPRY_OK) {
        return status;
    }
    if (cli_integer(call, "against-threads") >= 0) {
        second->s.options.threads = (int)cli_integer(call, "against-threads");
    }
    if (cli_given(call, "against-precision")) {
        second->s.options.precision = subject_precision_of(cli_text(call, "against-precision"));
    }
    return measure(call, second, error);
}

static void close_side(side *made)
{
    if (made->is_open) {
        report_close(&made->r);
    }
    subject_close(&made->s);
}

static void warn(const cli_call *call, const report *r)
{
    double busy = r->runs.load_before;

    if (busy + r->threads > threads_available() + 0.5) {
        output_warn(call, "the machine is busy (load %.1f before the start)", busy);
    }
    if (r->runs.drift > 1.1 || r->runs.drift < 0.9) {
        output_warn(call, "speed drifted: the last third of the runs took %.2f times the first",
                    r->runs.drift);
    }
}

/* Files, then what is printed. */
static spry_status tell(const cli_call *call, const subject *s, const report_page *page,
                        spry_error *error)
{
    const char *html = cli_text(call, "html");
    const char *timeline = cli_text(call, "trace");
    spry_status status = SPRY_OK;

    warn(call, page->first.r);
    if (html != NULL) {
        status = report_page_save(page, html, error);
    }
    if (status == SPRY_OK && timeline != NULL) {
        status = spry_trace_write(page->first.r->trace, timeline, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (cli_given(call, "json")) {
        return report_print_json(call, s, page, error);
    }
    report_print_text(call, page);
    if (html != NULL) {
        (void)fprintf(call->out, "\nwrote %s\n", html);
    }
    return SPRY_OK;
}

static spry_status check_files(const cli_call *call, spry_error *error)
{
    static const char *const files[] = {"html", "trace"};
    spry_status status = SPRY_OK;

    for (int i = 0; i < 2 && status == SPRY_OK; i++) {
        const char *path = cli_text(call, files[i]);

        status = path != NULL ? output_check_free(call, path, error) : SPRY_OK;
    }
    return status;
}

static bool is_compared(const cli_call *call)
{
    return cli_given(call, "against") || cli_given(call, "against-threads") ||
           cli_given(call, "against-precision");
}

static spry_status run(const cli_call *call, spry_error *error)
{
    side first = {0};
    side second = {0};
    report_page page = {.title = file_name(call->arguments[0])};
    spry_status status = check_files(call, error);

    if (status == SPRY_OK) {
        status = subject_open(&first.s, call, error);
    }
    if (status == SPRY_OK) {
        status = measure(call, &first, error);
    }
    if (status == SPRY_OK && is_compared(call)) {
        status = measure_second(call, &second, error);
        page.second = (report_side){second.label, &second.r};
    }
    if (status == SPRY_OK && page.second.r != NULL) {
        report_pair *pairs = NULL;

        status = report_match(&first.r, &second.r, &pairs, &page.pair_count, error);
        page.pairs = pairs;
    }
    page.first = (report_side){first.label, &first.r};
    if (status == SPRY_OK) {
        status = tell(call, &first.s, &page, error);
    }
    close_side(&second);
    close_side(&first);
    return status;
}

const cli_command cmd_report = {
    .name = "report",
    .summary = "show where the time of a model goes, and what to try",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry report model.onnx --html report.html",
                 "spry report model.onnx --against model-int8.onnx --html compare.html",
                 "spry report model.onnx --threads 4 --against-threads 1 --trace trace.json", NULL},
    .description =
        "Runs the model some times, takes down when each layer ran, measures what the machine can "
        "do at most, and says in words what the costliest layers are bound by and what to try "
        "next.\n\n"
        "The page that --html writes has all of it: a timeline, tables by operator and by layer, "
        "the roofline, memory over time, and the drawn graph with the time of every layer. It "
        "fetches nothing.\n\n"
        "With --against a second model stands beside the first, layer by layer; "
        "--against-threads and --against-precision give it other options, and alone they compare "
        "the model with itself.\n\n"
        "Where spry doctor --calibrate has measured this machine, that counts too.",
    .options = options,
    .run = run,
};
