"""PyTorch, eager, in the manner of the released programs of Diffusion-QL: modules that record a
graph everywhere, one optimiser loop per network, averages parameter by parameter, losses as
Python numbers.  This is what somebody runs who clones such a program."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import problem
import stopwatch
from problem import ACT, BATCH, CLIP, GAMMA, HIDDEN, OBS, RATE, T, TAU

# ---- networks ------------------------------------------------------------------------------------


def mlp(widths, activation=nn.Mish):
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


class TimeEmbedding(nn.Module):
    def __init__(self, frequency=problem.FREQUENCY):
        super().__init__()
        self.register_buffer("frequency", torch.tensor(frequency, dtype=torch.float32))

    def forward(self, t):
        angle = t[:, None] * self.frequency
        return torch.cat((angle.sin(), angle.cos()), 1)


class Denoiser(nn.Module):
    """eps(x_t, t, s)"""

    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(TimeEmbedding(), *mlp((16, 32, 16)))
        self.trunk = mlp((ACT + 16 + OBS, HIDDEN, HIDDEN, HIDDEN, ACT))

    def forward(self, x, t, s):
        return self.trunk(torch.cat((x, self.time(t), s), 1))


class Critics(nn.Module):
    def __init__(self, hidden=3, activation=nn.Mish):
        super().__init__()
        widths = (OBS + ACT, *[HIDDEN] * hidden, 1)
        self.q1, self.q2 = mlp(widths, activation), mlp(widths, activation)

    def forward(self, s, a):
        x = torch.cat((s, a), 1)
        return self.q1(x), self.q2(x)


class DiffusionPolicy(nn.Module):
    def __init__(self):
        super().__init__()
        self.denoiser = Denoiser()
        for name in ("SIGNAL", "NOISE", "FROM_X0", "FROM_X", "SPREAD"):
            table = torch.tensor(getattr(problem, name), dtype=torch.float32)
            self.register_buffer(name.lower(), table)

    def at(self, table, t):
        return getattr(self, table).gather(0, t)[:, None]

    def sample(self, s):
        x = torch.randn(len(s), ACT)
        for k in reversed(range(T)):
            t = torch.full((len(s),), k)
            eps = self.denoiser(x, t, s)
            x0 = ((x - self.at("noise", t) * eps) / self.at("signal", t)).clamp(-1, 1)
            mean = self.at("from_x0", t) * x0 + self.at("from_x", t) * x
            x = mean + self.at("spread", t) * torch.randn_like(x)
        return x.clamp(-1, 1)

    def loss(self, a, s):
        t = torch.randint(0, T, (len(s),))
        eps = torch.randn_like(a)
        x = self.at("signal", t) * a + self.at("noise", t) * eps
        return F.mse_loss(self.denoiser(x, t, s), eps)


class Gaussian(nn.Module):
    """A squashed Gaussian: an action and its log-density."""

    def __init__(self):
        super().__init__()
        self.trunk = mlp((OBS, HIDDEN, HIDDEN, 2 * ACT), nn.ReLU)

    def forward(self, s):
        mean, log_std = self.trunk(s).chunk(2, 1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        u = normal.rsample()
        volume = 2 * (np.log(2) - u - F.softplus(-2 * u))
        return u.tanh(), (normal.log_prob(u) - volume).sum(1, keepdim=True)


# ---- training ------------------------------------------------------------------------------------


class Data:
    def __init__(self, rows=problem.ROWS):
        self.columns = [torch.from_numpy(c.copy()) for c in problem.transitions(rows)]

    def sample(self):
        rows = torch.randint(0, len(self.columns[0]), (BATCH,))
        return [c[rows] for c in self.columns]


def follow(target, network, rate):
    for t, p in zip(target.parameters(), network.parameters()):
        t.data.copy_(rate * p.data + (1 - rate) * t.data)


class DiffusionQl:
    def __init__(self, rows=problem.ROWS):
        self.data = Data(rows)
        self.actor, self.critic = DiffusionPolicy(), Critics()
        self.average, self.target = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_optim = torch.optim.Adam(self.actor.parameters(), lr=RATE)
        self.critic_optim = torch.optim.Adam(self.critic.parameters(), lr=RATE)
        self.steps = 0

    def update(self, s, a, s2, r, live):
        q1, q2 = self.critic(s, a)
        next_q = torch.min(*self.target(s2, self.average.sample(s2)))
        y = (r + live * GAMMA * next_q).detach()
        critic_loss = F.mse_loss(q1, y) + F.mse_loss(q2, y)
        self.critic_optim.zero_grad()
        critic_loss.backward()
        nn.utils.clip_grad_norm_(self.critic.parameters(), CLIP)
        self.critic_optim.step()

        bc_loss = self.actor.loss(a, s)
        q1, q2 = self.critic(s, self.actor.sample(s))
        if np.random.uniform() > 0.5:
            q1, q2 = q2, q1
        q_loss = -q1.mean() / q2.abs().mean().detach()
        self.actor_optim.zero_grad()
        (bc_loss + q_loss).backward()
        nn.utils.clip_grad_norm_(self.actor.parameters(), CLIP)
        self.actor_optim.step()

        if self.steps >= problem.EMA_START and self.steps % problem.EMA_EVERY == 0:
            follow(self.average, self.actor, TAU)
        follow(self.target, self.critic, TAU)
        self.steps += 1
        return critic_loss.item(), bc_loss.item(), q_loss.item()

    def step(self):
        return self.update(*self.data.sample())


class DiffusionBc:
    def __init__(self, rows=problem.ROWS):
        self.data = Data(rows)
        self.actor = DiffusionPolicy()
        self.average = copy.deepcopy(self.actor)
        self.optim = torch.optim.Adam(self.actor.parameters(), lr=RATE)
        self.steps = 0

    def update(self, s, a, s2, r, live):
        loss = self.actor.loss(a, s)
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        if self.steps >= problem.EMA_START and self.steps % problem.EMA_EVERY == 0:
            follow(self.average, self.actor, TAU)
        self.steps += 1
        return (loss.item(),)

    def step(self):
        return self.update(*self.data.sample())


class Sac:
    def __init__(self, rows=problem.ROWS):
        self.data = Data(rows)
        self.actor, self.critic = Gaussian(), Critics(2, nn.ReLU)
        self.target = copy.deepcopy(self.critic)
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.actor_optim = torch.optim.Adam(self.actor.parameters(), lr=RATE)
        rate = problem.SAC_CRITIC_RATE
        self.critic_optim = torch.optim.Adam(self.critic.parameters(), lr=rate)
        self.alpha_optim = torch.optim.Adam([self.log_alpha], lr=rate)

    def update(self, s, a, s2, r, live):
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            a2, log_prob = self.actor(s2)
            next_q = torch.min(*self.target(s2, a2)) - alpha * log_prob
            y = r + live * GAMMA * next_q
        q1, q2 = self.critic(s, a)
        critic_loss = F.mse_loss(q1, y) + F.mse_loss(q2, y)
        self.critic_optim.zero_grad()
        critic_loss.backward()
        self.critic_optim.step()

        pi, log_prob = self.actor(s)
        actor_loss = (alpha * log_prob - torch.min(*self.critic(s, pi))).mean()
        self.actor_optim.zero_grad()
        actor_loss.backward()
        self.actor_optim.step()

        alpha_loss = -(self.log_alpha.exp() * (log_prob - ACT).detach()).mean()
        self.alpha_optim.zero_grad()
        alpha_loss.backward()
        self.alpha_optim.step()
        follow(self.target, self.critic, TAU)
        return critic_loss.item(), actor_loss.item(), alpha_loss.item()

    def step(self):
        return self.update(*self.data.sample())


# ---- acting --------------------------------------------------------------------------------------


def acting(candidates):
    """Observation in, action out; one of the candidates by a softmax of the lesser Q."""
    actor, target, obs = DiffusionPolicy(), Critics(), np.zeros(OBS, np.float32)

    @torch.no_grad()
    def act():
        s = torch.from_numpy(obs)[None].repeat_interleave(candidates, 0)
        a = actor.sample(s)
        if candidates == 1:
            return a[0].numpy()
        q = torch.min(*target(s, a)).flatten()
        return a[torch.multinomial(F.softmax(q, 0), 1)][0].numpy()

    return act


WORKLOADS = {
    "diffusion-ql-step": lambda: stopwatch.time_blocks(DiffusionQl().step),
    "diffusion-bc-step": lambda: stopwatch.time_blocks(DiffusionBc().step),
    "sac-step": lambda: stopwatch.time_blocks(Sac().step),
    "action-1": lambda: stopwatch.time_blocks(acting(1)),
    "action-50": lambda: stopwatch.time_blocks(acting(problem.CANDIDATES)),
    "latency": lambda: stopwatch.time_single(acting(1)),
    "startup": lambda: stopwatch.time_start(lambda: DiffusionQl(rows=10_000).step()),
}

if __name__ == "__main__":
    stopwatch.main(WORKLOADS)
