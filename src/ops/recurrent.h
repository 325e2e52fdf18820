/* What the recurrent layers and their gradient share: the operands of one call, and activations.
 *
 * All compute in f64. A reversed direction visits every sequence from its own last element. */
#ifndef OPS_RECURRENT_H
#define OPS_RECURRENT_H

#include "ops/op.h"

/* Ports of all three operators; RNN and GRU end before RECURRENT_C. */
enum {
    RECURRENT_X,
    RECURRENT_W,
    RECURRENT_R,
    RECURRENT_B,
    RECURRENT_LENGTHS,
    RECURRENT_H,
    RECURRENT_C,
    RECURRENT_P,
    RECURRENT_PORTS
};

enum { RECURRENT_MOST_ACTIVATIONS = 3 };

typedef enum recurrent_kind { RECURRENT_RNN, RECURRENT_GRU, RECURRENT_LSTM } recurrent_kind;

/* What the three operators differ in. */
typedef struct recurrent_form {
    recurrent_kind kind;
    int gates;
    int activations; /* per direction */
    const char *defaults[RECURRENT_MOST_ACTIVATIONS];
} recurrent_form;

extern const recurrent_form recurrent_rnn, recurrent_gru, recurrent_lstm;

typedef double (*recurrent_function)(double x, double alpha, double beta);

typedef struct recurrent_activation {
    recurrent_function function, slope;
    double alpha, beta;
} recurrent_activation;

typedef struct recurrent {
    const recurrent_form *form;
    int64_t steps, batch, directions, input, hidden;
    int64_t width; /* gates x hidden */
    bool batch_first;
    bool backward;    /* the only direction runs backwards */
    bool reset_after; /* GRU: linear_before_reset */
    bool coupled;     /* LSTM: input_forget */
    double clip;      /* infinity: none */
    recurrent_activation activations[2 * RECURRENT_MOST_ACTIVATIONS];
    const double *x;             /* as given */
    const double *w, *r, *b, *p; /* as given; b and p may be NULL */
    const int64_t *lengths;      /* NULL: all steps */
    double *state; /* [directions][batch][hidden]: the initial one, then the present */
    double *cell;  /* LSTM: the same */
    tensor *y;     /* NULL: nobody wants it */
    /* work space of one direction */
    double *turned_w, *turned_r; /* [input or hidden][width] */
    double *from_input;          /* [rows of x][width] */
    double *from_state;          /* [batch][width] */
    double *gated;               /* GRU: [batch][hidden], reset x state */
    /* what the gradient reads, by step as visited; NULL: not kept. [steps][batch][...] */
    double *sums;                   /* [width]: what activations were applied to */
    double *before_state;           /* [hidden]: before the step */
    double *before_cell, *now_cell; /* [hidden]: LSTM, before and after the step */
    double *products;               /* [hidden]: GRU with reset_after, what the reset gate scales */
} recurrent;

/* 1, or 2 for a bidirectional layer. */
int64_t recurrent_directions(const graph_node *node);
/* Reads attributes, sizes and operands, and makes room for the forward pass. */
SPRY_MUST_USE spry_status recurrent_read(op_call *call, const recurrent_form *form, recurrent *l);
/* One direction; `state` and `cell` become those behind the last step, y is written. */
SPRY_MUST_USE spry_status recurrent_run_direction(op_call *call, const recurrent *l,
                                                  int64_t direction);

/* Activation `which` of a direction, of x clipped, and its derivative by x. */
double recurrent_apply(const recurrent *l, int64_t direction, int which, double x);
double recurrent_slope(const recurrent *l, int64_t direction, int which, double x);

int64_t recurrent_length(const recurrent *l, int64_t element);
/* Which time the n-th visited step of a sequence is; negative behind its end. */
int64_t recurrent_time(const recurrent *l, int64_t direction, int64_t n, int64_t element);
/* Row of x, of y, and of a state as given and returned. */
int64_t recurrent_x_row(const recurrent *l, int64_t time, int64_t element);
int64_t recurrent_y_row(const recurrent *l, int64_t direction, int64_t time, int64_t element);
int64_t recurrent_state_row(const recurrent *l, int64_t direction, int64_t element);

#endif
