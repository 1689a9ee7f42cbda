"""Descriptions of registered weights: read as they were written, and never trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.common.errors import BackboneError
from trainer.formats.weights.description import (
    MAX_BYTES,
    SELF_SUPERVISED,
    SUPERVISED,
    WeightsDescription,
    check_weights_name,
    read_description,
    write_description,
)
from trainer.formats.weights.trained_on import TrainedOn

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
SETS = st.builds(
    TrainedOn,
    folder=TEXTS,
    fingerprint=DIGESTS,
    images=st.integers(1, 10**9),
    classes=st.integers(0, 10**6),
    test_images=st.integers(0, 10**6),
    license_note=TEXTS,
    several_labels=st.booleans(),
)
DESCRIPTIONS = st.builds(
    WeightsDescription,
    name=st.just("art"),
    backbone=st.sampled_from(("resnet18", "tf_efficientnet_lite0.in1k")),
    method=st.sampled_from((SUPERVISED, SELF_SUPERVISED)),
    init=st.sampled_from(("pretrained", "scratch", "paintings-2")),
    trained_on=st.lists(SETS, min_size=1, max_size=3).map(tuple),
    sha256=DIGESTS,
    request=DIGESTS,
    recipe=st.just({"epochs": 3, "optimizer.lr": 1e-3, "wise_ft": False, "backbone": "resnet18"}),
    metric=st.just("accuracy"),
    score=st.none() | st.floats(-10, 10),
    score_error=st.none() | st.floats(0, 1),
    held_out=st.integers(0, 10**6),
    weights_license=TEXTS,
    note=TEXTS,
    versions=st.just({"torch": "2.8"}),
    created=st.just("2026-11-27"),
)
ART = WeightsDescription(
    name="art",
    backbone="resnet18",
    method=SUPERVISED,
    init="pretrained",
    trained_on=(TrainedOn(folder="wikiart", fingerprint="f" * 64, images=8094, classes=2, license_note="CC0"),),
    sha256="a" * 64,
    request="b" * 64,
    recipe={"epochs": 3},
    metric="accuracy",
    score=0.75,
    score_error=0.01,
    held_out=809,
    weights_license="apache-2.0",
)


@given(DESCRIPTIONS)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, description: WeightsDescription) -> None:
    path = tmp_path_factory.getbasetemp() / "art.json"
    write_description(path, description)
    assert read_description(path) == description


def test_the_origin_in_words() -> None:
    expected = (
        "resnet18, from published weights, licence apache-2.0, supervised on 8,094 images of 2 classes in wikiart"
    )
    assert ART.words == f"{expected} (licence note: CC0)"
    assert ART.scored == "accuracy 0.7500 ± 0.0100 on 809 held-out images"
    assert replace(ART, score=None).scored == "-"
    own = TrainedOn(folder="own", fingerprint="e" * 64, images=100, classes=0, test_images=40)
    chained = replace(ART, init="art0", trained_on=(*ART.trained_on, own), method=SELF_SUPERVISED)
    assert chained.words.startswith("resnet18, from art0, licence apache-2.0, self-supervised on 8,094 images")
    assert chained.words.endswith("; then on 100 images, 40 of them test images, in own")


def test_several_labels_are_said_and_written_only_where_an_image_may_have_them(tmp_path: Path) -> None:
    (one,) = ART.trained_on
    several = replace(ART, trained_on=(replace(one, classes=14, several_labels=True),))
    assert "8,094 images of 14 labels (an image may have several) in wikiart" in several.words
    path = tmp_path / "art.json"
    write_description(path, ART)
    assert "several_labels" not in json.loads(path.read_text())["trained_on"][0]
    write_description(path, several)
    raw = json.loads(path.read_text())
    raw["trained_on"][0]["several_labels"] = "yes"
    path.write_text(json.dumps(raw))
    with pytest.raises(BackboneError, match="trained_on is no list of image sets"):
        read_description(path)


@pytest.mark.parametrize(
    "key, value",
    [
        ("sha256", "g" * 64),
        ("sha256", None),
        ("name", "other"),
        ("name", "../art"),
        ("backbone", "hf-hub:someone/net"),
        ("method", "magic"),
        ("method", []),
        ("score", "0.5"),
        ("score", float("nan")),
        ("held_out", -1),
        ("held_out", True),
        ("recipe", {"epochs": [1]}),
        ("note", "a\x1b[31mb"),
        ("trained_on", []),
        ("trained_on", [{"folder": "a"}]),
        ("trained_on", "wikiart"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "art.json"
    write_description(path, ART)
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, key: value}))
    with pytest.raises(BackboneError, match="damaged"):
        read_description(path)
    path.write_text(json.dumps({other: raw[other] for other in raw if other != key}))
    with pytest.raises(BackboneError, match="damaged"):
        read_description(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"\xff\xfe", b'{"format": "another program"}', b"[" * 100_000, b" " * (MAX_BYTES + 1)],
)
def test_other_files_are_no_descriptions(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "art.json").write_bytes(content)
    assert read_description(tmp_path / "art.json") is None
    assert read_description(tmp_path / "nothing.json") is None


@given(st.text(max_size=60))
def test_a_name_is_a_plain_file_name(name: str) -> None:
    try:
        check_weights_name(name)
    except BackboneError:
        return
    assert name == Path(f"/weights/{name}").name and not name.startswith(".") and len(name) <= 40
    assert name.isascii() and name not in ("pretrained", "scratch")


@pytest.mark.parametrize("name", ["pretrained", "scratch", "imagenet", ".art", "a/b", "..", "a" * 41, "", "ä"])
def test_bad_names(name: str) -> None:
    with pytest.raises(BackboneError, match="cannot be called"):
        check_weights_name(name)
