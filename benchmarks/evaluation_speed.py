"""How long does an evaluation of 10,000 images take, beside a plain loop over scikit-learn?

Run on one core: `OMP_NUM_THREADS=1 python benchmarks/evaluation_speed.py [--rows 10000] [--draws 2000]`.

Both sides give 95 % intervals by lesion, per image and per lesion, of: accuracy, balanced accuracy, macro-F1; recall,
specificity, PPV, AUROC and average precision of each class; the AUROC of melanoma above 80 % sensitivity; sensitivity,
specificity, PPV and NPV of melanoma at argmax and at the threshold. Ours also judges the histology rows again, the
subgroups, calibration, net benefit and abstention, inside its time.
The loop draws lesions, gathers their rows and calls scikit-learn, as its documentation shows; it is run for a few
draws and its time is scaled up, which is fair because each draw costs the same.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import numpy as np
from sklearn import metrics as sk

from melascope.classes import CLASSES, MEL
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.operating_point import OperatingPoint, choose_operating_point
from melascope.tables.predictions import Predictions, PredictionsOrigin

SHARES = np.array([0.033, 0.051, 0.110, 0.011, 0.111, 0.670, 0.014])  # of HAM10000's images


def synthetic(n_images: int, split: str, seed: int) -> Predictions:
    """Lesions of one to three images with correlated, plausible logits."""
    rng = np.random.default_rng(seed)
    lesion = np.repeat(np.arange(n_images), rng.choice([1, 2, 3], n_images, p=[0.74, 0.2, 0.06]))[:n_images]
    label = rng.choice(7, n_images, p=SHARES / SHARES.sum())[lesion]
    logits = rng.normal(0, 1, (n_images, 7))[lesion] + rng.normal(0, 0.7, (n_images, 7))
    logits[np.arange(n_images), label] += 2

    def text(values: list[str]) -> np.ndarray:
        column = np.empty(n_images, dtype=object)
        column[:] = values
        return column

    blank = text([""] * n_images)
    return Predictions(
        image_id=text([f"{split}_{row}" for row in range(n_images)]),
        lesion_id=text([f"{split}_lesion_{one}" for one in lesion]),
        split=text([split] * n_images),
        dx=text([CLASSES[one] for one in label]),
        age=np.full(n_images, np.nan),
        sex=blank,
        localization=blank,
        dx_type=text(["histo" if one % 2 or CLASSES[one] == "mel" else "follow_up" for one in label]),
        logits=logits,
        origin=PredictionsOrigin(source="synthetic"),
    )


def plain_loop(table: Predictions, point: OperatingPoint, draws: int) -> list[tuple[float, float]]:
    """The same intervals, draw by draw, with scikit-learn."""
    rng = np.random.default_rng(0)
    lesions, row = np.unique(table.lesion_key.astype(str), return_inverse=True)
    rows_of = np.split(np.argsort(row, kind="stable"), np.cumsum(np.bincount(row))[:-1])
    labels, probabilities = table.labels, table.probabilities
    means = np.stack([np.bincount(row, column) for column in probabilities.T], axis=1) / np.bincount(row)[:, None]
    lesion_labels = labels[[rows[0] for rows in rows_of]]
    drawn = []
    for _ in range(draws):
        chosen = rng.integers(0, len(lesions), len(lesions))
        images = np.concatenate([rows_of[one] for one in chosen])
        drawn.append(
            _figures(labels[images], probabilities[images], point.threshold)
            + _figures(lesion_labels[chosen], means[chosen], point.threshold)
        )
    return [tuple(np.quantile(values, [0.025, 0.975])) for values in zip(*drawn, strict=True)]


def _figures(truth: np.ndarray, probabilities: np.ndarray, threshold: float) -> list[float]:
    called = probabilities.argmax(axis=1)
    values = [
        sk.accuracy_score(truth, called),
        sk.balanced_accuracy_score(truth, called),
        sk.f1_score(truth, called, average="macro"),
        *sk.recall_score(truth, called, average=None),
    ]
    for column in range(7):
        values.append(sk.recall_score(truth != column, called != column))
        values.append(sk.precision_score(truth == column, called == column))
        values.append(sk.roc_auc_score(truth == column, probabilities[:, column]))
        values.append(sk.average_precision_score(truth == column, probabilities[:, column]))
    values.append(sk.roc_auc_score(truth != MEL, -probabilities[:, MEL], max_fpr=0.2))
    return values + _decisions(truth == MEL, probabilities, threshold)


def _decisions(truth: np.ndarray, probabilities: np.ndarray, threshold: float) -> list[float]:
    values = []
    for called in (probabilities.argmax(axis=1) == MEL, probabilities[:, MEL] >= threshold):
        values += [sk.recall_score(truth, called), sk.recall_score(~truth, ~called)]
        values += [sk.precision_score(truth, called), sk.precision_score(~truth, ~called)]
    return values


def main() -> None:
    """Time both and print seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=2_000)
    parser.add_argument("--loop-draws", type=int, default=20)
    options = parser.parse_args()
    point = choose_operating_point(synthetic(1_000, "val", seed=1))
    table = synthetic(options.rows, "test", seed=2)

    start = time.process_time()
    evaluation = evaluate(table, point, draws=options.draws)
    ours = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(evaluation.headline())
    print(f"melascope: {options.rows:,} rows, {options.draws:,} draws: {ours:.2f} s, peak {peak:,.0f} MiB")

    if options.loop_draws:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.process_time()
            plain_loop(table, point, options.loop_draws)
        loop = (time.process_time() - start) * options.draws / options.loop_draws
        print(f"scikit-learn loop: {options.loop_draws} draws timed, scaled to {options.draws:,}: {loop:.0f} s")
        print(f"ratio: {loop / ours:.0f}x")


if __name__ == "__main__":
    main()
