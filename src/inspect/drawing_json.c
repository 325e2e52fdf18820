/* The details of every box, for the page's script. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "inspect/drawing.h"
#include "tensor/convert.h"

enum { MOST_PORTS = 64, MOST_ELEMENTS = 16, MOST_TEXT = 200, FACT_SIZE = 1024 };

/* ---- attributes and constants as text ---- */

static void append_tensor(text *to, const tensor *t)
{
    char description[SUMMARY_TYPE_SIZE];
    int64_t count = tensor_count(t);
    int64_t shown = count < MOST_ELEMENTS ? count : MOST_ELEMENTS;

    text_append_string(to, tensor_describe(t, description, sizeof description));
    if (dtype_class_of(t->dtype) == DTYPE_CLASS_STRING ||
        dtype_class_of(t->dtype) == DTYPE_CLASS_COMPLEX || count > MOST_ELEMENTS * 4) {
        return;
    }
    text_append_string(to, " =");
    for (int64_t i = 0; i < shown; i++) {
        text_append_format(to, " %.6g", convert_get_f64(t, i));
    }
    text_append_string(to, shown < count ? " ..." : "");
}

static void append_scalar(text *to, const graph_attribute *a, int64_t i)
{
    switch (a->kind) {
    case GRAPH_ATTRIBUTE_FLOAT:
    case GRAPH_ATTRIBUTE_FLOATS: text_append_format(to, "%.6g", (double)a->as.floats[i]); break;
    case GRAPH_ATTRIBUTE_INT:
    case GRAPH_ATTRIBUTE_INTS: text_append_format(to, "%" PRId64, a->as.ints[i]); break;
    case GRAPH_ATTRIBUTE_STRING:
    case GRAPH_ATTRIBUTE_STRINGS: {
        size_t size = a->as.strings[i].size;
        text_append(to, a->as.strings[i].data, size < MOST_TEXT ? size : MOST_TEXT);
        break;
    }
    case GRAPH_ATTRIBUTE_TENSOR:
    case GRAPH_ATTRIBUTE_TENSORS: append_tensor(to, &a->as.tensors[i]); break;
    case GRAPH_ATTRIBUTE_GRAPH:
    case GRAPH_ATTRIBUTE_GRAPHS:
        text_append_format(to, "graph of %" PRId32 " nodes", a->as.graphs[i]->node_count);
        break;
    default: text_append_string(to, "..."); break;
    }
}

/* Of the models' texts, not more than is read by a person. */
static void write_fact(json_writer *json, const char *key, const text *fact)
{
    json_write_array(json, NULL);
    json_write_string(json, NULL, key);
    json_write_bytes(json, NULL, fact->data, fact->length);
    json_write_end(json);
}

static void write_attributes(json_writer *json, const graph_node *node)
{
    char buffer[FACT_SIZE];

    json_write_array(json, "attributes");
    for (int32_t i = 0; i < node->attribute_count && i < MOST_PORTS; i++) {
        const graph_attribute *a = &node->attributes[i];
        text fact;
        text_init_fixed(&fact, buffer, sizeof buffer);
        if (a->ref_name != NULL) {
            text_append_format(&fact, "as given to the function (%.80s)", a->ref_name);
        }
        for (int64_t k = 0; a->ref_name == NULL && k < a->count && k < MOST_ELEMENTS; k++) {
            text_append_string(&fact, k > 0 ? " " : "");
            append_scalar(&fact, a, k);
        }
        text_append_string(&fact, a->count > MOST_ELEMENTS ? " ..." : "");
        write_fact(json, a->name, &fact);
    }
    json_write_end(json);
}

static void write_ports(json_writer *json, const char *key, const graph *g, const int32_t *ids,
                        int32_t count)
{
    char buffer[FACT_SIZE];

    json_write_array(json, key);
    for (int32_t i = 0; i < count && i < MOST_PORTS; i++) {
        text fact;
        if (ids[i] == GRAPH_NONE) {
            continue;
        }
        const graph_value *v = &g->values[ids[i]];
        text_init_fixed(&fact, buffer, sizeof buffer);
        if (v->constant != NULL) {
            text_append_string(&fact, "constant ");
            append_tensor(&fact, v->constant);
        } else {
            char type[SUMMARY_TYPE_SIZE];
            text_append_string(&fact, graph_type_describe(&v->type, type, sizeof type));
        }
        write_fact(json, v->name, &fact);
    }
    json_write_end(json);
}

static void write_node(json_writer *json, const summary *s, int32_t n)
{
    const graph_node *node = &s->g->nodes[n];
    const spry_inspect_node *row = &s->nodes[n];
    char opset[SUMMARY_LABEL_SIZE];
    text t;

    text_init_fixed(&t, opset, sizeof opset);
    text_append_format(&t, "%.200s %" PRId32, node->domain[0] != '\0' ? node->domain : "ai.onnx",
                       node->opset);
    json_write_string(json, "type", node->type);
    json_write_string(json, "name", node->name);
    json_write_string(json, "opset", opset);
    json_write_i64(json, "macs", row->macs);
    json_write_i64(json, "flops", row->flops);
    json_write_i64(json, "parameters", row->parameters);
    json_write_i64(json, "bytes", row->weight_bytes);
    write_attributes(json, node);
    write_ports(json, "inputs", s->g, node->inputs, node->input_count);
    write_ports(json, "outputs", s->g, node->outputs, node->output_count);
}

static void write_note(json_writer *json, const drawing_note *note)
{
    json_write_i64(json, "step", note->step);
    if (note->caption != NULL) {
        json_write_string(json, "note", note->caption);
    }
}

static void write_port(json_writer *json, const summary *s, drawing_kind kind, int32_t id)
{
    json_write_string(json, "type", kind == DRAWING_INPUT ? "input" : "output");
    json_write_string(json, "name", s->g->values[id].name);
    json_write_array(json, "attributes");
    json_write_end(json);
    json_write_array(json, "inputs");
    json_write_end(json);
    write_ports(json, "outputs", s->g, &id, 1);
}

void drawing_append_json(const drawing *d, text *to)
{
    text plain;
    json_writer json;

    text_init(&plain, &d->s->allocator, to->ceiling);
    json_writer_init(&json, &plain, 0);
    json_write_array(&json, NULL);
    for (int32_t b = 0; b < d->picture.box_count; b++) {
        json_write_object(&json, NULL);
        if (d->kinds[b] == DRAWING_NODE) {
            write_node(&json, d->s, d->subjects[b]);
            if (d->notes != NULL) {
                write_note(&json, &d->notes[d->subjects[b]]);
            }
        } else {
            write_port(&json, d->s, d->kinds[b], d->subjects[b]);
        }
        json_write_end(&json);
    }
    json_write_end(&json);
    /* '<' only occurs inside strings, where JSON has an escape for it; so no name can end the
     * script element. */
    for (size_t i = 0; i < plain.length; i++) {
        if (plain.data[i] == '<') {
            text_append_string(to, "\\u003c");
        } else {
            text_append_char(to, plain.data[i]);
        }
    }
    to->failed = to->failed || plain.failed;
    text_fini(&plain);
}
