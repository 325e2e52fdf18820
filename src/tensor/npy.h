/* NumPy's NPY format, versions 1.0 to 3.0, read strictly and written as 1.0.
 *
 *   "\x93NUMPY" version | header length | {'descr': .., 'fortran_order': .., 'shape': ..} | data
 *
 * Types that NumPy lacks are widened on writing: bf16 and the 8- and 4-bit floats become float32,
 * 4- and 2-bit integers int8 or uint8. On reading, 2-byte void ('V2') is taken as bf16, which is
 * how the ml_dtypes package stores it. Strings: 'U' and 'S' become UTF-8 and bytes; written
 * as 'U'. */
#ifndef TENSOR_NPY_H
#define TENSOR_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/files.h"
#include "tensor/tensor.h"

/* What a header says. */
typedef struct npy_layout {
    spry_dtype dtype;
    char text;         /* 'U' or 'S' for strings, otherwise 0 */
    bool swapped;      /* the other byte order than this machine's */
    bool fortran;      /* first axis fastest */
    size_t item_bytes; /* per element as stored */
    int rank;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    size_t data_offset; /* from the start of the file */
    size_t data_bytes;
} npy_layout;

enum { NPY_MAGIC_BYTES = 6, NPY_PREAMBLE_BYTES = 12, NPY_WRITTEN_HEADER_BYTES = 320 };

/* Parses the header at the start of `bytes`, which may be the beginning of a file only as long as
 * it holds the whole header. `where` names the file in errors.
 * Fails with SPRY_BAD_INPUT (malformed), SPRY_UNSUPPORTED (objects, records, dates), SPRY_LIMIT
 * (header or shape too large). */
SPRY_MUST_USE spry_status npy_parse_header(const uint8_t *bytes, size_t size, const char *where,
                                           npy_layout *layout, spry_error *error);

/* Fills `t` from the `size` bytes of a whole file, in C order and this machine's byte order.
 * Without copying, when `storage` (which then owns `bytes`) is given and nothing is to convert.
 * Fails as npy_parse_header, and with SPRY_BAD_INPUT (data too short or too long, a bool neither 0
 * nor 1, a code point that does not exist). */
SPRY_MUST_USE spry_status npy_read(const spry_allocator *allocator, const uint8_t *bytes,
                                   size_t size, tensor_storage *storage, const char *where,
                                   tensor *t, spry_error *error);

/* Where npy_write puts bytes. */
typedef spry_status (*npy_sink)(void *context, const void *bytes, size_t size, spry_error *error);

/* Size of the file that npy_write makes of `t`.
 * Fails with SPRY_BAD_INPUT (a string is not UTF-8), SPRY_LIMIT (strings too long). */
SPRY_MUST_USE spry_status npy_size(const tensor *t, size_t *size, spry_error *error);

/* Writes the dense tensor `t` piece by piece. Fails as npy_size and as the sink does. */
SPRY_MUST_USE spry_status npy_write(const tensor *t, npy_sink sink, void *context,
                                    spry_error *error);

#endif
