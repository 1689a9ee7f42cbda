"""``search probe``: which backbones it takes, what it refuses, and a whole run with bad weights among the good ones."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import save_file
from typer.testing import CliRunner

from search.cli.app import app
from search.cli.commands.probe import STUDY
from search.engines.plan import Workers
from search.report.study_list import show_studies
from search.study_setup.create_study import StudyPlan
from search.study_setup.deadline import parse_hours
from search.study_setup.prepare import StartRequest, prepare
from search.workflow.start import begin_or_continue
from storage.stores import Stores, open_stores
from storage.values import TrialStatus, WorkKind
from studies.errors import StudyError
from studies.resolve_backbones import backbones_of
from tests.databases import DIALECTS

RESNET, VIT, CONVNEXT = "test_resnet.r160_in1k", "test_vit.r160_in1k", "test_convnext.r160_in1k"


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty Hugging Face cache, and no hub, also for worker processes."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), folder / f"{RESNET}.safetensors")
    (folder / f"{VIT}.safetensors").write_bytes((folder / f"{RESNET}.safetensors").read_bytes())
    (folder / f"{CONVNEXT}.safetensors").write_bytes((folder / f"{RESNET}.safetensors").read_bytes()[:-999])
    return folder


def planned(url: str, data: Path, weights: Path | None, *overrides: str, **changes: object) -> StudyPlan:
    values = dict.fromkeys(StartRequest.__dataclass_fields__) | {
        "study": STUDY,
        "data": data,
        "storage_url": url,
        "overrides": list(overrides),
        "memory": False,
        "workers": Workers(workers=0, weights=weights, home=Path("retable")),
    }
    return prepare(StartRequest(**(values | changes)), Console(quiet=True))  # type: ignore[arg-type]


def test_backbones_whose_weights_are_at_hand_are_planned(url: str, competition_folder: Path, weights: Path) -> None:
    assert backbones_of(planned(url, competition_folder, weights).spec) == [CONVNEXT, RESNET, VIT]
    narrow = planned(url, competition_folder, weights, 'space.backbone.match=["test_r*"]', "recipe.image_size=64")
    assert (backbones_of(narrow.spec), narrow.spec.recipe["image_size"], narrow.trials) == ([RESNET], 64, 0)
    with pytest.raises(StudyError, match="weights are on this machine"):
        planned(url, competition_folder, None)


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_study_keeps_the_backbones_that_it_began_with(
    stores: Stores, url: str, competition_folder: Path, weights: Path
) -> None:
    begun, verb = begin_or_continue(stores, planned(url, competition_folder, weights))
    assert (verb, begun.budget, stores.queue.probes(begun.id)) == ("begins", 0, (3, 3))
    (weights / f"{VIT}.safetensors").unlink()
    (weights / "test_efficientnet.r160_in1k.safetensors").touch()
    for folder in (weights, None):  # the study remembers the folder
        again, verb = begin_or_continue(stores, planned(url, competition_folder, folder, hours=parse_hours("2")))
        assert (verb, again.id, again.budget) == ("continues", begun.id, 0)
        assert backbones_of(again.spec) == [CONVNEXT, RESNET, VIT]
    show_studies(url)
    (weights / f"{VIT}.safetensors").touch()
    grown, _ = begin_or_continue(stores, planned(url, competition_folder, weights, trials=5))
    assert grown.budget == 5


@pytest.mark.parametrize("changes", [["probe.enabled=false"], ["recipe.init=scratch"]])
def test_a_study_without_trials_and_probes_is_refused(
    url: str, competition_folder: Path, weights: Path, changes: list[str]
) -> None:
    with pytest.raises(StudyError, match="--trials N"):
        planned(url, competition_folder, weights, *changes)
    assert planned(url, competition_folder, weights, *changes, trials=2).budget == 2


def test_other_studies_may_have_no_trials(url: str, competition_folder: Path, weights: Path) -> None:
    overrides = (f'recipe.backbone="{RESNET}"', "recipe.image_size=64")
    plan = planned(url, competition_folder, weights, *overrides, study="aug_tuning", trials=0)
    assert plan.trials == 0


@pytest.mark.slow
def test_a_whole_run_survives_bad_weights(
    url: str, competition_folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["probe", str(competition_folder), "--weights", str(weights), "--size", "32", "--storage", url]
    first = CliRunner().invoke(app, [*arguments, "--set", "protocol.folds=2", "--set", "probe.enlarge=1.3"])
    assert first.exit_code == 0, (first.output, first.exception)
    for name in (RESNET, VIT, CONVNEXT):
        assert re.search(rf"^probe +\d+ .*{name}", first.output, re.M), name
    assert "0/0" not in first.output and not re.search(r"\btrials?\b(?! 20)", first.output.replace("--trials", ""))
    assert re.search(rf"Recipe +probe \d+: {RESNET} at", first.output)
    card = (tmp_path / "retable" / STUDY / "MODEL_CARD.md").read_text()
    assert re.search(r"from study .*, probe \d+", card) and "best of 3 linear probes" in card
    assert not re.search(r"[Tt]rial \d", first.output + card)
    stores = open_stores(url)
    study = stores.study(None)
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    probed = sorted((str(r.recipe["backbone"]), r.recipe["image_size"] > 32, r.status) for r in records if r.recipe)
    assert probed == [
        (CONVNEXT, False, TrialStatus.FAILED),
        (RESNET, False, TrialStatus.FINISHED),
        *[(RESNET, True, TrialStatus.FINISHED)] * 2,  # on enlarged images, and on still larger ones
        (VIT, False, TrialStatus.FAILED),
    ]
    with (tmp_path / "retable" / STUDY / "submission.csv").open() as file:
        assert len(list(csv.reader(file))) == 1 + 6
    again = CliRunner().invoke(app, [*arguments, "--set", "protocol.folds=2"])
    assert again.exit_code == 0, (again.output, again.exception)
    assert len(stores.trials.records(study.id)) == len(records)
    assert len(stores.exports.all(study.id)) == 2
    for command in (["status"], ["status", "--all"], ["status", "--failed"], ["studies"]):
        shown = CliRunner().invoke(app, [*command, "--storage", url])
        assert shown.exit_code == 0, (shown.output, shown.exception)
        assert "0/0" not in shown.output
        assert not re.search(r"\btrial +\d", shown.output), "probes are no trials"
    _, _, steps = first.output.partition("\nNext\n")
    (further,) = re.findall(r"^  (search start .*?)(?:  |$)", steps, re.M)
    requests = list[StartRequest]()
    monkeypatch.setattr("search.workflow.start.start", requests.append)
    typed = CliRunner().invoke(app, shlex.split(further)[1:])
    assert typed.exit_code == 0 and requests[0].storage_url == url, (typed.output, typed.exception)
    assert prepare(requests[0], Console(quiet=True)).trials == 20
    stores.database.close()
