"""The trainings of an export, read again from the database.

They are blended as the export blended them, by the same function, so the blend has the score of the model card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.export.candidates.members import ExportMember, ImportedMember
from search.export.final_model import Refits, gather_refits
from search.export.notes import ExportNotes, ImportNotes, RecipeNotes
from search.export.plan import ExportPlan
from search.runtime.home import Home
from search.runtime.kept_networks import kept_networks
from search.statistics.blending.ensemble_selection import Choice
from search.statistics.member_names import MemberName
from search.study_state.study import Study, read_study
from search.workflow.single.exported_ensemble import ExportedModel, NoExport
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.recipe.recipe import Recipe


def read_refits(export: ExportedModel) -> Refits:
    """The members of an export, their out-of-fold predictions and their blend.

    Args:
        export: one whose networks each held out a fold.

    Raises:
        NoExport: the database does not hold all of its trainings and imported predictions any more.
        StorageError: a study of a member is not in the database.
    """
    assert not export.notes.full_data, "networks of all images hold nothing out"
    trained = [member for member in _members(export.notes) if isinstance(member, RecipeNotes)]
    studies = {name: _study(export, name) for name in {member.study for member in _members(export.notes)}}
    members, work_ids = [], []
    for notes, recipe in zip(trained, export.recipes, strict=True):
        study = studies[notes.study]
        records = export.stores.trials.records(study.id, status=TrialStatus.FINISHED)
        members.append(_exported_member(export, notes, study, records, recipe))
        own = [_training(export.home, study, records, recipe, training) for training in notes.trainings]
        if None in own:
            raise _lost(export, f"a training of {members[-1].name}")
        work_ids.append(tuple(record.work_id for record in own if record is not None))
    imported = tuple(
        _imported(export, notes, studies) for notes in _members(export.notes) if isinstance(notes, ImportNotes)
    )
    return gather_refits(export.stores, _plan(export, members, imported), work_ids)


def _members(notes: ExportNotes) -> tuple[RecipeNotes | ImportNotes, ...]:
    """All members, also where the leader is the only one."""
    leader = RecipeNotes(
        trial=notes.trial,
        backbone="",
        views=notes.views,
        trainings=notes.trainings,
        weight=1.0,
        study=notes.study,
        is_probe=notes.is_probe,
    )
    return notes.members or (leader,)


def _study(export: ExportedModel, name: str | None) -> Study:
    return export.study if name is None else read_study(export.stores, name)


def _exported_member(
    export: ExportedModel, notes: RecipeNotes, study: Study, records: Sequence[TrialRecord], recipe: Recipe
) -> ExportMember:
    trial = next((r for r in records if r.kind is WorkKind.SEARCH and r.number == notes.trial), None)
    name = MemberName(trial=notes.trial, study=notes.study or "", is_probe=notes.is_probe)
    if trial is None:
        raise _lost(export, str(name))
    return ExportMember(name=name, study=study, trial=trial, recipe=recipe, weight=notes.weight or 0.0)


def _training(
    home: Home, study: Study, records: Sequence[TrialRecord], recipe: Recipe, training: tuple[int, int]
) -> TrialRecord | None:
    """The training of a recipe with a split and seed. Of several, one whose networks are at hand, else the latest."""
    flat = recipe.to_flat()
    found = [r for r in records if (r.split, r.seed) == training and r.recipe == flat]
    kept = [r for r in found if kept_networks(home, study.name, r)] if len(found) > 1 else found
    return max(kept or found, key=lambda record: record.id, default=None)


def _imported(export: ExportedModel, notes: ImportNotes, studies: Mapping[str | None, Study]) -> ImportedMember:
    study = studies[notes.study]
    record = next((r for r in export.stores.imports.all(study.id) if r.digest == notes.digest), None)
    if record is None:
        raise _lost(export, f"the imported predictions {notes.label}")
    name = MemberName(label=notes.label, study=notes.study or "")
    return ImportedMember(name=name, study=study, record=record, weight=notes.weight or 0.0)


def _plan(export: ExportedModel, members: Sequence[ExportMember], imported: tuple[ImportedMember, ...]) -> ExportPlan:
    parts: list[ExportMember | ImportedMember] = [*members, *imported]
    return ExportPlan(
        study=export.study,
        members=tuple(members),
        imported=imported,
        choice=Choice(
            names=tuple(part.name for part in parts),
            blend_weights=tuple(part.weight for part in parts),
            method=_method(export.notes),
        ),
        estimates=None,
        seeds=export.notes.seeds,
        full_data=False,
    )


def _method(notes: ExportNotes) -> str:
    """``final.ensemble`` by which the members were blended, as `Choice.method`."""
    weights = [member.weight for member in notes.members]
    if len(weights) < 2:
        return "none"
    if None in weights:
        return "stack"
    return "equal" if len(set(weights)) == 1 else "greedy"


def _lost(export: ExportedModel, what: str) -> NoExport:
    return NoExport(
        f"the export of study {export.study.name} cannot be scored, because {what} is not in the database any more: "
        f"`search export-best --study {export.study.name}` writes another one"
    )
