"""PyTorch with TorchScript: scripted losses, fused Adam and averages; acting is frozen and
optimised for inference."""

import copy

import numpy as np
import torch
from torch import nn

import problem
import stopwatch
from problem import CLIP, OBS, RATE
from torch_losses import (AlphaLoss, BcLoss, Chain, Choice, Data, QlActorLoss, QlCriticLoss,
                          SacActorLoss, SacCriticLoss, bc_noise, follow, moves, ql_noise, sac_noise)
from torch_published import Critics, Denoiser, Gaussian


def adam(parameters, rate=RATE):
    return torch.optim.Adam(parameters, lr=rate, fused=True)


def descend(loss, optim, limit=None):
    optim.zero_grad(set_to_none=True)
    loss.backward()
    if limit:
        nn.utils.clip_grad_norm_(optim.param_groups[0]["params"], limit, foreach=True)
    optim.step()


def frozen_copy(network):
    return copy.deepcopy(network).requires_grad_(False)


class DiffusionQl:
    def __init__(self, rows=problem.ROWS):
        self.data, self.steps = Data(rows), 0
        self.actor, self.critic = Denoiser(), Critics()
        self.start()

    def start(self):
        self.average, self.target = frozen_copy(self.actor), frozen_copy(self.critic)
        self.actor_optim = adam(self.actor.parameters())
        self.critic_optim = adam(self.critic.parameters())
        q1, q2 = self.critic.q1, self.critic.q2
        critic_loss = QlCriticLoss(self.average, self.critic, self.target)
        actor_losses = [QlActorLoss(self.actor, *q) for q in ((q1, q2), (q2, q1))]
        self.critic_loss = torch.jit.script(critic_loss)
        self.actor_losses = [torch.jit.script(loss) for loss in actor_losses]

    def update(self, batch, chain2, t, eps, chain, coin):
        s, a, *_ = batch
        (critic_loss,) = self.critic_loss(*batch, chain2)
        descend(critic_loss, self.critic_optim, CLIP)
        self.critic.requires_grad_(False)
        actor_loss, bc, q = self.actor_losses[coin](s, a, t, eps, chain)
        descend(actor_loss, self.actor_optim, CLIP)
        self.critic.requires_grad_(True)
        if moves(self.steps):
            follow(self.average, self.actor)
        follow(self.target, self.critic)
        self.steps += 1
        return critic_loss, bc, q

    def step(self):
        return self.update(self.data.sample(), *ql_noise())


class DiffusionBc:
    def __init__(self, rows=problem.ROWS):
        self.data, self.steps = Data(rows), 0
        self.actor = Denoiser()
        self.start()

    def start(self):
        self.average, self.optim = frozen_copy(self.actor), adam(self.actor.parameters())
        self.loss = torch.jit.script(BcLoss(self.actor))

    def update(self, batch, t, eps):
        s, a, *_ = batch
        (loss,) = self.loss(s, a, t, eps)
        descend(loss, self.optim)
        if moves(self.steps):
            follow(self.average, self.actor)
        self.steps += 1
        return (loss,)

    def step(self):
        return self.update(self.data.sample(), *bc_noise())


class Sac:
    def __init__(self, rows=problem.ROWS):
        self.data = Data(rows)
        self.actor, self.critic = Gaussian(), Critics(2, nn.ReLU)
        self.start()

    def start(self):
        self.target, log_alpha = frozen_copy(self.critic), nn.Parameter(torch.zeros(1))
        rate = problem.SAC_CRITIC_RATE
        self.actor_optim = adam(self.actor.parameters())
        self.critic_optim = adam(self.critic.parameters(), rate)
        self.alpha_optim = adam([log_alpha], rate)
        critic_loss = SacCriticLoss(self.actor, self.critic, self.target, log_alpha)
        self.critic_loss = torch.jit.script(critic_loss)
        self.actor_loss = torch.jit.script(SacActorLoss(self.actor, self.critic, log_alpha))
        self.alpha_loss = torch.jit.script(AlphaLoss(log_alpha))

    def update(self, batch, noise2, noise):
        (critic_loss,) = self.critic_loss(*batch, noise2)
        descend(critic_loss, self.critic_optim)
        self.critic.requires_grad_(False)
        actor_loss, log_prob = self.actor_loss(batch[0], noise)
        descend(actor_loss, self.actor_optim)
        self.critic.requires_grad_(True)
        (alpha_loss,) = self.alpha_loss(log_prob)
        descend(alpha_loss, self.alpha_optim)
        follow(self.target, self.critic)
        return critic_loss, actor_loss, alpha_loss

    def step(self):
        return self.update(self.data.sample(), *sac_noise())


def acting(module):
    policy = torch.jit.freeze(torch.jit.script(module.eval()))
    policy, obs = torch.jit.optimize_for_inference(policy), np.zeros(OBS, np.float32)

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
    stopwatch.main(WORKLOADS)
