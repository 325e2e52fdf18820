#!/usr/bin/env python3
"""Derives the polynomials of src/kernels/elementwise/elementwise_f32_math.h and
src/kernels/attention/attention_f32_softmax.h.

Each is the minimax fit of a function under a weight, values taken in 40 digits. The coefficients are
rounded to single precision one by one, lowest power first: what a rounding loses, the fit of the
powers that remain makes good.
"""
import mpmath as mp
import numpy as np

mp.mp.dps = 40


def minimax(points, values, weights, powers):
    """Coefficients of `powers` that make the largest weighted error least (Lawson's iteration)."""
    basis = np.stack([points**p for p in powers], axis=1) * weights[:, None]
    target = values * weights
    importance = np.full(len(points), 1.0 / len(points))
    best, best_error = None, np.inf
    for _ in range(400):
        root = np.sqrt(importance)
        solution = np.linalg.lstsq(basis * root[:, None], target * root, rcond=None)[0]
        error = np.abs(basis @ solution - target)
        if error.max() < best_error:
            best, best_error = solution, error.max()
        importance *= error
        importance /= importance.sum()
    return best, best_error


def fit(name, function, weight, low, high, degree):
    low, high = mp.mpf(low), mp.mpf(high)
    exact = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (i + 0.5) / 800)
             for i in range(800)]
    points = np.array([float(x) for x in exact])
    rest = np.array([float(function(x)) for x in exact])
    weights = np.array([abs(float(weight(x))) for x in exact])
    fixed = []
    for power in range(degree + 1):
        solution, error = minimax(points, rest, weights, range(power, degree + 1))
        if power == 0:
            unrounded = error
        fixed.append(float(np.float32(solution[0])))
        rest = rest - fixed[-1] * points**power
    print(f"{name}\n  degree {degree} on [{mp.nstr(low, 6)}, {mp.nstr(high, 6)}]: largest error "
          f"{unrounded:.2e}, {np.abs(rest * weights).max():.2e} with rounded coefficients")
    for c in fixed:
        print(f"    {c:.9g}f,")


def near(x):
    """x, kept off zero, where the quotients below have a hole."""
    return x if abs(x) > mp.mpf("1e-9") else mp.mpf("1e-9")


def exp_tail(r):
    r = near(r)
    return (mp.expm1(r) - r) / r**2


def exp2_tail(f):
    f = near(f)
    return (2**f - 1) / f


def log_tail(f):
    f = near(f)
    return (mp.log1p(f) - f + f * f / 2) / f**3


def tanh_tail(s):
    x = mp.sqrt(near(abs(s)))
    return (mp.tanh(x) / x - 1) / x**2


def erf_tail(s):
    x = mp.sqrt(near(abs(s)))
    return mp.erf(x) / x - 1


def erfc_log(x):
    return -mp.log(mp.erfc(x))


POLE = mp.mpf(3)


def normal_tail(u):
    """Phi(-a) e^(a^2 / 2) (a + 3) at the a with u = (a - 2) / (a + 3)."""
    a = (2 + POLE * u) / (1 - u)
    return mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a * a / 2) * (a + POLE)


def main():
    half = mp.log(2) / 2 * mp.mpf("1.002")
    fit("exp(r) = 1 + r + r^2 P(r)", exp_tail, lambda r: r * r / mp.expm1(near(r)), -half, half, 4)
    fit("2^f = 1 + f P(f)", exp2_tail, lambda f: f / 2**f, -0.5, 0.5, 5)
    fit("2^f = 1 + f P(f), beside a floor", exp2_tail, lambda f: f / 2**f, 0, 1, 4)
    fit("2^f = 1 + f P(f), beside a floor, for bf16", exp2_tail, lambda f: f / 2**f, 0, 1, 2)
    fit("log(1 + f) = f - f^2/2 + f^3 P(f)", log_tail, lambda f: f**3 / mp.log1p(near(f)),
        mp.sqrt(mp.mpf("0.5")) - 1 - mp.mpf("1e-6"), mp.sqrt(2) - 1 + mp.mpf("1e-6"), 7)
    fit("tanh(x) = x + x^3 P(x^2)", tanh_tail, lambda s: s, 0, mp.mpf("0.625") ** 2, 4)
    fit("erf(x) = x + x P(x^2)", erf_tail, lambda s: mp.mpf(1), 0, 1, 6)
    fit("erf(x) = 1 - e^-P(x - 1)", lambda t: erfc_log(t + 1),
        lambda t: mp.erfc(t + 1) / mp.erf(t + 1), 0, mp.mpf("3"), 6)
    top = mp.mpf(15)
    fit("normal tail: Phi(-a) = e^(-a^2/2) P(u) / (a + 3), u = (a - 2) / (a + 3)", normal_tail,
        lambda u: 1 / normal_tail(u), -2 / POLE, (top - 2) / (top + POLE), 10)


if __name__ == "__main__":
    main()
