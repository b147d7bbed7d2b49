"""The temporal U-Net in PyTorch: tests/golden/temporal.safetensors.

TemporalUnet of Diffuser (arXiv 2205.09991), written after the released code; a condition as in
Decision Diffuser (arXiv 2211.15657).  All weights are random.  Inputs and weights are float32
numbers, results float64.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/temporal.py

plain/*: horizon 12, 5 numbers a step, 8 channels times 1, 1, 2.  attention/*: horizon 8, 3 numbers,
8 channels times 1, 2, linear attention, a condition of 2 numbers.  Norms of four groups.
x [B, horizon, width], t [B], cond [B, 2], the output y; weights are [taps * in, out]; w: of the
loss sum(w y), d_x and grad/*: its gradients.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

OUT = Path(__file__).resolve().parents[2] / "tests/golden/temporal.safetensors"
B, DIM, GROUPS, HEADS, HEAD = 2, 8, 4, 4, 32
out = {}


def time_features(t):
    half = DIM // 2
    angle = t[:, None] * torch.exp(
        -math.log(10000) * torch.arange(half, dtype=t.dtype) / (half - 1)
    )
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


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
        e, x, kept = self.time(time_features(t)), x.transpose(1, 2), []
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


def ours(name, value):
    """A parameter of PyTorch's in our name and layout."""
    place, kind = name.rsplit(".", 1)
    norm = "norm" in place.rsplit(".", 1)[-1]
    transposed = place.startswith("up") and place.endswith("resize")
    if place.startswith(("time.", "cond.")):
        place = place.replace(".2", ".1")
    for word in ("down", "up"):
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


def case(name, horizon, width, mults, attention, cond):
    net = TemporalUnet(width, mults, attention, cond)
    for key, p in net.named_parameters():
        nn.init.normal_(p, std=0.8 / math.sqrt(p[0].numel()) if p.dim() > 1 else 0.3)
        if "norm" in key and key.endswith("weight"):
            p.data += 1
    inputs = {"x": torch.randn(B, horizon, width), "t": torch.tensor([3.0, 17.0])}
    if cond:
        inputs["cond"] = torch.randn(B, cond)
    single = net(**inputs)
    net.double()
    double = {key: v.double() for key, v in inputs.items()}
    double["x"].requires_grad_()
    y, w = net(**double), torch.randn(B, horizon, width)
    (w.double() * y).sum().backward()
    error = (single - y).norm() / y.norm()
    assert error < 1e-6, error
    print(f"{name}: PyTorch in float32 differs by {error:.1e}")
    out.update({f"{name}/{key}": v for key, v in inputs.items()})
    out[f"{name}/y"], out[f"{name}/w"] = y.detach(), w
    out[f"{name}/d_x"] = double["x"].grad
    for key, p in net.named_parameters():
        slot, value = ours(key, p.detach())
        out[f"{name}/{slot}"] = value.float()
        out[f"{name}/grad/{slot}"] = ours(key, p.grad)[1].float()


torch.manual_seed(0)
case("plain", 12, 5, (1, 1, 2), False, 0)
case("attention", 8, 3, (1, 2), True, 2)
save_file({key: v.detach().contiguous() for key, v in out.items()}, OUT)
