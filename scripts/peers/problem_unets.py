"""What the peers of the two U-Nets solve: sizes, constants, schedules and data of `diffrl bench`,
in NumPy."""

import numpy as np

CHANNELS, GROUPS = 32, 8

# Plans: windows of actions and states, a temporal U-Net that predicts x_0.
OBS, ACT, HORIZON, PLAN_BATCH, PLANS = 11, 3, 32, 32, 64
WIDTH, PLAN_MULTS = ACT + OBS, (1, 2, 4, 8)
PLAN_RATE, PLAN_EMA, PLAN_EMA_EVERY = 2e-4, 0.995, 10
ROWS = 1_000_000

# Pictures: attention at the deepest level, a U-Net that predicts eps.
SIDE, IMAGE_BATCH, IMAGE_MULTS, BLOCKS, HEADS, PICTURES = 32, 64, (1, 2, 4), 2, 4, 4096
IMAGE_RATE, IMAGE_CLIP, IMAGE_EMA, IMAGE_EMA_EVERY = 1e-3, 1.0, 0.999, 1

# Numbers in our networks: the tensors of "denoiser" in a checkpoint.
PLAN_PARAMETERS, IMAGE_PARAMETERS = 3_956_302, 3_939_393

# Angular frequencies of the time embedding: 16 sines, then 16 cosines.
FREQUENCY = np.exp(-np.log(10000.0) / 15 * np.arange(16))


class Schedule:
    """x_t = signal x_0 + noise eps; x_{t-1} has mean from_x0 x_0 + from_x x_t and deviation spread;
    all [steps]."""

    def __init__(self, beta):
        alpha, bar = 1 - beta, np.cumprod(1 - beta)
        before = np.append(1.0, bar[:-1])
        self.steps, self.signal, self.noise = len(beta), np.sqrt(bar), np.sqrt(1 - bar)
        self.from_x0 = beta * np.sqrt(before) / (1 - bar)
        self.from_x = (1 - before) * np.sqrt(alpha) / (1 - bar)
        self.spread = np.sqrt(beta * (1 - before) / (1 - bar))


def cosine(steps):
    bar = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return Schedule(np.minimum(1 - bar[1:] / bar[:-1], 0.999))


PLAN_NOISE = cosine(20)
IMAGE_NOISE = Schedule(np.linspace(1e-4, 2e-2, 1000))


def plan_weights():
    """Of the squared errors, [HORIZON, WIDTH]: the first state is known, the first action is what
    a planner does."""
    weight = np.ones((HORIZON, WIDTH), np.float32)
    weight[0, :ACT], weight[0, ACT:] = 10, 0
    return weight


def plan_rows():
    """[ROWS, WIDTH]; HORIZON rows, one after the other, are a window"""
    return np.random.default_rng(0).standard_normal((ROWS, WIDTH), np.float32)


def pictures():
    """[PICTURES, SIDE, SIDE] of grey levels"""
    return np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE), np.uint8)
