"""`prepare`: continuing a study that an earlier release began with its shipped file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.engines.plan import Workers
from search.study_setup.create_study import StudyChanged, StudyPlan, create_study, resume
from search.study_setup.prepare import StartRequest, prepare
from search.study_state.study import Study
from storage.stores import Stores
from studies.errors import StudyError
from studies.spec import StudySpec
from studies.stored_spec import spec_from_dict
from tests.databases import DIALECTS

SHIPPED = "aug_tuning"
OVERRIDES = ("recipe.backbone=test_resnet", "recipe.init=scratch", "recipe.image_size=32")
Started = Callable[..., tuple[StudyPlan, str]]


@pytest.fixture
def started(url: str, competition_folder: Path, tmp_path: Path) -> Started:
    """Prepares ``search start --study aug_tuning``; returns the plan and the printed text."""

    def started(study: str = SHIPPED, **changes: object) -> tuple[StudyPlan, str]:
        values = dict.fromkeys(StartRequest.__dataclass_fields__) | {
            "study": study,
            "data": competition_folder,
            "storage_url": url,
            "overrides": (),
            "memory": False,
            "workers": Workers(workers=0, home=tmp_path / "home"),
        }
        console = Console(file=io.StringIO(), width=300, highlight=False)
        plan = prepare(StartRequest(**(values | changes)), console)  # type: ignore[arg-type]
        assert isinstance(console.file, io.StringIO)
        return plan, console.file.getvalue()

    return started


def of_earlier_release(spec: StudySpec) -> StudySpec:
    """The study without the fields ``head`` and ``norm``, and with another warm-up."""
    stored = spec.to_dict()
    kept = {field: value for field, value in stored["recipe"].items() if field not in ("head", "norm")}
    return spec_from_dict({**stored, "recipe": {**kept, "schedule.warmup": 0.35}})


def begin(stores: Stores, plan: StudyPlan) -> Study:
    """Create the study as an earlier release would have."""
    before = replace(plan, spec=of_earlier_release(plan.spec), file_spec=of_earlier_release(plan.file_spec))
    return create_study(stores, before)


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
@pytest.mark.parametrize("name", [None, "mine"])
def test_a_changed_shipped_file_does_not_stop_a_study(stores: Stores, started: Started, name: str | None) -> None:
    begun = begin(stores, started(name=name, overrides=OVERRIDES)[0])
    plan, said = started(name=name)
    assert (plan.name, plan.spec, plan.file_spec.to_dict()) == (begun.name, begun.spec, begun.stored.file_spec)
    assert tuple(plan.overrides) == OVERRIDES
    assert said.count(f"study {begun.name} keeps its settings") == 1 and "--name NAME" in said
    assert resume(stores, begun, plan).spec == begun.spec
    new, said = started(name="new", overrides=OVERRIDES)
    assert new.spec.recipe["schedule.warmup"] != 0.35 and "keeps its settings" not in said


def test_given_overrides_are_checked_against_the_stored_settings(stores: Stores, started: Started) -> None:
    begun = begin(stores, started(overrides=OVERRIDES)[0])
    same, _ = started(overrides=OVERRIDES, patience=4)
    assert same.spec.search_settings.patience == 4
    resumed = resume(stores, begun, same)
    assert resumed.spec.recipe == begun.spec.recipe
    changed, _ = started(overrides=(*OVERRIDES, "recipe.batch_size=9"))
    with pytest.raises(StudyChanged, match=r"batch_size: \d+ -> 9") as refused:
        resume(stores, resumed, changed)
    assert "warmup" not in str(refused.value)
    with pytest.raises(StudyError, match="batch_sise"):
        started(overrides=(*OVERRIDES, "recipe.batch_sise=9"))


@pytest.mark.parametrize("by_name", [False, True])
def test_a_setting_once_given_stays_until_another_value_is_given(
    stores: Stores, started: Started, by_name: bool
) -> None:
    """Also the value with which the study began: rules that were relaxed can be tightened again."""
    study = "mine" if by_name else SHIPPED
    plan, _ = started(name="mine" if by_name else None, overrides=(*OVERRIDES, "rules.external_data=false"))
    stored = create_study(stores, plan)
    for text, allowed, seeds in (
        ("final.seeds=2", False, 2),
        ("rules.external_data=true", True, 2),
        ("rules.external_data=false", False, 2),
        ("final.seeds=1", False, 1),
        ("rules.external_data=true", True, 1),
    ):
        before = stored.spec.rules
        plan, said = started(study, overrides=(text,))
        stored = resume(stores, stored, plan)
        assert (stored.spec.rules.external_data, stored.spec.final.seeds) == (allowed, seeds)
        assert set(OVERRIDES) < set(stored.stored.overrides) and text in stored.stored.overrides
        assert (f"the rules of study {stored.name} forbid" in said) == (before != stored.spec.rules)


def test_an_unchanged_shipped_file_is_not_mentioned(stores: Stores, started: Started) -> None:
    begun = create_study(stores, started(overrides=OVERRIDES)[0])
    plan, said = started()
    assert resume(stores, begun, plan).spec == begun.spec and "keeps its settings" not in said


def test_a_changed_file_of_ones_own_is_refused(stores: Stores, started: Started, study_file: Path) -> None:
    begun = begin(stores, started(str(study_file))[0])
    plan, said = started(str(study_file))
    with pytest.raises(StudyChanged, match="warmup"):
        resume(stores, begun, plan)
    plan, more = started(name=begun.name, overrides=OVERRIDES)
    with pytest.raises(StudyChanged, match="warmup"):
        resume(stores, begun, plan)
    assert "keeps its settings" not in said + more, "the shipped file is not the study's"
