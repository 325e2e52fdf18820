/* How long work tells its caller how far it is, and asks whether to go on. */
#ifndef SPRY_PROGRESS_H
#define SPRY_PROGRESS_H

#include <stdbool.h>

#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Passed by the caller; NULL, or a NULL callback, means that nobody listens. */
typedef struct spry_progress {
    /* Called now and then, from the thread that does the work. `task` names the current step
     * ("quantizing layer3.conv1"); `done` of `total` units are finished, total <= 0 where it is not
     * known. Returning false asks the work to stop: it then fails with SPRY_CANCELLED. */
    bool (*report)(void *context, const char *task, double done, double total);
    void *context;
} spry_progress;

#ifdef __cplusplus
}
#endif

#endif
