/* From graph to boxes and edges, and to SVG. */
#include "inspect/drawing.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/family.h"
#include "model/graph_walk.h"
#include "ops/op.h"

enum {
    BOX_LEAST_WIDTH = 96,
    BOX_MOST_WIDTH = 230,
    BOX_PADDING = 22,
    LINE_HEIGHT = 16,
    TITLE_SIZE = 96,
    CAPTION_SIZE = 192,
    CAPTION_CHARACTERS = 32
};

/* Widths of a character in the page's fonts, a little generous. */
static const double title_advance = 7.6;
static const double caption_advance = 6.2;
static const double most_tint = 0.6;
static const double frame_margin = 7.0;

/* ---- what stands in a box ---- */

typedef struct box_text {
    char title[TITLE_SIZE];
    char name[CAPTION_SIZE];
    char shape[CAPTION_SIZE];
    char note[CAPTION_SIZE];
} box_text;

static size_t characters(const char *string)
{
    size_t count = 0;

    for (; *string != '\0'; string++) {
        count += ((unsigned char)*string & 0xc0) != 0x80;
    }
    return count;
}

/* The end of long names tells more than their beginning. */
static void shorten(char *to, size_t size, const char *from)
{
    size_t count = characters(from);
    text t;

    text_init_fixed(&t, to, size);
    if (count > CAPTION_CHARACTERS) {
        for (size_t skip = count - CAPTION_CHARACTERS + 1; skip > 0; from++) {
            skip -= ((unsigned char)from[1] & 0xc0) != 0x80;
        }
        text_append_string(&t, "\xe2\x80\xa6"); /* an ellipsis */
    }
    text_append_string(&t, from);
}

static void describe_box(const drawing *d, int32_t box, box_text *b)
{
    const graph *g = d->s->g;
    int32_t subject = d->subjects[box];
    text title;

    text_init_fixed(&title, b->title, sizeof b->title);
    b->note[0] = '\0';
    if (d->kinds[box] != DRAWING_NODE) {
        char type[SUMMARY_TYPE_SIZE];
        text_append_string(&title, d->kinds[box] == DRAWING_INPUT ? "input" : "output");
        shorten(b->name, sizeof b->name, g->values[subject].name);
        shorten(b->shape, sizeof b->shape,
                graph_type_describe(&g->values[subject].type, type, sizeof type));
        return;
    }
    const graph_node *node = &g->nodes[subject];
    text_append_format(&title, "%.48s ", node->type);
    family_append_hint(&title, g, node);
    if (title.length > 0 && b->title[title.length - 1] == ' ') {
        b->title[title.length - 1] = '\0';
    }
    shorten(b->name, sizeof b->name, node->name);
    shorten(b->shape, sizeof b->shape, d->s->nodes[subject].shape);
    if (d->notes != NULL && d->notes[subject].caption != NULL) {
        shorten(b->note, sizeof b->note, d->notes[subject].caption);
    }
}

static void size_box(const drawing *d, int32_t box, layout_box *to)
{
    box_text b;

    describe_box(d, box, &b);
    double width = (double)characters(b.title) * title_advance;
    double name = (double)characters(b.name) * caption_advance;
    double shape = (double)characters(b.shape) * caption_advance;
    double note = (double)characters(b.note) * caption_advance;
    int lines = 1 + (b.name[0] != '\0') + (b.shape[0] != '\0') + (b.note[0] != '\0');

    width = fmax(fmax(width, note), fmax(name, shape)) + BOX_PADDING;
    to->width = fmin(fmax(width, BOX_LEAST_WIDTH), BOX_MOST_WIDTH);
    to->height = lines * LINE_HEIGHT + 10;
}

/* ---- boxes and edges ---- */

/* By value: is it the same for all inputs of equal shapes? */
static bool *find_fixed(drawing *d)
{
    const graph *g = d->s->g;
    bool *fixed = arena_array(&d->memory, (size_t)g->value_count + 1, sizeof *fixed);

    for (int32_t v = 0; fixed != NULL && v < g->value_count; v++) {
        fixed[v] = g->values[v].constant != NULL;
    }
    for (int32_t n = 0; fixed != NULL && n < g->node_count; n++) {
        const graph_node *node = &g->nodes[n];
        const op *definition = op_of_node(node);
        bool is_fixed = definition != NULL && (definition->flags & OP_SHAPE_ONLY) != 0;
        bool can_be = definition != NULL && (definition->flags & (OP_RANDOM | OP_SUBGRAPHS)) == 0;
        if (!is_fixed && can_be) {
            is_fixed = true;
            for (int32_t i = 0; i < node->input_count; i++) {
                is_fixed = is_fixed && (node->inputs[i] == GRAPH_NONE || fixed[node->inputs[i]]);
            }
        }
        for (int32_t i = 0; i < node->output_count; i++) {
            if (node->outputs[i] != GRAPH_NONE) {
                fixed[node->outputs[i]] = is_fixed;
            }
        }
    }
    return fixed;
}

static bool is_drawn(const graph *g, const graph_node *node, const bool *fixed)
{
    for (int32_t i = 0; i < node->output_count; i++) {
        int32_t id = node->outputs[i];
        if (id != GRAPH_NONE && (!fixed[id] || g->values[id].is_output)) {
            return !summary_is_constant_node(node);
        }
    }
    return node->output_count == 0;
}

static spry_status add_boxes(drawing *d, spry_error *error)
{
    const graph *g = d->s->g;
    size_t most = (size_t)g->input_count + (size_t)g->node_count + (size_t)g->output_count + 1;
    const bool *fixed = find_fixed(d);
    int32_t count = 0;

    d->kinds = arena_array(&d->memory, most, sizeof *d->kinds);
    d->subjects = arena_array(&d->memory, most, sizeof *d->subjects);
    d->producers = arena_array(&d->memory, (size_t)g->value_count + 1, sizeof *d->producers);
    d->picture.boxes = arena_array(&d->memory, most, sizeof *d->picture.boxes);
    if (d->kinds == NULL || d->subjects == NULL || d->producers == NULL ||
        d->picture.boxes == NULL || fixed == NULL) {
        return alloc_failed(error, most * sizeof *d->picture.boxes);
    }
    for (int32_t v = 0; v < g->value_count; v++) {
        d->producers[v] = -1;
    }
    for (int32_t i = 0; i < g->input_count; i++) {
        if (g->values[g->inputs[i]].constant == NULL) {
            d->kinds[count] = DRAWING_INPUT;
            d->producers[g->inputs[i]] = count;
            d->subjects[count++] = g->inputs[i];
        }
    }
    for (int32_t n = 0; n < g->node_count; n++) {
        const graph_node *node = &g->nodes[n];
        if (!is_drawn(g, node, fixed)) {
            d->hidden += !summary_is_constant_node(node);
            continue;
        }
        for (int32_t i = 0; i < node->output_count; i++) {
            if (node->outputs[i] != GRAPH_NONE) {
                d->producers[node->outputs[i]] = count;
            }
        }
        d->kinds[count] = DRAWING_NODE;
        d->subjects[count++] = n;
    }
    for (int32_t i = 0; i < g->output_count; i++) {
        d->kinds[count] = DRAWING_OUTPUT;
        d->subjects[count++] = g->outputs[i];
    }
    d->picture.box_count = count;
    return SPRY_OK;
}

typedef struct edge_collector {
    drawing *d;
    int32_t box;
    int32_t *last_from; /* by box: the last box that it gave an edge to; twins are dropped */
    layout_edge *edges; /* NULL: only counted */
    int32_t count;
} edge_collector;

static void add_edge(void *context, int32_t id)
{
    edge_collector *c = context;
    int32_t from = id == GRAPH_NONE ? -1 : c->d->producers[id];

    if (from < 0 || c->last_from[from] == c->box) {
        return;
    }
    c->last_from[from] = c->box;
    if (c->edges != NULL) {
        c->edges[c->count] = (layout_edge){.from = from, .to = c->box};
    }
    c->count++;
}

static void collect_edges(edge_collector *c)
{
    drawing *d = c->d;

    c->count = 0;
    for (int32_t b = 0; b < d->picture.box_count; b++) {
        c->last_from[b] = -1;
    }
    for (c->box = 0; c->box < d->picture.box_count; c->box++) {
        if (d->kinds[c->box] == DRAWING_NODE) {
            graph_visit_reads(&d->s->g->nodes[d->subjects[c->box]], add_edge, c);
        } else if (d->kinds[c->box] == DRAWING_OUTPUT) {
            add_edge(c, d->subjects[c->box]);
        }
    }
}

static spry_status add_edges(drawing *d, spry_error *error)
{
    edge_collector c = {.d = d};

    c.last_from = arena_array(&d->memory, (size_t)d->picture.box_count + 1, sizeof *c.last_from);
    if (c.last_from == NULL) {
        return alloc_failed(error, (size_t)d->picture.box_count * sizeof *c.last_from);
    }
    collect_edges(&c);
    c.edges = arena_array(&d->memory, (size_t)c.count + 1, sizeof *c.edges);
    if (c.edges == NULL) {
        return alloc_failed(error, (size_t)c.count * sizeof *c.edges);
    }
    collect_edges(&c);
    d->picture.edges = c.edges;
    d->picture.edge_count = c.count;
    return SPRY_OK;
}

spry_status drawing_init(drawing *d, const summary *s, const drawing_note *notes, spry_error *error)
{
    *d = (drawing){.s = s, .notes = notes};
    arena_init(&d->memory, &s->allocator, SIZE_MAX);
    if (s->g->node_count > LAYOUT_MOST_BOXES) {
        return spry_fail(error, SPRY_LIMIT, NULL, NULL,
                         "a graph of %d nodes is too large to be drawn (most: %d)",
                         (int)s->g->node_count, (int)LAYOUT_MOST_BOXES);
    }
    spry_status status = add_boxes(d, error);

    if (status == SPRY_OK) {
        status = add_edges(d, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t b = 0; b < d->picture.box_count; b++) {
        size_box(d, b, &d->picture.boxes[b]);
    }
    return layout_place(&d->picture, &d->memory, error);
}

void drawing_fini(drawing *d)
{
    arena_fini(&d->memory);
}

/* ---- SVG ---- */

static void append_edge(text *to, const layout_edge *e)
{
    const layout_point *p = e->points;

    text_append_format(to, "<path class=\"e\" data-a=\"%d\" data-b=\"%d\" d=\"M%.0f %.1f",
                       (int)e->from, (int)e->to, p[0].x, p[0].y);
    for (int32_t i = 1; i < e->point_count; i += 2) {
        double middle = (p[i - 1].y + p[i].y) / 2;
        if (fabs(p[i].x - p[i - 1].x) < 0.5) {
            text_append_format(to, "V%.1f", p[i].y);
        } else {
            text_append_format(to, "C%.0f %.1f %.0f %.1f %.0f %.1f", p[i - 1].x, middle, p[i].x,
                               middle, p[i].x, p[i].y);
        }
        if (i + 1 < e->point_count) {
            text_append_format(to, "V%.1f", p[i + 1].y);
        } else {
            text_append_string(to, "\" marker-end=\"url(#arrow)\"/>\n");
        }
    }
}

static void append_line(text *to, const char *class, double x, double y, const char *line)
{
    text_append_format(to, "<text%s x=\"%.0f\" y=\"%.1f\">", class, x, y);
    text_append_escaped(to, TEXT_MARKUP, line, strlen(line));
    text_append_string(to, "</text>");
}

/* A bar along the lower side: the node's share of all multiply-accumulates, or what its note says,
 * which also tints the box. */
static void append_share(const drawing *d, text *to, int32_t node, const layout_box *box)
{
    int64_t macs = d->s->nodes[node].macs;
    double noted = d->notes != NULL ? d->notes[node].share : -1.0;
    double share = noted >= 0.0                        ? noted
                   : macs > 0 && d->s->totals.macs > 0 ? (double)macs / (double)d->s->totals.macs
                                                       : 0.0;

    if (noted > 0.0) {
        text_append_format(to,
                           "<rect class=\"heat\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                           "height=\"%.1f\" rx=\"5\" fill-opacity=\"%.3f\"/>",
                           box->x - box->width / 2, box->y, box->width, box->height,
                           fmin(most_tint, sqrt(noted) * most_tint));
    }
    if (share > 0.0) {
        text_append_format(to,
                           "<rect class=\"share\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                           "height=\"3\"/>",
                           box->x - box->width / 2 + 6, box->y + box->height - 5,
                           (box->width - 12) * sqrt(share));
    }
}

static void append_box(const drawing *d, text *to, int32_t index)
{
    const layout_box *box = &d->picture.boxes[index];
    bool is_node = d->kinds[index] == DRAWING_NODE;
    int32_t subject = d->subjects[index];
    double left = box->x - box->width / 2;
    double y = box->y + LINE_HEIGHT + 1;
    box_text b;

    describe_box(d, index, &b);
    text_append_format(to,
                       "<g class=\"b f-%s%s\" data-i=\"%d\" tabindex=\"0\"><rect x=\"%.1f\" "
                       "y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%d\"/>",
                       is_node ? family_of(&d->s->g->nodes[subject]) : "port",
                       is_node && !d->s->nodes[subject].is_supported ? " missing" : "", (int)index,
                       left, box->y, box->width, box->height, is_node ? 5 : (int)(box->height / 2));
    if (is_node) {
        text_append_format(to,
                           "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"5\" "
                           "height=\"%.1f\" rx=\"2\"/>",
                           left, box->y, box->height);
        append_share(d, to, subject, box);
    }
    append_line(to, " class=\"t\"", box->x, y, b.title);
    if (b.name[0] != '\0') {
        append_line(to, "", box->x, y += LINE_HEIGHT, b.name);
    }
    if (b.shape[0] != '\0') {
        append_line(to, "", box->x, y += LINE_HEIGHT, b.shape);
    }
    if (b.note[0] != '\0') {
        append_line(to, " class=\"note\"", box->x, y + LINE_HEIGHT, b.note);
    }
    if (is_node) {
        const char *label = d->s->nodes[subject].label;
        text_append_string(to, "<title>");
        text_append_escaped(to, TEXT_MARKUP, label, strlen(label));
        text_append_string(to, "</title>");
    }
    text_append_string(to, "</g>\n");
}

/* A frame around the boxes of each step that has several. Boxes of a step follow one another in the
 * graph's order, nearly always. */
static void append_frames(const drawing *d, text *to)
{
    for (int32_t b = 0; d->notes != NULL && b < d->picture.box_count;) {
        int32_t step = d->kinds[b] == DRAWING_NODE ? d->notes[d->subjects[b]].step : -1;
        int32_t first = b;
        double left = INFINITY;
        double right = -INFINITY;
        double top = INFINITY;
        double bottom = -INFINITY;

        do {
            const layout_box *box = &d->picture.boxes[b++];

            left = fmin(left, box->x - box->width / 2);
            right = fmax(right, box->x + box->width / 2);
            top = fmin(top, box->y);
            bottom = fmax(bottom, box->y + box->height);
        } while (step >= 0 && b < d->picture.box_count && d->kinds[b] == DRAWING_NODE &&
                 d->notes[d->subjects[b]].step == step);
        if (step >= 0 && b - first > 1) {
            text_append_format(to,
                               "<rect class=\"frame\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                               "height=\"%.1f\" rx=\"10\"/>\n",
                               left - frame_margin, top - frame_margin,
                               right - left + 2 * frame_margin, bottom - top + 2 * frame_margin);
        }
    }
}

void drawing_append_svg(const drawing *d, text *to)
{
    text_append_format(to,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                       "width=\"%.0f\" height=\"%.0f\" role=\"img\" aria-label=\"graph\">\n",
                       d->picture.width, d->picture.height, d->picture.width, d->picture.height);
    text_append_string(to, "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" "
                           "markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 "
                           "1L8 4L0 7z\" fill=\"context-stroke\"/></marker></defs>\n");
    append_frames(d, to);
    for (int32_t e = 0; e < d->picture.edge_count; e++) {
        append_edge(to, &d->picture.edges[e]);
    }
    for (int32_t b = 0; b < d->picture.box_count; b++) {
        append_box(d, to, b);
    }
    text_append_string(to, "</svg>\n");
}
