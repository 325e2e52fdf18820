/* Status names and the one function that writes error details. */
#include "spry/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
    [SPRY_OK] = "ok",
    [SPRY_NEGATIVE] = "negative result",
    [SPRY_USAGE] = "wrong usage",
    [SPRY_BAD_INPUT] = "bad input",
    [SPRY_UNSUPPORTED] = "unsupported",
    [SPRY_LIMIT] = "limit reached",
    [SPRY_IO] = "input/output failed",
    [SPRY_UNVERIFIED] = "verification failed",
    [SPRY_INTERNAL] = "internal error",
    [SPRY_CANCELLED] = "cancelled",
};

const char *spry_status_name(spry_status status)
{
    size_t index = (size_t)status;

    if (index >= sizeof status_names / sizeof *status_names) {
        return "unknown status";
    }
    return status_names[index];
}

static void copy_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from != NULL ? from : "");
}

spry_status spry_fail(spry_error *error, spry_status code, const char *where, const char *remedy,
                      const char *format, ...)
{
    /* The texts may point into the very error being replaced (a caller that adds context). */
    char saved_where[SPRY_ERROR_WHERE_SIZE];
    char saved_remedy[SPRY_ERROR_REMEDY_SIZE];
    char what[SPRY_ERROR_WHAT_SIZE] = "";
    va_list arguments;

    if (error == NULL) {
        return code;
    }
    copy_text(saved_where, sizeof saved_where, where);
    copy_text(saved_remedy, sizeof saved_remedy, remedy);
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    error->code = code;
    copy_text(error->remedy, sizeof error->remedy, saved_remedy);
    copy_text(error->where, sizeof error->where, saved_where);
    copy_text(error->what, sizeof error->what, what);
    return code;
}
