/* Progress: the callback, the meter, the line. */
#include "base/progress.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"

enum { BAR_LEAST_COLUMNS = 6, TASK_MOST_COLUMNS = 40, FIGURES_BYTES = 80 };

/* After this many seconds an older speed counts for about a third. */
#define MEMORY_SECONDS 3.0

spry_status progress_report(const spry_progress *progress, const char *task, double done,
                            double total, spry_error *error)
{
    if (progress == NULL || progress->report == NULL ||
        progress->report(progress->context, task, done, total)) {
        return SPRY_OK;
    }
    return spry_fail(error, SPRY_CANCELLED, task, NULL, "stopped on request");
}

void progress_meter_start(progress_meter *meter, int64_t now_ns)
{
    *meter = (progress_meter){.last_ns = now_ns};
}

void progress_meter_update(progress_meter *meter, int64_t now_ns, double done)
{
    double seconds = (double)(now_ns - meter->last_ns) * 1e-9;
    double speed;
    double weight;

    if (!(seconds > 0) || !(done > meter->last_done)) {
        return; /* the time counts towards the next unit */
    }
    speed = (done - meter->last_done) / seconds;
    weight = meter->rate > 0 ? 1 - exp(-seconds / MEMORY_SECONDS) : 1;
    meter->rate += (speed - meter->rate) * weight;
    meter->last_ns = now_ns;
    meter->last_done = done;
}

double progress_meter_remaining(const progress_meter *meter, double total)
{
    double left = total - meter->last_done;

    if (!(meter->rate > 0) || !(total > 0)) {
        return -1;
    }
    return left > 0 ? left / meter->rate : 0;
}

static void append_time(text *t, double seconds)
{
    /* Beyond some days nobody wants to know. */
    long whole = seconds < 1e6 ? (long)(seconds + 0.5) : 1000000;

    if (whole >= 3600) {
        text_append_format(t, "  %ld:%02ld:%02ld left", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        text_append_format(t, "  %ld:%02ld left", whole / 60, whole % 60);
    }
}

/* Percent or count, rate, remaining time. */
static void append_figures(text *t, double done, double total, const progress_meter *meter)
{
    double remaining = meter != NULL ? progress_meter_remaining(meter, total) : -1;

    if (total > 0) {
        double share = done / total;

        share = share > 0 ? (share < 1 ? share : 1) : 0;
        text_append_format(t, "  %3d%%", (int)(share * 100));
    } else {
        text_append_format(t, "  %.6g", done);
    }
    if (meter != NULL && meter->rate > 0) {
        text_append_format(t, meter->rate < 100 ? "  %.1f/s" : "  %.4g/s", meter->rate);
    }
    if (remaining >= 0) {
        append_time(t, remaining);
    }
}

/* Appends at most `columns` characters of the name; returns how many. */
static int append_task(text *t, const char *task, int columns)
{
    size_t length = strlen(task);
    int used = 0;

    while (length != 0 && used < columns && !t->failed) {
        size_t size = text_utf8_length(task, length);

        if (size == 0 || (unsigned char)*task < ' ') {
            text_append_char(t, '?');
            size = 1;
        } else {
            text_append(t, task, size);
        }
        task += size;
        length -= size;
        used++;
    }
    return used;
}

static void append_bar(text *t, int columns, double share)
{
    int inside = columns - 2;
    int full;

    share = share > 0 ? (share < 1 ? share : 1) : 0;
    full = (int)(share * inside);
    text_append_char(t, '[');
    for (int i = 0; i < inside; i++) {
        text_append_char(t, i < full ? '#' : '-');
    }
    text_append_char(t, ']');
}

void progress_line(char *buffer, size_t size, int width, const char *task, double done,
                   double total, const progress_meter *meter)
{
    char figures_buffer[FIGURES_BYTES];
    text figures;
    text line;
    int columns;
    int room;

    text_init_fixed(&figures, figures_buffer, sizeof figures_buffer);
    text_init_fixed(&line, buffer, size);
    append_figures(&figures, done, total, meter);
    room = width - (int)figures.length;
    if (room < 0) {
        /* Too narrow for both: the figures say more, and begin with two blanks. */
        text_append(&line, figures.data + 2,
                    width < (int)figures.length - 2 ? (size_t)(width > 0 ? width : 0)
                                                    : figures.length - 2);
        return;
    }
    columns = append_task(&line, task, room < TASK_MOST_COLUMNS ? room : TASK_MOST_COLUMNS);
    room -= columns + 2;
    if (total > 0 && room >= BAR_LEAST_COLUMNS) {
        text_append_string(&line, "  ");
        append_bar(&line, room, done / total);
    }
    text_append(&line, figures.data, figures.length);
}
