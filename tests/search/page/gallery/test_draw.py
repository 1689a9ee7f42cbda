"""Drawing the pictures of a small real study: maps by the networks that held an image out, within the given time."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from search.export.final_model import Refits, gather_refits
from search.export.plan import plan_export, queue_refits
from search.page.command import REPORT, report
from search.page.gallery.contents import MOST_PICTURES, SIDE, TEST, TRAIN, Gallery, read_gallery
from search.page.gallery.draw import draw_gallery, shares_of
from search.page.gallery.networks import Clock, FoldNetworks, TimeIsOver, held_out
from search.page.gallery.thumbnails import focus_of, shrunk, under_map
from search.runtime.disk import size_of
from search.runtime.kept_networks import artifacts_of
from search.statistics.ranking import average
from search.worker.study_context import StudyContext
from search.workflow.export.draw_pictures import PICTURES_SHARE, draw_pictures, time_for_pictures
from search.workflow.export.export_best import finish_export
from storage.stores import Stores
from storage.values import FULL_DATA_SPLIT, WorkKind
from tests.search.page.html_reader import read_html, section
from tests.search.small_study import work_on
from trainer.data.images import FileImages
from trainer.evaluation.label_errors.candidate import Candidate

pytestmark = pytest.mark.slow


@pytest.fixture
def refits(context: StudyContext) -> Refits:
    """A searched study, whose best trial needs no refit."""
    work_on(context)
    return refits_of(context)


def refits_of(context: StudyContext, *, full_data: bool = False, seeds: int | None = None) -> Refits:
    plan = plan_export(context.stores, context.study, seeds=seeds, full_data=full_data, home=context.home)
    ids = queue_refits(context.stores, plan, context.home)
    work_on(context)
    return gather_refits(context.stores, plan, ids)


def remove_networks(context: StudyContext) -> None:
    artifacts = artifacts_of(context.stores, context.home)
    for record in context.stores.trials.records(context.study.id):
        artifacts.remove_weights(context.study.name, record.work_id)


def draw(context: StudyContext, refits: Refits, seconds: float = 600.0) -> Gallery:
    limit = "the limit of 3% of the study's time"
    return draw_gallery(context.stores, refits, context.images, context.home, seconds=seconds, limit=limit)


def test_every_picture_has_the_prediction_and_a_map(context: StudyContext, refits: Refits) -> None:
    gallery = draw(context, refits)
    trial = refits.members[0].member.trial
    oof = context.stores.trials.prediction(trial.id, "oof")
    assert (gallery.trial, gallery.notes) == (trial.number, ())
    assert gallery.source.startswith(f"Out-of-fold predictions of trial {trial.number}.")
    exported = average(refits.members[0].oof_by_training)
    assert ("differ a little from those in the tables" in gallery.source) == (not np.array_equal(oof, exported))
    training = [picture for picture in gallery.pictures if picture.part == TRAIN]
    assert 0 < len(training) <= MOST_PICTURES
    for picture in training:
        label, predicted = int(context.images.y[picture.row]), int(oof[picture.row].argmax())
        assert (picture.labels, picture.predicted, picture.mapped) == ((label,), (predicted,), predicted)
        assert dict(picture.shares) == {c: pytest.approx(float(oof[picture.row, c])) for c, _ in picture.shares}
        assert picture.shares[0][0] == predicted and label in dict(picture.shares)
        assert picture.map is not None and picture.focus
        sizes = [Image.open(io.BytesIO(data)).size for data in (picture.jpeg, picture.map)]
        assert sizes == [(SIDE, SIDE)] * 2, "the images are squares of 40 pixels"
    losses = [
        -np.log(oof[picture.row, context.images.y[picture.row]]) for picture in training if picture.reasons[0] == "loss"
    ]
    assert losses == sorted(losses, reverse=True)
    far = [picture for picture in gallery.pictures if picture.part == TEST]
    assert sorted(picture.row for picture in far) == list(range(6))
    assert all(picture.labels is None and picture.map is not None for picture in far)


def test_doubtful_labels_are_those_of_the_review(
    context: StudyContext, refits: Refits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All trials together find them, not the leader alone."""
    doubted = [Candidate(row=row, given=(), proposed=(), proposed_label=np.int64(0), confidence=0.9) for row in (5, 8)]
    for too_many, expected in ((False, [5, 8]), (True, [])):
        review = SimpleNamespace(candidates=doubted, too_many=too_many)
        monkeypatch.setattr("search.page.gallery.draw.find_candidates", lambda *_, review=review: review)
        marked = [picture.row for picture in draw(context, refits).pictures if "suspect" in picture.reasons]
        assert sorted(marked) == expected


def test_the_network_that_held_an_image_out_draws_its_map(
    context: StudyContext, refits: Refits, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []
    drawn: list[tuple[int, bytes]] = []
    load, draw_map = FoldNetworks.load, FoldNetworks.draw

    def remember(self: FoldNetworks, fold: int) -> None:
        loaded.append(fold)
        load(self, fold)

    def remember_map(self: FoldNetworks, square: np.ndarray, label: int) -> np.ndarray:
        drawn.append((loaded[-1], square.tobytes()))
        return draw_map(self, square, label)

    monkeypatch.setattr(FoldNetworks, "load", remember)
    monkeypatch.setattr(FoldNetworks, "draw", remember_map)
    gallery = draw(context, refits)
    trial = refits.members[0].member.trial
    held = held_out(context.stores, context.home, context.study, trial, ())
    pixels = context.training_data(held.recipe, 0).pixels.train
    fold_of = {pixels[row].tobytes(): int(held.folds[row]) for row in range(len(pixels))}
    of_training = [(fold, image) for fold, image in drawn if image in fold_of]
    assert len(of_training) == sum(picture.part == TRAIN for picture in gallery.pictures)
    assert all(fold_of[image] == fold for fold, image in of_training)


def test_the_report_shows_the_same_pictures_without_the_networks(
    context: StudyContext, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.workflow.export.draw_pictures.PICTURES_SHARE", 1000.0)  # the study took seconds
    work_on(context)
    stores, folder = context.stores, tmp_path / "out"
    plan = plan_export(stores, context.study, seeds=None, full_data=False, home=context.home)
    ids = queue_refits(stores, plan, context.home)
    finish_export(Console(file=io.StringIO()), stores, plan, ids, context.images, context.home, folder, None)
    first = section(read_html((folder / REPORT).read_text(encoding="utf-8")), "gallery")
    remove_networks(context)
    assert size_of(context.home.artifacts / "weights") == 0
    report("colours", url, context.home.root, tmp_path / "again.html")
    again = section(read_html((tmp_path / "again.html").read_text(encoding="utf-8")), "gallery")
    assert first == again and len(first.all("img")) > 10


def test_networks_of_all_images_draw_no_map_of_them(context: StudyContext, refits: Refits) -> None:
    """A training on all images holds nothing out: the kept networks of the search draw, or none do."""
    all_images = refits_of(context, full_data=True)
    assert {record.split for record in all_images.members[0].records} == {FULL_DATA_SPLIT}
    assert all(picture.map is not None for picture in draw(context, all_images).pictures)
    artifacts = artifacts_of(context.stores, context.home)
    trial = all_images.members[0].member.trial
    artifacts.remove_weights(context.study.name, trial.work_id)
    gallery = draw(context, all_images)
    assert all(picture.map is None and picture.part == TRAIN for picture in gallery.pictures) and gallery.pictures
    assert "networks that held the images out were not kept" in gallery.notes[0]


def test_a_refit_on_folds_stands_in_for_the_search(context: StudyContext, refits: Refits) -> None:
    more = refits_of(context, seeds=2)
    trial = more.members[0].member.trial
    artifacts_of(context.stores, context.home).remove_weights(context.study.name, trial.work_id)
    (refit,) = [record for record in more.members[0].records if record.kind is WorkKind.REFIT]
    gallery = draw(context, more)
    assert f"seed {refit.seed}" in gallery.source and "differ a little" in gallery.source
    oof = context.stores.trials.prediction(refit.id, "oof")
    assert all(p.predicted == (oof[p.row].argmax(),) for p in gallery.pictures if p.part == TRAIN)
    assert all(picture.map is not None for picture in gallery.pictures)


def test_without_time_there_is_nothing_and_the_report_says_why(context: StudyContext, refits: Refits) -> None:
    gallery = draw(context, refits, seconds=0.0)
    assert gallery.pictures == ()
    assert any("left out for the limit of 3% of the study's time" in note for note in gallery.notes)


def test_images_that_are_gone_are_named(context: StudyContext, refits: Refits, tmp_path: Path) -> None:
    images = context.images.train_images
    assert isinstance(images, FileImages)
    gone = replace(images, root=tmp_path / "nowhere")
    gallery = draw_gallery(
        context.stores,
        refits,
        replace(context.images, train_images=gone),
        context.home,
        seconds=600.0,
        limit="",
    )
    assert not [picture for picture in gallery.pictures if picture.part == TRAIN]
    assert "there is no such file" in gallery.notes[0]


def test_networks_that_do_not_fit_are_a_note(context: StudyContext, refits: Refits) -> None:
    leader = refits.members[0]
    other = replace(leader.member.trial, recipe={**(leader.member.trial.recipe or {}), "backbone": "test_vit"})
    changed = replace(leader, member=replace(leader.member, trial=other), records=())
    gallery = draw(context, replace(refits, members=(changed,)))
    assert gallery.pictures and all(picture.map is None for picture in gallery.pictures)
    assert "cannot be" in gallery.notes[0]


def test_pictures_take_a_small_share_and_respect_the_deadline(context: StudyContext, refits: Refits) -> None:
    stores, study = context.stores, context.study
    trained = sum(record.cost for record in stores.trials.records(study.id))
    lived = stores.database.now() - study.stored.created
    seconds, limit = time_for_pictures(stores, study)
    assert 0.0 < seconds <= PICTURES_SHARE * min(trained, lived + 60.0) and "3% of the study's time" in limit

    def with_deadline(left: float) -> tuple[float, str]:
        now = stores.database.now()
        stores.studies.set_deadline(study.id, now + left, hours=1.0, period_began=now - 3000.0)
        return time_for_pictures(stores, study)

    assert with_deadline(3600.0) == (pytest.approx(seconds, rel=0.5), limit)
    left, reason = with_deadline(2.0)
    assert left < 0.0 and reason == "the deadline; `search export-best --study colours`, typed after it, draws them"
    assert not draw_pictures(stores, study, refits, context.images, context.home)
    assert read(context) is None
    assert with_deadline(-10.0)[0] > 0.0, "after a missed deadline there is no hurry any more"


def read(context: StudyContext) -> object:
    dataset = context.stores.datasets.get(context.study.fingerprint)
    return read_gallery(context.stores, context.home, context.study.name, dataset)


def test_a_disk_that_cannot_be_written_ends_no_export(
    context: StudyContext, refits: Refits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stores: Stores = context.stores
    monkeypatch.setattr("search.workflow.export.draw_pictures.PICTURES_SHARE", 1000.0)
    assert draw_pictures(stores, context.study, refits, context.images, context.home) and read(context) is not None
    folder = artifacts_of(stores, context.home).folder_of(context.study.name, "galleries")
    (folder / "gallery.json").unlink()
    folder.rmdir()
    folder.write_text("a file in the place of the folder")
    assert not draw_pictures(stores, context.study, refits, context.images, context.home)
    assert "the report has no pictures" in caplog.text


def test_the_clock_stops_before_a_step_that_takes_too_long() -> None:
    times = iter([0.0, 5.0, 5.0, 11.0])
    clock = Clock(10.0, now=lambda: next(times))
    clock.check(4.0)
    with pytest.raises(TimeIsOver):
        clock.check(6.0)
    with pytest.raises(TimeIsOver):
        clock.check()


def test_the_probabilities_of_errors_are_shown_among_many() -> None:
    proba = np.linspace(0.95, 0.05, 20).astype(np.float32)  # class 0 is the most probable one
    shown = shares_of(proba, (17, 19), (0, 1, 2, 3), 9)
    assert [index for index, _ in shown] == [0, 1, 2, 3, 9, 17, 19]
    assert dict(shown) == {index: pytest.approx(float(proba[index])) for index, _ in shown}
    many = [index for index, _ in shares_of(proba, tuple(range(10, 20)), (0,), 12)]
    assert many == [0, 1, 2, 12, 16, 17, 18, 19], "the labels that are missed most clearly"
    assert [index for index, _ in shares_of(proba, (4,), (0,), 0)] == [0, 1, 2, 4]
    assert [index for index, _ in shares_of(proba, None, (), 0)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "size"), [((400, 800), (160, 80)), ((10, 5), (80, 160)), ((3000, 2), (8, 160)), ((1, 1), (160, 160))]
)
def test_pictures_keep_their_aspect_ratio(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = shrunk(np.zeros((*shape, 3), np.uint8), SIDE)
    assert picture.size == size
    found = np.zeros((picture.height, picture.width), np.float32)
    found[0, 0] = 1.0
    mapped = np.asarray(under_map(picture, found)).astype(int)
    assert mapped.shape == (picture.height, picture.width, 3)
    assert mapped[0, 0].sum() > mapped[-1, -1].sum(), "bright where the map is large"


def test_the_focus_is_named() -> None:
    found = np.zeros((30, 60), np.float32)
    assert focus_of(found) == "nowhere"
    found[3:6, 50:55] = 1.0
    assert focus_of(found) == "top right"
    assert focus_of(found[::-1]) == "bottom right"
    assert focus_of(np.ones((4, 4), np.float32)) == "all over"
    centre = np.zeros((9, 9), np.float32)
    centre[4, 4] = 1.0
    assert focus_of(centre) == "centre"


def test_a_gpu_that_fails_leaves_the_rest_to_the_cpu(
    context: StudyContext, refits: Refits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both devices are the CPU here; the first one fails at the first map of a test image."""
    expected = draw(context, refits)
    draw_map, drawn = FoldNetworks.draw, []

    def fail_once(self: FoldNetworks, square: np.ndarray, label: int) -> np.ndarray:
        drawn.append(label)
        if len(drawn) == 1 + sum(picture.part == TRAIN for picture in expected.pictures):
            raise RuntimeError("CUDA error: unspecified launch failure")
        return draw_map(self, square, label)

    monkeypatch.setattr(FoldNetworks, "draw", fail_once)
    monkeypatch.setattr("search.page.gallery.draw.devices_for", lambda record: ("cpu:0", "cpu"))
    found = draw(context, refits)
    assert [(p.part, p.row, p.jpeg) for p in found.pictures] == [(p.part, p.row, p.jpeg) for p in expected.pictures]
    assert all(picture.map is not None for picture in found.pictures) and found.notes == ()


def test_a_cpu_that_fails_is_a_note(context: StudyContext, refits: Refits, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FoldNetworks, square: np.ndarray, label: int) -> np.ndarray:
        raise RuntimeError("not enough memory: you tried to allocate 8 GB")

    monkeypatch.setattr(FoldNetworks, "draw", fail)
    gallery = draw(context, refits)
    assert gallery.pictures and all(picture.map is None for picture in gallery.pictures)
    assert "not enough memory" in gallery.notes[0]


def test_time_that_ends_between_maps_keeps_the_pictures(
    context: StudyContext, refits: Refits, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_map, drawn = FoldNetworks.draw, []

    def until_over(self: FoldNetworks, square: np.ndarray, label: int) -> np.ndarray:
        drawn.append(label)
        if len(drawn) > 3:
            raise TimeIsOver
        return draw_map(self, square, label)

    monkeypatch.setattr(FoldNetworks, "draw", until_over)
    gallery = draw(context, refits)
    assert sum(picture.map is not None for picture in gallery.pictures) == 3
    assert "Some class-activation maps are left out for the limit of 3% of the study's time." in gallery.notes


def test_a_map_that_would_take_too_long_is_not_begun(context: StudyContext, refits: Refits) -> None:
    """The first map of a large network on a CPU: what its training took says so."""
    leader = refits.members[0]
    slow = replace(leader.member.trial, seconds=1e6)
    changed = replace(leader, member=replace(leader.member, trial=slow), records=())
    gallery = draw(context, replace(refits, members=(changed,)))
    assert gallery.pictures and all(picture.map is None for picture in gallery.pictures)
    assert "Some class-activation maps are left out for" in gallery.notes[0]
