"""Writes the views of all sections as one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.page import text
from search.page.facts import Facts
from search.page.sections.answer import AnswerView, answer
from search.page.sections.backbones import BackbonesView, backbones
from search.page.sections.data import DataView, data
from search.page.sections.errors import ErrorsView, errors
from search.page.sections.finalists import FinalistsView, finalists
from search.page.sections.gallery import GalleryView, gallery
from search.page.sections.history import HistoryView, history
from search.page.sections.label_scores import LabelScoresView, scores_of_labels
from search.page.sections.map import MapView, image_map
from search.page.sections.reproduce import ReproduceView, reproduce
from search.page.sections.settings import SettingsView, settings
from search.page.svg.shapes import FONT, Box, Dot, Label, Line
from search.runtime.output_files import AUTHOR
from trainer.inference.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, kw_only=True)
class Page:
    """The views of all sections. None: a section without content, which is left out."""

    study: str
    title: str
    written: str
    """Time of the report."""
    metric: str
    answer: AnswerView
    history: HistoryView
    finalists: FinalistsView | None
    settings: SettingsView | None
    backbones: BackbonesView | None
    errors: ErrorsView | None
    label_scores: LabelScoresView | None
    gallery: GalleryView | None
    map: MapView
    data: DataView
    reproduce: ReproduceView


def page_of(facts: Facts) -> Page:
    """Compute all views."""
    return Page(
        study=facts.study.name,
        title=facts.study.spec.title,
        written=text.moment(facts.stores.database.now()),
        metric=facts.metric,
        answer=answer(facts),
        history=history(facts),
        finalists=finalists(facts),
        settings=settings(facts),
        backbones=backbones(facts),
        errors=errors(facts),
        label_scores=scores_of_labels(facts),
        gallery=gallery(facts),
        map=image_map(facts),
        data=data(facts),
        reproduce=reproduce(facts),
    )


def render(page: Page) -> str:
    """The HTML of a page. Every text from outside is escaped, its control characters are shown as escapes."""
    return render_template("page.html", page=page)


def render_template(name: str, **values: object) -> str:
    """The HTML of one of the templates, which see ``values``."""
    html: str = _environment().get_template(name).render(author=AUTHOR, **values)
    return html


def _environment() -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("search.page", folder) for folder in ("templates", "labels")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": printable,
        "name": text.name,
        "commands": text.commands,
        "score": text.score,
        "share": text.share,
        "seconds": text.seconds,
        "kind": _kind,
    }
    environment.globals |= {"font": FONT}
    return environment


def _kind(shape: Line | Dot | Box | Label) -> str:
    return type(shape).__name__
