"""The temporal U-Net in PyTorch: tests/golden/temporal.safetensors.

TemporalUnet of Diffuser (arXiv 2205.09991), written after the released code; a condition as in
Decision Diffuser (arXiv 2211.15657).  All weights are random.  Inputs and weights are float32
numbers, results float64.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/temporal.py

plain/*: horizon 12, 5 numbers a step, 8 channels times 1, 1, 2.  attention/*: horizon 8, 3 numbers,
8 channels times 1, 2, linear attention, a condition of 2 numbers.  value/*: ValueFunction, horizon
24, 3 numbers, 8 channels times 1, 4; what is left is read position by position.  Norms of four
groups.  x [B, horizon, width], t [B], cond [B, 2], the output y (of value [B, 1]); weights are
[taps * in, out]; w: of the loss sum(w y), d_x and grad/*: its gradients.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from net import draw_weights, record, time_features

OUT = Path(__file__).resolve().parents[2] / "tests/golden/temporal.safetensors"
B, DIM, GROUPS, HEADS, HEAD = 2, 8, 4, 4, 32
out = {}


def mlp(inputs):
    return nn.Sequential(nn.Linear(inputs, 4 * DIM), nn.Mish(), nn.Linear(4 * DIM, DIM))


class Residual(nn.Module):
    def __init__(self, inputs, outputs, embedded):
        super().__init__()
        self.conv0 = nn.Conv1d(inputs, outputs, 5, padding=2)
        self.norm0 = nn.GroupNorm(GROUPS, outputs)
        self.conv1 = nn.Conv1d(outputs, outputs, 5, padding=2)
        self.norm1 = nn.GroupNorm(GROUPS, outputs)
        self.time = nn.Linear(embedded, outputs)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, e):
        h = F.mish(self.norm0(self.conv0(x))) + self.time(F.mish(e))[:, :, None]
        return F.mish(self.norm1(self.conv1(h))) + self.skip(x)


class ChannelNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt()
        return x * self.weight[:, None] + self.bias[:, None]


class Level(nn.Module):
    def __init__(self, inputs, outputs, embedded, attention, resize=None):
        super().__init__()
        self.block = nn.ModuleList(
            (Residual(inputs, outputs, embedded), Residual(outputs, outputs, embedded))
        )
        self.attention = attention
        if attention:
            self.norm = ChannelNorm(outputs)
            self.qkv = nn.Conv1d(outputs, 3 * HEADS * HEAD, 1, bias=False)
            self.out = nn.Conv1d(HEADS * HEAD, outputs, 1)
        self.resize = resize

    def attend(self, x):
        if not self.attention:
            return x
        q, k, v = (h.unflatten(1, (HEADS, HEAD)) for h in self.qkv(self.norm(x)).chunk(3, dim=1))
        context = torch.einsum("bhdn,bhen->bhde", k.softmax(dim=-1), v)
        return x + self.out(torch.einsum("bhde,bhdn->bhen", context, q * HEAD**-0.5).flatten(1, 2))

    def forward(self, x, e):
        return self.attend(self.block[1](self.block[0](x, e), e))

    def middle(self, x, e):
        return self.block[1](self.attend(self.block[0](x, e)), e)


class TemporalUnet(nn.Module):
    def __init__(self, width, mults, attention, cond):
        super().__init__()
        dims = [width] + [DIM * m for m in mults]
        embedded = DIM * (2 if cond else 1)
        self.time = mlp(DIM)
        self.cond = mlp(cond) if cond else None
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        for i, (a, b) in enumerate(zip(dims, dims[1:])):
            half = nn.Conv1d(b, b, 3, 2, 1) if i + 2 < len(dims) else None
            self.down[str(i)] = Level(a, b, embedded, attention, half)
            if i:
                twice = nn.ConvTranspose1d(a, a, 4, 2, 1)
                self.up[str(i)] = Level(2 * b, a, embedded, attention, twice)
        self.middle = Level(dims[-1], dims[-1], embedded, attention)
        self.last = nn.Conv1d(dims[1], dims[1], 5, padding=2)
        self.norm = nn.GroupNorm(GROUPS, dims[1])
        self.out = nn.Conv1d(dims[1], width, 1)

    def forward(self, x, t, cond=None):
        e, x, kept = self.time(time_features(t, DIM)), x.transpose(1, 2), []
        if cond is not None:
            e = torch.cat([e, self.cond(cond)], dim=-1)
        for level in self.down.values():
            x = level(x, e)
            kept.append(x)
            if level.resize:
                x = level.resize(x)
        x = self.middle.middle(x, e)
        for level in reversed(self.up.values()):
            x = level.resize(level(torch.cat([x, kept.pop()], dim=1), e))
        return self.out(F.mish(self.norm(self.last(x)))).transpose(1, 2)


class TemporalValue(nn.Module):
    def __init__(self, horizon, width, mults):
        super().__init__()
        dims = [width] + [DIM * m for m in mults]
        self.time = mlp(DIM)
        self.down = nn.ModuleDict()
        for i, (a, b) in enumerate(zip(dims, dims[1:])):
            self.down[str(i)] = Level(a, b, DIM, False, nn.Conv1d(b, b, 3, 2, 1))
        self.last = nn.ModuleDict()
        for i in range(2):
            self.last[str(i)] = Residual(dims[-1] >> i, dims[-1] >> (i + 1), DIM)
            channels = dims[-1] >> (i + 1)
            self.last[str(i)].resize = nn.Conv1d(channels, channels, 3, 2, 1)
        left = horizon >> len(mults)
        for i in range(2):
            left = (left + 1) // 2
        self.left = left * channels
        self.value = nn.Sequential(
            nn.Linear(self.left + DIM, self.left // 2), nn.Mish(), nn.Linear(self.left // 2, 1)
        )

    def forward(self, x, t):
        e, x = self.time(time_features(t, DIM)), x.transpose(1, 2)
        for level in (*self.down.values(), *self.last.values()):
            x = level.resize(level(x, e))
        return self.value(torch.cat([x.transpose(1, 2).flatten(1), e], dim=-1))


def ours(name, value):
    """A parameter of PyTorch's in our name and layout."""
    place, kind = name.rsplit(".", 1)
    norm = "norm" in place.rsplit(".", 1)[-1]
    transposed = place.startswith("up") and place.endswith("resize")
    if place.startswith(("time.", "cond.", "value.")):
        place = place.replace(".2", ".1")
    for word in ("down", "up", "last"):
        place = place.replace(f"{word}.", word)
    place = place.replace(".block.", ".").replace(".", "/")
    if value.dim() == 3:  # [out, in, taps], transposed [in, out, taps]
        value = value.permute(2, 0, 1) if transposed else value.permute(2, 1, 0)
        value = value.flatten(0, 1)
    elif value.dim() == 2:
        value = value.T
    if norm:
        return f"{place}/{'gain' if kind == 'weight' else 'bias'}", value
    return f"{place}/{'w' if kind == 'weight' else 'b'}", value


def case(name, net, horizon, width, cond=0):
    draw_weights(net)
    inputs = {"x": torch.randn(B, horizon, width), "t": torch.tensor([3.0, 17.0])}
    if cond:
        inputs["cond"] = torch.randn(B, cond)
    record(out, name, net, inputs, ours)


torch.manual_seed(0)
case("plain", TemporalUnet(5, (1, 1, 2), False, 0), 12, 5)
case("attention", TemporalUnet(3, (1, 2), True, 2), 8, 3, 2)
torch.manual_seed(1)
case("value", TemporalValue(24, 3, (1, 4)), 24, 3)
save_file({key: v.detach().contiguous() for key, v in out.items()}, OUT)
