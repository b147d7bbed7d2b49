"""Small files of each format, written by the programs that define it.

    python -m venv venv && venv/bin/pip install numpy h5py minari pillow
    venv/bin/pip install --no-deps ogbench
    venv/bin/python scripts/golden/formats.py tests/golden/formats

minari writes its own files; numpy writes npz; OGBench's
served layout is that which its own loader reads back (ogbench.utils.load_dataset makes the two
others).  robomimic's and ManiSkill's layouts are written by h5py from their documentation, as both
packages need a simulator.  expected.json has for each file what its own rule makes of it: the
transitions, the sums of their observations, actions, successors and rewards, the successors at the
ends of episodes, and the returns.
"""
import json
import os
import shutil
import sys

import h5py
import numpy as np

OBS, ACT = 3, 2
F32 = np.float32


def episodes(seed, lengths, terminal=()):
    """obs [T + 1], act [T], rew [T], whether it ended in a terminal."""
    rng = np.random.default_rng(seed)
    out = []
    for e, n in enumerate(lengths):
        out.append((rng.standard_normal((n + 1, OBS)).astype(F32),
                    rng.uniform(-1, 1, (n, ACT)).astype(F32),
                    rng.standard_normal(n).astype(F32), e in terminal))
    return out


def expected(eps, rule, rewards=True, spec=""):
    """rule: "state" keeps every step; "next row" drops a last step that is no terminal."""
    total = lambda xs: float(sum(np.sum(x, dtype=np.float64) for x in xs))
    kept = [len(a) if rule == "state" or over else len(a) - 1 for _, a, _, over in eps]
    ends = [o[n] for (o, _, _, over), n in zip(eps, kept) if rule == "state" or not over]
    out = {
        "spec": spec,
        "episodes": len(eps),
        "transitions": sum(kept),
        "terminals": sum(over for *_, over in eps),
        "observations": total(o[:n] for (o, *_), n in zip(eps, kept)),
        "actions": total(a[:n] for (_, a, *_), n in zip(eps, kept)),
        "ends": [[float(x) for x in o] for o in ends],
    }
    if rewards:
        out["returns"] = [total([r]) for _, _, r, _ in eps]
    return out


def write_robomimic(path, eps, next_obs):
    with h5py.File(path, "w") as f:
        data = f.create_group("data")
        data.attrs["total"] = sum(len(a) for _, a, *_ in eps)
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        for e, (o, a, r, over) in enumerate(eps):
            g = data.create_group(f"demo_{e}")
            g.attrs["num_samples"] = len(a)
            g["actions"], g["rewards"] = a.astype(np.float64), r.astype(np.float64)
            dones = np.zeros(len(a), np.int64)
            dones[-1] = over
            g["dones"] = dones
            g["states"] = np.zeros((len(a), 4))
            for name, part in [("obs", o[:-1])] + [("next_obs", o[1:])] * next_obs:
                g[f"{name}/robot0_eef_pos"] = part[:, :2].astype(np.float64)
                g[f"{name}/object"] = part[:, 2:].astype(np.float64)
                g[f"{name}/agentview_image"] = np.zeros((len(a), 4, 4, 3), np.uint8)
        f["mask/train"] = np.array([b"demo_10", b"demo_0", b"demo_2"])


def write_maniskill(path, eps):
    with h5py.File(path, "w") as f:
        for e, (o, a, r, over) in enumerate(eps):
            g = f.create_group(f"traj_{e}")
            g["obs"], g["actions"], g["rewards"] = o, a, r
            done = np.zeros(len(a), bool)
            done[-1] = over
            g["terminated"], g["success"] = done, done
            g["truncated"] = np.arange(len(a)) == len(a) - 1
            g["env_states/actors/cube"] = np.zeros((len(o), 13), F32)


def write_minari(target, eps):
    import gymnasium
    import minari

    box = lambda n: gymnasium.spaces.Box(-np.inf, np.inf, (n,), F32)

    from minari.data_collector.episode_buffer import EpisodeBuffer

    spaces = gymnasium.spaces.Dict({"goal": box(1), "body": box(2)})
    root = os.path.abspath(os.path.join(target, "minari-root"))
    os.environ["MINARI_DATASETS_PATH"] = root
    buffers = []
    for e, (o, a, r, over) in enumerate(eps):
        last = np.arange(len(a)) == len(a) - 1
        buffers.append(EpisodeBuffer(
            id=e, observations={"goal": list(o[:, 2:]), "body": list(o[:, :2])}, actions=list(a),
            rewards=[float(x) for x in r], terminations=list(last & over),
            truncations=list(last & (not over)), infos={}))
    minari.create_dataset_from_buffers(
        "replayed/golden-v0", buffers, observation_space=spaces,
        action_space=gymnasium.spaces.Box(-1, 1, (ACT,), F32), algorithm_name="none",
        author="diffrl", author_email="none@example.org", code_permalink="none")
    folder = os.path.join(target, "minari", "data")
    shutil.rmtree(os.path.dirname(folder), ignore_errors=True)
    os.makedirs(folder)
    for name in ("main_data.hdf5", "metadata.json"):
        shutil.copy(os.path.join(root, "replayed", "golden-v0", "data", name), folder)
    shutil.rmtree(root)


def rows(eps):
    return {
        "observations": np.concatenate([o[:-1] for o, *_ in eps]),
        "actions": np.concatenate([a for _, a, *_ in eps]),
        "rewards": np.concatenate([r for _, _, r, _ in eps]),
        "terminals": np.concatenate([(np.arange(len(a)) == len(a) - 1) & over
                                     for _, a, _, over in eps]),
    }


def write_ogbench(target, eps):
    """As served, and what OGBench's own loader makes of that."""
    states = lambda k: np.concatenate([np.concatenate([x[k], x[k][-1:]]) for x in eps])
    served = {
        "observations": np.concatenate([o for o, *_ in eps]),
        "actions": states(1),
        "terminals": np.concatenate([np.arange(len(o)) == len(o) - 1 for o, *_ in eps]),
    }
    served["qpos"], served["qvel"] = served["observations"] * 2, served["observations"] * 3
    np.savez_compressed(os.path.join(target, "ogbench.npz"), **served)
    from ogbench.utils import load_dataset

    path = os.path.join(target, "ogbench.npz")
    regular = load_dataset(path, compact_dataset=False)
    regular["masks"] = np.ones(len(regular["actions"]), F32)
    np.savez(os.path.join(target, "ogbench_regular.npz"), **regular)
    compact = load_dataset(path, compact_dataset=True)
    np.savez(os.path.join(target, "ogbench_compact.npz"), **compact)


def write_npz(target, eps):
    r = rows(eps)
    lengths = np.array([len(a) for _, a, *_ in eps])
    np.savez_compressed(os.path.join(target, "dppo.npz"), states=r["observations"],
                        traj_lengths=lengths, **{k: v for k, v in r.items() if k != "observations"})
    np.savez(os.path.join(target, "ends.npz"), episode_ends=np.cumsum(lengths), **r)
    with np.load(os.path.join(target, "ends.npz")) as old:
        np.savez(os.path.join(target, "named.npz"), state=old["observations"], cmd=old["actions"],
                 rewards=old["rewards"], done=old["terminals"], episode_ends=old["episode_ends"])
    np.savez(os.path.join(target, "bad_object.npz"), observations=np.array([{}, 1], dtype=object),
             actions=np.zeros((2, 1)))
    np.savez(os.path.join(target, "bad_fortran.npz"), observations=np.asfortranarray(
        r["observations"]), actions=r["actions"])


def write_csv(path, eps):
    r = rows(eps)
    with open(path, "w", encoding="ascii") as f:
        f.write("episode,obs_0,obs_1,obs_2,action_0,action_1,reward,terminal\n")
        at = 0
        for e, (_, a, *_) in enumerate(eps):
            for _ in a:
                numbers = [*r["observations"][at], *r["actions"][at], r["rewards"][at]]
                f.write(",".join([str(e)] + [repr(float(x)) for x in numbers] +
                                 ["true" if r["terminals"][at] else "false"]) + "\n")
                at += 1


def main(target):
    os.makedirs(target, exist_ok=True)
    at = lambda name: os.path.join(target, name)
    eps = episodes(1, [5, 3, 7, 2, 4, 3, 3, 3, 3, 3, 6], terminal=(0, 4))
    out = {}
    write_robomimic(at("robomimic.hdf5"), eps, True)
    write_robomimic(at("robomimic_no_next.hdf5"), eps, False)
    obs = "?obs=robot0_eef_pos,object"
    out["robomimic.hdf5"] = expected(eps, "state", spec=obs)
    out["robomimic_no_next.hdf5"] = expected([eps[i] for i in (0, 2, 10)], "next row",
                                             spec=obs + "&mask=train")
    write_maniskill(at("maniskill.h5"), eps)
    out["maniskill.h5"] = expected(eps, "state")
    write_minari(target, eps)
    out["minari"] = expected(eps, "state")
    write_ogbench(target, eps)
    for name in ("ogbench.npz", "ogbench_regular.npz", "ogbench_compact.npz"):
        out[name] = expected(eps, "state", rewards=False)
        out[name]["terminals"] = 0
    write_npz(target, eps)
    out["dppo.npz"] = out["ends.npz"] = expected(eps, "next row")
    out["named.npz"] = expected(
        eps, "next row", spec="?obs=state&map=actions=cmd,terminals=done")
    write_csv(at("rows.csv"), eps)
    out["rows.csv"] = expected(eps, "next row")
    with open(at("expected.json"), "w", encoding="ascii") as f:
        json.dump(out, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
