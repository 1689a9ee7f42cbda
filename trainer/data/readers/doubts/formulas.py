"""Ids and class names that a spreadsheet takes for a formula.

Source: OWASP, CSV Injection. Submissions need exact ids, so the tables hold them unchanged; the user is warned.
"""

from __future__ import annotations

from collections.abc import Iterable

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may compute ``text`` when it opens a CSV file. Numbers such as -1 are no formulas."""
    if not text.startswith(_STARTS):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def formula_warnings(ids: Iterable[str], class_names: Iterable[str]) -> list[str]:
    """One sentence about the ids and one about the class names that look like formulas."""
    warnings = []
    for what, names in (("image ids", ids), ("class names", class_names)):
        found = [name for name in dict.fromkeys(names) if is_formula(name)]
        if found:
            example = found[0] if len(found[0]) <= 40 else f"{found[0][:39]}…"
            warnings.append(
                f"{len(found)} {what} look like formulas, such as {example!r}: a spreadsheet may compute or run them. "
                "Open the exported tables as text; they hold the exact names, because submissions need that"
            )
    return warnings
