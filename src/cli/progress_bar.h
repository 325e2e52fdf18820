/* Progress on stderr: a bar on a terminal, a plain line every ten seconds elsewhere, nothing with
 * --quiet. */
#ifndef CLI_PROGRESS_BAR_H
#define CLI_PROGRESS_BAR_H

#include "base/progress.h"
#include "cli/command.h"

enum { PROGRESS_BAR_TASK_SIZE = 128 };

typedef struct progress_bar {
    spry_progress hook; /* what long work is given */
    progress_meter meter;
    char task[PROGRESS_BAR_TASK_SIZE];
    char label[PROGRESS_BAR_TASK_SIZE]; /* shown instead of the task; "": the task */
    int64_t next_ns;                    /* when something is printed again */
    bool is_quiet;
    bool is_terminal;
    bool is_drawn;
} progress_bar;

/* The bar must stay in place until progress_bar_end. */
void progress_bar_begin(progress_bar *bar, const cli_call *call);
/* Removes the bar from the terminal. May be called twice. */
void progress_bar_end(progress_bar *bar);

#endif
