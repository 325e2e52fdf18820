/* The public functions of models: ports, attributes of every kind, typed tensor data, and what
 * happens when memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "model/onnx_value.h"
#include "support/data.h"
#include "support/fault.h"
#include "support/proto.h"

static const int64_t batch[] = {-1, 3};
static const int64_t three[] = {3};
static const float numbers[] = {1, 2, 3};

/* x, w (with a default) -> Add -> y */
static void put_model(proto *p, int64_t ir_version)
{
    proto body = {0};

    proto_value_info(&body, 11, "w", SPRY_DTYPE_F32, 1, three);
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 2, batch);
    proto_tensor(&body, 5, "w", SPRY_DTYPE_F32, 1, three, numbers, sizeof numbers);
    proto_node(&body, 1, "Add", "x w", "y");
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 2, batch);
    proto_model(p, ir_version, 13, &body);
}

static void describes_ports(void **state)
{
    proto p = {0};
    spry_model *m = NULL;
    spry_port port;

    (void)state;
    put_model(&p, 8);
    assert_int_equal(spry_model_parse(NULL, p.data, p.size, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(spry_model_input_count(m), 1);
    assert_int_equal(spry_model_output_count(m), 1);
    assert_int_equal(spry_model_input(m, 0, &port, NULL), SPRY_OK);
    assert_string_equal(port.name, "x");
    assert_int_equal(port.dtype, SPRY_DTYPE_F32);
    assert_int_equal(port.rank, 2);
    assert_int_equal(port.shape[0], -1);
    assert_string_equal(port.symbol[0], "N");
    assert_int_equal(port.shape[1], 3);
    assert_int_equal(spry_model_input(m, 1, &port, NULL), SPRY_USAGE);
    assert_int_equal(spry_model_input(m, -1, &port, NULL), SPRY_USAGE);
    assert_int_equal(spry_model_output(m, 1, &port, NULL), SPRY_USAGE);
    assert_int_equal(m->main->input_count, 2); /* the caller may give the other one */
    spry_model_destroy(m);
    proto_fini(&p);
}

static void old_files_list_initializers_as_inputs(void **state)
{
    proto p = {0};
    spry_model *m = NULL;

    (void)state;
    put_model(&p, 3);
    assert_int_equal(spry_model_parse(NULL, p.data, p.size, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(m->main->input_count, 1);
    assert_non_null(graph_constant(m->main, graph_find_value(m->main, "w")));
    spry_model_destroy(m);
    proto_fini(&p);
}

/* ---- typed data ---- */

static void read_typed(spry_dtype dtype, unsigned field, bool packed, const void *expected,
                       size_t size)
{
    proto t = {0};
    graph_type unknown = {.kind = GRAPH_TYPE_UNKNOWN};
    value v;

    proto_int(&t, 1, 2);
    proto_int(&t, 2, (uint64_t)dtype);
    if (packed) {
        static const uint8_t varints[] = {1,    0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 1};

        proto_bytes(&t, field, varints, sizeof varints);
    } else {
        proto_int(&t, field, 1);
        proto_int(&t, field, UINT64_MAX);
    }
    value_init(&v, NULL);
    assert_int_equal(onnx_read_value(NULL, "t", t.data, t.size, &unknown, &v, NULL), SPRY_OK);
    assert_int_equal(v.tensor.dtype, dtype);
    assert_int_equal(v.tensor.bytes, size);
    assert_memory_equal(v.tensor.data, expected, size);
    value_fini(&v);
    proto_fini(&t);
}

static void reads_typed_data(void **state)
{
    static const int64_t i64[] = {1, -1};
    static const int32_t i32[] = {1, -1};
    static const int16_t i16[] = {1, -1};
    static const int8_t i8[] = {1, -1};
    static const uint8_t truth[] = {1, 1};

    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        read_typed(SPRY_DTYPE_I64, 7, packed != 0, i64, sizeof i64);
        read_typed(SPRY_DTYPE_U64, 11, packed != 0, i64, sizeof i64);
        read_typed(SPRY_DTYPE_U32, 11, packed != 0, i32, sizeof i32);
        read_typed(SPRY_DTYPE_I32, 5, packed != 0, i32, sizeof i32);
        read_typed(SPRY_DTYPE_F16, 5, packed != 0, i16, sizeof i16);
        read_typed(SPRY_DTYPE_BF16, 5, packed != 0, i16, sizeof i16);
        read_typed(SPRY_DTYPE_U8, 5, packed != 0, i8, sizeof i8);
        read_typed(SPRY_DTYPE_F8E5M2, 5, packed != 0, i8, sizeof i8);
        read_typed(SPRY_DTYPE_BOOL, 5, packed != 0, truth, sizeof truth);
    }
}

static void reads_sequences(void **state)
{
    proto s = {0};
    graph_type sequence = {.kind = GRAPH_TYPE_SEQUENCE};
    graph_type optional = {.kind = GRAPH_TYPE_OPTIONAL};
    value v;

    (void)state;
    proto_tensor(&s, 3, "a", SPRY_DTYPE_F32, 1, three, numbers, sizeof numbers);
    proto_tensor(&s, 3, "b", SPRY_DTYPE_F32, 1, three, numbers, sizeof numbers);
    value_init(&v, NULL);
    assert_int_equal(onnx_read_value(NULL, "s", s.data, s.size, &sequence, &v, NULL), SPRY_OK);
    assert_int_equal(v.kind, SPRY_VALUE_SEQUENCE);
    assert_int_equal(spry_value_count(&v), 2);
    assert_memory_equal(spry_value_item(&v, 1)->tensor.data, numbers, sizeof numbers);
    value_fini(&v);
    value_init(&v, NULL);
    assert_int_equal(onnx_read_value(NULL, "s", s.data, s.size, &optional, &v, NULL), SPRY_OK);
    assert_int_equal(v.kind, SPRY_VALUE_TENSOR);
    value_fini(&v);
    value_init(&v, NULL);
    assert_int_equal(onnx_read_value(NULL, "s", s.data, 0, &optional, &v, NULL), SPRY_OK);
    assert_int_equal(v.kind, SPRY_VALUE_NONE);
    assert_int_equal(onnx_read_value(NULL, "s", s.data, s.size - 1, &sequence, &v, NULL),
                     SPRY_BAD_INPUT);
    assert_int_equal(v.kind, SPRY_VALUE_NONE);
    proto_fini(&s);
}

/* ---- memory runs out ---- */

typedef struct load_and_save {
    const proto *p;
    const char *target;
} load_and_save;

static spry_status use_model(const spry_allocator *allocator, void *context, spry_error *error)
{
    const load_and_save *work = context;
    spry_model *m = NULL;
    int64_t count;
    spry_status status = spry_model_parse(allocator, work->p->data, work->p->size, NULL, &m, error);

    if (status == SPRY_OK) {
        status = spry_model_unsupported(m, NULL, NULL, &count, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_save(m, work->target, error);
    }
    spry_model_destroy(m);
    return status;
}

/* With whatever lies beside the file. */
static spry_status load_model(const spry_allocator *allocator, void *context, spry_error *error)
{
    spry_model *m = NULL;
    spry_status status = spry_model_load(allocator, context, &m, error);

    spry_model_destroy(m);
    return status;
}

static void survives_exhausted_memory(void **state)
{
    char folder[512];
    char path[600];
    proto p = {0};
    load_and_save work = {.p = &p};

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    work.target = data_join(folder, "m.onnx");
    put_model(&p, 8);
    assert_true(fault_sweep(use_model, &work) > 3);
    (void)snprintf(path, sizeof path, "%s", work.target);
    assert_true(fault_sweep(load_model, path) > 3);
    proto_fini(&p);
    data_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_ports),
        cmocka_unit_test(old_files_list_initializers_as_inputs),
        cmocka_unit_test(reads_typed_data),
        cmocka_unit_test(reads_sequences),
        cmocka_unit_test(survives_exhausted_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
