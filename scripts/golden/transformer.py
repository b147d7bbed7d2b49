"""The diffusion transformer in PyTorch: tests/golden/transformer.safetensors.

DiT (arXiv 2212.09748) with adaLN-zero, written after the released code, with the differences that
denoiser_transformer.c names.  All weights are random, also those that start at zero.  Inputs
and weights are float32 numbers, results float64.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/transformer.py

A picture of 6 x 4 x 3 with patches of 2 (image/*) and a trajectory of length 6 x 5 with patches
of 3 (path/*, no condition); two blocks of width 16, two heads.  x [B, .., channels] and the output
y are channels last; t [B], label [B, 3] is one-hot or zero.  Weights are [in, out], filters
[height, width, in, out] with the first three together; w: of the loss sum(w y), d_x and grad/*:
its gradients.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from net import record

OUT = Path(__file__).resolve().parents[2] / "tests/golden/transformer.safetensors"
B, HIDDEN, HEADS, BLOCKS, FEATURES = 2, 16, 2, 2, 256
out = {}


def time_features(t):
    half = FEATURES // 2
    frequency = torch.exp(-math.log(10000) * torch.arange(half, dtype=t.dtype) / half)
    angle = t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def sincos(position, dim):
    omega = 1 / 10000 ** (torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angle = position.flatten().double()[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def positions(height, width):
    if height == 1:
        return sincos(torch.arange(width), HIDDEN)
    h, w = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.cat([sincos(w, HIDDEN // 2), sincos(h, HIDDEN // 2)], dim=-1)


def modulate(x, shift, scale):
    x = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ada = nn.Linear(HIDDEN, 6 * HIDDEN)
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.proj = nn.Linear(HIDDEN, HIDDEN)
        self.up = nn.Linear(HIDDEN, 4 * HIDDEN)
        self.down = nn.Linear(4 * HIDDEN, HIDDEN)

    def attention(self, x):
        q, k, v = (
            h.unflatten(-1, (HEADS, -1)).transpose(1, 2) for h in self.qkv(x).chunk(3, dim=-1)
        )
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.ada(c).chunk(6, dim=-1)
        x = x + gate1[:, None] * self.attention(modulate(x, shift1, scale1))
        y = self.down(F.gelu(self.up(modulate(x, shift2, scale2))))
        return x + gate2[:, None] * y


class Transformer(nn.Module):
    def __init__(self, height, width, channels, patch, classes):
        super().__init__()
        kernel = (patch if height > 1 else 1, patch)
        self.time = nn.Sequential(
            nn.Linear(FEATURES, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN)
        )
        self.cond = nn.Linear(classes, HIDDEN) if classes else None
        self.patches = nn.Conv2d(channels, HIDDEN, kernel, kernel)
        self.block = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.ada = nn.Linear(HIDDEN, 2 * HIDDEN)
        self.out = nn.ConvTranspose2d(HIDDEN, channels, kernel, kernel)
        self.positions = positions(height // kernel[0], width // patch)

    def forward(self, x, t, label=None):
        c = self.time(time_features(t))
        if label is not None:
            c = c + self.cond(label)
        c = F.silu(c)
        h = self.patches(x.movedim(-1, 1))
        shape = h.shape[2:]
        h = h.flatten(2).transpose(1, 2) + self.positions.to(x.dtype)
        for block in self.block:
            h = block(h, c)
        h = modulate(h, *self.ada(c).chunk(2, dim=-1))
        return self.out(h.transpose(1, 2).unflatten(2, shape)).movedim(1, -1)


def ours(name, value):
    """A parameter of PyTorch's in our name and layout."""
    place, kind = name.rsplit(".", 1)
    place = place.replace("block.", "block").replace("time.2", "time.1").replace(".", "/")
    if place == "patches" and kind == "weight":  # [out, in, h, w]
        value = value.permute(2, 3, 1, 0).flatten(0, 2)
    elif place == "out" and kind == "weight":  # [in, out, h, w]
        value = value.permute(2, 3, 0, 1).flatten(0, 2)
    elif kind == "weight":
        value = value.T
    return f"{place}/{'w' if kind == 'weight' else 'b'}", value.contiguous()


def case(name, height, width, channels, patch, classes):
    net = Transformer(height, width, channels, patch, classes)
    for p in net.parameters():
        nn.init.normal_(p, std=0.6 / math.sqrt(p.shape[1]) if p.dim() > 1 else 0.3)
    x = torch.randn(B, height, width, channels)
    inputs = {"x": x, "t": torch.tensor([3.0, 70.0])}
    if classes:
        inputs["label"] = torch.eye(classes)[[1, 0]]
        inputs["label"][1] = 0
    record(out, name, net, inputs, ours)


torch.manual_seed(0)
case("image", 6, 4, 3, 2, 3)
case("path", 1, 6, 5, 3, 0)
save_file({key: v.detach().contiguous() for key, v in out.items()}, OUT)
