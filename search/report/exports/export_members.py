"""What an export is made of, in a few words: its trials, probes, imports, seeds and test-time views."""

from __future__ import annotations

from collections.abc import Sequence

from search.export.notes import ExportNotes, ImportNotes, RecipeNotes


def describe_export(notes: ExportNotes) -> str:
    """Trials, seeds and test-time views of an export."""
    if notes.second_stage:
        facts = [*_by_kind(notes.members[:1]), *_by_kind(notes.members[1:])]
        facts[-1] += " as a second stage"
    elif notes.members:
        facts = _by_kind(notes.members)
        facts += [_named(part) for part in notes.members if isinstance(part, ImportNotes)]
    else:
        facts = [f"{'probe' if notes.is_probe else 'trial'} {_study_prefix(notes.study)}{notes.trial}"]
    facts.append(f"{notes.seeds} seed{'s' * (notes.seeds != 1)}")
    if notes.full_data:
        facts.append("trained on all images")
    if notes.views:
        facts.append("views " + "+".join(notes.views))
    return ", ".join(facts)


def _by_kind(members: Sequence[RecipeNotes | ImportNotes]) -> list[str]:
    """The trials and the probes among the members of an export, a text for each kind that there is."""
    return [*_of_kind("trial", members, False), *_of_kind("probe", members, True)]


def _of_kind(kind: str, members: Sequence[RecipeNotes | ImportNotes], is_probe: bool) -> list[str]:
    """The trials or the probes among the members of an export, as one text if there are any."""
    names = [_named(part) for part in members if isinstance(part, RecipeNotes) and part.is_probe is is_probe]
    return [f"{kind}{'s' * (len(names) != 1)} {', '.join(names)}"] * bool(names)


def _named(member: RecipeNotes | ImportNotes) -> str:
    """A member of an export with its weight, and with the name of its study if it is not the export's."""
    prefix = _study_prefix(member.study)
    name = f"imported {prefix}{member.label}" if isinstance(member, ImportNotes) else f"{prefix}{member.trial}"
    return name + ("" if member.weight is None else f" x {member.weight:.2g}")


def _study_prefix(name: str | None) -> str:
    return "" if name is None else f"{name}:"
