"""The loss of DPPO in PyTorch: tests/golden/dppo.safetensors.

Ratios, clip ranges and discounts follow the paper (arXiv 2409.00588) and its released code; network
and chain are those of diffusion_ql.py beside this file.  Inputs are float32 numbers, results
float64.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/dppo.py

What is in the file (B = 48 rows, S = 11, A = 3, T = 5 denoising steps, the last 4 fine-tuned):

    actor/*                  noise network: time/0..1/{w,b}, trunk/0..3/{w,b}; weights are [in, out]
    obs, x, next             [B, *]; next was drawn by other weights
    index                    [B]: which of the fine-tuned steps, 0 the noisiest
    old                      [B]: log-probability by those other weights
    advantage                [B]: of the decision, without the discount of denoising steps
    log_prob, ratio, clip    [B], and discounted [B]: the advantage with it
    loss, grad/actor/*
"""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from diffusion_ql import A, Diffusion, NoiseNet, S

OUT = Path(__file__).resolve().parents[2] / "tests/golden/dppo.safetensors"
ROWS, TUNED = 48, 4
LEAST_STD, LEAST_LOG_STD, GAMMA = 0.1, 0.2, 0.99
CLIP_BASE, CLIP, GROWTH = 0.001, 0.01, 3.0


def moments(net, diffusion, obs, x, t):
    """Mean and deviation of a step of DDPM with x0 clipped."""
    pick = lambda table: table[t][:, None]
    eps = net(x, t, obs)
    x0 = x / pick(diffusion.abar).sqrt() - (1 / pick(diffusion.abar) - 1).sqrt() * eps
    mean = pick(diffusion.c1) * x0.clamp(-1, 1) + pick(diffusion.c2) * x
    return mean, pick(diffusion.std)


def log_prob(net, diffusion, obs, x, t, after):
    mean, std = moments(net, diffusion, obs, x, t)
    normal = torch.distributions.Normal(mean, std.clamp(min=LEAST_LOG_STD).expand_as(mean))
    return normal.log_prob(after).clamp(-5, 2).mean(-1)


def main():
    torch.manual_seed(4)
    net, other = NoiseNet(), NoiseNet()
    other.load_state_dict(net.state_dict())
    for p in other.parameters():
        p.data += 0.01 * torch.randn_like(p)
    obs, x, noise = torch.randn(ROWS, S), torch.randn(ROWS, A), torch.randn(ROWS, A)
    index = torch.arange(ROWS) % TUNED
    t = TUNED - 1 - index
    advantage = torch.randn(ROWS)
    # some far away, where densities of single numbers are cut off
    noise[::11, 0] = 9.0
    out = {"obs": obs, "x": x, "index": index, "advantage": advantage}
    net, other = net.double(), other.double()
    diffusion = Diffusion(torch.float64)
    obs, x = obs.double(), x.double()
    with torch.no_grad():
        mean, std = moments(other, diffusion, obs, x, t)
        out["next"] = (mean + std.clamp(min=LEAST_STD) * noise.double()).float()
        out["old"] = log_prob(other, diffusion, obs, x, t, out["next"].double()).float()
    new = log_prob(net, diffusion, obs, x, t, out["next"].double())
    ratio = (new - out["old"].double()).exp()
    grow = (torch.exp(GROWTH * index.double() / (TUNED - 1)) - 1) / (math.exp(GROWTH) - 1)
    clip = CLIP_BASE + (CLIP - CLIP_BASE) * grow
    discounted = advantage.double() * GAMMA ** (TUNED - 1 - index).double()
    free = -discounted * ratio
    kept = -discounted * torch.clamp(ratio, 1 - clip, 1 + clip)
    loss = torch.max(free, kept).mean()
    loss.backward()
    print(f"loss {loss.item():.6f}, clipped {(kept > free).double().mean().item():.2f}, "
          f"ratios {ratio.min().item():.3f} to {ratio.max().item():.3f}")
    out.update(log_prob=new, ratio=ratio, clip=clip, discounted=discounted, loss=loss)
    slots = [("time", k, net.time[2 * k]) for k in range(2)]
    slots += [("trunk", k, net.trunk[2 * k]) for k in range(4)]
    for part, k, layer in slots:
        name = f"actor/{part}/{k}"
        out[f"{name}/w"], out[f"{name}/b"] = layer.weight.float().T, layer.bias.float()
        out[f"grad/{name}/w"], out[f"grad/{name}/b"] = layer.weight.grad.T, layer.bias.grad
    save_file({k: v.detach().contiguous() for k, v in out.items()}, OUT)


if __name__ == "__main__":
    main()
