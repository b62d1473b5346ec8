"""Makes the files of this folder: images, and what PIL and torchvision make of them. Needs python3-pil, python3-torchvision.

images.json   by file name: width, height, channels, the pixels that PIL sees (RGB or L, EXIF orientation applied)
resize.json   PIL's bilinear resize of float images
draws.json    means over many draws of torchvision's crop and erasing
"""

import json
import random

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision import transforms

rng = np.random.RandomState(5)
images = {}


def pattern(width, height):
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x / (width - 1), 255 * y / (height - 1), 128 + 100 * np.sin(x / 3.0) * np.cos(y / 4.0)], -1)
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def save(name, image, grey=False, **options):
    image.save(name, **options)
    seen = ImageOps.exif_transpose(Image.open(name))
    seen = seen.convert("L" if grey else "RGB")
    images[name] = {
        "width": seen.width,
        "height": seen.height,
        "channels": 1 if grey else 3,
        "pixels": np.asarray(seen).ravel().tolist(),
    }


p = pattern(16, 12)
save("rgb.webp", p, lossless=True)
save("lossy.webp", p, quality=95)
save("flat.webp", Image.new("RGB", (16, 16), (200, 60, 30)), quality=95)
save("progressive.jpg", p, quality=95, subsampling=0, progressive=True)
save("grey.jpg", p.convert("L"), grey=True, quality=95)
save("cmyk.jpg", p.convert("CMYK"), quality=95, subsampling=0)
save("interlaced-palette.gif", p.quantize(32), interlace=True)
save("palette.png", p.quantize(32))
save("bits1.png", p.convert("1"), grey=True)
save("grey-from-rgb.png", p, grey=True)
save("packbits.tiff", p, compression="packbits")
save("lzw.tiff", p, compression="tiff_lzw")
save("palette.bmp", p.quantize(32))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(f"orientation-{orientation}.jpg", p, quality=95, subsampling=0, exif=exif.tobytes())
a = p.copy()
a.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 16).astype(np.uint8), (12, 1))))
for name, options in [("alpha.webp", {"quality": 95}), ("alpha-lossless.webp", {"lossless": True, "exact": True})]:
    a.save(name, **options)
    seen = Image.alpha_composite(Image.new("RGBA", a.size, (128, 128, 128, 255)), Image.open(name).convert("RGBA"))
    images[name] = {"width": 16, "height": 12, "channels": 3, "pixels": np.asarray(seen.convert("RGB")).ravel().tolist()}
json.dump(images, open("images.json", "w"))

cases = []
for (w, h), (tw, th), box in [
    ((7, 5), (3, 3), (0, 0, 7, 5)),
    ((5, 7), (9, 9), (0, 0, 5, 7)),
    ((28, 28), (20, 20), (3, 5, 25, 24)),
    ((31, 17), (8, 8), (1, 2, 30, 16)),
    ((1, 1), (4, 4), (0, 0, 1, 1)),
    ((13, 13), (13, 13), (0, 0, 13, 13)),
    ((40, 12), (12, 12), (0, 0, 40, 12)),
]:
    pixels = rng.randint(0, 256, (h, w)).astype(np.uint8)
    part = Image.fromarray((pixels / 255.0).astype(np.float32)).crop(box)
    out = np.asarray(part.resize((tw, th), Image.BILINEAR))
    cases.append({
        "width": w, "height": h, "pixels": pixels.ravel().tolist(), "box": box, "size": tw,
        "want": [float(f"{v:.8g}") for v in out.ravel()],
    })
json.dump(cases, open("resize.json", "w"))

torch.manual_seed(1)
random.seed(1)
draws = []
for width, height, scale, ratio in [
    (500, 375, (0.08, 1.0), (3 / 4, 4 / 3)),
    (28, 28, (0.3, 1.0), (3 / 4, 4 / 3)),
    (100, 300, (0.5, 1.0), (0.9, 1.1)),
]:
    n = 40000
    d = np.array([transforms.RandomResizedCrop.get_params(Image.new("L", (width, height)), scale, ratio)
                  for _ in range(n)], dtype=np.float64)
    draws.append({"what": "crop", "width": width, "height": height, "scale": scale, "ratio": ratio,
                  "mean": {"y": d[:, 0].mean(), "x": d[:, 1].mean(), "height": d[:, 2].mean(), "width": d[:, 3].mean()},
                  "whole": float(((d[:, 2] == height) & (d[:, 3] == width)).mean())})
for size, scale, ratio in [(28, (0.02, 0.33), (0.3, 3.3)), (32, (0.5, 1.0), (0.2, 1.0))]:
    n = 40000
    image = torch.zeros(1, size, size)
    d, none = [], 0
    for _ in range(n):
        y, x, h, w, v = transforms.RandomErasing.get_params(image, scale, ratio, [0.0])
        if (h, w) == (size, size):
            none += 1
        else:
            d.append((y, x, h, w))
    d = np.array(d, dtype=np.float64)
    draws.append({"what": "occlude", "width": size, "height": size, "scale": scale, "ratio": ratio,
                  "mean": {"y": d[:, 0].mean(), "x": d[:, 1].mean(), "height": d[:, 2].mean(), "width": d[:, 3].mean()},
                  "whole": none / n})
json.dump(draws, open("draws.json", "w"), indent=1)
