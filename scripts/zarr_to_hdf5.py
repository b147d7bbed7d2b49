"""A replay buffer of Diffusion Policy (zarr: data/*, meta/episode_ends) as an HDF5 file.

    python -m venv venv && venv/bin/pip install zarr numpy h5py
    venv/bin/python scripts/zarr_to_hdf5.py FOLDER_OR_ZIP OUT.hdf5 [STATE ACTION]

STATE and ACTION are arrays of data/, "state" and "action" if nothing is said; several are joined by
a comma.  The file keeps meta/episode_ends, by which diffrl divides it into episodes.
"""
import sys

import h5py
import numpy as np
import zarr


def columns(data, names):
    missing = [n for n in names.split(",") if n not in data]
    if missing:
        sys.exit(f"data/{missing[0]}: no such array; there are {', '.join(sorted(data.keys()))}")
    parts = [np.asarray(data[n][:], np.float32) for n in names.split(",")]
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)


def main(source, out, state="state", action="action"):
    store = zarr.storage.ZipStore(source, mode="r") if source.endswith(".zip") else source
    root = zarr.open_group(store, mode="r")
    ends = np.asarray(root["meta"]["episode_ends"][:])
    obs, act = columns(root["data"], state), columns(root["data"], action)
    if not len(obs) == len(act) == ends[-1]:
        sys.exit(f"{len(obs)} states, {len(act)} actions, but the last episode ends at {ends[-1]}")
    with h5py.File(out, "w") as f:
        f.create_dataset("observations", data=obs, compression="gzip")
        f.create_dataset("actions", data=act, compression="gzip")
        f["episode_ends"] = ends
    print(f"{out}: {len(obs)} steps, {len(ends)} episodes")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
