"""The whole page: its values, its safety, its accessibility, its size; for studies of every kind."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from search.page.facts import read_facts
from search.page.gallery.contents import MOST_PICTURES, SIDE, write_gallery
from search.page.render import page_of, render
from search.runtime.home import Home
from search.study_state.study import read_study
from storage.stores import Stores
from storage.values import TrialStatus
from tests.databases import DIALECTS
from tests.search.page.gallery.stored import gallery_of, jpeg, picture, record_export
from tests.search.page.html_reader import Element, read_html, section
from tests.search.page.made_up import end_badly, end_trials, lay_study, noisy
from trainer.evaluation.metrics import metrics_for

ONE_LABEL = metrics_for(several_labels=False)

HOSTILE = (
    "<script>alert(1)</script>",
    "a" * 300,
    "abc\u202egpj.exe",
    "猫 ねこ",
    "\"onload='x'{{7*7}}",
    "line\nbreak\x07",
    "&lt;b&gt;",
)


def page(stores: Stores, name: str = "made_up") -> str:
    return render(page_of(read_facts(stores, name)))


def document(stores: Stores, name: str = "made_up") -> Element:
    return read_html(page(stores, name))


def colours(stores: Stores, folder: Path, trials: int, *, probes: int = 0, **options: object) -> None:
    """A study of red, green and blue whose later trials are better."""
    study = lay_study(stores, folder, budget=trials or 3, **options)  # type: ignore[arg-type]
    dataset = stores.datasets.get(study.fingerprint)
    classes = len(dataset.class_names)
    end_trials(
        stores, study, trials, lambda i, _: noisy(dataset.y, classes, min(0.95, 0.6 + 0.02 * i), i), probes=probes
    )


def test_the_page_loads_nothing_and_runs_nothing(stores: Stores, tmp_path: Path) -> None:
    colours(stores, tmp_path, 12, probes=2)
    html = page(stores)
    root = read_html(html)
    (policy,) = [m for m in root.all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {"script", "link", "iframe", "object", "embed", "img", "form"} & tags(root)
    (style,) = root.all("style")
    values = [value for found in all_attributes(root).values() for value in found]
    assert not [text for text in (style.text, *values) if re.search(r"//|@import|url\(", text)]
    links = [a.attributes["href"] for a in root.all("a")]
    assert links and all(link.startswith("#") for link in links)
    assert not [name for name in all_attributes(root) if name.startswith("on") or name == "src"]


def test_the_page_can_be_read_by_machines(stores: Stores, tmp_path: Path) -> None:
    colours(stores, tmp_path, 12, probes=2)
    root = document(stores)
    assert root.all("html")[0].attributes["lang"] == "en"
    assert [len(root.all(tag)) for tag in ("h1", "header", "nav", "main", "footer", "title")][:5] == [1] * 5
    ids = all_attributes(root)["id"]
    assert len(ids) == len(set(ids))
    assert {a.attributes["href"][1:] for a in root.all("a")} == {s.attributes["id"] for s in root.all("section")}
    assert all(i in ids for i in all_attributes(root)["aria-labelledby"])
    pictures = root.all("svg")
    assert len(pictures) >= 6
    for drawing in pictures:
        assert drawing.attributes["role"] == "img" and drawing.attributes["aria-label"]
        assert isinstance(drawing.children[1], Element) and drawing.children[1].tag == "title"
    assert all(figure.all("figcaption")[0].text.endswith(".") for figure in root.all("figure"))
    scrolling = [div for div in root.all("div") if div.attributes.get("class") == "scroll"]
    assert scrolling and all(d.attributes["tabindex"] == "0" and d.attributes["aria-label"] for d in scrolling)
    assert all(cell.attributes.get("scope") in ("col", "row") for cell in root.all("th"))


def test_a_leader_without_the_highest_score_is_told_from_it(stores: Stores, tmp_path: Path) -> None:
    colours(stores, tmp_path, 12, probes=2)
    highest, leader = (candidate.number for candidate in read_facts(stores, "made_up").snapshot.ranking[:2])
    with stores.database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE retable_trial SET brier = 0.0 WHERE number = {leader}")
    summary = section(document(stores), "history").text
    assert re.search(rf"In the lead, with the Brier score: accuracy 0\.\d+ ± 0\.\d+ \(trial {leader}\)", summary)
    assert re.search(rf"trial {highest} has the highest accuracy, 0\.\d+\. ", summary) and "Best seen" not in summary


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_the_values_are_the_stored_ones(stores: Stores, tmp_path: Path) -> None:
    colours(stores, tmp_path, 12, probes=2)
    facts = read_facts(stores, "made_up")
    best = facts.snapshot.ranking[0]
    root = document(stores)
    shown = f"accuracy {best.value:.4f} ± {best.standard_error:.4f}"
    assert shown in section(root, "answer").text
    assert f"Best seen: {shown} (trial {best.number})." in section(root, "history").text
    header, *rows = section(root, "history").all("table")[0].rows()
    assert header[:3] == ["trial", "status", "accuracy"]
    assert [row[2] for row in rows] == [f"{r.value:.4f} ± {r.value_se:.4f}" for r in facts.finished]
    assert [row[0] for row in rows][:3] == ["probe 0", "probe 1", "trial 2"]
    assert "search start --study made_up" in section(root, "answer").text
    assert facts.study.fingerprint in section(root, "reproduce").text
    assert f"search replay {best.number} --study made_up" in section(root, "reproduce").text


def test_the_most_frequent_confusion_is_the_one_put_in(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, names=["ape", "bee", "cat", "dog"])
    y = stores.datasets.get(study.fingerprint).y
    predicted = y.copy()
    predicted[np.flatnonzero(y == 3)[:9]] = 0
    predicted[np.flatnonzero(y == 1)[:2]] = 2
    proba = (0.9 * np.eye(4)[predicted] + 0.025).astype(np.float32)
    end_trials(stores, study, 1, lambda number, recipe: proba)
    errors = section(document(stores), "errors")
    assert "The weakest class is dog: F1 0.710, recall 55%. Its images are taken for ape (9)." in errors.text
    assert "taken for ape (9). 9 of its labels may be wrong" in errors.text
    assert [item.text for item in errors.all("li")] == [
        "dog is taken for ape: 9 of 20 images (45%)",
        "bee is taken for cat: 2 of 20 images (10%)",
        "ape, dog",
    ]
    assert "9 of 11 errors lie within these groups (82%)." in errors.text
    assert f"--two-stage-from {study.name}" in errors.text
    worst = errors.all("table")[0].rows()[1]
    assert worst == ["dog", "0.710", "ape (9)", "-", "55%", "100%", "20", "9"]
    names, *counts = errors.all("table")[1].rows()
    cells = {(row[0], name): int(count) for row in counts for name, count in zip(names[1:], row[1:], strict=True)}
    assert cells["dog", "ape"] == 9 and cells["bee", "cat"] == 2 and cells["dog", "dog"] == 11
    order = names[1:]
    assert abs(order.index("dog") - order.index("ape")) == 1, "confused classes are neighbours"
    suspects = section(document(stores), "data").all("table")[-1].rows()
    assert ["dog (3%)", "ape (93%)"] in [row[1:] for row in suspects]


def test_hostile_names_are_shown_and_do_nothing(stores: Stores, tmp_path: Path) -> None:
    colours(stores, tmp_path, 12, names=HOSTILE, metric="log_loss")
    html = page(stores)
    root = read_html(html)
    assert "<script" not in html and "{{" in html and "49" not in root.all("bdi")[0].text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", html)
    classes = section(root, "data").all("table")[0]
    shown = {row[0] for row in classes.rows()[1:]}
    assert shown == {
        "<script>alert(1)</script>",
        "a" * 300,
        "abc\\u202egpj.exe",
        "猫 ねこ",
        "\"onload='x'{{7*7}}",
        "line\\nbreak\\x07",
        "&lt;b&gt;",
    }
    for cell in classes.all("th")[2:]:
        assert [child.tag for child in cell.children if isinstance(child, Element)] == ["bdi"]


@pytest.mark.parametrize("metric", sorted(ONE_LABEL))
@pytest.mark.parametrize("trials", [1, 2])
def test_every_metric_and_few_trials(stores: Stores, tmp_path: Path, metric: str, trials: int) -> None:
    colours(stores, tmp_path, trials, metric=metric, test_images=0)
    facts = read_facts(stores, "made_up")
    values = {r.number: r.value for r in facts.finished}
    best = facts.snapshot.ranking[0].number
    root = document(stores)
    assert f"trial {best}" in section(root, "answer").text
    if metric in ("log_loss", "roc_auc"):
        assert values[best] == max(values.values()), "higher is better"
    assert "Which settings matter shows from 10 finished trials on" in section(root, "settings").text
    assert "There are no test images." in section(root, "data").text


def test_a_study_that_has_not_begun(stores: Stores, tmp_path: Path) -> None:
    lay_study(stores, tmp_path)
    root = document(stores)
    assert "No trial has finished yet" in section(root, "answer").text
    sections = [s.attributes["id"] for s in root.all("section")]
    assert sections == ["answer", "history", "settings", "map", "data", "reproduce"]
    assert all(s.text.partition("?")[2] or s.text for s in root.all("section"))


def test_trials_that_ended_badly(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=5)
    end_badly(stores, study, TrialStatus.PRUNED)
    end_badly(stores, study, TrialStatus.FAILED)
    rows = section(document(stores), "history").all("table")[0].rows()
    assert [row[1] for row in rows[1:]] == ["pruned", "failed"]


def test_probes_only(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=0)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 0, lambda i, _: noisy(y, 3, 0.6 + 0.1 * i, i), probes=3)
    root = document(stores)
    assert "settings" not in [s.attributes["id"] for s in root.all("section")]
    assert "nothing is fine-tuned yet" in section(root, "backbones").text
    assert [row[1] for row in section(root, "backbones").all("table")[0].rows()[1:]] == ["64", "48", "32"]


def test_a_hundred_classes(stores: Stores, tmp_path: Path) -> None:
    colours(stores, tmp_path, 2, names=[f"品種{i}" for i in range(100)], per_class=4)
    errors = section(document(stores), "errors")
    names = errors.all("table")[2].rows()[0]
    assert 2 <= len(names) - 1 <= 20, "the matrix shows the most confused classes alone"
    assert [len(table.rows()) - 1 for table in errors.all("table")[:2]] == [20, 80]


@pytest.mark.slow
def test_hundreds_of_trials_and_a_full_gallery_stay_small(stores: Stores, tmp_path: Path) -> None:
    colours(stores, tmp_path, 300, per_class=MOST_PICTURES)
    study, home = read_study(stores, "made_up"), Home(root=tmp_path / "home")
    record_export(stores, study)
    heavy = jpeg(size=(SIDE, SIDE))  # noise: no photograph takes more bytes
    pictures = [picture(3 * i, 0, 1, jpeg=heavy, map=heavy) for i in range(MOST_PICTURES)]
    write_gallery(stores, home, study.name, gallery_of(study, *pictures))
    html = render(page_of(read_facts(stores, "made_up", home=home)))
    assert len(read_html(html).all("img")) == 2 * MOST_PICTURES
    assert len(html.encode()) < 4_500_000
    assert len(section(read_html(html), "history").all("table")[0].rows()) == 301


def tags(root: Element) -> set[str]:
    inner = [tags(child) for child in root.children if isinstance(child, Element)]
    return {root.tag}.union(*inner)


def all_attributes(root: Element) -> dict[str, list[str]]:
    """Values of all attributes by name."""
    found: dict[str, list[str]] = {}
    for name, value in root.attributes.items():
        found.setdefault(name, []).append(value)
    for child in root.children:
        if isinstance(child, Element):
            for name, values in all_attributes(child).items():
                found.setdefault(name, []).extend(values)
    return found
