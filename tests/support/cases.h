/* How many random cases a family of tests tries: tests whose cases are cheap are run with many on
 * every change (make test) and with fifty times as many at night (make nightly). CTest gives the
 * programs that include this header the label `cases`. */
#ifndef SUPPORT_CASES_H
#define SUPPORT_CASES_H

#include <stdint.h>

enum { CASES_USUAL = 20000 };

/* CASES_USUAL, or what the environment variable SPRY_TEST_CASES says; prints both words. */
int64_t cases_of(const char *family);

#endif
