/* What an architecture is: an entry of the public list and a function that builds it. A family is
 * one file; its members differ by the numbers of `form`. */
#ifndef ARCHITECTURE_ARCHITECTURE_H
#define ARCHITECTURE_ARCHITECTURE_H

#include "architecture/builder.h"
#include "spry/architecture.h"

enum { ARCHITECTURE_FORM = 5 };

/* The way from the options, of which all that the architecture has are set and in range, to the
 * whole network. `form`: as the family says. */
typedef void (*architecture_function)(builder *b, const spry_architecture_options *o,
                                      const int *form);

typedef struct architecture {
    spry_architecture facts;
    architecture_function build;
    int form[ARCHITECTURE_FORM];
} architecture;

void architecture_mlp(builder *b, const spry_architecture_options *o, const int *form);
void architecture_lenet(builder *b, const spry_architecture_options *o, const int *form);
void architecture_small_cnn(builder *b, const spry_architecture_options *o, const int *form);
/* form[0]: blocks per stage. */
void architecture_resnet_cifar(builder *b, const spry_architecture_options *o, const int *form);
/* form[0..3]: blocks of each stage; form[4]: they are bottlenecks. */
void architecture_resnet(builder *b, const spry_architecture_options *o, const int *form);
void architecture_vit(builder *b, const spry_architecture_options *o, const int *form);
/* form[0..3]: blocks of each stage. */
void architecture_r2plus1d(builder *b, const spry_architecture_options *o, const int *form);
void architecture_gcn(builder *b, const spry_architecture_options *o, const int *form);

#endif
