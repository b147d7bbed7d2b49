"""JPEG files by Pillow, and what it reads from them: tests/golden/jpeg.

    python3 -m venv venv
    venv/bin/pip install pillow==13.0.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/jpeg.py

    NAME.jpg              grey, colour, progressive, cmyk
    jpeg.safetensors
      NAME/pixels         [height, width, channels] as Pillow decodes NAME.jpg
      NAME/source         [height, width, channels] what was encoded
      NAME/bytes          [100]: the size of Image.save(.., "JPEG", quality=q), q from 1 to 100
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parents[2] / "tests/golden/jpeg"
OUT.mkdir(exist_ok=True)
rng = np.random.default_rng(0)


def picture(height, width, channels):
    """Slopes, an edge and some noise, so that every part of the format is used."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    shade = 4 * x + 3 * y * (c + 1) + 90 * (x > width // 2) + rng.normal(0, 6, y.shape)
    return np.clip(shade, 0, 255).astype(np.uint8)


def encoded(image, **how):
    file = io.BytesIO()
    image.save(file, "JPEG", **how)
    return file.getvalue()


out = {}
for name, shape, mode, how in [
    ("grey", (28, 28, 1), "L", {"quality": 95}),
    ("colour", (19, 33, 3), "RGB", {"quality": 90}),
    ("progressive", (19, 33, 3), "RGB", {"quality": 75, "progressive": True}),
    ("cmyk", (8, 8, 4), "CMYK", {"quality": 75}),
]:
    pixels = picture(*shape)
    image = Image.fromarray(pixels[:, :, 0] if shape[2] == 1 else pixels, mode)
    data = encoded(image, **how)
    (OUT / f"{name}.jpg").write_bytes(data)
    if mode == "CMYK":
        continue
    decoded = np.asarray(Image.open(io.BytesIO(data)))
    out[f"{name}/source"] = pixels.astype(np.float32)
    out[f"{name}/pixels"] = decoded.reshape(shape).astype(np.float32)
    sizes = [len(encoded(image, quality=q)) for q in range(1, 101)]
    out[f"{name}/bytes"] = np.array(sizes, np.int64)
save_file(out, OUT / "jpeg.safetensors")
