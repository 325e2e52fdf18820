/* Any bytes as a plan file, behind a header that is right but for what they say: no record that is
 * accepted lies outside, and its bytes can be read. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/hash64.h"
#include "runtime/cache/plan_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 16, KEY_AT = 16, COUNT_AT = 24, BYTES_AT = 32, CHECK_AT = 40, HEADER = 64 };

/* A check that fits would never be found by chance. */
static void mend(uint8_t *bytes, size_t size)
{
    uint64_t total = size;
    uint64_t count;
    uint64_t check = 0;

    memcpy(&count, bytes + COUNT_AT, sizeof count);
    count %= (size - HEADER) / sizeof(plan_record) + 1;
    memcpy(bytes + COUNT_AT, &count, sizeof count);
    memcpy(bytes + BYTES_AT, &total, sizeof total);
    memcpy(bytes + CHECK_AT, &check, sizeof check);
    check = hash64(bytes + HEADER, count * sizeof(plan_record), hash64(bytes, HEADER, 0));
    memcpy(bytes + CHECK_AT, &check, sizeof check);
}

static void read_all(const uint8_t *bytes, size_t size, uint64_t key)
{
    plan_file file;

    if (plan_file_read(bytes, size, key, &file) != NULL) {
        return;
    }
    for (int64_t i = 0; i < file.count; i++) {
        plan_record r = plan_file_record(&file, i);

        if (r.offset > size || r.bytes > size - r.offset) {
            __builtin_trap();
        }
    }
    (void)plan_file_is_whole(&file, threads_single());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[MOST];
    uint64_t key = 0;

    read_all(data, size, 0);
    if (size >= HEADER && size <= MOST) {
        memcpy(bytes, data, size);
        memcpy(&key, bytes + KEY_AT, sizeof key);
        mend(bytes, size);
        read_all(bytes, size, key);
    }
    return 0;
}
