"""Warnings about columns that may say which images to leave out, such as ``exclude``, and that no reader uses."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from trainer.common.errors import listed
from trainer.data.readers.columns.label_names import plain_name
from trainer.formats.part_words import without_accents

_MARKS = frozenset((
    "exclude", "excluded", "exclusion", "ignore", "ignored", "skip", "skipped", "drop", "dropped", "discard",
    "discarded", "remove", "removed", "delete", "deleted", "reject", "rejected", "bad", "broken", "corrupt",
    "corrupted", "blurry", "unusable", "ungradable", "invalid", "duplicate", "duplicated", "outlier",
    "use", "usable", "keep", "include", "included", "good", "ok", "gradable", "approved", "accepted", "verified",
    "low_quality", "bad_quality", "poor_quality", "to_remove", "to_exclude", "to_delete", "do_not_use",
    "status", "review_status", "answer", "qc", "qc_passed", "passed", "quality", "image_quality", "label_ok", "correct",
    "wrong", "mislabeled", "mislabelled", "flagged", "confirmed", "checked", "used", "active", "consent",
    "wrong_label", "label_wrong", "bad_label", "incorrect", "noisy", "label_noise", "noisy_label", "uncertain",
    "label_uncertain", "uncertain_label", "label_error", "to_check", "needs_review", "review", "reviewed",
    "synthetic", "generated", "augmented", "fake_image", "ausgeschlossen", "einschluss", "eingeschlossen",
    "ungeeignet", "geeignet", "brauchbar", "unbrauchbar", "unscharf", "fehlerhaft", "excluido", "excluir",
    "incluido", "exclu", "exclure", "inclus", "escluso", "uitgesloten",
    "unsure", "deleted_at", "removed_at", "verwenden", "ausschliessen", "ausschlie\u00dfen", "ausschluss",
    "g\u00fcltig", "\u9664\u5916", "\u6709\u52b9",
    "falsch", "falsches_label", "richtig", "korrekt", "ungultig", "unsicher", "fraglich", "zweifelhaft", "gepruft",
    "geprueft", "loschen", "loeschen", "ignorieren", "doppelt", "schlecht", "gut", "nicht_verwenden",
    "faux", "fausse", "juste", "incertain", "verifie", "a_verifier", "douteux", "supprimer", "ignorer", "doublon",
    "flou", "mauvais", "incorrecto", "incorrecta", "erroneo", "erronea", "equivocado", "dudoso", "dudosa", "verificado",
    "revisado", "eliminar", "borrar", "duplicado", "borroso", "malo", "errado", "errada", "incorreto", "duvidoso",
    "conferido", "apagar", "remover", "borrado", "sbagliato", "sbagliata", "errato", "dubbio", "verificato",
    "eliminare", "escludere", "sfocato", "fout", "verkeerd", "onjuist", "twijfel", "twijfelachtig", "onzeker",
    "gecontroleerd", "verwijderen", "wazig", "uitsluiten",
    "誤り", "間違い", "誤ラベル", "要確認", "確認済み", "確認済", "不確か", "無効", "使用しない", "削除", "重複",
    "错误", "错误标签", "有误", "待确认", "已确认", "不确定", "无效", "删除", "重复", "排除",
))  # fmt: skip
"""Names of such columns, without a beginning ``is_``."""
_REASONS = re.compile(
    r"(?:exclu\w*|reject\w*|remov\w*|discard\w*|drop\w*|quality|ausschluss)_?(?:reason|because|why|grund|comment)"
    r"|(?:reason|grund)_(?:for|of|der|des)_(?:exclu|reject|remov|discard)\w*|ausschlussgrund"
    r"|(?:is_)?(?:duplicate|dup|copy|augmentation|duplikat|kopie)_(?:of|from|von)"
)
"""Names of columns whose filled cells say why, or of which other image, a row is one to leave out."""
_MOST_VALUES = 3  # yes, no, and an empty cell


def unused_marks(
    where: str, names: Sequence[str], rows: Sequence[Sequence[str]], taken: Collection[int | None]
) -> list[str]:
    """A warning for each column that may mark images to leave out by its name, and whose values differ.

    Args:
        where: name of the table.
        names: of its columns.
        rows: without the header.
        taken: columns that have another use.
    """
    warnings = []
    for column, name in enumerate(names):
        own = plain_name(name).rstrip("?\uff1f!_ ")  # Falsch?
        plain = without_accents(own)
        gives_reason = _REASONS.fullmatch(plain) is not None
        known = {own.removeprefix("is_"), plain.removeprefix("is_")}
        if column in taken or not (gives_reason or known & _MARKS):
            continue
        values = {row[column].strip() for row in rows}
        is_partial = "" in values and (gives_reason or plain.endswith("_at"))
        if 1 < len(values) <= _MOST_VALUES or (is_partial and len(values) > 1):
            warnings.append(
                f"{where}: the column {name!r} ({listed(sorted(values), 4)}) is not used, and the images of all its "
                "rows are; if it says which images to leave out, remove their rows"
            )
    return warnings
