"""The first and the last lines of `search start` and `search export-best`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

from rich.console import Console
from rich.text import Text

from search.export.output.export import Export
from search.export.rationale import BLEND_NAMES
from search.report.exports.next_steps import next_steps
from search.report.live.progress import difference, recipe_difference
from search.runtime.commands import completed
from search.runtime.console import Column, loud, note, print_table, say
from search.statistics.member_names import members_named
from search.study_setup.data_folder import Competition
from search.study_state.snapshot import StudySnapshot
from search.study_state.study import Study
from storage.values import TrialStatus
from trainer.common.errors import first_lines
from trainer.data.description import LONGEST_LINE, duplicate_lines, version_lines
from trainer.evaluation.metrics import METRICS
from trainer.inference.printable import excerpt
from trainer.networks.custom_weights import BUILT_IN
from trainer.recipe.recipe import LINEAR_PROBE, Scalar

RANKED = 5  # trials in the ranking
COMMAND = 40  # characters; the purpose of a longer command is on the next line
HIDDEN = 5e-5  # largest gain that four decimal places do not show
LEAST_AVERAGING = 0.005  # gain from averaging that is named, because it lifts the forecast above the scores of trials
LABEL = 10  # cells of the labels in the answer of an export

OTHER_FILES: dict[str, str] = {
    "report.html": "report.html (open it in a browser)",
    "MODEL_CARD.md": "MODEL_CARD.md (model card)",
    "model": "model/ (weights and predict.py)",
    "test_proba.csv": "test_proba.csv",
    "oof.csv": "oof.csv",
    "folds.csv": "folds.csv",
    "confusion_matrix.png": "confusion_matrix.png",
    "label_scores.csv": "label_scores.csv",
}
"""Files of an export besides the submission, the most useful first, with the text that lists them."""


def print_study(
    console: Console,
    study: Study,
    competition: Competition,
    where: str,
    notes: Sequence[str] = (),
) -> None:
    """Print the first lines of ``search start``: data, protocol, budget, workers, warnings.

    Args:
        where: number and place of the workers.
        notes: to print before the warnings about the data.
    """
    images = competition.images
    trials = "trials until the deadline" if study.budget is None else f"{study.budget} trial{'s' * (study.budget != 1)}"
    if study.budget == 0:
        trials = "linear probes only"
    say(
        console,
        f"{len(images.y)} training and {len(images.test_ids)} test images, {len(images.class_names)} classes; "
        f"{study.protocol.folds} folds, {study.metric}; {trials}; "
        f"{where}",
    )
    for line in images.notes:
        say(console, f"  {excerpt(line, LONGEST_LINE)}")
    for full in (
        *notes,
        *first_lines(images.warnings),
        *version_lines(images),
        *duplicate_lines(images, competition.duplicates),
    ):
        line = excerpt(full, LONGEST_LINE)
        if line.startswith(" "):
            with loud(console):
                say(console, line)
        else:
            note(console, line)


def print_ranking(console: Console, snapshot: StudySnapshot) -> None:
    """Print the best finished trials and probes, the order of the ranking, and the number of trials by status."""
    default = snapshot.study.spec.default_recipe()
    by_number = {record.number: record for record in snapshot.records}
    shown = snapshot.ranking[:RANKED]
    of_probes = {by_number[candidate.number].is_probe for candidate in shown}
    kinds = [kind for kind, is_probe in (("trial", False), ("probe", True)) if is_probe in of_probes]
    print_table(
        console,
        f"{snapshot.study.name}: the best finished {' and '.join(f'{kind}s' for kind in kinds)}",
        [
            *(Column(name=name, number=True) for name in ("/".join(kinds), snapshot.metric, "averaged", "Brier")),
            Column(name="recipe", prose=True),
        ],
        [
            (
                str(candidate.number),
                f"{candidate.value:.4f} ± {candidate.standard_error:.4f}",
                f"{candidate.averaged:.4f}",
                f"{candidate.brier:.4f}",
                recipe_difference(by_number[candidate.number], default),
            )
            for candidate in shown
        ],
    )
    if METRICS[snapshot.metric].needs == "labels":
        say(
            console,
            f"averaged, Brier: expected {snapshot.metric} and Brier score (lower is better) of the average of "
            "a recipe's fold models. The ranking weights both equally.",
        )
    say(console, f"{'Trials' if 'trial' in kinds else 'Ended'}: {trial_counts(snapshot)}")


def trial_counts(snapshot: StudySnapshot) -> str:
    """Number of ended trials by status, and of ended probes: ``3 finished, 5 pruned; 4 probes (1 failed)``.

    In a study of probes alone, these are counted by status. A probe that failed, and finished when it was
    repeated, counts once.
    """
    probes_only = snapshot.study.budget == 0
    done = [r.recipe for r in snapshot.records if r.is_probe and r.status is TrialStatus.FINISHED]
    ended = [
        record
        for record in snapshot.records
        if record.status is TrialStatus.FINISHED
        or (record.status is not None and not (record.is_probe and record.recipe in done))
    ]
    counts = Counter(record.status for record in ended if probes_only or not record.is_probe)
    text = ", ".join(f"{counts[status]} {status}" for status in TrialStatus if counts[status])
    probes = [record for record in ended if record.is_probe]
    if probes_only or not probes:
        return text
    failed = sum(record.status is not TrialStatus.FINISHED for record in probes)
    of_probes = f"{len(probes)} probe{'s' * (len(probes) > 1)}" + f" ({failed} failed)" * bool(failed)
    return f"{text or '0 trials'}; {of_probes}"


def print_search_over(console: Console, snapshot: StudySnapshot) -> None:
    """Print how the search ended; on a quiet console, if something stopped it."""
    reason, begun = snapshot.study.state_reason, "search is over"
    counts = trial_counts(snapshot) or "no trial"
    if snapshot.study.budget == 0:
        begun, counts = "probes are over", trial_counts(snapshot) or "none ended"
        counts += f", {snapshot.probes_waiting} not begun" * bool(snapshot.probes_waiting)
    with loud(console) if reason else nullcontext():
        say(console, f"The {begun}: {counts}" + f"; it stopped: {reason}" * bool(reason))


def print_export(
    console: Console, export: Export, *, study: str, compared: bool, probed: bool = False, more_hours: int = 0
) -> None:
    """Print the final model, its expected score and files, the doubts about it, and the next commands.

    Args:
        study: name of the study.
        compared: whether `search compare` has finalists to show.
        probed: whether the study has only probed backbones.
        more_hours: hours in which the search would go on, where the deadline alone ends it; else 0.
    """
    say(console)
    for label, lines in _answer(export):
        for i, line in enumerate(lines):
            say(console, line, prefix=Text(f"{'' if i else label:{LABEL}}", style="bold"))
    if export.doubts:
        say(console)
        say(console, Text("Doubts", style="bold"))
        for line in export.doubts:
            say(console, line, prefix=Text("- ", style="yellow"))
    say(console)
    say(console, Text("Next", style="bold"))
    steps = [
        (completed(command), purpose)
        for command, purpose in next_steps(
            export.folder,
            study,
            submitted="submission.csv" in export.files,
            more_seeds_help=export.more_seeds_help,
            compared=compared,
            probed=probed,
            more_hours=more_hours,
        )
    ]
    short = [(command, purpose) for command, purpose in steps if len(command) <= COMMAND]
    width = max((len(command) for command, _ in short), default=0) + 2
    side_by_side = all(2 + width + len(purpose) <= console.width for _, purpose in short)
    for command, purpose in steps:
        if side_by_side and (command, purpose) in short:
            say(console, f"  {command:{width}}{purpose}")
        else:
            say(console, f"  {command}", whole=True)
            say(console, purpose, prefix=" " * 6)


def _answer(export: Export) -> Iterator[tuple[str, list[str | Text]]]:
    """Label and lines of each part: the recipe, the expected score, the submission, other files."""
    yield "Recipe", list(_recipe(export))
    yield "Expect", [_expected(export)]
    if "submission.csv" in export.files:
        yield "Hand in", [Text(str(export.folder / "submission.csv"), style="bold")]
    others = [shown for name, shown in OTHER_FILES.items() if name in export.files]
    yield "Also", [f"in {export.folder}: {', '.join(others)}"]


def _recipe(export: Export) -> Iterator[str | Text]:
    """The members of the final model, and the settings of each recipe among them."""
    several = len(export.members) > 1
    if several:
        names = members_named(member.name for member in export.members)
        networks = f" ({export.networks} networks)" * bool(export.networks)
        yield Text(f"{BLEND_NAMES[export.blend_method]} of {names}{networks}", style="bold")
    for member in export.members:
        if member.recipe is None:
            continue
        line = f"{member.name}: {member.recipe['backbone']} at {member.recipe['image_size']} px"
        is_probe = member.recipe.get("method") == LINEAR_PROBE
        if several:
            yield f"{line}, {'linear probe' if is_probe else other_settings(member.recipe, member.default)}"
        else:
            average = "1 network" if export.networks == 1 else f"average of {export.networks} networks"
            yield Text(f"{line}, {average}", style="bold")
            yield probe_line(member.recipe) if is_probe else other_settings(member.recipe, member.default)


def other_settings(recipe: Mapping[str, Scalar], default: Mapping[str, Scalar]) -> str:
    """The settings of a recipe that differ from the default, besides its backbone and image size."""
    if not difference(recipe, default):
        return "the default recipe"
    others = {name: value for name, value in recipe.items() if name not in ("backbone", "image_size")}
    return difference(others, default) or "all other settings as in the default recipe"


def probe_line(recipe: Mapping[str, Scalar]) -> str:
    """What a linear probe is, with its starting weights."""
    own = "" if recipe.get("init") in BUILT_IN else f" in the weights {recipe.get('init')}"
    return f"linear probe: the backbone as it was pre-trained{own}, and a linear classifier"


def _expected(export: Export) -> Text:
    """The expected score: of the forecast, else from fresh splits, else an upper bound from the out-of-fold score."""
    metric, forecast = export.metric, export.forecast
    if forecast is not None:
        interval = f"{forecast['low']:.4f} to {forecast['high']:.4f}"
        averaging = float(forecast.get("averaging") or 0.0)
        # Without it, the forecast seems to contradict a lower score that is called optimistic.
        is_above = averaging > HIDDEN and forecast["expected"] > (export.score or 1.0)
        added = f", of which averaging the networks adds {averaging:.4f}" * (averaging >= LEAST_AVERAGING or is_above)
        return Text.assemble(
            f"{metric} ",
            (f"{forecast['expected']:.4f}", "bold"),
            f" on the {forecast['test_images']} test images ({forecast['level']:.0%} interval {interval}){added}",
        )
    if export.estimate is not None:
        value = f"{export.estimate.shrunk:.4f} ± {export.estimate.error:.4f}"
        return Text.assemble(f"{metric} ", (value, "bold"), f" of {export.members[0].name} alone, by fresh splits")
    if export.score is not None:
        value = f"{export.score:.4f} ± {export.score_error or 0.0:.4f}"
        return Text.assemble(f"less than the out-of-fold {metric} of ", (value, "bold"))
    return Text("unknown: no image was held out")


def print_interrupted(console: Console, name: str) -> None:
    """Print that an interrupted study can be continued, on a quiet console as well."""
    with loud(console):
        say(console)
        say(console, f"Study {name} is interrupted, and nothing is lost. The same command continues it.")
