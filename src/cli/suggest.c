/* What a mistyped word was probably meant to be. */
#include <string.h>

#include "cli/command.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

enum { WORD_MOST = 32 };

/* Letters to insert, remove, change or swap with their neighbour to make one word of the other;
 * words of more than 31 characters count as far away. */
static int distance(const char *a, const char *b)
{
    int rows[3][WORD_MOST] = {{0}}; /* of the table of distances between beginnings, in turn */
    int height = (int)strlen(a);
    int width = (int)strlen(b);

    if (height >= WORD_MOST || width >= WORD_MOST) {
        return WORD_MOST;
    }
    for (int i = 0; i <= height; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3];
        const int *two_above = rows[(i + 1) % 3];

        row[0] = i;
        for (int j = 1; j <= width; j++) {
            row[j] = i == 0 ? j : least(above[j], row[j - 1]) + 1;
            if (i > 0) {
                row[j] = least(row[j], above[j - 1] + (a[i - 1] != b[j - 1]));
            }
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[height % 3][width];
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
