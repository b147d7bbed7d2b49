"""What the scripts of networks share: features of the time, and a network's case in a golden file.

A case is what tests/golden_net.h reads: NAME/x, t, the condition if there is one, the output y; w:
of the loss sum(w y), d_x and grad/*: its gradients.
"""

import math

import torch
from torch import nn


def time_features(t, dim):
    half = dim // 2
    angle = t[:, None] * torch.exp(
        -math.log(10000) * torch.arange(half, dtype=t.dtype) / (half - 1)
    )
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def draw_weights(net):
    for key, p in net.named_parameters():
        nn.init.normal_(p, std=0.8 / math.sqrt(p[0].numel()) if p.dim() > 1 else 0.3)
        if "norm" in key and key.endswith("weight"):
            p.data += 1


def record(out, name, net, inputs, ours):
    """ours(name, value): a parameter of PyTorch's in our name and layout"""
    single = net(**inputs)
    net.double()
    double = {key: v.double() for key, v in inputs.items()}
    double["x"].requires_grad_()
    y, w = net(**double), torch.randn(single.shape)
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
