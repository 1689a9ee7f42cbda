"""The files of an export, written into one folder and read back before they count."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.export import ExportPlan, Refits, weight_files
from search.home import Home
from search.ledger import Ledger
from search.model_card import CardFacts, write_card
from search.selection import average
from storage.values import TrialStatus
from trainer.delimited import write_table
from trainer.figures import confusion_matrix_png
from trainer.imageset import ImageSet
from trainer.metrics import METRICS
from trainer.submission import check_submission, decide_kind, write_submission

TOLERANCE = 1e-5
"""Largest difference of a probability between the refits' predictions and those of the exported folder."""
TOLERANCE_ACROSS_DEVICES = 1e-3
"""The same where the refits ran on another device than this host has: sums in another order, amplified by depth."""
VERIFIED_IMAGES = 8


class ExportBroken(RuntimeError):  # noqa: N818 - named for the fact
    """The exported model does not predict what its refits predicted. Nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written."""

    folder: Path
    files: tuple[str, ...]
    metric: str
    trial: int | None
    score: float | None
    score_error: float | None
    views: tuple[str, ...]
    submission_kind: str | None
    warnings: tuple[str, ...]


def write_export(
    ledger: Ledger, plan: ExportPlan, refits: Refits, images: ImageSet, home: Home, folder: Path, kind: str | None
) -> Export:
    """Write submission, predictions, model folder and report into ``folder``, and record the export.

    All files are made and checked beside ``folder`` first, then moved into it; other files that lie there stay.

    Args:
        kind: what the submission holds, where a person wants something else than the sample and the metric say.

    Raises:
        SubmissionError: the submission would not be valid; nothing was written.
        ExportBroken: as it says; nothing was written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch)
        _write_model(plan, refits, images, home, made / "model")
        submission_kind = None
        if refits.test is not None:
            _verify_model(made / "model", refits, images)
            submission_kind = _write_submission(plan, refits.test, images, made / "submission.csv", kind)
            _write_test_probabilities(refits.test, images, made / "test_proba.csv")
        if refits.oof_by_seed:
            ledger.write_folds(plan.study, plan.split, made / "folds.csv")
            _write_oof(refits.oof_by_seed, images, ledger.folds(plan.study, plan.split), made / "oof.csv")
            predicted = average(refits.oof_by_seed).argmax(axis=1)
            confusion_matrix_png(made / "confusion_matrix.png", images.y, predicted, images.class_names)
        warnings = _warnings(plan, refits)
        facts = _facts(ledger, plan, refits, images, (*images.warnings, *warnings))
        (made / "MODEL_CARD.md").write_text(write_card(facts), encoding="utf-8")
        names = sorted(path.name for path in made.iterdir())
        _move_into(made, folder)
    ledger.runs.add_export(
        plan.study.id,
        folder=str(folder.resolve()),
        recipe=plan.recipe.to_flat(),
        score=refits.score,
        score_se=refits.score_error,
        notes={
            "trial": plan.trial.number,
            "seeds": plan.seeds,
            "full_data": plan.full_data,
            "views": list(refits.views),
        },
    )
    return Export(
        folder=folder,
        files=tuple(names),
        metric=plan.metric,
        trial=plan.trial.number,
        score=refits.score,
        score_error=refits.score_error,
        views=refits.views,
        submission_kind=submission_kind,
        warnings=warnings,
    )


def _write_model(plan: ExportPlan, refits: Refits, images: ImageSet, home: Home, folder: Path) -> None:
    from safetensors.torch import load_file

    from trainer.backbones import preprocessing_of
    from trainer.modelfolder import write_model_folder

    states = {
        f"seed{record.seed}-{path.stem}": load_file(path)
        for record in refits.records
        for path in weight_files(home, plan.study, record.work_id)
    }
    write_model_folder(
        folder,
        recipe=plan.recipe,
        class_names=images.class_names,
        preprocessing=preprocessing_of(plan.recipe.backbone),
        views=refits.views,
        states=states,
        data_fingerprint=images.fingerprint,
    )


def _verify_model(model: Path, refits: Refits, images: ImageSet) -> None:
    """Predict a few test images with nothing but the folder, from the files, as its users will."""
    import torch

    from trainer.predict_standalone import load_model_folder, predict_arrays, resize_image

    assert refits.test is not None, "there is nothing to compare with"
    loaded = load_model_folder(model)
    some = np.unique(np.linspace(0, len(refits.test) - 1, VERIFIED_IMAGES, dtype=np.int64))
    pixels = np.stack(
        [resize_image(images.test_images.read(int(i)), loaded.size, loaded.resize, loaded.interpolation) for i in some]
    )
    trained_on = {str(record.machine.get("device", "cpu")) for record in refits.records}
    device = "cuda" if torch.cuda.is_available() and "cpu" not in trained_on else "cpu"
    here = torch.cuda.get_device_name() if device == "cuda" else device
    tolerance = TOLERANCE if trained_on == {here} else TOLERANCE_ACROSS_DEVICES
    difference = float(np.abs(predict_arrays(loaded, pixels, device=device) - refits.test[some]).max())
    if not difference <= tolerance:
        raise ExportBroken(
            f"the exported model predicts probabilities that differ by {difference:.2g} from its refits'"
        )


def _write_submission(
    plan: ExportPlan, test: NDArray[np.float32], images: ImageSet, path: Path, override: str | None
) -> str:
    form = images.submission
    assert form is not None, "images with a test part have a submission format"
    kind = decide_kind(form, images.class_names, METRICS[plan.metric].needs, override)
    write_submission(path, form, images.class_names, images.test_ids, test, kind)
    check_submission(path, form, images.class_names, kind)
    return kind


def _write_test_probabilities(test: NDArray[np.float32], images: ImageSet, path: Path) -> None:
    header = ["image_id", *(f"p_{name}" for name in images.class_names)]
    rows = ([name, *_cells(row)] for name, row in zip(images.test_ids, test, strict=True))
    write_table(path, [header, *rows])


def _write_oof(by_seed: Sequence[NDArray[np.float32]], images: ImageSet, folds: NDArray[np.int64], path: Path) -> None:
    names = images.class_names
    rows = [["image_id", "fold", "seed", "y_true", "y_pred", *(f"p_{name}" for name in names)]]
    for seed, oof in enumerate(by_seed):
        for image_id, fold, y, proba in zip(images.train_ids, folds, images.y, oof, strict=True):
            rows.append([image_id, str(fold), str(seed), names[y], names[int(proba.argmax())], *_cells(proba)])
    write_table(path, rows)


def _cells(proba: NDArray[np.float32]) -> list[str]:
    return [f"{value:.8g}" for value in proba]


def _warnings(plan: ExportPlan, refits: Refits) -> tuple[str, ...]:
    """What is to be known of this export; those of the data were told before."""
    if plan.full_data and refits.views == ("identity",) and plan.spec.final.tta:
        return ("no test-time augmentation: models that were trained on all images cannot tell which flips help",)
    return ()


def _facts(ledger: Ledger, plan: ExportPlan, refits: Refits, images: ImageSet, warnings: tuple[str, ...]) -> CardFacts:
    from trainer.environment import library_versions

    statuses = [record.status for record in ledger.runs.records(plan.study.id, kind=plan.trial.kind)]
    return CardFacts(
        study=plan.study.name,
        title=plan.spec.title,
        metric=plan.metric,
        trial=plan.trial.number or 0,
        trials_finished=statuses.count(TrialStatus.FINISHED),
        trials_pruned=statuses.count(TrialStatus.PRUNED),
        search_score=plan.trial.value or 0.0,
        search_error=plan.trial.value_se or 0.0,
        score=refits.score,
        score_error=refits.score_error,
        folds=plan.spec.protocol.folds,
        seeds=plan.seeds,
        full_data=plan.full_data,
        views=refits.views,
        class_names=images.class_names,
        class_counts=images.class_counts().tolist(),
        test_images=len(images.test_ids),
        fingerprint=images.fingerprint,
        recipe=plan.recipe.to_flat(),
        versions=library_versions(),
        warnings=warnings,
    )


def _move_into(made: Path, folder: Path) -> None:
    """Move everything from ``made`` into ``folder``, replacing what has the same name."""
    folder.mkdir(exist_ok=True)
    for path in sorted(made.iterdir()):
        target = folder / path.name
        if target.is_dir():
            # A folder cannot be replaced in one step: the old one steps aside into the scratch folder first.
            target.rename(made / f".old-{path.name}")
        path.replace(target)
