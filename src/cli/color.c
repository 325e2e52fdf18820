/* When to use colour, and how wide the terminal is. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/parse.h"
#include "cli/command.h"

enum { WIDTH_FALLBACK = 80, WIDTH_LEAST = 40, WIDTH_MOST = 100 };

bool cli_color(const cli_call *call, FILE *stream)
{
    const char *when = cli_text(call, "color");
    const char *off = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    if (when != NULL && strcmp(when, "auto") != 0) {
        return strcmp(when, "always") == 0;
    }
    if (off != NULL && *off != '\0') {
        return false;
    }
    return terminal != NULL && strcmp(terminal, "dumb") != 0 && isatty(fileno(stream)) == 1;
}

const char *cli_style(bool color, cli_look look)
{
    static const char *const codes[] = {
        [CLI_LOOK_PLAIN] = "\033[0m",      [CLI_LOOK_BOLD] = "\033[1m",
        [CLI_LOOK_DIM] = "\033[2m",        [CLI_LOOK_ERROR] = "\033[1;31m",
        [CLI_LOOK_WARNING] = "\033[1;33m", [CLI_LOOK_HINT] = "\033[36m",
    };

    return color ? codes[look] : "";
}

int cli_width(FILE *stream)
{
    struct winsize size = {0};
    int64_t width = 0;

    if (!parse_i64(getenv("COLUMNS"), 1, 10000, &width)) {
        width = isatty(fileno(stream)) == 1 && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 &&
                        size.ws_col > 0
                    ? size.ws_col
                    : WIDTH_FALLBACK;
    }
    if (width < WIDTH_LEAST) {
        return WIDTH_LEAST;
    }
    return width > WIDTH_MOST ? WIDTH_MOST : (int)width;
}
