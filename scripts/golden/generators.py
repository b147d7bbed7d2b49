"""Losses that fine-tune generators, in PyTorch: tests/golden/generators.safetensors.

flow-grpo (arXiv 2505.05470) with its SDE, GRPO-Guard (2510.22319) and Flow-DPPO's mask
(2606.11025), DiffusionNFT (2509.16117) and advantage weighted matching (2509.25050), as the
released codes compute them, of a velocity network on straight paths.  The network is that of
diffusion_ql.py beside this file.  Inputs are float32 numbers, results float64, gradients float32.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/generators.py

What is in the file (B = 48 rows, S = 11, A = 3; steps of a chain from 1, 0.9, .. 0.1 to 0.05):

    actor/*                  the network: time/0..1/{w,b}, trunk/0..3/{w,b}; weights are [in, out];
                             the old weights are 0.9 times these, the reference's 0.8 times
    obs, x, next             [B, *]: steps of chains that the old weights drew
    index                    [B]: which step of the chain
    advantage                [B]
    x0, eps, time            [B, *]: samples, with noise at a time
    mean, old                [B, A] and [B]: of the step by the network; log-probability by the old
                             weights, the mean over dimensions
    LOSS/{loss,grad/actor/*} grpo, guard, mask, nft, awm
    {grpo,guard,mask,awm}/ratio, mask/kept       [B]
"""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from diffusion_ql import A, NoiseNet, S

OUT = Path(__file__).resolve().parents[2] / "tests/golden/generators.safetensors"
ROWS, STEPS, NOISE = 48, 10, 0.7
OLD, REFERENCE = 0.9, 0.8
CLIP, BETA, GUARD_CLIP, MASK = 0.02, 0.04, 0.003, 2e-4
MIX, SPREAD, NFT_BETA, AWM_CLIP, AWM_BETA = 0.6, 5.0, 0.1, 0.05, 0.3
SIGMA = torch.cat([1 - torch.arange(STEPS, dtype=torch.float64) / STEPS,
                   torch.tensor([0.05], dtype=torch.float64)])


def step(net, obs, x, index):
    """Mean and deviation without sqrt(-dt) of a step of the SDE."""
    sigma, dt = SIGMA[index][:, None], (SIGMA[index + 1] - SIGMA[index])[:, None]
    shown = torch.where(sigma == 1, SIGMA[1], sigma)
    std = torch.sqrt(sigma / (1 - shown)) * NOISE
    v = net(x, sigma[:, 0], obs)
    mean = x * (1 + std**2 / (2 * sigma) * dt)
    mean = mean + v * (1 + std**2 * (1 - sigma) / (2 * sigma)) * dt
    return mean, std, torch.sqrt(-dt)


def log_prob(mean, std, root, after):
    dense = -((after - mean) ** 2) / (2 * (std * root) ** 2)
    return (dense - torch.log(std * root) - math.log(math.sqrt(2 * math.pi))).mean(1)


def clipped(advantage, ratio, clip):
    return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip))


def grpo(nets, given, old_log_prob):
    mean, std, root = step(nets["now"], given["obs"], given["x"], given["index"])
    with torch.no_grad():
        reference = step(nets["reference"], given["obs"], given["x"], given["index"])[0]
    ratio = torch.exp(log_prob(mean, std, root, given["next"]) - old_log_prob)
    rows = clipped(given["advantage"], ratio, CLIP)
    kl = ((mean - reference) ** 2).mean(1) / (2 * (std * root)[:, 0] ** 2)
    return (rows + BETA * kl).mean(), {"ratio": ratio}


def guard(nets, given, old_log_prob):
    mean, std, root = step(nets["now"], given["obs"], given["x"], given["index"])
    with torch.no_grad():
        old = step(nets["old"], given["obs"], given["x"], given["index"])[0]
    scale = (std * root)[:, 0]
    bias = ((mean - old) ** 2).mean(1) / (2 * scale**2)
    ratio = torch.exp((log_prob(mean, std, root, given["next"]) - old_log_prob + bias) * scale)
    rows = clipped(given["advantage"], ratio, GUARD_CLIP)
    # the code divides by -dt, diffrl by what the output weighs in the mean: -dt times a constant,
    # except at the first step
    sigma = SIGMA[given["index"]]
    weighs = root[:, 0] ** 2 * (1 + std[:, 0] ** 2 * (1 - sigma) / (2 * sigma))
    return (rows / weighs).mean(), {"ratio": ratio}


def mask(nets, given, old_log_prob):
    mean, std, root = step(nets["now"], given["obs"], given["x"], given["index"])
    with torch.no_grad():
        old = step(nets["old"], given["obs"], given["x"], given["index"])[0]
    ratio = torch.exp(log_prob(mean, std, root, given["next"]) - old_log_prob)
    kl = ((mean - old) ** 2).mean(1) / (2 * (std * root)[:, 0] ** 2)
    advantage = given["advantage"]
    leaves = ((advantage > 0) & (ratio > 1)) | ((advantage < 0) & (ratio < 1))
    kept = (~((kl > MASK) & leaves)).double()
    return (-advantage * ratio * kept).mean(), {"ratio": ratio, "kept": kept}


def forward(nets, given):
    t = given["time"][:, None]
    xt = (1 - t) * given["x0"] + t * given["eps"]
    v = nets["now"](xt, given["time"], given["obs"])
    with torch.no_grad():
        old = nets["old"](xt, given["time"], given["obs"])
        reference = nets["reference"](xt, given["time"], given["obs"])
    return t, xt, v, old, reference


def nft(nets, given, _):
    t, xt, v, old, reference = forward(nets, given)
    x0 = given["x0"]
    r = (given["advantage"].clamp(-SPREAD, SPREAD) / SPREAD / 2 + 0.5).clamp(0, 1)

    def part(prediction):
        guess = xt - t * prediction
        with torch.no_grad():
            weight = (guess - x0).abs().mean(1, keepdim=True).clip(min=1e-5)
        return ((guess - x0) ** 2 / weight).mean(1)

    positive = part(MIX * v + (1 - MIX) * old)
    negative = part((1 + MIX) * old - MIX * v)
    policy = (r * positive / MIX + (1 - r) * negative / MIX) * SPREAD
    return policy.mean() + NFT_BETA * ((v - reference) ** 2).mean(), {}


def awm(nets, given, _):
    t, xt, v, old, reference = forward(nets, given)
    target = given["eps"] - given["x0"]
    dense = lambda prediction: -((prediction - target) ** 2).mean(1)
    ratio = torch.exp(dense(v) - dense(old))
    kl = ((v - reference) ** 2).mean()
    return clipped(given["advantage"], ratio, AWM_CLIP).mean() + AWM_BETA * kl, {"ratio": ratio}


def layers(net):
    for part, k, layer in ([("time", k, net.time[2 * k]) for k in range(2)]
                           + [("trunk", k, net.trunk[2 * k]) for k in range(4)]):
        yield f"actor/{part}/{k}", layer


def main():
    torch.manual_seed(4)
    nets = {name: NoiseNet() for name in ("now", "old", "reference")}
    for layer in nets["now"].trunk[6:]:
        layer.weight.data *= 3  # outputs as large as velocities are
    for name, factor in (("old", OLD), ("reference", REFERENCE)):
        for p, q in zip(nets[name].double().parameters(), nets["now"].parameters()):
            p.data = factor * q.data.double()
    given = {"obs": torch.randn(ROWS, S), "x": torch.randn(ROWS, A),
             "index": torch.arange(ROWS) % STEPS, "advantage": 2 * torch.randn(ROWS),
             "x0": torch.randn(ROWS, A), "eps": torch.randn(ROWS, A),
             "time": 0.05 + 0.9 * torch.rand(ROWS)}
    given["advantage"][0], given["advantage"][1] = 7, -7  # beyond the spread
    out = dict(given)
    nets["now"].double()
    given = {k: v if k == "index" else v.double() for k, v in given.items()}
    with torch.no_grad():
        mean, std, root = step(nets["old"], given["obs"], given["x"], given["index"])
        given["next"] = (mean + std * root * torch.randn(ROWS, A)).float().double()
        old = log_prob(mean, std, root, given["next"])
        out["mean"] = step(nets["now"], given["obs"], given["x"], given["index"])[0]
    out["next"], out["old"] = given["next"].float(), old
    for name, layer in layers(nets["now"]):
        out[f"{name}/w"], out[f"{name}/b"] = layer.weight.float().T, layer.bias.float()
    for loss in (grpo, guard, mask, nft, awm):
        nets["now"].zero_grad()
        value, more = loss(nets, given, old)
        value.backward()
        case = loss.__name__
        out[f"{case}/loss"] = value
        out.update({f"{case}/{k}": v for k, v in more.items()})
        for name, layer in layers(nets["now"]):
            out[f"{case}/grad/{name}/w"] = layer.weight.grad.float().T
            out[f"{case}/grad/{name}/b"] = layer.bias.grad.float()
        ratio = more.get("ratio", torch.ones(1))
        print(f"{case} {value.item():.6f}, ratios {ratio.min().item():.4f} to "
              f"{ratio.max().item():.4f}, kept {more.get('kept', ratio).mean().item():.2f}")
    save_file({k: v.detach().contiguous() for k, v in out.items()}, OUT)


if __name__ == "__main__":
    main()
