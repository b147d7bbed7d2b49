"""The U-Nets of `torch_unets.py` trained and asked as each peer does it:

    unets_torch.py published WORKLOAD   eager, planes in PyTorch's own order of memory
    unets_torch.py scripted WORKLOAD    channels last; traced, frozen when asked; fused Adam
    unets_torch.py compiled WORKLOAD    channels last; torch.compile: a step with its gradients and
                                        Adam is one graph; weights frozen when asked"""

import sys

import torch
import torch._inductor.config
from torch import nn

import problem_unets as problem
import stopwatch
from torch_compiled import Adam, compiled, replace_mish, without_graph
from torch_unets import ImageLoss, ImageUnet, PictureData, PlanData, PlanLoss, PlanStep

# ---- what a peer does with a module --------------------------------------------------------------


class Published:
    order, fused = torch.contiguous_format, False

    def traced(self, loss, inputs):
        return loss

    def descent(self, module, inputs, rate, clip):
        """A function of such inputs that takes a step down the loss, and returns it."""
        params = list(module.net.parameters())
        optim = torch.optim.Adam(params, lr=rate, fused=self.fused)
        loss = self.traced(module, inputs)

        def descend(*inputs):
            (found,) = loss(*inputs)
            optim.zero_grad(set_to_none=True)
            found.backward()
            if clip:
                nn.utils.clip_grad_norm_(params, clip, foreach=True)
            optim.step()
            return found.detach()

        return descend

    def asked(self, module, inputs):
        return module


class Scripted(Published):
    order, fused = torch.channels_last, True

    def traced(self, loss, inputs):
        return torch.jit.trace(loss, inputs, check_trace=False)

    def asked(self, module, inputs):
        return torch.jit.freeze(torch.jit.trace(module.eval(), inputs, check_trace=False))


class Compiled:
    order = torch.channels_last

    def descent(self, module, inputs, rate, clip):
        without_graph(replace_mish(module))
        adam = Adam(module, "net.", rate, clip)
        descend = compiled(lambda *inputs: adam.descend(module, *inputs)[0])
        return torch.no_grad()(descend)

    def asked(self, module, inputs):
        torch._inductor.config.freezing = True
        return compiled(replace_mish(module).eval())


PEERS = {"published": Published, "scripted": Scripted, "compiled": Compiled}

# ---- a training step -----------------------------------------------------------------------------


class Training:
    def __init__(self, peer, loss, data, schedule):
        self.peer, self.module, self.data, self.schedule = peer, loss, data, schedule
        self.steps = 0

    def start(self):
        """From the weights that the module has now."""
        self.module.to(memory_format=self.peer.order)
        self.params = list(self.module.net.parameters())
        self.average = [p.detach().clone() for p in self.params]
        self.descend = self.peer.descent(self.module, self.inputs(), self.rate, self.clip)
        return self

    def inputs(self):
        x0, order = self.data.sample(), self.peer.order
        t, eps = torch.randint(0, self.schedule.steps, (len(x0),)), torch.randn(x0.shape)
        return x0.contiguous(memory_format=order), t, eps.contiguous(memory_format=order)

    @torch.no_grad()
    def follow(self):
        torch._foreach_lerp_(self.average, self.params, 1 - self.ema)

    def update(self, *inputs):
        loss = self.descend(*inputs)
        self.steps += 1
        if self.steps % self.ema_every == 0:
            self.follow()
        return loss

    def step(self):
        self.update(*self.inputs())


class PlanTraining(Training):
    rate, clip = problem.PLAN_RATE, None
    ema, ema_every = problem.PLAN_EMA, problem.PLAN_EMA_EVERY

    def __init__(self, peer):
        super().__init__(peer, PlanLoss(), PlanData(), problem.PLAN_NOISE)


class ImageTraining(Training):
    rate, clip = problem.IMAGE_RATE, problem.IMAGE_CLIP
    ema, ema_every = problem.IMAGE_EMA, problem.IMAGE_EMA_EVERY

    def __init__(self, peer):
        super().__init__(peer, ImageLoss(), PictureData(), problem.IMAGE_NOISE)


# ---- questions -----------------------------------------------------------------------------------


class Planner:
    """plan-64x20"""

    def __init__(self, peer):
        self.peer, self.module, self.noise = peer, PlanStep(), problem.PLAN_NOISE

    def start(self):
        self.module.requires_grad_(False).to(memory_format=self.peer.order)
        table = (self.noise.from_x0, self.noise.from_x, self.noise.spread)
        self.table = torch.tensor(list(zip(*table)), dtype=torch.float32)
        self.embedding = self.module.net.embed(torch.arange(self.noise.steps)).split(1)
        self.first = self.normals()[0]
        example = self.first, self.embedding[0], self.table[0], self.first, self.first
        self.ask = self.peer.asked(self.module, example)
        return self

    def normals(self):
        z = torch.randn(self.noise.steps + 1, problem.PLANS, 1, problem.HORIZON, problem.WIDTH)
        return [x.contiguous(memory_format=self.peer.order) for x in z.movedim(4, 2)]

    @torch.inference_mode()
    def plan_from(self, first, noise):
        """first: what is known, where it is known"""
        x = torch.where(self.module.known, first, noise[0])
        for n in reversed(range(self.noise.steps)):
            x = self.ask(x, self.embedding[n], self.table[n], noise[-n - 1], first)
        return x

    def plan(self):
        return self.plan_from(self.first, self.normals())


class Question:
    """unet2d-eval: the network once, for a batch of pictures at one time"""

    def __init__(self, peer):
        self.peer, self.module = peer, ImageUnet()

    def start(self):
        self.module.requires_grad_(False).to(memory_format=self.peer.order)
        self.e = self.module.embed(torch.tensor([500]))
        shape = problem.IMAGE_BATCH, 1, problem.SIDE, problem.SIDE
        self.x = torch.randn(shape).contiguous(memory_format=self.peer.order)
        self.net = self.peer.asked(self.module, (self.x, self.e))
        return self

    @torch.inference_mode()
    def ask(self):
        return self.net(self.x, self.e)


WORKLOADS = {
    "unet1d-step": lambda peer: PlanTraining(peer).start().step,
    "plan-64x20": lambda peer: Planner(peer).start().plan,
    "unet2d-step": lambda peer: ImageTraining(peer).start().step,
    "unet2d-eval": lambda peer: Question(peer).start().ask,
}

if __name__ == "__main__":
    torch.set_flush_denormal(True)
    torch._inductor.config.cpp_wrapper = True
    call = WORKLOADS[sys.argv[2]](PEERS[sys.argv[1]]())
    stopwatch.time_blocks(call)
