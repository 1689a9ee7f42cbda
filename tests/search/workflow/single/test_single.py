"""From an exported ensemble to one network in its model folder, with its loss and its speed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from search.cli.app import app
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.output.manifest import OutputNotOurs
from search.export.plan import plan_export, queue_refits
from search.study_setup.create_study import create_study
from search.workflow.single.card import SingleFacts, loss_lines, origin_line, write_single_card
from search.workflow.single.command import SingleRequest, TwoWays, single_network
from search.workflow.single.comparison import Comparison
from search.workflow.single.distil import trainings_of
from search.workflow.single.exported_ensemble import NoExport
from search.workflow.single.held_out import held_out_rows
from search.workflow.single.place import SingleNotWritten, check_place, put_in_place, scratch_in
from storage.artifacts import digest_of
from storage.stores import open_stores
from tests.search.export.output.test_replacement import killed_at
from tests.search.small_study import STUDY, make_context, study_plan, work_on
from trainer.conversion.files import SINGLE_FOLDER
from trainer.conversion.single.ingredients import NoSoup
from trainer.inference.model_folder import load_model_folder
from trainer.inference.predict import predict_folder

pytestmark = pytest.mark.slow

FINAL = "\n[final]\nseeds = 2\ntta = false\n"


class Exported:
    """A study with an export."""

    def __init__(self, root: Path, competition: Path, *changes: str) -> None:
        root.mkdir()
        self.root, self.url = root, f"sqlite:///{root / 'retable.db'}"
        (root / "colours.toml").write_text(STUDY.replace('"scratch"', '"pretrained"') + FINAL)
        weights = root / "weights"
        weights.mkdir()
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), weights / "test_resnet.safetensors")
        stores = open_stores(self.url, create=True)
        plan = study_plan(
            root / "colours.toml",
            competition,
            "recipe.epochs=1",
            "protocol.folds=3",
            "probe.enabled=false",
            "recipe.head=probe",
            *changes,
            budget=1,
        )
        study = create_study(stores, plan)
        self.context = replace(make_context(stores, study, competition, root / "home"), weights_dir=weights)
        work_on(self.context)
        self.folder = root / "home" / "colours"
        self.export()

    def export(self, *, full_data: bool = False) -> None:
        context = self.context
        plan = plan_export(context.stores, context.study, seeds=None, full_data=full_data, home=context.home)
        ids = queue_refits(context.stores, plan, context.home)
        work_on(context)
        refits = gather_refits(context.stores, plan, ids)
        write_export(context.stores, plan, refits, context.images, context.home, self.folder, None)

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def single(self) -> Path:
        return self.model / SINGLE_FOLDER

    def request(self, *, leader: bool = False, average: bool = False, distil: bool = False) -> SingleRequest:
        return SingleRequest(
            study="colours", data=None, storage_url=self.url, output=None, home=self.root / "home", leader=leader,
            average=average, distil=distil, weights=self.root / "weights",
        )  # fmt: skip

    def facts(self) -> dict[str, object]:
        facts: dict[str, object] = json.loads((self.single / "config.json").read_text())["extra"]["single"]
        return facts


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[Exported]:
    made = Exported(tmp_path_factory.mktemp("single") / "a", competition_folder)
    yield made
    made.context.loader.close()
    made.context.stores.database.close()


@pytest.fixture
def souped(exported: Exported) -> Exported:
    """An export with a mean of weights beside it, unchanged."""
    shutil.rmtree(exported.single, ignore_errors=True)
    single_network(exported.request())
    return exported


def test_the_network_is_a_model_folder_of_its_own(souped: Exported, competition_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(souped.single, moved)
    model = load_model_folder(moved)
    assert [len(member.weights) for member in model.members] == [1]
    assert predict_folder(moved, [competition_folder / "test"]).proba.shape == (6, 3)
    assert not [path for path in souped.model.iterdir() if path.name.startswith(".")]
    facts = souped.facts()
    assert facts["networks"] == facts["averaged"] == 6
    held_out = facts["held_out"]
    assert isinstance(held_out, dict) and held_out["images"] == 30
    assert facts["test_images"]["images"] == 6  # type: ignore[index]
    card = (souped.single / "MODEL_CARD.md").read_text()
    assert "mean of the weights of 6 networks" in card and "times as fast" in card and "Change of the score" in card


def test_equal_networks_lose_nothing(exported: Exported, tmp_path: Path) -> None:
    shutil.rmtree(exported.single, ignore_errors=True)
    config_file = exported.model / "config.json"
    before = {path: path.read_bytes() for path in (config_file, exported.folder / ".retable-export.json")}
    config = json.loads(before[config_file])
    (member,) = config["members"]
    first = (exported.model / member["weights"][0]["file"]).read_bytes()
    originals = {entry["file"]: (exported.model / entry["file"]).read_bytes() for entry in member["weights"]}
    try:
        for entry in member["weights"]:
            (exported.model / entry["file"]).write_bytes(first)
            entry["sha256"] = member["weights"][0]["sha256"]
        config_file.write_text(json.dumps(config))
        manifest = json.loads(before[exported.folder / ".retable-export.json"])
        for name in (*originals, "config.json"):
            manifest["files"][f"model/{name}"] = [digest_of(exported.model / name)]
        (exported.folder / ".retable-export.json").write_text(json.dumps(manifest))
        single_network(exported.request())
        facts = exported.facts()
        assert facts["test_images"] == {"images": 6, "differing": 0, "expected_loss": 0.0}
        assert facts["held_out"]["gain"] == 0.0  # type: ignore[index]
    finally:
        for path, content in before.items():
            path.write_bytes(content)
        for name, content in originals.items():
            (exported.model / name).write_bytes(content)


def test_a_second_run_replaces_the_first_but_no_changed_file(souped: Exported) -> None:
    single_network(souped.request())
    (souped.single / "MODEL_CARD.md").write_text("mine")
    with pytest.raises(OutputNotOurs, match=r"model/single/MODEL_CARD\.md"):
        single_network(souped.request())
    assert (souped.single / "MODEL_CARD.md").read_text() == "mine"
    shutil.rmtree(souped.single)


def test_the_next_export_removes_it(souped: Exported) -> None:
    souped.export()
    assert not souped.single.exists() and (souped.model / "config.json").is_file()


def test_a_network_that_a_new_export_has_overtaken_is_not_written(souped: Exported) -> None:
    before = digest_of(souped.single / "config.json")
    with scratch_in(souped.model) as scratch:
        shutil.copytree(souped.single, scratch / "new")
        with pytest.raises(SingleNotWritten, match="new export"):
            put_in_place(scratch / "new", souped.model, "0" * 64)
    assert digest_of(souped.single / "config.json") == before


def test_killed_at_any_write_the_old_network_or_the_new_one_is_there(tmp_path: Path) -> None:
    model = tmp_path / "out" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("ensemble")
    digest = digest_of(model / "config.json")

    def put(content: str) -> None:
        with scratch_in(model) as scratch:
            (scratch / "new" / "weights").mkdir(parents=True)
            for name in ("config.json", "weights/single.safetensors"):
                (scratch / "new" / name).write_text(content)
            put_in_place(scratch / "new", model, digest)

    def now() -> set[str]:
        check_place(model)
        names = ("config.json", "weights/single.safetensors")
        return {(model / SINGLE_FOLDER / name).read_text() for name in names}

    put("old")
    seen = set()
    for place in range(500):
        killed = killed_at(place, lambda: put("new"))
        (content,) = now()
        seen.add(content)
        if not killed:
            break
        if content == "new":
            put("old")
    assert seen == {"old", "new"} and not killed
    assert [path.name for path in model.iterdir() if path.name.startswith(".")] == [], (
        "the next run removes what is left"
    )


def test_the_ensemble_teaches_a_network(exported: Exported, competition_folder: Path) -> None:
    shutil.rmtree(exported.single, ignore_errors=True)
    single_network(exported.request(distil=True))
    facts = exported.facts()
    assert facts["averaged"] == 0 and facts["taught"]["images"] == 30  # type: ignore[index]
    assert trainings_of(3) == 7
    assert predict_folder(exported.single, [competition_folder / "test"]).proba.shape == (6, 3)
    assert "distillation" in (exported.single / "MODEL_CARD.md").read_text()
    shutil.rmtree(exported.single)


def test_networks_from_random_weights_are_taught(tmp_path: Path, competition_folder: Path) -> None:
    made = Exported(
        tmp_path / "scratch",
        competition_folder,
        "recipe.init=scratch",
        "recipe.head=random",
        "protocol.folds=2",
        "final.seeds=1",
    )
    try:
        with pytest.raises(NoSoup, match="random weights"):
            single_network(made.request(leader=True))
        assert not made.single.exists()
        single_network(made.request())
        assert "taught" not in made.facts(), "two folds leave nothing to judge students by"
        assert not (made.model / "single" / "index.json").is_symlink()
    finally:
        made.context.loader.close()
        made.context.stores.database.close()


def test_the_command_line(exported: Exported) -> None:
    arguments = ["single", "--study", "colours", "--storage", exported.url, "--home", str(exported.root / "home")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    assert "mean of the weights of 6 networks" in shown and "ms an image instead of" in shown
    assert f"search convert {exported.single} IMAGES" in shown
    shutil.rmtree(exported.single)


def test_what_cannot_be_done_is_said(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(TwoWays, match="give one"):
        single_network(exported.request(leader=True, distil=True))
    with pytest.raises(TwoWays, match="--average is about"):
        single_network(exported.request(average=True, distil=True))
    with pytest.raises(NoExport, match="`search export-best"):
        single_network(replace(exported.request(), output=tmp_path / "elsewhere"))


def test_rows_that_a_network_has_not_seen() -> None:
    folds = {0: np.array([0, 1, 1]), 3: np.array([1, 0, 1])}
    assert held_out_rows(Path("trial2-split3-seed1-fold1.safetensors"), folds).tolist() == [True, False, True]
    assert held_out_rows(Path("a-trial2-split0-seed1-fold1.safetensors"), folds).tolist() == [False, True, True]
    assert held_out_rows(Path("trial2-seed1-fold0.safetensors"), {3: folds[3]}).tolist() == [False, True, False]
    for unknown in ("trial2-split7-seed1-fold1", "other"):
        assert not held_out_rows(Path(f"{unknown}.safetensors"), folds).any()


def test_the_bound_holds_where_no_class_differs() -> None:
    compared = Comparison(images=100, differing=0, expected_loss=0.0, ensemble_ms=10.0, single_ms=2.0)
    assert compared.share == 0.0 and compared.speed == 5.0
    assert compared.bound == pytest.approx(1.0 - 0.05 ** (1 / 100))  # the rule of three
    assert replace(compared, differing=100).bound == 1.0
    facts = SingleFacts(
        study="*odd*", metric="accuracy", networks=2, averaged=2, statistics=0, comparison=None, speed=compared
    )
    assert loss_lines(facts)[0].startswith("Loss in score: unknown.")
    assert "2 networks" in origin_line(facts) and "\\*odd\\*" in write_single_card(facts)
