/* Ceilings on everything that arrives from outside, each with its reason. A number that bounds
 * untrusted input lives here and nowhere else. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Models are mapped, never read whole; the largest published ONNX weights are below this. */
#define LIMIT_MODEL_BYTES ((uint64_t)64 << 30)
/* Parsing may cost twice the file plus this constant, so a tiny file cannot demand gigabytes. */
#define LIMIT_PARSE_SLACK_BYTES ((size_t)16 << 20)

enum {
    LIMIT_PROTOBUF_DEPTH = 64,        /* real files nest below 20; each level costs stack */
    LIMIT_PROTOBUF_FIELDS = 2000000,  /* per message: packed tensors count once */
    LIMIT_GRAPH_NODES = 200000,       /* ten times the largest exported model seen */
    LIMIT_GRAPH_VALUES = 1000000,     /* five per node */
    LIMIT_GRAPH_INITIALIZERS = 65536, /* an LLM with split experts stays below */
    LIMIT_SUBGRAPH_DEPTH = 8,         /* loops nested deeper do not occur; recursion is bounded */
    LIMIT_INLINE_GROWTH = 256,        /* nodes that functions may expand to, per node in the file */
    LIMIT_INLINE_BASE = 1024,  /* and for small files: a layer exporter's function is large */
    LIMIT_FUNCTION_DEPTH = 16, /* functions calling functions; also stops recursion */
    LIMIT_ATTRIBUTE_BYTES = 256 << 20,          /* attributes are copied, unlike weights */
    LIMIT_NAME_BYTES = 4096,                    /* names are printed and compared */
    LIMIT_NODE_PORTS = 65536,                   /* inputs or outputs of one node (Concat of many) */
    LIMIT_TENSOR_RANK = 8,                      /* ONNX models use at most 6 */
    LIMIT_SEQUENCE_ITEMS = 1000000,             /* a sequence value holds one tensor per item */
    LIMIT_LOOP_ITERATIONS = 100000000,          /* a Loop that never ends is a denial of service */
    LIMIT_SAFETENSORS_HEADER_BYTES = 100000000, /* as the reference implementation */
    LIMIT_SAFETENSORS_ENTRIES = 100000,         /* time, not only bytes, must be bounded */
    LIMIT_NPY_HEADER_BYTES = 64 << 10,          /* NumPy's own headers are below 1 KiB */
    LIMIT_NPY_TEXT_BYTES = 1 << 30,             /* strings are padded to the longest */
    LIMIT_NPZ_ENTRIES = 4096,
    LIMIT_NPZ_RATIO = 200,         /* deflate bombs expand a thousandfold */
    LIMIT_IMAGE_PIXELS = 64 << 20, /* 64 Mpixel: twice today's cameras */
    LIMIT_JPEG_SCANS = 100,        /* progressive bombs repeat scans */
    LIMIT_JSON_BYTES = 64 << 20,   /* SQuAD is 42 MB, tokenizers of large languages 35 MB */
    LIMIT_JSON_DEPTH = 32,
    LIMIT_TEXT_BYTES = 256 << 20, /* one text for a tokenizer, which takes 24 times as much */
    LIMIT_VOCABULARY = 1 << 21    /* eight times the largest vocabulary seen */
};

/* Each dimension of a tensor; the product is checked separately. */
#define LIMIT_TENSOR_DIMENSION ((int64_t)INT32_MAX)

#endif
