"""Every command and option that a message names exists, and following the advice works."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from rich.console import Console
from typer.models import ArgumentInfo, OptionInfo
from typer.testing import CliRunner

from search.cli.app import COMMANDS, app
from search.runtime.commands import TAKE_HOME, TAKE_STORAGE, complete, completed, remember_home, remember_storage
from search.runtime.console import say
from search.study_setup.create_study import StudyPlan, create_study
from search.study_setup.data_folder import inspect as inspect_folder
from search.study_setup.prepare import StartRequest, prepare
from storage.errors import StorageError
from storage.stores import Stores, open_stores
from studies.errors import StudyError
from studies.load_study import load_study
from studies.settings import SECTIONS, setting_names
from studies.space.backbone_filter import FILTER_KEYS
from tests.search.small_study import STUDY, write_competition
from trainer.recipe.recipe import FIELDS

ROOT = Path(__file__).parents[3]
PACKAGES = ("search", "studies", "trainer", "storage")
VALUE = "7"  # in place of a value that the code fills in
FOREIGN = {"--force-reinstall", "--batch-size"}
"""Options of other programs: pip, and the predict.py of a model folder."""
PATTERNS = "search/runtime/commands.py"
"""Holds a regular expression of commands."""


def messages() -> Iterator[tuple[str, str]]:
    """Place and text of every string in the code but docstrings; `VALUE` stands for what is filled in."""
    for path in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                skipped |= {id(part) for part in node.values}
        for node in ast.walk(tree):
            text = ""
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                text = node.value
            elif isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)
            if text:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def options_of(command: str) -> dict[str, bool]:
    """The options of a command by spelling, and whether each has to be given."""
    function = dict(COMMANDS)[command]
    hints, found = get_type_hints(function, include_extras=True), {}
    for name, parameter in inspect.signature(function).parameters.items():
        info = next((part for part in get_args(hints[name]) if isinstance(part, OptionInfo | ArgumentInfo)), None)
        if isinstance(info, OptionInfo):
            spelled = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
            for spelling in spelled:
                for each in spelling.split("/"):
                    found[each] = parameter.default is inspect.Parameter.empty
    return found


ALL_OPTIONS = {option for command, _ in COMMANDS for option in options_of(command)} | {"--debug", "--help", "--version"}
MESSAGES = list(messages())
ADVISED = [
    (place, command)
    for place, text in MESSAGES
    for command in re.findall(r"`(search [^`]*)`", text)
    if not place.startswith(PATTERNS)
    # The name of the command alone, as a noun: "`search start` on HOST exports it".
    if not re.search(rf"`{re.escape(command)}` on ", text) and not re.search(rf"its `{re.escape(command)}`", text)
]


def test_advice_is_found() -> None:
    assert len(ADVISED) > 30
    assert {"search", "storage"} <= {place.partition("/")[0] for place, _ in ADVISED}


@pytest.mark.parametrize(("place", "command"), ADVISED, ids=[f"{p} {c}" for p, c in ADVISED])
def test_every_advised_command_can_be_typed(place: str, command: str) -> None:
    program, name, *rest = shlex.split(command)
    assert program == "search" and name in dict(COMMANDS)
    known = options_of(name)
    given = [word.partition("=")[0] for word in rest if word.startswith("--")]
    assert set(given) <= set(known), known
    if rest or name in ("start", "preview"):
        assert {option for option, needed in known.items() if needed and option.startswith("--")} <= set(given)


@pytest.mark.parametrize("place", sorted({place for place, text in MESSAGES if re.search(r"(?<![\w-])--[a-z]", text)}))
def test_every_named_option_exists(place: str) -> None:
    for text in (text for at, text in MESSAGES if at == place):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
        assert named <= ALL_OPTIONS | FOREIGN, text


def test_every_advised_setting_exists() -> None:
    valid = {f"recipe.{path}" for path in FIELDS} | {f"space.{path}" for path in FIELDS}
    valid |= {f"space.backbone.{key}" for key in FILTER_KEYS}
    valid |= {f"{table}.{key}" for table in SECTIONS for key in setting_names(table)}
    advised = [
        (place, field) for place, text in MESSAGES for field in re.findall(r"--set ((?:[a-z_]+\.)+[a-z_]+)=?", text)
    ]
    assert len(advised) > 5
    assert [entry for entry in advised if entry[1] not in valid] == []


def test_commands_with_a_storage_are_those_that_are_completed() -> None:
    assert {command for command, _ in COMMANDS if "--storage" in options_of(command)} == TAKE_STORAGE
    assert {command for command, _ in COMMANDS if "--home" in options_of(command)} == TAKE_HOME


def test_commands_name_the_database_that_the_user_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = "`search backbones lite`, `search resume --study a` or `search status --failed`"
    remember_storage("sqlite:///my $studies.db", "sqlite:///retable.db")
    option = " --storage 'sqlite:///my $studies.db'"
    expected = f"`search backbones lite`, `search resume --study a{option}` or `search status --failed{option}`"
    assert complete(text) == complete(complete(text)) == expected
    say(Console(width=300, highlight=False), text)
    assert capsys.readouterr().out == expected + "\n"
    for url in ("sqlite:///retable.db", "postgresql://ann:secret@db/x"):
        remember_storage(url, "sqlite:///retable.db")
        assert complete(text) == text


def test_commands_name_the_home_that_the_user_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETABLE_HOME", raising=False)
    remember_home(Path("my runs"), Path("retable"))
    assert (
        complete("`search status --study a`, `search pause`")
        == "`search status --study a --home 'my runs'`, `search pause`"
    )
    remember_storage("sqlite:///b.db", "sqlite:///retable.db")
    assert completed("search status") == "search status --home 'my runs' --storage sqlite:///b.db"
    assert completed("search predict model IMAGES") == "search predict model IMAGES"
    for home in ("retable", "elsewhere"):
        monkeypatch.setenv("RETABLE_HOME", "elsewhere")
        remember_home(Path(home), Path("retable"))
        assert completed("search status --storage x") == "search status --storage x"


@pytest.fixture
def renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stores, str]]:
    """A study ``mine`` of a file with another name, in a database with another name; and the database's URL."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RETABLE_STORAGE", raising=False)
    (tmp_path / "data").mkdir()
    folder = write_competition(tmp_path / "data")
    (tmp_path / "colours.toml").write_text(STUDY)
    spec = load_study("./colours.toml")
    url = "sqlite:///other 100%.db"
    stores = open_stores(url, create=True)
    plan = StudyPlan(
        name="mine",
        spec=spec,
        file_spec=spec,
        overrides=("search.trials=3",),
        competition=inspect_folder(folder, spec.data.options),
        folder=folder,
    )
    create_study(stores, plan)
    yield stores, url
    stores.database.close()


def request(study: str, url: str, **changes: object) -> StartRequest:
    from search.engines.plan import Workers

    values = dict.fromkeys(StartRequest.__dataclass_fields__) | {
        "study": study,
        "storage_url": url,
        "overrides": [],
        "memory": True,
        "workers": Workers(workers=0, weights=None, home=Path("retable")),
    }
    return StartRequest(**(values | changes))  # type: ignore[arg-type]


def test_a_study_is_continued_by_its_stored_name(renamed: tuple[Stores, str]) -> None:
    stores, url = renamed
    plan = prepare(request("mine", url), Console(quiet=True))
    stored = stores.studies.get("mine")
    assert (plan.name, plan.spec.to_dict(), plan.file_spec.to_dict()) == ("mine", stored.spec, stored.file_spec)
    changed = prepare(request("mine", url, overrides=["search.trials=5"], patience=4), Console(quiet=True))
    assert (changed.spec.search_settings.trials, changed.spec.search_settings.patience) == (5, 4)
    for wrong in (request("yours", url), request("mine", url, name="new"), request("mine", "sqlite:///absent.db")):
        with pytest.raises(StudyError, match="there is no study"):
            prepare(wrong, Console(quiet=True))


def follow(output: str) -> list[str]:
    """Run every command in backticks with the command line; return the commands."""
    commands = [" ".join(command.split()) for command in re.findall(r"`(search [^`]*)`", output)]
    for command in commands:
        _, *arguments = shlex.split(command)
        if arguments[0] in ("start", "worker"):
            continue  # they train: `test_a_study_is_continued_by_its_stored_name` has their first part
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (command, done.output, done.exception)
    return commands


def test_following_the_advice_of_commands_works(renamed: tuple[Stores, str], tmp_path: Path) -> None:
    _, url = renamed
    followed: list[str] = []
    for arguments in (
        ["status"],
        ["pause", "--study", "mine"],
        ["status"],
        ["stop", "--no-export"],
        ["status"],
        ["import", "--list"],
        ["submissions"],
        ["try", "--set", "loss.label_smoothing=0.05"],
        ["retry", "--failed"],
        ["resume"],
        ["studies"],
        ["studies", "mine"],
    ):
        done = CliRunner().invoke(app, [*arguments, "--storage", url], env={"COLUMNS": "300"})
        assert done.exit_code == 0, (arguments, done.output, done.exception)
        output = done.output
        if "--oof FILE" not in output and "export-best" not in output:
            followed += follow(output)
    assert any("resume" in command for command in followed)
    assert any("start --study mine" in command for command in followed)
    assert all(f"--storage {shlex.quote(url)}" in command for command in followed)


def next_commands(output: str) -> list[str]:
    """The commands that an export prints under "Next", without their purposes."""
    _, _, block = output.partition("\nNext\n")
    return [re.split(r"  +", line.strip())[0] for line in block.splitlines() if line.strip().startswith("search ")]


@pytest.mark.slow
def test_the_next_commands_work_as_they_stand_beside_another_study(
    renamed: tuple[Stores, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database, the home and the name of the study are not the defaults, and another study is the latest."""
    stores, url = renamed
    monkeypatch.delenv("RETABLE_HOME", raising=False)
    places = ["--storage", url, "--home", "my home"]
    study = ["start", "--study", "./colours.toml", "--name", "second-best", "--set", "recipe.epochs=1", "--trials", "5"]
    begun = CliRunner().invoke(app, [*study, "--data", "data", *places], env={"COLUMNS": "80"})
    assert begun.exit_code == 0, (begun.output, begun.exception)
    create_study(
        stores,
        StudyPlan(
            name="later",
            spec=load_study("./colours.toml"),
            file_spec=load_study("./colours.toml"),
            overrides=(),
            competition=inspect_folder(tmp_path / "data", load_study("./colours.toml").data.options),
            folder=tmp_path / "data",
        ),
    )
    assert stores.study(None).name == "later"
    commands = next_commands(begun.output)
    names = [shlex.split(command)[1] for command in commands]
    assert names == ["compare", "status", "submissions", "export-best", "predict"]
    before = {name: len(stores.trials.records(stores.studies.get(name).id)) for name in ("mine", "later")}
    for command in commands:
        _, *arguments = shlex.split(command.replace("SCORE", "0.5").replace("IMAGES", "data/test"))
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
        assert done.exit_code == 0, (command, done.output, done.exception)
        if arguments[0] != "predict":
            assert "second-best" in done.output
            assert "later" not in done.output
    study_id = stores.studies.get("second-best").id
    assert stores.exports.all(study_id)[0].public_score == 0.5
    assert [Path(export.folder).parent.name for export in stores.exports.all(study_id)] == ["my home"] * 2
    assert before == {name: len(stores.trials.records(stores.studies.get(name).id)) for name in before}
    assert not (tmp_path / "retable").exists(), "every command kept to the home"


def test_a_missing_database_is_explained_by_a_command_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="search start --study NAME"):
        open_stores("sqlite:///absent.db")
    assert list(tmp_path.iterdir()) == []
