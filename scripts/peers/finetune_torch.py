"""An epoch of fine-tuning a generator of pictures by reinforcement (Black et al. 2023), as
`diffrl bench ddpo-epoch`: 128 pictures of 20 steps of ddim with eta 1, a reward for each, and four
gradient steps of 608 rows on the 19 random steps of all chains.

    finetune_torch.py published|scripted|compiled ddpo-epoch

The reward is the mean brightness, which costs less than ours does (a JPEG file of each picture).
Gradients of a step are added up over parts of PART rows, which is faster here than all at once."""

import math
import sys

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import nn

import problem_unets as problem
import stopwatch
from torch_compiled import compiled
from torch_unets import ImageUnet

SIDE, LABELS, PICTURES, STEPS, ROWS, PART = 28, 10, 128, 20, 608, 76
NUMBERS = 1_114_209  # in our network
CLIP_RATIO, RATE, CLIP = 1e-4, 3e-4, 1.0
PIXELS = SIDE * SIDE


class Chain:
    """x' = from_x0 x_0 + from_x x + spread z, of ddim with eta 1 at 20 of 1,000 times"""

    def __init__(self):
        bar = torch.cos((torch.arange(1001, dtype=torch.float64) / 1000 + 0.008) / 1.008
                        * math.pi / 2) ** 2
        bar = torch.cumprod(1 - torch.clamp(1 - bar[1:] / bar[:-1], max=0.999), 0)
        t = torch.linspace(999, 0, STEPS).round().long()
        now, then = bar[t], torch.cat((bar[t[1:]], torch.ones(1)))
        spread = torch.sqrt((1 - then) / (1 - now) * (1 - now / then))
        direction = torch.sqrt(1 - then - spread**2)
        a, s = now.sqrt(), (1 - now).sqrt()
        # x_0 = a x - s v, eps = (x - a x_0) / s
        from_x0, from_x = then.sqrt() - direction * a / s, direction / s
        table = torch.stack((a, s, from_x0, from_x, spread)).float()
        self.t, self.table = t, table[:, :, None, None, None]


class Step(nn.Module):
    """mean of a step, and ln p of what came of it, as the mean over pixels"""

    def __init__(self):
        super().__init__()
        self.net = ImageUnet((1, 2, 2), 1, LABELS)

    def mean(self, x, t, label, a, s, from_x0, from_x):
        v = self.net(x, self.net.embed(t, label))
        return from_x0 * (a * x - s * v) + from_x * x

    def log_prob(self, mean, next, spread):
        z = (next - mean) / spread
        each = -0.5 * z * z - torch.log(spread) - 0.5 * math.log(2 * math.pi)
        return each.mean((1, 2, 3))


class Draw(Step):
    def forward(self, x, t, label, a, s, from_x0, from_x, spread, z):
        mean = self.mean(x, t, label, a, s, from_x0, from_x)
        next = mean + spread * z
        return next, self.log_prob(mean, next, spread.clamp(min=1e-20))


class Loss(Step):
    def forward(self, x, next, t, label, a, s, from_x0, from_x, spread, old, advantage):
        mean = self.mean(x, t, label, a, s, from_x0, from_x)
        ratio = torch.exp(self.log_prob(mean, next, spread) - old)
        kept = torch.clamp(ratio, 1 - CLIP_RATIO, 1 + CLIP_RATIO)
        return -torch.minimum(advantage * ratio, advantage * kept).sum() / ROWS


class Epoch:
    def __init__(self, peer):
        self.order = torch.contiguous_format if peer == "published" else torch.channels_last
        self.chain, self.loss, self.draw = Chain(), Loss(), Draw()
        self.draw.net = self.loss.net
        count = sum(p.numel() for p in self.loss.parameters())
        assert count == NUMBERS, f"{count} numbers"
        self.loss.to(memory_format=self.order)
        self.params = list(self.loss.parameters())
        self.optim = torch.optim.Adam(self.params, lr=RATE, fused=peer != "published")
        self.label = F.one_hot(torch.arange(PICTURES) % LABELS, LABELS).float()
        if peer == "scripted":
            self.loss = torch.jit.trace(self.loss, self.example(PART), check_trace=False)
            self.draw = torch.jit.trace(self.draw, self.drawing(0, self.normals()),
                                        check_trace=False)
        if peer == "compiled":
            self.loss, self.draw = compiled(self.loss), compiled(self.draw)

    def normals(self, n=PICTURES):
        return torch.randn(n, 1, SIDE, SIDE).contiguous(memory_format=self.order)

    def drawing(self, i, x):
        row = [c.expand(PICTURES, 1, 1, 1).contiguous() for c in self.chain.table[:, i]]
        return x, self.chain.t[i].expand(PICTURES).contiguous(), self.label, *row, self.normals()

    def example(self, n):
        x, t = self.normals(n), torch.zeros(n, dtype=torch.long)
        ones = [torch.ones(n, 1, 1, 1)] * 5
        return x, x, t, self.label[:n], *ones, torch.zeros(n), torch.zeros(n)

    @torch.no_grad()
    def sample(self):
        states, told = [self.normals()], []
        for i in range(STEPS):
            next, log_prob = self.draw(*self.drawing(i, states[-1]))
            states.append(next), told.append(log_prob)
        return torch.stack(states), torch.stack(told)

    def epoch(self):
        states, told = self.sample()
        reward = states[-1].mean((1, 2, 3))
        advantage = (reward - reward.mean()) / (reward.std() + 1e-8)
        order = torch.randperm(PICTURES * (STEPS - 1))
        for rows in order.split(ROWS):
            self.optim.zero_grad(set_to_none=True)
            for part in rows.split(PART):
                step, who = part // PICTURES, part % PICTURES
                x = states[step, who].contiguous(memory_format=self.order)
                next = states[step + 1, who].contiguous(memory_format=self.order)
                table = self.chain.table[:, step]
                self.loss(x, next, self.chain.t[step], self.label[who], *table,
                          told[step, who], advantage[who]).backward()
            nn.utils.clip_grad_norm_(self.params, CLIP, foreach=True)
            self.optim.step()


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    torch._inductor.config.cpp_wrapper = True
    stopwatch.time_blocks(Epoch(sys.argv[1]).epoch)
