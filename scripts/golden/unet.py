"""The U-Net for pictures in PyTorch: tests/golden/unet.safetensors.

After the released code of improved-diffusion (blocks with the time added, arXiv 2102.09672); tokens
as in latent diffusion (arXiv 2112.10752).  All weights are random.  Inputs and weights are float32
numbers, results float64.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/unet.py

plain/*: 8 x 12 pictures of 3 channels, 4 channels times 1, 1, 2.  label/*: 4 x 4 x 1, 4 channels
times 1, 2, two blocks a level, attention at the lower level, a label of 3.  tokens/*: the same with
one block, attention everywhere and three tokens of 4 numbers.
wide/*: 8 x 8 x 1, 16 channels, one level: what minimal filtering can do.  Norms of two groups.
x [B, height, width, channels], t [B], cond [B, ..], the output y; weights are [taps * in, out]; w:
of the loss sum(w y), d_x and grad/*: its gradients.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from net import draw_weights, record, time_features

OUT = Path(__file__).resolve().parents[2] / "tests/golden/unet.safetensors"
B, GROUPS, HEADS = 2, 2, 2
out = {}


class Attention(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.width = width
        if width:
            self.cross_norm = nn.GroupNorm(GROUPS, channels)
            self.q = nn.Conv2d(channels, channels, 1)
            self.kv = nn.Linear(width, 2 * channels)
            self.cross_out = nn.Conv2d(channels, channels, 1)

    @staticmethod
    def attend(q, k, v):  # [B, n, channels]
        q, k, v = (h.unflatten(2, (HEADS, -1)) for h in (q, k, v))
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(q.shape[-1])
        return torch.einsum("bhij,bjhd->bihd", scores.softmax(dim=-1), v).flatten(2)

    def forward(self, x, tokens):
        shape = x.shape[2:]
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        x = x + self.out(self.attend(q, k, v).transpose(1, 2).unflatten(2, shape))
        if not self.width:
            return x
        q = self.q(self.cross_norm(x)).flatten(2).transpose(1, 2)
        k, v = self.kv(tokens.unflatten(1, (-1, self.width))).chunk(2, dim=2)
        return x + self.cross_out(self.attend(q, k, v).transpose(1, 2).unflatten(2, shape))


class Block(nn.Module):
    def __init__(self, inputs, outputs, embedded, attention, width):
        super().__init__()
        self.norm0 = nn.GroupNorm(GROUPS, inputs)
        self.conv0 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm1 = nn.GroupNorm(GROUPS, outputs)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(embedded, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs, width) if attention else None

    def forward(self, x, e, tokens):
        h = self.conv0(F.silu(self.norm0(x))) + self.time(F.silu(e))[:, :, None, None]
        h = self.conv1(F.silu(self.norm1(h))) + self.skip(x)
        return self.attention(h, tokens) if self.attention else h


class Level(nn.Module):
    def __init__(self, blocks, resize=None):
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.resize = resize


class Unet(nn.Module):
    def __init__(self, inputs, dim, mults, blocks, attention, label, width):
        super().__init__()
        self.dim, self.label, e = dim, label, 4 * dim
        self.time = nn.Sequential(nn.Linear(dim, e), nn.SiLU(), nn.Linear(e, e))
        if label:
            self.cond = nn.Linear(label, e)
        dims, deepest = [dim * m for m in mults], len(mults) - 1
        self.begin = nn.Conv2d(inputs, dims[0], 3, padding=1)
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        x, kept = dims[0], [dims[0]]

        def block(given, level):
            return Block(given, dims[level], e, level >= len(mults) - attention, width)

        for level in range(len(mults)):
            steps = []
            for _ in range(blocks):
                steps.append(block(x, level))
                x = dims[level]
                kept.append(x)
            half = None
            if level < deepest:
                half = nn.Conv2d(x, x, 3, stride=2, padding=1)
                kept.append(x)
            self.down[str(level)] = Level(steps, half)
        self.middle = Level([Block(x, x, e, attention > 0, width), Block(x, x, e, False, width)])
        for level in reversed(range(len(mults))):
            steps = []
            for _ in range(blocks + 1):
                steps.append(block(x + kept.pop(), level))
                x = dims[level]
            self.up[str(level)] = Level(steps, nn.Conv2d(x, x, 3, padding=1) if level else None)
        self.norm = nn.GroupNorm(GROUPS, x)
        self.end = nn.Conv2d(x, inputs, 3, padding=1)

    def forward(self, x, t, cond=None):
        e, x = self.time(time_features(t, self.dim)), self.begin(x.permute(0, 3, 1, 2))
        if self.label:
            e = e + self.cond(cond)
        kept = [x]
        for level in self.down.values():
            for block in level.block:
                x = block(x, e, cond)
                kept.append(x)
            if level.resize:
                x = level.resize(x)
                kept.append(x)
        for block in self.middle.block:
            x = block(x, e, cond)
        for level in self.up.values():
            for block in level.block:
                x = block(torch.cat([x, kept.pop()], dim=1), e, cond)
            if level.resize:
                x = level.resize(F.interpolate(x, scale_factor=2.0))
        return self.end(F.silu(self.norm(x))).permute(0, 2, 3, 1)


def ours(name, value):
    """A parameter of PyTorch's in our name and layout."""
    place, kind = name.rsplit(".", 1)
    norm = "norm" in place.rsplit(".", 1)[-1]
    place = place.replace("time.2", "time.1") if place.startswith("time.") else place
    for word in ("down", "up"):
        place = place.replace(f"{word}.", word)
    place = place.replace(".block.", ".").replace(".", "/")
    if value.dim() == 4:  # [out, in, height, width]
        value = value.permute(2, 3, 1, 0).flatten(0, 2)
    elif value.dim() == 2:
        value = value.T
    if norm:
        return f"{place}/{'gain' if kind == 'weight' else 'bias'}", value
    return f"{place}/{'w' if kind == 'weight' else 'b'}", value


def case(name, shape, dim, mults, blocks, attention=0, label=0, tokens=0, width=0):
    net = Unet(shape[2], dim, mults, blocks, attention, label, width)
    draw_weights(net)
    inputs = {"x": torch.randn(B, *shape), "t": torch.tensor([3.0, 17.0])}
    if label or tokens:
        inputs["cond"] = torch.randn(B, label or tokens * width)
    record(out, name, net, inputs, ours)


torch.manual_seed(0)
case("plain", (8, 12, 3), 4, (1, 1, 2), 1)
case("label", (4, 4, 1), 4, (1, 2), 2, attention=1, label=3)
case("tokens", (4, 4, 1), 4, (1, 2), 1, attention=2, tokens=3, width=4)
case("wide", (8, 8, 1), 16, (1,), 1)
save_file({key: v.detach().contiguous() for key, v in out.items()}, OUT)
