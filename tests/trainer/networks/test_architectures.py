"""The shipped table of architectures against the installed timm."""

from __future__ import annotations

from pathlib import Path

import pytest

import trainer.networks.architectures
from trainer.common.errors import BackboneError
from trainer.networks.architectures import (
    CLASSES,
    MAX_TRIED,
    TABLE,
    TRIED_SIZES,
    architecture_of,
    shipped_table,
    takes_size,
    write_table,
)


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "vit_small_patch14_dinov2", "test_maxvit"]
)
def test_the_table_counts_what_timm_builds(name: str) -> None:
    import timm

    built = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    row = shipped_table()[name]
    assert row.parameters == sum(weight.numel() for weight in built.parameters())
    assert row.classifies


def test_published_sizes() -> None:
    # He et al. 2016; Dosovitskiy et al. 2021; Liu et al. 2022, in millions.
    assert round(architecture_of("resnet50").parameters / 1e6, 1) == 25.6
    assert round(architecture_of("vit_base_patch16_224.augreg_in21k").parameters / 1e6) == 87
    assert round(architecture_of("convnext_tiny.in12k_ft_in1k").parameters / 1e6, 1) == 28.6


def test_encoders_without_a_classifier_are_marked() -> None:
    assert not architecture_of("mobilenetv5_300m_enc").classifies


def test_the_table_holds_nearly_all_of_the_installed_timm() -> None:
    import timm

    names = set(timm.list_models())
    assert len(names & shipped_table().keys()) > 0.9 * len(names)


def test_what_the_table_lacks_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = shipped_table()["test_vit"]
    encoder = shipped_table()["qwen3_vit_88m_enc"]
    monkeypatch.setattr(trainer.networks.architectures, "shipped_table", dict)
    assert architecture_of("test_vit.r160_in1k").parameters == expected.parameters
    assert architecture_of("qwen3_vit_88m_enc") == encoder


def test_the_table_is_written_as_it_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["test_vit", "qwen3_vit_88m_enc", "resnet18", "halonet26t"]
    monkeypatch.setattr("timm.list_models", lambda: names)
    write_table(tmp_path / TABLE)
    header, *rows = (tmp_path / TABLE).read_text(encoding="utf-8").splitlines()
    shipped = Path(trainer.networks.architectures.__file__).with_name(TABLE).read_text(encoding="utf-8").splitlines()
    assert header == shipped[0]
    assert [row.partition(",")[0] for row in rows] == names
    assert set(rows) < set(shipped)


def test_the_table_says_which_sizes_are_taken() -> None:
    rows = shipped_table()
    assert rows["resnet18"].sizes == rows["vit_base_patch14_dinov2"].sizes == frozenset(TRIED_SIZES)
    assert rows["halonet26t"].sizes == frozenset({256})
    assert rows["crossvit_9_240"].sizes == frozenset()
    unknown = [name for name, row in rows.items() if row.sizes is None and row.classifies]
    assert all(rows[name].parameters > MAX_TRIED for name in unknown)


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("halonet26t.a1h_in1k", [256], [64, 96, 224, 300]),
        ("crossvit_9_240.in1k", [240], [224, 256]),
        ("vit_small_patch14_dinov2.lvd142m", [64, 96, 100, 300, 518, 2048], []),
        ("xcit_nano_12_p16_224.fb_in1k", [160, 304], [300]),
        ("vit_large_patch14_dinov2.lvd142m", [128, 160, 518], []),
        ("mixer_l16_224.goog_in21k", [224], [128, 256]),
    ],
)
def test_sizes_that_the_table_lacks_are_tried_or_inferred(name: str, taken: list[int], refused: list[int]) -> None:
    assert [size for size in (*taken, *refused) if takes_size(name, size)] == taken


def test_an_architecture_that_timm_lacks_is_refused() -> None:
    with pytest.raises(BackboneError, match="no backbone 'resnet17'"):
        architecture_of("resnet17")
