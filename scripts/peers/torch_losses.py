"""The losses and the acting of `torch_published.py` without what they do not need: modules that
take their noise as an argument, for TorchScript and torch.compile. The loss to be minimised comes
first."""

import torch
import torch.nn.functional as F
from torch import nn

import problem
from problem import ACT, BATCH, CANDIDATES, GAMMA, T


class Chain(nn.Module):
    """Samples actions from noise[0]; step k > 0 adds noise[T - k].  noise [T, len(s), ACT]"""

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

    @torch.jit.unused
    def noise(self):
        return torch.randn(T, 1, ACT)


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
        return (F.mse_loss(predicted, eps),)


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
        return (F.mse_loss(q1, y) + F.mse_loss(q2, y),)


class QlActorLoss(nn.Module):
    """climbs one critic, scaled by the other"""

    def __init__(self, actor, climbed, scale):
        super().__init__()
        self.bc, self.chain, self.climbed, self.scale = BcLoss(actor), Chain(actor), climbed, scale

    def forward(self, s, a, t, eps, noise):
        bc = self.bc(s, a, t, eps)[0]
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
    def __init__(self, actor, critic, target, log_alpha):
        super().__init__()
        self.actor, self.critic, self.target = SquashedGaussian(actor), critic, target
        self.log_alpha, self.gamma = log_alpha, GAMMA

    def forward(self, s, a, s2, r, live, noise):
        with torch.no_grad():
            a2, log_prob = self.actor(s2, noise)
            q1, q2 = self.target(s2, a2)
            y = r + live * self.gamma * (torch.min(q1, q2) - self.log_alpha.exp() * log_prob)
        q1, q2 = self.critic(s, a)
        return (F.mse_loss(q1, y) + F.mse_loss(q2, y),)


class SacActorLoss(nn.Module):
    """and the log-densities, for the temperature"""

    def __init__(self, actor, critic, log_alpha):
        super().__init__()
        self.actor, self.critic, self.log_alpha = SquashedGaussian(actor), critic, log_alpha

    def forward(self, s, noise):
        a, log_prob = self.actor(s, noise)
        q1, q2 = self.critic(s, a)
        alpha = self.log_alpha.detach().exp()
        return (alpha * log_prob - torch.min(q1, q2)).mean(), log_prob.detach()


class AlphaLoss(nn.Module):
    def __init__(self, log_alpha):
        super().__init__()
        self.log_alpha, self.target_entropy = log_alpha, -float(ACT)

    def forward(self, log_prob):
        return (-(self.log_alpha.exp() * (log_prob + self.target_entropy)).mean(),)


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

    @torch.jit.unused
    def noise(self):
        return torch.randn(T, CANDIDATES, ACT)


class Data:
    """A batch is one gather of packed rows."""

    def __init__(self, rows=problem.ROWS):
        self.rows = torch.from_numpy(problem.packed_transitions(rows))
        self.cuts = problem.CUTS.tolist()

    def sample(self):
        batch = self.rows[torch.randint(0, len(self.rows), (BATCH,))]
        return batch.tensor_split(self.cuts, 1)  # s, a, s', r, live


def ql_noise():
    """for both chains and the denoising loss, and the coin"""
    z, t = torch.randn(2 * T + 1, BATCH, ACT), torch.randint(0, T, (BATCH,))
    return z[:T], t, z[T], z[T + 1 :], int(torch.rand(()) > 0.5)


def bc_noise():
    return torch.randint(0, T, (BATCH,)), torch.randn(BATCH, ACT)


def sac_noise():
    return torch.randn(2, BATCH, ACT).unbind()


@torch.no_grad()
def follow(target, network):
    torch._foreach_lerp_(list(target.parameters()), list(network.parameters()), problem.TAU)


def moves(step):
    """Does the actor's average move after this step?"""
    return step >= problem.EMA_START and step % problem.EMA_EVERY == 0
