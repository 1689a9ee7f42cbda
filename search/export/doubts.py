"""Doubts about an export, a line each: reasons to trust its choice of recipe, its score or its data less."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from search.export.output.export import Export
from search.export.plan import ExportPlan
from search.statistics.member_names import members_named, trials_named
from search.study_state.confirmation import read_confirmation, why_skipped
from search.study_state.search_trials import lasting_failures
from search.study_state.study import Study
from search.study_state.training_costs import length
from storage.records.datasets import StoredDataset
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, StudyState, TrialRecord, TrialStatus, WorkKind
from trainer.common.errors import counted
from trainer.data.readers.doubts.formulas import formula_warnings
from trainer.evaluation.several_labels import has_several


def doubts_of_export(stores: Stores, plan: ExportPlan, export: Export) -> list[str]:
    """Reasons to doubt an export, the most important first."""
    dataset = stores.datasets.get(plan.study.fingerprint)
    return [
        *_about_leader(stores, plan, export),
        *export.warnings,
        *_about_scores(stores, plan, export),
        *_about_search(stores, plan),
        *doubts_of_data(dataset, plan.study.name),
    ]


def _about_leader(stores: Stores, plan: ExportPlan, export: Export) -> Iterator[str]:
    """Recipes that tie with the leader. `Export.warnings` covers the default recipe."""
    if plan.leader.number == DEFAULT_TRIAL and plan.study.second is None:
        finished = sum(len(_finished(stores, study)) for study in plan.studies)
        yield "the search found nothing better than the default recipe" if finished > 1 else "no other recipe was tried"
    yield from _about_probes(stores, plan)
    if plan.estimates is None:
        return
    blended = {member.name for member in plan.members}
    others = [row for row in plan.estimates.rows if row.tied and row.number != DEFAULT_TRIAL]
    tied = [row.name for row in others if row.name not in blended]
    if tied:
        yield f"{members_named(tied)} may be just as good: within one standard error of the leader on fresh splits"


def _about_probes(stores: Stores, plan: ExportPlan) -> Iterator[str]:
    """That fine-tuning has gained nothing over the linear probes."""
    tuned = [record for study in plan.studies for record in _finished(stores, study) if not record.is_probe]
    if tuned and all(member.trial.is_probe for member in plan.members):
        best = max(tuned, key=lambda record: record.value or 0.0)
        trials = f"the best of {len(tuned)} fine-tuned trials" if len(tuned) > 1 else "the only fine-tuned trial"
        yield (
            f"fine-tuning has gained nothing over the linear probe so far: {trials} scores {_score_at(best)}, "
            f"{plan.leader.name} {_score_at(plan.leader.trial)}"
        )


def _score_at(record: TrialRecord) -> str:
    """The score of a trial with what a deadline may have reduced: image size, epochs and the layers that learn."""
    recipe = record.recipe or {}
    planned, done = int(recipe.get("epochs", 0)), record.epochs_done
    shortened = f"{done} of " * (0 < done < planned)  # a deadline ended it
    epochs = "" if record.is_probe else f" after {shortened}{counted(planned, 'epoch')}"
    share = 0.0 if record.is_probe else float(recipe.get("freeze", 0.0))
    frozen = " with a frozen backbone" if share >= 1.0 else f" with {share:.0%} of the layers frozen" * (share > 0.0)
    return f"{record.value or 0.0:.4f}{epochs} at {recipe.get('image_size')} px{frozen}"


def _about_scores(stores: Stores, plan: ExportPlan, export: Export) -> Iterator[str]:
    """Scores with selection bias, and recipes that were never scored without it."""
    confirmation = read_confirmation(stores, plan.study.name)
    chosen = sum(len(_finished(stores, study)) for study in plan.studies) > 1
    if export.score is not None and not export.by_confirmations and chosen and export.optimistic:
        value = f"{export.score:.4f} ± {export.score_error or 0.0:.4f}"
        recipes = "recipes" if len(export.members) > 1 else "recipe"
        corrected = "" if export.forecast is None else "; the expected score is corrected for it"
        yield f"out-of-fold {value} is optimistic, because the same images chose the {recipes}{corrected}"
    low, high = (float((export.forecast or {}).get(name, np.nan)) for name in ("low", "high"))
    if export.score is not None and (export.score < low or export.score > high) and _trains_otherwise(plan):
        yield (
            f"out-of-fold {export.score:.4f} lies outside of the expected interval: the interval follows from the "
            "trials of the search, and the exported networks were trained with other epochs or image sizes"
        )
    if plan.estimates is None:
        because = f" ({reason})" if (reason := why_skipped(confirmation)) else ""
        yield f"no recipe was tested on fresh splits{because}"
        return
    tested = {finalist.number for finalist in confirmation.finalists}
    missing = [number for number in confirmation.numbers if number not in tested]
    if missing:
        yield f"among the best, but never tested on fresh splits: {trials_named(missing, confirmation.probes)}"


def _trains_otherwise(plan: ExportPlan) -> bool:
    """Whether the exported training of a member has another length than that of its trial, by the ``[final]`` table."""
    pairs = [(member.trial.recipe, member.recipe.to_flat()) for member in plan.members]
    return any(length(searched) != length(exported) for searched, exported in pairs if searched)


def _finished(stores: Stores, study: Study) -> list[TrialRecord]:
    return stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)


def _about_search(stores: Stores, plan: ExportPlan) -> Iterator[str]:
    for study in plan.studies:
        now = Study.of(stores.studies.get(study.name))
        prefix = f"study {study.name}: " * (len(plan.studies) > 1)
        if now.state is StudyState.STOPPED:
            yield f"{prefix}the search stopped early: {now.state_reason or 'no reason is recorded'}"
        failed = lasting_failures(stores.trials.records(study.id, kind=WorkKind.SEARCH))
        for what, count in (("trial", sum(not r.is_probe for r in failed)), ("probe", sum(r.is_probe for r in failed))):
            if count:
                command = f"search status --failed --study {study.name}"
                yield f"{prefix}{count} {what}{'s' * (count > 1)} failed (`{command}` says why)"


def doubts_of_data(dataset: StoredDataset, study: str) -> Iterator[str]:
    """Names that look like formulas, test images with near-duplicates in the training set, and images and
    near-duplicates with two labels, a line each.

    Args:
        study: name of a study of these images, for the command that tells more.
    """
    check = f"`search check --study {study}`"
    yield from formula_warnings((*dataset.train_ids, *dataset.test_ids), dataset.class_names)
    if dataset.groups is None:
        return
    n = len(dataset.y)
    training, test = dataset.groups[:n], dataset.groups[n:]
    copies = int(np.isin(test, training).sum())
    if copies:
        yield f"{copies} of {len(test)} test images nearly copy a training image ({check})"
    of_image = np.unique(dataset.y, axis=0, return_inverse=True)[1] if has_several(dataset.y) else dataset.y
    labels = np.unique(np.stack([training, of_image]), axis=1)
    groups, counts = np.unique(labels[0], return_counts=True)
    ids: dict[int, set[str]] = defaultdict(set)
    for row in np.flatnonzero(np.isin(training, groups[counts > 1])):
        ids[int(training[row])].add(dataset.train_ids[row])
    of_rows = sum(len(own) == 1 for own in ids.values())
    of_copies = len(ids) - of_rows
    named = f"with different labels ({check} names them)"
    if of_rows:
        yield f"{of_rows} training image{'s' * (of_rows > 1)} in several rows {named}"
    if of_copies:
        yield f"{of_copies} group{'s' * (of_copies > 1)} of equal or similar training images {named}"
