"""The commands to type after an export."""

from __future__ import annotations

import shlex
from pathlib import Path

from search.export.files import ADVISED_SEEDS


def next_steps(
    folder: Path, study: str, *, submitted: bool, more_seeds_help: bool, compared: bool, probed: bool, more_hours: int
) -> list[tuple[str, str]]:
    """Commands after an export, and their purposes. Each names the study: a later one may become the default.

    Args:
        folder: of the export.
        submitted: whether the export holds a submission.
        more_seeds_help: as in `search.export.files.Export`.
        compared, probed, more_hours: as in `search.report.summary.print_export`.
    """
    of_study = f"--study {study}"
    steps = [(f"search compare {of_study}", "the finalists on fresh splits")] * compared
    steps.append((f"search status {of_study}", f"every {'probe' if probed else 'trial'} and the ranking"))
    if submitted:
        purpose = "record the score on the public board; --public-images N: of how many images"
        steps.append((f"search submissions {of_study} --public SCORE", purpose))
    if more_hours:
        steps.append((f"search start {of_study} --hours +{more_hours}", "search on, and export again"))
    if probed:
        steps.append((f"search start {of_study} --trials 20 --hours +8", "fine-tune the best backbones"))
    elif more_seeds_help:
        steps.append(
            (f"search export-best {of_study} --seeds {ADVISED_SEEDS}", "average more networks: steadier scores")
        )
    steps.append((f"search predict {shlex.quote(str(folder / 'model'))} IMAGES", "the model on new images"))
    return steps
