"""Errors of a study file are listed together, with file, key and the nearest valid names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studies.load_study import load_study
from studies.spec import StudyError, StudySpec

Refused = Callable[..., tuple[str, ...]]

MISTAKES = {
    "unknown table": ("[spaces]", "mine.toml: there is no table [spaces]; did you mean space?"),
    "unknown setting": (
        "[protocol]\nmetrics = 'accuracy'",
        "mine.toml, [protocol]: there is no setting 'metrics'; did",
    ),
    "unknown recipe field": ("[recipe]\nbackbon = 'resnet18'", "[recipe]: there is no recipe field 'backbon'; did you"),
    "unknown sampled field": ("[space]\n'optimizer.rl' = [1.0]", "did you mean optimizer.lr"),
    "unknown key of a range": (
        "[space]\ndrop = { low = 0.0, high = 0.5, lgo = true }",
        "drop: there is no key 'lgo'; did you mean low or log?",
    ),
    "unknown augmentation": (
        "[recipe.augment]\nsepiaa = 0.1",
        "there is no augmentation 'augment.sepiaa'; did you mean augment.sepia",
    ),
    "unknown optimizer": (
        "[recipe]\n'optimizer.name' = 'adamv'",
        "optimizer.name cannot be 'adamv'; did you mean adam",
    ),
    "unknown sampled optimizer": ("[space]\n'optimizer.name' = ['adamw', 'sdg']", "cannot be 'sdg'; did you mean sgd"),
    "unknown metric": ("[protocol]\nmetric = 'acuracy'", "metric cannot be 'acuracy'; did you mean accuracy"),
    "unknown sampler": ("[search]\nsampler = 'tpa'", "sampler cannot be 'tpa'; did you mean tpe"),
    "unknown pruner": ("[search]\npruner = 'halving'", "pruner cannot be 'halving'"),
    "removed pruner": ("[search]\npruner = 'paired_race'", "'paired_race'; valid: successive_halving, promotion, none"),
    "removed setting": ("[search]\nrace_margin = 2.0", "there is no setting 'race_margin'"),
    "unknown sample": ("[data]\nsample = 'digit'", "sample cannot be 'digit'; did you mean digits?"),
    "low above high": ("[space]\ndrop = { low = 0.5, high = 0.1 }", "[space]: drop: low = 0.5 lies above high = 0.1"),
    "log from zero": ("[space]\ndrop = { low = 0.0, high = 0.1, log = true }", "a log range begins above zero"),
    "outside the field's range": (
        "[space]\ndrop = { low = 0.0, high = 1.5 }",
        "drop = 1.5 is outside its range 0 .. 0.95",
    ),
    "half a range": ("[space]\ndrop = { low = 0.1 }", "drop: high is missing"),
    "no range at all": ("[space]\ndrop = { default = 0.1 }", "drop needs either choices, or low and high"),
    "range and choices": (
        "[space]\ndrop = { low = 0.0, choices = [0.1] }",
        "drop needs either choices, or low and high",
    ),
    "range of names": ("[space]\n'optimizer.name' = { low = 1, high = 2 }", "this field takes names: give choices"),
    "choice of the wrong type": ("[space]\nbatch_size = [16, '32']", "batch_size takes a number, not '32'"),
    "fraction of a whole number": ("[space]\nbatch_size = [16, 24.5]", "batch_size takes a whole number, not 24.5"),
    "truth value": ("[space]\ndrop = { low = false, high = 0.5 }", "drop takes a number, not False"),
    "the same choice twice": ("[space]\ndrop = [0, 0.0, 0.1]", "choices holds 0.0 more than once"),
    "no choices": ("[space]\ndrop = []", "choices is a list of at least one value"),
    "step that does not fit": ("[space]\ndrop = { low = 0.0, high = 0.5, step = 0.2 }", "step = 0.2 does not divide"),
    "step of nothing": ("[space]\ndrop = { low = 0.0, high = 0.5, step = 0 }", "step = 0.0 does not divide"),
    "step on a log range": ("[space]\ndrop = { low = 0.1, high = 0.5, step = 0.1, log = true }", "takes no step"),
    "one value": ("[space]\ndrop = 0.2", "drop = 0.2 is one value: fix it in [recipe], or give"),
    "default outside": (
        "[space]\ndrop = { low = 0.1, high = 0.5, default = 0.6 }",
        "default = 0.6 is not among 0.1 .. 0.5",
    ),
    "recipe outside": (
        "[recipe]\ndrop = 0.6\n[space]\ndrop = { low = 0.1, high = 0.5 }",
        "drop = 0.6 is not among what [space] gives: 0.1 .. 0.5",
    ),
    "sampled length": (
        "[space]\nepochs = [4, 8]",
        "epochs cannot be sampled: trials of different length cannot be compared",
    ),
    "condition on nothing": (
        "[space]\ndrop = { low = 0.0, high = 0.5, when = { 'augment.mix' = 'mixup' } }",
        "drop: when augment.mix: augment.mix is neither sampled nor fixed in [recipe]",
    ),
    "condition on an unknown field": (
        "[space]\ndrop = { low = 0.0, high = 0.5, when = { 'augment.mixx' = 'mixup' } }",
        "when: there is no augmentation 'augment.mixx'; did you mean augment.mix",
    ),
    "condition that never holds": (
        "[space]\n'optimizer.name' = ['adamw', 'adam']\n"
        "drop = { low = 0.0, high = 0.5, when = { 'optimizer.name' = 'sgd' } }",
        "when optimizer.name = sgd: never the case, optimizer.name is one of adamw, adam",
    ),
    "family that never occurs": (
        "[space]\nbackbone = ['resnet18', 'resnet34']\n"
        "drop = { low = 0.0, high = 0.5, when = { family = 'transformer' } }",
        "when backbone.family = transformer: never the case, backbone.family is one of cnn",
    ),
    "unknown family": (
        "[recipe]\nbackbone = 'resnet18'\n"
        "[space]\ndrop = { low = 0.0, high = 0.5, when = { 'backbone.family' = 'transformers' } }",
        "there is no backbone family 'transformers'; did you mean transformer",
    ),
    "backbone and family at odds": (
        "[space]\nbackbone = ['resnet18', 'vit_tiny_patch16_224']\n"
        "drop = { low = 0.0, high = 0.5, when = { backbone = 'resnet18', family = 'transformer' } }",
        "never active: none of these backbones is of family transformer",
    ),
    "condition on a continuous range": (
        "[space]\n'optimizer.lr' = { low = 0.1, high = 1.0 }\n"
        "drop = { low = 0.0, high = 0.5, when = { 'optimizer.lr' = 0.5 } }",
        "optimizer.lr is a continuous range; conditions need choices",
    ),
    "circle": (
        "[space]\n'optimizer.name' = { choices = ['adamw'], when = { 'augment.mix' = 'none' } }\n"
        "'augment.mix' = { choices = ['none'], when = { 'optimizer.name' = 'adamw' } }",
        "the conditions go round in a circle: optimizer.name -> augment.mix -> optimizer.name",
    ),
    "condition on itself": (
        "[space]\ndrop = { choices = [0.1], when = { drop = 0.1 } }",
        "the conditions go round in a circle: drop -> drop",
    ),
    "branches that overlap": (
        "[space]\n'optimizer.name' = ['adamw', 'adam', 'sgd']\ndrop = [\n"
        "{ low = 0.0, high = 0.1, when = { 'optimizer.name' = ['adamw', 'sgd'] } },\n"
        "{ low = 0.1, high = 0.2, when = { 'optimizer.name' = ['adam', 'sgd'] } }]",
        "0.0 .. 0.1 (optimizer.name = adamw or sgd) and 0.1 .. 0.2 (optimizer.name = adam or sgd) overlap",
    ),
    "branches without conditions": (
        "[space]\ndrop = [{ low = 0.0, high = 0.1 }, { low = 0.1, high = 0.2 }]",
        "0.0 .. 0.1 (always) and 0.1 .. 0.2 (always) overlap",
    ),
    "a backbone and its family": (
        "[space]\nbackbone = ['resnet18', 'vit_tiny_patch16_224']\ndrop = [\n"
        "{ low = 0.0, high = 0.1, when = { backbone = 'resnet18' } },\n"
        "{ low = 0.1, high = 0.2, when = { family = 'cnn' } }]",
        "overlap",
    ),
    "choices and tables mixed": ("[space]\ndrop = [0.1, { low = 0.1, high = 0.2 }]", "mixes choices and tables"),
    "a key given twice": (
        "[recipe]\n'optimizer.lr' = 0.1\n[recipe.optimizer]\nlr = 0.2",
        "optimizer.lr is given twice",
    ),
    "address of a hub": ("[recipe]\nbackbone = 'hf-hub:someone/model'", "give the name of a timm model"),
    "path of a model": ("[space]\nbackbone = ['../../model']", "give the name of a timm model"),
    "range of truth values": (
        "[space]\nfreeze_embed = { low = 0, high = 1 }",
        "freeze_embed: this field takes true and false: give choices",
    ),
    "number for a truth value": ("[space]\nfreeze_embed = [0, 1]", "freeze_embed is true or false, not 0"),
    "table for a truth value": ("[recipe]\nfreeze_embed = { a = 1 }", "freeze_embed is true or false, not {'a': 1}"),
    "path of a checkpoint": ("[recipe]\ninit = '../other'", "init cannot be '../other'"),
    "off beside choices": (
        "[space]\ndrop = { choices = [0.1, 0.2], off = 0.0 }",
        "drop: there is no key 'off'; valid: choices, default, when, name",
    ),
    "off of another type": ("[space]\ndrop = { low = 0.1, high = 0.2, off = 'none' }", "off: drop takes a number"),
    "off outside the field's range": (
        "[space]\ndrop = { low = 0.1, high = 0.2, off = -1 }",
        "off: drop = -1 is outside its range 0 .. 0.95",
    ),
    "default neither off nor on": (
        "[space]\ndrop = { low = 0.1, high = 0.2, off = 0.0, default = 0.05 }",
        "default = 0.05 is not among 0.1 .. 0.2, or off (0.0)",
    ),
    "condition on a range that can be off": (
        "[space]\n'optimizer.weight_decay' = { low = 0.1, high = 1.0, off = 0.0 }\n"
        "drop = { low = 0.0, high = 0.5, when = { 'optimizer.weight_decay' = 0.0 } }",
        "optimizer.weight_decay is a continuous range; conditions need choices",
    ),
    "two parameters of one name": (
        "[space]\ndrop = [\n{ low = 0.1, high = 0.2, off = 0.0, name = 'drop@a', when = { family = 'cnn' } },\n"
        "{ low = 0.1, high = 0.2, name = 'drop@a.on', when = { family = 'transformer' } }]\n"
        "backbone = ['resnet18', 'vit_tiny_patch16_224']",
        "drop@a.on is the name of 2 parameters",
    ),
    "pattern that fits nothing": (
        "[space]\nbackbone = ['resnet18', 'resnet34']\ndrop = { low = 0.0, high = 0.5, when = { backbone = 'vit*' } }",
        "when backbone = vit*: never the case, backbone is one of resnet18, resnet34",
    ),
    "patterns that overlap": (
        "[space]\nbackbone = ['resnet18', 'resnet34', 'vit_tiny_patch16_224']\ndrop = [\n"
        "{ low = 0.0, high = 0.1, when = { backbone = 'resnet*' } },\n"
        "{ low = 0.1, high = 0.2, when = { backbone = '!resnet18' } }]",
        "0.0 .. 0.1 (backbone = resnet*) and 0.1 .. 0.2 (backbone = not resnet18) overlap",
    ),
    "pattern that is none": (
        "[space]\nbackbone = ['resnet18', 'resnet34']\ndrop = { low = 0.0, high = 0.5, when = { backbone = '!../*' } }",
        "'!../*' is no pattern over timm's names, such as 'convnext*' or '!convnext*'",
    ),
    "pattern and family at odds": (
        "[space]\nbackbone = ['resnet18', 'vit_tiny_patch16_224']\n"
        "drop = { low = 0.0, high = 0.5, when = { backbone = 'res*', family = 'transformer' } }",
        "never active: none of these backbones is of family transformer",
    ),
    "a name where a filter is": (
        "[space]\nbackbone = { match = ['resnet18.*'] }\n"
        "drop = { low = 0.0, high = 0.5, when = { backbone = 'resnet18.a1_in1k' } }",
        "use family, or patterns such as convnext*",
    ),
    "unknown key of a filter": (
        "[space]\nbackbone = { match = ['resnet*'], max_param = 5 }",
        "there is no key 'max_param'; did you mean max_params",
    ),
    "unknown family of a filter": ("[space]\nbackbone = { family = 'cn' }", "there is no backbone family 'cn'; did"),
    "no family of a filter": ("[space]\nbackbone = { family = [] }", "family is a list of families such as 'cnn'"),
    "bound of a filter": (
        "[space]\nbackbone = { max_params = 'many' }",
        "max_params is a number of millions up to 1,000,000, not 'many'",
    ),
    "bounds of a filter crossed": (
        "[space]\nbackbone = { min_size = 300, max_size = 200 }",
        "min_size = 300 lies above max_size = 200",
    ),
    "truth value of a filter": (
        "[space]\nbackbone = { one_per_architecture = 'yes' }",
        "one_per_architecture is true or false, not 'yes'",
    ),
    "bounds on another field": ("[space]\ndrop = { max_params = 5 }", "max_params describes backbones; this field"),
    "filter on another field": ("[space]\n'optimizer.name' = { match = ['adam*'] }", "match describes backbones"),
    "too many folds": ("[protocol]\nfolds = 1", "folds = 1 is outside its range 2 .. 50"),
    "fraction of a fold": ("[protocol]\nfolds = 2.5", "folds takes a whole number"),
    "truth value as text": ("[final]\ntta = 'yes'", "tta is true or false, not 'yes'"),
    "number beyond all bounds": (f"[recipe]\ndrop = 1{'0' * 400}", "is outside its range 0 .. 0.95"),
    "endless number": ("[recipe]\ndrop = inf", "drop = inf is outside its range 0 .. 0.95"),
    "date": ("[recipe]\ndrop = 2020-01-01", "drop takes a number, not datetime.date"),
    "line break in a name": ('[data]\nid_column = "a\\n"', "id_column takes up to 200 printable characters"),
    "table as a value": ("recipe = 3", "recipe is a table, [recipe], not 3"),
    "list as a value": ("[recipe]\ndrop = [0.1]", "drop takes a number, not [0.1]"),
    "title of a number": ("title = 3", "title takes up to 200 printable characters, not 3"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_error_names_the_valid_values(mistake: str, refused: Refused) -> None:
    text, expected = MISTAKES[mistake]
    problems = refused(text)
    assert len(problems) == 1
    assert "mine.toml" in problems[0]
    assert expected in problems[0]


def test_all_problems_are_listed_at_once(refused: Refused) -> None:
    problems = refused(
        """
        title = "many"
        colour = 3
        [protocol]
        metric = "acc"
        folds = 0
        [recipe]
        drop = 7
        [space]
        "optimizer.name" = ["adamv"]
        "optimizer.lr" = { low = 1, high = 0.1 }
        epochs = [1, 2]
        [search]
        trials = "many"
        """
    )
    keys = ("colour", "metric", "folds", "drop", "optimizer.name", "optimizer.lr", "epochs", "trials")
    assert len(problems) == len(keys)
    assert all(any(key in problem for problem in problems) for key in keys)
    assert str(StudyError(*problems)).startswith("8 problems\n")


def test_a_long_list_of_problems_is_cut(refused: Refused) -> None:
    problems = refused("[recipe]\n" + "\n".join(f"key{i} = {i}" for i in range(100)))
    assert len(problems) == 100
    assert str(StudyError(*problems)).endswith("and 80 more")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[protocol\nfolds = 3", "line 1, column"),
        ("[protocol]\nfolds = 3\nfolds = 4", "line 3, the last: not valid TOML: Cannot overwrite"),
        ("title = 'x'\ntitle2 = 'no end", "line 2"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "9" * 100_000, "not valid TOML"),
        ("[" + "k" * 10_000 + "]\n" + "[" + "k" * 10_000 + "]", "line 2, column"),
    ],
)
def test_text_that_is_no_toml_is_refused_with_its_line(text: str, place: str, refused: Refused) -> None:
    (problem,) = refused(text)
    assert "mine.toml" in problem
    assert place in problem
    assert len(problem) < 500


def test_keys_and_values_of_any_size_give_short_messages(refused: Refused) -> None:
    deep = "x = " + "{ a = " * 40 + "1" + " }" * 40
    problems = refused(
        f"[recipe]\n{'k' * 10_000} = 1\ndrop = '{'v' * 10_000}'\n[space]\n{deep}\ndrop_path = {{ {deep} }}"
    )
    assert len(problems) == 5
    assert all(len(problem) < 600 for problem in problems)


def test_a_file_that_cannot_be_a_study_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    large.write_text("# " + "x" * 300_000)
    latin = tmp_path / "latin.toml"
    latin.write_bytes("title = 'x'\n# caf\u00e9".encode("latin-1"))
    for path, expected in [
        (large, "larger than 256 KiB"),
        (latin, "latin.toml, line 2: not UTF-8"),
        (tmp_path / "missing.toml", "missing.toml does not exist"),
        (tmp_path / "fulll.toml", "given by name; did you mean full?"),
    ]:
        with pytest.raises(StudyError, match="toml") as caught:
            load_study(path)
        assert expected in str(caught.value)
    with pytest.raises(StudyError, match="is a folder"):
        load_study(f"{tmp_path}/")


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyError, match=r"there is no study 'quickstrat'; did you mean quickstart\?"):
        load_study("quickstrat")
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("")
    with pytest.raises(StudyError, match=r"there is no study 'mine', but a file mine.toml here"):
        load_study("mine")
    assert load_study("./mine.toml").title == "mine"


def test_windows_files_are_read(load: Callable[..., StudySpec], tmp_path: Path) -> None:
    (tmp_path / "windows.toml").write_bytes(b"\xef\xbb\xbftitle = 'saved by an editor'\r\n[protocol]\r\nfolds = 4\r\n")
    assert load_study(tmp_path / "windows.toml").protocol.folds == 4
