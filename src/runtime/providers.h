/* Every provider, one line per file, and what they share. */
#ifndef RUNTIME_PROVIDERS_H
#define RUNTIME_PROVIDERS_H

#include "runtime/provider.h"

extern const provider provider_conv_f32;
extern const provider provider_matmul_f32;

/* True when the node is that operator. */
bool provider_is(const provider_site *site, const char *domain, const char *type);

#endif
