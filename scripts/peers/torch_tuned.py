"""PyTorch as fast as it goes: losses without needless graphs, noise drawn in one call, coefficients
as numbers, time embeddings of the chain's T steps alone, Adam and averages fused.  What runs the
losses is the first word of the command line:

    scripted   TorchScript; frozen and optimised for inference when acting
    compiled   torch.compile, with Mish from one exponential, so that it fuses"""

import copy
import sys

import numpy as np
import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import nn

import problem
import stopwatch
from problem import ACT, BATCH, CANDIDATES, CLIP, GAMMA, OBS, RATE, T, TAU
from torch_published import Critics, Denoiser, Gaussian

# ---- how a module is run -------------------------------------------------------------------------


class OneExponentialMish(nn.Module):
    """x tanh(softplus(x)) = x n / (n + 2), n = e^x (e^x + 2)"""

    def forward(self, x):
        e = torch.exp(torch.clamp(x, max=20.0))
        n = e * (e + 2)
        return x * (n / (n + 2))


def replace_mish(module):
    for name, child in module.named_children():
        if isinstance(child, nn.Mish):
            setattr(module, name, OneExponentialMish())
        replace_mish(child)
    return module


def compiled(module):
    return torch.compile(replace_mish(module), fullgraph=True, dynamic=False)


def frozen(module):
    return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(module.eval())))


TRAINED = {"scripted": torch.jit.script, "compiled": compiled}
ACTING = {"scripted": frozen, "compiled": compiled}

# ---- losses --------------------------------------------------------------------------------------


class Chain(nn.Module):
    """Samples actions from noise[0]; noise[T - k] is added by step k > 0.  noise [T, len(s), ACT]"""

    def __init__(self, denoiser):
        super().__init__()
        self.time, self.trunk = denoiser.time, denoiser.trunk
        self.register_buffer("steps", torch.arange(T))
        tables = (problem.SIGNAL, problem.NOISE, problem.FROM_X0, problem.FROM_X, problem.SPREAD)
        self.rows = [[float(c) for c in row] for row in zip(*tables)]

    def forward(self, s, noise):
        embedding, x, last = self.time(self.steps), noise[0], len(self.rows) - 1
        for i in range(len(self.rows)):
            signal, sigma, from_x0, from_x, spread = self.rows[last - i]
            time = embedding[last - i].expand(len(s), -1)
            eps = self.trunk(torch.cat((x, time, s), 1))
            x0 = ((x - sigma * eps) / signal).clamp(-1.0, 1.0)
            x = from_x0 * x0 + from_x * x
            if i < last:
                x = x + spread * noise[i + 1]
        return x.clamp(-1.0, 1.0)


class BcLoss(nn.Module):
    def __init__(self, denoiser):
        super().__init__()
        self.time, self.trunk = denoiser.time, denoiser.trunk
        self.register_buffer("steps", torch.arange(T))
        self.register_buffer("signal", torch.tensor(problem.SIGNAL, dtype=torch.float32)[:, None])
        self.register_buffer("noise", torch.tensor(problem.NOISE, dtype=torch.float32)[:, None])

    def forward(self, s, a, t, eps):
        x = self.signal[t] * a + self.noise[t] * eps
        predicted = self.trunk(torch.cat((x, self.time(self.steps)[t], s), 1))
        return F.mse_loss(predicted, eps)


class QlCriticLoss(nn.Module):
    def __init__(self, average, critic, target):
        super().__init__()
        self.chain, self.critic, self.target = Chain(average), critic, target
        self.gamma = GAMMA

    def forward(self, s, a, s2, r, live, noise):
        with torch.no_grad():
            q1, q2 = self.target(s2, self.chain(s2, noise))
            y = r + live * self.gamma * torch.min(q1, q2)
        q1, q2 = self.critic(s, a)
        return F.mse_loss(q1, y) + F.mse_loss(q2, y)


class QlActorLoss(nn.Module):
    """climbs one critic, scaled by the other"""

    def __init__(self, actor, climbed, scale):
        super().__init__()
        self.bc, self.chain, self.climbed, self.scale = BcLoss(actor), Chain(actor), climbed, scale

    def forward(self, s, a, t, eps, noise):
        bc = self.bc(s, a, t, eps)
        x = torch.cat((s, self.chain(s, noise)), 1)
        with torch.no_grad():
            scale = self.scale(x).abs().mean()
        q = -self.climbed(x).mean() / scale
        return bc + q, bc, q


class SquashedGaussian(nn.Module):
    """An action and its log-density; noise [len(s), ACT]."""

    def __init__(self, gaussian):
        super().__init__()
        self.trunk = gaussian.trunk

    def forward(self, s, noise):
        mean, log_std = self.trunk(s).chunk(2, 1)
        log_std = log_std.clamp(-20.0, 2.0)
        u = mean + log_std.exp() * noise
        volume = 2 * (0.6931471805599453 - u - F.softplus(-2 * u))
        density = -0.5 * noise * noise - log_std - 0.9189385332046727
        return u.tanh(), (density - volume).sum(1, keepdim=True)


class SacCriticLoss(nn.Module):
    def __init__(self, actor, critic, target):
        super().__init__()
        self.actor, self.critic, self.target = SquashedGaussian(actor), critic, target
        self.gamma = GAMMA

    def forward(self, s, a, s2, r, live, log_alpha, noise):
        with torch.no_grad():
            a2, log_prob = self.actor(s2, noise)
            q1, q2 = self.target(s2, a2)
            y = r + live * self.gamma * (torch.min(q1, q2) - log_alpha.exp() * log_prob)
        q1, q2 = self.critic(s, a)
        return F.mse_loss(q1, y) + F.mse_loss(q2, y)


class SacActorLoss(nn.Module):
    """of the policy, and of the temperature"""

    def __init__(self, actor, critic):
        super().__init__()
        self.actor, self.critic = SquashedGaussian(actor), critic
        self.target_entropy = -float(ACT)

    def forward(self, s, log_alpha, noise):
        a, log_prob = self.actor(s, noise)
        q1, q2 = self.critic(s, a)
        alpha = log_alpha.exp()
        policy = (alpha.detach() * log_prob - torch.min(q1, q2)).mean()
        return policy, -(alpha * (log_prob.detach() + self.target_entropy)).mean()


# ---- training ------------------------------------------------------------------------------------


class Data:
    def __init__(self, rows=problem.ROWS):
        self.rows = torch.from_numpy(problem.packed_transitions(rows))

    def sample(self):
        batch = self.rows[torch.randint(0, len(self.rows), (BATCH,))]
        return batch.tensor_split(problem.CUTS.tolist(), 1)  # s, a, s', r, live


def adam(network, rate=RATE):
    return torch.optim.Adam(network.parameters(), lr=rate, fused=True)


def descend(loss, optim, limit=None):
    optim.zero_grad(set_to_none=True)
    loss.backward()
    if limit:
        nn.utils.clip_grad_norm_(optim.param_groups[0]["params"], limit, foreach=True)
    optim.step()


@torch.no_grad()
def follow(target, network):
    torch._foreach_lerp_(list(target.parameters()), list(network.parameters()), TAU)


def frozen_copy(network):
    return copy.deepcopy(network).requires_grad_(False)


class DiffusionQl:
    def __init__(self, run, rows=problem.ROWS):
        self.data, self.steps = Data(rows), 0
        self.actor, self.critic = Denoiser(), Critics()
        self.start(run)

    def start(self, run):
        self.average, self.target = frozen_copy(self.actor), frozen_copy(self.critic)
        self.actor_optim, self.critic_optim = adam(self.actor), adam(self.critic)
        q1, q2 = self.critic.q1, self.critic.q2
        self.critic_loss = run(QlCriticLoss(self.average, self.critic, self.target))
        self.actor_losses = [run(QlActorLoss(self.actor, *q)) for q in ((q1, q2), (q2, q1))]

    def update(self, batch, chain2, t, eps, chain, coin):
        s, a, *_ = batch
        critic_loss = self.critic_loss(*batch, chain2)
        descend(critic_loss, self.critic_optim, CLIP)
        self.critic.requires_grad_(False)
        actor_loss, bc, q = self.actor_losses[coin](s, a, t, eps, chain)
        descend(actor_loss, self.actor_optim, CLIP)
        self.critic.requires_grad_(True)
        if self.steps >= problem.EMA_START and self.steps % problem.EMA_EVERY == 0:
            follow(self.average, self.actor)
        follow(self.target, self.critic)
        self.steps += 1
        return critic_loss, bc, q

    def step(self):
        z, t = torch.randn(2 * T + 1, BATCH, ACT), torch.randint(0, T, (BATCH,))
        coin = int(np.random.uniform() > 0.5)
        return self.update(self.data.sample(), z[:T], t, z[T], z[T + 1 :], coin)


class DiffusionBc:
    def __init__(self, run, rows=problem.ROWS):
        self.data, self.steps = Data(rows), 0
        self.actor = Denoiser()
        self.start(run)

    def start(self, run):
        self.average, self.optim = frozen_copy(self.actor), adam(self.actor)
        self.loss = run(BcLoss(self.actor))

    def update(self, batch, t, eps):
        s, a, *_ = batch
        loss = self.loss(s, a, t, eps)
        descend(loss, self.optim)
        if self.steps >= problem.EMA_START and self.steps % problem.EMA_EVERY == 0:
            follow(self.average, self.actor)
        self.steps += 1
        return (loss,)

    def step(self):
        t, eps = torch.randint(0, T, (BATCH,)), torch.randn(BATCH, ACT)
        return self.update(self.data.sample(), t, eps)


class Sac:
    def __init__(self, run, rows=problem.ROWS):
        self.data = Data(rows)
        self.actor, self.critic = Gaussian(), Critics(2, nn.ReLU)
        self.start(run)

    def start(self, run):
        self.target = frozen_copy(self.critic)
        self.log_alpha = nn.Parameter(torch.zeros(1))
        rate = problem.SAC_CRITIC_RATE
        self.actor_optim, self.critic_optim = adam(self.actor), adam(self.critic, rate)
        self.alpha_optim = torch.optim.Adam([self.log_alpha], lr=rate, fused=True)
        self.critic_loss = run(SacCriticLoss(self.actor, self.critic, self.target))
        self.actor_loss = run(SacActorLoss(self.actor, self.critic))

    def update(self, batch, noise2, noise):
        critic_loss = self.critic_loss(*batch, self.log_alpha, noise2)
        descend(critic_loss, self.critic_optim)
        self.critic.requires_grad_(False)
        actor_loss, alpha_loss = self.actor_loss(batch[0], self.log_alpha, noise)
        self.alpha_optim.zero_grad(set_to_none=True)
        descend(actor_loss + alpha_loss, self.actor_optim)  # no parameter belongs to both
        self.alpha_optim.step()
        self.critic.requires_grad_(True)
        follow(self.target, self.critic)
        return critic_loss, actor_loss, alpha_loss

    def step(self):
        noise2, noise = torch.randn(2, BATCH, ACT)
        return self.update(self.data.sample(), noise2, noise)


# ---- acting --------------------------------------------------------------------------------------


class Choice(nn.Module):
    """One of CANDIDATES actions, by a softmax of the lesser Q."""

    def __init__(self, denoiser, critics):
        super().__init__()
        self.chain, self.critics, self.candidates = Chain(denoiser), critics, CANDIDATES

    def forward(self, s, noise):
        s = s.expand(self.candidates, -1)
        a = self.chain(s, noise)
        q1, q2 = self.critics(s, a)
        choice = torch.multinomial(F.softmax(torch.min(q1, q2).flatten(), 0), 1)
        return a[choice]


def time_acting(module, run, rows):
    torch._inductor.config.freezing = True
    obs, act = np.zeros(OBS, np.float32), run(module.requires_grad_(False))

    def call():
        with torch.no_grad():
            return act(torch.from_numpy(obs)[None], torch.randn(T, rows, ACT))[0].numpy()

    stopwatch.time_calls(call)


def workloads(how):
    train, act = TRAINED[how], ACTING[how]
    return {
        "diffusion-ql-step": lambda: stopwatch.time_steps(DiffusionQl(train).step),
        "diffusion-bc-step": lambda: stopwatch.time_steps(DiffusionBc(train).step),
        "sac-step": lambda: stopwatch.time_steps(Sac(train).step),
        "action-1": lambda: time_acting(Chain(Denoiser()), act, 1),
        "action-50": lambda: time_acting(Choice(Denoiser(), Critics()), act, CANDIDATES),
        "startup": lambda: stopwatch.time_start(lambda: DiffusionQl(train, rows=10_000).step()),
    }


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    torch._inductor.config.cpp_wrapper = True
    stopwatch.main(workloads(sys.argv.pop(1)))
