/* Counts against a small graph worked out by hand, and pages of models with hostile names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/files.h"
#include "model/model.h"
#include "spry/inspect.h"
#include "support/data.h"
#include "support/fault.h"
#include "support/net.h"

static const char hostile[] = "</script><script>alert(1)</script>\"'&<b>";

/* x[N,3,8,8] -> Conv 4x3x3x3, pad 1 -> Relu -> + -> y, and the Relu skips the addition. */
static void build(net *n, const char *node_name)
{
    const int64_t shape[] = {-1, 3, 8, 8};
    const int64_t weight_shape[] = {4, 3, 3, 3};
    const int64_t pads[] = {1, 1, 1, 1};
    static const float weight[108];

    net_init(n, 13);
    (void)net_input(n, "x", SPRY_DTYPE_F32, 4, shape);
    (void)net_constant(n, "w", SPRY_DTYPE_F32, 4, weight_shape, weight);
    int32_t conv = net_node(n, "Conv", "x w", "c");
    assert_int_equal(graph_set_ints(n->g, conv, "pads", 4, pads, NULL), SPRY_OK);
    n->g->nodes[conv].name = node_name;
    (void)net_node(n, "Relu", "c", "r");
    (void)net_node(n, "Add", "r r", "y");
    net_output(n, "y");
}

static model model_over(net *n)
{
    static const model_opset opsets[] = {{"", 13}};
    static model_opset copy[1];

    copy[0] = opsets[0];
    return (model){.allocator = alloc_resolve(NULL),
                   .path = "<test>",
                   .main = n->g,
                   .opsets = copy,
                   .opset_count = 1};
}

static void test_counts(void **state)
{
    spry_inspect_options options = spry_inspect_options_default();
    spry_inspection *inspection = NULL;
    const spry_inspect_operator *operators = NULL;
    const spry_inspect_node *nodes = NULL;
    const spry_inspect_gap *gaps = NULL;
    spry_error error = {0};
    net n;
    (void)state;

    build(&n, "first");
    model m = model_over(&n);
    assert_int_equal(spry_inspect(&m, &options, &inspection, &error), SPRY_OK);
    const spry_inspect_totals *t = spry_inspection_totals(inspection);
    assert_int_equal(t->nodes, 3);
    assert_int_equal(t->parameters, 108);
    assert_int_equal(t->weight_bytes, 432);
    assert_int_equal(t->macs, 4 * 8 * 8 * 27);
    assert_true(t->batch_assumed);
    /* c and r live together, then r and y: 2 x 1 KiB; x (768 bytes) with c is less. */
    assert_int_equal(t->peak_bytes, 2048);
    assert_int_equal(t->all_bytes, 3072);
    assert_int_equal(spry_inspection_operators(inspection, &operators), 3);
    assert_string_equal(operators[0].type, "Conv");
    assert_int_equal(spry_inspection_nodes(inspection, &nodes), 3);
    assert_string_equal(nodes[0].name, "first");
    assert_string_equal(nodes[0].shape, "f32[1,4,8,8]");
    assert_int_equal(spry_inspection_gaps(inspection, &gaps), 0);
    spry_inspection_destroy(inspection);
    net_fini(&n);
}

static void test_sizes(void **state)
{
    const spry_dimension dimension = {"N", 5};
    const spry_dimension unknown = {"M", 5};
    spry_inspect_options options = spry_inspect_options_default();
    spry_inspection *inspection = NULL;
    const char *const *symbols = NULL;
    spry_error error = {0};
    net n;
    (void)state;

    build(&n, "");
    model m = model_over(&n);
    options.dimensions = &dimension;
    options.dimension_count = 1;
    assert_int_equal(spry_inspect(&m, &options, &inspection, &error), SPRY_OK);
    assert_int_equal(spry_inspection_totals(inspection)->macs, 5 * 4 * 8 * 8 * 27);
    assert_false(spry_inspection_totals(inspection)->batch_assumed);
    spry_inspection_destroy(inspection);

    options.dimensions = &unknown;
    assert_int_equal(spry_inspect(&m, &options, &inspection, &error), SPRY_USAGE);

    options.dimension_count = 0;
    options.keep_batch = true;
    assert_int_equal(spry_inspect(&m, &options, &inspection, &error), SPRY_OK);
    assert_int_equal(spry_inspection_totals(inspection)->peak_bytes, -1);
    assert_int_equal(spry_inspection_symbols(inspection, &symbols), 1);
    assert_string_equal(symbols[0], "N");
    spry_inspection_destroy(inspection);
    net_fini(&n);
}

static void test_gaps(void **state)
{
    const int64_t shape[] = {2};
    spry_inspect_options options = spry_inspect_options_default();
    spry_inspection *inspection = NULL;
    const spry_inspect_gap *gaps = NULL;
    spry_error error = {0};
    net n;
    (void)state;

    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F32, 1, shape);
    (void)net_node(&n, "Zorp", "x", "a");
    (void)net_node(&n, "Blip", "a", "b");
    (void)net_node(&n, "Zorp", "b", "y");
    net_output(&n, "y");
    model m = model_over(&n);
    assert_int_equal(spry_inspect(&m, &options, &inspection, &error), SPRY_OK);
    assert_int_equal(spry_inspection_gaps(inspection, &gaps), 2);
    assert_string_equal(gaps[0].type, "Zorp");
    assert_int_equal(gaps[0].nodes, 2);
    assert_non_null(strstr(gaps[0].labels, ", "));
    assert_string_equal(gaps[1].type, "Blip");
    spry_inspection_destroy(inspection);
    net_fini(&n);
}

/* Times that `part` occurs. */
static int occurrences(const file_map *page, const char *part)
{
    size_t length = strlen(part);
    int count = 0;

    for (size_t i = 0; i + length <= page->size; i++) {
        count += memcmp(page->data + i, part, length) == 0;
    }
    return count;
}

static void save_and_map(const model *m, const char *title, file_map *page)
{
    spry_inspect_options options = spry_inspect_options_default();
    spry_inspection *inspection = NULL;
    spry_error error = {0};
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "page.html");

    assert_int_equal(spry_inspect(m, &options, &inspection, &error), SPRY_OK);
    assert_int_equal(spry_inspection_save_html(inspection, title, path, &error), SPRY_OK);
    assert_int_equal(file_map_open(path, 1 << 30, page, &error), SPRY_OK);
    spry_inspection_destroy(inspection);
    data_remove_folder(folder);
}

static void test_hostile_names_are_escaped(void **state)
{
    file_map plain;
    file_map page;
    net n;
    (void)state;

    build(&n, "conv");
    model m = model_over(&n);
    save_and_map(&m, "title", &plain);
    net_fini(&n);

    build(&n, hostile);
    m = model_over(&n);
    n.g->nodes[1].type = hostile;
    n.g->values[net_value(&n, "y")].name = hostile;
    m.producer_name = hostile;
    save_and_map(&m, hostile, &page);
    assert_int_equal(occurrences(&page, "<script"), occurrences(&plain, "<script"));
    assert_int_equal(occurrences(&page, "</script"), occurrences(&plain, "</script"));
    assert_int_equal(occurrences(&page, "alert(1)</script"), 0);
    assert_int_equal(occurrences(&page, "<b>"), occurrences(&plain, "<b>"));
    assert_true(occurrences(&page, "alert(1)") > 3);
    net_fini(&n);
    file_map_close(&plain);
    file_map_close(&page);
}

static void test_page_fetches_nothing(void **state)
{
    file_map page;
    net n;
    (void)state;

    build(&n, "conv");
    model m = model_over(&n);
    save_and_map(&m, "model", &page);
    /* The only address is the name of the SVG namespace. */
    assert_int_equal(occurrences(&page, "http"), 1 + occurrences(&page, "http-equiv"));
    assert_int_equal(occurrences(&page, "src="), 0);
    assert_int_equal(occurrences(&page, "@import"), 0);
    assert_int_equal(occurrences(&page, "default-src 'none'"), 1);
    net_fini(&n);
    file_map_close(&page);
}

typedef struct page_work {
    const model *m;
    const char *path;
} page_work;

static spry_status inspect_and_save(const spry_allocator *allocator, void *context,
                                    spry_error *error)
{
    const page_work *work = context;
    spry_inspect_options options = spry_inspect_options_default();
    spry_inspection *inspection = NULL;
    spry_status status;

    options.allocator = allocator;
    status = spry_inspect(work->m, &options, &inspection, error);
    if (status == SPRY_OK) {
        status = spry_inspection_save_html(inspection, "model", work->path, error);
    }
    spry_inspection_destroy(inspection);
    return status;
}

static void test_memory_failures(void **state)
{
    char folder[512];
    page_work work;
    net n;
    (void)state;

    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    build(&n, "conv");
    (void)net_node(&n, "Zorp", "y", "z");
    model m = model_over(&n);
    work = (page_work){.m = &m, .path = data_join(folder, "page.html")};
    assert_true(fault_sweep(inspect_and_save, &work) > 5);
    net_fini(&n);
    data_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_hostile_names_are_escaped),
        cmocka_unit_test(test_page_fetches_nothing),
        cmocka_unit_test(test_memory_failures),
    };

    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
