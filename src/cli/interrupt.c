/* Noting signals. */
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static const int signals[] = {SIGINT, SIGTERM};

enum { SIGNALS = sizeof signals / sizeof signals[0] };

static struct sigaction before[SIGNALS];
static volatile sig_atomic_t noted;

static void note(int number)
{
    noted = number;
}

void interrupt_begin(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND | SA_RESTART};

    noted = 0;
    (void)sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++) {
        (void)sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) { /* as nohup and shells want it */
            (void)sigaction(signals[i], &action, NULL);
        }
    }
}

bool interrupt_seen(void)
{
    return noted != 0;
}

void interrupt_accept(void)
{
    noted = 0;
}

void interrupt_end(void)
{
    int number = noted;

    for (int i = 0; i < SIGNALS; i++) {
        (void)sigaction(signals[i], &before[i], NULL);
    }
    if (number != 0) {
        (void)raise(number);
    }
}
