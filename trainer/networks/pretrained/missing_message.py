"""What to do about pre-trained weights that are not at hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.common.errors import first_lines
from trainer.networks.backbones import family_of
from trainer.networks.pretrained.find_weights import weights_at_hand
from trainer.networks.pretrained.folder_networks import networks_in_folder

MOST_NAMED = 8  # networks in an option of the command line


def missing_weights_message(
    names: Iterable[str],
    weights_dir: Path | None,
    *,
    scratch: bool = True,
    choice: str = "--set recipe.backbone=",
    among: Iterable[str] = (),
) -> str:
    """Error message for `missing_weights`: the places searched, the source of each backbone's weights, and remedies.

    Args:
        scratch: whether random weights are a remedy. They are none where a command only extracts features.
        choice: the option of the command line that chooses another backbone, up to its name.
        among: all backbones from which the study chooses, missing and at hand; empty: ``names``.
    """
    from timm.models import get_pretrained_cfg

    names = list(names)
    looked = f"the weights folder {weights_dir}" if weights_dir else "no weights folder (none was given)"
    lines = [f"pre-trained weights are not at hand (looked in {looked}, the Hugging Face cache, the hub) for:"]
    sources = []
    for name in names:
        config = get_pretrained_cfg(name)
        source = f"https://huggingface.co/{config.hf_hub_id}" if config and config.hf_hub_id else config and config.url
        sources.append(f"{name}: {source or 'timm has no pre-trained weights of it'}")
    lines += [f"  {line}" for line in first_lines(sources)]
    lines += [
        "what can be done:",
        "  - run this command once where the hub can be reached, so that the cache holds them",
        "  - put NAME.safetensors (or NAME.pth) into a folder and name it: --weights FOLDER",
        *_alternatives(sorted(set(names)), list(among), weights_dir, choice),
        *(["  - start from random weights: --set recipe.init=scratch"] if scratch else []),
    ]
    return "\n".join(lines)


def match_option(names: Sequence[str]) -> str:
    """The option of the command line that lets a filter choose the first of some networks."""
    given = ", ".join(f'"{name}"' for name in names[:MOST_NAMED])
    return f"--set 'space.backbone.match=[{given}]'"


def probe_option(names: Sequence[str]) -> str:
    """As `match_option`, of ``search probe``."""
    return " ".join(f"--match {name}" for name in names[:MOST_NAMED])


def _alternatives(names: Sequence[str], among: Sequence[str], weights_dir: Path | None, choice: str) -> list[str]:
    """A line with networks in the weights folder that may replace a single name, those of its family first.

    Of several names, the line tells how a filter chooses among those at hand: all of them by name, because it may have
    chosen none of them, or those that it chooses.
    """
    found = networks_in_folder(weights_dir)
    if not found:
        return []
    if len(names) > 1:
        own = ", or take those of its choice that are: --set space.backbone.at_hand=true"
        return [
            f"  - where a filter chooses the networks, name some that are at hand: {match_option(found)}"
            f"{own if weights_at_hand(among or names, weights_dir) else ''}"
        ]
    (wanted,) = names

    def distance(name: str) -> tuple[bool, int, str]:
        alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(name, wanted, strict=False)))
        return family_of(name) != family_of(wanted), -alike, name

    found.sort(key=distance)
    return [f"  - choose a network that is at hand ({', '.join(found[:4])}): {choice}{found[0]}"]
