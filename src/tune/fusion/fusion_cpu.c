#include "tune/fusion/fusion_cpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parse.h"

enum { SECOND_LEVEL = 1, THIRD_LEVEL = 2, MEMORY_LEVEL = 3, KEY_SIZE = 48, FEW_THREADS = 4 };

static const double overlap = 0.8;         /* of computing and moving: the share that is hidden */
static const double usable = 0.5;          /* of a cache, for images */
static const double bytes_over_f32 = 0.4;  /* time of integer kernels over that of f32 ones */
static const double guessed_strip = 5e-7;  /* seconds */
static const double guessed_region = 5e-6; /* seconds */
static const double guessed_critical = 2e8;
static const double guessed_share = 0.8; /* of another thread's speed that is gained */

int32_t fusion_cpu_teams(int32_t most, int32_t teams[FUSION_TEAMS_MOST])
{
    int32_t count = 0;

    most = most > FUSION_TEAM_MOST ? FUSION_TEAM_MOST : most;
    for (int32_t p = 1; p < most; p = p < FEW_THREADS ? p + 1 : 2 * p) {
        teams[count++] = p;
    }
    teams[count++] = most;
    return count;
}

/* ---- the machine ---- */

static void guess_threads(fusion_cpu *f, int32_t threads)
{
    f->threads = (scaling){.critical = guessed_critical, .point_count = 2, .by_neighbour = true};
    f->threads.team_count = fusion_cpu_teams(threads, f->threads.teams);
    f->per_strip = guessed_strip;
    for (int32_t i = 0; i < 2; i++) { /* a small layer, and one that is worth all threads */
        f->threads.points[i].operations = i == 0 ? 1e6 : 1e7;
        f->threads.points[i].channels = 64;
        f->threads.points[i].team = i == 0 ? 1 : threads;
    }
    for (int32_t k = 0; k < f->threads.team_count; k++) {
        f->threads.points[0].speed[k] = 1;
        f->threads.points[1].speed[k] = 1 + guessed_share * (f->threads.teams[k] - 1);
        f->region[k] = f->threads.teams[k] > 1 ? guessed_region : 0;
    }
}

void fusion_cpu_guess(fusion_cpu *f, int32_t threads)
{
    *f = (fusion_cpu){.cpu = {.threads = 1,
                              .clock = 2.5e9,
                              .peak = 4e10,
                              .sizes = {32768, 524288, 8388608},
                              .rates = {5e10, 3e10, 2e10, 8e9},
                              .per_operator = 2e-6},
                      .is_guessed = true};
    for (int i = 0; i < LATENCY_CPU_KINDS; i++) {
        f->cpu.scale[i] = 1.3;
    }
    guess_threads(f, threads);
}

/* "operations channels speed speed ...", a speed for each team that was measured. */
static bool parse_point(const char *rest, int32_t measured, double *numbers)
{
    for (int32_t i = 0; i < measured + 2; i++) {
        char word[64];
        size_t length = strcspn(rest, " ");

        if (length >= sizeof word) {
            return false;
        }
        memcpy(word, rest, length);
        word[length] = '\0';
        if (!parse_f64(word, 1e-9, 1e18, &numbers[i])) {
            return false;
        }
        rest += length;
        rest += *rest == ' ';
    }
    return *rest == '\0';
}

static spry_status read_points(fusion_cpu *f, target *t, int32_t measured, spry_error *error)
{
    size_t count = target_length(t, "fusion.points");
    scaling *s = &f->threads;

    if (count < 1 || count > SCALING_POINTS_MOST) {
        return target_refuse(t, "fusion.points", "must be a list of 1 to 192 layers", error);
    }
    for (size_t i = 0; i < count; i++) {
        double numbers[FUSION_TEAMS_MOST + 2];
        char key[KEY_SIZE];
        const char *point;
        int32_t best = 0;
        spry_status status;

        (void)snprintf(key, sizeof key, "fusion.points.%zu", i);
        status = target_text(t, key, &point, error);
        if (status != SPRY_OK) {
            return status;
        }
        if (!parse_point(point, measured, numbers)) {
            return target_refuse(t, key, "must be operations, channels, and a speed per team",
                                 error);
        }
        s->points[i].operations = numbers[0];
        s->points[i].channels = numbers[1];
        for (int32_t k = 0; k < s->team_count; k++) {
            s->points[i].speed[k] = numbers[2 + k];
            best = s->points[i].speed[k] > s->points[i].speed[best] ? k : best;
        }
        s->points[i].team = s->teams[best];
    }
    s->point_count = (int32_t)count;
    return SPRY_OK;
}

/* Teams and what an empty region of each costs. The list in the file may go on behind the threads
 * of this session, and must reach them. */
static spry_status read_teams(fusion_cpu *f, target *t, int32_t threads, int32_t *measured,
                              spry_error *error)
{
    size_t count = target_length(t, "fusion.teams");
    scaling *s = &f->threads;

    if (count < 1 || count > FUSION_TEAMS_MOST || target_length(t, "fusion.region") != count) {
        return target_refuse(t, "fusion.teams", "must have 1 to 16 entries, as fusion.region",
                             error);
    }
    *measured = (int32_t)count;
    s->team_count = 0;
    for (size_t i = 0; i < count; i++) {
        char key[KEY_SIZE];
        int64_t team = 0;
        double region = 0;
        spry_status status;

        (void)snprintf(key, sizeof key, "fusion.teams.%zu", i);
        status = target_count(t, key, 1, FUSION_TEAM_MOST, &team, error);
        (void)snprintf(key, sizeof key, "fusion.region.%zu", i);
        if (status == SPRY_OK) {
            status = target_quantity(t, key, UNIT_SECONDS, 0, 1, &region, error);
        }
        if (status != SPRY_OK) {
            return status;
        }
        if (team <= threads && (i == 0 ? team == 1 : team > s->teams[s->team_count - 1])) {
            s->teams[s->team_count] = (int32_t)team;
            f->region[s->team_count++] = region;
        }
    }
    return SPRY_OK;
}

spry_status fusion_cpu_read(fusion_cpu *f, target *t, int32_t threads, spry_error *error)
{
    scaling *s = &f->threads;
    const struct {
        const char *key;
        double *value;
    } numbers[] = {{"fusion.alpha", &s->alpha},
                   {"fusion.beta", &s->beta},
                   {"fusion.gamma", &s->gamma},
                   {"fusion.r_squared", &s->r_squared},
                   {"fusion.accuracy", &s->accuracy}};
    int32_t measured = 0;
    spry_status status;

    *f = (fusion_cpu){0};
    status = latency_cpu_read(&f->cpu, t, error);
    if (status != SPRY_OK || !target_has(t, "fusion")) {
        guess_threads(f, threads);
        return status;
    }
    f->cpu.threads = 1;
    status = read_teams(f, t, threads, &measured, error);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && status == SPRY_OK; i++) {
        status = target_quantity(t, numbers[i].key, UNIT_ONE, -1e6, 1e6, numbers[i].value, error);
    }
    if (status == SPRY_OK) {
        status =
            target_quantity(t, "fusion.critical", UNIT_OPERATIONS, 0, 1e18, &s->critical, error);
    }
    if (status == SPRY_OK) {
        status = target_flag(t, "fusion.by_neighbour", &s->by_neighbour, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "fusion.per_strip", UNIT_SECONDS, 0, 1, &f->per_strip, error);
    }
    if (status == SPRY_OK) {
        status = read_points(f, t, measured, error);
    }
    if (status == SPRY_OK && s->teams[s->team_count - 1] < threads) {
        guess_threads(f, threads); /* nobody has measured so many */
    }
    return status;
}

static void write_quantity(json_writer *json, const char *key, double value, quantity_unit unit)
{
    char buffer[QUANTITY_SIZE];

    json_write_string(json, key, quantity_format(buffer, value, unit));
}

void fusion_cpu_write(const fusion_cpu *f, json_writer *json)
{
    const scaling *s = &f->threads;

    json_write_object(json, "fusion");
    json_write_array(json, "teams");
    for (int32_t k = 0; k < s->team_count; k++) {
        json_write_i64(json, NULL, s->teams[k]);
    }
    json_write_end(json);
    json_write_array(json, "region");
    for (int32_t k = 0; k < s->team_count; k++) {
        write_quantity(json, NULL, f->region[k], UNIT_SECONDS);
    }
    json_write_end(json);
    write_quantity(json, "critical", s->critical, UNIT_OPERATIONS);
    write_quantity(json, "per_strip", f->per_strip, UNIT_SECONDS);
    json_write_f64(json, "alpha", s->alpha);
    json_write_f64(json, "beta", s->beta);
    json_write_f64(json, "gamma", s->gamma);
    json_write_f64(json, "r_squared", s->r_squared);
    json_write_f64(json, "accuracy", s->accuracy);
    json_write_bool(json, "by_neighbour", s->by_neighbour);
    json_write_array(json, "points");
    for (int32_t i = 0; i < s->point_count; i++) {
        char point[512];
        text t;

        text_init_fixed(&t, point, sizeof point);
        text_append_format(&t, "%.0f %.0f", s->points[i].operations, s->points[i].channels);
        for (int32_t k = 0; k < s->team_count; k++) {
            text_append_format(&t, " %.4f", s->points[i].speed[k]);
        }
        json_write_string(json, NULL, point);
    }
    json_write_end(json);
    json_write_end(json);
}

/* ---- layers ---- */

/* Seconds of the arithmetic of all images on one thread. */
static double layer_seconds(const latency_cpu *cpu, const spry_layer *l)
{
    double images = l->batch > 0 ? (double)l->batch : 1;
    bool is_conv = l->weight_bytes > 0 && l->groups > 0 && l->in[0] % l->groups == 0;
    const latency_conv c = {l->in[0],     l->out[0],    l->out[1],    l->out[2],
                            l->kernel[0], l->kernel[1], l->stride[0], l->groups};
    double seconds;

    if (!is_conv) { /* an operation per tap or operand; what counts is moving */
        return images * fmax(fusion_layer_operations(l), 0) / cpu->peak;
    }
    seconds = latency_cpu_conv(cpu, &c) - cpu->per_operator;
    return images * seconds * (l->element_bytes == 1 ? bytes_over_f32 : 1);
}

spry_status fusion_cpu_open(fusion_cpu_context *c, const fusion_cpu *f, const spry_layer *layers,
                            int32_t count, arena *memory, spry_error *error)
{
    size_t room = (size_t)count + 1;

    *c = (fusion_cpu_context){.machine = f, .network = {layers, count, true}};
    c->alone = arena_array(memory, room, sizeof *c->alone);
    c->rows = arena_array(memory, room, sizeof *c->rows);
    if (c->alone == NULL || c->rows == NULL) {
        return alloc_failed(error, room * (sizeof *c->alone + sizeof *c->rows));
    }
    for (int32_t i = 0; i < count; i++) {
        c->alone[i] = layer_seconds(&f->cpu, &layers[i]);
    }
    return SPRY_OK;
}

static double images_of(const spry_layer *l)
{
    return l->batch > 0 ? (double)l->batch : 1;
}

double fusion_cpu_between(const fusion_network *n, int32_t first, int32_t last)
{
    double bytes = 0;

    for (int32_t i = first; i < last; i++) {
        bytes += images_of(&n->layers[i]) * fusion_layer_out_bytes(&n->layers[i]);
    }
    return bytes;
}

/* ---- a block ---- */

static int32_t team_index(const fusion_cpu *f, int32_t threads)
{
    int32_t i = 0;

    while (i + 1 < f->threads.team_count && f->threads.teams[i] < threads) {
        i++;
    }
    return i;
}

/* Seconds of moving an image, of which each thread has its share. */
static double moving(const fusion_cpu *f, double bytes, int32_t threads)
{
    const latency_cpu *cpu = &f->cpu;
    int level = SECOND_LEVEL;

    if (bytes / threads > usable * cpu->sizes[SECOND_LEVEL]) {
        level = bytes > usable * cpu->sizes[THIRD_LEVEL] ? MEMORY_LEVEL : THIRD_LEVEL;
    }
    return bytes / cpu->rates[level] / (level == MEMORY_LEVEL ? 1 : threads);
}

/* Bytes of the rows that a thread keeps of the images in between, for strips of one row. */
static double windows(const fusion_cpu_context *c, int32_t first, int32_t last)
{
    const spry_layer *layers = c->network.layers;
    int64_t middle = layers[last].out[1] / 2;
    double bytes = 0;

    (void)fusion_rows_needed(&c->network, first, last, (fusion_rows){middle, middle + 1}, c->rows);
    for (int32_t i = first; i < last; i++) {
        fusion_rows r = c->rows[i - first];

        bytes +=
            fusion_layer_out_bytes(&layers[i]) * (double)(r.to - r.from) / (double)layers[i].out[1];
    }
    return bytes;
}

static bool stays_in_cache(const fusion_cpu_context *c, int32_t first, int32_t last)
{
    return windows(c, first, last) <= usable * c->machine->cpu.sizes[SECOND_LEVEL];
}

bool fusion_cpu_fits(const void *context, int32_t first, int32_t last, int32_t threads)
{
    (void)threads;
    return stays_in_cache(context, first, last);
}

/* Seconds of the thread that has most to compute. */
static double computing(const fusion_cpu_context *c, int32_t first, int32_t last, int32_t threads)
{
    const spry_layer *layers = c->network.layers;
    const fusion_cpu *f = c->machine;
    int32_t team = team_index(f, threads);
    double seconds = 0;
    double most = 0;

    for (int32_t i = first; i <= last; i++) {
        double speed = scaling_speed(&f->threads, fusion_layer_operations(&layers[i]),
                                     (double)layers[i].out[0], team);

        seconds += c->alone[i] / (threads > 1 ? speed : 1);
    }
    if (first == last || threads == 1) {
        return seconds;
    }
    /* By how much rows made twice raise the largest share over an equal one. */
    for (int32_t t = 0; t < threads; t++) {
        double mine = 0;
        double all = 0;

        (void)fusion_rows_needed(&c->network, first, last,
                                 fusion_rows_part(layers[last].out[1], threads, t), c->rows);
        for (int32_t i = first; i <= last; i++) {
            fusion_rows r = c->rows[i - first];

            mine += c->alone[i] * (double)(r.to - r.from) / (double)layers[i].out[1];
            all += c->alone[i] / threads;
        }
        most = fmax(most, all > 0 ? mine / all : 1);
    }
    return seconds * most;
}

static double transfers(const fusion_cpu_context *c, int32_t first, int32_t last, int32_t threads)
{
    const spry_layer *layers = c->network.layers;
    const fusion_cpu *f = c->machine;
    double images = images_of(&layers[last]);
    double seconds = moving(f, images * fusion_layer_in_bytes(&layers[first]), threads) +
                     moving(f, images * fusion_layer_out_bytes(&layers[last]), threads);
    double weights = 0;

    for (int32_t i = first; i <= last; i++) {
        const spry_layer *l = &layers[i];

        weights += (double)l->weight_bytes;
        for (int32_t k = 1; k < l->input_count; k++) {
            if (l->inputs[k] < first && l->inputs[k] != layers[first].inputs[0]) {
                seconds += moving(f, images * fusion_layer_out_bytes(l), threads);
            }
        }
        if (i < last && !stays_in_cache(c, first, last)) {
            seconds += 2 * moving(f, images * fusion_layer_out_bytes(l), threads);
        }
    }
    return seconds + moving(f, weights, threads);
}

double fusion_cpu_seconds(const void *context, int32_t first, int32_t last, int32_t threads)
{
    const fusion_cpu_context *c = context;
    const fusion_cpu *f = c->machine;
    const spry_layer *end = &c->network.layers[last];
    double compute = computing(c, first, last, threads);
    double move = transfers(c, first, last, threads);
    double strips = 0;

    if (first < last) { /* as high as half of the cache lets them be */
        double row = fmax(windows(c, first, last), 1);
        double rows = fmax(1, floor(usable * f->cpu.sizes[SECOND_LEVEL] / row));

        strips = images_of(end) * ceil((double)end->out[1] / rows) * (last - first + 1);
    }
    return fmax(compute, move) + (1 - overlap) * fmin(compute, move) + f->cpu.per_operator +
           f->region[team_index(f, threads)] + strips / threads * f->per_strip;
}
