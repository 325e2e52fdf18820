/* What a mistyped word was probably meant to be. */
#include <string.h>

#include "cli/command.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Edit distance, for words of up to 31 characters; longer ones count as far away. */
static int distance(const char *a, const char *b)
{
    enum { MOST = 32 };
    int row[MOST];
    int rows = (int)strlen(a);
    int columns = (int)strlen(b);

    if (rows >= MOST || columns >= MOST) {
        return MOST;
    }
    for (int j = 0; j <= columns; j++) {
        row[j] = j;
    }
    for (int i = 1; i <= rows; i++) {
        int diagonal = row[0];

        row[0] = i;
        for (int j = 1; j <= columns; j++) {
            int changed = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = least(changed, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[columns];
}

static const char *command_at(const void *context, int index)
{
    const cli_command *const *commands = context;

    return commands[index] != NULL ? commands[index]->name : NULL;
}

static const char *option_at(const void *context, int index)
{
    const cli_option *option = cli_option_at(context, index);

    return option != NULL ? option->name : NULL;
}

static const char *nearest(const char *word, const char *(*at)(const void *context, int index),
                           const void *context)
{
    const char *best = NULL;
    /* One slip in a short word, up to three in a long one. */
    int best_distance = 2 + least((int)strlen(word) / 4, 2);

    for (int i = 0; at(context, i) != NULL; i++) {
        int d = distance(word, at(context, i));

        if (d < best_distance) {
            best_distance = d;
            best = at(context, i);
        }
    }
    return best;
}

const char *cli_nearest_option(const cli_command *command, const char *word)
{
    return nearest(word, option_at, command);
}

const char *cli_nearest_command(const char *word)
{
    return nearest(word, command_at, cli_commands);
}
