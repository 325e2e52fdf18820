/* Files made to hurt: each is refused with an error that says where, and costs at most twice its
 * size and 16 MiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "spry/model.h"
#include "support/data.h"
#include "support/proto.h"

static const int64_t two[] = {2};
static const float reals[] = {1, 2};

/* Loads the bytes, asserts that they are refused (with `status`, unless that is SPRY_OK: any)
 * within the memory ceiling, and that the error names a place. */
static void assert_refused(const proto *p, const char *folder, spry_status status)
{
    alloc_counter counter = {0};
    const spry_allocator allocator = alloc_counting(&counter);
    spry_model *model = NULL;
    spry_error error = {0};
    spry_status given = spry_model_parse(&allocator, p->data, p->size, folder, &model, &error);

    if (given == SPRY_OK) {
        spry_model_destroy(model);
        fail_msg("a hostile file was accepted");
    }
    if (status != SPRY_OK) {
        assert_int_equal(given, status);
    }
    assert_null(model);
    assert_true(error.where[0] != '\0');
    assert_true(error.what[0] != '\0');
    assert_int_equal(counter.outstanding_bytes, 0);
    assert_true((uint64_t)counter.peak_bytes <= 2 * (uint64_t)p->size + LIMIT_PARSE_SLACK_BYTES);
}

/* As above for a GraphProto, which is taken over. */
static void assert_graph_refused(proto *graph, spry_status status)
{
    proto p = {0};

    proto_model(&p, 8, 13, graph);
    assert_refused(&p, NULL, status);
    proto_fini(&p);
}

static void refuses_nesting(void **state)
{
    proto p = {0};

    (void)state;
    for (int i = 0; i < 1500; i++) { /* a graph with a node with a graph ... */
        proto attribute = {0};
        proto node = {0};
        proto outer = {0};

        proto_text(&attribute, 1, "body");
        proto_message(&attribute, 6, &p);
        proto_text(&node, 4, "If");
        proto_message(&node, 5, &attribute);
        proto_message(&outer, 1, &node);
        p = outer;
    }
    assert_graph_refused(&p, SPRY_LIMIT);
}

static void refuses_nested_types(void **state)
{
    proto type = {0};
    proto info = {0};
    proto graph = {0};

    (void)state;
    for (int i = 0; i < 10000; i++) { /* sequence of sequence of ... */
        proto element = {0};
        proto outer = {0};

        proto_message(&element, 1, &type);
        proto_message(&outer, 4, &element);
        type = outer;
    }
    proto_text(&info, 1, "x");
    proto_message(&info, 2, &type);
    proto_message(&graph, 11, &info);
    assert_graph_refused(&graph, SPRY_LIMIT);
}

/* Five million empty messages of one kind. */
static void refuse_empty_messages(unsigned field)
{
    enum { COUNT = 5000000 };
    proto graph = {0};
    const uint8_t empty[] = {(uint8_t)(field << 3 | 2), 0};

    for (int i = 0; i < COUNT; i++) {
        proto_raw(&graph, empty, sizeof empty);
    }
    assert_graph_refused(&graph, SPRY_OK);
}

static void refuses_empty_messages(void **state)
{
    (void)state;
    refuse_empty_messages(1);  /* nodes */
    refuse_empty_messages(5);  /* initializers */
    refuse_empty_messages(11); /* inputs */
    refuse_empty_messages(14); /* not interpreted */
}

/* Within the field limit, but each costs far more memory than bytes. */
static void refuses_many_small_nodes(void **state)
{
    proto graph = {0};

    (void)state;
    for (int i = 0; i < 150000; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "%x", i);
        proto_node(&graph, 1, "A", "", name);
    }
    assert_graph_refused(&graph, SPRY_LIMIT);
}

static void refuses_truncation(void **state)
{
    proto graph = {0};
    proto p = {0};

    (void)state;
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 1, two);
    proto_tensor(&graph, 5, "w", SPRY_DTYPE_F32, 1, two, reals, sizeof reals);
    proto_node(&graph, 1, "Add", "x w", "y");
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 1, two);
    proto_model(&p, 8, 13, &graph);
    for (size_t size = 0; size + 6 < p.size; size++) { /* the last fields are the imports */
        proto cut = {0};

        proto_raw(&cut, p.data, size);
        assert_refused(&cut, NULL, SPRY_OK);
        proto_fini(&cut);
    }
    proto_fini(&p);
}

static void refuses_broken_wire(void **state)
{
    static const uint8_t group[] = {0x0b, 0x0c};
    static const uint8_t long_varint[] = {0x08, 0x80, 0x80, 0x80, 0x80, 0x80,
                                          0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    static const uint8_t number_zero[] = {0x02, 0x00};
    static const uint8_t huge_length[] = {0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00};
    static const struct {
        const uint8_t *bytes;
        size_t size;
    } cases[] = {{group, sizeof group},
                 {long_varint, sizeof long_varint},
                 {number_zero, sizeof number_zero},
                 {huge_length, sizeof huge_length}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        proto p = {0};

        proto_raw(&p, cases[i].bytes, cases[i].size);
        assert_refused(&p, NULL, SPRY_BAD_INPUT);
        proto_fini(&p);
    }
}

static void refuses_wrong_tensors(void **state)
{
    static const int64_t negative[] = {-2};
    static const int64_t many[] = {1 << 20, 1 << 20, 1 << 20, 1 << 20};
    static const int64_t nine[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const int64_t three[] = {3};
    static const int64_t wide[] = {(int64_t)1 << 31};
    static const struct {
        spry_dtype dtype;
        int rank;
        const int64_t *shape;
    } cases[] = {
        {SPRY_DTYPE_F32, 1, negative}, {SPRY_DTYPE_F32, 4, many}, {SPRY_DTYPE_F32, 9, nine},
        {SPRY_DTYPE_F32, 1, three},    {SPRY_DTYPE_F32, 1, wide}, {SPRY_DTYPE_F64, 1, two},
        {SPRY_DTYPE_STRING, 1, two},   {SPRY_DTYPE_NONE, 1, two}, {(spry_dtype)99, 1, two}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        proto graph = {0};

        proto_tensor(&graph, 5, "w", cases[i].dtype, cases[i].rank, cases[i].shape, reals,
                     sizeof reals);
        assert_graph_refused(&graph, SPRY_OK);
    }
}

static void refuses_wrong_counts(void **state)
{
    proto graph = {0};
    proto t = {0};

    (void)state;
    proto_int(&t, 1, 1000000); /* a million numbers, of which one is there */
    proto_int(&t, 2, SPRY_DTYPE_I64);
    proto_int(&t, 7, 5);
    proto_text(&t, 8, "w");
    proto_message(&graph, 5, &t);
    assert_graph_refused(&graph, SPRY_BAD_INPUT);
    proto_int(&t, 1, 1); /* one number, of which two are there */
    proto_int(&t, 2, SPRY_DTYPE_I64);
    proto_int(&t, 7, 5);
    proto_int(&t, 7, 5);
    proto_text(&t, 8, "w");
    proto_message(&graph, 5, &t);
    assert_graph_refused(&graph, SPRY_OK);
}

static void refuses_wrong_graphs(void **state)
{
    static const struct {
        const char *first_inputs, *first_outputs, *second_inputs, *second_outputs;
    } cases[] = {
        {"x", "a", "a", "a"},       /* defined twice */
        {"x b", "a", "a", "b"},     /* a cycle */
        {"x", "a", "nowhere", "b"}, /* not defined */
        {"a", "a", "x", "b"},       /* needs itself */
        {"x", "x", "x", "b"},       /* redefines an input */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        proto graph = {0};

        proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 1, two);
        proto_node(&graph, 1, "Sum", cases[i].first_inputs, cases[i].first_outputs);
        proto_node(&graph, 1, "Sum", cases[i].second_inputs, cases[i].second_outputs);
        assert_graph_refused(&graph, SPRY_BAD_INPUT);
    }
}

static void refuses_wrong_names(void **state)
{
    char longer[LIMIT_NAME_BYTES + 2];
    const char *const names[] = {"\xff", "\xc0\x80", "\xed\xa0\x80", longer};

    (void)state;
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        proto graph = {0};

        proto_value_info(&graph, 11, names[i], SPRY_DTYPE_F32, 1, two);
        assert_graph_refused(&graph, SPRY_OK);
    }
}

static void refuses_missing_graph(void **state)
{
    proto p = {0};

    (void)state;
    proto_int(&p, 1, 8);
    assert_refused(&p, NULL, SPRY_BAD_INPUT);
    proto_fini(&p);
}

static void refuses_other_versions(void **state)
{
    static const int64_t versions[][2] = {{2, 13}, {8, 26}, {8, 0}, {8, -1}};

    (void)state;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        proto graph = {0};
        proto p = {0};

        proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 1, two);
        proto_model(&p, versions[i][0], versions[i][1], &graph);
        assert_refused(&p, NULL, SPRY_OK);
        proto_fini(&p);
    }
}

/* ---- external data ---- */

static void put_entry(proto *t, const char *key, const char *text)
{
    proto entry = {0};

    proto_text(&entry, 1, key);
    proto_text(&entry, 2, text);
    proto_message(t, 13, &entry);
}

/* A model whose weights are elsewhere. */
static proto external_model(const char *location, const char *offset, const char *length)
{
    proto graph = {0};
    proto t = {0};
    proto p = {0};

    proto_int(&t, 1, 2);
    proto_int(&t, 2, SPRY_DTYPE_F32);
    proto_text(&t, 8, "w");
    put_entry(&t, "location", location);
    put_entry(&t, "offset", offset);
    put_entry(&t, "length", length);
    proto_int(&t, 14, 1);
    proto_message(&graph, 5, &t);
    proto_value_info(&graph, 12, "w", SPRY_DTYPE_F32, 1, two);
    proto_model(&p, 8, 13, &graph);
    return p;
}

static void refuse_external(const char *folder, const char *location, const char *offset,
                            const char *length)
{
    proto p = external_model(location, offset, length);

    assert_refused(&p, folder, SPRY_OK);
    proto_fini(&p);
}

static void refuses_external_escapes(void **state)
{
    char folder[512];
    spry_model *model = NULL;
    proto p = external_model("w.bin", "0", "8");

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    data_write(data_join(folder, "w.bin"), reals, sizeof reals);
    assert_int_equal(symlink("w.bin", data_join(folder, "link.bin")), 0);
    assert_int_equal(symlink("/etc", data_join(folder, "etc")), 0);
    assert_int_equal(link(data_join(folder, "w.bin"), data_join(folder, "hard.bin")), 0);
    refuse_external(folder, "hard.bin", "0", "8");
    assert_int_equal(unlink(data_join(folder, "hard.bin")), 0);
    refuse_external(folder, "../w.bin", "0", "8");
    refuse_external(folder, "a/../../w.bin", "0", "8");
    refuse_external(folder, "/etc/passwd", "0", "8");
    refuse_external(folder, "link.bin", "0", "8");
    refuse_external(folder, "etc/passwd", "0", "8");
    refuse_external(folder, "", "0", "8");
    refuse_external(folder, "nowhere.bin", "0", "8");
    refuse_external(folder, "w.bin", "8", "8");
    refuse_external(folder, "w.bin", "0", "4");
    refuse_external(folder, "w.bin", "18446744073709551615", "8");
    refuse_external(folder, "w.bin", "18446744073709551616", "8");
    refuse_external(folder, "w.bin", "-1", "8");
    refuse_external(NULL, "w.bin", "0", "8");
    assert_int_equal(spry_model_parse(NULL, p.data, p.size, folder, &model, NULL), SPRY_OK);
    spry_model_destroy(model);
    proto_fini(&p);
    data_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_nesting),          cmocka_unit_test(refuses_nested_types),
        cmocka_unit_test(refuses_empty_messages),   cmocka_unit_test(refuses_many_small_nodes),
        cmocka_unit_test(refuses_truncation),       cmocka_unit_test(refuses_broken_wire),
        cmocka_unit_test(refuses_wrong_tensors),    cmocka_unit_test(refuses_wrong_counts),
        cmocka_unit_test(refuses_wrong_graphs),     cmocka_unit_test(refuses_wrong_names),
        cmocka_unit_test(refuses_missing_graph),    cmocka_unit_test(refuses_other_versions),
        cmocka_unit_test(refuses_external_escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
