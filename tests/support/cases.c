/* The number of random cases. */
#include "support/cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

int64_t cases_of(const char *family)
{
    const char *wanted = getenv("SPRY_TEST_CASES");
    long long count = wanted != NULL ? strtoll(wanted, NULL, 10) : 0;

    count = count > 0 ? count : CASES_USUAL;
    print_message("cases: %lld %s\n", count, family);
    return count;
}
