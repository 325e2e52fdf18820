/* spry doctor: what this machine is, what Spry makes of it, and what is not as good as it could
 * be. */
#include <gnu/libc-version.h>
#include <hwloc.h>
#include <jansson.h>
#include <png.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <webp/decode.h>
#include <zip.h>
#include <zlib.h>

#include "base/cgroup.h"
#include "base/cpu.h"
#include "base/threads.h"
#include "base/topology.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "kernels/isa.h"
#include "measure/calibrate.h"

enum { WORD_SIZE = 64, FINDINGS_MOST = 16, FINDING_SIZE = 256 };

typedef struct doctor_report {
    const cli_call *call;
    topology machine;
    int usable; /* CPUs: affinity and quota */
    int quota;  /* CPUs of the cgroup; 0: none */
    uint64_t memory_limit;
    double load;              /* -1: not known */
    char governor[WORD_SIZE]; /* "" where not readable, as the next */
    char huge_pages[WORD_SIZE];
    char findings[FINDINGS_MOST][FINDING_SIZE];
    int finding_count;
} doctor_report;

/* ---- finding out ---- */

/* The first line of a file of the kernel, or "". */
static void read_word(const char *path, char word[WORD_SIZE])
{
    FILE *file = fopen(path, "re");

    word[0] = '\0';
    if (file == NULL) {
        return;
    }
    if (fgets(word, WORD_SIZE, file) == NULL) {
        word[0] = '\0';
    }
    word[strcspn(word, "\n")] = '\0';
    (void)fclose(file);
}

/* From "always [madvise] never" the word in brackets. */
static void keep_bracketed(char word[WORD_SIZE])
{
    char *open = strchr(word, '[');

    if (open != NULL) {
        size_t length = strcspn(open + 1, "]");

        memmove(word, open + 1, length);
        word[length] = '\0';
    }
}

static void examine(doctor_report *d)
{
    topology_read(&d->machine);
    d->usable = threads_available();
    d->quota = cgroup_cpus();
    d->memory_limit = cgroup_memory();
    if (getloadavg(&d->load, 1) != 1) {
        d->load = -1.0;
    }
    read_word("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", d->governor);
    read_word("/sys/kernel/mm/transparent_hugepage/enabled", d->huge_pages);
    keep_bracketed(d->huge_pages);
}

static void find(doctor_report *d, const char *format, ...) SPRY_PRINTF(2, 3);

static void find(doctor_report *d, const char *format, ...)
{
    va_list arguments;

    if (d->finding_count < FINDINGS_MOST) {
        va_start(arguments, format);
        (void)vsnprintf(d->findings[d->finding_count++], FINDING_SIZE, format, arguments);
        va_end(arguments);
    }
}

static void judge_isa(doctor_report *d)
{
    const isa_choice *choice = isa_chosen();
    const char *asked = getenv("SPRY_ISA");

    if (choice->request == ISA_REQUEST_UNKNOWN) {
        find(d,
             "SPRY_ISA=%.40s is no instruction-set level and is ignored; levels are generic, "
             "avx2, avx512, avx512vnni, amx, neon.",
             asked);
    }
    if (choice->request == ISA_REQUEST_LOWERED) {
        find(d, "SPRY_ISA=%.40s asks for more than this machine has; %s is used.", asked,
             isa_name(choice->level));
    }
    if (choice->level != choice->best) {
        find(d, "SPRY_ISA keeps kernels at %s, though this machine can do %s.",
             isa_name(choice->level), isa_name(choice->best));
    }
    if (choice->best == ISA_GENERIC) {
        find(d, "This processor has no vector instructions that Spry has kernels for: everything "
                "runs in portable C.");
    }
}

static void judge_amx(doctor_report *d)
{
    const cpu_registers *r = cpu_current_registers();

    if (cpu_could_use_amx(r) && !r->amx_permitted) {
        find(d, "The processor has AMX tiles, but the kernel does not let this process use them.");
    }
}

static void judge(doctor_report *d)
{
    judge_isa(d);
    judge_amx(d);
    if (d->quota > 0 && d->quota < d->machine.threads) {
        find(d,
             "A control group leaves %d CPUs' worth of time out of %d: more threads than that "
             "are stopped again and again.",
             d->quota, d->machine.threads);
    }
    if (d->quota == 0 && d->usable < d->machine.threads) {
        find(d, "This process may use %d of %d CPUs (its affinity mask).", d->usable,
             d->machine.threads);
    }
    if (d->load > 0.5) {
        find(d, "Other programs are running (load %.1f): timings will not be quiet.", d->load);
    }
    if (d->governor[0] != '\0' && strcmp(d->governor, "performance") != 0) {
        find(d,
             "The frequency governor is %s: the clock rises only under load, so short "
             "measurements come out slow. \"performance\" avoids that.",
             d->governor);
    }
    if (strcmp(d->huge_pages, "never") == 0) {
        find(d, "Transparent huge pages are off: large weights cost more address translation. "
                "\"madvise\" is enough.");
    }
    if (!d->machine.complete) {
        find(d, "The machine's caches could not be found out; block sizes are guesses.");
    }
    if (d->machine.numa_nodes > 1) {
        find(d,
             "There are %d NUMA nodes: bind a process to one (numactl --cpunodebind=0 "
             "--membind=0) for steady times.",
             d->machine.numa_nodes);
    }
}

/* ---- tables of facts ---- */

typedef struct named_flag {
    const char *name;
    bool on;
} named_flag;

enum { FLAGS = 17 };

static void list_flags(named_flag flags[FLAGS])
{
    const cpu_features *f = cpu_current();
    const named_flag all[FLAGS] = {
        {"sse4.2", f->sse42},
        {"avx2", f->avx2},
        {"fma", f->fma},
        {"f16c", f->f16c},
        {"avx-vnni", f->avxvnni},
        {"avx512f", f->avx512f},
        {"avx512bw", f->avx512bw},
        {"avx512dq", f->avx512dq},
        {"avx512vl", f->avx512vl},
        {"avx512-vnni", f->avx512vnni},
        {"avx512-bf16", f->avx512bf16},
        {"avx512-fp16", f->avx512fp16},
        {"amx-tile", f->amx_tile},
        {"amx-int8", f->amx_int8},
        {"amx-bf16", f->amx_bf16},
        {"neon", f->neon},
        {"dotprod", f->dotprod},
    };

    memcpy(flags, all, sizeof all);
}

typedef struct library {
    const char *name;
    char version[WORD_SIZE];
} library;

enum { LIBRARIES = 8 };

static void list_libraries(library list[LIBRARIES])
{
    unsigned hwloc = hwloc_get_api_version();
    int webp = WebPGetDecoderVersion();
    const library names[LIBRARIES] = {{"libc", ""},    {"jansson", ""}, {"hwloc", ""},
                                      {"libzip", ""},  {"zlib", ""},    {"libpng", ""},
                                      {"libwebp", ""}, {"utf8proc", ""}};

    memcpy(list, names, sizeof names);
    (void)snprintf(list[0].version, WORD_SIZE, "%s", gnu_get_libc_version());
    (void)snprintf(list[1].version, WORD_SIZE, "%s", jansson_version_str());
    (void)snprintf(list[2].version, WORD_SIZE, "%u.%u.%u", hwloc >> 16, hwloc >> 8 & 255,
                   hwloc & 255);
    (void)snprintf(list[3].version, WORD_SIZE, "%s", zip_libzip_version());
    (void)snprintf(list[4].version, WORD_SIZE, "%s", zlibVersion());
    (void)snprintf(list[5].version, WORD_SIZE, "%s", png_get_libpng_ver(NULL));
    (void)snprintf(list[6].version, WORD_SIZE, "%d.%d.%d", webp >> 16, webp >> 8 & 255, webp & 255);
    (void)snprintf(list[7].version, WORD_SIZE, "%s", utf8proc_version());
}

/* "unlimited" or GiB. */
static const char *amount(uint64_t bytes, char buffer[WORD_SIZE])
{
    (void)snprintf(buffer, WORD_SIZE, "%.1f GiB", (double)bytes / (double)(1 << 30));
    return bytes == 0 ? "unlimited" : buffer;
}

static const char *amx_state(void)
{
    const cpu_registers *r = cpu_current_registers();

    if (!cpu_could_use_amx(r)) {
        return "none";
    }
    return r->amx_permitted ? "permitted" : "refused by the kernel";
}

static const char *why_level(void)
{
    switch (isa_chosen()->request) {
    case ISA_REQUEST_HONOURED: return "asked for by SPRY_ISA";
    case ISA_REQUEST_LOWERED: return "the best here; SPRY_ISA asked for more";
    case ISA_REQUEST_UNKNOWN: return "the best here; SPRY_ISA names no level";
    default: return "the best here";
    }
}

/* ---- printing ---- */

static void print_caches(const doctor_report *d, FILE *out)
{
    for (int i = 0; i < d->machine.cache_count; i++) {
        const topology_cache *c = &d->machine.caches[i];

        (void)fprintf(out, "  L%d cache       %d x %.0f KiB, each for %d hardware threads\n",
                      c->level, c->count, (double)c->bytes / 1024.0, c->threads);
    }
}

static void print_machine(const doctor_report *d, FILE *out)
{
    const topology *m = &d->machine;
    char buffer[WORD_SIZE];
    named_flag flags[FLAGS];

    (void)fprintf(out, "Processor\n  name           %s\n", cpu_brand());
    (void)fprintf(out, "  cores          %d in %d package%s, %d hardware threads, %d NUMA node%s\n",
                  m->cores, m->packages, m->packages == 1 ? "" : "s", m->threads, m->numa_nodes,
                  m->numa_nodes == 1 ? "" : "s");
    (void)fprintf(out, "  usable         %d CPUs", d->usable);
    (void)fprintf(out, d->quota > 0 ? " (cgroup quota: %d)\n" : " (no cgroup quota)\n", d->quota);
    print_caches(d, out);
    (void)fprintf(out, "  governor       %s\n",
                  d->governor[0] != '\0' ? d->governor : "not readable");
    (void)fprintf(out, "\nMemory\n  machine        %s\n", amount(m->memory_total, buffer));
    (void)fprintf(out, "  cgroup limit   %s\n", amount(d->memory_limit, buffer));
    (void)fprintf(out, "  huge pages     %s\n",
                  d->huge_pages[0] != '\0' ? d->huge_pages : "not readable");
    (void)fprintf(out, "\nInstruction sets\n  kernels use    %s (%s)\n", isa_name(isa_current()),
                  why_level());
    (void)fprintf(out, "  present       ");
    list_flags(flags);
    for (int i = 0; i < FLAGS; i++) {
        (void)fprintf(out, "%s%s", flags[i].on ? " " : "", flags[i].on ? flags[i].name : "");
    }
    (void)fprintf(out, "\n  AMX tiles      %s\n", amx_state());
    (void)fprintf(out, "  bf16           %s\n",
                  isa_has_bf16() ? "two products per f32 one (--precision bf16)"
                                 : "no instructions: --precision bf16 computes in f32");
}

static void print_text(const doctor_report *d)
{
    FILE *out = d->call->out;
    library list[LIBRARIES];

    print_machine(d, out);
    (void)fprintf(out, "\nVersions\n  %-13s  %s\n", "spry", SPRY_VERSION_TEXT);
    list_libraries(list);
    for (int i = 0; i < LIBRARIES; i++) {
        (void)fprintf(out, "  %-13s  %s\n", list[i].name, list[i].version);
    }
    (void)fprintf(out, "\n%s\n",
                  d->finding_count > 0 ? "What could be better" : "Nothing to improve was found.");
    for (int i = 0; i < d->finding_count; i++) {
        (void)fprintf(out, "  - %s\n", d->findings[i]);
    }
}

static void write_cpu(const doctor_report *d, json_writer *json)
{
    const topology *m = &d->machine;
    named_flag flags[FLAGS];

    json_write_object(json, "cpu");
    json_write_string(json, "name", cpu_brand());
    json_write_i64(json, "packages", m->packages);
    json_write_i64(json, "cores", m->cores);
    json_write_i64(json, "threads", m->threads);
    json_write_i64(json, "numa_nodes", m->numa_nodes);
    json_write_i64(json, "usable", d->usable);
    json_write_i64(json, "cgroup_cpus", d->quota);
    json_write_string(json, "governor", d->governor[0] != '\0' ? d->governor : NULL);
    json_write_array(json, "flags");
    list_flags(flags);
    for (int i = 0; i < FLAGS; i++) {
        if (flags[i].on) {
            json_write_string(json, NULL, flags[i].name);
        }
    }
    json_write_end(json);
    json_write_array(json, "caches");
    for (int i = 0; i < m->cache_count; i++) {
        json_write_object(json, NULL);
        json_write_i64(json, "level", m->caches[i].level);
        json_write_u64(json, "bytes", m->caches[i].bytes);
        json_write_i64(json, "count", m->caches[i].count);
        json_write_i64(json, "threads", m->caches[i].threads);
        json_write_end(json);
    }
    json_write_end(json);
    json_write_end(json);
}

static spry_status print_json(const doctor_report *d, spry_error *error)
{
    output_document document;
    json_writer *json = &document.json;
    library list[LIBRARIES];

    output_begin(&document, d->call);
    write_cpu(d, json);
    json_write_object(json, "memory");
    json_write_u64(json, "machine_bytes", d->machine.memory_total);
    json_write_u64(json, "cgroup_bytes", d->memory_limit);
    json_write_string(json, "huge_pages", d->huge_pages[0] != '\0' ? d->huge_pages : NULL);
    json_write_end(json);
    json_write_object(json, "isa");
    json_write_string(json, "level", isa_name(isa_current()));
    json_write_string(json, "best", isa_name(isa_chosen()->best));
    json_write_string(json, "why", why_level());
    json_write_string(json, "amx", amx_state());
    json_write_end(json);
    json_write_f64(json, "load_average", d->load);
    json_write_object(json, "versions");
    json_write_string(json, "spry", SPRY_VERSION_TEXT);
    list_libraries(list);
    for (int i = 0; i < LIBRARIES; i++) {
        json_write_string(json, list[i].name, list[i].version);
    }
    json_write_end(json);
    json_write_array(json, "findings");
    for (int i = 0; i < d->finding_count; i++) {
        json_write_string(json, NULL, d->findings[i]);
    }
    json_write_end(json);
    return output_end(&document, d->call, error);
}

/* ---- calibration ---- */

static const cli_option options[] = {
    {.name = "calibrate",
     .kind = CLI_FLAG,
     .help =
         "measure this machine for `spry predict`, which then knows it as cpu, and `spry tune`"},
    {0},
};

static void print_points(json_writer *json, const calibration *c)
{
    json_write_object(json, "squares");
    json_write_f64(json, "mean_error", c->listed_error);
    json_write_f64(json, "rank_correlation", c->listed_rank_correlation);
    json_write_array(json, "points");
    for (int i = 0; i < c->point_count; i++) {
        const calibration_point *p = &c->points[i];

        json_write_object(json, NULL);
        json_write_i64(json, "inputs", p->conv.inputs);
        json_write_i64(json, "outputs", p->conv.outputs);
        json_write_i64(json, "height", p->conv.height);
        json_write_i64(json, "width", p->conv.width);
        json_write_i64(json, "kernel", p->conv.kernel_height);
        json_write_i64(json, "stride", p->conv.stride);
        json_write_i64(json, "side", p->squares.side);
        json_write_f64(json, "density", p->squares.density);
        json_write_f64(json, "measured_ms", 1e3 * p->measured);
        json_write_f64(json, "predicted_ms", 1e3 * p->predicted);
        json_write_end(json);
    }
    json_write_end(json);
    json_write_end(json);
}

/* What is known of blocks and threads (spry tune). */
static void print_threads(const cli_call *call, const fusion_cpu *f)
{
    const scaling *s = &f->threads;
    int32_t last = s->team_count - 1;

    (void)fprintf(call->out,
                  "threads of %d layers: log2 = %.3f log10(channels) + %.3f log10(operations) "
                  "%+.3f, R2 %.2f, right for %.0f %%%s\n"
                  "one thread is nearly as fast as it gets from %.3g MFLOP on; an empty region of "
                  "%d threads takes %.2f us, a strip %.2f us\n",
                  s->point_count, s->alpha, s->beta, s->gamma, s->r_squared, 100 * s->accuracy,
                  s->by_neighbour ? ", so the nearest layer decides" : "", s->critical * 1e-6,
                  s->teams[last], f->region[last] * 1e6, f->per_strip * 1e6);
}

static void write_threads(json_writer *json, const fusion_cpu *f)
{
    const scaling *s = &f->threads;

    json_write_object(json, "threads");
    json_write_i64(json, "layers", s->point_count);
    json_write_i64(json, "most", s->teams[s->team_count - 1]);
    json_write_f64(json, "alpha", s->alpha);
    json_write_f64(json, "beta", s->beta);
    json_write_f64(json, "gamma", s->gamma);
    json_write_f64(json, "r_squared", s->r_squared);
    json_write_f64(json, "accuracy", s->accuracy);
    json_write_f64(json, "critical", s->critical);
    json_write_f64(json, "region_us", 1e6 * f->region[s->team_count - 1]);
    json_write_f64(json, "strip_us", 1e6 * f->per_strip);
    json_write_end(json);
}

static spry_status print_calibration(const cli_call *call, const calibration *c, const char *path,
                                     spry_error *error)
{
    output_document document;

    if (!cli_given(call, "json")) {
        (void)fprintf(call->out, "%d convolutions timed on one thread, f32 peak %.1f GFLOP/s\n",
                      c->probes, c->peak.gigaflops[PEAK_F32]);
        for (int i = 0; i < LATENCY_CPU_KINDS; i++) {
            (void)fprintf(call->out,
                          "  %-10s %.2f of what planning foretells, at most %.0f %% off\n",
                          latency_cpu_kind_names[i], c->cpu.scale[i], 100 * c->deviation[i]);
        }
        (void)fprintf(
            call->out,
            "checked with %d other layers: %.1f %% off on average, rank correlation %.3f\n"
            "with squares of layers, %d times: %.1f %% off on average, rank correlation %.3f\n"
            "kept in %s\n",
            c->checked, 100 * c->error, c->rank_correlation, c->point_count, 100 * c->listed_error,
            c->listed_rank_correlation, path);
        print_threads(call, &c->fusion);
        return SPRY_OK;
    }
    output_begin(&document, call);
    json_write_string(&document.json, "calibration", path);
    json_write_i64(&document.json, "probes", c->probes);
    json_write_i64(&document.json, "checked", c->checked);
    json_write_f64(&document.json, "mean_error", c->error);
    json_write_f64(&document.json, "rank_correlation", c->rank_correlation);
    print_points(&document.json, c);
    write_threads(&document.json, &c->fusion);
    json_write_object(&document.json, "deviation");
    for (int i = 0; i < LATENCY_CPU_KINDS; i++) {
        json_write_f64(&document.json, latency_cpu_kind_names[i], c->deviation[i]);
    }
    json_write_end(&document.json);
    return output_end(&document, call, error);
}

static spry_status calibrate_here(const cli_call *call, spry_error *error)
{
    char path[4096];
    calibration c;
    progress_bar bar;
    spry_status status = target_host_path(path, sizeof path, error);

    if (status != SPRY_OK) {
        return status;
    }
    progress_bar_begin(&bar, call);
    status = calibrate_machine(&bar.hook, &c, error);
    progress_bar_end(&bar);
    if (status == SPRY_OK) {
        status = calibration_save(&c, cpu_brand(), path, error);
    }
    return status == SPRY_OK ? print_calibration(call, &c, path, error) : status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    doctor_report d = {.call = call};

    if (cli_given(call, "calibrate")) {
        return calibrate_here(call, error);
    }
    examine(&d);
    judge(&d);
    if (cli_given(call, "json")) {
        return print_json(&d, error);
    }
    print_text(&d);
    return SPRY_OK;
}

const cli_command cmd_doctor = {
    .name = "doctor",
    .summary = "describe this machine and what could be better",
    .arguments = "",
    .examples = {"spry doctor", "spry doctor --json | jq .findings"},
    .description =
        "Prints processor, caches, limits, instruction sets and the level that kernels "
        "are chosen from, versions of libraries, and in sentences what keeps models from "
        "running as fast as they could.\n\n"
        "With --calibrate it measures the machine instead, in some 40 seconds, and keeps the "
        "result for spry predict --target cpu and spry tune below $XDG_CACHE_HOME or ~/.cache. "
        "Nothing else "
        "should run meanwhile.",
    .options = options,
    .run = run,
};
