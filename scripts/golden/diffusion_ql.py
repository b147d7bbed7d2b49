"""One training step of Diffusion-QL in PyTorch: tests/golden/diffusion_ql.safetensors.

Networks, losses and order of updates follow the paper (arXiv 2208.06193) and its released code;
only the hidden width is 32 instead of 256.  Everything random is in the file, so the step can be
repeated anywhere.  Inputs are float32 numbers, results float64; the same step in float32 must
agree.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/diffusion_ql.py

What is in the file (B = 8 rows, S = 11, A = 3, T = 5 denoising steps; weights are [in, out]):

    actor/*, actor_ema/*            noise network: time/0..1/{w,b}, trunk/0..3/{w,b}
    critic/*, critic_target/*       two critics as one ensemble: 0..3/w [2, in, out], /b [2, out]
    batch/{obs,act,reward,next_obs,live}                      live = 1 - done
    target_chain/{x_T,noise}, actor_chain/{x_T,noise}         noise [T, B, A]: row k belongs to
                                                              t = T-1-k; none is used at t = 0
    bc/{t,eps}                                                of the behaviour-cloning loss
    time_embedding                  [T, 16], 8 sines, then 8 cosines
    target_chain/action, actor_chain/action                   the samples, clipped
    target/{q,y}, critic_loss/{q,value}, grad/critic/*, grad_norm/critic
    bc_loss, grad/bc/actor/*                                  mean over rows and action dimensions
    actor_loss/{q,q_loss_0,q_loss_1,total_0,total_1}          eta = 1; coin 0: Q1 over mean |Q2|
    grad/total_0/actor/*, grad/total_1/actor/*, grad_norm/total_{0,1}
    step_clip9/*, step_clip0.05/*   critic and actor after one Adam step with that gradient clip;
                                    {critic,actor}_grad_norm, before the clip, and _moment_norm,
                                    of Adam's first moment (it shows the clip, which the first
                                    Adam step itself hardly does); step_clip9/critic_target/*

Losses and gradients belong to the weights as given.  A whole step is sequential, as in the
released code: the actor's loss there sees the critic that has just been updated.
"""

import copy
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

OUT = Path(__file__).resolve().parents[2] / "tests/golden/diffusion_ql.safetensors"
B, S, A, HIDDEN, T, TIME_DIM = 8, 11, 3, 32, 5, 16
DISCOUNT, TAU, LR, ETA = 0.99, 0.005, 3e-4, 1.0


def time_embedding(t, dtype):
    """Sines, then cosines, of t exp(-k ln(10000) / 7), k = 0..7."""
    half = TIME_DIM // 2
    frequency = torch.exp(-torch.arange(half, dtype=dtype) * (math.log(10000) / (half - 1)))
    angle = t.to(dtype)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def mlp(*widths):
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.Mish()]
    return nn.Sequential(*layers[:-1])


class NoiseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = mlp(TIME_DIM, 2 * TIME_DIM, TIME_DIM)
        self.trunk = mlp(A + TIME_DIM + S, HIDDEN, HIDDEN, HIDDEN, A)

    def forward(self, x, t, obs):
        return self.trunk(torch.cat([x, self.time(time_embedding(t, x.dtype)), obs], dim=-1))


class TwinCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.ModuleList(mlp(S + A, HIDDEN, HIDDEN, HIDDEN, 1) for _ in range(2))

    def forward(self, obs, act):
        sa = torch.cat([obs, act], dim=-1)
        return torch.cat([q(sa) for q in self.q], dim=-1)  # [B, 2]


class Diffusion:
    """VP: beta_n = 1 - exp(-bmin/T - (bmax-bmin)(2n-1)/(2T^2)), n = t+1, bmin 0.1, bmax 10."""

    def __init__(self, dtype):
        n = torch.arange(1, T + 1, dtype=torch.float64)
        beta = 1 - torch.exp(-0.1 / T - 0.5 * (10 - 0.1) * (2 * n - 1) / T**2)
        abar = torch.cumprod(1 - beta, 0)
        before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
        self.abar = abar.to(dtype)
        self.c1 = (beta * before.sqrt() / (1 - abar)).to(dtype)
        self.c2 = ((1 - before) * (1 - beta).sqrt() / (1 - abar)).to(dtype)
        self.std = (beta * (1 - before) / (1 - abar)).clamp(min=1e-20).sqrt().to(dtype)

    def sample(self, net, obs, x, noise):
        """DDPM with x0 clipped in every step; gradients flow through the whole chain."""
        for k, t in enumerate(reversed(range(T))):
            eps = net(x, torch.full((len(x),), t), obs)
            x0 = x / self.abar[t].sqrt() - (1 / self.abar[t] - 1).sqrt() * eps
            x = self.c1[t] * x0.clamp(-1, 1) + self.c2[t] * x
            if t > 0:
                x = x + self.std[t] * noise[k]
        return x.clamp(-1, 1)

    def bc_loss(self, net, obs, act, t, eps):
        abar = self.abar[t][:, None]
        return ((eps - net(abar.sqrt() * act + (1 - abar).sqrt() * eps, t, obs)) ** 2).mean()


class Learner:
    """The four networks in one number type, and the paper's losses."""

    def __init__(self, networks, given, dtype):
        self.actor, self.actor_ema, self.critic, self.critic_target = (
            copy.deepcopy(net).to(dtype) for net in networks)
        self.g = {k: v if k == "bc/t" else v.to(dtype) for k, v in given.items()}
        self.diffusion = Diffusion(dtype)

    def sample(self, net, chain, obs):
        return self.diffusion.sample(net, obs, self.g[f"{chain}/x_T"], self.g[f"{chain}/noise"])

    @torch.no_grad()
    def target(self):
        g = self.g
        action = self.sample(self.actor_ema, "target_chain", g["batch/next_obs"])
        q = self.critic_target(g["batch/next_obs"], action)
        y = g["batch/reward"] + g["batch/live"] * DISCOUNT * q.min(dim=1).values
        return action, q, y

    def critic_loss(self):
        q = self.critic(self.g["batch/obs"], self.g["batch/act"])
        return q, ((q - self.target()[2][:, None]) ** 2).mean(dim=0).sum()

    def bc_loss(self):
        batch = (self.g[k] for k in ("batch/obs", "batch/act", "bc/t", "bc/eps"))
        return self.diffusion.bc_loss(self.actor, *batch)

    def q_loss(self, coin):
        action = self.sample(self.actor, "actor_chain", self.g["batch/obs"])
        q = self.critic(self.g["batch/obs"], action)
        return action, q, -q[:, coin].mean() / q[:, 1 - coin].abs().mean().detach()

    def actor_loss(self, coin):
        return self.bc_loss() + ETA * self.q_loss(coin)[2]


def gradients(loss, net):
    """The net's gradients as a network of the same shape, and their global norm."""
    grads = torch.autograd.grad(loss, list(net.parameters()))
    like = copy.deepcopy(net)
    for p, g in zip(like.parameters(), grads):
        p.data.copy_(g)
    return like, torch.cat([g.flatten() for g in grads]).norm()


def adam_step(net, loss, clip):
    """Clip by global norm, one step; returns the norm before the clip and of the first moment."""
    optimizer = torch.optim.Adam(net.parameters(), lr=LR)
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()
    moments = [optimizer.state[p]["exp_avg"].flatten() for p in net.parameters()]
    return norm, torch.cat(moments).norm()


def slots(prefix, net):
    """Tensors by slot name; weights [in, out], the two critics stacked."""
    def linear(sequence):
        return [m for m in sequence if isinstance(m, nn.Linear)]

    if isinstance(net, NoiseNet):
        return {f"{prefix}/{part}/{i}/{k}": v
                for part in ("time", "trunk")
                for i, m in enumerate(linear(getattr(net, part)))
                for k, v in (("w", m.weight.T), ("b", m.bias))}
    return {f"{prefix}/{i}/{k}": torch.stack(v)
            for i, pair in enumerate(zip(*(linear(q) for q in net.q)))
            for k, v in (("w", [m.weight.T for m in pair]), ("b", [m.bias for m in pair]))}


def make_networks():
    """PyTorch's default initial weights; the slow copies differ by a few percent."""
    actor, critic = NoiseNet(), TwinCritic()
    slow = []
    for net in (actor, critic):
        net = copy.deepcopy(net)
        for p in net.parameters():
            p.data += 0.05 * torch.randn_like(p)
        slow.append(net)
    return actor, slow[0], critic, slow[1]


def make_given():
    return {
        "batch/obs": torch.randn(B, S),
        "batch/act": torch.rand(B, A) * 2 - 1,
        "batch/reward": torch.randn(B),
        "batch/next_obs": torch.randn(B, S),
        "batch/live": torch.tensor([1.0, 1, 0, 1, 1, 1, 0, 1]),
        "target_chain/x_T": torch.randn(B, A),
        "target_chain/noise": torch.randn(T, B, A),
        "bc/t": torch.tensor([0, 1, 2, 3, 4, 2, 0, 4]),
        "bc/eps": torch.randn(B, A),
        "actor_chain/x_T": torch.randn(B, A),
        "actor_chain/noise": torch.randn(T, B, A),
    }


def losses(networks, given, dtype):
    learner = Learner(networks, given, dtype)
    r = {"time_embedding": time_embedding(torch.arange(T), dtype)}
    r["target_chain/action"], r["target/q"], r["target/y"] = learner.target()
    r["critic_loss/q"], r["critic_loss/value"] = learner.critic_loss()
    grad, r["grad_norm/critic"] = gradients(r["critic_loss/value"], learner.critic)
    r |= slots("grad/critic", grad)
    r["bc_loss"] = learner.bc_loss()
    r |= slots("grad/bc/actor", gradients(r["bc_loss"], learner.actor)[0])
    for coin in (0, 1):
        action, q, r[f"actor_loss/q_loss_{coin}"] = learner.q_loss(coin)
        r |= {"actor_chain/action": action, "actor_loss/q": q}
        total = r[f"actor_loss/total_{coin}"] = learner.actor_loss(coin)
        grad, r[f"grad_norm/total_{coin}"] = gradients(total, learner.actor)
        r |= slots(f"grad/total_{coin}/actor", grad)
    return r


def whole_step(networks, given, dtype, clip):
    """Critic, then actor (coin 0) against the new critic, then the critic's target."""
    learner = Learner(networks, given, dtype)
    r = {}
    for name, net, loss in (("critic", learner.critic, lambda: learner.critic_loss()[1]),
                            ("actor", learner.actor, lambda: learner.actor_loss(0))):
        r[f"{name}_grad_norm"], r[f"{name}_moment_norm"] = adam_step(net, loss(), clip)
        r |= slots(name, net)
    if clip == 9:  # the target's rule does not know the clip: once is enough
        for slow, fast in zip(learner.critic_target.parameters(), learner.critic.parameters()):
            slow.data.copy_(TAU * fast.data + (1 - TAU) * slow.data)
        r |= slots("critic_target", learner.critic_target)
    return {f"step_clip{clip:g}/{k}": v for k, v in r.items()}


def results(networks, given, dtype):
    r = losses(networks, given, dtype)
    for clip in (9, 0.05):
        r |= whole_step(networks, given, dtype, clip)
    return {k: v.detach().reshape(v.shape or (1,)).contiguous() for k, v in r.items()}


def check(exact, single):
    """The clips do what their names say, coins and masks matter, and float32 agrees."""
    for name in ("critic", "actor"):
        assert 0.05 < exact[f"step_clip0.05/{name}_grad_norm"] < 9
        assert abs(exact[f"step_clip0.05/{name}_moment_norm"] - 0.1 * 0.05) < 1e-6
    assert abs(exact["actor_loss/total_0"] - exact["actor_loss/total_1"]) > 1e-3
    assert exact["target/q"].argmin(dim=1).unique().numel() == 2, "either critic is the smaller"
    for q in exact["actor_loss/q"].T:
        assert q.min() < 0 < q.max(), "mean |Q| is not |mean Q|"
    inside = (exact["actor_chain/action"].abs() < 1).float().mean()
    assert 0.1 < inside < 1, "some actions at the bounds, some inside"
    worst = max((((exact[k] - single[k].double()).abs().max() / exact[k].abs().max()).item(), k)
                for k in exact)
    print(f"float32 and float64 agree to {worst[0]:.1e} of a tensor's largest element ({worst[1]})")
    assert worst[0] < 1e-4


def main():
    torch.manual_seed(11)
    torch.set_num_threads(1)
    networks, given = make_networks(), make_given()
    exact = results(networks, given, torch.float64)
    check(exact, results(networks, given, torch.float32))
    names = ("actor", "actor_ema", "critic", "critic_target")
    inputs = {k: v for name, net in zip(names, networks) for k, v in slots(name, net).items()}
    inputs |= given
    tensors = exact | {k: v.detach().float().contiguous() for k, v in inputs.items()}
    save_file(tensors, OUT, metadata={"made_by": "scripts/golden/diffusion_ql.py"})
    for k in ("critic_loss/value", "bc_loss", "actor_loss/total_0", "actor_loss/total_1",
              "grad_norm/critic", "grad_norm/total_0", "grad_norm/total_1"):
        print(f"{k:20} {exact[k].item():.10f}")
    print(f"{OUT.name}: {len(tensors)} tensors, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
