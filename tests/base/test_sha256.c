/* SHA-256 against the examples of the standard, and independence from how bytes arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/files.h"
#include "base/sha256.h"

static void digest_of(const char *bytes, size_t size, size_t piece, char text[SHA256_TEXT_SIZE])
{
    uint8_t digest[SHA256_BYTES];
    sha256 hash;

    sha256_init(&hash);
    for (size_t i = 0; i < size; i += piece) {
        sha256_update(&hash, bytes + i, size - i < piece ? size - i : piece);
    }
    sha256_final(&hash, digest);
    sha256_text(digest, text);
}

static void matches_the_standard(void **state)
{
    static const struct {
        const char *message;
        const char *digest;
    } examples[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char text[SHA256_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        for (size_t piece = 1; piece < 70; piece += 23) {
            digest_of(examples[i].message, strlen(examples[i].message), piece, text);
            assert_string_equal(text, examples[i].digest);
        }
    }
}

static void a_million_letters(void **state)
{
    static char letters[1000000];
    char text[SHA256_TEXT_SIZE];

    (void)state;
    memset(letters, 'a', sizeof letters);
    for (size_t piece = 999; piece < 200000; piece += 99991) {
        digest_of(letters, sizeof letters, piece, text);
        assert_string_equal(text,
                            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

static void every_length_around_a_block(void **state)
{
    char bytes[200];
    char whole[SHA256_TEXT_SIZE];
    char pieces[SHA256_TEXT_SIZE];

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        digest_of(bytes, size, sizeof bytes, whole);
        digest_of(bytes, size, 7, pieces);
        assert_string_equal(whole, pieces);
    }
}

static void files(void **state)
{
    char text[SHA256_TEXT_SIZE];
    spry_error error;

    (void)state;
    assert_int_equal(file_replace("sha256_test.tmp", "abc", 3, &error), SPRY_OK);
    assert_int_equal(sha256_file("sha256_test.tmp", text, &error), SPRY_OK);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(remove("sha256_test.tmp"), 0);
    assert_int_equal(sha256_file("sha256_test.tmp", text, &error), SPRY_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_standard),
        cmocka_unit_test(a_million_letters),
        cmocka_unit_test(every_length_around_a_block),
        cmocka_unit_test(files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
