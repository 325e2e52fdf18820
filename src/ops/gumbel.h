/* Decisions that learn: 1 where a difference of two logits wins against noise, and how a soft
 * decision would have changed (Jang, Gu, Poole, arXiv 1611.01144; Maddison and others, arXiv
 * 1611.00712: the two-class case, where the difference of two Gumbel numbers is logistic). */
#ifndef OPS_GUMBEL_H
#define OPS_GUMBEL_H

#include <stdint.h>

/* A logistic number, log u - log(1 - u), from random bits: u = (k + 1/2) 2^-52 with the top 52 bits
 * k lies strictly inside of (0, 1), so that the result is finite. */
double gumbel_noise(uint64_t bits);

/* With a = (difference + noise) / temperature and y = 1 / (1 + exp(-a)): y, and dy/d(difference) =
 * y (1 - y) / temperature. The temperature is positive. */
double gumbel_soft(double difference, double noise, double temperature);
double gumbel_slope(double difference, double noise, double temperature);

#endif
