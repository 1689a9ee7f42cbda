"""The table of a study's linear probes, the best first."""

from __future__ import annotations

from rich.console import Console

from search.runtime.console import Column, print_table, say
from search.study_state.snapshot import StudySnapshot
from storage.values import TrialStatus
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
    failed = sum(record.status is not TrialStatus.FINISHED for record in probes.values())
    if failed:
        say(
            console,
            f"{failed} of {len(probes)} probes failed: `search status --study {name} --failed` shows the reasons.",
        )
