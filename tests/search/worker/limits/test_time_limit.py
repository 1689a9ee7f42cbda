"""The time limit of a training: what is shortened, ended early or abandoned, by a simulated clock."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest

from search.study_state.study import Study
from search.study_state.time_budget import (
    EXPORT_SECONDS,
    LEAST_EXPORT,
    MARGIN,
    PLAIN_OVERHEAD,
    SHORTENED_MARGIN,
    Costs,
)
from search.study_state.time_left import EndedTrainings
from search.worker.limits.checkpoint_end import RESTART
from search.worker.limits.image_passes import ImagePasses
from search.worker.limits.limit import NoLimit, OutOfTime, TooSlow
from search.worker.limits.study_time import StudyTime
from search.worker.limits.time_limit import TimeLimit
from storage.records.study_rows import StoredStudy
from storage.values import StudyState, TrialRecord, WorkKind
from studies.load_study import load_study
from tests.search.study_state.test_time_budget import record
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport, Verdict
from trainer.training.throughput import Rehearsal

SPEC = load_study("quickstart")
RECIPE = Recipe.from_flat({**SPEC.default_recipe(), "epochs": 10, "image_size": 64})

IMAGES = ImagePasses(trained=1000, held_out=300, test=600)
"""Predictions after the last epoch take as long as an epoch with all views, and `PLAIN` of it with one."""
PLAIN = IMAGES.predictions(RECIPE, plain=True)


def speed(epoch: float, images: ImagePasses = IMAGES) -> Rehearsal:
    """A rehearsal in which a pass takes its share of an epoch."""
    passes = images.last_passes(RECIPE, plain=True) / images.predictions(RECIPE, plain=True)
    return Rehearsal(epoch=epoch, prediction=epoch / passes)


@dataclass
class Clock:
    """A study with a deadline, and a clock that both its database and its worker use."""

    deadline: float | None
    costs: Costs = field(default_factory=lambda: Costs(workers=1, needed_refits=0))
    ended: EndedTrainings = field(default_factory=EndedTrainings)
    now: float = 0.0
    images: ImagePasses = IMAGES

    def limit(
        self,
        kind: WorkKind = WorkKind.SEARCH,
        *,
        has_checkpoint: bool = False,
        rehearsals: dict[str, tuple[int, Rehearsal]] | None = None,
    ) -> TimeLimit:
        return TimeLimit(
            kind,
            self.read,
            images=self.images,
            device="",
            has_checkpoint=lambda: has_checkpoint,
            rehearsals=rehearsals,
            clock=lambda: self.now,
        )

    def read(self) -> StudyTime:
        stored = StoredStudy(
            id=1,
            name="s",
            fingerprint="f",
            spec={},
            spec_hash="",
            file_spec={},
            overrides=(),
            budget=None,
            deadline=self.deadline,
            hours=None,
            period_began=None,
            state=StudyState.RUNNING,
            state_reason="",
            priority=0,
            served=None,
            swept=None,
            running_since=None,
            created=0.0,
        )
        return StudyTime(study=Study(stored=stored, spec=SPEC), costs=self.costs, ended=self.ended, now=self.now)

    def train(self, limit: TimeLimit, epoch: float, batches: int = 100, recipe: Recipe = RECIPE) -> None:
        """One epoch of training, in ``epoch`` seconds."""
        for batch in range(batches):
            limit.on_batch(recipe, batch / batches)
            self.now += epoch / batches


def report(epoch: int, seconds: float, epochs: int = 10) -> EpochReport:
    return EpochReport(
        epoch=epoch,
        epochs=epochs,
        true_class=np.zeros(1, np.float32),
        metric=0.5,
        mean_true_probability=0.5,
        fold_metrics=(0.5,),
        train_loss=1.0,
        seconds=seconds,
    )


FINISHED = Costs(workers=1, trial=100.0, final=100.0, finished=True, needed_refits=0, refits=0)


class TestFirstTrial:
    def test_is_shortened_after_a_few_batches(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 900.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        with pytest.raises(TooSlow) as slow:
            clock.train(limit, epoch=100.0)
        assert clock.now == pytest.approx(10.0), "a twentieth of the epoch after the first one"
        assert slow.value.recipe.image_size == 64
        # An epoch takes 100 s and a tenth more for the held-out images; the last predictions come on top.
        assert slow.value.recipe.epochs == int((900.0 - 10.0) / SHORTENED_MARGIN / 110.0 - PLAIN) == 7
        assert slow.value.seconds == pytest.approx((7 + PLAIN) * 110.0)
        assert "from 10 to 7 epochs" in limit.reason

    def test_is_judged_by_its_epoch_and_not_by_the_probe_before_it(self) -> None:
        """The features of the probe take as long as the epoch, and no training progresses meanwhile."""
        clock = Clock(deadline=EXPORT_SECONDS + 1000.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        for _ in range(10):
            limit.on_batch(RECIPE, 0.0)
            clock.now += 10.0
        with pytest.raises(TooSlow) as slow:
            clock.train(limit, epoch=100.0)
        assert clock.now == pytest.approx(110.0)
        assert slow.value.recipe.epochs == int((900.0 - 10.0) / SHORTENED_MARGIN / 110.0 - PLAIN) == 7

    def test_gets_smaller_images_if_fewer_than_half_of_the_epochs_fit(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 100.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        with pytest.raises(TooSlow) as slow:
            clock.train(limit, epoch=100.0)
        # An epoch on a quarter of the pixels takes a quarter of the time.
        assert slow.value.recipe.epochs == int((100.0 - 10.0) / SHORTENED_MARGIN / 27.5 - 0.5) == 2
        assert slow.value.recipe.image_size == 32
        assert slow.value.seconds == pytest.approx((2 + PLAIN) * 27.5)
        assert "from 64 to 32 pixels" in limit.reason

    def test_is_tried_at_its_shortest_even_if_that_seems_too_long(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 10.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        with pytest.raises(TooSlow) as slow:
            clock.train(limit, epoch=100.0)
        shortest = slow.value.recipe
        assert (shortest.epochs, shortest.image_size) == (1, 32)
        limit.fit(shortest)
        clock.train(limit, epoch=100.0, recipe=shortest)
        assert limit.passed(), "until the export has to begin"

    def test_slow_first_batches_do_not_shorten_it(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 1350.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        for share in (0.0, 0.01, 0.02, 0.03):
            limit.on_batch(RECIPE, share)
            clock.now += 10.0
        for batch in range(4, 100):
            limit.on_batch(RECIPE, batch / 100)
            clock.now += 1.0
        assert limit.after_epoch(RECIPE, report(1, 136.0)) is Verdict.CONTINUE

    def test_that_was_rehearsed_is_judged_again_only_after_a_fifth_of_the_epoch(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 60.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        limit.rehearsed(RECIPE, speed(2.0))
        with pytest.raises(TooSlow):
            clock.train(limit, epoch=100.0)
        assert clock.now == pytest.approx(25.0)

    def test_that_fits_is_left_alone(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 1300.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        for epoch in range(1, 11):
            clock.train(limit, epoch=100.0)
            assert limit.after_epoch(RECIPE, report(epoch, 100.0)) is Verdict.CONTINUE
        assert limit.reason == "" and limit.missed is None and not limit.passed()

    def test_goes_on_if_its_last_epoch_and_one_view_of_the_images_fit(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 130.0)
        limit = clock.limit()
        with pytest.raises(TooSlow):
            limit.rehearsed(RECIPE, speed(50.0))
        clock.now = 130.0 - (1.0 + PLAIN) * 50.0 - 1.0
        assert limit.after_epoch(RECIPE, report(9, 50.0)) is Verdict.CONTINUE
        clock.now += 2.0
        assert limit.after_epoch(RECIPE, report(9, 50.0)) is Verdict.FINISH

    def test_knows_how_fast_its_network_predicts(self) -> None:
        """A small network spends its epochs on steps, and predicts thousands of images at once in no time."""
        clock = Clock(deadline=EXPORT_SECONDS + 60.0, images=ImagePasses.of_folds(60, 1500, 5))
        fast = Rehearsal(epoch=2.0, prediction=2e-4)
        limit = clock.limit()
        passes = clock.images.last_passes(RECIPE, plain=False)
        assert limit.rehearsed(RECIPE, fast) == pytest.approx(10 * 2.0 + passes * 2e-4)
        measured = dataclasses.replace(report(1, 2.0), prediction_seconds=60 * 2e-4)
        assert clock.limit().after_epoch(RECIPE, measured) is Verdict.CONTINUE
        assert clock.limit().after_epoch(RECIPE, report(1, 2.0)) is Verdict.FINISH, "by the steps alone it is slow"

    def test_leaves_time_for_the_predictions_of_many_test_images(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 200.0, images=ImagePasses.of_folds(400, 2000, 5))
        limit = clock.limit()
        limit.fit(RECIPE)
        with pytest.raises(TooSlow) as slow:
            limit.rehearsed(RECIPE, speed(20.0, clock.images))
        shorter = slow.value.recipe
        predictions = clock.images.predictions(RECIPE, plain=True) * 20.0
        pixels = (shorter.image_size / RECIPE.image_size) ** 2
        assert predictions > 30.0 and pixels * (shorter.epochs * 20.0 + predictions) <= 200.0

    def test_that_becomes_slow_later_ends_with_what_it_has(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 600.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        clock.train(limit, epoch=40.0)
        assert limit.after_epoch(RECIPE, report(1, 40.0)) is Verdict.CONTINUE
        clock.now += 300.0
        assert limit.after_epoch(RECIPE, report(2, 300.0)) is Verdict.FINISH
        assert "after epoch 2 of 10" in limit.reason

    def test_leaves_time_for_a_refit_where_its_networks_are_not_kept(self) -> None:
        costs = Costs(workers=1, needed_refits=1)
        clock = Clock(deadline=EXPORT_SECONDS + 2000.0, costs=costs)
        limit = clock.limit()
        limit.fit(RECIPE)
        with pytest.raises(TooSlow):
            clock.train(limit, epoch=100.0)

    def test_is_rehearsed_once_for_each_image_size(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 80.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        assert limit.is_unknown(RECIPE)
        with pytest.raises(TooSlow) as slow:
            limit.rehearsed(RECIPE, speed(10.0))  # ten epochs
        shorter = slow.value.recipe
        assert 1 <= shorter.epochs < 10 and shorter.image_size == RECIPE.image_size
        limit.fit(shorter)
        assert not limit.is_unknown(shorter)
        assert limit.is_unknown(shorter.replace({"image_size": 32}))

    def test_that_fits_by_its_rehearsal_is_judged_again_by_its_batches(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 60.0)
        limit = clock.limit()
        limit.fit(RECIPE)
        assert limit.rehearsed(RECIPE, speed(2.0)) == pytest.approx(2.0 * 10 + 2.0)
        with pytest.raises(TooSlow):
            clock.train(limit, epoch=100.0)

    @pytest.mark.parametrize("kind", [WorkKind.CONFIRM, WorkKind.REFIT])
    def test_confirmations_and_refits_are_not_rehearsed(self, kind: WorkKind) -> None:
        limit = Clock(deadline=1e6).limit(kind)
        limit.fit(RECIPE)
        assert not limit.is_unknown(RECIPE)

    def test_probes_and_studies_without_a_deadline_are_not_rehearsed(self) -> None:
        limit = Clock(deadline=1e6).limit()
        limit.fit(RECIPE)
        assert not limit.is_unknown(RECIPE.replace({"method": "linear_probe", "epochs": 1}))
        limit = Clock(deadline=None).limit()
        limit.fit(RECIPE)
        assert not limit.is_unknown(RECIPE)

    def test_without_anything_to_export_it_takes_half_of_the_time_for_the_export(self) -> None:
        for kind in WorkKind:
            clock = Clock(deadline=EXPORT_SECONDS + 100.0)
            limit = clock.limit(kind)
            limit.fit(RECIPE)
            clock.now = 100.0 + (1.0 - LEAST_EXPORT) * EXPORT_SECONDS
            assert not limit.passed()
            clock.now += 0.1
            assert limit.passed() and limit.missed == clock.deadline and not limit.ends_at_checkpoint()

    def test_in_a_slow_epoch_it_ends_at_its_checkpoint_in_time_for_the_predictions(self) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 100.0)
        limit = clock.limit(has_checkpoint=True)
        limit.fit(RECIPE)
        clock.now = 60.0
        assert limit.after_epoch(RECIPE, report(1, 10.0)) is Verdict.CONTINUE
        end = 100.0 + (1.0 - LEAST_EXPORT) * EXPORT_SECONDS
        begin = end - RESTART - MARGIN * IMAGES.predictions(RECIPE, plain=False) * 10.0
        clock.now = begin - 0.1
        assert not limit.passed()
        clock.now = begin + 0.1
        assert limit.passed() and limit.missed is None
        assert limit.ends_at_checkpoint() and not limit.ends_at_checkpoint()

        limit.fit(RECIPE)
        assert not limit.is_unknown(RECIPE)
        clock.now += RESTART
        assert not limit.passed()
        assert limit.after_epoch(RECIPE, report(1, 10.0)) is Verdict.FINISH
        assert limit.reason == "ended after epoch 1 of 10 for the deadline"
        clock.now = end
        assert not limit.passed()
        clock.now += 0.1
        assert limit.passed() and limit.missed == clock.deadline and not limit.ends_at_checkpoint()

    @pytest.mark.parametrize(
        ("has_checkpoint", "kind", "finished", "epochs"),
        [
            (False, WorkKind.SEARCH, False, 10),
            (True, WorkKind.REFIT, False, 10),
            (True, WorkKind.SEARCH, True, 10),
            (True, WorkKind.SEARCH, False, 1),  # only the predictions are left
        ],
    )
    def test_no_other_training_ends_at_a_checkpoint(
        self, has_checkpoint: bool, kind: WorkKind, finished: bool, epochs: int
    ) -> None:
        clock = Clock(deadline=EXPORT_SECONDS + 200.0, costs=dataclasses.replace(FINISHED, finished=finished))
        limit = clock.limit(kind, has_checkpoint=has_checkpoint)
        limit.fit(RECIPE)
        assert limit.after_epoch(RECIPE, report(1, 10.0, epochs)) is Verdict.CONTINUE
        clock.now = 200.0 + (0.0 if finished else (1.0 - LEAST_EXPORT) * EXPORT_SECONDS)
        assert not limit.passed()
        clock.now += 0.1
        assert limit.passed() and limit.missed == clock.deadline and not limit.ends_at_checkpoint()


class TestLaterTrials:
    def test_of_known_cost_are_shortened_before_they_begin(self) -> None:
        known = dataclasses.replace(record(0, 100.0, epochs_done=10), recipe=RECIPE.to_flat(), overhead=20.0)
        clock = Clock(deadline=EXPORT_SECONDS + 100.0, costs=FINISHED, ended=EndedTrainings(trials=(known,)))
        with pytest.raises(TooSlow) as slow:
            clock.limit().fit(RECIPE)
        assert slow.value.recipe.epochs == int((100.0 / SHORTENED_MARGIN - PLAIN_OVERHEAD * 20.0) / 10.0) == 8
        clock.deadline = EXPORT_SECONDS + 60.0
        with pytest.raises(OutOfTime):
            clock.limit().fit(RECIPE)
        clock.limit(has_checkpoint=True).fit(RECIPE)  # its checkpoint fits no other recipe
        clock.limit(WorkKind.CONFIRM).fit(RECIPE)  # others are compared with it
        clock.deadline = EXPORT_SECONDS + 120.0
        clock.limit().fit(RECIPE)

    def test_are_measured_by_the_longest_finished_one_if_that_was_shortened_itself(self) -> None:
        first = dataclasses.replace(
            record(0, 100.0, epochs_done=1), recipe={**RECIPE.to_flat(), "epochs": 1}, overhead=20.0
        )
        clock = Clock(deadline=EXPORT_SECONDS + 100.0, costs=FINISHED, ended=EndedTrainings(trials=(first,)))
        with pytest.raises(TooSlow) as slow:
            clock.limit().fit(RECIPE)
        assert (slow.value.recipe.epochs, slow.value.recipe.image_size) == (3, 32), "three quarters of the length"
        clock.deadline = EXPORT_SECONDS + 50.0
        with pytest.raises(OutOfTime):  # one epoch on 32 pixels has a quarter of the length
            clock.limit().fit(RECIPE)
        clock.deadline = EXPORT_SECONDS + 100.0
        large = RECIPE.replace({"image_size": 224})
        wide = dataclasses.replace(first, recipe={**large.to_flat(), "epochs": 1})
        clock.ended = EndedTrainings(trials=(wide,))
        with pytest.raises(TooSlow) as slow:
            clock.limit().fit(large)
        assert (slow.value.recipe.epochs, slow.value.recipe.image_size) == (2, 128)

    def test_keep_their_epochs_on_smaller_images_where_the_probes_are_as_good(self) -> None:
        large = RECIPE.replace({"image_size": 224})
        known = dataclasses.replace(record(0, 1000.0, epochs_done=10), recipe=large.to_flat(), overhead=20.0)

        def probe(number: int, image_size: int, brier: float) -> TrialRecord:
            recipe = {**large.to_flat(), "method": "linear_probe", "image_size": image_size}
            return dataclasses.replace(record(number, 10.0, epochs_done=1), recipe=recipe, brier=brier)

        def shorter(brier: float) -> tuple[int, int]:
            trials = (probe(1, 128, brier), probe(2, 224, 0.20), known)
            ended = EndedTrainings(trials=trials)
            limit = Clock(deadline=EXPORT_SECONDS + 600.0, costs=FINISHED, ended=ended).limit()
            with pytest.raises(TooSlow) as slow:
                limit.fit(large)
            return slow.value.recipe.epochs, slow.value.recipe.image_size

        assert shorter(brier=0.22) == (10, 160), "the largest size on which ten epochs fit"
        assert shorter(brier=0.40) == (5, 224)

    def test_that_would_end_too_late_are_released_before_half_of_their_epochs(self) -> None:
        known = dataclasses.replace(record(0, 100.0, epochs_done=10), recipe=RECIPE.to_flat(), overhead=30.0)
        clock = Clock(deadline=EXPORT_SECONDS + 100.0, costs=FINISHED, ended=EndedTrainings(trials=(known,)))
        early, late = clock.limit(), clock.limit()
        assert early.after_epoch(RECIPE, report(4, 30.0)) is Verdict.STOP and early.missed == clock.deadline
        assert late.after_epoch(RECIPE, report(6, 30.0)) is Verdict.CONTINUE, "another epoch fits"
        clock.now = 40.0
        assert late.after_epoch(RECIPE, report(7, 30.0)) is Verdict.FINISH and late.missed is None

    def test_of_a_probe_on_enlarged_images_are_shrunk_but_not_to_a_size_that_is_known(self) -> None:
        probe = RECIPE.replace({"method": "linear_probe", "epochs": 1})
        known = dataclasses.replace(record(0, 10.0, epochs_done=1), recipe=probe.to_flat())
        enlarged = probe.replace({"image_size": 128})  # 40 seconds
        # The share of the probes is for backbones that do not lead.
        leader = dataclasses.replace(
            known, id=99, recipe={**probe.to_flat(), "backbone": "test_vit"}, mean_true_probability=1.0
        )
        share = SPEC.probe.share
        clock = Clock(deadline=30.0 / share, costs=FINISHED, ended=EndedTrainings(trials=(known, leader)))
        with pytest.raises(TooSlow) as slow:
            clock.limit().fit(enlarged)
        assert slow.value.recipe.image_size == 96
        clock.deadline = 20.0 / share
        with pytest.raises(OutOfTime):
            clock.limit().fit(enlarged)
        clock.deadline = 60.0 / share
        limit = clock.limit()
        limit.fit(enlarged)
        with pytest.raises(TooSlow) as slow:  # the machine has become slower meanwhile
            clock.train(limit, epoch=60.0, recipe=enlarged)
        assert slow.value.recipe.image_size == 96

    def test_of_the_best_probe_on_enlarged_images_may_exceed_the_share_but_not_the_deadline(self) -> None:
        probe = RECIPE.replace({"method": "linear_probe", "epochs": 1})
        known = dataclasses.replace(record(0, 10.0, epochs_done=1), recipe=probe.to_flat())
        enlarged = probe.replace({"image_size": 128})  # 40 seconds
        clock = Clock(deadline=EXPORT_SECONDS + 41.0, costs=FINISHED, ended=EndedTrainings(trials=(known,)))
        clock.limit().fit(enlarged)
        clock.deadline = EXPORT_SECONDS + 39.0
        with pytest.raises(TooSlow) as slow:
            clock.limit().fit(enlarged)
        assert slow.value.recipe.image_size == 96

    def test_after_a_probe_train_at_its_size_or_not_at_all(self) -> None:
        probe = RECIPE.replace({"method": "linear_probe", "epochs": 1, "image_size": 128})
        ended = EndedTrainings(trials=(dataclasses.replace(record(3, 10.0, epochs_done=1), recipe=probe.to_flat()),))
        clock = Clock(deadline=EXPORT_SECONDS + 250.0, costs=FINISHED, ended=ended)
        from_probe = RECIPE.replace({"init": "pretrained", "head": "probe", "norm": "frozen", "image_size": 128})
        with pytest.raises(TooSlow) as slow:
            clock.limit().rehearsed(from_probe, speed(50.0))
        fitting = int(250.0 / SHORTENED_MARGIN / 50.0 - PLAIN)
        assert (slow.value.recipe.epochs, slow.value.recipe.image_size) == (fitting, 128)
        clock.deadline = EXPORT_SECONDS + 90.0
        with pytest.raises(TooSlow) as slow:
            clock.limit().rehearsed(from_probe, speed(50.0))
        assert (slow.value.recipe.epochs, slow.value.recipe.image_size) == (2, 96)
        clock.deadline = EXPORT_SECONDS + 65.0
        with pytest.raises(OutOfTime):
            clock.limit().rehearsed(from_probe, speed(50.0))
        with pytest.raises(OutOfTime):  # one epoch of a random classifier is worse than the probe
            clock.limit().rehearsed(from_probe.replace({"head": "random"}), speed(50.0))

    def test_that_cannot_end_in_time_by_an_earlier_rehearsal_are_not_rehearsed(self) -> None:
        probe = RECIPE.replace({"method": "linear_probe", "epochs": 1})
        ended = EndedTrainings(trials=(dataclasses.replace(record(3, 10.0, epochs_done=1), recipe=probe.to_flat()),))
        clock, known = (
            Clock(deadline=EXPORT_SECONDS + 40.0, costs=FINISHED, ended=ended),
            dict[str, tuple[int, Rehearsal]](),
        )
        from_probe = RECIPE.replace({"init": "pretrained", "head": "probe", "norm": "frozen"})
        first, second = clock.limit(rehearsals=known), clock.limit(rehearsals=known)
        first.fit(from_probe)
        with pytest.raises(OutOfTime):
            first.rehearsed(from_probe, speed(50.0))
        with pytest.raises(OutOfTime):
            second.fit(from_probe)
        clock.deadline = EXPORT_SECONDS + 1000.0
        second.fit(from_probe)
        assert second.is_unknown(from_probe), "a rehearsal tells more than one of another trial"

    def test_end_with_few_epochs_while_only_a_probe_has_finished(self) -> None:
        probe = dataclasses.replace(
            record(3, 10.0, epochs_done=1), recipe={**RECIPE.to_flat(), "method": "linear_probe", "epochs": 1}
        )
        clock = Clock(deadline=EXPORT_SECONDS + 50.0, costs=FINISHED, ended=EndedTrainings(trials=(probe,)))
        limit = clock.limit()
        assert limit.after_epoch(RECIPE, report(2, 30.0)) is Verdict.FINISH
        assert limit.missed is None


@pytest.mark.parametrize(
    ("kind", "needed", "verdict"),
    [
        (WorkKind.CONFIRM, 0, Verdict.STOP),
        (WorkKind.REFIT, 0, Verdict.STOP),
        (WorkKind.REFIT, 1, Verdict.FINISH),
    ],
)
def test_confirmations_never_end_early_and_refits_only_if_nothing_replaces_them(
    kind: WorkKind, needed: int, verdict: Verdict
) -> None:
    costs = dataclasses.replace(FINISHED, needed_refits=needed)
    clock = Clock(deadline=EXPORT_SECONDS + 10.0, costs=costs)
    assert clock.limit(kind).after_epoch(RECIPE, report(1, 30.0)) is verdict


def test_every_training_is_abandoned_when_the_export_has_to_begin() -> None:
    for kind in WorkKind:
        clock = Clock(deadline=EXPORT_SECONDS + 100.0, costs=FINISHED)
        limit = clock.limit(kind)
        limit.fit(RECIPE)
        clock.now = 100.0
        assert not limit.passed()
        clock.now = 100.1
        assert limit.passed() and limit.missed == clock.deadline


def test_a_deadline_that_was_moved_is_noticed_before_a_training_is_abandoned() -> None:
    clock = Clock(deadline=EXPORT_SECONDS + 100.0, costs=FINISHED)
    limit = clock.limit()
    limit.fit(RECIPE)
    clock.now, clock.deadline = 200.0, 1000.0
    assert not limit.passed() and limit.missed is None


def test_without_a_deadline_nothing_is_limited() -> None:
    clock = Clock(deadline=None)
    for limit in (clock.limit(), NoLimit()):
        limit.fit(RECIPE)
        clock.now += 1e6
        limit.on_batch(RECIPE, 0.5)
        assert limit.after_epoch(RECIPE, report(1, 1e6)) is Verdict.CONTINUE
        assert not limit.passed() and limit.reason == ""
