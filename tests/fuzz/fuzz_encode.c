/* Any bytes as a text for three tokenizers: they are refused, or every token lies in them. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "spry/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {
    "[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\ne\n##b\n,\n1\n##2\n",
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"\\u0120\": 2, \"ab\": 3,"
    " \"\\u0120a\": 4, \"\\u00c3\": 5, \"\\u00a9\": 6, \"aa\": 7}, \"merges\": [\"a b\","
    " \"\\u0120 a\", \"a a\"]}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"},"
    " \"decoder\": {\"type\": \"ByteLevel\"}, \"added_tokens\": [{\"id\": 9, \"content\":"
    " \"<x>\", \"lstrip\": true, \"single_word\": true}]}",
    "{\"model\": {\"type\": \"BPE\", \"unk_token\": \"?\", \"fuse_unk\": true, \"vocab\": {\"?\":"
    " 0, \"\\u2581\": 1, \"a\": 2, \"\\u2581a\": 3}, \"merges\": [\"\\u2581 a\"]},"
    " \"normalizer\": {\"type\": \"NFKC\"}, \"pre_tokenizer\": {\"type\": \"Metaspace\"},"
    " \"decoder\": {\"type\": \"Metaspace\"}}",
};

static void try_one(const char *file, const char *bytes, size_t size)
{
    spry_tokenizer *t = NULL;
    spry_encoding *e = NULL;
    const spry_token *tokens = NULL;
    spry_error error;

    if (spry_tokenizer_parse(file, strlen(file), "input", NULL, &t, &error) != SPRY_OK) {
        __builtin_trap();
    }
    if (spry_tokenizer_encode(t, bytes, size, NULL, &e, &error) == SPRY_OK) {
        int64_t count = spry_encoding_tokens(e, &tokens);

        for (int64_t i = 0; i < count; i++) {
            bool is_in = tokens[i].begin >= 0 && tokens[i].begin <= tokens[i].end &&
                         (size_t)tokens[i].end <= size;

            if (!is_in || spry_tokenizer_token(t, tokens[i].id) == NULL) {
                __builtin_trap();
            }
        }
    }
    spry_encoding_destroy(e);
    spry_tokenizer_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        try_one(files[i], (const char *)data, size);
    }
    return 0;
}
