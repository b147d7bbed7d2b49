"""Losses of ddpo, dpok and diffusion-dpo in PyTorch: tests/golden/finetune.safetensors.

ddpo after kvablack/ddpo-pytorch: a step of DDIM with eta 1, its log-probability a mean over
numbers, ratios clipped.  dpok is that and the divergence from the reference, as in the paper
(arXiv 2305.16381), by torch.distributions.  diffusion-dpo after SalesforceAIResearch/DiffusionDPO:
errors are means over numbers, times and noise of a pair are the same.  The network is that of
diffusion_ql.py beside this file.  Inputs are float32 numbers, results float64.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/finetune.py

What is in the file (B = 48 rows, C = 11 numbers of a condition, D = 3, T = 5 steps):

    actor/*, reference/*     noise networks: time/0..1/{w,b}, trunk/0..3/{w,b}; weights [in, out]
    cond, x, next            [B, *]: of chains, drawn by third weights
    t                        [B]: from 4 to 1; the step to t - 1 has noise
    old                      [B]: the sum over numbers of ln p(next | x) by the third weights
    advantage                [B]
    log_prob, ratio          [B]
    ddpo/loss, ddpo/grad/*   of clip 0.1
    dpok/loss, dpok/grad/*   of clip 0.1, kl 0.5; dpok/kl: the mean of KL / D
    one, other, eps          [B, D]: pairs of samples and their noise
    level, sign              [B]: their time, 0 to 4; 1 where `one` is the better, -1, or 0
    dpo/margin [B], dpo/loss, dpo/grad/*    of beta 200
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.distributions import Normal, kl_divergence

from diffusion_ql import A, Diffusion, NoiseNet, S

OUT = Path(__file__).resolve().parents[2] / "tests/golden/finetune.safetensors"
ROWS, CLIP, KL, BETA = 48, 0.1, 0.5, 200.0


def step(net, diffusion, cond, x, t):
    """DDIM with eta 1 from t to t - 1, x0 clipped and the noise found again from it."""
    abar, before = diffusion.abar[t][:, None], diffusion.abar[t - 1][:, None]
    eps = net(x, t, cond)
    x0 = ((x - (1 - abar).sqrt() * eps) / abar.sqrt()).clamp(-1, 1)
    eps = (x - abar.sqrt() * x0) / (1 - abar).sqrt()
    variance = (1 - before) / (1 - abar) * (1 - abar / before)
    mean = before.sqrt() * x0 + (1 - before - variance).sqrt() * eps
    return Normal(mean, variance.sqrt().expand_as(mean))


def errors(net, diffusion, cond, x0, t, eps):
    abar = diffusion.abar[t][:, None]
    shown = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
    return (net(shown, t, cond) - eps).pow(2).mean(-1)


def slots(net):
    return [("time", k, net.time[2 * k]) for k in range(2)] + \
        [("trunk", k, net.trunk[2 * k]) for k in range(4)]


def put_gradient(out, name, net, loss):
    net.zero_grad()
    loss.backward()
    out[f"{name}/loss"] = loss
    for part, k, layer in slots(net):
        out[f"{name}/grad/{part}/{k}/w"] = layer.weight.grad.T.clone()
        out[f"{name}/grad/{part}/{k}/b"] = layer.bias.grad.clone()


def near(net, amount):
    other = NoiseNet()
    other.load_state_dict(net.state_dict())
    for p in other.parameters():
        p.data += amount * torch.randn_like(p)
    return other


def main():
    torch.manual_seed(7)
    net = NoiseNet()
    drew, reference = near(net, 0.2), near(net, 0.2)
    cond, x, noise = torch.randn(ROWS, S), torch.randn(ROWS, A), torch.randn(ROWS, A)
    t = 4 - torch.arange(ROWS) % 4
    advantage = torch.randn(ROWS)
    one, other = torch.rand(ROWS, A) * 2 - 1, torch.rand(ROWS, A) * 2 - 1
    eps, level = torch.randn(ROWS, A), torch.arange(ROWS) % 5
    sign = torch.randint(-1, 2, (ROWS,))
    out = {"cond": cond, "x": x, "t": t, "advantage": advantage, "one": one, "other": other,
           "eps": eps, "level": level, "sign": sign}
    for name, n in (("actor", net), ("reference", reference)):
        for part, k, layer in slots(n):
            out[f"{name}/{part}/{k}/w"] = layer.weight.detach().T.clone()
            out[f"{name}/{part}/{k}/b"] = layer.bias.detach().clone()
    net, drew, reference = net.double(), drew.double(), reference.double()
    diffusion = Diffusion(torch.float64)
    cond, x, advantage = cond.double(), x.double(), advantage.double()
    with torch.no_grad():
        law = step(drew, diffusion, cond, x, t)
        out["next"] = (law.mean + law.stddev * noise.double()).float()
        out["old"] = law.log_prob(out["next"].double()).sum(-1).float()

    def policy(kl):
        now = step(net, diffusion, cond, x, t)
        log_prob = now.log_prob(out["next"].double()).mean(-1)
        ratio = torch.exp(log_prob - out["old"].double() / A)
        loss = torch.maximum(-advantage * ratio,
                             -advantage * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
        with torch.no_grad():
            then = step(reference, diffusion, cond, x, t)
        distance = kl_divergence(now, then).mean()
        return loss + kl * distance, log_prob, ratio, distance

    loss, log_prob, ratio, _ = policy(0)
    put_gradient(out, "ddpo", net, loss)
    loss, _, _, distance = policy(KL)
    put_gradient(out, "dpok", net, loss)
    out.update(log_prob=log_prob, ratio=ratio)
    out["dpok/kl"] = distance
    clipped = ((ratio - 1).abs() > CLIP).double().mean().item()
    print(f"ddpo {out['ddpo/loss'].item():.6f}, dpok {loss.item():.6f}, clipped {clipped:.2f}, "
          f"kl {distance.item():.4f}")

    pair = [v.double() for v in (one, other, eps)]
    gains = []
    for v in pair[:2]:
        with torch.no_grad():
            before = errors(reference, diffusion, cond, v, level, pair[2])
        gains.append(errors(net, diffusion, cond, v, level, pair[2]) - before)
    margin = -BETA / 2 * sign.double() * (gains[0] - gains[1])
    put_gradient(out, "dpo", net, -F.logsigmoid(margin).mean())
    out["dpo/margin"] = margin
    print(f"dpo {out['dpo/loss'].item():.6f}, right {(margin > 0).double().mean().item():.2f}")
    save_file({k: v.detach().contiguous() for k, v in out.items()}, OUT)


if __name__ == "__main__":
    main()
