"""PyTorch under torch.compile: a whole update, from the losses to the targets, is one compiled
graph with its gradients inside, and Mish from one exponential, so that it fuses; so is acting,
with the weights frozen."""

import copy

import numpy as np
import torch
import torch._inductor.config
from torch import nn
from torch.func import functional_call, grad

import problem
import stopwatch
from problem import CLIP, OBS, RATE, TAU
from torch_losses import (AlphaLoss, BcLoss, Chain, Choice, Data, QlActorLoss, QlCriticLoss,
                          SacActorLoss, SacCriticLoss, bc_noise, follow, moves, ql_noise, sac_noise)
from torch_published import Critics, Denoiser, Gaussian


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


def compiled(function):
    return torch.compile(function, fullgraph=True, dynamic=False)


class Adam:
    """Of those parameters of a loss whose names begin so; written out, to be compiled with it."""

    def __init__(self, loss, names, rate=RATE, limit=None):
        self.params = {k: p for k, p in loss.named_parameters() if k.startswith(names)}
        self.m, self.v = ({k: torch.zeros_like(p) for k, p in self.params.items()} for _ in "mv")
        self.rate, self.limit, self.n = rate, limit, torch.zeros(())

    def descend(self, loss, *inputs):
        def value(params):
            # parts of a loss share their submodules, so there is nothing to tie
            found = functional_call(loss, params, inputs, tie_weights=False)
            return found[0], [f.detach() for f in found]

        grads, found = grad(value, has_aux=True)(self.params)
        if self.limit:
            norm = torch.sqrt(sum((g * g).sum() for g in grads.values()))
            scale = torch.clamp(self.limit / (norm + 1e-6), max=1.0)
            grads = {k: g * scale for k, g in grads.items()}
        self.n.add_(1)
        c1, c2 = 1 - 0.9**self.n, 1 - 0.999**self.n
        for k, p in self.params.items():
            self.m[k].lerp_(grads[k], 0.1)
            self.v[k].lerp_(grads[k] * grads[k], 0.001)
            p.sub_(self.rate * (self.m[k] / c1) / (torch.sqrt(self.v[k] / c2) + 1e-8))
        return found


def follow_traced(target, network):
    for t, p in zip(target.parameters(), network.parameters()):
        t.lerp_(p, TAU)


def without_graph(*networks):
    for network in networks:
        network.requires_grad_(False)


class DiffusionQl:
    def __init__(self, rows=problem.ROWS):
        self.data, self.steps = Data(rows), 0
        self.actor, self.critic = replace_mish(Denoiser()), replace_mish(Critics())
        self.start()

    def start(self):
        without_graph(self.actor, self.critic)
        self.average, self.target = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        q1, q2 = self.critic.q1, self.critic.q2
        self.critic_loss = QlCriticLoss(self.average, self.critic, self.target)
        self.actor_losses = [QlActorLoss(self.actor, *q) for q in ((q1, q2), (q2, q1))]
        self.critic_adam = Adam(self.critic_loss, "critic.", limit=CLIP)
        self.actor_adam = Adam(self.actor_losses[0], "bc.", limit=CLIP)
        self.compiled_update = compiled(self.traced_update)

    def traced_update(self, batch, chain2, t, eps, chain, coin):
        s, a, *_ = batch
        (critic_loss,) = self.critic_adam.descend(self.critic_loss, *batch, chain2)
        _, bc, q = self.actor_adam.descend(self.actor_losses[coin], s, a, t, eps, chain)
        follow_traced(self.target, self.critic)
        return critic_loss, bc, q

    @torch.no_grad()
    def update(self, batch, *noise):
        losses = self.compiled_update(batch, *noise)
        if moves(self.steps):
            follow(self.average, self.actor)
        self.steps += 1
        return losses

    def step(self):
        return self.update(self.data.sample(), *ql_noise())


class DiffusionBc:
    def __init__(self, rows=problem.ROWS):
        self.data, self.steps = Data(rows), 0
        self.actor = replace_mish(Denoiser())
        self.start()

    def start(self):
        without_graph(self.actor)
        self.average, self.loss = copy.deepcopy(self.actor), BcLoss(self.actor)
        self.adam = Adam(self.loss, "")
        self.compiled_update = compiled(self.traced_update)

    def traced_update(self, batch, t, eps):
        s, a, *_ = batch
        return self.adam.descend(self.loss, s, a, t, eps)

    @torch.no_grad()
    def update(self, batch, *noise):
        losses = self.compiled_update(batch, *noise)
        if moves(self.steps):
            follow(self.average, self.actor)
        self.steps += 1
        return losses

    def step(self):
        return self.update(self.data.sample(), *bc_noise())


class Sac:
    def __init__(self, rows=problem.ROWS):
        self.data = Data(rows)
        self.actor, self.critic = Gaussian(), Critics(2, nn.ReLU)
        self.start()

    def start(self):
        without_graph(self.actor, self.critic)
        log_alpha = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.target, rate = copy.deepcopy(self.critic), problem.SAC_CRITIC_RATE
        self.critic_loss = SacCriticLoss(self.actor, self.critic, self.target, log_alpha)
        self.actor_loss = SacActorLoss(self.actor, self.critic, log_alpha)
        self.alpha_loss = AlphaLoss(log_alpha)
        self.critic_adam = Adam(self.critic_loss, "critic.", rate)
        self.actor_adam = Adam(self.actor_loss, "actor.")
        self.alpha_adam = Adam(self.alpha_loss, "log_alpha", rate)
        self.compiled_update = compiled(self.traced_update)

    def traced_update(self, batch, noise2, noise):
        (critic_loss,) = self.critic_adam.descend(self.critic_loss, *batch, noise2)
        actor_loss, log_prob = self.actor_adam.descend(self.actor_loss, batch[0], noise)
        (alpha_loss,) = self.alpha_adam.descend(self.alpha_loss, log_prob)
        follow_traced(self.target, self.critic)
        return critic_loss, actor_loss, alpha_loss

    @torch.no_grad()
    def update(self, *inputs):
        return self.compiled_update(*inputs)

    def step(self):
        return self.update(self.data.sample(), *sac_noise())


def acting(module):
    inductor = torch._inductor.config
    inductor.freezing = inductor.max_autotune = True
    inductor.max_autotune_gemm_backends = "CPP,ATEN"
    policy = compiled(replace_mish(module).requires_grad_(False))
    obs = np.zeros(OBS, np.float32)

    @torch.inference_mode()
    def act():
        return policy(torch.from_numpy(obs)[None], module.noise())[0].numpy()

    return act


WORKLOADS = {
    "diffusion-ql-step": lambda: stopwatch.time_blocks(DiffusionQl().step),
    "diffusion-bc-step": lambda: stopwatch.time_blocks(DiffusionBc().step),
    "sac-step": lambda: stopwatch.time_blocks(Sac().step),
    "action-1": lambda: stopwatch.time_blocks(acting(Chain(Denoiser()))),
    "action-50": lambda: stopwatch.time_blocks(acting(Choice(Denoiser(), Critics()))),
    "latency": lambda: stopwatch.time_single(acting(Chain(Denoiser()))),
    "startup": lambda: stopwatch.time_start(lambda: DiffusionQl(rows=10_000).step()),
}

if __name__ == "__main__":
    torch.set_flush_denormal(True)
    torch._inductor.config.cpp_wrapper = True
    stopwatch.main(WORKLOADS)
