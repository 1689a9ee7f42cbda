"""Backbones and backbone filters of a study, resolved with the installed timm."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from studies.explain import explain
from studies.file.catalog import bundled_studies
from studies.load_study import load_study
from studies.resolve_backbones import backbones_of, check_backbones
from studies.space.backbone_filter import find_backbones, read_filter
from studies.space.dimension import BackboneFilter, describe_filter
from studies.spec import StudyError, StudySpec
from studies.stored_spec import spec_from_dict
from trainer.networks.architectures import architecture_of
from trainer.networks.backbones import family_of

Load = Callable[..., StudySpec]

FILTER = """
[space]
backbone = { match = ["resnet18.*", "vit_tiny_patch16_224.*"], exclude = ["*in21k"], pretrained = true }
drop = [
    { low = 0.0, high = 0.1, when = { family = "cnn" } },
    { low = 0.2, high = 0.3, when = { family = "transformer" } },
    { low = 0.4, high = 0.5, when = { family = "mlp" } },
]
"""


@pytest.mark.parametrize("name", [name for name in bundled_studies() if name != "probe_backbones"])
def test_every_backbone_of_the_bundled_studies_exists(name: str) -> None:
    import timm

    spec = check_backbones(load_study(name))
    assert check_backbones(spec) == spec
    if spec.recipe["init"] == "pretrained":
        assert set(backbones_of(spec)) <= set(timm.list_pretrained()), "each needs weights"


def test_a_filter_becomes_the_list_it_finds(load: Load) -> None:
    spec = load(FILTER)
    assert not spec.is_resolved
    assert explain(spec).sampled[0].values.startswith("timm models resnet18.*, vit_tiny")
    for needs_the_list in (spec.default_params, spec.to_dict):
        with pytest.raises(StudyError, match="until its filter is resolved"):
            needs_the_list()
    resolved = check_backbones(spec)
    assert resolved.is_resolved
    assert spec_from_dict(resolved.to_dict()) == resolved
    found = backbones_of(resolved)
    assert "resnet18.a1_in1k" in found
    assert "vit_tiny_patch16_224.augreg_in21k_ft_in1k" in found
    assert "vit_tiny_patch16_224.augreg_in21k" not in found
    assert all(name.startswith(("resnet18.", "vit_tiny_patch16_224.")) for name in found)
    # No MLP was found: the range for them is gone, the others keep their conditions.
    assert [d.name for d in resolved.space] == ["backbone", "drop@cnn", "drop@transformer"]
    assert resolved.default_params() == {"backbone": found[0], "drop@cnn": 0.0}


def test_a_filter_of_what_is_at_hand_looks_into_the_weights_folder(load: Load, tmp_path: Path) -> None:
    spec = load(FILTER.replace("pretrained = true", "pretrained = true, at_hand = true"))
    assert explain(spec).sampled[0].values.endswith("whose weights are on this machine")
    for name in ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "resnet18.tv_in1k", "resnet34.a1_in1k"):
        (tmp_path / f"{name}.safetensors").touch()
    found = backbones_of(check_backbones(spec, weights=tmp_path))
    assert found == ["resnet18.tv_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"]
    assert backbones_of(check_backbones(spec, weights=tmp_path, kept=found[:1])) == found[:1]
    (tmp_path / "resnet18.tv_in1k.safetensors").unlink()
    assert backbones_of(check_backbones(spec, weights=tmp_path, kept=found)) == found


def test_files_that_no_network_is_called_after_are_named(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in (
        "resnet18.a1_in1k.safetensors",
        "ResNet34.a1_in1k.safetensors",
        "mine.pth",
        "own.safetensors",
        "own.json",
    ):
        (tmp_path / name).touch()
    check_backbones(load(FILTER.replace("pretrained = true", "pretrained = true, at_hand = true")), weights=tmp_path)
    (line,) = (line for line in caplog.messages if line.startswith("not used"))
    assert line.endswith("ResNet34.a1_in1k.safetensors (nearest: resnet34.a1_in1k), mine.pth"), "own.json describes own"


def test_weights_at_hand_that_cannot_be_used_are_named(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    study = "[recipe]\nimage_size = 96\n[space]\nbackbone = { at_hand = true }"
    encoder, other = list(find_backbones(read_filter({})).left_out)[:2]
    for name in (encoder, "resnet18", "coat_tiny.in1k"):
        (tmp_path / f"{name}.safetensors").touch()
    assert backbones_of(check_backbones(load(study), weights=tmp_path)) == ["coat_tiny.in1k", "resnet18"]
    assert encoder in caplog.text and other not in caplog.text


def test_a_filter_that_finds_nothing_at_hand_says_where_it_looked(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    spec = load(FILTER.replace("pretrained = true", "pretrained = true, at_hand = true"))
    for folder in (None, tmp_path):
        with pytest.raises(StudyError) as refused:
            check_backbones(spec, weights=folder)
        assert "Hugging Face cache" in str(refused.value) and (str(tmp_path) in str(refused.value)) == bool(folder)
    (tmp_path / "mixer_b16_224.goog_in21k.safetensors").touch()
    with pytest.raises(StudyError, match=r"space.backbone.match=\[\"mixer_b16_224.goog_in21k\"\]"):
        check_backbones(spec, weights=tmp_path)
    probed = replace(spec, search_settings=replace(spec.search_settings, trials=0))
    with pytest.raises(StudyError, match=r"--match mixer_b16_224.goog_in21k"):
        check_backbones(probed, weights=tmp_path)
    for wrong in ("at_hand = 1", 'at_hand = "yes"'):
        with pytest.raises(StudyError, match="at_hand is true or false"):
            load(FILTER.replace("pretrained = true", wrong))


def test_conditions_that_a_filter_decides_are_gone(load: Load) -> None:
    resolved = check_backbones(load(FILTER.replace('"vit_tiny_patch16_224.*"', '"resnet34.*"')))
    assert [(d.name, d.when) for d in resolved.space] == [("backbone", ()), ("drop", ())]


def test_a_filter_starts_with_the_backbone_of_the_recipe(load: Load) -> None:
    fixed = "[recipe]\nbackbone = 'resnet18.tv_in1k'\n"
    assert check_backbones(load(fixed + FILTER)).default_recipe()["backbone"] == "resnet18.tv_in1k"
    with pytest.raises(StudyError, match=r"the default resnet34.tv_in1k is not among timm models resnet18"):
        check_backbones(load(fixed.replace("18", "34") + FILTER))


def test_a_filter_that_finds_nothing_is_refused(load: Load) -> None:
    with pytest.raises(StudyError, match=r"there are no timm models resnet18000\*"):
        check_backbones(load("[space]\nbackbone = { match = 'resnet18000*' }"))


def test_a_pattern_for_a_part_of_a_name_is_suggested(load: Load) -> None:
    with pytest.raises(StudyError, match=r"'\*lite0\*' finds \d+, such as \S*lite0"):
        check_backbones(load("[space]\nbackbone = { match = 'lite0' }"))


def test_models_without_weights_are_named(load: Load) -> None:
    with pytest.raises(StudyError, match=r"timm has no pre-trained weights of botnet50ts_256"):
        check_backbones(load("[space]\nbackbone = { match = 'botnet50ts_256' }"))


@pytest.mark.parametrize("entry", ["[recipe]\nbackbone = 'resnet17'", "[space]\nbackbone = ['resnet18', 'resnet17']"])
def test_an_unknown_backbone_is_answered_with_the_nearest(load: Load, entry: str) -> None:
    with pytest.raises(StudyError, match=r"resnet17.*did you mean .*resnet1\d"):
        check_backbones(load(entry))


def test_a_misspelt_backbone_is_one_problem_however_many_conditions_ask_for_its_family(load: Load) -> None:
    with pytest.raises(StudyError) as caught:
        load_study("full", ["recipe.backbone=rsnet18"])
    (problem,) = caught.value.problems
    assert problem.startswith("--set recipe.backbone=rsnet18: ")
    assert "did you mean resnet18" in problem
    with pytest.raises(StudyError, match=r"mine\.toml, \[space\]: backbone: .*rsnet18.*did you mean resnet18"):
        load(FILTER.replace("{ match", "['resnet18', 'rsnet18'] # { match"))


def test_all_unknown_backbones_are_listed(load: Load) -> None:
    with pytest.raises(StudyError) as caught:
        check_backbones(load("[space]\nbackbone = ['resnet17', 'vit_tiny_patch16_224', 'resnet18.never']"))
    assert len(caught.value.problems) == 2


def found(chosen: dict[str, object]) -> list[str]:
    return find_backbones(read_filter(chosen)).names


def test_a_filter_narrows_by_family_and_size() -> None:
    names = found({"family": ["transformer", "hybrid"], "min_params": 4, "max_params": 6, "max_size": 224})
    assert "deit_tiny_patch16_224.fb_in1k" in names
    assert "tiny_vit_5m_224.in1k" in names
    assert "vit_small_patch16_224.augreg_in1k" not in names, "22 million"
    assert {family_of(name) for name in names} == {"transformer", "hybrid"}
    assert all(4e6 <= architecture_of(name).parameters <= 6e6 for name in names)


@pytest.mark.parametrize(
    ("pattern", "native"),
    [("tf_efficientnetv2_s.in1k", 384), ("vit_small_patch14_dinov2.*", 518), ("vit_pe_core_tiny_*", 384)],
)
def test_sizes_are_those_that_a_network_can_be_built_for(pattern: str, native: int) -> None:
    assert native > 299
    every = found({"match": [pattern]})
    assert every
    for limits in ({"max_size": 299}, {"min_size": 200, "max_size": 230}, {"min_size": 1024}):
        assert found({"match": [pattern], **limits}) == every


def test_weights_that_are_bound_to_a_size_are_found_at_that_size_alone() -> None:
    assert found({"match": ["halonet26t.*", "levit_128.*"], "max_size": 230}) == ["levit_128.fb_dist_in1k"]
    assert found({"match": ["halonet26t.*", "levit_128.*"], "min_size": 250}) == ["halonet26t.a1h_in1k"]
    result = find_backbones(read_filter({"match": ["halonet26t.*"], "min_size": 128, "max_size": 128}))
    assert result.left_out == {"halonet26t.a1h_in1k": "unusable for images of 128 pixels"}


def test_licences() -> None:
    one = {"match": ["vit_base_patch16_clip_224.*", "res2net50d.*", "vit_base_patch16_dinov3.*"]}
    openai, meta = "vit_base_patch16_clip_224.openai", "vit_base_patch16_clip_224.metaclip_400m"
    free = found({**one, "license": "permissive"})
    assert openai in free and meta not in free
    assert free == found({**one, "license": ["mit", "apache-2.0"]})
    assert found({**one, "license": "unknown"}) == ["res2net50d.in1k"]
    assert found({**one, "license": ["cc-*"]}) == [meta.replace("400m", "2pt5b"), meta]
    every, other = found(one), found({**one, "license": ["!permissive"]})
    assert sorted([*free, *other]) == sorted(every)
    assert "vit_base_patch16_dinov3.lvd1689m" in other
    assert found({**one, "license": ["!cc-*", "!unknown", "!dinov3-license", "!apple-ascl"]}) == free


def test_an_unknown_licence_is_a_problem_of_the_study(load: Load) -> None:
    with pytest.raises(StudyError, match=r"backbone: no weights have the licence 'apache'; did you mean apache-2.0"):
        check_backbones(load("[space]\nbackbone = { match = 'resnet18*', license = 'apache' }"))
    with pytest.raises(StudyError, match="license is a list of licences such as 'mit'"):
        load("[space]\nbackbone = { match = 'resnet18*', license = [] }")
    spec = load("[space]\nbackbone = { match = 'resnet18*', license = ['mit', '!cc-*'] }")
    assert "under the licence mit or not cc-*" in explain(spec).sampled[0].values


def test_a_study_leaves_out_what_cannot_be_used_at_its_size(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        "[recipe]\nimage_size = {}\n[space]\nbackbone = {{ match = ['mixer_s32_224.*', 'levit_128*', 'resnet18.a1*'] }}"
    )
    with caplog.at_level("INFO"):
        spec = check_backbones(load(text.format(128)))
    assert backbones_of(spec) == ["resnet18.a1_in1k"]
    assert "left out: levit_128.fb_dist_in1k, levit_128s.fb_dist_in1k: unusable for images of 128 pixels" in caplog.text
    assert len(backbones_of(check_backbones(load(text.format(224))))) == 3
    scratch = text.format(128).replace("[recipe]", "[recipe]\ninit = 'scratch'")
    assert len(backbones_of(check_backbones(load(scratch)))) == 3
    with pytest.raises(StudyError, match=r"there are no timm models levit_128.* unusable for images of 96, 128 pixels"):
        check_backbones(load("[space]\nimage_size = [96, 128, 224]\nbackbone = { match = ['levit_128*'] }"))


def test_encoders_without_a_classifier_are_never_found() -> None:
    assert found({"match": ["mobilenetv5_300m_enc*"], "pretrained": False}) == []


def test_of_several_sets_of_weights_the_default_is_found_unless_excluded() -> None:
    one = {"match": ["convnext_tiny.*", "resnet18.*"], "one_per_architecture": True}
    assert found(one) == ["convnext_tiny.in12k_ft_in1k", "resnet18.a1_in1k"]
    assert found({**one, "exclude": ["*.in12k_ft_in1k", "*.a?_in1k"]}) == [
        "convnext_tiny.dinov3_lvd1689m",
        "resnet18.fb_ssl_yfcc100m_ft_in1k",
    ]


def test_a_filter_and_patterns_in_conditions_are_resolved_together(load: Load) -> None:
    spec = load(
        """
        [recipe]
        backbone = "convnext_atto.d2_in1k"
        [space]
        backbone = { match = ["convnext_atto.*", "resnet18.*", "vit_tiny_patch16_224.*"], one_per_architecture = true }
        "optimizer.lr" = [
            { low = 1e-4, high = 1e-3, when = { family = "cnn", backbone = "!convnext*" } },
            { low = 1e-5, high = 1e-4, when = { backbone = "convnext*" } },
            { low = 1e-6, high = 1e-5, when = { family = ["transformer", "mlp"] } },
            { low = 1e-2, high = 1e-1, when = { backbone = "swin*" } },
        ]
        """
    )
    assert not spec.is_resolved
    resolved = check_backbones(spec)
    names = ["optimizer.lr@cnn+not-convnext", "optimizer.lr@convnext", "optimizer.lr@transformer"]
    assert [d.name for d in resolved.space] == ["backbone", *names]
    assert [d.choices for d in resolved.space[:1]] == [
        ("convnext_atto.d2_in1k", "resnet18.a1_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    ]
    assert resolved.default_params().keys() == {"backbone", "optimizer.lr@convnext"}
    assert spec_from_dict(resolved.to_dict()) == resolved


def test_patterns_that_overlap_are_found_when_the_filter_is_resolved(load: Load) -> None:
    spec = load(
        """
        [space]
        backbone = { match = ["resnet18.*", "resnet34.*"] }
        drop = [{ low = 0.0, high = 0.1, when = { backbone = "resnet*" } },
                { low = 0.2, high = 0.3, when = { backbone = "*18.*" } }]
        """
    )
    with pytest.raises(StudyError, match=r"backbone = \*18\.\*\) overlap"):
        check_backbones(spec)


def test_the_sweep_is_about_two_hundred_networks_that_train_at_one_size() -> None:
    spec = check_backbones(load_study("backbone_sweep"))
    names = backbones_of(spec)
    assert 220 <= len(names) <= 260
    foundation = (
        "vit_small_patch14_dinov2.lvd142m",
        "vit_base_patch14_reg4_dinov2.lvd142m",
        "vit_base_patch16_dinov3.lvd1689m",
        "vit_base_patch16_siglip_224.v2_webli",
        "vit_base_patch16_clip_quickgelu_224.openai",
        "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k",
        "vit_pe_core_base_patch16_224.fb",
        "vit_pe_spatial_small_patch16_512.fb",
    )
    assert set(foundation) <= set(names)
    assert len({name.partition(".")[0] for name in names}) == len(names)
    assert {family_of(name) for name in names} == {"cnn", "transformer", "hybrid"}
    assert spec.default_params()["backbone"] == "tf_efficientnet_b0.ns_jft_in1k", "the product's default"
    # ConvNeXt, other convolutions with batch and with frozen statistics, the rest.
    assert len([d for d in spec.space if d.field == "optimizer.lr"]) == 4


def test_overrides_narrow_the_sweep() -> None:
    changes = ["space.backbone.family=transformer", "space.backbone.max_params=10"]
    spec = check_backbones(load_study("backbone_sweep", changes))
    assert 2 < len(backbones_of(spec)) < 25
    assert [d.name for d in spec.space] == ["backbone", "optimizer.lr", "optimizer.layer_decay", "head", "wise_ft"]
    assert spec.space[1].when == ()
    assert spec.default_params()["backbone"] in backbones_of(spec)


def test_a_filter_is_described_without_a_stray_comma() -> None:
    assert describe_filter(BackboneFilter(match=("lite*",))) == "timm models lite* with pre-trained weights"
    many = tuple(f"net{number}*" for number in range(60))
    short = "timm models net0*, net1*, net2*, net3*, net4*, net5* and 54 more patterns with pre-trained weights"
    assert describe_filter(BackboneFilter(match=many)) == short
    assert describe_filter(BackboneFilter(match=many[:7])).startswith(f"timm models {', '.join(many[:7])} with")
