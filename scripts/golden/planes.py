"""What surrounds the convolutions of U-Nets, in PyTorch: tests/golden/planes.safetensors.

Inputs are float32 numbers, results float64.  Pictures and trajectories are channels last,
[B, height, width, channels] and [B, length, channels]; queries, keys and values lie side by side.
Every case has its inputs, the result y, the weights w of the loss sum(w y), and d_NAME, the
gradient of that loss with respect to input NAME.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/planes.py

    image/*      silu(GroupNorm(4)(x + before)): the residual block of improved-diffusion
    film/*       silu(GroupNorm(8)(x) (1 + scale) + shift): the same with use_scale_shift_norm
    temporal/*   mish(GroupNorm(8)(x)) + after: the residual block of Diffuser
    norm/*       LayerNorm over channels at every position, eps 1e-6
    attention/*  scaled_dot_product_attention, 2 heads, 70 positions
    cross/*      the same to 5 tokens with a mask, 4 heads
    linear/*     LinearAttention of Diffuser without its projections, 2 heads
    up/*, down/*, up1/*, down1/*   nearest and average, pictures and trajectories
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "tests/golden/planes.safetensors"
B = 2
out = {}


def channels_first(x):
    return x.movedim(-1, 1)


def channels_last(x):
    return x.movedim(1, -1)


def case(name, function, **shapes):
    """Draw inputs of these shapes, apply, differentiate, store."""
    inputs = {key: torch.randn(shape) for key, shape in shapes.items()}
    if "gain" in inputs:
        inputs["gain"] += 1
    if "keep" in inputs:
        inputs["keep"] = (inputs["keep"] > -0.5).float()
        inputs["keep"][:, 0] = 1
    leaves = {key: x.double().requires_grad_(key != "keep") for key, x in inputs.items()}
    y = function(**leaves)
    w = torch.randn(y.shape)
    (w.double() * y).sum().backward()
    out[f"{name}/y"], out[f"{name}/w"] = y.detach(), w
    for key, x in inputs.items():
        out[f"{name}/{key}"] = x
        if key != "keep":
            out[f"{name}/d_{key}"] = leaves[key].grad
    result = function(**{key: x for key, x in inputs.items()})  # float32 must agree
    error = (result - y).norm() / y.norm()
    assert error < 1e-6, (name, error)
    print(f"{name}: PyTorch in float32 differs by {error:.1e}")


def image(x, before, gain, bias):
    h = channels_first(x + before[:, None, None])
    return channels_last(F.silu(F.group_norm(h, 4, gain, bias, eps=1e-5)))


def film(x, gain, bias, scale, shift):
    h = channels_last(F.group_norm(channels_first(x), 8, gain, bias, eps=1e-5))
    return F.silu(h * (1 + scale[:, None, None]) + shift[:, None, None])


def temporal(x, gain, bias, after):
    h = channels_last(F.group_norm(channels_first(x), 8, gain, bias, eps=1e-5))
    return F.mish(h) + after[:, None]


def norm(x, gain, bias):
    return F.layer_norm(x, x.shape[-1:], gain, bias, eps=1e-6)


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)  # [B, heads, positions, d]


def attention(qkv):
    q, k, v = (heads(x, 2) for x in qkv.chunk(3, dim=-1))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def cross(q, kv, keep):
    k, v = (heads(x, 4) for x in kv.chunk(2, dim=-1))
    mask = (keep > 0)[:, None, None]
    y = F.scaled_dot_product_attention(heads(q, 4), k, v, attn_mask=mask)
    return y.transpose(1, 2).flatten(2)


def linear(qkv):
    q, k, v = (heads(x, 2) for x in qkv.chunk(3, dim=-1))
    context = torch.einsum("bhnd,bhne->bhde", k.softmax(dim=-2), v)
    y = torch.einsum("bhde,bhnd->bhne", context, q * q.shape[-1] ** -0.5)
    return y.transpose(1, 2).flatten(2)


def up(x):
    return channels_last(F.interpolate(channels_first(x), scale_factor=2, mode="nearest"))


torch.manual_seed(0)
case("image", image, x=(B, 5, 3, 24), before=(B, 24), gain=(24,), bias=(24,))
case("film", film, x=(B, 4, 4, 32), gain=(32,), bias=(32,), scale=(B, 32), shift=(B, 32))
case("temporal", temporal, x=(B, 20, 16), gain=(16,), bias=(16,), after=(B, 16))
case("norm", norm, x=(B, 3, 5, 19), gain=(19,), bias=(19,))
case("attention", attention, qkv=(B, 70, 12))
case("cross", cross, q=(B, 9, 24), kv=(B, 5, 48), keep=(B, 5))
case("linear", linear, qkv=(B, 12, 24))
case("up", up, x=(B, 3, 2, 5))
case("down", lambda x: channels_last(F.avg_pool2d(channels_first(x), 2)), x=(B, 4, 6, 5))
case("up1", up, x=(B, 3, 5))
case("down1", lambda x: channels_last(F.avg_pool1d(channels_first(x), 2)), x=(B, 6, 5))
save_file({key: x.contiguous() for key, x in out.items()}, OUT)
