/* The allocation failure sweep. */
#include "support/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"

/* More allocations than this in one call mean that the sweep would not end in a test's time. */
enum { MOST_ALLOCATIONS = 20000 };

int fault_sweep(fault_code code, void *context)
{
    for (int k = 1; k <= MOST_ALLOCATIONS; k++) {
        alloc_counter counter = {.fail_at = k};
        spry_allocator allocator = alloc_counting(&counter);
        spry_error error = {.code = SPRY_OK};
        spry_status status = code(&allocator, context, &error);

        if (counter.outstanding_bytes != 0) {
            fail_msg("allocation %d failing: %lld bytes leaked", k,
                     (long long)counter.outstanding_bytes);
        }
        if (counter.calls < k) {
            if (status != SPRY_OK) {
                fail_msg("fails with enough memory: %s: %s", spry_status_name(status), error.what);
            }
            return k - 1;
        }
        if (status != SPRY_OK && status != SPRY_LIMIT) {
            fail_msg("allocation %d failing: gives \"%s\": %s", k, spry_status_name(status),
                     error.what);
        }
        if (status == SPRY_LIMIT && (error.code != SPRY_LIMIT || error.what[0] == '\0')) {
            fail_msg("allocation %d failing: the error is not described", k);
        }
    }
    fail_msg("more than %d allocations", MOST_ALLOCATIONS);
    return MOST_ALLOCATIONS;
}
