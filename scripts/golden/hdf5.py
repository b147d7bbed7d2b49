"""Small HDF5 files as other programs write them, and what D4RL's loader makes of them.

    python -m venv venv && venv/bin/pip install numpy h5py
    venv/bin/python scripts/golden/hdf5.py tests/golden/hdf5

Writes the files and expected.json, which tests/test_dataset.c reads.  "transition" holds the rows
that D4RL's qlearning_dataset keeps (restated below), and the sums are over them.  Without time-outs
D4RL's counter restarts at 1 behind a terminal row ("d4rl_counter"); we count every episode from 0,
so for the file v0 the two differ.  The files bad_* must be refused, each for the reason it is
named after.
"""
import json
import os
import sys

import h5py
import numpy as np

OBS, ACT = 3, 2


def d4rl_rows(flags, rows, horizon, restart):
    """Rows that qlearning_dataset(terminate_on_end=False) keeps; restart: the counter's value
    at the row behind a terminal one (D4RL: 1)."""
    kept, step = [], 0
    for i in range(rows - 1):
        done = bool(np.ravel(flags["terminals"])[i]) if "terminals" in flags else False
        if "timeouts" in flags:
            final = bool(np.ravel(flags["timeouts"])[i])
        else:
            final = step == horizon - 1
        if final:
            step = 0
            continue
        kept.append(i)
        step = restart if done else step + 1
    return kept


def episode_starts(flags, rows, horizon):
    starts, first = [0], 0
    for i in range(rows):
        done = "terminals" in flags and bool(np.ravel(flags["terminals"])[i])
        if "timeouts" in flags:
            final = bool(np.ravel(flags["timeouts"])[i])
        else:
            final = horizon > 0 and i - first == horizon - 1
        if done or final or i == rows - 1:
            first = i + 1
            starts.append(first)
    return starts


def expected(arrays, horizon, restart):
    f32 = {k: np.asarray(v).astype(np.float32) for k, v in arrays.items()}
    rows = len(f32["observations"])
    kept = d4rl_rows(arrays, rows, horizon, restart)
    total = lambda x: float(np.sum(x, dtype=np.float64))
    out = {
        "horizon": horizon,
        "rows": rows,
        "transition": kept,
        "d4rl_counter": d4rl_rows(arrays, rows, horizon, 1),
        "episode_start": episode_starts(arrays, rows, horizon),
        "observations": total(f32["observations"][kept]),
        "actions": total(f32["actions"][kept]),
        "successors": total(f32["observations"][np.array(kept) + 1]),
    }
    if "rewards" in f32:
        out["rewards"] = total(f32["rewards"][kept])
    if "terminals" in f32:
        out["terminals"] = int(np.sum(f32["terminals"][kept] != 0))
    return out


def arrays(rows, seed):
    rng = np.random.default_rng(seed)
    return {
        "observations": rng.standard_normal((rows, OBS)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, ACT)).astype(np.float32),
        "rewards": rng.standard_normal(rows).astype(np.float32),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.zeros(rows, bool),
    }


def store(folder, name, data, **options):
    with h5py.File(os.path.join(folder, name + ".hdf5"), "w") as f:
        for key, value in data.items():
            f.create_dataset(key, data=value, **options)
    return data


def good_files(folder):
    out = {}
    v2 = arrays(60, 1)
    v2["terminals"][[6, 19, 33]] = True
    v2["timeouts"][[13, 33, 49]] = True  # row 33 is both: dropped
    out["d4rl_v2"] = expected(v2, 0, 1)
    v2["next_observations"] = np.roll(v2["observations"], -1, axis=0)
    store(folder, "d4rl_v2", v2, compression="gzip", shuffle=True, fletcher32=True, chunks=True)
    with h5py.File(os.path.join(folder, "d4rl_v2.hdf5"), "a") as f:
        f["infos/qpos"] = np.zeros((60, 2))
        f["metadata/algorithm"] = np.bytes_("SAC")
        f["metadata/iteration"] = np.int32(7)
        f["metadata/note"] = "a string of variable length"  # skipped, not followed
        f["metadata/policy/fc0/weight"] = np.zeros((2, 2))

    double = arrays(30, 2)  # as medium-replay files, and flags as relabelled ones
    double["terminals"][[4, 11]] = True
    double["timeouts"][[8, 29]] = True
    double = {k: v.astype(np.float64) for k, v in double.items()}
    double["rewards"] = double["rewards"].reshape(-1, 1)
    double["terminals"] = double["terminals"].astype(np.uint8).reshape(-1, 1)
    double["timeouts"] = double["timeouts"].astype(np.float32)
    out["float64"] = expected(store(folder, "float64", double), 0, 1)

    v0 = arrays(47, 3)  # no time-outs: episodes of 10, 3, 10, 10, 10 rows, a tail of 4
    del v0["timeouts"]
    v0["terminals"][12] = True
    out["v0"] = expected(store(folder, "v0", v0), 10, 0)
    straight = arrays(25, 4)
    del straight["timeouts"]
    out["v0_straight"] = expected(store(folder, "v0_straight", straight), 10, 1)

    bare = {  # big-endian and integers, no rewards, no flags
        "observations": np.arange(12, dtype=">i2").reshape(6, 2) - 5,
        "actions": np.linspace(-1, 1, 6).astype(">f8"),
    }
    out["bare"] = expected(store(folder, "bare", bare), 0, 1)
    return out


def linked_file(folder):
    """A name in metadata/ that reads as a path through a link to another file."""
    path = os.path.join(folder, "linked.hdf5")
    store(folder, "linked", arrays(12, 7))
    with h5py.File(path, "a") as f:
        f["metadata/x"] = h5py.ExternalLink("d4rl_v2.hdf5", "/metadata")
        f["metadata/xQalgorithm"] = np.int32(1)
    with open(path, "rb") as f:
        content = f.read()
    assert content.count(b"xQalgorithm") == 1
    with open(path, "wb") as f:
        f.write(content.replace(b"xQalgorithm", b"x/algorithm"))


def change(data, key, value):
    return {**data, key: value}


def bad_files(folder):
    a = arrays(12, 5)
    put = lambda name, data, **options: store(folder, "bad_" + name, data, **options)
    without = lambda key: {k: v for k, v in a.items() if k != key}

    put("no_observations", without("observations"))
    put("no_actions", without("actions"))
    put("length", change(a, "rewards", a["rewards"][:11]))
    put("next_width", change(a, "next_observations", a["observations"][:, :2]))
    put("rank", change(a, "observations", np.zeros((12, 2, 2), np.float32)))
    put("scalar", change(a, "actions", np.float32(1)))
    put("wide_reward", change(a, "rewards", np.zeros((12, 2), np.float32)))
    put("empty", {k: v[:0] for k, v in a.items()})
    put("one_row", {k: v[:1] for k, v in a.items()})
    put("all_timeouts", change(a, "timeouts", np.ones(12, bool)))
    put("flag", change(a, "terminals", np.arange(12, dtype=np.int32)))
    put("bool_observations", change(a, "observations", np.zeros((12, 3), bool)))
    put("string", change(a, "observations", np.full((12, 3), b"0.5")))
    put("compound", change(a, "actions", np.zeros(12, [("x", "f4"), ("y", "f4")])))
    for name, key, row, value in (("nan", "actions", 7, np.nan), ("inf", "rewards", 5, np.inf),
                                  ("overflow", "observations", 3, 1e300)):
        wrong = a[key].astype(np.float64)
        wrong[row] = value
        put(name, change(a, key, wrong))

    def edit(name, data):
        put(name, data)
        return h5py.File(os.path.join(folder, f"bad_{name}.hdf5"), "a")

    with edit("lzf", without("actions")) as f:
        f.create_dataset("actions", data=a["actions"], compression="lzf")
    with edit("scaleoffset", without("actions")) as f:
        f.create_dataset("actions", data=a["actions"], scaleoffset=3)
    with edit("external_link", without("actions")) as f:
        f["actions"] = h5py.ExternalLink("d4rl_v2.hdf5", "/actions")
    with edit("soft_link", without("actions")) as f:
        f["actions"] = h5py.SoftLink("/observations")
    with edit("external_storage", without("actions")) as f:
        f.create_dataset("actions", (12, 2), "f4", external=[("expected.json", 0, 96)])
    with edit("virtual", without("actions")) as f:
        layout = h5py.VirtualLayout((12, 2), "f4")
        layout[:] = h5py.VirtualSource("d4rl_v2.hdf5", "actions", (60, 2))[:12]
        f.create_virtual_dataset("actions", layout)
    with edit("group", without("observations")) as f:
        f["observations/image"] = a["observations"]
    with edit("minari", {}) as f:
        f["episode_0/observations"] = a["observations"]
    with edit("varying", without("actions")) as f:
        f.create_dataset("actions", (12,), h5py.vlen_dtype(np.float32))
    with edit("dones", {k: v for k, v in a.items() if k not in ("terminals", "timeouts")}) as f:
        f["dones"] = a["terminals"]
    with h5py.File(os.path.join(folder, "bad_open.hdf5"), "w", libver="v110") as f:
        for key, value in a.items():
            f[key] = value
        f.flush()
        with open(f.filename, "rb") as left:  # as a writer that is killed leaves it
            content = left.read()
    with open(os.path.join(folder, "bad_open.hdf5"), "wb") as left:
        left.write(content)
    with edit("bomb", {}) as f:  # claims 200 GB, stores nothing
        for key in ("observations", "actions"):
            f.create_dataset(key, (1 << 30, 50), "f4", chunks=(1 << 10, 50), compression="gzip")


if __name__ == "__main__":
    target = sys.argv[1]
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, "expected.json"), "w") as f:
        json.dump(good_files(target), f, separators=(",", ":"))
        f.write("\n")
    linked_file(target)
    bad_files(target)
