"""Makes the files of this folder: images, and what PIL and torchvision make of them.

Needs python3-pil and python3-torchvision.

images.json   by file name: width, height, channels, the pixels that PIL sees (RGB or L, EXIF orientation
              applied, in base64), and the colour under transparent ones
resize.json   PIL's bilinear resize of 8-bit images, grey and RGB (pixels in base64), and torchvision's Resize and
              CenterCrop of a square, as they evaluate
photo.jpg     a picture with the statistics of a photograph, for benchmarks
draws.json    means over many draws of torchvision's crop and erasing
"""

import base64
import io
import json
import random
import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision import transforms

images = {}


def text(pixels):
    return base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode()


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
        "pixels": text(seen),
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
    images[name] = {"width": 16, "height": 12, "channels": 3, "pixels": text(seen.convert("RGB"))}


def jpeg(image, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", **options)
    return data.getvalue()


def store(name, data):
    open(name, "wb").write(data)
    image = Image.open(name)
    save_pixels(name, image)


def save_pixels(name, image):
    if image.format != "TIFF":  # that is turned when it is loaded
        image = ImageOps.exif_transpose(image)
    seen = image.convert("RGB")
    images[name] = {"width": seen.width, "height": seen.height, "channels": 3, "pixels": text(seen)}


def restarted(image, rows, columns, **options):
    """A JPEG with a restart marker after each row of blocks: strips that are encoded alone, put together."""
    strips = [jpeg(image.crop((0, y, image.width, min(image.height, y + rows))), **options)
              for y in range(0, image.height, rows)]
    scans = [s.index(b"\xff\xda") for s in strips]
    head = bytearray(strips[0][:scans[0]])
    frame = head.index(b"\xff\xc0")
    head[frame + 5:frame + 7] = struct.pack(">H", image.height)
    interval = -(-image.width // columns)
    out = bytes(head) + b"\xff\xdd\x00\x04" + struct.pack(">H", interval) + strips[0][scans[0]:-2]
    for i, (strip, scan) in enumerate(zip(strips[1:], scans[1:])):
        length = struct.unpack(">H", strip[scan + 2:scan + 4])[0]
        out += bytes([0xff, 0xd0 + i % 8]) + strip[scan + 2 + length:-2]
    return out + b"\xff\xd9"


def tall_chroma(image, **options):
    """4:4:0 from 4:2:2: the same blocks, taken to stand in pairs below each other (so the picture is another one)."""
    data = bytearray(jpeg(image, subsampling=1, **options))
    frame = data.index(b"\xff\xc0")
    data[frame + 5:frame + 9] = struct.pack(">HH", 2 * image.height, image.width // 2)
    data[frame + 11] = 0x12
    return bytes(data)


def adobe(data, transform):
    """Changes what an Adobe segment says of the colours: 0 none, 1 YCbCr, 2 YCCK."""
    data = bytearray(data)
    data[data.index(b"Adobe") + 11] = transform
    return bytes(data)


def interlaced(image):
    """A PNG in Adam7, which PIL reads but does not write."""
    pixels, raw = np.asarray(image), b""
    for y, x, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                         (1, 0, 2, 1)]:
        part = pixels[y::dy, x::dx]
        raw += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1)),
              (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)


q = pattern(37, 29)
for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
    store(f"chroma-{name}.jpg", jpeg(q, quality=90, subsampling=subsampling))
store("chroma-420-even.jpg", jpeg(pattern(32, 16), quality=60, subsampling=2, optimize=True))
store("chroma-420-narrow.jpg", jpeg(pattern(3, 20), quality=90, subsampling=2))
store("chroma-440.jpg", tall_chroma(pattern(48, 16), quality=90))
store("restart.jpg", restarted(pattern(37, 150), 16, 16, quality=85, subsampling=2))
store("coarse.jpg", jpeg(q, quality=3, subsampling=2))
noise = Image.fromarray(np.random.RandomState(6).randint(0, 256, (24, 24, 3)).astype(np.uint8))
store("noise-q100.jpg", jpeg(noise, quality=100, subsampling=0))
store("progressive-420.jpg", jpeg(q, quality=90, subsampling=2, progressive=True))
store("ycck.jpg", adobe(jpeg(p.convert("CMYK"), quality=95, subsampling=0), 2))
store("interlaced.png", interlaced(q))
q.convert("LA").save("grey-alpha.png")
save_pixels("grey-alpha.png", Image.open("grey-alpha.png"))
turned = Image.Exif()
turned[0x0112] = 6
for name in ["orientation-6.png", "orientation-6.webp", "orientation-6.tiff"]:
    options = {"lossless": True} if name.endswith("webp") else {}
    p.save(name, exif=turned.tobytes() if name.endswith("webp") else turned, **options)
    save_pixels(name, Image.open(name))
p.save("deflate.tiff", compression="tiff_adobe_deflate")
save_pixels("deflate.tiff", Image.open("deflate.tiff"))
for name, image in [("transparent.gif", a.convert("RGB").quantize(8)), ("transparent.png", p.quantize(8))]:
    image.save(name, transparency=3)
    under = Image.new("RGBA", image.size, (10, 200, 90, 255))
    seen = Image.alpha_composite(under, Image.open(name).convert("RGBA")).convert("RGB")
    images[name] = {"width": 16, "height": 12, "channels": 3, "background": [10, 200, 90],
                    "pixels": text(seen)}
json.dump(images, open("images.json", "w"))

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


def photo(n, seed=11):
    """A picture with the statistics of a photograph: regions of even colour with edges, and noise of amplitude 1/f."""
    rng = np.random.RandomState(seed)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    f[0, 0] = 1

    def cloud(power):
        z = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) / f ** power).real
        return (z - z.mean()) / z.std()

    y, x = np.mgrid[0:n, 0:n] / n
    rgb = np.stack([110 + 60 * y, 120 + 30 * x, 150 - 70 * y], -1)
    for _ in range(12):
        cx, cy, rx, ry = rng.uniform(0, 1, 2).tolist() + rng.uniform(0.05, 0.3, 2).tolist()
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        rgb[inside] = rng.uniform(20, 235, 3) + 40 * (rgb[inside] - 128) / 128
    rgb += 22 * cloud(1.0)[..., None] + 6 * np.stack([cloud(1.2) for _ in range(3)], -1)
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


rng = np.random.RandomState(5)
picture = photo(224)
picture.save("photo.jpg", quality=90, subsampling=2)
cases = []
for i, ((w, h), size, box) in enumerate([
    ((50, 38), 28, (0, 0, 50, 38)),
    ((64, 48), 16, (5, 3, 60, 40)),
    ((33, 33), 32, (0, 0, 33, 33)),
    ((20, 20), 28, (0, 0, 20, 20)),
    ((40, 30), 32, (10, 4, 29, 25)),
    ((7, 30), 24, (0, 0, 7, 30)),
    ((1, 5), 8, (0, 0, 1, 5)),
    ((150, 10), 10, (0, 0, 150, 10)),
    ((28, 28), 28, (0, 0, 28, 28)),
    ((17, 30), 30, (0, 0, 17, 30)),
]):
    for mode, what in [("RGB", "photo"), ("L", "photo"), ("RGB", "noise")]:
        source = picture.crop((10 * i, 5 * i, 10 * i + w, 5 * i + h))
        if what == "noise":
            source = Image.fromarray(rng.randint(0, 256, (h, w, 3)).astype(np.uint8))
        source = source.convert(mode)
        cases.append({"what": what, "width": w, "height": h, "channels": len(source.getbands()), "size": size,
                      "box": box, "pixels": text(source),
                      "want": text(source.crop(box).resize((size, size), Image.BILINEAR))})
source = picture.crop((30, 20, 71, 61))
seen = transforms.CenterCrop(32)(transforms.Resize(32)(source))
cases.append({"what": "evaluation", "width": 41, "height": 41, "channels": 3, "size": 32, "box": (0, 0, 41, 41),
              "pixels": text(source), "want": text(seen)})
for i, ((w, h), resize, size) in enumerate([
    ((61, 40), 37, 32), ((40, 61), 32, 28), ((33, 33), 33, 28), ((32, 57), 32, 29), ((29, 64), 36, 31), ((90, 9), 12, 8),
]):
    for mode in "RGB", "L":
        source = picture.crop((7 * i, 3 * i, 7 * i + w, 3 * i + h)).convert(mode)
        seen = transforms.CenterCrop(size)(transforms.Resize(resize)(source))
        cases.append({"what": "resized and cut", "width": w, "height": h, "channels": len(source.getbands()), "size": size,
                      "resize": resize, "box": (0, 0, w, h), "pixels": text(source), "want": text(seen)})
json.dump(cases, open("resize.json", "w"))
