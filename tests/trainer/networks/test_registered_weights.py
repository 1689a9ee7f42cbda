"""Registered weights: a backbone without its classifier, for its own backbone, with the content that was registered."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.trainer.networks.test_custom_weights import classifier_of, recipe
from tests.trainer.networks.test_pretrained import checkpoint, differing
from tests.trainer.training.support import competition, run
from trainer.common.errors import BackboneError
from trainer.formats.weights.description import SUPERVISED, WeightsDescription, write_description
from trainer.formats.weights.trained_on import TrainedOn
from trainer.networks.build import create_backbone
from trainer.networks.custom_weights import (
    check_description,
    custom_weights_facts,
    missing_custom_weights_message,
    registered_weights,
)


def put(folder: Path, name: str = "art", backbone: str = "test_resnet", classes: int = 3) -> WeightsDescription:
    """Register random weights of a backbone, without its classifier."""
    torch.manual_seed(0)
    state = {k: v for k, v in checkpoint(backbone, classes).items() if k not in classifier_of(backbone)}
    file = folder / f"{name}.safetensors"
    save_file(state, file)
    description = WeightsDescription(
        name=name,
        backbone=backbone,
        method=SUPERVISED,
        init="scratch",
        trained_on=(TrainedOn(folder="wikiart", fingerprint="f" * 64, images=900, classes=classes),),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        request="b" * 64,
        recipe={"epochs": 1},
    )
    write_description(folder / f"{name}.json", description)
    return description


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_only_the_classifier_is_new_also_for_as_many_classes(tmp_path: Path, backbone: str) -> None:
    put(tmp_path, backbone=backbone, classes=3)
    model = create_backbone(recipe("art", backbone, image_size=160), 3, weights_dir=tmp_path)
    assert differing(model, checkpoint(backbone, 3)) <= classifier_of(backbone)
    states = [create_backbone(recipe("art", backbone, image_size=160), 3, weights_dir=tmp_path) for _ in range(2)]
    weight = f"{next(iter(classifier_of(backbone))).partition('.')[0]}.weight"
    assert not torch.equal(*(state.state_dict()[weight] for state in states)), "the classifier is random"


def test_another_content_is_refused(tmp_path: Path) -> None:
    put(tmp_path)
    file = tmp_path / "art.safetensors"
    create_backbone(recipe("art"), 4, weights_dir=tmp_path)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BackboneError, match=r"not those that art\.json describes.*--replace"):
        create_backbone(recipe("art"), 4, weights_dir=tmp_path)


def test_another_backbone_is_refused_with_the_names_that_fit(tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, "vits", "test_vit")
    with pytest.raises(
        BackboneError, match=r"pre-trained with test_resnet, not with test_vit.*registered for test_vit: vits"
    ):
        create_backbone(recipe("art", "test_vit"), 4, weights_dir=tmp_path)
    # timm's default tag is the same network.
    check_description("art", "test_resnet.r160_in1k", tmp_path)


def test_an_unknown_name_lists_the_registered_ones(tmp_path: Path) -> None:
    put(tmp_path)
    assert missing_custom_weights_message(["art"], tmp_path) == ""
    message = missing_custom_weights_message(["aart"], tmp_path)
    assert "did you mean art" in message and "registered there: art (test_resnet)" in message


def test_the_list_leaves_damaged_descriptions_out(tmp_path: Path) -> None:
    known = put(tmp_path)
    put(tmp_path, "broken")
    (tmp_path / "broken.json").write_text((tmp_path / "broken.json").read_text().replace('"scratch"', "7"))
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    assert registered_weights(tmp_path) == [known]
    assert registered_weights(None) == registered_weights(tmp_path / "nowhere") == []


def test_a_training_records_their_origin(tmp_path: Path) -> None:
    known = put(tmp_path)
    assert custom_weights_facts("scratch", tmp_path) == {}
    for method in ("fine_tune", "linear_probe"):
        result = run({"epochs": 1, "init": "art", "method": method}, competition(30), weights_dir=tmp_path)
        assert result.machine["init_about"] == known.words
        assert result.machine["init_sha256"] == known.sha256[:16]
