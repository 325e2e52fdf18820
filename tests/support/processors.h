/* Register values of well-known processors, so that decisions about them are tested everywhere. */
#ifndef SUPPORT_PROCESSORS_H
#define SUPPORT_PROCESSORS_H

#include "base/cpu.h"

typedef struct processor {
    const char *name;
    cpu_registers registers;
    const char *features; /* names of the expected cpu_features that are true, in order */
    const char *level;    /* name of the expected isa_level */
    bool bf16;
    bool avxvnni;
} processor;

enum { PROCESSOR_COUNT = 12 };

extern const processor processors[PROCESSOR_COUNT];

#endif
