"""The U-Nets of the peers: as many numbers as ours, and, from equal weights and noise, equal losses
of three updates, equal answers and equal plans. (That ours compute what PyTorch's do is what
tests/test_temporal.c and tests/test_unet.c say, with the files of scripts/golden.)"""

import torch

import problem_unets as problem
import unets_torch

UPDATES, TOLERANCE = 3, 1e-4
PEERS = {name: peer() for name, peer in unets_torch.PEERS.items()}


def numbers(name, network, ours):
    count = sum(p.numel() for p in network.parameters())
    print(f"{name:13} {count:,} numbers, ours {ours:,}")
    return count == ours


def compare(name, peer, expected, found):
    worst = float((found - expected).abs().max() / max(1.0, float(expected.abs().max())))
    print(f"{name:13} {peer:14} largest difference {worst:.1e}")
    return worst < TOLERANCE


def started(kind, peer, weights):
    work = kind(PEERS[peer])
    work.module.load_state_dict(weights)
    return work.start()


def losses(training):
    torch.manual_seed(0)
    return torch.stack([training.update(*training.inputs()) for _ in range(UPDATES)])


def plans(planner):
    torch.manual_seed(0)
    noise = planner.normals()
    return planner.plan_from(noise[0], noise)


def answers(question):
    torch.manual_seed(0)
    question.x = torch.randn(question.x.shape)
    return question.ask()


def check(name, kind, result):
    torch.manual_seed(1)
    weights = kind(PEERS["published"]).module.state_dict()
    found = {peer: result(started(kind, peer, weights)) for peer in PEERS}
    return all([compare(name, peer, found["published"], found[peer]) for peer in found])


def check_all():
    return all([
        numbers("unet1d-step", unets_torch.PlanLoss().net, problem.PLAN_PARAMETERS),
        numbers("unet2d-step", unets_torch.ImageLoss().net, problem.IMAGE_PARAMETERS),
        check("unet1d-step", unets_torch.PlanTraining, losses),
        check("plan-64x20", unets_torch.Planner, plans),
        check("unet2d-step", unets_torch.ImageTraining, losses),
        check("unet2d-eval", unets_torch.Question, answers),
    ])
