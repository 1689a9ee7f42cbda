"""Wrong labels of images that may have several: are they found?

    python -m benchmarks.training.several_label_noise DATA --weights WEIGHTS --json several_label_noise.json

Pictures of one to three labels are made as in `benchmarks.training.several_labels`. In a share of them one label is
changed: half of these pictures lack a label that they have, the others get one that they do not have. Candidates are
found as by ``search check``, with linear probes on the features of one pre-trained network.

The table has, as means over draws: the candidates; how many of the changed labels are contradicted; how many of the
first k candidates are changed pictures, with k the number of changed pictures, also in the order of a published score;
and the expected number of wrong labels, which the command prints.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.probes.probe_draws import features_of
from benchmarks.training.several_labels import add_picture_options, make_pictures
from trainer.common.arrays import Float32Array, Float64Array
from trainer.common.errors import TrainerError
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images
from trainer.evaluation.several_labels import Labels
from trainer.probing.judge_several_labels import judge_several_labels
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

SHARES = (0.0, 0.05, 0.1)
"""Shares of the pictures in which one label is changed."""
FOLDS = 5
DECAY = 0.8
"""Weight of the lower score in the moving average of `label_quality`: the value of Thyagarajan et al."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One share of changed pictures of one draw."""

    seed: int
    share: float
    pictures: int
    changed: int
    """Number of changed pictures."""
    candidates: int
    found: int
    """Changed pictures whose changed label is contradicted."""
    first: int
    """The same among the first ``changed`` candidates."""
    first_by_quality: int
    """The same if the candidates are ordered by `label_quality`."""
    expected: float
    """Estimated number of wrong labels."""


def change_labels(truth: Labels, share: float, seed: int) -> Labels:
    """Labels of which one is changed in a share of the pictures. Every picture keeps a label."""
    rng = np.random.default_rng(seed)
    labels = truth.copy()
    for row in rng.permutation(len(truth))[: round(share * len(truth))]:
        forgotten = truth[row].all() or (truth[row].sum() > 1 and rng.random() < 0.5)
        choices = np.flatnonzero(truth[row] == int(forgotten))
        labels[row, rng.choice(choices)] = int(not forgotten)
    return labels


def label_quality(y: Labels, proba: Float64Array) -> Float64Array:
    """The published score by which images are ordered, the lowest first: float64 (s,).

    An exponential moving average over the probabilities of what ``y`` says of each label, in falling order (Thyagarajan
    et al. 2022, arXiv 2211.13895). It is compared with the order that is used, by the least probable label.
    """
    falling = -np.sort(-np.where(y == 1, proba, 1.0 - proba), axis=1)
    quality = falling[:, 0]
    for each in falling.T[1:]:
        quality = DECAY * each + (1.0 - DECAY) * quality
    return np.asarray(quality, np.float64)


def measure(features: Float32Array, truth: Labels, share: float, seed: int) -> Run:
    """Change labels and look for them."""
    y = change_labels(truth, share, seed)
    changed = int((y != truth).any(axis=1).sum())
    errors = judge_several_labels(features, y, np.arange(len(y)), n_folds=FOLDS).errors
    hits = ((y != truth)[errors.rows] & errors.changed).any(axis=1)
    quality = label_quality(errors.given, errors.proba)
    return Run(
        seed=seed,
        share=share,
        pictures=len(y),
        changed=changed,
        candidates=len(hits),
        found=int(hits.sum()),
        first=int(hits[:changed].sum()),
        first_by_quality=int(hits[np.argsort(quality, kind="stable")[:changed]].sum()),
        expected=errors.expected,
    )


def rows_of(runs: Sequence[Run]) -> list[dict[str, object]]:
    """The table: one row for each share."""
    rows: list[dict[str, object]] = []
    for share in sorted({run.share for run in runs}):
        own = [run for run in runs if run.share == share]
        changed = sum(run.changed for run in own)

        def part(count: int, changed: int = changed) -> str:
            return f"{count / changed:.0%}" if changed else "-"

        rows.append(
            {
                "pictures with a changed label": f"{share:.0%}: {own[0].changed} of {own[0].pictures}",
                "candidates": f"{np.mean([run.candidates for run in own]):.0f}",
                "changed ones found": part(sum(run.found for run in own)),
                "changed among the first k": part(sum(run.first for run in own)),
                "in the published order": part(sum(run.first_by_quality for run in own)),
                "expected wrong labels": f"{np.mean([run.expected for run in own]):.0f}",
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Make pictures, change labels, look for them, print; 2 if the images or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_picture_options(parser)
    parser.add_argument("--pictures", type=int, default=400, help="(%(default)s)")
    parser.add_argument("--side", type=int, default=64, help="pixels of an image in a picture (%(default)s)")
    parser.add_argument("--size", type=int, default=224, help="pixels of a picture for the network (%(default)s)")
    given = parser.parse_args(arguments)
    recipe = Recipe.from_flat(
        {"backbone": given.backbone, "method": LINEAR_PROBE, "epochs": 1, "image_size": given.size}
    )
    runs: list[Run] = []
    try:
        source = read_images(given.data, verify=False)
        for seed in range(1, given.seeds + 1):
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch, "pictures")
                make_pictures(
                    source, folder, classes=given.classes, train=given.pictures, private=2, side=given.side,
                    seed=seed,
                )  # fmt: skip
                options = DataOptions(several_labels="yes")
                images, features = features_of(folder, recipe, given.weights, Path(scratch, "cache"), options)
                runs += [measure(features, images.y, share, seed) for share in SHARES]
            print(*runs[-len(SHARES) :], sep="\n", flush=True)
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    machine = describe_machine()
    print(f"\n{one_line(machine)}", table(rows_of(runs)), sep="\n\n")
    if given.json:
        written = {"machine": machine, "runs": [asdict(run) for run in runs]}
        given.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
