"""The two U-Nets of `diffrl bench` in PyTorch, their losses, and a step of sampling plans: modules
that take their noise, for TorchScript and torch.compile. Planes are [n, channels, height, width],
in either order of memory; a plan is one of height 1."""

import torch
import torch.nn.functional as F
from torch import nn

import problem_unets as problem
from problem_unets import BLOCKS, CHANNELS, GROUPS, HEADS, WIDTH
from torch_published import TimeEmbedding

# ---- parts ---------------------------------------------------------------------------------------


def time_network(activation, outputs):
    hidden = 4 * CHANNELS
    return nn.Sequential(TimeEmbedding(problem.FREQUENCY), nn.Linear(CHANNELS, hidden),
                         activation(), nn.Linear(hidden, outputs))


def conv(inputs, outputs, k, stride=1):
    """k = (height, width)"""
    stride = tuple(min(stride, taps) for taps in k)
    return nn.Conv2d(inputs, outputs, k, stride, (k[0] // 2, k[1] // 2))


def norm(channels):
    return nn.GroupNorm(GROUPS, channels)


def skip(inputs, outputs):
    return nn.Identity() if inputs == outputs else conv(inputs, outputs, (1, 1))


# ---- plans (Janner et al. 2022) ------------------------------------------------------------------


class PlanBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv0, self.norm0 = conv(inputs, outputs, (1, 5)), norm(outputs)
        self.conv1, self.norm1 = conv(outputs, outputs, (1, 5)), norm(outputs)
        self.time, self.skip = nn.Linear(CHANNELS, outputs), skip(inputs, outputs)
        self.mish = nn.Mish()

    def forward(self, x, e):
        h = self.mish(self.norm0(self.conv0(x))) + self.time(e)[:, :, None, None]
        return self.mish(self.norm1(self.conv1(h))) + self.skip(x)


class PlanLevel(nn.Module):
    def __init__(self, inputs, outputs, resize=None):
        super().__init__()
        self.block0, self.block1 = PlanBlock(inputs, outputs), PlanBlock(outputs, outputs)
        self.resize = resize

    def forward(self, x, e):
        return self.block1(self.block0(x, e), e)


class PlanUnet(nn.Module):
    """x_0 of a noisy plan"""

    def __init__(self):
        super().__init__()
        widths = [WIDTH] + [CHANNELS * m for m in problem.PLAN_MULTS]
        self.time, self.mish = time_network(nn.Mish, CHANNELS), nn.Mish()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for a, b in zip(widths, widths[1:]):
            half = conv(b, b, (1, 3), 2) if b != widths[-1] else None
            self.down.append(PlanLevel(a, b, half))
            if a != WIDTH:
                double = nn.ConvTranspose2d(a, a, (1, 4), (1, 2), (0, 1))
                self.up.insert(0, PlanLevel(2 * b, a, double))
        self.middle = PlanLevel(widths[-1], widths[-1])
        self.last, self.norm = conv(CHANNELS, CHANNELS, (1, 5)), norm(CHANNELS)
        self.out = conv(CHANNELS, WIDTH, (1, 1))

    def embed(self, t):
        return self.mish(self.time(t))

    def forward(self, x, e):
        kept = []
        for level in self.down:
            x = level(x, e)
            kept.append(x)
            x = level.resize(x) if level.resize else x
        x = self.middle(x, e)
        for level in self.up:
            x = level.resize(level(torch.cat((x, kept.pop()), 1), e))
        return self.out(self.mish(self.norm(self.last(x))))


def plane_of_plan(plan):
    """[HORIZON, WIDTH] as [1, WIDTH, 1, HORIZON]"""
    return torch.from_numpy(plan.T[None, :, None].copy())


class PlanLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = PlanUnet()
        weight = problem.plan_weights()
        self.register_buffer("weight", plane_of_plan(weight))
        self.register_buffer("known", plane_of_plan(weight == 0))
        for name in ("signal", "noise"):
            table = torch.tensor(getattr(problem.PLAN_NOISE, name), dtype=torch.float32)
            self.register_buffer(name, table[:, None, None, None])

    def forward(self, x0, t, eps):
        x = torch.where(self.known, x0, self.signal[t] * x0 + self.noise[t] * eps)
        error = self.net(x, self.net.embed(t)) - x0
        return ((self.weight * error * error).mean(),)


class PlanStep(nn.Module):
    """A step of ddpm for plans whose first states are known."""

    def __init__(self):
        super().__init__()
        self.net = PlanUnet()
        weight = problem.plan_weights()
        self.register_buffer("known", plane_of_plan(weight == 0))

    def forward(self, x, e, step, eps, first):
        """e [1, CHANNELS]; step [3]: the posterior's from_x0, from_x, spread"""
        x = step[0] * self.net(x, e) + step[1] * x + step[2] * eps
        return torch.where(self.known, first, x)


# ---- pictures (Ho et al. 2020) -------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.qkv = norm(channels), conv(channels, 3 * channels, (1, 1))
        self.out = conv(channels, channels, (1, 1))

    def forward(self, x):
        n, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(n, height * width, 3, HEADS, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(1, 2).reshape(n, height, width, c).permute(0, 3, 1, 2))


class ImageBlock(nn.Module):
    def __init__(self, inputs, outputs, attention):
        super().__init__()
        self.norm0, self.conv0 = norm(inputs), conv(inputs, outputs, (3, 3))
        self.norm1, self.conv1 = norm(outputs), conv(outputs, outputs, (3, 3))
        self.time, self.skip = nn.Linear(4 * CHANNELS, outputs), skip(inputs, outputs)
        self.attention = Attention(outputs) if attention else nn.Identity()

    def forward(self, x, e):
        h = self.conv0(F.silu(self.norm0(x))) + self.time(e)[:, :, None, None]
        return self.attention(self.conv1(F.silu(self.norm1(h))) + self.skip(x))


class ImageLevel(nn.Module):
    def __init__(self, blocks, resize=None):
        super().__init__()
        self.blocks, self.resize = nn.ModuleList(blocks), resize


class ImageUnet(nn.Module):
    """eps (or v) of noisy pictures [n, 1, side, side], whose label may be known"""

    def __init__(self, mults=problem.IMAGE_MULTS, per_level=BLOCKS, labels=0):
        super().__init__()
        widths, deepest = [CHANNELS * m for m in mults], len(mults) - 1
        self.time = time_network(nn.SiLU, 4 * CHANNELS)
        self.label = nn.Linear(labels, 4 * CHANNELS) if labels else None
        self.begin = conv(1, CHANNELS, (3, 3))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        x, kept = CHANNELS, [CHANNELS]
        for level, width in enumerate(widths):
            inputs = (x, *[width] * (per_level - 1))
            blocks = [ImageBlock(a, width, level == deepest) for a in inputs]
            x = width
            half = conv(x, x, (3, 3), 2) if level < deepest else None
            kept += [x] * (per_level + (level < deepest))
            self.down.append(ImageLevel(blocks, half))
        self.middle = ImageLevel([ImageBlock(x, x, True), ImageBlock(x, x, False)])
        for level, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(per_level + 1):
                blocks.append(ImageBlock(x + kept.pop(), width, level == deepest))
                x = width
            self.up.append(ImageLevel(blocks, conv(x, x, (3, 3)) if level else None))
        self.norm, self.end = norm(x), conv(x, 1, (3, 3))

    def embed(self, t, label=None):
        e = self.time(t)
        return F.silu(e if label is None else e + self.label(label))

    def forward(self, x, e):
        x = self.begin(x)
        kept = [x]
        for level in self.down:
            for block in level.blocks:
                x = block(x, e)
                kept.append(x)
            if level.resize:
                x = level.resize(x)
                kept.append(x)
        for block in self.middle.blocks:
            x = block(x, e)
        for level in self.up:
            for block in level.blocks:
                x = block(torch.cat((x, kept.pop()), 1), e)
            if level.resize:
                x = level.resize(F.interpolate(x, scale_factor=2.0))
        return self.end(F.silu(self.norm(x)))


class ImageLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = ImageUnet()
        for name in ("signal", "noise"):
            table = torch.tensor(getattr(problem.IMAGE_NOISE, name), dtype=torch.float32)
            self.register_buffer(name, table[:, None, None, None])

    def forward(self, x0, t, eps):
        x = self.signal[t] * x0 + self.noise[t] * eps
        return (F.mse_loss(self.net(x, self.net.embed(t)), eps),)


# ---- data ----------------------------------------------------------------------------------------


class PlanData:
    def __init__(self):
        self.rows = torch.from_numpy(problem.plan_rows())
        self.window = torch.arange(problem.HORIZON)

    def sample(self):
        first = torch.randint(0, problem.ROWS - problem.HORIZON, (problem.PLAN_BATCH, 1))
        return self.rows[first + self.window].transpose(1, 2)[:, :, None]


class PictureData:
    def __init__(self):
        self.pixels = torch.from_numpy(problem.pictures())[:, None]

    def sample(self):
        chosen = torch.randint(0, problem.PICTURES, (problem.IMAGE_BATCH,))
        return self.pixels[chosen].float() / 127.5 - 1
