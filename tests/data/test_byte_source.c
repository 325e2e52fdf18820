/* Packed and bare files read anywhere, with and without keeping them unpacked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/background.h"
#include "data/byte_source.h"
#include "spry/random.h"
#include "support/data.h"
#include "support/fault.h"

/* More than two checkpoints of the unpacker. */
enum { BYTES = 9 << 20, READS = 60, MOST = 5000 };

static char folder[512];

/* Byte number i of the content. */
static uint8_t content(size_t i)
{
    return (uint8_t)(i * 31 + (i >> 9) * 7 + i / 70001);
}

static int make_files(void **state)
{
    static uint8_t block[1 << 16];
    gzFile packed;
    FILE *bare;

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    packed = gzopen(data_join(folder, "packed"), "wb1");
    bare = fopen(data_join(folder, "bare"), "wb");
    assert_true(packed != NULL && bare != NULL);
    for (size_t done = 0; done < BYTES; done += sizeof block) {
        for (size_t i = 0; i < sizeof block; i++) {
            block[i] = content(done + i);
        }
        assert_int_equal(gzwrite(packed, block, sizeof block), sizeof block);
        assert_int_equal(fwrite(block, 1, sizeof block, bare), sizeof block);
    }
    assert_int_equal(gzclose(packed), Z_OK);
    assert_int_equal(fclose(bare), 0);
    packed = gzopen(data_join(folder, "small"), "wb");
    assert_int_equal(gzwrite(packed, block, 5000), 5000);
    assert_int_equal(gzclose(packed), Z_OK);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    data_remove_folder(folder);
    return 0;
}

static void expect_range(byte_source *s, size_t offset, size_t size)
{
    uint8_t found[MOST];

    assert_int_equal(byte_source_read(s, offset, found, size, NULL), SPRY_OK);
    for (size_t i = 0; i < size; i++) {
        if (found[i] != content(offset + i)) {
            fail_msg("byte %zu of %zu from %zu", i, size, offset);
        }
    }
}

static void any_range_can_be_read(void **state)
{
    static const struct {
        const char *name;
        size_t resident;
    } cases[] = {{"bare", 0}, {"packed", 0}, {"packed", BYTES - 1}, {"packed", BYTES}};

    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        spry_random random = spry_random_stream(n, 0);
        byte_source *s = NULL;
        uint8_t one;

        assert_int_equal(
            byte_source_open(NULL, data_join(folder, cases[n].name), cases[n].resident, &s, NULL),
            SPRY_OK);
        assert_int_equal(byte_source_size(s), BYTES);
        expect_range(s, 0, MOST);
        expect_range(s, MOST, MOST);
        for (int i = 0; i < READS; i++) {
            size_t size = 1 + (size_t)spry_random_below(&random, MOST);

            expect_range(s, (size_t)spry_random_below(&random, BYTES - size + 1), size);
        }
        expect_range(s, BYTES - 1, 1);
        expect_range(s, BYTES, 0);
        assert_int_equal(byte_source_read(s, BYTES, &one, 1, NULL), SPRY_BAD_INPUT);
        assert_int_equal(byte_source_read(s, SIZE_MAX, &one, 2, NULL), SPRY_BAD_INPUT);
        byte_source_close(s);
    }
}

static void read_some(void *context, int worker)
{
    for (size_t i = 0; i < 8; i++) {
        expect_range(context, (i * 7 + (size_t)worker) * 104729 % (BYTES - MOST), MOST);
    }
}

static void threads_can_read_at_once(void **state)
{
    (void)state;
    for (size_t resident = 0; resident <= BYTES; resident += BYTES) {
        byte_source *s = NULL;
        background *b = NULL;

        assert_int_equal(byte_source_open(NULL, data_join(folder, "packed"), resident, &s, NULL),
                         SPRY_OK);
        assert_int_equal(background_start(NULL, 3, read_some, s, &b, NULL), SPRY_OK);
        background_join(b);
        byte_source_close(s);
    }
}

static spry_status read_back(const spry_allocator *allocator, void *context, spry_error *error)
{
    byte_source *s = NULL;
    uint8_t bytes[100];
    spry_status status = byte_source_open(allocator, context, 1 << 20, &s, error);

    for (size_t offset = 4000; status == SPRY_OK && offset > 0; offset -= 2000) {
        status = byte_source_read(s, offset, bytes, sizeof bytes, error);
    }
    byte_source_close(s);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    char path[600];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/small", folder);
    assert_true(fault_sweep(read_back, path) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_range_can_be_read),
        cmocka_unit_test(threads_can_read_at_once),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
