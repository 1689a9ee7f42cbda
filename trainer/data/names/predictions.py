"""Names of tables and columns that hold what a network has predicted, not labels."""

from __future__ import annotations

import re
from itertools import pairwise

from trainer.formats.part_words import without_accents

_TABLES = re.compile(r"(?:^|[^a-z])(?:pred(?:s|ict(?:ions?|ed)?)?|oof|inference|outputs?)(?:[^a-z]|$)")
_WORD = re.compile(
    r"y?pred(?:s|ict(?:s|ed|ions?)?)?(?:label|class|target|category|species|y)?s?|argmax|yhat|pseudo|pseudolabels?"
    r"|inferred|guess(?:es)?|guessed|vorhersagen?|vorhergesagte?[rs]?|prognosen?|prognostiziert|prediccion(?:es)?|predicho|predite?"
    r"|predizion[ei]|predett[oa]|previs[at]o|previsto|predicao|predicoes|voorspelling(?:en)?|voorspeld"
    r"|予測\w*|推論\w*|预测\w*|預測\w*|예측\w*|предсказан\w*|прогноз"
)
"""A word in the name of a column of predictions, without accents."""
_NETWORKS = frozenset(("model", "network", "net", "cnn", "nn", "classifier", "modell", "netz"))
_ANSWERS = frozenset(("output", "outputs", "answer", "answers", "result", "results", "label", "says"))
"""Words that mean predictions beside one of `_NETWORKS`."""
_CERTAINTIES = frozenset((
    "score", "scores", "confidence", "conf", "probability", "prob", "proba", "certainty", "softmax", "logit",
))  # fmt: skip
_TARGETS = "predictionstring"  # of Kaggle's tables of training labels: the class before the boxes


def is_table_of_predictions(stem: str) -> bool:
    """Whether a table holds predictions by its name: ``preds``, ``oof_predictions``."""
    return _TABLES.search(stem.lower()) is not None


def is_column_of_predictions(name: str) -> bool:
    """Whether a column holds predictions by its name: ``predicted_label``, ``y_pred``, ``top1``, ``Vorhersage``."""
    words = _words(name)
    if "".join(words) == _TARGETS:
        return False
    if not _ANSWERS.isdisjoint(words) and not _NETWORKS.isdisjoint(words):
        return True
    first = ("top", "1") in pairwise(words) or "top1" in words
    hat = ("y", "hat") in pairwise(words)
    return first or hat or any(_WORD.fullmatch(word.rstrip("0123456789")) for word in words)


def states_certainty(name: str) -> bool:
    """Whether a column holds by its name how sure an answer is: ``score``, ``confidence``."""
    return not _CERTAINTIES.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    """The words of a column's name in lower case and without accents, with their digits."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", without_accents(name))
    return list(filter(None, re.split(r"[\W_]+", parted.lower())))
