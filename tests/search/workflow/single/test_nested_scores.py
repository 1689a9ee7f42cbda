"""The ensemble and the single network are scored with the label rules and temperatures that both export."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.statistics.blending.cross_fitting import CrossFitted
from search.workflow.single.command import single_network
from search.workflow.single.exported_ensemble import NoExport, open_export
from search.workflow.single.exported_refits import read_refits
from search.workflow.single.nested_scores import NestedScores, nested_scores, single_blend
from tests.search.workflow.single.test_single import Exported
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend
from trainer.inference.model_folder import load_model_folder

NUMBER = r"(-?\d\.\d{4})"


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["qwk", "log_loss"])
def test_the_ensemble_has_the_score_of_the_model_card(
    metric: str, tmp_path: Path, competition_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Exported(tmp_path / "a", competition_folder, f"protocol.metric={metric}", "recipe.epochs=2")
    try:
        stores, study = made.context.stores, made.context.study
        blend = load_model_folder(made.model).blend
        assert blend.cuts or blend.temperature != 1.0, "the export of this study has a rule"
        found = re.search(rf"Out-of-fold {metric}: \*\*{NUMBER} ", (made.folder / "MODEL_CARD.md").read_text())
        assert found is not None and found[1] == f"{stores.exports.all(study.id)[-1].score:.4f}"
        export = open_export(stores, study.name, made.context.home, None, competition_folder)
        targets, (oof,) = Targets(made.context.images.y), read_refits(export).mean_oof()
        assert f"{score(metric, targets, oof):.4f}" != found[1], "raw probabilities score otherwise"

        single_network(made.request(distil=True))
        taught = " ".join(capsys.readouterr().out.split())
        assert f"the ensemble out-of-fold {found[1]}:" in taught
        # All images are held out by both seeds, so the averaged predictions are those of the ensemble.
        single_network(made.request())
        averaged = " ".join(capsys.readouterr().out.split())
        assert f"networks score {metric}" in averaged and f"their averaged predictions {found[1]} ±" in averaged

        scores = nested_scores(export)
        assert load_model_folder(made.single).blend == single_blend(blend)
        np.testing.assert_array_equal(scores.single(oof), scores.ensemble)
        rows = np.array([3, 4, 17, 29])
        np.testing.assert_array_equal(scores.single(oof[rows], rows), scores.ensemble[rows])
        gone = replace(export, notes=replace(export.notes, trainings=((0, 77),)))
        with pytest.raises(NoExport, match="a training of trial 0 is not in the database any more"):
            read_refits(gone)
    finally:
        made.context.loader.close()
        made.context.stores.database.close()


def test_each_image_has_the_rule_that_was_fitted_without_its_fold() -> None:
    targets = Targets(np.array([0, 1, 0, 1]))
    to_first, to_second = (Blend(weights=(1.0,), offsets=offsets) for offsets in ((9.0, 0.0), (0.0, 9.0)))
    scores = NestedScores(
        metric="macro_f1",
        targets=targets,
        ensemble=np.eye(2)[targets.y],
        rule=CrossFitted(folds=np.array([0, 1, 0, 1]), blends=(to_first, to_second)),
    )
    unsure = np.full((4, 2), 0.5)
    assert scores.single(unsure).argmax(axis=1).tolist() == [0, 1, 0, 1]
    assert scores.single(unsure[:2], np.array([1, 2])).argmax(axis=1).tolist() == [1, 0]
    assert scores.score(scores.single(unsure)) == (1.0, 0.0)
    assert scores.gain(scores.single(unsure), np.full((4, 2), [0.4, 0.6])).mean == pytest.approx(2 / 3)
    rows = np.array([1, 3])
    assert scores.gain(scores.single(unsure[rows], rows), scores.ensemble[rows], rows).mean == 0.0


def test_a_network_keeps_the_rule_of_a_mean_but_not_of_a_regression() -> None:
    mean = Blend(weights=(0.5, 0.5), temperature=2.0, offsets=(0.1, -0.1))
    assert single_blend(mean) == Blend(weights=(1.0,), temperature=2.0, offsets=(0.1, -0.1))
    stacked = replace(mean, coefficients=((1.0,) * 4,) * 2, intercepts=(0.0, 0.0))
    assert single_blend(stacked) == Blend(weights=(1.0,))
