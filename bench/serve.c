/* Every timed program answers the same few lines and takes time in the same way: here. */
#include "serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE_SIZE = 512, RUNS_MAX = 1000000 };

double serve_clock_ms(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return 0.0;
    }
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* From /proc: getrusage would also count the program that started this one. */
double serve_peak_rss_mb(void)
{
    static const char key[] = "VmHWM:";
    double megabytes = 0.0;
    char line[LINE_SIZE];
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL) {
        return megabytes;
    }
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, sizeof key - 1) == 0) {
            megabytes = strtod(line + sizeof key - 1, NULL) * 1024e-6;
            break;
        }
    }
    (void)fclose(status);
    return megabytes;
}

bool serve_parse_number(const char *text, long low, long high, long *number)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < low || value > high) {
        return false;
    }
    *number = value;
    return true;
}

/* `count` back-to-back runs; answers with the mean of one. */
static void answer_run(const serve_program *program, const char *argument)
{
    long count = 1;
    if (argument[0] != '\0' && !serve_parse_number(argument, 1, RUNS_MAX, &count)) {
        printf("error the number of runs is 1 to %d\n", (int)RUNS_MAX);
        return;
    }
    char reason[SERVE_REASON_SIZE] = "";
    double start = serve_clock_ms();
    for (long i = 0; i < count; i++) {
        if (!program->run(program->context, reason)) {
            printf("error %s\n", reason);
            return;
        }
    }
    printf("ms %.6f\n", (serve_clock_ms() - start) / (double)count);
}

static void answer_shape(const serve_program *program, const char *line)
{
    char reason[SERVE_REASON_SIZE] = "";
    if (program->set_shape == NULL) {
        printf("error this program runs one model\n");
    } else if (program->set_shape(program->context, line, reason)) {
        printf("ok%s%s\n", reason[0] != '\0' ? " " : "", reason);
    } else {
        printf("skip %s\n", reason);
    }
}

void serve_lines(const serve_program *program)
{
    char line[LINE_SIZE];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        char *argument = line + strcspn(line, " ");
        if (*argument != '\0') {
            *argument++ = '\0';
        }
        if (strcmp(line, "quit") == 0) {
            return;
        }
        if (strcmp(line, "run") == 0) {
            answer_run(program, argument);
        } else if (strcmp(line, "shape") == 0) {
            answer_shape(program, argument);
        } else {
            printf("error expected run, shape or quit\n");
        }
        (void)fflush(stdout);
    }
}
