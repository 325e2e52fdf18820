/* The model's graph with the time of every layer, and frames around what runs as one. */
#include <string.h>

#include "base/alloc.h"
#include "cli/page.h"
#include "cli/report/page.h"
#include "inspect/drawing.h"
#include "inspect/page.h"

/* Of the nodes of each layer, the one that shows its time: the operator that gave it its name, of
 * several the one with the most work. */
static bool leads(const report *r, int32_t node, int32_t best)
{
    const graph *g = r->inspection->g;
    const char *type = r->layers[r->node_layer[node]].row.type;
    bool is_same = strcmp(g->nodes[node].type, type) == 0;
    bool was_same = best >= 0 && strcmp(g->nodes[best].type, type) == 0;

    if (best < 0 || is_same != was_same) {
        return best < 0 || is_same;
    }
    return r->inspection->nodes[node].macs > r->inspection->nodes[best].macs;
}

static drawing_note *make_notes(report *r)
{
    size_t nodes = (size_t)r->node_count + 1;
    drawing_note *notes = arena_array(&r->memory, nodes, sizeof *notes);
    int32_t *leaders = arena_array(&r->memory, (size_t)r->layer_count + 1, sizeof *leaders);

    if (notes == NULL || leaders == NULL) {
        return NULL;
    }
    for (int32_t i = 0; i < r->layer_count; i++) {
        leaders[i] = -1;
    }
    for (int32_t n = 0; n < r->node_count; n++) {
        int32_t layer = r->node_layer[n];

        notes[n] = (drawing_note){.step = layer, .share = 0.0};
        if (layer >= 0 && leads(r, n, leaders[layer])) {
            leaders[layer] = n;
        }
    }
    for (int32_t i = 0; i < r->layer_count; i++) {
        const report_layer *l = &r->layers[i];

        if (leaders[i] >= 0) {
            notes[leaders[i]].share = report_share(r, l);
            notes[leaders[i]].caption = l->ms < 0.001 ? "below 0.001 ms"
                                                      : report_text(r, "%.3g ms, %.1f %%", l->ms,
                                                                    100.0 * report_share(r, l));
        }
    }
    return notes;
}

static void append_tools(text *to)
{
    text_append_string(
        to, "<p class=\"tools\"><input id=\"search\" type=\"search\" placeholder=\"find a node "
            "(Enter)\" aria-label=\"find a node\"> <button type=\"button\" id=\"out\" "
            "title=\"smaller\">&minus;</button> <button type=\"button\" id=\"in\" "
            "title=\"larger\">+</button> <button type=\"button\" id=\"wide\">fit width</button> "
            "<button type=\"button\" id=\"fit\">fit all</button></p>\n");
}

spry_status report_page_graph(text *to, report *r, spry_error *error)
{
    spry_error problem = {0};
    drawing_note *notes = make_notes(r);
    drawing d;
    spry_status drawn;

    if (notes == NULL) {
        return alloc_failed(error, (size_t)r->node_count * sizeof *notes);
    }
    drawn = drawing_init(&d, r->inspection, notes, &problem);
    text_append_string(to, "<h2 id=\"drawing\">On the graph</h2>\n");
    if (drawn != SPRY_OK) {
        text_append_string(to, "<p class=\"dim\">");
        page_escaped(to, problem.what);
        text_append_string(to, "</p>\n");
        drawing_fini(&d);
        return SPRY_OK;
    }
    text_append_string(to, "<p class=\"dim\">The model as it is written. The redder a box, the "
                           "more time; what a dashed frame holds runs as one layer, whose time "
                           "its main operator shows. Choose a box for details.</p>\n");
    append_tools(to);
    text_append_string(to, "<div class=\"drawing\"><div id=\"graph\" tabindex=\"0\">\n");
    drawing_append_svg(&d, to);
    text_append_string(to, "</div>\n<section id=\"detail\" hidden></section></div>\n<script "
                           "type=\"application/json\" id=\"nodes\">");
    drawing_append_json(&d, to);
    text_append_string(to, "</script>\n<script>\n");
    text_append_string(to, page_js);
    text_append_string(to, "</script>\n");
    drawing_fini(&d);
    return SPRY_OK;
}
