/* The page: summary and tables beside the drawn graph. All that comes from the model is escaped. */
#include <inttypes.h>
#include <string.h>

#include "base/files.h"
#include "base/units.h"
#include "data/image.h"
#include "inspect/drawing.h"
#include "inspect/family.h"
#include "inspect/page.h"
#include "inspect/summary.h"

/* A page above this is of no use to a browser. */
static const size_t most_page_bytes = (size_t)512 << 20;

static void append_escaped(text *to, const char *string)
{
    text_append_escaped(to, TEXT_MARKUP, string, strlen(string));
}

/* ---- tables ---- */

static void append_cell(text *to, const char *class, const char *string)
{
    text_append_format(to, "<td%s>", class);
    append_escaped(to, string);
    text_append_string(to, "</td>");
}

static void append_number(text *to, int64_t number)
{
    char buffer[UNITS_SIZE];

    append_cell(to, " class=\"n\"", units_count(buffer, number));
}

static void append_row(text *to, const char *name, const char *string)
{
    text_append_string(to, "<tr>");
    append_cell(to, "", name);
    append_cell(to, "", string);
    text_append_string(to, "</tr>\n");
}

static void append_ports(text *to, const char *name, const spry_inspect_port *ports, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        text_append_string(to, "<tr>");
        append_cell(to, "", i == 0 ? name : "");
        text_append_string(to, "<td><b>");
        append_escaped(to, ports[i].name);
        text_append_string(to, "</b> <code>");
        append_escaped(to, ports[i].type);
        text_append_string(to, "</code></td></tr>\n");
    }
}

static void append_opsets(text *to, const summary *s)
{
    text_append_string(to, "<tr><td>operator sets</td><td>");
    for (int32_t i = 0; i < s->m->opset_count; i++) {
        text_append_string(to, i > 0 ? ", " : "");
        append_escaped(to, s->opsets[i].domain[0] != '\0' ? s->opsets[i].domain : "ai.onnx");
        text_append_format(to, " %" PRId64, s->opsets[i].version);
    }
    text_append_string(to, "</td></tr>\n");
}

static void append_facts(text *to, const summary *s)
{
    const spry_inspect_totals *t = &s->totals;
    char number[2][UNITS_SIZE];
    char line[SUMMARY_LABEL_SIZE];
    text l;

    text_append_string(to, "<table class=\"facts\">\n");
    append_ports(to, "inputs", s->inputs, s->input_count);
    append_ports(to, "outputs", s->outputs, s->g->output_count);
    append_opsets(to, s);
    if (s->m->producer_name != NULL && s->m->producer_name[0] != '\0') {
        append_row(to, "made by", s->m->producer_name);
    }
    text_init_fixed(&l, line, sizeof line);
    text_append_format(&l, "%" PRId64, t->nodes);
    if (t->nested_nodes > 0) {
        text_append_format(&l, " and %" PRId64 " in bodies", t->nested_nodes);
    }
    if (t->functions > 0) {
        text_append_format(&l, ", %" PRId64 " functions", t->functions);
    }
    append_row(to, "nodes", line);
    text_clear(&l);
    text_append_format(&l, "%s in %s", units_count(number[0], t->parameters),
                       units_bytes(number[1], t->weight_bytes));
    append_row(to, "parameters", line);
    text_clear(&l);
    text_append_format(&l, "%s MACs, %s operations", units_count(number[0], t->macs),
                       units_count(number[1], t->flops));
    append_row(to, t->batch_assumed ? "work, batch 1" : "work", line);
    text_clear(&l);
    text_append_format(&l, "%s at most at once, %s in all", units_bytes(number[0], t->peak_bytes),
                       units_bytes(number[1], t->all_bytes));
    append_row(to, "activations", line);
    text_append_string(to, "</table>\n");
}

static void append_warnings(text *to, const summary *s)
{
    if (s->totals.problem != NULL) {
        text_append_string(to, "<p class=\"warning\">Shapes contradict each other: ");
        append_escaped(to, s->totals.problem);
        text_append_string(to, "</p>\n");
    }
    if (s->gap_count == 0) {
        return;
    }
    text_append_string(to, "<h2>Not supported</h2>\n<table>\n<tr><th>operator</th><th "
                           "class=\"n\">opset</th><th>why</th><th class=\"n\">nodes</th></tr>\n");
    for (int32_t i = 0; i < s->gap_count; i++) {
        const spry_inspect_gap *gap = &s->gaps[i];
        text_append_string(to, "<tr title=\"");
        append_escaped(to, gap->labels);
        text_append_string(to, "\">");
        append_cell(to, "", gap->type);
        append_number(to, gap->opset);
        append_cell(to, "", gap->reason);
        append_number(to, gap->nodes);
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</table>\n");
}

static void append_operators(text *to, const summary *s)
{
    text_append_string(to, "<h2>Operators</h2>\n<table>\n<tr><th>operator</th><th "
                           "class=\"n\">nodes</th><th class=\"n\">parameters</th><th "
                           "class=\"n\">MACs</th></tr>\n");
    for (int32_t i = 0; i < s->operator_count; i++) {
        const spry_inspect_operator *row = &s->operators[i];
        const graph_node like = {.type = row->type, .domain = row->domain};
        text_append_format(to, "<tr><td><span class=\"swatch f-%s\"></span>", family_of(&like));
        append_escaped(to, row->domain);
        text_append_string(to, row->domain[0] != '\0' ? "." : "");
        append_escaped(to, row->type);
        text_append_string(to, "</td>");
        append_number(to, row->nodes);
        append_number(to, row->parameters);
        append_number(to, row->macs);
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</table>\n");
}

static void append_weights(text *to, const summary *s)
{
    text_append_string(to, "<h2>Weights</h2>\n<table>\n<tr><th>type</th><th "
                           "class=\"n\">tensors</th><th class=\"n\">elements</th><th "
                           "class=\"n\">bytes</th></tr>\n");
    for (int32_t i = 0; i < s->weight_count; i++) {
        char buffer[UNITS_SIZE];
        text_append_string(to, "<tr>");
        append_cell(to, "", spry_dtype_name(s->weights[i].dtype));
        append_number(to, s->weights[i].tensors);
        append_number(to, s->weights[i].elements);
        append_cell(to, " class=\"n\"", units_bytes(buffer, s->weights[i].bytes));
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</table>\n");
}

/* ---- pictures ---- */

static spry_status append_picture(text *to, const summary *s, const spry_inspect_picture *picture,
                                  spry_error *error)
{
    image_bytes encoded;
    spry_status status =
        image_encode_png(&s->allocator, picture->image, "picture", &encoded, error);

    if (status != SPRY_OK) {
        return status;
    }
    text_append_string(to, "<figure><img alt=\"\" src=\"data:image/png;base64,");
    text_append_base64(to, encoded.data, encoded.size);
    text_append_string(to, "\"><figcaption>");
    append_escaped(to, picture->caption);
    text_append_string(to, "</figcaption></figure>\n");
    image_bytes_release(&s->allocator, &encoded);
    return SPRY_OK;
}

static spry_status append_pictures(text *to, const summary *s, const spry_inspect_page *page,
                                   spry_error *error)
{
    const char *group = NULL;
    spry_status status = SPRY_OK;

    if (page->picture_count > 0) {
        text_append_string(to, "<h2>");
        append_escaped(to, page->pictures_title);
        text_append_string(to, "</h2>\n");
    }
    for (int32_t i = 0; i < page->picture_count && status == SPRY_OK; i++) {
        const spry_inspect_picture *picture = &page->pictures[i];

        if (group == NULL || strcmp(group, picture->group) != 0) {
            text_append_string(to, group != NULL ? "</div>\n<h3>" : "<h3>");
            append_escaped(to, picture->group);
            text_append_string(to, "</h3>\n<div class=\"pictures\">\n");
            group = picture->group;
        }
        status = append_picture(to, s, picture, error);
    }
    text_append_string(to, group != NULL ? "</div>\n" : "");
    return status;
}

/* ---- the page ---- */

static void append_head(text *to, const char *title)
{
    const page_head head = {.title = title, .styles = {drawing_css, page_css}, .has_script = true};

    page_open(to, &head);
    text_append_string(to, "<header><h1>");
    append_escaped(to, title);
    text_append_string(to, "</h1>");
}

static void append_tools(text *to)
{
    text_append_string(to, "<div class=\"tools\"><input id=\"search\" type=\"search\" "
                           "placeholder=\"find a node (Enter)\"><button "
                           "id=\"out\" title=\"smaller\">\xe2\x88\x92</button><button "
                           "id=\"in\" title=\"larger\">+</button><button "
                           "id=\"wide\">fit width</button><button id=\"fit\">fit "
                           "all</button></div>");
}

static void append_graph(text *to, const drawing *d, const char *problem)
{
    text_append_string(to, "<main id=\"graph\">\n");
    if (d != NULL) {
        drawing_append_svg(d, to);
    } else {
        text_append_string(to, "<p class=\"warning\">");
        append_escaped(to, problem);
        text_append_string(to, "</p>\n");
    }
    text_append_string(to, "</main>\n");
    if (d != NULL) {
        text_append_string(to, "<script type=\"application/json\" id=\"nodes\">");
        drawing_append_json(d, to);
        text_append_string(to, "</script>\n");
    }
    text_append_string(to, "<script>\n");
    text_append_string(to, page_js);
    text_append_string(to, "</script>\n</body>\n</html>\n");
}

static spry_status append_page(text *to, const summary *s, const spry_inspect_page *page,
                               const drawing *d, const char *problem, spry_error *error)
{
    spry_status status;

    append_head(to, page->title);
    if (d != NULL) {
        append_tools(to);
    }
    text_append_string(to, "</header>\n<aside>\n<section id=\"detail\" hidden></section>\n");
    append_facts(to, s);
    if (d != NULL && d->hidden > 0) {
        text_append_format(to, "<p>%d nodes that only compute shapes are not drawn.</p>\n",
                           (int)d->hidden);
    }
    append_warnings(to, s);
    status = append_pictures(to, s, page, error);
    append_operators(to, s);
    append_weights(to, s);
    text_append_string(to, "</aside>\n");
    append_graph(to, d, problem);
    return status;
}

spry_status spry_inspection_save_page(const spry_inspection *inspection,
                                      const spry_inspect_page *asked, const char *path,
                                      spry_error *error)
{
    drawing d;
    spry_error problem = {0};
    text page;
    spry_status drawn;
    spry_status status;

    if (asked->struct_size != sizeof *asked) {
        return spry_fail(error, SPRY_USAGE, "page", "set struct_size", "not initialised");
    }
    drawn = drawing_init(&d, inspection, NULL, &problem);
    text_init(&page, &inspection->allocator, most_page_bytes);
    /* A graph that is too large to be drawn still has a summary. */
    status =
        append_page(&page, inspection, asked, drawn == SPRY_OK ? &d : NULL, problem.what, error);
    if (status == SPRY_OK) {
        status = text_status(&page, "page", error);
    }
    if (status == SPRY_OK) {
        status = file_replace(path, page.data, page.length, error);
    }
    text_fini(&page);
    drawing_fini(&d);
    return status;
}

spry_status spry_inspection_save_html(const spry_inspection *inspection, const char *title,
                                      const char *path, spry_error *error)
{
    const spry_inspect_page page = {.struct_size = sizeof page, .title = title};

    return spry_inspection_save_page(inspection, &page, path, error);
}
