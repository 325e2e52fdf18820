/* A growing buffer of protobuf fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/proto.h"

void proto_fini(proto *p)
{
    free(p->data);
    *p = (proto){NULL, 0, 0};
}

void proto_raw(proto *p, const void *bytes, size_t size)
{
    if (p->size + size > p->capacity) {
        p->capacity = (p->size + size) * 2;
        p->data = realloc(p->data, p->capacity);
        assert_non_null(p->data);
    }
    if (size > 0) {
        memcpy(p->data + p->size, bytes, size);
    }
    p->size += size;
}

static void put_varint(proto *p, uint64_t integer)
{
    uint8_t byte;

    while (integer >= 0x80) {
        byte = (uint8_t)(integer | 0x80);
        proto_raw(p, &byte, 1);
        integer >>= 7;
    }
    byte = (uint8_t)integer;
    proto_raw(p, &byte, 1);
}

void proto_int(proto *p, unsigned field, uint64_t integer)
{
    put_varint(p, (uint64_t)field << 3);
    put_varint(p, integer);
}

void proto_float(proto *p, unsigned field, float real)
{
    put_varint(p, (uint64_t)field << 3 | 5);
    proto_raw(p, &real, sizeof real);
}

void proto_bytes(proto *p, unsigned field, const void *bytes, size_t size)
{
    put_varint(p, (uint64_t)field << 3 | 2);
    put_varint(p, size);
    proto_raw(p, bytes, size);
}

void proto_text(proto *p, unsigned field, const char *text)
{
    proto_bytes(p, field, text, strlen(text));
}

void proto_message(proto *p, unsigned field, proto *child)
{
    proto_bytes(p, field, child->data, child->size);
    proto_fini(child);
}

void proto_value_info(proto *p, unsigned field, const char *name, spry_dtype dtype, int rank,
                      const int64_t *shape)
{
    proto info = {0};
    proto type = {0};
    proto tensor_type = {0};
    proto dims = {0};

    for (int i = 0; i < rank; i++) {
        proto dim = {0};

        if (shape[i] < 0) {
            proto_text(&dim, 2, "N");
        } else {
            proto_int(&dim, 1, (uint64_t)shape[i]);
        }
        proto_message(&dims, 1, &dim);
    }
    proto_int(&tensor_type, 1, (uint64_t)dtype);
    proto_message(&tensor_type, 2, &dims);
    proto_message(&type, 1, &tensor_type);
    proto_text(&info, 1, name);
    proto_message(&info, 2, &type);
    proto_message(p, field, &info);
}

void proto_tensor(proto *p, unsigned field, const char *name, spry_dtype dtype, int rank,
                  const int64_t *shape, const void *data, size_t size)
{
    proto t = {0};

    for (int i = 0; i < rank; i++) {
        proto_int(&t, 1, (uint64_t)shape[i]);
    }
    proto_int(&t, 2, (uint64_t)dtype);
    proto_text(&t, 8, name);
    proto_bytes(&t, 9, data, size);
    proto_message(p, field, &t);
}

/* One field per word. */
static void put_words(proto *p, unsigned field, const char *words)
{
    while (*words != '\0') {
        size_t length = strcspn(words, " ");

        proto_bytes(p, field, words, length);
        words += length + (words[length] == ' ');
    }
}

void proto_node(proto *p, unsigned field, const char *type, const char *inputs, const char *outputs)
{
    proto none = {0};

    proto_node_with(p, field, type, inputs, outputs, &none);
}

void proto_node_with(proto *p, unsigned field, const char *type, const char *inputs,
                     const char *outputs, proto *attributes)
{
    proto node = {0};

    put_words(&node, 1, inputs);
    put_words(&node, 2, outputs);
    proto_text(&node, 4, type);
    proto_raw(&node, attributes->data, attributes->size);
    proto_fini(attributes);
    proto_message(p, field, &node);
}

void proto_attribute_int(proto *attributes, const char *name, int64_t number)
{
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    proto_int(&attribute, 3, (uint64_t)number);
    proto_int(&attribute, 20, 2);
    proto_message(attributes, 5, &attribute);
}

void proto_attribute_graph(proto *attributes, const char *name, proto *graph)
{
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    proto_message(&attribute, 6, graph);
    proto_int(&attribute, 20, 5);
    proto_message(attributes, 5, &attribute);
}

void proto_model(proto *p, int64_t ir_version, int64_t opset, proto *graph)
{
    proto imported = {0};

    proto_int(p, 1, (uint64_t)ir_version);
    proto_message(p, 7, graph);
    proto_text(&imported, 1, "");
    proto_int(&imported, 2, (uint64_t)opset);
    proto_message(p, 8, &imported);
}
