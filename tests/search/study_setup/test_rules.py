"""[rules]: starting weights and settings that the rules of a competition forbid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from search.study_setup.rules import AgainstTheRules, LearnedLabels, check_learned_labels, check_rules
from studies.errors import StudyError
from studies.load_study import load_study
from studies.spec import StudySpec
from studies.stored_spec import spec_from_dict
from tests.trainer.networks.test_registered_weights import put
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.formats.weights.description import SELF_SUPERVISED, read_description, write_description
from trainer.formats.weights.trained_on import CONTENT_DIGITS, TrainedOn, contents_of
from trainer.training.write_model_folder import save_weights

STUDY = """
title = "Rules"

[recipe]
backbone = "test_resnet"

[space]
init = ["pretrained", "scratch", "art", "own", "plain"]
"""

DESCRIBED = 'space.init=["pretrained", "scratch", "art", "own"]'


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of other images, of the study's own (test images among them), and of unknown ones."""
    folder = tmp_path / "weights"
    folder.mkdir()
    put(folder, "art")
    own = put(folder, "own")
    seen = TrainedOn(folder="own", fingerprint="0" * 64, images=30, classes=0, test_images=6)
    write_description(folder / "own.json", replace(own, method=SELF_SUPERVISED, trained_on=(seen,)))
    (folder / "plain.safetensors").write_bytes((folder / "art.safetensors").read_bytes())
    return folder


def study(tmp_path: Path, *overrides: str) -> StudySpec:
    file = tmp_path / "rules.toml"
    file.write_text(STUDY)
    return load_study(file, overrides)


def forbidden(spec: StudySpec, weights: Path) -> list[str]:
    """The starting weights that the rules forbid for images with the fingerprint 0000…"""
    try:
        check_rules(spec, "0" * 64, weights)
    except AgainstTheRules as error:
        return [line.partition("'")[2].partition("'")[0] for line in str(error).splitlines()[:-1]]
    return []


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """120 images of two classes."""
    for number in range(120):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    return read_images(tmp_path / "images")


def knows(weights: Path, **changes: object) -> None:
    """Change the record of the images that trained ``art``."""
    known = read_description(weights / "art.json")
    assert known is not None
    write_description(weights / "art.json", replace(known, trained_on=(replace(known.trained_on[0], **changes),)))  # type: ignore[arg-type]


def test_weights_that_know_the_labels_of_the_study_are_refused(tmp_path: Path, weights: Path, images: ImageSet) -> None:
    spec = study(tmp_path, DESCRIBED)
    knows(weights, fingerprint=images.fingerprint)
    with pytest.raises(LearnedLabels, match=r"init = 'art': .* 120 of the 120 .* in wikiart\n") as caught:
        check_learned_labels(spec, images, weights)
    assert str(caught.value).count("init = ") == 1
    knows(weights, classes=0)  # self-supervised: labels were not used
    assert check_learned_labels(spec, images, weights) == []


def test_known_images_are_counted_by_their_files(tmp_path: Path, weights: Path, images: ImageSet) -> None:
    spec = study(tmp_path, DESCRIBED)
    knows(weights, contents=contents_of(images.subset(range(2)).training_contents))
    with pytest.raises(LearnedLabels, match="the labels of 2 of the 120 training images"):
        check_learned_labels(spec, images, weights)
    knows(weights, contents=contents_of(images.subset([7]).training_contents))
    (line,) = check_learned_labels(spec, images, weights)
    assert "the labels of 1 of the 120 training images" in line and "too high" in line
    assert check_learned_labels(spec, images.subset(range(20, 120)), weights) == []
    assert len(contents_of(images.training_contents)) == 120 * CONTENT_DIGITS


def test_weights_whose_images_are_not_listed_are_named(tmp_path: Path, weights: Path, images: ImageSet) -> None:
    """As an earlier version registered them: they may have learned from copies of the study's images."""
    (line,) = check_learned_labels(study(tmp_path, DESCRIBED), images, weights)
    assert "init = 'art': 900 images of 3 classes in wikiart trained these weights, and nothing says which" in line


def named(weights: Path, name: str, *trained_on: TrainedOn) -> None:
    """A network in the weights folder whose file alone names its images."""
    save_weights(weights / f"{name}.safetensors", {"weight": torch.zeros(1)}, trained_on)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "init = 'plain'"),
        ("test_resnet.r160_in1k", r"the file of test_resnet\.r160_in1k in --weights"),
    ],
)
def test_a_copied_network_of_an_export_is_refused(
    tmp_path: Path, weights: Path, images: ImageSet, name: str, shown: str
) -> None:
    """Without the folder of its export, and even under the name of published weights."""
    spec = study(tmp_path, 'space.init=["pretrained", "scratch", "plain"]', "recipe.backbone=test_resnet.r160_in1k")
    own = TrainedOn(
        folder="paintings",
        fingerprint="1" * 64,
        images=120,
        classes=2,
        contents=contents_of(images.training_contents),
    )
    other = replace(own, contents=contents_of([b"0" * 32]))
    named(weights, "plain", other)
    assert check_learned_labels(spec, images, weights) == []
    named(weights, name, own)
    with pytest.raises(LearnedLabels, match=f"{shown}: these weights have learned .* 120 of the 120 .* in paintings"):
        check_learned_labels(spec, images, weights)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(("classes", "noted"), [(1000, False), (4, True)])
def test_a_network_with_the_name_of_published_weights_is_noted(
    tmp_path: Path, weights: Path, images: ImageSet, classes: int, noted: bool, suffix: str
) -> None:
    spec = study(tmp_path, 'space.init=["pretrained", "scratch"]', "recipe.backbone=test_resnet.r160_in1k")
    file, state = weights / f"test_resnet.r160_in1k{suffix}", {"fc.weight": torch.zeros(classes, 2)}
    if suffix == ".pth":
        torch.save({"state_dict": state}, file)
    else:
        save_weights(file, state)
    notes = check_learned_labels(spec, images, weights)
    assert ["number of classes is not that of the published" in note for note in notes] == [True] * noted
    strict = study(
        tmp_path,
        'space.init=["pretrained", "scratch"]',
        "recipe.backbone=test_resnet.r160_in1k",
        "rules.external_data=false",
    )
    if noted:
        with pytest.raises(AgainstTheRules, match=r"the file of test_resnet\.r160_in1k in --weights"):
            check_rules(strict, images.fingerprint, weights)
    else:
        check_rules(strict, images.fingerprint, weights)


def test_a_damaged_file_with_the_name_of_published_weights_is_left_to_its_loading(
    tmp_path: Path, weights: Path, images: ImageSet
) -> None:
    spec = study(tmp_path, "recipe.init=pretrained", "recipe.backbone=test_resnet.r160_in1k")
    (weights / "test_resnet.r160_in1k.pth").write_bytes(b"PK no archive")
    assert check_learned_labels(spec, images, weights) == []


def test_rules_apply_to_what_a_file_names(tmp_path: Path, weights: Path) -> None:
    own = TrainedOn(folder="own", fingerprint="0" * 64, images=30, classes=3, test_images=6)
    named(weights, "plain", own)
    overrides = ('space.init=["scratch", "plain"]', "rules.use_test_images=false")
    assert forbidden(study(tmp_path, *overrides), weights) == ["plain"]
    named(weights, "plain", replace(own, test_images=0))
    assert forbidden(study(tmp_path, *overrides, "rules.external_data=false"), weights) == []
    named(weights, "plain", replace(own, test_images=0, fingerprint="2" * 64))
    assert forbidden(study(tmp_path, *overrides, "rules.external_data=false"), weights) == ["plain"]


def test_without_rules_everything_is_allowed(tmp_path: Path, weights: Path) -> None:
    spec = study(tmp_path, DESCRIBED)
    assert (spec.rules.external_data, spec.rules.use_test_images, spec.rules.forbidden) == (True, True, "")
    assert forbidden(spec, weights) == []


def test_external_data_are_weights_of_other_or_unknown_images(tmp_path: Path, weights: Path) -> None:
    spec = study(tmp_path, "rules.external_data=false")
    assert forbidden(spec, weights) == ["art", "plain"]
    assert spec.rules.forbidden == "external data"
    allowed = study(tmp_path, "rules.external_data=false", 'space.init=["pretrained", "own"]')
    assert forbidden(allowed, weights) == []


def test_weights_that_saw_test_images(tmp_path: Path, weights: Path) -> None:
    assert forbidden(study(tmp_path, "rules.use_test_images=false"), weights) == ["own"]
    both = study(tmp_path, "rules.use_test_images=false", "rules.external_data=false")
    assert forbidden(both, weights) == ["art", "own", "plain"]
    assert both.rules.forbidden == "external data and learning from test images"


def test_weighting_toward_test_images_contradicts_the_rule(tmp_path: Path) -> None:
    weighted = "protocol.weighting=test_like"
    with pytest.raises(StudyError, match="use_test_images"):
        study(tmp_path, weighted, "rules.use_test_images=false")
    assert study(tmp_path, weighted).protocol.weighting == "test_like"


def test_studies_of_earlier_releases_have_no_rules(tmp_path: Path) -> None:
    spec = study(tmp_path)
    stored = spec.to_dict()
    earlier = {key: value for key, value in stored.items() if key not in ("rules", "purpose", "compared_seeds")}
    assert spec_from_dict(earlier) == spec
    ruled = study(tmp_path, "rules.external_data=false")
    assert spec_from_dict(ruled.to_dict()) == ruled
    # Rules decide about no result, so that a study may get them while it runs.
    assert ruled.spec_hash == spec.spec_hash
    with pytest.raises(StudyError, match="purpose"):
        spec_from_dict({**stored, "purpose": "fun"})


def test_seeds_of_a_second_study_are_stored(tmp_path: Path) -> None:
    spec = study(tmp_path, DESCRIBED)
    second = replace(spec, purpose="pseudo_labels", begun_from="first:3", compared_seeds=(4, 0))
    assert spec_from_dict(json.loads(json.dumps(second.to_dict()))) == second
    assert second.spec_hash == spec.spec_hash
    for broken in (3, [-1], [True], ["0"], [2**31], [0] * 1001, None):
        with pytest.raises(StudyError, match="compared_seeds"):
            spec_from_dict({**spec.to_dict(), "compared_seeds": broken})


def test_groups_of_a_second_stage_are_stored(tmp_path: Path) -> None:
    spec = study(tmp_path, DESCRIBED)
    assert "class_groups" not in spec.to_dict(), "the hash of other studies stays"
    stage = replace(spec, purpose="two_stage", begun_from="first:3", class_groups=((0, 4), (1, 2, 7)))
    assert spec_from_dict(json.loads(json.dumps(stage.to_dict()))) == stage
    assert stage.spec_hash != spec.spec_hash, "its trainings depend on the groups"
    for broken in (3, [[0]], [[0, 0]], [[0, 1], [1, 2]], [[-1, 2]], [[True, 2]], [["0", 1]], [[[0], 1]], [], None):
        with pytest.raises(StudyError, match="class_groups"):
            spec_from_dict({**stage.to_dict(), "class_groups": broken})
    with pytest.raises(StudyError, match="class_groups"):
        spec_from_dict({**spec.to_dict(), "class_groups": [[0, 1]]})


def test_weights_of_which_nothing_is_known_are_named(tmp_path: Path, weights: Path, images: ImageSet) -> None:
    """As the networks of an export, or registered weights that were copied without their description."""
    spec = study(tmp_path, 'space.init=["pretrained", "plain"]')
    (line,) = check_learned_labels(spec, images, weights)
    assert "init = 'plain': nothing says which images trained these weights" in line and "too high" in line
