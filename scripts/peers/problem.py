"""What every peer solves: sizes, constants and data of `diffrl bench`, in NumPy."""

import numpy as np

OBS, ACT, BATCH, HIDDEN, ROWS = 11, 3, 256, 256, 1_000_000
T = 5  # steps of the chain
CANDIDATES = 50
GAMMA, TAU, RATE, CLIP = 0.99, 0.005, 3e-4, 9.0
EMA_START, EMA_EVERY = 1000, 5  # as published: the actor's average moves late and rarely
SAC_CRITIC_RATE = 1e-3

# The variance-preserving schedule, by step: x_t = signal x_0 + noise eps.
_k = np.arange(1, T + 1)
_alpha = np.exp(-0.1 / T - 0.5 * 9.9 * (2 * _k - 1) / T**2)
_beta, _bar = 1 - _alpha, np.cumprod(_alpha)
_before = np.append(1.0, _bar[:-1])
SIGNAL, NOISE = np.sqrt(_bar), np.sqrt(1 - _bar)

# The posterior of x_{t-1}: mean = FROM_X0 x_0 + FROM_X x_t, standard deviation SPREAD.
FROM_X0 = _beta * np.sqrt(_before) / (1 - _bar)
FROM_X = (1 - _before) * np.sqrt(_alpha) / (1 - _bar)
SPREAD = np.sqrt(_beta * (1 - _before) / (1 - _bar))

# Angular frequencies of the time embedding: 8 sines, then 8 cosines.
FREQUENCY = np.exp(-np.log(10000.0) / 7 * np.arange(8))


def transitions(rows=ROWS):
    """s, a, s', r and live, each float32 [rows, width]; live is 0 where an episode ended."""
    random = np.random.default_rng(0)
    s = random.standard_normal((rows + 1, OBS), np.float32)
    a = np.tanh(random.standard_normal((rows, ACT), np.float32))
    r = random.standard_normal((rows, 1), np.float32)
    live = (random.random((rows, 1), np.float32) > 0.001).astype(np.float32)
    return s[:-1], a, s[1:], r, live


def packed_transitions(rows=ROWS):
    """The same side by side, [rows, 27], so that a batch is one gather; CUTS parts it again."""
    return np.concatenate(transitions(rows), 1)


CUTS = np.cumsum([OBS, ACT, OBS, 1])
