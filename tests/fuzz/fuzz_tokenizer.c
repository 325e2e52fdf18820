/* Any bytes as a tokenizer, of the kind they look like: what is read must encode and decode. */
#include <stdint.h>
#include <string.h>

#include "spry/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char probe[] = "A b[MASK], \xc3\x89t\xc3\xa9 12's\n \xe4\xb8\xad";
    spry_encode_options options = spry_encode_options_default();
    spry_tokenizer *t = NULL;
    spry_encoding *e = NULL;
    const spry_token *tokens = NULL;
    spry_error error;

    if (spry_tokenizer_parse(data, size, "input", NULL, &t, &error) != SPRY_OK) {
        return 0;
    }
    options.pair = "b a";
    options.pair_size = 3;
    if (spry_tokenizer_encode(t, probe, strlen(probe), &options, &e, &error) == SPRY_OK) {
        int64_t count = spry_encoding_tokens(e, &tokens);
        int64_t ids[64];
        char back[64];
        size_t length = 0;

        count = count < 64 ? count : 64;
        for (int64_t i = 0; i < count; i++) {
            ids[i] = tokens[i].id;
        }
        if (spry_tokenizer_decode(t, ids, count, false, back, sizeof back, &length, &error) ==
                SPRY_OK &&
            strlen(back) >= sizeof back) {
            __builtin_trap();
        }
    }
    spry_encoding_destroy(e);
    spry_tokenizer_destroy(t);
    return 0;
}
