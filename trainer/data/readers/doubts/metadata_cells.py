"""What cells hold that say where, when or how an image was made: dates, times, links, checksums and the like."""

from __future__ import annotations

import re
from collections.abc import Collection

_YEAR = r"(?:19|20)\d\d"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_NAME_OF_MONTH = (
    r"(?:jan|feb|m[aä]r|ma[iy]|a[pv]r|ju[nli]|aug|ao[uû]|ago|sep|set|o[ck]t|out|nov|d[eé][cz]|dic|gen|fev|f[eé]v|abr|ene)"
    r"[a-zéûç]*\.?"
)
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[ap]\.?m\.?)?(?:\s?(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
_DATE = "|".join(
    (
        rf"{_YEAR}([-/._:]){_MONTH}\1{_DAY}",  # 2021-03-01, also as EXIF writes it
        rf"{_DAY}([-/.]){_MONTH}\2(?:{_YEAR}|\d\d)",  # 01.03.2021
        rf"{_MONTH}/{_DAY}/(?:{_YEAR}|\d\d)",  # 03/31/2021
        rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])",  # 20210301
        rf"(?:{_YEAR}|(?:令和|平成|昭和)\d{{1,2}})年{_MONTH}月{_DAY}日",
        rf"{_YEAR}년\s?{_MONTH}월\s?{_DAY}일",
        rf"{_DAY}\.?[ -](?:de )?{_NAME_OF_MONTH}(?:[ ,-]+(?:de )?(?:{_YEAR}|\d\d))",  # 3 March 2021
        rf"{_NAME_OF_MONTH} {_DAY}(?:st|nd|rd|th)?,? {_YEAR}",  # March 3, 2021
    )
)
_KINDS = {
    "dates": re.compile(rf"(?:{_DATE})(?:[T ,_-]*{_TIME})?", re.IGNORECASE),
    "times": re.compile(_TIME, re.IGNORECASE),
    "links": re.compile(r"(?:https?|ftp|s3|gs)://\S+", re.IGNORECASE),
    "checksums": re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE),
    "coordinates": re.compile(r"\(?[+-]?\d{1,3}\.\d{2,}\s*[,;/ ]\s*[+-]?\d{1,3}\.\d{2,}\)?"),
    "addresses of mail": re.compile(r"[^@\s]+@[^@\s]+\.[a-z]{2,}", re.IGNORECASE),
}


def kind_of_cells(cells: Collection[str]) -> str | None:
    """What all cells but the empty ones hold, in one word; None if they may be labels."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    fitting = (kind for kind, pattern in _KINDS.items() if filled and all(map(pattern.fullmatch, filled)))
    return next(fitting, None)
