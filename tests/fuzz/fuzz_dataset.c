/* Any bytes as a data set of one file: the first byte chooses the kind. Every sample is read. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "spry/dataset.h"

enum { MOST_SAMPLES = 1000, FORMS = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const forms[FORMS] = {"csv:/proc/self/fd/%d", "csv:/proc/self/fd/%d@2",
                                             "safetensors:/proc/self/fd/%d", "npz:/proc/self/fd/%d",
                                             "cifar10:/proc/self/fd/%d"};
    char description[64];
    spry_dataset *d = NULL;
    spry_error error;
    int file;

    if (size == 0) {
        return 0;
    }
    file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0 || write(file, data + 1, size - 1) != (ssize_t)(size - 1)) {
        __builtin_trap();
    }
    (void)snprintf(description, sizeof description, forms[data[0] % FORMS], file);
    if (spry_dataset_open(NULL, description, &d, &error) == SPRY_OK) {
        for (int64_t i = 0; i < spry_dataset_count(d) && i < MOST_SAMPLES; i++) {
            spry_tensor *t = NULL;

            if (spry_dataset_label(d, i) < 0) {
                __builtin_trap();
            }
            if (spry_dataset_sample(d, i, &t, &error) == SPRY_OK) {
                spry_tensor_destroy(t);
            }
        }
        spry_dataset_close(d);
    }
    (void)close(file);
    return 0;
}
