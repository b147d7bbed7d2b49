"""tests/golden/reference.safetensors: a file by the format's reference writer.

pip install numpy safetensors; run from the repository root."""
import numpy as np
from safetensors.numpy import save_file

save_file(
    {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4 - 1,
        "bias": 1.0 / np.arange(1, 4, dtype=np.float64),
        "image": np.arange(100, 103, dtype=np.uint8).reshape(1, 3, 1, 1),
        "scalar": np.array(-(2**40), dtype=np.int64),
        "empty": np.zeros((0, 3), dtype=np.float32),
    },
    "tests/golden/reference.safetensors",
    metadata={"note": "by the reference writer"},
)
