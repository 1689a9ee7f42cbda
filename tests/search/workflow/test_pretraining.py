"""``search pretrain``: what it refuses, how it trains and registers weights, and a study that begins from them."""

from __future__ import annotations

import csv
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from search.cli.app import app
from search.engines.plan import Workers
from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.statistics.paired_gain import Gain
from search.study_setup.create_study import create_study
from search.study_setup.data_folder import DataMismatch
from search.study_setup.open_images import open_for_training
from search.study_setup.prepare import StartRequest, prepare
from search.study_setup.rules import LearnedLabels
from search.study_state.study import NotASearch, Study, read_study
from search.tuning.probing.plan import plan_probes
from search.worker.study_context import StudyContext
from search.worker.task import Paused, Task
from search.worker.training import train_item
from search.workflow.export.export_best import ExportRequest, export_best
from search.workflow.pretraining.admission import probe_gain
from search.workflow.pretraining.command import pretrain, study_name
from search.workflow.pretraining.messages import list_weights
from search.workflow.pretraining.prepare import PretrainRequest, prepare_pretraining
from search.workflow.pretraining.register import CannotRegister, register
from search.workflow.pretraining.settings import default_epochs, pretraining_spec
from search.workflow.start import begin_or_continue
from storage.stores import Stores, open_stores
from storage.values import StudyState, TrialOutcome, TrialStatus, WorkKind
from studies.errors import StudyError
from tests.search.several_labels import NAMES, TRAIN, write_pictures
from tests.search.small_study import COLOURS, STUDY, make_context, work_on, write_competition
from tests.trainer.networks.test_registered_weights import put
from trainer.common.errors import BackboneError, DataError
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.evaluation.targets import Targets
from trainer.networks.custom_weights import registered_weights
from trainer.recipe.recipe import Recipe
from trainer.training.results import ALWAYS_TRAINED

SETTINGS = ("recipe.batch_size=8", "protocol.folds=3", "recipe.ema=0", "recipe.augment.policy=none")
MAP = "blue,cold\ngreen,cold\nred,warm\n"

Ask = Callable[..., PretrainRequest]


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
def ask(url: str, competition_folder: Path, tmp_path: Path) -> Ask:
    """Makes the request of a small pre-training from random weights, with changes."""

    def request(*overrides: str, weights: Path | None = None, **changes: object) -> PretrainRequest:
        values = {
            "name": "art",
            "data": competition_folder,
            "storage_url": url,
            "workers": Workers(home=tmp_path / "home", weights=weights, gpus=()),
            "backbone": "test_resnet",
            "init": "scratch",
            "epochs": 2,
            "image_size": 32,
            "overrides": (*SETTINGS, *overrides),
        }
        return PretrainRequest(**(values | changes))  # type: ignore[arg-type]

    return request


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "map.csv"
    path.write_text(MAP)
    return path


def context_of(stores: Stores, request: PretrainRequest) -> StudyContext:
    """A worker's context for the pre-training that a request plans."""
    plan = prepare_pretraining(request, Console(quiet=True))
    study, _ = begin_or_continue(stores, replace(plan.study, name=study_name(stores, plan, Home(root=Path("home")))))
    made = make_context(stores, study, request.data, request.workers.home)
    images = open_for_training(request.data, study, stores)
    return replace(made, images=images, weights_dir=plan.study.weights_dir)


def train(stores: Stores, request: PretrainRequest) -> Study:
    """Do the work of a worker for a request; `pretrain` then finds the training finished."""
    context = context_of(stores, request)
    try:
        work_on(context)
    finally:
        context.loader.close()
    return context.study


def test_weights_are_trained_registered_and_described(
    stores: Stores, ask: Ask, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ask(classes=table, license_note="CC0")
    study = train(stores, request)
    (record,) = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    assert (record.status, record.epochs_done) == (TrialStatus.FINISHED, 2)
    pretrain(request)
    (known,) = registered_weights(tmp_path / "home" / "weights")
    assert (known.name, known.backbone, known.init, known.method) == ("art", "test_resnet", "scratch", "supervised")
    assert (known.score, known.score_error, known.held_out) == (record.value, record.value_se, 10)
    (data,) = known.trained_on
    assert (data.images, data.classes, data.test_images, data.license_note) == (30, 2, 0, "CC0")
    assert known.weights_license == ""
    # The network is that of the training, without its classifier.
    kept = load_file(tmp_path / "home" / "weights" / "art.safetensors")
    artifacts = tmp_path / "home" / ".cache" / "artifacts"
    trained = load_file(next(artifacts.rglob("fold0.safetensors")))
    assert trained.keys() - kept.keys() == {"fc.weight", "fc.bias"}
    assert all(torch.equal(kept[key], trained[key]) for key in kept)
    assert "Registered art" in capsys.readouterr().out
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "home" / "weights").iterdir())
    pretrain(request)
    assert "registered already" in capsys.readouterr().out
    assert before == sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "home" / "weights").iterdir())
    list_weights(tmp_path / "home" / "weights")
    assert "test_resnet" in capsys.readouterr().out
    # What looks at a study also looks at this one.
    for command in (["status"], ["status", "--json"], ["studies"], ["report", "--output", str(tmp_path / "r.html")]):
        result = CliRunner().invoke(app, [*command, "--storage", request.storage_url])
        assert result.exit_code == 0, (command, result.output, result.exception)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with up to three labels each."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def test_weights_learn_several_labels_and_continue_after_a_stop(
    stores: Stores, ask: Ask, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request, signals = ask(data=pictures), StopSignals()

    def stopping(context: StudyContext, task: Task) -> TrialOutcome | Paused | None:
        signals._receive(signal.SIGTERM, None)
        return train_item.train(context, task)

    context = context_of(stores, request)
    try:
        work_on(replace(context, train=stopping), signals)
    finally:
        context.loader.close()
    assert stores.trials.records(context.study.id) == []
    study = train(stores, request)
    assert study.name == context.study.name
    (record,) = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    curves = stores.trials.curves(record.id)
    assert (record.status, [curve.epoch for curve in curves]) == (TrialStatus.FINISHED, [1, 2])
    pretrain(request)
    (known,) = registered_weights(tmp_path / "home" / "weights")
    (data,) = known.trained_on
    assert (data.images, data.classes, data.several_labels, data.test_images) == (TRAIN, len(NAMES), True, 0)
    held_out = context.training_data(Recipe.from_flat(context.spec.default_recipe()), 0).held_out(0)
    assert (known.metric, known.score, known.held_out) == ("roc_auc", record.value, len(held_out))
    assert known.score is not None and 0.0 <= known.score <= 1.0
    assert (record.recipe or {})["loss.label_smoothing"] == 0.0
    true_class = curves[-1].true_class
    assert set(np.flatnonzero(np.isfinite(true_class))) == set(held_out)
    assert record.mean_true_probability == pytest.approx(float(true_class[held_out].mean()), abs=1e-3)
    trained = load_file(next((tmp_path / "home" / ".cache" / "artifacts").rglob("fold0.safetensors")))
    assert len(trained["fc.bias"]) == len(NAMES)
    undefined = register(
        tmp_path / "other", next((tmp_path / "home").rglob("fold0.safetensors")), name="art",
        record=replace(record, value=float("nan"), value_se=float("nan")), data=data, method=known.method,
        classes=len(NAMES), metric="roc_auc", held_out=3, request=known.request, weights_dir=None,
    )  # fmt: skip
    assert (undefined.score, registered_weights(tmp_path / "other")) == (None, [undefined])
    printed = " ".join(capsys.readouterr().out.split())
    assert "30 images of 3 labels (an image may have several)" in printed and "score it (roc_auc)" in printed
    for command in (["status"], ["report", "--output", str(tmp_path / "r.html")]):
        result = CliRunner().invoke(app, [*command, "--storage", request.storage_url])
        assert result.exit_code == 0, (command, result.output, result.exception)


def test_coarser_ones_of_several_labels_are_what_workers_see(
    stores: Stores, ask: Ask, pictures: Path, table: Path
) -> None:
    context = context_of(stores, ask(data=pictures, classes=table))
    context.loader.close()
    fine = read_images(pictures, verify=False)
    assert context.images.class_names == ("cold", "warm")
    assert context.images.y.tolist() == [[int(row[:2].any()), int(row[2])] for row in fine.y]


@pytest.mark.parametrize("override", ["protocol.metric=accuracy", "recipe.suspicious_labels=drop"])
def test_settings_for_one_label_are_refused_for_several(ask: Ask, pictures: Path, start: Path, override: str) -> None:
    request = ask(override, data=pictures, init="pretrained", weights=start)
    with pytest.raises(StudyError, match="several"):
        prepare_pretraining(request, Console(quiet=True))


def test_the_settings_depend_on_the_number_of_labels() -> None:
    settings = {"backbone": "test_vit", "init": "scratch", "images": 8000}
    one, several = (pretraining_spec("art", several_labels=several, **settings) for several in (False, True))  # type: ignore[arg-type]
    assert (one.protocol.metric, one.recipe["loss.label_smoothing"]) == ("accuracy", 0.1)
    assert (several.protocol.metric, several.recipe["loss.label_smoothing"]) == ("roc_auc", 0.0)
    chosen = pretraining_spec("art", several_labels=True, overrides=("protocol.metric=lrap",), **settings)  # type: ignore[arg-type]
    assert chosen.protocol.metric == "lrap"


def test_one_network_is_trained_and_scored_on_its_fold(stores: Stores, ask: Ask) -> None:
    context = context_of(stores, ask())
    try:
        data = context.training_data(Recipe.from_flat(context.spec.default_recipe()), 0)
        assert (data.num_folds, len(data.held_out(0)), sorted(set(data.folds))) == (1, 10, [ALWAYS_TRAINED, 0])
        assert context.study.length_in_folds == 1
        assert context.study.images_per_epoch(30) == 20
        work_on(context)
        (record,) = stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
        assert stores.trials.prediction_names(record.id) == ()
        true_class = stores.trials.curves(record.id)[-1].true_class
        assert (true_class == true_class).sum() == 10
        assert record.mean_true_probability == pytest.approx(
            Targets(context.images.y[data.held_out(0)]).mean(true_class[data.held_out(0)]), abs=1e-3
        )
        assert next(iter(record.networks or {})).endswith("fold0.safetensors")
    finally:
        context.loader.close()


def test_a_study_begins_from_the_weights(
    stores: Stores, url: str, ask: Ask, competition_folder: Path, tmp_path: Path, study_file: Path
) -> None:
    train(stores, ask())
    pretrain(ask())
    (tmp_path / "other").mkdir()
    other = write_competition(tmp_path / "other", seed=5)
    study_file.write_text(STUDY.replace("[space]\n", '[space]\ninit = ["scratch", "art"]\n', 1))
    values = dict.fromkeys(StartRequest.__dataclass_fields__) | {
        "study": str(study_file),
        "data": other,
        "storage_url": url,
        "overrides": ("probe.enlarge=1", "probe.reduce=1"),
        "memory": False,
        "trials": 1,
        "workers": Workers(workers=0, home=tmp_path / "home"),
    }
    with pytest.raises(LearnedLabels, match="init = 'art'"):
        prepare(StartRequest(**{**values, "data": competition_folder}), Console(quiet=True))  # type: ignore[arg-type]
    copies = Workers(workers=0, home=tmp_path / "home", weights=tmp_path / "copies")
    (tmp_path / "copies").mkdir()
    shutil.copy(tmp_path / "home" / "weights" / "art.safetensors", tmp_path / "copies")
    with pytest.raises(LearnedLabels, match="init = 'art'"):
        prepare(StartRequest(**{**values, "data": competition_folder, "workers": copies}), Console(quiet=True))  # type: ignore[arg-type]
    plan = prepare(StartRequest(**values), Console(quiet=True))  # type: ignore[arg-type]
    assert plan.weights_dir == tmp_path / "home" / "weights"
    assert [probe.recipe.init for probe in plan_probes(plan.spec)] == ["art"]
    study = create_study(stores, plan)
    assert study.stored.weights_dir == str(tmp_path / "home" / "weights")
    made = make_context(stores, study, other, tmp_path / "home")
    context = replace(made, weights_dir=plan.weights_dir)
    try:
        work_on(context)
    finally:
        context.loader.close()
    probe = next(r for r in stores.trials.records(study.id, kind=WorkKind.SEARCH) if r.is_probe)
    assert probe.status is TrialStatus.FINISHED
    assert "supervised on 30 images of 3 classes" in str(probe.machine["init_about"])
    with pytest.raises(BackboneError, match="pre-trained with test_resnet"):
        prepare(StartRequest(**{**values, "overrides": ("recipe.init=art", "recipe.backbone=test_vit")}), Console())  # type: ignore[arg-type]
    with pytest.raises(BackboneError, match="copy art"):
        elsewhere = Workers(workers=0, home=tmp_path / "home", weights=tmp_path / "cache")
        prepare(StartRequest(**{**values, "workers": elsewhere}), Console())  # type: ignore[arg-type]


def test_a_name_with_other_settings_is_refused_unless_replaced(
    stores: Stores, ask: Ask, tmp_path: Path, table: Path
) -> None:
    train(stores, ask())
    pretrain(ask())
    with pytest.raises(CannotRegister, match="--replace"):
        pretrain(ask(classes=table))
    again = ask(classes=table, replace=True)
    train(stores, again)
    pretrain(again)
    (known,) = registered_weights(tmp_path / "home" / "weights")
    assert known.trained_on[0].classes == 2


def test_an_unfinished_one_with_other_settings_is_not_forgotten(stores: Stores, ask: Ask) -> None:
    context = context_of(stores, ask())
    context.loader.close()
    other = ask("recipe.optimizer.lr=0.01")
    with pytest.raises(CannotRegister, match=context.study.name):
        pretrain(other)
    train(stores, other)
    pretrain(replace(other, replace=True))
    assert read_study(stores, context.study.name).state is StudyState.STOPPED


def test_registration_is_finished_after_a_kill(stores: Stores, ask: Ask, tmp_path: Path) -> None:
    train(stores, ask())
    pretrain(ask())
    file = tmp_path / "home" / "weights" / "art.safetensors"
    whole = file.read_bytes()
    for remaining in (None, b"damaged"):
        file.unlink()
        if remaining is not None:
            file.write_bytes(remaining)
        pretrain(ask())
        assert file.read_bytes() == whole


def test_a_lost_network_is_trained_again(stores: Stores, ask: Ask, tmp_path: Path) -> None:
    study = train(stores, ask())
    for network in (tmp_path / "home" / ".cache" / "artifacts").rglob("fold0.safetensors"):
        network.unlink()
    plan = prepare_pretraining(ask(), Console(quiet=True))
    assert study_name(stores, plan, Home(root=tmp_path / "home")) == f"{study.name}.2"


def test_other_files_of_the_name_are_never_touched(ask: Ask, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file({"a": torch.zeros(1)}, weights / "art.safetensors")
    with pytest.raises(CannotRegister, match="did not write it"):
        pretrain(ask(weights=weights))
    for name in ("test_resnet", "resnet18.a1_in1k"):
        with pytest.raises(CannotRegister, match="a backbone of timm"):
            pretrain(ask(weights=weights, name=name))
    with pytest.raises(CannotRegister, match="does not exist"):
        pretrain(ask(weights=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"overrides": ("space.epochs=[1, 2]",)}, StudyError),
        ({"overrides": ("recipe.method=linear_probe",)}, StudyError),
        ({"overrides": ("recipe.optimizer.lr=-1",)}, StudyError),
        ({"backbone": "test_resnett"}, BackboneError),
        ({"init": "pretrained"}, BackboneError),
        ({"overrides": ("recipe.init=mine",)}, BackboneError),
        ({"name": "../art"}, BackboneError),
        ({"classes": Path("nowhere.csv")}, DataError),
    ],
)
def test_bad_input_writes_nothing(ask: Ask, tmp_path: Path, changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        pretrain(replace(ask(), storage_url=f"sqlite:///{tmp_path / 'new.db'}", **changes))  # type: ignore[arg-type]
    assert not (tmp_path / "new.db").exists() and not (tmp_path / "home").exists()


def test_weights_begin_from_registered_ones(stores: Stores, ask: Ask, tmp_path: Path, table: Path) -> None:
    train(stores, ask())
    pretrain(ask())
    weights = tmp_path / "home" / "weights"
    plan = prepare_pretraining(ask("recipe.init=art", name="art2", classes=table), Console(quiet=True))
    assert plan.study.weights_dir == weights
    save_file({"a": torch.zeros(1)}, weights / "plain.safetensors")
    with pytest.raises(CannotRegister, match="nothing says which images"):
        prepare_pretraining(ask("recipe.init=plain", name="art2", weights=weights), Console(quiet=True))


def test_commands_of_a_search_refuse_a_pretraining(stores: Stores, ask: Ask, url: str, tmp_path: Path) -> None:
    context = context_of(stores, ask())
    context.loader.close()
    workers = Workers(workers=0, home=tmp_path / "home")
    exporting = dict.fromkeys(ExportRequest.__dataclass_fields__) | {"storage_url": url, "workers": workers}
    with pytest.raises(NotASearch, match="search pretrain --name art"):
        export_best(ExportRequest(**{**exporting, "studies": ()}))  # type: ignore[arg-type]
    starting = dict.fromkeys(StartRequest.__dataclass_fields__) | {
        "storage_url": url,
        "workers": workers,
        "overrides": (),
    }
    with pytest.raises(NotASearch):
        prepare(StartRequest(**{**starting, "study": context.study.name}), Console())  # type: ignore[arg-type]
    for command in (["status"], ["studies"], ["folds"], ["report", "--output", str(tmp_path / "r.html")]):
        result = CliRunner().invoke(app, [*command, "--storage", url])
        assert result.exit_code == 0, (command, result.output, result.exception)


def test_a_worker_needs_the_classes_of_the_training(
    stores: Stores, ask: Ask, table: Path, competition_folder: Path, tmp_path: Path
) -> None:
    context = context_of(stores, ask(classes=table))
    context.loader.close()
    assert (context.images.class_names, len(context.images.test_ids)) == (("cold", "warm"), 0)
    other = tmp_path / "other"
    other.mkdir()
    for path in competition_folder.rglob("*"):
        if path.is_file():
            (other / path.relative_to(competition_folder)).parent.mkdir(parents=True, exist_ok=True)
            (other / path.relative_to(competition_folder)).write_bytes(path.read_bytes())
    rows = list(csv.reader((other / "train.csv").read_text().splitlines()))
    (other / "train.csv").write_text("\n".join(",".join(row) for row in [*rows[:-1], [rows[-1][0], "pink"]]))
    with pytest.raises(DataMismatch, match="pink"):
        open_for_training(other, context.study, stores)


def test_the_recipe_depends_on_the_number_of_images_and_the_start() -> None:
    assert [default_epochs(n, "pretrained") for n in (100, 8000, 80_000)] == [30, 12, 3]
    assert [default_epochs(n, "scratch") for n in (100, 8000, 80_000)] == [300, 75, 10]
    spec = pretraining_spec("art", backbone="convnext_tiny", init="pretrained", images=8000)
    assert (spec.recipe["optimizer.lr"], spec.recipe["epochs"], spec.probe.enabled) == (1e-4, 12, False)
    assert spec.title == "Pre-training of art"
    given = pretraining_spec("art", backbone="test_vit", init="scratch", images=8000, overrides=("recipe.epochs=5",))
    assert (given.recipe["optimizer.lr"], given.recipe["epochs"]) == (1e-3, 5)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A weights folder with published weights of test_resnet."""
    folder = tmp_path / "start"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), folder / "test_resnet.safetensors")
    return folder


@pytest.mark.parametrize("gain, error", [(0.02, 0.01), (0.01, 0.02), (-0.1, 0.01)])
def test_self_supervised_weights_are_registered_only_if_their_probe_is_better(
    stores: Stores,
    ask: Ask,
    start: Path,
    gain: float,
    error: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = ask(self_supervised=True, init="pretrained", weights=start, epochs=1)
    study = train(stores, request)
    dataset = stores.datasets.get(study.fingerprint)
    assert (len(dataset.class_names), len(dataset.y)) == (36, 72), "30 training and 6 test images, and all once more"
    compared: dict[str, tuple[str, Path]] = {}

    def measured(images: ImageSet, **settings: object) -> Gain:
        assert images.class_names == tuple(COLOURS)
        compared.update({key: settings[key] for key in ("new", "old")})  # type: ignore[misc]
        assert (compared["new"][1] / "art.safetensors").is_file()
        return Gain(mean=gain, error=error)

    monkeypatch.setattr("search.workflow.pretraining.command.probe_gain", measured)
    pretrain(request)
    assert (compared["new"][0], compared["old"]) == ("art", ("pretrained", start))
    assert not compared["new"][1].exists(), "the copy for the probe is removed"
    found, text = registered_weights(start), capsys.readouterr().out
    if gain <= error:
        assert found == [] and "does not help" in text and f"{gain:+.4f}" in text
        return
    (known,) = found
    assert (known.method, known.score, known.held_out) == ("self-supervised", None, 0)
    assert (known.trained_on[0].images, known.trained_on[0].test_images, known.trained_on[0].classes) == (36, 6, 0)
    assert "+0.0200 ± 0.0100" in known.note


def test_a_probe_compares_weights_of_two_folders(competition_folder: Path, start: Path, tmp_path: Path) -> None:
    images = read_images(competition_folder)
    settings = {"backbone": "test_resnet", "image_size": 32, "home": Home(root=tmp_path / "home"), "folds": 2}
    same = probe_gain(
        images, new=("pretrained", start), old=("pretrained", start), device=torch.device("cpu"), **settings
    )  # type: ignore[arg-type]
    assert (same.mean, same.real) == (0.0, False)
    put(start, "art")
    other = probe_gain(images, new=("art", start), old=("pretrained", start), device=torch.device("cpu"), **settings)  # type: ignore[arg-type]
    back = probe_gain(images, new=("pretrained", start), old=("art", start), device=torch.device("cpu"), **settings)  # type: ignore[arg-type]
    assert other.mean == pytest.approx(-back.mean) and other.error == pytest.approx(back.error) and other.error > 0


def test_without_test_images_only_training_images_are_learned_from(ask: Ask, start: Path) -> None:
    request = ask(self_supervised=True, init="pretrained", weights=start, test_images=False)
    plan = prepare_pretraining(request, Console(quiet=True))
    assert (plan.data.images, plan.data.test_images, plan.held_out) == (30, 0, 30)
    assert (plan.study.spec.recipe["norm"], plan.study.spec.recipe["init"]) == ("frozen", "pretrained")
    with pytest.raises(StudyError, match="excludes init = scratch"):
        prepare_pretraining(ask(self_supervised=True, init="scratch"), Console(quiet=True))


@pytest.mark.slow
def test_the_command_trains_on_a_worker_and_continues(competition_folder: Path, url: str, tmp_path: Path) -> None:
    """As typed: from published weights, by a worker process, and then in a study of the registered weights."""
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=1000)
    save_file(network.state_dict(), weights / "test_resnet.r160_in1k.safetensors")
    options = ["--weights", str(weights), "--storage", url, "--home", str(tmp_path / "home"), "--gpus", "none"]
    arguments = ["pretrain", "--data", str(competition_folder), "--name", "art", "--backbone", "test_resnet.r160_in1k"]
    small = ["--epochs", "1", "--image-size", "32", *(word for text in SETTINGS[:2] for word in ("--set", text))]
    result = CliRunner().invoke(app, [*arguments, *small, *options])
    assert result.exit_code == 0, (result.output, result.exception)
    (known,) = registered_weights(weights)
    assert (known.init, known.weights_license) == ("pretrained", "apache-2.0")
    assert len(COLOURS) == known.trained_on[0].classes
    stores = open_stores(url)
    (study,) = stores.studies.all()
    assert Study.of(study).is_pretraining
    listed = CliRunner().invoke(app, ["pretrain", "--list", "--weights", str(weights)])
    assert "art" in listed.output and "apache-2.0" in listed.output
