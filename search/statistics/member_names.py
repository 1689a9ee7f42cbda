"""Names of the members of a final model (recipes and imported predictions) in texts and tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MemberName:
    """Name of a member: ``trial 12``, ``probe 3``, ``imported big``; beside other studies ``aug_tuning:12``."""

    trial: int | None = None
    """Number of the search trial that found the recipe; None for imported predictions."""
    study: str = ""
    """Name of its study; empty if all members are of one study."""
    label: str = ""
    """Label of imported predictions."""
    is_probe: bool = field(default=False, compare=False)
    """Whether the trial is one of the linear probes with which its study begins. The number alone identifies it."""

    @property
    def is_imported(self) -> bool:
        """Whether the member is no recipe, but predictions that were made elsewhere."""
        return self.trial is None

    def __str__(self) -> str:
        return f"trial {self.short}" if self.trial is not None and not (self.study or self.is_probe) else self.short

    @property
    def short(self) -> str:
        """The name in a list or table of members."""
        of_study = f"{self.study}:" * bool(self.study)
        if self.is_imported:
            return f"imported {of_study}{self.label}"
        return f"probe {self.trial}" if self.is_probe and not self.study else f"{of_study}{self.trial}"

    @property
    def first(self) -> str:
        """The name at the beginning of a sentence, capitalised unless it begins with the name of a study."""
        name = str(self)
        return name if self.study and self.trial is not None else name[0].upper() + name[1:]


def members_named(names: Iterable[MemberName]) -> str:
    """``trial 3``, ``trials 3, 7 and probe 2``, ``aug_tuning:12, full:3 and imported big``."""
    given = list(names)
    own = [name for name in given if name.trial is not None and not name.study]
    parts = []
    for kind, of_kind in (("trial", [n for n in own if not n.is_probe]), ("probe", [n for n in own if n.is_probe])):
        numbers = ", ".join(str(name.trial) for name in of_kind)
        parts += [f"{kind}{'s' * (len(of_kind) > 1)} {numbers}"] * bool(of_kind)
    parts += [name.short for name in given if name.is_imported or name.study]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def trials_named(numbers: Sequence[int], probes: Collection[int] = ()) -> str:
    """``trial 3``, or ``trials 3, 7, 12 and probe 2``.

    Args:
        probes: the numbers that are those of probes.
    """
    return members_named(MemberName(trial=number, is_probe=number in probes) for number in numbers)
