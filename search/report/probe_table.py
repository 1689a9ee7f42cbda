"""The linear probes of a study: a table, the best first, and what they say about the starting weights."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from search.runtime.console import Column, print_table, say
from search.statistics.paired_gain import Gain, probability_gain
from search.study_state.search_trials import lasting_failures
from search.study_state.snapshot import StudySnapshot
from search.study_state.study_targets import read_targets
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus
from trainer.evaluation.metrics import METRICS
from trainer.networks.architectures import architecture_of
from trainer.networks.backbones import license_of, native_size

RANKED_PROBES = 30  # rows of the table at the end of a search


def print_probes(console: Console, snapshot: StudySnapshot, most: int | None = RANKED_PROBES) -> None:
    """Print the finished probes in the order of the ranking, and how many backbones could not be probed.

    Imports timm, which takes seconds.

    Args:
        most: number of rows; None: all.
    """
    name, metric = snapshot.study.name, snapshot.metric
    probes = {record.number: record for record in snapshot.records if record.is_probe}
    ranked = [candidate for candidate in snapshot.ranking if candidate.number in probes]
    rows = []
    for candidate in ranked[:most]:
        record = probes[candidate.number]
        backbone = str((record.recipe or {})["backbone"])
        rows.append(
            (
                str(candidate.number),
                f"{candidate.value:.4f} ± {candidate.standard_error:.4f}",
                f"{candidate.brier:.4f}",
                f"{architecture_of(backbone).parameters / 1e6:.1f}",
                str((record.recipe or {})["image_size"]),
                str(native_size(backbone)),
                f"{record.seconds:.1f}",
                license_of(backbone),
                backbone,
            )
        )
    if rows:
        columns = [
            *(
                Column(name=each, number=True)
                for each in ("probe", metric, "Brier", "M params", "px", "native px", "s")
            ),
            Column(name="license"),
            Column(name="backbone", prose=True),
        ]
        print_table(console, f"{name}: linear probes, the best first", columns, rows)
        order = f"expected {metric} of the averaged fold models"
        if METRICS[metric].needs == "labels":
            order += " and their Brier score (lower is better), weighted equally"
        say(console, f"Order: {order}. Native px: the side of the images for which the weights were made.")
    if len(ranked) > len(rows):
        say(console, f"{len(ranked) - len(rows)} more: `search status --study {name} --all` lists every probe.")
    failed = len(lasting_failures(list(probes.values()), diverged=True))
    if failed:
        say(
            console,
            f"{failed} of {len(ranked) + failed} probes failed: `search status --failed --study {name}` shows the "
            f"reasons, `search retry --failed --study {name}` lets the next worker try them again.",
        )


class StartsView:
    """Says once, when all probes have ended, whether other starting weights have better probes than the published."""

    def __init__(self, stores: Stores, console: Console) -> None:
        self._stores, self._console = stores, console
        self._said = False

    def update(self, snapshot: StudySnapshot) -> None:
        """Look at a snapshot of the study; called often."""
        probes_open = snapshot.probes_planned - snapshot.probes_ended
        if self._said or not snapshot.probes_ended or probes_open > 0:
            return
        self._said = True
        for line in starts_lines(self._stores, snapshot):
            say(self._console, line)


def starts_lines(stores: Stores, snapshot: StudySnapshot) -> Iterator[str]:
    """A line for every probe of other starting weights than those of the study's default recipe, each compared with the
    probe of these: same backbone and image size, paired image by image. None if the study has one start only.
    """
    finished = [r for r in snapshot.records if r.is_probe and r.status is TrialStatus.FINISHED and r.recipe]
    default = str(snapshot.study.spec.default_recipe()["init"])
    by_setup: dict[tuple[str, int], dict[str, TrialRecord]] = {}
    for record in finished:
        recipe = record.recipe or {}
        by_setup.setdefault((str(recipe["backbone"]), int(recipe["image_size"])), {})[str(recipe["init"])] = record
    for (backbone, size), records in by_setup.items():
        if default not in records:
            continue
        own = stores.trials.curves(records[default].id)[-1].true_class
        for start, record in records.items():
            if start != default:
                new = stores.trials.curves(record.id)[-1].true_class
                gain = probability_gain(read_targets(stores, snapshot.study), new, own)
                yield (
                    f"Probe of {backbone} at {size} px from {start}: mean probability of the true class "
                    f"{record.mean_true_probability or 0.0:.4f}, {gain.mean:+.4f} ± {gain.error:.4f} against {default} "
                    f"(paired). {_verdict(gain, start)}"
                )


def _verdict(gain: Gain, start: str) -> str:
    if gain.real:
        return f"{start} helps."
    return f"{start} does not help." if gain.mean < -gain.error else "No difference beyond noise."
