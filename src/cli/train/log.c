/* JSON lines. */
#include "cli/train/log.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

enum { MOST_LINE = 4096 };

spry_status train_log_open(train_log *log, const char *path, spry_error *error)
{
    *log = (train_log){.path = path};
    if (path == NULL) {
        return SPRY_OK;
    }
    log->to = fopen(path, "ae");
    return log->to != NULL
               ? SPRY_OK
               : spry_fail(error, SPRY_IO, path, NULL, "cannot be written: %s", strerror(errno));
}

typedef struct member {
    const char *key;
    double number;
} member;

static void write_line(train_log *log, const char *kind, int64_t step, const member *members,
                       size_t count)
{
    char buffer[MOST_LINE];
    text line;
    json_writer json;

    if (log->to == NULL) {
        return;
    }
    text_init_fixed(&line, buffer, sizeof buffer);
    json_writer_init(&json, &line, 0);
    json_write_object(&json, NULL);
    json_write_string(&json, "kind", kind);
    json_write_i64(&json, "step", step);
    for (size_t i = 0; i < count; i++) {
        json_write_f64(&json, members[i].key, members[i].number);
    }
    json_write_end(&json);
    (void)fprintf(log->to, "%s\n", line.data);
}

void train_log_step(train_log *log, const spry_train_step *step)
{
    const member members[] = {{"epoch", (double)step->epoch},
                              {"loss", step->loss},
                              {"rate", step->rate},
                              {"norm", step->norm},
                              {"seconds", step->seconds}};

    write_line(log, "step", step->step, members, sizeof members / sizeof *members);
}

void train_log_epoch(train_log *log, const spry_train_epoch *epoch)
{
    const member members[] = {{"epoch", (double)epoch->epoch},
                              {"loss", epoch->loss},
                              {"accuracy", epoch->accuracy},
                              {"validation", epoch->validation},
                              {"validation_loss", epoch->validation_loss},
                              {"rate", epoch->rate},
                              {"seconds", epoch->seconds}};
    size_t count = sizeof members / sizeof *members;

    write_line(log, "epoch", epoch->step, members, count);
    if (log->to != NULL) {
        (void)fflush(log->to);
    }
}

spry_status train_log_close(train_log *log, spry_status status, spry_error *error)
{
    bool failed;

    if (log->to == NULL) {
        return status;
    }
    failed = ferror(log->to) != 0;
    failed = fclose(log->to) != 0 || failed;
    log->to = NULL;
    return status == SPRY_OK && failed
               ? spry_fail(error, SPRY_IO, log->path, "is the disk full?", "could not be written")
               : status;
}
