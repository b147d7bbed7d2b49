#!/usr/bin/env python3
"""A step of one of the PyTorch programs on a GPU instead: for scale, compare.py does not use it.

    on_gpu.py torch_compiled diffusion-ql-step
    on_gpu.py unets_torch published unet2d-step

Network, data and noise live on the GPU.  One JSON object, as the program itself prints."""

import importlib
import sys

import torch

import stopwatch

torch.set_default_device("cuda")
from_numpy, time_blocks = torch.from_numpy, stopwatch.time_blocks
torch.from_numpy = lambda array: from_numpy(array).cuda()
stopwatch.time_blocks = lambda call: time_blocks(call, torch.cuda.synchronize)

if __name__ == "__main__":
    name, *sys.argv[1:] = sys.argv[1:]
    program = importlib.import_module(name)
    if name == "unets_torch":
        peer, workload = sys.argv[1:]
        stopwatch.time_blocks(program.WORKLOADS[workload](program.PEERS[peer]()))
    else:
        program.WORKLOADS[sys.argv[1]]()
