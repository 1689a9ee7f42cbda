"""Names of the members of a final model (recipes and imported predictions) in texts and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MemberName:
    """Name of a member: ``trial 12``, ``aug_tuning:12`` beside recipes of other studies, ``imported big``."""

    trial: int | None = None
    """Number of the search trial that found the recipe; None for imported predictions."""
    study: str = ""
    """Name of its study; empty if all members are of one study."""
    label: str = ""
    """Label of imported predictions."""

    def __str__(self) -> str:
        return f"trial {self.trial}" if self.trial is not None and not self.study else self.short

    @property
    def short(self) -> str:
        """The name in a list or table of members."""
        of_study = f"{self.study}:" * bool(self.study)
        return f"imported {of_study}{self.label}" if self.trial is None else f"{of_study}{self.trial}"

    @property
    def first(self) -> str:
        """The name at the beginning of a sentence, capitalised unless it begins with the name of a study."""
        name = str(self)
        return name if self.study and self.trial is not None else name[0].upper() + name[1:]


def members_named(names: Iterable[MemberName]) -> str:
    """``trial 3``, ``trials 3, 7``, ``aug_tuning:12, full:3 and imported big``."""
    given = list(names)
    plain = [name.short for name in given if name.trial is not None and not name.study]
    trials = f"trial{'s' * (len(plain) > 1)} {', '.join(plain)}"
    parts = [trials] * bool(plain) + [name.short for name in given if name.trial is None or name.study]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def trials_named(numbers: Sequence[int]) -> str:
    """``trial 3``, or ``trials 3, 7, 12``."""
    return members_named(MemberName(trial=number) for number in numbers)
