"""The choice of the finalists and of the fresh splits on which they run. Pure functions: no database, no clock.

Selection biases the score of the best of many trials upward, and the split of the search does not show by how much. A
few of the best recipes and the default recipe are therefore cross-validated again on fresh splits, which no trial was
selected by. They race, one round at a time, as long as a round can still change the choice: clearly beaten finalists
are eliminated (Maron & Moore 1994, "Hoeffding Races"; Birattari et al. 2002, "A Racing Algorithm for Configuring
Metaheuristics"). Confirmation takes at most a share of all training time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from storage.values import DEFAULT_TRIAL
from studies.settings import ConfirmSettings

TRIALS_PER_FINALIST = 5
"""Ended trials for each finalist. The best of fewer trials is hardly biased by selection."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A finalist between two rounds."""

    number: int
    """Number of the search trial."""
    seconds: float
    """Predicted seconds of one round."""
    splits: frozenset[int] = frozenset()
    """Fresh splits on which it has finished."""
    needed: bool = False
    """Whether it runs once whatever it costs: true for the leader of the search and the default recipe."""
    eliminated: bool = False
    """Whether it is clearly beaten, see `search.statistics.estimates`."""
    dropped: bool = False
    """Whether one of its confirmations failed or diverged."""


class Limit(StrEnum):
    """What ends a confirmation before more is known."""

    ROUNDS = "rounds"
    """`studies.settings.ConfirmSettings.rounds`."""
    SHARE = "share"
    """`studies.settings.ConfirmSettings.share`."""
    DEADLINE = "deadline"


@dataclass(frozen=True, kw_only=True)
class Step:
    """The confirmations to run next."""

    items: tuple[tuple[int, int], ...] = ()
    """(Trial number, split) pairs; empty: confirmation is over."""
    left_out: tuple[int, ...] = ()
    """Trial numbers of finalists that never ran because budget or time is too short."""
    why: str = ""
    """The reason, for people, why confirmation is over or finalists are left out."""
    limit: Limit | None = None
    """What would have to grow for more confirmations; None: nothing would help."""
    lacking_seconds: float = 0.0
    """Training seconds that the budget lacks for the next round; 0 but for `Limit.SHARE`."""


def finalist_count(counted: int, settings: ConfirmSettings) -> int:
    """How many trials are confirmed in addition to the default recipe.

    Args:
        counted: number of ended trials that count against the budget.
    """
    return min(settings.finalists, counted // TRIALS_PER_FINALIST) if settings.rounds else 0


def choose_finalists(
    ranking: Sequence[int], recipes: Mapping[int, str], count: int, confirmed: Collection[int] = ()
) -> list[int]:
    """Numbers of the trials to confirm: the leader first, the default recipe second, the others by rank.

    Args:
        ranking: numbers of all finished trials, the best first.
        recipes: hash of each trial's recipe as it is exported. A recipe that several trials share is confirmed once.
        count: how many in addition to the default recipe; 0: no confirmation.
        confirmed: trials that have run on a fresh split already; they stay finalists.
    """
    if not count:
        return []
    default = [DEFAULT_TRIAL] if DEFAULT_TRIAL in ranking else []
    taken = {recipes[number] for number in default}
    best: list[int] = []
    # Of trials with the same recipe, a confirmed one is kept even if another one ranks higher.
    for number in sorted(ranking, key=lambda number: number not in confirmed):
        if number not in default and recipes[number] not in taken:
            taken.add(recipes[number])
            best.append(number)
    best.sort(key=list(ranking).index)
    chosen = [number for place, number in enumerate(best) if place < count or number in confirmed]
    return [*chosen[:1], *default, *chosen[1:]]


def confirmation_budget(search_seconds: float, share: float) -> float:
    """Training seconds of confirmation that are ``share`` (0 <= share < 1) of search and confirmation together."""
    return share / (1.0 - share) * search_seconds


def least_share(search_seconds: float, budget_seconds: float) -> float:
    """The share, in whole hundredths, whose `confirmation_budget` is ``budget_seconds`` or more."""
    return math.ceil(100.0 * budget_seconds / (search_seconds + budget_seconds)) / 100.0


def next_step(
    contenders: Sequence[Contender], *, rounds: int, budget_seconds: float, max_trainings: int | None = None
) -> Step:
    """Decide which confirmations run next.

    In the first round every contender runs once: the needed ones whatever they cost, the others as far as the budget
    lasts. In each later round the contenders that are not eliminated run once more. If budget or time is too short for
    a whole round, the best contenders run, at least two: a single one could not be compared with another.

    Args:
        contenders: the best first, after the needed ones that have not run.
        rounds: number of fresh splits; their numbers are 1, 2, ...
        budget_seconds: training seconds left; negative if others took longer than predicted.
        max_trainings: how many trainings fit before the deadline; None: any number.
    """
    new = [c for c in contenders if not c.splits and not c.dropped]
    if new and rounds:
        needed = [c for c in new if c.needed]
        others = _affordable([c for c in new if not c.needed], budget_seconds - sum(c.seconds for c in needed))
        wanted = [*needed, *others]
        chosen = _in_time(wanted, max_trainings)
        if chosen:
            left_out = tuple(c.number for c in new if c not in chosen)
            limit = "time" if len(chosen) < len(wanted) else "share of the training time"
            why = f"the {limit} is enough for {len(chosen)} of {len(new)} finalists" if left_out else ""
            return Step(items=tuple((c.number, 1) for c in chosen), left_out=left_out, why=why)
        if wanted:
            return Step(
                left_out=tuple(c.number for c in new),
                why="there is no time left for it before the deadline",
                limit=Limit.DEADLINE,
            )
    racing = [c for c in contenders if c.splits and not c.eliminated and not c.dropped]
    if len(racing) < 2:
        return Step(why=_why_race_is_over(contenders))
    missing_on = {split: [c for c in racing if split not in c.splits] for split in range(1, rounds + 1)}
    split = next((split for split, missing in missing_on.items() if missing), None)
    if split is None:
        return Step(why=f"all that are left ran {rounds} round{'s' * (rounds != 1)}", limit=Limit.ROUNDS)
    missing = missing_on[split]
    affordable = _affordable(missing, budget_seconds)
    chosen = _in_time(affordable, max_trainings)
    if len(chosen) < min(2, len(missing)):
        if len(affordable) < min(2, len(missing)):
            shortest = sum(contender.seconds for contender in missing[:2])
            return Step(
                why="its share of the training time is used up",
                limit=Limit.SHARE,
                lacking_seconds=shortest - budget_seconds,
            )
        return Step(why="there is no time left for another round before the deadline", limit=Limit.DEADLINE)
    return Step(items=tuple((c.number, split) for c in chosen))


def _affordable(contenders: Sequence[Contender], budget_seconds: float) -> list[Contender]:
    """The first contenders whose predicted seconds together fit into the budget."""
    chosen: list[Contender] = []
    for contender in contenders:
        budget_seconds -= contender.seconds
        if budget_seconds < 0.0 and not math.isclose(budget_seconds, 0.0, abs_tol=1e-9):
            break
        chosen.append(contender)
    return chosen


def _in_time(contenders: Sequence[Contender], max_trainings: int | None) -> list[Contender]:
    """The first ``max_trainings`` contenders; none if that is a single one of several."""
    chosen = list(contenders[:max_trainings])
    return chosen if len(chosen) >= min(2, len(contenders)) else []


def _why_race_is_over(contenders: Sequence[Contender]) -> str:
    """The reason, for people, why fewer than two contenders are left."""
    if any(c.eliminated for c in contenders):
        return "all but one are clearly beaten"
    if any(c.splits for c in contenders):
        return "there is no other finalist to compare it with"
    return "no finalist is left"
