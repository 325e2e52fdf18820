/* The pictures of a simulation's page. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/page.h"
#include "cli/simulate/tell.h"
#include "inspect/chart.h"

enum { CLASSES = 8, LEVELS = 10 };

static const char *const classes[CLASSES] = {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"};

static void begin_figure(text *to, const char *title)
{
    text_append_string(to, "<figure><figcaption><b>");
    page_escaped(to, title);
    text_append_string(to, "</b>");
}

static void append_legend(text *to, int class, const char *name)
{
    text_append_format(to, "<span><i class=\"s%d\"></i>", class % CLASSES);
    page_escaped(to, name);
    text_append_string(to, "</span>");
}

/* ---- curves ---- */

enum { CHART_WIDTH = 480, CHART_HEIGHT = 260, MOST_CURVES = 16 };

void simulate_draw_chart(text *to, const report_chart *chart)
{
    spry_chart_series series[MOST_CURVES];
    const char *used[MOST_CURVES];
    const chart_look look = {.classes = used, .is_plain = true};
    const spry_chart drawn = {.struct_size = sizeof drawn,
                              .title = chart->names.title,
                              .x_name = chart->names.x_name,
                              .series = series,
                              .count =
                                  chart->count < MOST_CURVES ? (int32_t)chart->count : MOST_CURVES,
                              .log_x = chart->names.log_x,
                              .log_y = chart->names.log_y,
                              .width = CHART_WIDTH,
                              .height = CHART_HEIGHT};

    begin_figure(to, chart->names.title);
    text_append_string(to, "<span>");
    page_escaped(to, chart->names.y_name);
    text_append_string(to, "</span>");
    for (int32_t i = 0; i < drawn.count; i++) {
        const report_curve *c = &chart->curves[i];

        series[i] = (spry_chart_series){
            .name = c->name, .x = c->x, .y = c->y, .count = c->count, .is_line = true};
        used[i] = classes[i % CLASSES];
        if (drawn.count > 1) {
            append_legend(to, i, c->name);
        }
    }
    text_append_string(to, "</figcaption>\n");
    chart_append(&drawn, &look, to);
    text_append_string(to, "</figure>\n");
}

/* ---- heat maps ---- */

enum { MAP_WIDTH = 560, CELL_LEAST = 10, CELL_MOST = 56 };

typedef struct heat {
    text *to;
    const report_heat_map *map;
    double cell;  /* from one to the next */
    double inner; /* side of what is drawn of one */
    double most_cell, most_link;
} heat;

static double largest(const double *numbers, size_t count)
{
    double most = 0.0;

    for (size_t i = 0; numbers != NULL && i < count; i++) {
        most = fmax(most, numbers[i]);
    }
    return most;
}

/* 0 is for nothing at all. */
static int level_of(double value, double most)
{
    int level = most > 0 ? (int)ceil(value / most * (LEVELS - 1)) : 0;

    return value <= 0 ? 0 : level < 1 ? 1 : level > LEVELS - 1 ? LEVELS - 1 : level;
}

static void append_name(const heat *h, int x, int y)
{
    if (h->map->cell_names != NULL) {
        page_escaped(h->to, h->map->cell_names[y * h->map->width + x]);
    } else {
        text_append_format(h->to, "%d, %d", x, y);
    }
}

static void draw_box(const heat *h, int level, double x, double y, double width, double height)
{
    text_append_format(h->to,
                       "<rect class=\"h%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                       "height=\"%.1f\"><title>",
                       level, x, y, width, height);
}

static void end_box(const heat *h, double value)
{
    text_append_format(h->to, ": %.6g ", value);
    page_escaped(h->to, h->map->unit);
    text_append_string(h->to, "</title></rect>\n");
}

static void draw_cell(const heat *h, int x, int y)
{
    double value = h->map->cells != NULL ? h->map->cells[y * h->map->width + x] : 0.0;
    double margin = (h->cell - h->inner) / 2;

    draw_box(h, level_of(value, h->most_cell), x * h->cell + margin, y * h->cell + margin, h->inner,
             h->inner);
    append_name(h, x, y);
    end_box(h, value);
}

/* The two links between neighbours run side by side. */
static void draw_link(const heat *h, int x, int y, int way)
{
    static const int dx[REPORT_WAYS] = {1, -1, 0, 0};
    static const int dy[REPORT_WAYS] = {0, 0, -1, 1};
    const report_heat_map *map = h->map;
    double value = map->links[(y * map->width + x) * REPORT_WAYS + way];
    double gap = h->cell - h->inner;
    double thick = h->inner * 0.34;
    double at_x = fmin(x, x + dx[way]) * h->cell + (h->cell + h->inner) / 2;
    double at_y = fmin(y, y + dy[way]) * h->cell + (h->cell + h->inner) / 2;
    bool is_first = way == REPORT_EAST || way == REPORT_NORTH;
    double side = (h->cell - h->inner) / 2 + (is_first ? h->inner * 0.12 : h->inner * 0.54);

    if (x + dx[way] < 0 || x + dx[way] >= map->width || y + dy[way] < 0 ||
        y + dy[way] >= map->height) {
        return;
    }
    if (dy[way] == 0) {
        draw_box(h, level_of(value, h->most_link), at_x, y * h->cell + side, gap, thick);
    } else {
        draw_box(h, level_of(value, h->most_link), x * h->cell + side, at_y, thick, gap);
    }
    append_name(h, x, y);
    text_append_string(h->to, " to ");
    append_name(h, x + dx[way], y + dy[way]);
    end_box(h, value);
}

static void append_scale(text *to, const char *what, double most, const char *unit)
{
    text_append_format(to, "<span>%s0", what);
    for (int level = 0; level < LEVELS; level++) {
        text_append_format(to, "<i class=\"step h%d\"></i>", level);
    }
    text_append_format(to, "%.6g ", most);
    page_escaped(to, unit);
    text_append_string(to, "</span>");
}

void simulate_draw_heat(text *to, const report_heat_map *map)
{
    size_t cells = (size_t)map->width * (size_t)map->height;
    double cell = fmin(fmax((double)MAP_WIDTH / map->width, CELL_LEAST), CELL_MOST);
    const heat h = {.to = to,
                    .map = map,
                    .cell = cell,
                    .inner = map->links != NULL ? cell * 0.5 : cell * 0.92,
                    .most_cell = largest(map->cells, cells),
                    .most_link = largest(map->links, cells * REPORT_WAYS)};

    begin_figure(to, map->title);
    if (map->links != NULL) {
        append_scale(to, "links ", h.most_link, map->unit);
    }
    if (map->cells != NULL) {
        append_scale(to, map->links != NULL ? "nodes " : "", h.most_cell, map->unit);
    }
    text_append_format(to,
                       "</figcaption>\n<div class=\"map\"><svg role=\"img\" viewBox=\"0 0 %.0f "
                       "%.0f\"><title>",
                       map->width * cell, map->height * cell);
    page_escaped(to, map->title);
    text_append_string(to, "</title>\n");
    for (int y = 0; y < map->height; y++) {
        for (int x = 0; x < map->width; x++) {
            draw_cell(&h, x, y);
            for (int way = 0; map->links != NULL && way < REPORT_WAYS; way++) {
                draw_link(&h, x, y, way);
            }
        }
    }
    text_append_string(to, "</svg></div></figure>\n");
}

/* ---- what happened when ---- */

enum {
    LINE_WIDTH = 1120,
    LABEL = 190, /* of a track, in front of it */
    SHARE = 60,  /* behind it */
    TRACK = 18,
    AXIS = 22,
    MOST_TRACKS = 48,
    MOST_SPANS = 6000, /* more are drawn as shares of so many columns: */
    COLUMNS = 400,
    MOST_ALL = 1 << 16
};

typedef struct lane {
    int track;
    uint64_t busy; /* fs */
} lane;

typedef struct lines {
    text *to;
    const timeline *t;
    uint64_t begin, end;
    size_t spans;
    lane *lanes;    /* the busiest, then by number */
    int lane_count; /* of all tracks that have spans */
    int *rows;      /* by track: -1, or which row it has */
    double *shares; /* row by column, of each category: where there are too many spans */
    const char *categories[CLASSES];
    int category_count;
} lines;

static int category_of(lines *l, const char *name)
{
    for (int i = 0; i < l->category_count; i++) {
        if (strcmp(l->categories[i], name) == 0) {
            return i;
        }
    }
    if (l->category_count < CLASSES) {
        l->categories[l->category_count++] = name;
    }
    return l->category_count - 1;
}

static int by_work(const void *a, const void *b)
{
    const lane *x = a;
    const lane *y = b;

    return x->busy != y->busy ? (x->busy > y->busy ? -1 : 1) : x->track - y->track;
}

static int by_track(const void *a, const void *b)
{
    return ((const lane *)a)->track - ((const lane *)b)->track;
}

/* Which tracks are drawn, and in which rows. */
static void survey(lines *l)
{
    timeline_record r;
    int kept = 0;

    l->begin = UINT64_MAX;
    for (size_t at = 0; timeline_next_span(l->t, &at, &r);) {
        l->begin = r.start < l->begin ? r.start : l->begin;
        l->end = r.end > l->end ? r.end : l->end;
        l->lanes[r.track].busy += r.end - r.start;
        l->lanes[r.track].track = r.track;
        l->spans++;
        (void)category_of(l, r.category);
    }
    for (int i = 0; timeline_track_path(l->t, i) != NULL; i++) {
        l->rows[i] = -1;
        if (l->lanes[i].busy > 0) {
            l->lanes[kept++] = l->lanes[i];
        }
    }
    l->lane_count = kept;
    qsort(l->lanes, (size_t)kept, sizeof *l->lanes, by_work);
    kept = kept < MOST_TRACKS ? kept : MOST_TRACKS;
    qsort(l->lanes, (size_t)kept, sizeof *l->lanes, by_track);
    for (int i = 0; i < kept; i++) {
        l->rows[l->lanes[i].track] = i;
    }
}

static int row_count(const lines *l)
{
    return l->lane_count < MOST_TRACKS ? l->lane_count : MOST_TRACKS;
}

static double place(const lines *l, uint64_t time)
{
    return LABEL +
           (double)(time - l->begin) / (double)(l->end - l->begin) * (LINE_WIDTH - LABEL - SHARE);
}

static void append_time(text *to, double femtoseconds)
{
    static const struct {
        double size;
        const char *unit;
    } units[] = {{1e15, "s"}, {1e12, "ms"}, {1e9, "us"}, {1e6, "ns"}, {1e3, "ps"}};
    size_t i = 0;

    while (i + 1 < sizeof units / sizeof *units && femtoseconds < units[i].size) {
        i++;
    }
    text_append_format(to, "%.4g %s", femtoseconds / units[i].size, units[i].unit);
}

static void draw_span(const lines *l, const timeline_record *r, int class)
{
    double x = place(l, r->start);

    text_append_format(
        l->to, "<rect class=\"s%d\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\"><title>",
        class, x, AXIS + l->rows[r->track] * TRACK + 2, fmax(place(l, r->end) - x, 0.3), TRACK - 4);
    page_escaped(l->to, r->name);
    text_append_string(l->to, ", from ");
    append_time(l->to, (double)r->start);
    text_append_string(l->to, ", for ");
    append_time(l->to, (double)(r->end - r->start));
    text_append_string(l->to, "</title></rect>\n");
}

/* Adds what of a span falls into each column. */
static void spread(lines *l, const timeline_record *r, int class)
{
    double width = (double)(l->end - l->begin) / COLUMNS;
    double start = (double)(r->start - l->begin) / width;
    double end = (double)(r->end - l->begin) / width;
    double *shares = l->shares + ((size_t)l->rows[r->track] * CLASSES + (size_t) class) * COLUMNS;

    for (int c = (int)start; c < COLUMNS && c < end; c++) {
        shares[c] += fmin(end, c + 1) - fmax(start, c);
    }
}

static void draw_shares(const lines *l, int row)
{
    double width = (double)(LINE_WIDTH - LABEL - SHARE) / COLUMNS;

    for (int c = 0; c < COLUMNS; c++) {
        double bottom = AXIS + row * TRACK + TRACK - 2;

        for (int k = 0; k < l->category_count; k++) {
            double share = l->shares[((size_t)row * CLASSES + (size_t)k) * COLUMNS + (size_t)c];
            double height = fmin(share, 1.0) * (TRACK - 4);

            if (height >= 0.05) {
                text_append_format(l->to,
                                   "<rect class=\"s%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" "
                                   "height=\"%.2f\"/>",
                                   k, LABEL + c * width, bottom - height, width, height);
                bottom -= height;
            }
        }
    }
    text_append_char(l->to, '\n');
}

static void draw_around(const lines *l)
{
    enum { MARKS = 6 };

    for (int i = 0; i <= MARKS; i++) {
        double x = LABEL + (double)(LINE_WIDTH - LABEL - SHARE) * i / MARKS;

        text_append_format(l->to,
                           "<path class=\"mark\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"12\" "
                           "text-anchor=\"middle\">",
                           x, AXIS - 4, AXIS + row_count(l) * TRACK, x);
        append_time(l->to, (double)l->begin + (double)(l->end - l->begin) * i / MARKS);
        text_append_string(l->to, "</text>\n");
    }
    for (int i = 0; i < row_count(l); i++) {
        text_append_format(l->to, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LABEL - 8,
                           AXIS + i * TRACK + TRACK - 5);
        page_escaped(l->to, timeline_track_path(l->t, l->lanes[i].track));
        text_append_format(l->to, "</text><text x=\"%d\" y=\"%d\">%.1f %%</text>\n",
                           LINE_WIDTH - SHARE + 8, AXIS + i * TRACK + TRACK - 5,
                           100.0 * (double)l->lanes[i].busy / (double)(l->end - l->begin));
    }
}

static void draw_all(lines *l)
{
    timeline_record r;

    for (size_t at = 0; timeline_next_span(l->t, &at, &r);) {
        if (l->rows[r.track] >= 0 && l->shares == NULL) {
            draw_span(l, &r, category_of(l, r.category));
        } else if (l->rows[r.track] >= 0) {
            spread(l, &r, category_of(l, r.category));
        }
    }
    for (int i = 0; l->shares != NULL && i < row_count(l); i++) {
        draw_shares(l, i);
    }
}

static void append_lines(lines *l)
{
    text *to = l->to;

    begin_figure(to, "What happened when");
    for (int i = 0; i < l->category_count; i++) {
        append_legend(to, i, l->categories[i]);
    }
    text_append_format(to, "<span>%zu spans of %d parts%s", l->spans, l->lane_count,
                       l->shares != NULL ? ", as shares of time" : "");
    if (l->lane_count > MOST_TRACKS) {
        text_append_format(to, ", the busiest %d drawn", MOST_TRACKS);
    }
    if (timeline_dropped(l->t) > 0) {
        text_append_format(to, ", %llu later ones left out",
                           (unsigned long long)timeline_dropped(l->t));
    }
    text_append_format(to,
                       "</span></figcaption>\n<div class=\"time\"><svg role=\"img\" viewBox=\"0 0 "
                       "%d %d\"><title>What happened when</title>\n",
                       LINE_WIDTH, AXIS + row_count(l) * TRACK + 4);
    draw_around(l);
    draw_all(l);
    text_append_string(to, "</svg></div></figure>\n");
}

spry_status simulate_draw_timeline(text *to, const timeline *t, spry_error *error)
{
    lines l = {.to = to, .t = t};
    size_t tracks = 0;
    spry_status status = SPRY_OK;
    arena memory;

    while (timeline_track_path(t, (int)tracks) != NULL) {
        tracks++;
    }
    if (tracks == 0) {
        return SPRY_OK;
    }
    arena_init(&memory, NULL, (size_t)1 << 28);
    l.lanes = arena_array(&memory, tracks, sizeof *l.lanes);
    l.rows = arena_array(&memory, tracks, sizeof *l.rows);
    if (l.lanes != NULL && l.rows != NULL) {
        survey(&l);
    }
    if (l.spans > MOST_SPANS) {
        l.shares =
            arena_array(&memory, (size_t)row_count(&l) * CLASSES * COLUMNS, sizeof *l.shares);
    }
    if (l.lanes == NULL || l.rows == NULL || (l.spans > MOST_SPANS && l.shares == NULL)) {
        status = alloc_failed(error, tracks * sizeof *l.lanes);
    } else if (l.spans > 0 && l.end > l.begin) {
        append_lines(&l);
    }
    arena_fini(&memory);
    return status;
}
