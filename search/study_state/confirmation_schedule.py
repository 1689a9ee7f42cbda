"""Which finalists are run again, and on which fresh split. Pure functions: no database, no clock.

The best of many trials is partly lucky, and on its own split nobody can tell how much. A few of the best and the
default recipe are therefore cross-validated again on splits that no trial was chosen by, a round at a time, as long as
it can still change the choice: who is clearly beaten stops, as in racing (Maron & Moore 1994, "Hoeffding Races";
Birattari et al. 2002, "A Racing Algorithm for Configuring Metaheuristics"). Confirmation takes at most a share of all
training time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage.values import DEFAULT_TRIAL
from studies.settings import ConfirmSettings

TRIALS_PER_FINALIST = 5
"""Trials for each finalist: of fewer, the best is not far from the rest by luck alone."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A finalist between two rounds."""

    number: int
    """Of the search trial."""
    seconds: float
    """What one round of it costs, foretold."""
    splits: frozenset[int] = frozenset()
    """Fresh splits that it has finished."""
    needed: bool = False
    """It runs once whatever that costs: the leader of the search, the default recipe."""
    eliminated: bool = False
    """Clearly beaten (`search.statistics.estimates`)."""
    dropped: bool = False
    """A confirmation of it failed or diverged."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is to be run next."""

    items: tuple[tuple[int, int], ...] = ()
    """Trial number and split; none: confirmation is over."""
    left_out: tuple[int, ...] = ()
    """Trial numbers of finalists for which there is neither money nor time, though they never ran."""
    why: str = ""
    """For people: why it is over, or why some are left out."""


def finalist_count(counted: int, settings: ConfirmSettings) -> int:
    """How many trials are confirmed beside the default recipe, once ``counted`` count against the budget."""
    return min(settings.finalists, counted // TRIALS_PER_FINALIST) if settings.rounds else 0


def choose_finalists(
    ranking: Sequence[int], recipes: Mapping[int, str], count: int, confirmed: Collection[int] = ()
) -> list[int]:
    """The trials to be confirmed: the leader first, the default recipe second.

    Args:
        ranking: numbers of all finished trials, the best first.
        recipes: hash of each one's recipe, as it is exported. A recipe that several trials share is confirmed once.
        count: how many beside the default recipe; 0: nobody.
        confirmed: who has run on a fresh split already, and stays.
    """
    if not count:
        return []
    default = [DEFAULT_TRIAL] if DEFAULT_TRIAL in ranking else []
    taken = {recipes[number] for number in default}
    best: list[int] = []
    # Who was confirmed stands for its recipe, even where a later trial with the same one ranks as high.
    for number in sorted(ranking, key=lambda number: number not in confirmed):
        if number not in default and recipes[number] not in taken:
            taken.add(recipes[number])
            best.append(number)
    best.sort(key=list(ranking).index)
    chosen = [number for place, number in enumerate(best) if place < count or number in confirmed]
    return [*chosen[:1], *default, *chosen[1:]]


def confirmation_budget(search_seconds: float, share: float) -> float:
    """Seconds of training that confirmation may take so that it is ``share`` of the whole: 0 <= share < 1."""
    return share / (1.0 - share) * search_seconds


def next_step(
    contenders: Sequence[Contender], *, rounds: int, budget_seconds: float, at_once: int | None = None
) -> Step:
    """What is run next.

    First every contender runs once, as far as the money goes, those that are needed in any case. Then those that have
    not eliminated run once more, and so on. What does not fit as a whole is done for the best, two at least:
    one alone could be compared with nobody.

    Args:
        contenders: the best first, and before them those that are needed and have not run.
        rounds: fresh splits for each, 1, 2, ...
        money: seconds of training that are left, less than 0 where others took more than was foretold.
        at_once: how many trainings fit before the deadline; None: any number.
    """
    new = [c for c in contenders if not c.splits and not c.dropped]
    if new and rounds:
        needed = [c for c in new if c.needed]
        others = _affordable([c for c in new if not c.needed], budget_seconds - sum(c.seconds for c in needed))
        wanted = [*needed, *others]
        chosen = _in_time(wanted, at_once)
        if chosen:
            left_out = tuple(c.number for c in new if c not in chosen)
            limit = "time" if len(chosen) < len(wanted) else "share of the training time"
            why = f"the {limit} is enough for {len(chosen)} of {len(new)} finalists" if left_out else ""
            return Step(items=tuple((c.number, 1) for c in chosen), left_out=left_out, why=why)
        if wanted:
            return Step(left_out=tuple(c.number for c in new), why="there is no time left for it before the deadline")
    racing = [c for c in contenders if c.splits and not c.eliminated and not c.dropped]
    if len(racing) < 2:
        return Step(why=_alone(contenders))
    waiting = {split: [c for c in racing if split not in c.splits] for split in range(1, rounds + 1)}
    split = next((split for split, who in waiting.items() if who), None)
    if split is None:
        return Step(why=f"all that are left ran {rounds} round{'s' * (rounds != 1)}")
    who = waiting[split]
    paid = _affordable(who, budget_seconds)
    chosen = _in_time(paid, at_once)
    if len(chosen) < min(2, len(who)):
        return Step(
            why="its share of the training time is used up"
            if len(paid) < min(2, len(who))
            else "there is no time left for another round before the deadline"
        )
    return Step(items=tuple((c.number, split) for c in chosen))


def _affordable(contenders: Sequence[Contender], budget_seconds: float) -> list[Contender]:
    """The first of them, as many as the money pays for."""
    chosen: list[Contender] = []
    for contender in contenders:
        budget_seconds -= contender.seconds
        if budget_seconds < 0.0 and not math.isclose(budget_seconds, 0.0, abs_tol=1e-9):
            break
        chosen.append(contender)
    return chosen


def _in_time(contenders: Sequence[Contender], at_once: int | None) -> list[Contender]:
    """The first of them, as many as there is time for: two or none, where there are two."""
    chosen = list(contenders[:at_once])
    return chosen if len(chosen) >= min(2, len(contenders)) else []


def _alone(contenders: Sequence[Contender]) -> str:
    if any(c.eliminated for c in contenders):
        return "all but one are clearly beaten"
    return "there is nobody to compare it with" if any(c.splits for c in contenders) else "no finalist is left"
