/* Drawing heads. */
#include "cli/inspect/heads_picture.h"

#include <math.h>

#include "base/files.h"
#include "cli/inspect/heads.h"
#include "cli/page.h"

enum {
    CELL = HEADS_PICTURE_CELL,
    DOT = HEADS_PICTURE_SIDE / SPRY_HEADS_MAP,
    GAP = 24,
    LINE = 18,
    SHADES = 20
};

int32_t heads_picture_widest(const spry_head *list, int32_t count)
{
    int32_t widest = 0;

    for (int32_t i = 0; i < count; i++) {
        widest = list[i].head >= widest ? list[i].head + 1 : widest;
    }
    return widest;
}

void heads_picture_map(text *to, const spry_head *list, int32_t count,
                       const spry_heads_cluster *clusters)
{
    int32_t widest = heads_picture_widest(list, count);

    for (int32_t i = 0; i < widest; i++) {
        text_append_format(to, "<text x=\"%d\" y=\"15\" text-anchor=\"middle\">%d</text>",
                           (int)(i + 2) * CELL - CELL / 2, (int)i);
    }
    for (int32_t i = 0; i < count; i++) {
        const spry_head *h = &list[i];
        int x = (int)(h->head + 1) * CELL;
        int y = (int)(h->layer + 1) * CELL;

        if (h->head == 0) {
            text_append_format(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d</text>",
                               CELL - 6, y + 15, (int)h->layer);
        }
        text_append_format(to,
                           "<rect class=\"c%d\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                           "rx=\"3\"><title>layer %d, head %d: %s, alone %s, distance %.3f, "
                           "entropy %.3f</title></rect><text class=\"in\" x=\"%d\" y=\"%d\" "
                           "text-anchor=\"middle\">%c</text>\n",
                           (int)h->cluster, x + 1, y + 1, CELL - 2, CELL - 2, (int)h->layer,
                           (int)h->head, clusters[h->cluster].pattern, h->pattern,
                           h->mean[SPRY_HEAD_DISTANCE], h->mean[SPRY_HEAD_ENTROPY], x + CELL / 2,
                           y + 15, inspect_heads_letter(h->cluster));
    }
}

/* The eye sees the root of a share better than the share. */
static int shade_of(double weight, double most)
{
    return most > 0.0 ? (int)(sqrt(weight / most) * SHADES + 0.5) : 0;
}

void heads_picture_heat(text *to, const spry_head *head, int32_t k)
{
    double most = 0.0;

    for (int i = 0; i < SPRY_HEADS_MAP * SPRY_HEADS_MAP; i++) {
        most = (double)head->map[i] > most ? (double)head->map[i] : most;
    }
    text_append_format(to, "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n",
                       HEADS_PICTURE_SIDE, HEADS_PICTURE_SIDE);
    for (int row = 0; row < SPRY_HEADS_MAP; row++) {
        const float *cells = head->map + (size_t)row * SPRY_HEADS_MAP;

        for (int i = 0, next; i < SPRY_HEADS_MAP; i = next) {
            int shade = shade_of((double)cells[i], most);

            for (next = i + 1; next < SPRY_HEADS_MAP; next++) {
                if (shade_of((double)cells[next], most) != shade) {
                    break;
                }
            }
            if (shade > 0) {
                text_append_format(to,
                                   "<rect class=\"c%d\" x=\"%d\" y=\"%d\" width=\"%d\" "
                                   "height=\"%d\" fill-opacity=\"%.2g\"/>",
                                   (int)k, i * DOT, row * DOT, (next - i) * DOT, DOT,
                                   (double)shade / SHADES);
            }
        }
    }
    text_append_string(to, "\n");
}

/* ---- a picture of its own ---- */

static void append_style(text *to)
{
    static const char *const colours[SPRY_HEADS_MOST_CLUSTERS] = {
        "#2f6fde", "#c2571a", "#1b8f7a", "#a83283", "#8a6d1f",
        "#6a4fd0", "#4f7d2c", "#d4380d", "#1787a8", "#7b8494"};

    text_append_string(to, "<style>text{font:12px system-ui,sans-serif;fill:#66707f}.in{fill:#fff;"
                           "font-weight:600}.paper{fill:#fff}.ground{fill:#f4f6f9}");
    for (int i = 0; i < SPRY_HEADS_MOST_CLUSTERS; i++) {
        text_append_format(to, ".c%d{fill:%s}", i, colours[i]);
    }
    text_append_string(to, "</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n");
}

static void append_legend(text *to, const spry_heads_cluster *clusters, int32_t count, int x)
{
    for (int32_t k = 0; k < count; k++) {
        int y = CELL + (int)k * LINE;

        text_append_format(to,
                           "<rect class=\"c%d\" x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" "
                           "rx=\"3\"/><text x=\"%d\" y=\"%d\">%c %s%s, %d head%s</text>\n",
                           (int)k, x, y, x + 18, y + 11, inspect_heads_letter(k),
                           clusters[k].pattern, clusters[k].is_mixed ? " (mixed)" : "",
                           (int)clusters[k].count, clusters[k].count == 1 ? "" : "s");
    }
}

static void append_heats(text *to, const spry_head *list, const spry_heads_cluster *clusters,
                         int32_t count, int y)
{
    for (int32_t k = 0; k < count; k++) {
        const spry_head *h = &list[clusters[k].medoid];
        int x = GAP + (int)k * (HEADS_PICTURE_SIDE + GAP);

        text_append_format(to,
                           "<text x=\"%d\" y=\"%d\">%c, layer %d, head %d</text><g "
                           "transform=\"translate(%d %d)\">\n",
                           x, y - 6, inspect_heads_letter(k), (int)h->layer, (int)h->head, x, y);
        heads_picture_heat(to, h, k);
        text_append_string(to, "</g>\n");
    }
}

spry_status heads_picture_write(const spry_heads *heads, const char *path, spry_error *error)
{
    spry_heads_totals totals = spry_heads_describe(heads);
    const spry_heads_cluster *clusters = NULL;
    const spry_head *list = NULL;
    int32_t count = spry_heads_list(heads, &list);
    int32_t widest = heads_picture_widest(list, count);
    int map = (int)(widest + 2) * CELL;
    int rows = (int)(totals.layers + 2) * CELL;
    int legend = CELL + (int)totals.clusters * LINE + GAP;
    int top = (rows > legend ? rows : legend) + GAP;
    int maps = GAP + (int)totals.clusters * (HEADS_PICTURE_SIDE + GAP);
    int width = maps > map + 320 ? maps : map + 320;
    int height = top + HEADS_PICTURE_SIDE + GAP;
    text picture;

    (void)spry_heads_clusters(heads, &clusters);
    text_init(&picture, spry_allocator_system(), PAGE_MOST_BYTES);
    text_append_format(&picture,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                       "viewBox=\"0 0 %d %d\" role=\"img\"><title>Attention heads by cluster"
                       "</title>\n",
                       width, height, width, height);
    append_style(&picture);
    heads_picture_map(&picture, list, count, clusters);
    append_legend(&picture, clusters, totals.clusters, map + GAP);
    append_heats(&picture, list, clusters, totals.clusters, top);
    text_append_string(&picture, "</svg>\n");
    spry_status status = text_status(&picture, "picture", error);
    status = status == SPRY_OK ? file_replace(path, picture.data, picture.length, error) : status;
    text_fini(&picture);
    return status;
}
