/* What a rule of differentiation sees: one node, and the derivative by its outputs. */
#ifndef TRAIN_GRADIENT_STEP_H
#define TRAIN_GRADIENT_STEP_H

#include "train/emit.h"

typedef struct gradient_step {
    emitter e;       /* adds the rule's nodes */
    graph_node node; /* a copy: the graph's array moves when nodes are added */
    int32_t id;
    const void *detail; /* the rule's, from its table */
    int32_t *dy;        /* per output: the derivative by it; GRAPH_NONE: nothing depends on it */
    const bool *needed; /* per value of the graph before: lies between what is asked and `value` */
    int32_t *gradients; /* per value of the graph before: the sum so far, or GRAPH_NONE */
    uint64_t given;     /* inputs that got their share, by port */
} gradient_step;

/* Adds the derivatives by the needed inputs to what they have, given those by the outputs. A rule
 * gives every needed input its share or the node is refused. */
typedef void (*gradient_function)(gradient_step *s);

typedef struct gradient_rule {
    const char *name;
    const char *domain;
    gradient_function run; /* NULL: results do not change with small changes of the inputs */
    int outputs;           /* how many outputs the rule looks at; the zero means one */
    const void *detail;
} gradient_rule;

/* The families' tables, each ended by an entry without a name. */
extern const gradient_rule gradient_elementwise_rules[];
extern const gradient_rule gradient_linear_rules[];
extern const gradient_rule gradient_loss_rules[];
extern const gradient_rule gradient_move_rules[];
extern const gradient_rule gradient_norm_rules[];
extern const gradient_rule gradient_pool_rules[];
extern const gradient_rule gradient_quantize_rules[];
extern const gradient_rule gradient_recurrent_rules[];
extern const gradient_rule gradient_reduce_rules[];
extern const gradient_rule gradient_resize_rules[];
extern const gradient_rule gradient_softmax_rules[];

/* The rule for a node, or NULL. */
const gradient_rule *gradient_find_rule(const graph_node *node);

/* The value at a port; GRAPH_NONE when omitted or beyond the end. */
int32_t gradient_input(const gradient_step *s, int port);
int32_t gradient_output(const gradient_step *s, int port);
/* The node's output `port` (0 or 1, or one that it may omit), added where the node does without. */
int32_t gradient_demand_output(gradient_step *s, int port);
/* Is the derivative by that input asked for? */
bool gradient_wanted(const gradient_step *s, int port);

/* Types of values. The second refuses the node, and gives rank 0, where the rank is not known. */
spry_dtype gradient_dtype(const gradient_step *s, int32_t value);
graph_type gradient_ranked(gradient_step *s, int32_t value);
/* Refuses the node unless the sizes [first, rank) are known. */
graph_type gradient_sized(gradient_step *s, int32_t value, int first);

/* The share of an input that is wanted: of its shape; or of the shape of output 0, to which the
 * input was broadcast; or as the last, of another type that is known. */
void gradient_give(gradient_step *s, int port, int32_t share);
void gradient_give_sum(gradient_step *s, int port, int32_t share);
void gradient_give_sum_from(gradient_step *s, int port, int32_t share, const graph_type *type);
/* The result does not depend on that input. */
void gradient_give_nothing(gradient_step *s, int port);
/* The share of any value of the graph before. */
void gradient_add(gradient_step *s, int32_t value, int32_t share);

/* Fails with SPRY_UNSUPPORTED: the node's name, and why. */
void gradient_refuse(gradient_step *s, const char *format, ...) SPRY_PRINTF(2, 3);

/* Axis attribute `name` in [0, rank); refuses the node when it lies outside. */
int gradient_axis(gradient_step *s, const char *name, int64_t fallback, int rank);
/* The integers of a constant input, at most SPRY_TENSOR_MAX_RANK * 2; -1: not constant or too
 * many. */
int gradient_constant_ints(const gradient_step *s, int port, int64_t *to);

#endif
