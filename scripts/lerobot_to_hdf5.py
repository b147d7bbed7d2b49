"""A LeRobot data set (v2 or v3: parquet files) as an HDF5 file that diffrl reads.

    python -m venv venv && venv/bin/pip install pyarrow numpy h5py
    venv/bin/python scripts/lerobot_to_hdf5.py FOLDER OUT.hdf5 [OBSERVATION ACTION]

OBSERVATION and ACTION are columns, observation.state and action if nothing is said.  Videos are
left out.  The last step of each episode is a time-out, as LeRobot does not record what followed.
"""
import glob
import os
import sys

import h5py
import numpy as np
import pyarrow.parquet as parquet


def column(table, name):
    if name not in table.column_names:
        sys.exit(f"{name}: no such column; there are {', '.join(table.column_names)}")
    return np.array(table.column(name).to_pylist(), np.float32)


def main(folder, out, observation="observation.state", action="action"):
    files = sorted(glob.glob(os.path.join(folder, "data", "**", "*.parquet"), recursive=True))
    if not files:
        sys.exit(f"{folder}/data: no parquet files")
    parts = []
    for name in files:
        table = parquet.read_table(name)
        part = {"observations": column(table, observation), "actions": column(table, action),
                "index": np.array(table.column("index")),
                "episode": np.array(table.column("episode_index"))}
        if "next.reward" in table.column_names:
            part["rewards"] = column(table, "next.reward").reshape(-1)
        parts.append(part)
    data = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    order = np.argsort(data.pop("index"), kind="stable")
    data = {k: v[order] for k, v in data.items()}
    episode = data.pop("episode")
    data["timeouts"] = np.append(episode[1:] != episode[:-1], True)
    if "rewards" in data:  # algorithms that learn from rewards want to be told that none is one
        data["terminals"] = np.zeros(len(episode), bool)
    with h5py.File(out, "w") as f:
        for key, value in data.items():
            f.create_dataset(key, data=value, compression="gzip")
    print(f"{out}: {len(episode)} steps, {int(data['timeouts'].sum())} episodes")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
