"""How many surely alien pictures does the local page refuse, and how many real test images does that cost?

    python benchmarks/likeness.py RUN --cache FOLDER [--methods]

The method was chosen on the kinds `CHOOSING` of `alien_images`, its limit on the run's validation images; the figure is
that of the kinds `REPORTED`. `--methods` measures the rivals too (network features of every image: minutes).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from alien_images import CHOOSING, REPORTED, alien_images
from scipy.stats import binomtest

from melascope.data.appearance import appearance
from melascope.data.archive import read_member
from melascope.data.decode import decode_mask
from melascope.data.pixels import resize_image
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom.lesions import images
from melascope.data.sources.phantom.render import render
from melascope.evaluation.likeness import KEPT, Likeness, conformal_limit, neighbour_distance
from melascope.stages.answering import Answerer
from melascope.stages.data import folder_of
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image
from melascope.tables.lesions import LesionTable
from melascope.tables.predictions import Predictions
from melascope.tables.runs import RunDirectory

DRAWS = 2000
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Features (n, c) and logits (n, 7) -> strangeness (n,)."""


def share(yes: np.ndarray) -> str:
    """Share with its Wilson interval."""
    interval = binomtest(int(yes.sum()), len(yes)).proportion_ci(method="wilson")
    return f"{int(yes.sum()):4d} of {len(yes):4d} = {yes.mean():6.1%}  [{interval.low:.1%}, {interval.high:.1%}]"


def share_by_lesion(yes: np.ndarray, lesion: np.ndarray) -> str:
    """Share with its percentile interval over draws of lesions."""
    _, index = np.unique(lesion.astype(str), return_inverse=True)
    counts, hits = np.bincount(index), np.bincount(index, weights=yes)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), DRAWS)
    low, high = np.percentile((weights @ hits) / (weights @ counts), [2.5, 97.5])
    return f"{int(yes.sum()):4d} of {len(yes):4d} = {yes.mean():6.1%}  [{low:.1%}, {high:.1%}], {len(counts):,} lesions"


def plain_skin(table: LesionTable, rows: np.ndarray, most: int = 100) -> list[np.ndarray]:
    """A third of each side of a test image, from the corner that holds no lesion: skin alone."""
    found: list[np.ndarray] = []
    for row in rows:
        if len(found) == most or not table.mask_path[row]:
            continue
        rgb = load_image(table, row)
        mask = decode_mask(read_member(table.root, table.mask_path[row]), name=table.mask_path[row])
        mask = resize_image(np.repeat(np.uint8(mask)[..., None], 3, axis=2), rgb.shape[1], rgb.shape[0])[..., 0] > 0
        height, width = rgb.shape[0] // 3, rgb.shape[1] // 3
        for top in (0, rgb.shape[0] - height):
            for left in (0, rgb.shape[1] - width):
                part = np.s_[top : top + height, left : left + width]
                if not mask[part].any() and rgb[part].mean() > 90 and len(found) < most:  # no dark corner
                    found.append(rgb[part])
                    break
            else:
                continue
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="where pip leaves the packages with pictures")
    parser.add_argument("--data", type=Path, help="the data set's folder, where it has moved; needed for a packed run")
    parser.add_argument("--methods", action="store_true", help="measure the rivals too")
    arguments = parser.parse_args()
    run = RunDirectory.open(arguments.run)
    answerer, facts = Answerer.open(run, Reporter()), run.read_facts()
    card = answerer.looker.card
    table = read_dataset(folder_of(facts, arguments.data), facts["source"])
    known = Predictions.read(run.predictions)

    def resized(pictures: list[np.ndarray]) -> np.ndarray:
        return np.stack([resize_image(one, card.input_width, card.input_height) for one in pictures])

    test = known.of_split("test")
    rows = table.index_of(test.image_id)
    aliens = {kind: resized(pictures) for kind, pictures in alien_images(arguments.cache).items()}
    near = {
        "plain skin (corners)": resized(plain_skin(table, rows)),
        "phantom lesions": resized([render(9, image, lesion)[0] for image, lesion in images(9, 60)]),
    }
    real = resized([load_image(table, row) for row in rows])
    likeness = answerer.likeness
    print(f"run {run.name}, {answerer.store.n_train:,} training images; limit {likeness.limit:.4f}")
    print(f"lost: validation {(likeness.ascending > likeness.limit).mean():.1%} of {len(likeness.ascending):,}")
    lost = likeness.strangeness(appearance(real)) > likeness.limit
    print(f"lost: test       {share_by_lesion(lost, test.lesion_key)}")
    melanoma = test.dx == "mel"
    print(f"  of melanoma    {share_by_lesion(lost[melanoma], test.lesion_key[melanoma])}")
    refused = {
        kind: likeness.strangeness(appearance(pixels)) > likeness.limit for kind, pixels in (aliens | near).items()
    }
    told(refused, near)
    if arguments.methods:
        rivals(answerer, table, known, aliens, real)


def told(refused: dict[str, np.ndarray], near: dict[str, np.ndarray]) -> None:
    for title, kinds in (("chosen on", CHOOSING), ("REPORTED", REPORTED)):
        print(f"refused, {title}: {share(np.concatenate([refused[kind] for kind in kinds]))}")
        print(f"  mean over its {len(kinds)} kinds: {np.mean([refused[kind].mean() for kind in kinds]):.1%}")
        for kind in kinds:
            print(f"  {kind:32s} {share(refused[kind])}")
    print("refused, no aliens and no usual images either:")
    for kind in near:
        print(f"  {kind:32s} {share(refused[kind])}")


def rivals(
    answerer: Answerer, table: LesionTable, known: Predictions, aliens: dict[str, np.ndarray], real: np.ndarray
) -> None:
    """The methods that were tried, each with its limit at 95 % of validation."""
    looker = answerer.looker
    sides = {side: known.of_split(side) for side in ("train", "val")}
    pixels = {
        side: np.stack(
            [
                resize_image(load_image(table, row), looker.card.input_width, looker.card.input_height)
                for row in table.index_of(one.image_id)
            ]
        )
        for side, one in sides.items()
    }
    pixels |= {"test": real, **aliens}
    seen = {name: _features(answerer, one) for name, one in pixels.items()}
    looks = {name: appearance(one) for name, one in pixels.items()}
    for name, score in network_scores(*seen["train"], sides["train"].labels, looker.card.temperature).items():
        print_rival(name, {key: score(*one) for key, one in seen.items() if key != "train"})
    whitened = whitening(looks["train"], 0.1)
    print_rival("appearance, Mahalanobis", {key: whitened(one) for key, one in looks.items() if key != "train"})
    plain = Likeness.fit(looks["train"], looks["val"])
    grouped = Likeness.fit(looks["train"], looks["val"], is_target=sides["train"].dx == "mel")
    for name, fitted in (("appearance, neighbour 10", plain), ("the same, melanoma apart", grouped)):
        print_rival(name, {key: fitted.strangeness(one) for key, one in looks.items() if key != "train"})


def _features(answerer: Answerer, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = [answerer.looker.look(pixels[start : start + 64]) for start in range(0, len(pixels), 64)]
    return np.concatenate([one.features for one in parts]), np.concatenate([one.logits for one in parts])


def whitening(train: np.ndarray, ridge: float) -> Callable[[np.ndarray], np.ndarray]:
    """Mahalanobis distance to one Gaussian of standardised numbers, its covariance with a ridge."""
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-9
    values, axes = np.linalg.eigh(np.cov(((train - mean) / scale).T))
    factor = axes / np.sqrt(np.maximum(values, 0) + ridge)
    return lambda asked: np.linalg.norm(((asked - mean) / scale) @ factor, axis=1)


def network_scores(
    features: np.ndarray, logits: np.ndarray, labels: np.ndarray, temperature: float
) -> dict[str, Score]:
    """Liu 2020 (energy), Sun 2022 (neighbour of features of length 1), Lee 2018 and Ren 2021 (Mahalanobis)."""

    def unit(one: np.ndarray) -> np.ndarray:
        return one / np.linalg.norm(one, axis=1, keepdims=True)

    mean = features.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov((features - mean).T))
    values, axes = values[::-1], axes[:, ::-1]
    background = axes[:, :256] / np.sqrt(values[:256])
    centres = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels[labels >= 0])])
    within = features - centres[np.maximum(labels, 0)]
    inner, inner_axes = np.linalg.eigh(np.cov(within.T))
    shared = inner_axes[:, -256:] / np.sqrt(inner[-256:])

    def lee(one: np.ndarray) -> np.ndarray:
        return np.min([np.square((one - centre) @ shared).sum(axis=1) for centre in centres], axis=0)

    def one_gaussian(one: np.ndarray) -> np.ndarray:
        return np.square((one - mean) @ background).sum(axis=1)

    return {
        "energy": lambda _, one: -temperature * np.logaddexp.reduce(one / temperature, axis=1),
        "features, cosine neighbour 10": lambda one, _: neighbour_distance(unit(features), unit(one), 10),
        "features, one Gaussian": lambda one, _: one_gaussian(one),
        "features, Mahalanobis by class": lambda one, _: lee(one),
        "features, relative Mahalanobis": lambda one, _: lee(one) - one_gaussian(one),
    }


def print_rival(name: str, scores: dict[str, np.ndarray]) -> None:
    limit, _ = conformal_limit(np.sort(scores["val"]), KEPT)
    parts = {title: np.concatenate([scores[kind] for kind in kinds]) > limit for title, kinds in
             (("chosen on", CHOOSING), ("reported", REPORTED))}  # fmt: skip
    figures = ", ".join(f"{title} {part.mean():.1%}" for title, part in parts.items())
    print(f"  {name:32s} lost {(scores['test'] > limit).mean():.1%}; refused: {figures}", flush=True)


if __name__ == "__main__":
    main()
