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
from melascope.explain.overlay import draw_outline, render_overlay, save_image
from melascope.explain.panel import compose_panel

PLAIN = "plain forward, no_grad"


def interleaved(
    competitors: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """Seconds (rounds,) of each competitor, after one round of warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for round_ in range(rounds + 1):
        for name, call in competitors.items():
            start = clock()
            call()
            if round_ > 0:
                seconds[name].append(clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def maps_beside_prediction(backbone: str, batch_size: int, rounds: int) -> None:
    """Seven maps and logits, by either path and of an earlier layer, as multiples of a plain forward pass."""
    torch.manual_seed(0)
    model = timm.create_model(backbone, num_classes=7).eval()
    batch = torch.randn(batch_size, 3, 224, 224)
    engine, general = MapEngine(model), MapEngine(model)
    general.path = "autograd"
    competitors = {
        PLAIN: torch.no_grad()(lambda: model(batch)),
        f"{engine.layer}, {engine.path}": lambda: engine(batch),
    }
    if engine.path != general.path:
        competitors[f"{engine.layer}, {general.path}"] = lambda: general(batch)
    if backbone.startswith("efficientnet"):
        earlier = MapEngine(model, layer="blocks.4")
        competitors[f"blocks.4, {earlier.path}"] = lambda: earlier(batch)
    seconds = interleaved(competitors, rounds)
    print(f"\n{backbone}, 224 px, batch {batch_size}, {torch.get_num_threads()} threads, {rounds} rounds\n")
    print("| logits and seven maps of | times a plain forward pass | quartiles | ms an image |\n|---|---|---|---|")
    for name, values in seconds.items():
        low, ratio, high = np.percentile(values / seconds[PLAIN], (25, 50, 75))
        print(f"| {name} | {ratio:.3f} | {low:.3f} … {high:.3f} | {1e3 * np.median(values) / batch_size:.2f} |")


def pictures(rounds: int) -> None:
    """Processor time of what is done with a map, at the release's size."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.random((1, 3, 30, 40), dtype=np.float32))
    image = torch.nn.functional.interpolate(noise, (450, 600), mode="bicubic")[0].clamp(0, 1)
    image = np.ascontiguousarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    values, mask = rng.normal(size=(7, 7)).astype(np.float32), np.zeros((450, 600), dtype=bool)
    mask[100:300, 200:450] = True
    both = {"vasc": values, "mel": -values}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        competitors = {
            "overlay (resize, palette, blend)": lambda: render_overlay(image, values, scale=2.0),
            "outline": lambda: draw_outline(image, mask),
            "save as .jpg": lambda: save_image(path / "a.jpg", image),
            "save as .webp": lambda: save_image(path / "a.webp", image),
            "save as .png": lambda: save_image(path / "a.png", image),
            "panel of two classes": lambda: compose_panel(image, both, predicted="vasc", mask=mask),
            "score against a mask": lambda: score_map(values, mask),
        }
        seconds = interleaved(competitors, rounds, clock=time.process_time)
    print(f"\n600×450 pictures, {rounds} rounds\n\n| step | processor ms |\n|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {1e3 * np.median(values):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    maps_beside_prediction(chosen.backbone, chosen.batch_size, chosen.rounds)
    pictures(4 * chosen.rounds)


if __name__ == "__main__":
    main()
