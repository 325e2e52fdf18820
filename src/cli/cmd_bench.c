/* spry bench: how fast a model runs here, and where the time goes. */
#include "base/threads.h"
#include "cli/bench/interference.h"
#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress_bar.h"

enum { PROFILE_RUNS_MOST = 20 };

static const cli_option options[] = {
    SUBJECT_SESSION_OPTIONS,
    {.name = "runs",
     .letter = 'r',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1000000,
     .help = "timed runs, 0 for as many as fit into --seconds"},
    {.name = "seconds",
     .kind = CLI_NUMBER,
     .value = "S",
     .fallback = "2",
     .lowest = 0,
     .highest = 86400,
     .help = "time for the timed runs"},
    {.name = "warmup",
     .letter = 'w',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "3",
     .lowest = 0,
     .highest = 1000000,
     .help = "untimed runs before, besides the first"},
    {.name = "explain",
     .kind = CLI_FLAG,
     .help =
         "list every node: its kernel, the way it was planned, its speed and share of the peak"},
    {.name = "md", .kind = CLI_FLAG, .help = "print tables as Markdown"},
    {.name = "csv",
     .kind = CLI_FLAG,
     .help = "print one table as CSV: the summary, or the nodes with --explain"},
    BENCH_INTERFERENCE_OPTIONS,
    SUBJECT_INPUT_OPTIONS,
    {0},
};

/* ---- measuring ---- */

static spry_status measure(bench_report *b, spry_error *error)
{
    spry_bench_options bench = spry_bench_options_default();
    progress_bar bar;
    spry_status status;

    bench.runs = (int32_t)cli_integer(b->call, "runs");
    bench.warmup = (int32_t)cli_integer(b->call, "warmup");
    bench.seconds = cli_number(b->call, "seconds");
    progress_bar_begin(&bar, b->call);
    bench.progress = &bar.hook;
    status = spry_bench_session(b->s.session, b->s.feed, &bench, &b->result, error);
    progress_bar_end(&bar);
    b->arena_bytes = spry_session_arena_bytes(b->s.session);
    b->packed_bytes = spry_session_packed_bytes(b->s.session);
    return status;
}

/* Times of operators come from runs of their own, so that taking them does not slow down the runs
 * that are reported. */
static spry_status profile(bench_report *b, spry_error *error)
{
    spry_bench_options bench = spry_bench_options_default();
    spry_bench_result ignored;
    double load_ms = b->s.load_ms;
    spry_status status;

    b->s.options.profile = true;
    status = subject_open_session(&b->s, error);
    b->s.load_ms = load_ms;
    bench.runs = b->result.runs < PROFILE_RUNS_MOST ? b->result.runs : PROFILE_RUNS_MOST;
    bench.warmup = 0;
    if (status == SPRY_OK) {
        status = spry_bench_session(b->s.session, b->s.feed, &bench, &ignored, error);
    }
    if (status == SPRY_OK) {
        /* The first run plans, packs and meets cold caches: once more without it. */
        spry_session_profile_reset(b->s.session);
        status = spry_bench_session(b->s.session, b->s.feed, &bench, &ignored, error);
    }
    if (status == SPRY_OK) {
        b->row_count = spry_session_profile(b->s.session, &b->rows);
        b->profiled_runs = bench.runs + 1.0; /* the first, untimed one counts */
        for (int32_t i = 0; i < b->row_count; i++) {
            b->total_ms += b->rows[i].milliseconds;
        }
    }
    return status;
}

/* What makes the figures doubtful is said, always. */
static void warn(const bench_report *b)
{
    const spry_bench_result *r = &b->result;
    int usable = threads_available();
    int asked = b->s.options.threads > 0 ? b->s.options.threads : usable;

    if (r->throttled_ms > 0.0) {
        output_warn(b->call, "the CPU quota stopped this process for %.1f ms: figures are too high",
                    r->throttled_ms);
    }
    if (asked > usable) {
        output_warn(b->call, "%d threads share %d CPUs", asked, usable);
    }
    if (r->load_before + asked > usable + 0.5) {
        output_warn(b->call, "the machine is busy (load %.1f before the start)", r->load_before);
    }
    if (r->drift > 1.1 || r->drift < 0.9) {
        output_warn(b->call, "speed drifted: the last third of the runs took %.2f times the first",
                    r->drift);
    }
}

/* ---- the command ---- */

static spry_status perform(bench_report *b, spry_error *error)
{
    spry_status status = subject_open(&b->s, b->call, error);

    if (status == SPRY_OK && bench_interference_wanted(b->call)) {
        status = subject_gather(&b->s, b->call, error);
        return status == SPRY_OK ? bench_interference(b->call, &b->s, error) : status;
    }
    if (status == SPRY_OK) {
        status = subject_open_session(&b->s, error);
    }
    if (status == SPRY_OK) {
        status = subject_gather(&b->s, b->call, error);
    }
    if (status == SPRY_OK) {
        status = measure(b, error);
    }
    if (status == SPRY_OK) {
        subject_tell_cache(&b->s, b->call);
        status = profile(b, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    peak_measure(&b->machine);
    warn(b);
    return cli_given(b->call, "json") ? bench_report_json(b, error) : bench_report_text(b, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    bench_report b = {.call = call};
    spry_status status = perform(&b, error);

    subject_close(&b.s);
    return status;
}

const cli_command cmd_bench = {
    .name = "bench",
    .summary = "measure how fast a model runs, and where the time goes",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry bench model.onnx --threads 1",
                 "spry bench model.onnx --set batch=8 --runs 100 --explain",
                 "spry bench model.onnx --threads 2 --json > result.json"},
    .description =
        "Loads the model, runs it once (which plans and packs weights), warms up, and then times "
        "every run by the monotonic clock. Times of operators come from further runs, so that "
        "taking them does not disturb the latency.\n\n"
        "The peak is measured too: what a core multiplies and adds in registers alone. A node's "
        "share of it counts the threads that its work was cut for. `foretold` is what the planner "
        "expected when it chose among several ways.\n\n"
        "With --aggressor a thread of its own streams through memory and follows pointers on the "
        "last "
        "CPU meanwhile, and what is told is how much slower the model runs. --versions measures "
        "versions of the model (numbers of threads, with and without fusion) at all levels of the "
        "aggressor, and chooses among them by how much slower finished runs become.\n\n"
        "Warns when a CPU quota stopped the process, when the machine was busy, or when speed "
        "drifted during the measurement: such figures should not be compared.",
    .options = options,
    .run = run,
};
