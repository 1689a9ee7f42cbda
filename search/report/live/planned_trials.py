"""The lines of ``search start`` on the trials and probes that a new study begins with."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from search.runtime.console import say
from search.tuning.probing.plan import PROBE
from search.tuning.warm_starts import PORTFOLIO

MAX_PROBES = 3  # probes that are listed one by one


def print_warm_starts(console: Console, origins: Mapping[int, str], *, probes_only: bool = False) -> None:
    """Print the trials that a new study begins with besides the default recipe, each with its origin; of many probes
    only their number.

    Args:
        probes_only: whether no trials follow the probes.
    """
    probes = [number for number, origin in origins.items() if origin.startswith(f"{PROBE}: ")]
    if probes_only:
        backbones = {origins[number].partition(": ")[2].partition(" at ")[0] for number in probes}
        count = "1 backbone" if len(backbones) == 1 else f"{len(backbones)} backbones, small ones first"
        sizes = sorted({int(origins[number].partition(" at ")[2].partition(" px")[0]) for number in probes})
        then = ""
        if len(sizes) > 1:
            which = "that backbone" if len(backbones) == 1 else "the best ones"
            then = (
                f", at first on images of {sizes[0]} pixels, {which} then on larger ones of up to {sizes[-1]} pixels, "
                "and perhaps the best one once more on still larger ones (--set probe.enlarge=1: without these)"
            )
        say(console, f"A linear classifier is fitted on the frozen features of {count}{then}.")
        return
    if len(probes) > MAX_PROBES:
        text = f"{len(probes)} linear probes of backbones, one after another"
        say(console, text, prefix=f"probe {probes[0]:3d}  planned   ")
    trials = [number for number in origins if number and number not in probes]
    for number in [*(probes if len(probes) <= MAX_PROBES else ()), *trials]:
        kind = "probe" if number in probes else "trial"
        say(console, origins[number], prefix=f"{kind} {number:3d}  planned   ")
    if any(origin.startswith(f"{PORTFOLIO}: ") for origin in origins.values()):
        say(console, "The portfolio is the study file's list of recipes from papers and competition winners.")
    if probes:
        say(
            console,
            "The trials follow, trial 0 with the default recipe first; --no-probe leaves out the probes.",
        )
