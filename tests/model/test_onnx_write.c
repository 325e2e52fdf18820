/* What is read, written and read again is the same: on built models and on real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"
#include "model/onnx_write.h"
#include "model/weights.h"
#include "support/data.h"
#include "support/proto.h"

/* ---- equality ---- */

static void same_text(const char *a, const char *b)
{
    assert_string_equal(a, b);
}

static void same_bytes(graph_bytes a, graph_bytes b)
{
    assert_int_equal(a.size, b.size);
    if (a.size > 0) {
        assert_memory_equal(a.data, b.data, a.size);
    }
}

static void same_tensor(const tensor *a, const tensor *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_true(tensor_same_shape(a, b));
    if (a->dtype != SPRY_DTYPE_STRING) {
        assert_memory_equal(a->data, b->data, a->bytes);
        return;
    }
    for (int64_t i = 0; i < tensor_count(a); i++) {
        const spry_text *x = (const spry_text *)a->data + i;
        const spry_text *y = (const spry_text *)b->data + i;

        assert_int_equal(x->size, y->size);
        assert_memory_equal(x->data, y->data, x->size);
    }
}

static void same_type(const graph_type *a, const graph_type *b)
{
    char x[256];
    char y[256];

    assert_string_equal(graph_type_describe(a, x, sizeof x), graph_type_describe(b, y, sizeof y));
}

static void same_graph(const graph *a, const graph *b);

static void same_attribute(const graph_attribute *a, const graph_attribute *b)
{
    same_text(a->name, b->name);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->ref_name == NULL, b->ref_name == NULL);
    if (a->ref_name != NULL) {
        same_text(a->ref_name, b->ref_name);
        return;
    }
    for (int64_t i = 0; i < a->count; i++) {
        switch (a->kind) {
        case GRAPH_ATTRIBUTE_FLOAT:
        case GRAPH_ATTRIBUTE_FLOATS:
            assert_memory_equal(&a->as.floats[i], &b->as.floats[i], sizeof(float));
            break;
        case GRAPH_ATTRIBUTE_INT:
        case GRAPH_ATTRIBUTE_INTS: assert_int_equal(a->as.ints[i], b->as.ints[i]); break;
        case GRAPH_ATTRIBUTE_STRING:
        case GRAPH_ATTRIBUTE_STRINGS:
            assert_int_equal(a->as.strings[i].size, b->as.strings[i].size);
            same_text(a->as.strings[i].data, b->as.strings[i].data);
            break;
        case GRAPH_ATTRIBUTE_TENSOR:
        case GRAPH_ATTRIBUTE_TENSORS: same_tensor(&a->as.tensors[i], &b->as.tensors[i]); break;
        case GRAPH_ATTRIBUTE_GRAPH:
        case GRAPH_ATTRIBUTE_GRAPHS: same_graph(a->as.graphs[i], b->as.graphs[i]); break;
        case GRAPH_ATTRIBUTE_TYPE: same_type(a->as.type, b->as.type); break;
        default: same_bytes(a->as.raw[i], b->as.raw[i]); break;
        }
    }
}

static const char *name_of(const graph *g, int32_t id)
{
    return id != GRAPH_NONE ? g->values[id].name : "";
}

static void same_node(const graph *g, const graph_node *a, const graph *h, const graph_node *b)
{
    same_text(a->type, b->type);
    same_text(a->name, b->name);
    same_text(a->domain, b->domain);
    same_text(a->doc, b->doc);
    assert_int_equal(a->opset, b->opset);
    same_bytes(a->unknown, b->unknown);
    assert_int_equal(a->input_count, b->input_count);
    assert_int_equal(a->output_count, b->output_count);
    assert_int_equal(a->attribute_count, b->attribute_count);
    for (int32_t i = 0; i < a->input_count; i++) {
        same_text(name_of(g, a->inputs[i]), name_of(h, b->inputs[i]));
    }
    for (int32_t i = 0; i < a->output_count; i++) {
        same_text(name_of(g, a->outputs[i]), name_of(h, b->outputs[i]));
    }
    for (int32_t i = 0; i < a->attribute_count; i++) {
        same_attribute(&a->attributes[i], &b->attributes[i]);
    }
}

static void same_value(const graph_value *a, const graph_value *b)
{
    same_type(&a->type, &b->type);
    same_bytes(a->unknown, b->unknown);
    same_bytes(a->unknown_tensor, b->unknown_tensor);
    same_text(a->doc, b->doc);
    assert_int_equal(a->is_input, b->is_input);
    assert_int_equal(a->is_output, b->is_output);
    assert_int_equal(a->constant != NULL, b->constant != NULL);
    if (a->constant != NULL) {
        same_tensor(a->constant, b->constant);
    }
}

static void same_ports(const graph *g, const int32_t *a, int32_t a_count, const graph *h,
                       const int32_t *b, int32_t b_count)
{
    assert_int_equal(a_count, b_count);
    for (int32_t i = 0; i < a_count; i++) {
        same_text(name_of(g, a[i]), name_of(h, b[i]));
    }
}

static void same_graph(const graph *a, const graph *b)
{
    same_text(a->name, b->name);
    same_text(a->doc, b->doc);
    same_bytes(a->unknown, b->unknown);
    same_ports(a, a->inputs, a->input_count, b, b->inputs, b->input_count);
    same_ports(a, a->outputs, a->output_count, b, b->outputs, b->output_count);
    assert_int_equal(a->node_count, b->node_count);
    for (int32_t i = 0; i < a->node_count; i++) {
        same_node(a, &a->nodes[i], b, &b->nodes[i]);
    }
    assert_int_equal(a->value_count, b->value_count);
    for (int32_t i = 0; i < a->value_count; i++) {
        int32_t id = graph_find_value(b, a->values[i].name);

        assert_int_not_equal(id, GRAPH_NONE);
        same_value(&a->values[i], &b->values[id]);
    }
}

static void same_model(const model *a, const model *b)
{
    assert_int_equal(model_weights_hold_all(a, NULL), SPRY_OK);
    assert_int_equal(model_weights_hold_all(b, NULL), SPRY_OK);
    assert_int_equal(a->ir_version, b->ir_version);
    assert_int_equal(a->version, b->version);
    same_text(a->producer_name, b->producer_name);
    same_text(a->doc, b->doc);
    same_bytes(a->unknown, b->unknown);
    assert_int_equal(a->opset_count, b->opset_count);
    for (int32_t i = 0; i < a->opset_count; i++) {
        same_text(a->opsets[i].domain, b->opsets[i].domain);
        assert_int_equal(a->opsets[i].version, b->opsets[i].version);
    }
    assert_int_equal(a->metadata_count, b->metadata_count);
    for (int32_t i = 0; i < a->metadata_count; i++) {
        same_text(a->metadata[i].key, b->metadata[i].key);
        same_text(a->metadata[i].text, b->metadata[i].text);
    }
    assert_int_equal(a->function_count, b->function_count);
    for (int32_t i = 0; i < a->function_count; i++) {
        same_text(a->functions[i].name, b->functions[i].name);
        assert_int_equal(a->functions[i].default_count, b->functions[i].default_count);
        same_graph(a->functions[i].body, b->functions[i].body);
    }
    same_graph(a->main, b->main);
}

/* ---- round trips ---- */

static void assert_ok(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

static void round_trip(const char *path, const char *copy)
{
    spry_model *before = NULL;
    spry_model *after = NULL;
    spry_error error = {0};

    assert_ok(spry_model_load(NULL, path, &before, &error), &error);
    assert_ok(spry_model_save(before, copy, &error), &error);
    assert_ok(spry_model_load(NULL, copy, &after, &error), &error);
    same_model(before, after);
    spry_model_destroy(after);
    spry_model_destroy(before);
}

/* A model with all that ModelProto can say and Spry does not interpret. */
static void build(proto *p)
{
    static const int64_t shape[] = {-1, 2};
    static const int64_t two[] = {2};
    static const float numbers[] = {1, 2};
    proto body = {0};
    proto annotation = {0};
    proto metadata = {0};
    proto training = {0};
    proto odd = {0};

    proto_text(&body, 2, "main");
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 2, shape);
    proto_tensor(&body, 5, "w", SPRY_DTYPE_F32, 1, two, numbers, sizeof numbers);
    proto_node(&body, 1, "Mul", "late w", "y"); /* written before what it needs */
    proto_node(&body, 1, "Add", "x w", "late");
    proto_value_info(&body, 13, "late", SPRY_DTYPE_F32, 2, shape);
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 2, shape);
    proto_text(&annotation, 1, "late");
    proto_message(&body, 14, &annotation);
    proto_text(&body, 10, "a graph");
    proto_text(&odd, 999, "from the future");
    proto_raw(&body, odd.data, odd.size);
    proto_text(&metadata, 1, "author");
    proto_text(&metadata, 2, "nobody");
    proto_message(p, 14, &metadata);
    proto_text(p, 2, "maker");
    proto_int(p, 5, 7);
    proto_text(p, 6, "a model");
    proto_text(&training, 1, "kept");
    proto_message(p, 20, &training);
    proto_model(p, 8, 13, &body);
    proto_raw(p, odd.data, odd.size);
    proto_fini(&odd);
}

static void keeps_what_it_does_not_know(void **state)
{
    char folder[512];
    proto p = {0};

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    build(&p);
    data_write(data_join(folder, "a.onnx"), p.data, p.size);
    round_trip(data_join(folder, "a.onnx"), data_join(folder, "b.onnx"));
    round_trip(data_join(folder, "b.onnx"), data_join(folder, "b.onnx")); /* over itself */
    proto_fini(&p);
    data_remove_folder(folder);
}

static size_t file_size(const char *path)
{
    struct stat info;

    assert_int_equal(stat(path, &info), 0);
    return (size_t)info.st_size;
}

/* Numbers that fit seven bits take a byte each; one that does not, or too many, eight all of
 * them. */
static void writes_small_lists_short(void **state)
{
    enum { MOST = 65 };
    static const struct {
        int64_t count, last;
        size_t bytes;
    } cases[] = {{1, 0, 1}, {3, 127, 3}, {3, 128, 24}, {3, -1, 24}, {64, 5, 64}, {65, 5, 520}};
    static const int64_t shape[] = {-1};
    int64_t numbers[MOST] = {0};
    char folder[512];
    size_t least = 0;

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t count = cases[i].count;
        proto body = {0};
        proto p = {0};
        size_t size;

        numbers[count - 1] = cases[i].last;
        proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 1, shape);
        proto_tensor(&body, 5, "s", SPRY_DTYPE_I64, 1, &count, numbers,
                     (size_t)count * sizeof *numbers);
        proto_node(&body, 1, "Reshape", "x s", "y");
        proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 1, shape);
        proto_model(&p, 8, 13, &body);
        data_write(data_join(folder, "a.onnx"), p.data, p.size);
        round_trip(data_join(folder, "a.onnx"), data_join(folder, "b.onnx"));
        size = file_size(data_join(folder, "b.onnx"));
        least = i == 0 ? size - cases[i].bytes : least;
        assert_in_range(size - cases[i].bytes, least, least + 4); /* lengths of two bytes */
        proto_fini(&p);
        numbers[count - 1] = 0;
    }
    data_remove_folder(folder);
}

static void moves_large_weights_outside(void **state)
{
    enum { COUNT = 600 };
    static const int64_t shape[] = {COUNT};
    float numbers[COUNT];
    char folder[512];
    proto body = {0};
    proto p = {0};
    spry_model *before = NULL;
    spry_model *after = NULL;
    spry_error error = {0};

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        numbers[i] = (float)i;
    }
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 1, shape);
    proto_tensor(&body, 5, "a", SPRY_DTYPE_F32, 1, shape, numbers, sizeof numbers);
    proto_tensor(&body, 5, "b", SPRY_DTYPE_F32, 1, shape, numbers, sizeof numbers);
    proto_node(&body, 1, "Sum", "x a b", "y");
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 1, shape);
    proto_model(&p, 8, 13, &body);
    assert_ok(spry_model_parse(NULL, p.data, p.size, NULL, &before, &error), &error);
    assert_ok(onnx_write(before, data_join(folder, "m.onnx"), 1000, &error), &error);
    assert_true(file_exists(data_join(folder, "m.onnx.data")));
    assert_ok(spry_model_load(NULL, data_join(folder, "m.onnx"), &after, &error), &error);
    assert_non_null(after->externals);
    same_model(before, after);
    spry_model_destroy(after);
    spry_model_destroy(before);
    proto_fini(&p);
    data_remove_folder(folder);
}

static void rewrites_real_models(void **state)
{
    static const char *const folders[] = {"mnist",      "cifar10-resnet", "cifar10-vit",
                                          "onnx-real",  "mlperf-tiny",    "imagenet-models",
                                          "stories260k"};
    char target[512];

    (void)state;
    (void)data_path("README.md"); /* skips without data */
    (void)snprintf(target, sizeof target, "%s", data_make_folder());
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char folder[512];
        DIR *listing;

        (void)snprintf(folder, sizeof folder, "%s", data_path(folders[i]));
        listing = opendir(folder);
        for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
            if (strstr(entry->d_name, ".onnx") != NULL) {
                round_trip(data_join(folder, entry->d_name), data_join(target, "copy.onnx"));
            }
        }
        if (listing != NULL) {
            closedir(listing);
        }
    }
    data_remove_folder(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_does_not_know),
        cmocka_unit_test(writes_small_lists_short),
        cmocka_unit_test(moves_large_weights_outside),
        cmocka_unit_test(rewrites_real_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
