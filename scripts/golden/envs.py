"""Transitions of Gymnasium's v4 environments, for tests/test_env.c.

    python3 -m venv /tmp/golden
    /tmp/golden/bin/pip install "gymnasium[mujoco]==1.2.3" mujoco==3.3.7
    /tmp/golden/bin/python -W ignore scripts/golden/envs.py tests/golden/envs.safetensors

For each task, 500 rows in float64: the state before (qpos, qvel), the action (numbers that a
float32 holds), the state after one environment step, the reward, and whether the episode ended.

Before every step the simulation is reset and put into the recorded state, so that a transition is a
function of state and action alone: no warm start of the solver.  States come from random actions
started at random poses: near the reset pose, which is what a policy sees, and far from it, for
joint limits, hard landings and links that touch each other.
"""

import json
import struct
import sys

import gymnasium
import mujoco
import numpy as np

ROWS = 500
TASKS = {"hopper": "Hopper-v4", "halfcheetah": "HalfCheetah-v4", "walker2d": "Walker2d-v4",
         "pendulum": "Pendulum-v1"}
COLUMNS = ["qpos", "qvel", "action", "next_qpos", "next_qvel", "reward", "terminal"]


def put(env, qpos, qvel):
    if hasattr(env, "data"):
        mujoco.mj_resetData(env.model, env.data)
        env.set_state(qpos, qvel)
    else:
        env.state = np.concatenate([qpos, qvel])


def state(env):
    if hasattr(env, "data"):
        return env.data.qpos.copy(), env.data.qvel.copy()
    return env.state[:1].copy(), env.state[1:].copy()


def start(env, rng, rows):
    """A random pose: near the reset pose, further and further away, or bent anyhow in mid-air."""
    env.reset(seed=int(rng.integers(1 << 31)))
    qpos, qvel = state(env)
    spread = [0, 0.1, 0.4, 1.2, 0][rows % 5]
    qpos += spread * rng.normal(size=qpos.shape)
    qvel += spread * rng.normal(size=qvel.shape)
    if rows % 5 == 4 and hasattr(env, "model"):
        limited = env.model.jnt_limited.astype(bool)
        qpos[limited] = 1.1 * rng.uniform(*env.model.jnt_range[limited].T)
        qpos[1] += 1
    return qpos, qvel


def links_touch(env):
    """Whether a contact is between two links rather than with the floor (geom 0)."""
    return hasattr(env, "data") and (env.data.contact.geom > 0).all(axis=1).any()


def transitions(env, rng):
    columns = {name: [] for name in COLUMNS}
    starts, touching = 0, 0
    while len(columns["qpos"]) < ROWS:
        qpos, qvel = start(env, rng, starts)
        starts += 1
        for _ in range(rng.integers(1, 10)):
            box = env.action_space
            action = np.float32(rng.uniform(box.low, box.high)).astype(np.float64)
            put(env, qpos, qvel)
            _, reward, terminal, _, _ = env.step(action)
            touching += links_touch(env)
            row = [qpos, qvel, action, *state(env), reward, terminal]
            for name, value in zip(COLUMNS, row):
                columns[name].append(np.float64(value))
            qpos, qvel = state(env)
    return {name: np.array(rows[:ROWS]) for name, rows in columns.items()}, touching


def save(path, tensors, about):
    """A safetensors file: header length, JSON header, data."""
    header, offset = {"__metadata__": about}, 0
    for name, value in sorted(tensors.items()):
        header[name] = {"dtype": "F64", "shape": list(value.shape),
                        "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, value in sorted(tensors.items()):
            file.write(value.astype("<f8").tobytes())


def main():
    tensors = {}
    for task, name in TASKS.items():
        env = gymnasium.make(name).unwrapped
        columns, touching = transitions(env, np.random.default_rng(0))
        for column, value in columns.items():
            tensors[f"{task}/{column}"] = value
        ended = int(tensors[f"{task}/terminal"].sum())
        print(f"{task}: {ROWS} transitions, {ended} end the episode, links touch in {touching}")
    save(sys.argv[1], tensors, {"gymnasium": gymnasium.__version__, "mujoco": mujoco.__version__})


main()
