/* Drawing of progress. */
#include "cli/progress_bar.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/interrupt.h"

#define TERMINAL_PERIOD_NS ((int64_t)100 * 1000 * 1000)
#define PLAIN_PERIOD_NS ((int64_t)10 * 1000 * 1000 * 1000)

static int64_t period(const progress_bar *bar)
{
    return bar->is_terminal ? TERMINAL_PERIOD_NS : PLAIN_PERIOD_NS;
}

static void draw(progress_bar *bar, double done, double total)
{
    char line[512];

    progress_line(line, sizeof line, cli_width(stderr) - 1,
                  bar->label[0] != '\0' ? bar->label : bar->task, done, total, &bar->meter);
    if (bar->is_terminal) {
        (void)fprintf(stderr, "\r\033[K%s", line);
    } else {
        (void)fprintf(stderr, "spry: %s\n", line);
    }
    (void)fflush(stderr);
    bar->is_drawn = true;
}

static bool report(void *context, const char *task, double done, double total)
{
    progress_bar *bar = context;
    int64_t now = clock_ns();

    if (strncmp(bar->task, task, sizeof bar->task - 1) != 0) {
        (void)snprintf(bar->task, sizeof bar->task, "%s", task);
        bar->label[0] = '\0';
        progress_meter_start(&bar->meter, now);
        bar->meter.last_done = done; /* what was done before says nothing of this task's speed */
    }
    progress_meter_update(&bar->meter, now, done);
    if (!bar->is_quiet && now >= bar->next_ns) {
        draw(bar, done, total);
        bar->next_ns = now + period(bar);
    }
    return !interrupt_seen();
}

void progress_bar_begin(progress_bar *bar, const cli_call *call)
{
    const char *terminal = getenv("TERM");

    *bar = (progress_bar){.hook = {report, bar}, .is_quiet = cli_given(call, "quiet")};
    bar->is_terminal =
        isatty(STDERR_FILENO) == 1 && terminal != NULL && strcmp(terminal, "dumb") != 0;
    /* Work that ends at once shows nothing. */
    bar->next_ns = clock_ns() + period(bar);
    progress_meter_start(&bar->meter, clock_ns());
}

void progress_bar_end(progress_bar *bar)
{
    if (bar->is_drawn && bar->is_terminal) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
    bar->is_drawn = false;
}
