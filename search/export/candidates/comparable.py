"""Which studies may be blended: their predictions are comparable, and none forbids what another has learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.kept_networks import network_header
from search.statistics.member_names import MemberName
from search.study_setup.rules import TEST_IMAGES, AgainstTheRules, check_networks, check_rules
from search.study_setup.second_study import require_adopted
from search.study_setup.weights_folder import given_or_remembered
from search.study_state.study import Study
from search.study_state.study_targets import read_image_weights
from storage.stores import Stores
from storage.values import TrialStatus
from trainer.common.errors import BackboneError


class StudiesDiffer(SearchError):
    """Studies whose predictions cannot be compared image by image, or may not by their rules. The message lists why."""


def check_comparable(sources: Sequence[Study]) -> None:
    """Check that predictions of these studies can be compared image by image.

    Raises:
        StudiesDiffer: they cannot; lists every difference.
    """
    first, problems = sources[0], []
    for study in sources[1:]:
        if study.fingerprint != first.fingerprint:
            fingerprints = f"fingerprint {study.fingerprint[:12]}, that of {first.name} is {first.fingerprint[:12]}"
            problems.append(f"{study.name} is on other images ({fingerprints})")
        own, other = (source.spec.sections["protocol"] for source in (study, first))
        for setting in own:
            if own[setting] != other[setting]:
                problems.append(
                    f"{study.name} has protocol.{setting} = {own[setting]}, {first.name} has {other[setting]}"
                )
    if problems:
        raise StudiesDiffer(
            "these studies cannot be blended, because their images or protocols differ:\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )


def check_image_weights(stores: Stores, sources: Sequence[Study]) -> None:
    """Check that all studies weight the images alike: the features of different backbones give different weights.

    Raises:
        StudiesDiffer: two studies weight the images differently.
    """
    first, *others = [(study, read_image_weights(stores, study)) for study in sources]
    for study, weights in others:
        if weights is not None and first[1] is not None and not np.array_equal(weights.values, first[1].values):
            features = (
                f"{study.name} by {weights.about.get('features')}, {first[0].name} by {first[1].about.get('features')}"
            )
            raise StudiesDiffer(
                f"these studies cannot be blended: their scores weight the images by different features, {features}"
            )


def check_allowed(stores: Stores, sources: Sequence[Study], home: Home | None) -> None:
    """Check that every second study has gained, and that no study forbids what it, or another one, has learned from.

    Args:
        home: folder of kept networks, which name the images that trained them; None: the weights from which the trials
            begin are judged as they are now.

    Raises:
        NotAdopted, StudiesDiffer: otherwise.
    """
    for study in sources:
        require_adopted(stores, study)
        strict = [other.name for other in sources if not other.spec.rules.use_test_images]
        if study.has_pseudo_labels and strict:
            raise StudiesDiffer(
                f"these studies cannot be blended: {study.name} has learned from test images, which {TEST_IMAGES} of "
                f"{strict[0]} forbids"
            )
        for other in sources if study.spec.rules.forbidden else ():
            _check_by_rules(stores, other, study, home)


def _check_by_rules(stores: Stores, study: Study, strict: Study, home: Home | None) -> None:
    """Check that no trial of a study began with weights that the rules of another one, or its own, forbid.

    Raises:
        StudiesDiffer: otherwise, or if the weights are no longer there.
    """
    weights, rules = given_or_remembered(study.stored, None), strict.spec.rules
    try:
        if rules != study.spec.rules:
            check_rules(replace(study.spec, rules=rules), strict.fingerprint, weights)
        if home is not None:
            check_networks(rules, strict.fingerprint, _networks(stores, study, home))
    except (AgainstTheRules, BackboneError) as problem:
        refused = f"these studies cannot be blended: by the rules of {strict.name}, {study.name} may not take part"
        if study.id == strict.id:
            refused = f"study {study.name} cannot be exported: its rules forbid what its networks have learned from"
        raise StudiesDiffer(f"{refused}\n{problem}") from problem


def _networks(stores: Stores, study: Study, home: Home) -> Iterator[tuple[str, Path]]:
    """A network of every finished training whose networks are in ``home``, with a name for people."""
    for record in stores.trials.records(study.id, status=TrialStatus.FINISHED):
        file = network_header(home, study.name, record)
        if file is not None:
            trial = None if record.number is None else MemberName(trial=record.number, is_probe=record.is_probe)
            yield f"{trial or f'{record.kind} {record.work_id}'} of {study.name}", file
