"""What do seven maps cost beside one plain prediction, and how long does an overlay take?

    python benchmarks/map_speed.py --rounds 15 --threads 2

Every round times each competitor once, in turn, so that a busy machine slows all of them alike; the figures are
medians over the rounds, and ratios of times taken in the same round. Pictures are timed by processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch

from melascope.explain.maps import MapEngine
from melascope.explain.mask_scores import score_map
from melascope.explain.overlay import draw_outline, encode_overlay, render_overlay, save_image
from melascope.explain.panel import compose_panel
from melascope.explain.running import fast_copy

PLAIN = "plain forward, no_grad"
FAST_PLAIN = "plain forward, bfloat16, channels last"
Call = Callable[[], object]


def interleaved(
    competitors: dict[str, Call], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """Seconds (rounds,) of each competitor, after one round of warming up; every second round goes backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for round_ in range(rounds + 1):
        for name in list(competitors)[:: 1 if round_ % 2 else -1]:
            start = clock()
            competitors[name]()
            if round_ > 0:
                seconds[name].append(clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def both_clocks() -> complex:
    """Wall time and, as the imaginary part, processor time of all threads."""
    return complex(time.perf_counter(), time.process_time())


def table(title: str, seconds: dict[str, np.ndarray], plain: str, batch_size: int) -> None:
    """Medians over the rounds of the ratio to `plain` in the same round, by the clock and by processor time."""
    print(f"\n{title}\n\n| | times a plain forward | quartiles | by processor time | quartiles | ms an image |")
    print("|---|---|---|---|---|---|")
    for name, values in seconds.items():
        wall = np.percentile(values.real / seconds[plain].real, (25, 50, 75))
        cpu = np.percentile(values.imag / seconds[plain].imag, (25, 50, 75))
        print(
            f"| {name} | {wall[1]:.3f} | {wall[0]:.3f} … {wall[2]:.3f} | {cpu[1]:.3f} | {cpu[0]:.3f} … {cpu[2]:.3f} "
            f"| {1e3 * np.median(values.real) / batch_size:.1f} |",
            flush=True,
        )


def network_and_batch(backbone: str, batch_size: int) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = timm.create_model(backbone, num_classes=7).eval()
    return model, torch.randn(batch_size, 3, 224, 224)


def plainly(model: torch.nn.Module, batch: torch.Tensor) -> Call:
    return torch.no_grad()(lambda: model(batch))


def ours(backbone: str, model: torch.nn.Module, batch: torch.Tensor) -> dict[str, Call]:
    """Seven maps and logits by either path, and of an earlier layer."""
    engine, general = MapEngine(model), MapEngine(model)
    general.path = "autograd"
    calls = {f"{engine.layer}, seven classes, {engine.path}": lambda: engine(batch)}
    if engine.path != general.path:
        calls[f"{engine.layer}, seven classes, {general.path}"] = lambda: general(batch)
    if backbone.startswith("efficientnet"):
        earlier = MapEngine(model, layer="blocks[4]")
        calls[f"blocks[4], one class, {earlier.path}"] = lambda: earlier(batch, classes=[4])
        calls[f"blocks[4], seven classes, {earlier.path}"] = lambda: earlier(batch)
    return calls


def maps_beside_prediction(backbone: str, batch_size: int, rounds: int) -> None:
    model, batch = network_and_batch(backbone, batch_size)
    about = f"{backbone}, 224 px, batch {batch_size}, {torch.get_num_threads()} threads, {rounds} rounds"
    competitors = {PLAIN: plainly(model, batch), **ours(backbone, model, batch)}
    table(about, interleaved(competitors, rounds, both_clocks), PLAIN, batch_size)


def fast_pictures(backbone: str, batch_size: int, rounds: int) -> None:
    """What bfloat16 and channels last save, and what the maps cost there beside a plain forward of the same kind."""
    model, batch = network_and_batch(backbone, batch_size)
    rough, small = fast_copy(model), batch.to(torch.bfloat16, memory_format=torch.channels_last)
    fast = MapEngine(model, fast=True)
    competitors = {
        PLAIN: plainly(model, batch),
        FAST_PLAIN: plainly(rough, small),
        "seven maps, fast=True": lambda: fast(batch),
    }
    seconds = interleaved(competitors, rounds, both_clocks)
    table(f"{backbone}, for galleries, beside float32", seconds, PLAIN, batch_size)
    table(f"{backbone}, for galleries, beside the same precision", seconds, FAST_PLAIN, batch_size)


def thousand_overlays(image: np.ndarray, maps: np.ndarray) -> None:
    for values in maps:
        encode_overlay(image, values, scale=2.0)


def pictures(rounds: int) -> None:
    """Processor time of what is done with a map, at the release's size."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.random((1, 3, 30, 40), dtype=np.float32))
    image = torch.nn.functional.interpolate(noise, (450, 600), mode="bicubic")[0].clamp(0, 1)
    image = np.ascontiguousarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    values, mask = rng.normal(size=(7, 7)).astype(np.float32), np.zeros((450, 600), dtype=bool)
    mask[100:300, 200:450] = True
    both, many = {"vasc": values, "mel": -values}, rng.normal(size=(1000, 7, 7)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        competitors = {
            "overlay (resize, palette, blend)": lambda: render_overlay(image, values, scale=2.0),
            "overlay, encoded as JPEG": lambda: encode_overlay(image, values, scale=2.0),
            "overlay, encoded as WebP": lambda: encode_overlay(image, values, scale=2.0, form="WEBP"),
            "1,000 overlays of 1,000 maps, JPEG": lambda: thousand_overlays(image, many),
            "outline": lambda: draw_outline(image, mask),
            "save as .jpg": lambda: save_image(path / "a.jpg", image),
            "save as .webp": lambda: save_image(path / "a.webp", image),
            "save as .png": lambda: save_image(path / "a.png", image),
            "panel of two classes": lambda: compose_panel(image, both, predicted="vasc", mask=mask),
            "score against a mask": lambda: score_map(values, mask),
        }
        seconds = interleaved(competitors, rounds, clock=time.process_time)
    print(f"\n600×450 pictures, {rounds} rounds\n\n| step | processor ms | quartiles |\n|---|---|---|")
    for name, values in seconds.items():
        low, middle, high = 1e3 * np.percentile(values, (25, 50, 75))
        print(f"| {name} | {middle:.2f} | {low:.2f} … {high:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--fast", action="store_true", help="bfloat16 and channels last too")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    maps_beside_prediction(chosen.backbone, chosen.batch_size, chosen.rounds)
    if chosen.fast:
        fast_pictures(chosen.backbone, chosen.batch_size, chosen.rounds)
    pictures(4 * chosen.rounds)


if __name__ == "__main__":
    main()
