"""Losses and gradients of idql, ifql and fql in PyTorch: tests/golden/selection.safetensors.

Losses as read in philippe-eecs/IDQL (arXiv 2304.10573) and in the agents `ifql` and `fql` of
seohongpark/fql (arXiv 2502.02538); networks of width 16.  Everything random is in the file.
Weights, batch and noise are float32 numbers, results float64; the same program in float32 must
agree.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/selection.py

B = 8 rows, S = 5, A = 3; "NAME/<block>/<slot>", weights [in, out], of an ensemble [E, in, out].

    batch/{obs,act,next,reward,live}           live = 1 - terminal
    NAME/bc time [B], NAME/bc noise [B, A]     idql: the step 0 .. 4; others: u of t = .001 + .999 u
    fql/{target,actor} noise [B, A]
    NAME/loss/{actor,value,critic}, NAME/grad/<block>/<slot>

    value_loss  = mean |tau - 1(d < 0)| d^2, d = min_k Qbar_k(s, a) - V(s); idql .7, ifql .9
    critic_loss = sum_k mean (Q_k(s, a) - r - gamma m V(s'))^2, gamma .99
    actor_loss  idql: mean (eps - net(sqrt(abar_t) a + sqrt(1 - abar_t) eps, t, s))^2, T = 5,
                abar_t = exp(-.1 u - 4.95 u^2), u = (t + 1) / T; the released code sums over the
                dimensions, which is A times as much
                ifql: mean (net(t eps + (1 - t) a, t, s) - (eps - a))^2; the released code's time
                is 1 - t, so its velocity has the other sign
    fql         flow, as ifql's actor; critic as above with y = r + gamma m mean_k Qbar_k(s', a'),
                a' = clip mu(s', target noise); actor: alpha mean (mu(s, z) - clip flow(s, z))^2 -
                mean_{b,k} Q_k(s, clip mu(s, z)), z = actor noise, alpha 10, flow: ten Euler steps
    networks    idql: critics and value of two layers of ReLU; ifql, fql: four of GELU, each
                followed by a layer norm (eps 1e-5); mu of fql: four of GELU.  Behaviour: this
                project's noise network, sines and cosines of the time.
"""

import math
from pathlib import Path

import torch
from net import time_features
from safetensors.torch import save_file
from torch.nn import functional as F

OUT = Path(__file__).resolve().parents[2] / "tests/golden/selection.safetensors"
NAMES = ("idql", "ifql", "fql")
B, S, A, HIDDEN, TIME, T, GAMMA = 8, 5, 3, 16, 16, 5, 0.99


def make_mlp(name, widths, members=1, norm=False):
    lead, slots = (members,) if members > 1 else (), {}
    for i, (n_in, n_out) in enumerate(zip(widths, widths[1:])):
        slots[f"{name}/{i}/w"] = 1.5 * torch.randn(*lead, n_in, n_out) / math.sqrt(n_in)
        slots[f"{name}/{i}/b"] = 0.3 * torch.randn(*lead, n_out)
        if norm and i < len(widths) - 2:
            slots[f"{name}/{i}/gain"] = 1 + 0.3 * torch.randn(*lead, n_out)
            slots[f"{name}/{i}/shift"] = 0.3 * torch.randn(*lead, n_out)
    return slots


def mlp(p, name, x, unit, member=None):
    layers = sum(k.startswith(f"{name}/") and k.endswith("/w") for k in p)
    for i in range(layers):
        pick = lambda slot: p[slot] if member is None else p[slot][member]
        x = x @ pick(f"{name}/{i}/w") + pick(f"{name}/{i}/b")
        if i == layers - 1:
            break
        x = unit(x)
        if f"{name}/{i}/gain" in p:
            x = F.layer_norm(x, x.shape[-1:]) * pick(f"{name}/{i}/gain") + pick(f"{name}/{i}/shift")
    return x


def critics(p, g, unit):
    x = torch.cat([g["batch/obs"], g["batch/act"]], -1)
    return torch.cat([mlp(p, "q", x, unit, k) for k in range(2)], -1)


def behaviour(p, g, x, t):
    h = mlp(p, "time", time_features(t, TIME), F.mish)
    return mlp(p, "trunk", torch.cat([x, h, g["batch/obs"]], -1), F.mish)


def losses(name, net, g):
    if name == "fql":
        return fql(net, g)
    flow, unit, tau = {"idql": (False, F.relu, 0.7), "ifql": (True, F.gelu, 0.9)}[name]
    t, eps, act = g[f"{name}/bc time"], g[f"{name}/bc noise"], g["batch/act"]
    if flow:
        t = 0.001 + 0.999 * t
        x = t[:, None] * eps + (1 - t[:, None]) * act
        error = behaviour(net["actor"], g, x, t) - (eps - act)
    else:
        u = (t + 1) / T
        abar = (-0.1 * u - 4.95 * u**2).exp()[:, None]
        x = abar.sqrt() * act + (1 - abar).sqrt() * eps
        error = behaviour(net["actor"], g, x, t) - eps
    v = mlp(net["value"], "v", g["batch/obs"], unit)[:, 0]
    d = critics(net["critic_target"], g, unit).amin(-1) - v
    v_next = mlp(net["value"], "v", g["batch/next"], unit)[:, 0].detach()
    y = g["batch/reward"] + GAMMA * g["batch/live"] * v_next
    asymmetry = (tau - (d < 0).to(d)).abs().detach()
    return {
        "actor": (error**2).mean(),
        "value": (asymmetry * d**2).mean(),
        "critic": ((critics(net["critic"], g, unit) - y[:, None]) ** 2).mean(0).sum(),
    }


def one_step(p, obs, z):
    return mlp(p, "trunk", torch.cat([obs, z], -1), F.gelu)


def fql(net, g):
    obs, act, z = g["batch/obs"], g["batch/act"], g["fql/actor noise"]
    t, eps = 0.001 + 0.999 * g["fql/bc time"], g["fql/bc noise"]
    x = t[:, None] * eps + (1 - t[:, None]) * act
    flow_loss = ((behaviour(net["flow"], g, x, t) - (eps - act)) ** 2).mean()
    with torch.no_grad():
        a = one_step(net["actor"], g["batch/next"], g["fql/target noise"]).clamp(-1, 1)
        there = {"batch/obs": g["batch/next"], "batch/act": a}
        y = critics(net["critic_target"], there, F.gelu).mean(-1)
        y = g["batch/reward"] + GAMMA * g["batch/live"] * y
        x = z
        for i in range(10):
            x = x - 0.1 * behaviour(net["flow"], g, x, torch.full_like(t, 1 - i / 10))
    mu = one_step(net["actor"], obs, z)
    q = critics(net["critic"], {"batch/obs": obs, "batch/act": mu.clamp(-1, 1)}, F.gelu)
    return {
        "actor": 10 * ((mu - x.clamp(-1, 1)) ** 2).mean() - q.mean(),
        "flow": flow_loss,
        "critic": ((critics(net["critic"], g, F.gelu) - y[:, None]) ** 2).mean(0).sum(),
    }


def make_networks(name):
    deep, norm = (2, False) if name == "idql" else (4, True)
    hidden = [HIDDEN] * deep
    critic = make_mlp("q", [S + A, *hidden, 1], 2, norm)
    noise_net = make_mlp("time", [TIME, 2 * TIME, TIME])
    noise_net |= make_mlp("trunk", [A + TIME + S, HIDDEN, HIDDEN, HIDDEN, A])
    second = make_mlp("v", [S, *hidden, 1], 1, norm)
    if name == "fql":
        second = make_mlp("trunk", [S + A, *hidden, A])
    return ({"flow": noise_net, "actor": second} if name == "fql" else
            {"actor": noise_net, "value": second}) | {
        "critic": critic,
        "critic_target": {k: v + 0.1 * torch.randn_like(v) for k, v in critic.items()},
    }


def results(name, net, g, dtype):
    g = {k: v.to(dtype) for k, v in g.items()}
    net = {b: {k: v.to(dtype).requires_grad_() for k, v in p.items()} for b, p in net.items()}
    r = {}
    for block, loss in losses(name, net, g).items():
        grads = torch.autograd.grad(loss, list(net[block].values()))
        r[f"{name}/loss/{block}"] = loss.detach().reshape(1)
        r |= {f"{name}/grad/{block}/{k}": v for k, v in zip(net[block], grads)}
    return r


def main():
    torch.manual_seed(7)
    g = {
        "batch/obs": torch.randn(B, S),
        "batch/act": torch.rand(B, A) * 2 - 1,
        "batch/next": torch.randn(B, S),
        "batch/reward": torch.randn(B),
        "batch/live": (torch.arange(B) % 4 != 3).float(),
    }
    for name in NAMES:
        g[f"{name}/bc time"] = (torch.arange(B).float() % T if name == "idql" else torch.rand(B))
        g[f"{name}/bc noise"] = torch.randn(B, A)
    g |= {f"fql/{z} noise": torch.randn(B, A) for z in ("target", "actor")}
    out = {k: v.double() for k, v in g.items()}
    for name in NAMES:
        net = make_networks(name)
        exact, single = (results(name, net, g, d) for d in (torch.float64, torch.float32))
        off = max(((single[k] - exact[k]).norm() / exact[k].norm()).item() for k in exact)
        assert off < 1e-5, off
        print(f"{name}: PyTorch in float32 differs by {off:.1e}")
        out |= exact
        for block, p in net.items():
            out |= {f"{name}/{block}/{k}": v.double() for k, v in p.items()}
    save_file({k: v.contiguous() for k, v in out.items()}, OUT)


if __name__ == "__main__":
    main()
