"""Names of folders with further images of no class: ``more photos``, ``neue Fotos``, ``Batch 3``, ``from Anna``."""

from __future__ import annotations

import re
from collections.abc import Collection, Set

from trainer.data.names.words import IMAGE_WORDS, words_in
from trainer.formats.part_words import without_accents

_IMAGES = IMAGE_WORDS | {
    "foto", "fotos", "bild", "bilder", "aufnahme", "aufnahmen", "photographie", "photographies", "cliche", "cliches",
    "imagen", "imagenes", "fotografia", "fotografias", "imagem", "imagens", "immagine", "immagini", "fotografie",
    "afbeelding", "afbeeldingen", "plaatje", "plaatjes", "screenshot", "screenshots", "selfies", "写真", "画像",
    "图片", "照片", "图像", "圖片", "相片", "圖像",
}  # fmt: skip
"""Words for images, without accents."""
_FURTHER = frozenset((
    "new", "newer", "more", "further", "additional", "extra", "extras", "other", "others", "my", "our", "some", "all",
    "misc", "old", "older", "best", "latest", "recent", "next", "second", "first", "the", "of", "and", "good", "nice",
    "neue", "neu", "neuer", "neues", "weitere", "weiteres", "mehr", "andere", "zusatzliche", "zusaetzliche", "meine",
    "unsere", "alte", "alle", "sonstige", "schone", "die",
    "nouveau", "nouveaux", "nouvelle", "nouvelles", "autre", "autres", "plus", "de", "d", "supplementaires", "mes",
    "nos", "anciennes", "toutes", "les", "divers", "diverses",
    "nueva", "nuevas", "nuevo", "nuevos", "mas", "otra", "otras", "otros", "adicionales", "mis", "nuestras", "viejas",
    "todas", "las", "varias",
    "nova", "novas", "novo", "novos", "mais", "outra", "outras", "outros", "adicionais", "minhas", "nossas", "as",
    "nuova", "nuove", "nuovo", "nuovi", "piu", "altra", "altre", "altri", "aggiuntive", "ulteriori", "mie", "nostre",
    "vecchie", "tutte", "le",
    "nieuw", "nieuwe", "meer", "overige", "mijn", "onze", "oude",
    "新しい", "新", "追加", "追加の", "追加分", "新規", "他の", "その他の", "残りの", "別の", "の", "新增", "新的",
    "更多", "其他", "其它", "补充", "補充",
))  # fmt: skip
"""Words beside those for images that tell no class, without accents."""
_ALONE = frozenset((
    "追加", "追加分", "新規", "新增", "补充", "補充", "新しい",
    "nachschub", "nachtrag", "nachtraglich", "nachtraege", "ajouts", "aggiunte", "toevoegingen",
))  # fmt: skip
"""Words for additions that are no class without one for images, either."""
WORDS_FOR_IMAGES = _IMAGES - {"set", "sets", "data", "dataset", "file", "files", "input", "inputs"}
"""Those that mean nothing else, also behind the name of a class: a ``crystal set`` is no crystal."""
_SOURCES = frozenset((
    "google", "bing", "baidu", "internet", "online", "instagram", "insta", "flickr", "pinterest", "facebook",
    "twitter", "reddit", "telegram", "whatsapp", "kaggle", "wikipedia", "wikimedia", "inaturalist", "inat", "gbif",
    "youtube", "scraped", "crawled", "scraping", "crawl", "scrape", "iphone", "android", "smartphone", "webcam",
    "website", "webseite", "netz", "ネット", "网络", "網路",
))  # fmt: skip
"""Places where people find or make images. Alone they may be brands. A ``spider web`` is none."""
_TASKS = frozenset((
    "todo", "done", "tocheck", "check", "checked", "unchecked", "sorted", "sort", "review", "reviewed", "labeled",
    "labelled", "verified", "fertig", "erledigt", "gepruft", "sortiert", "termine", "verifie", "hecho", "revisado",
    "feito", "fatto", "klaar",
))  # fmt: skip
"""What is to do with images, or was done, in a name that begins with that of a class."""
_TELLING = WORDS_FOR_IMAGES | _SOURCES | _TASKS
_COUNTED = re.compile(
    r"(?:batch|week|day|session|round|trip|visit|upload|import|delivery|charge|lieferung|woche|tag|sitzung|runde"
    r"|semaine|jour|seance|lot|semana|dia|sesion|lote|sessao|settimana|giorno|sessione|lotto|dag|sessie|partij|ronde)"
    r"[\W_]*\d+|第\d+(?:回|週|周|日|批|次)|\d+(?:回目|週目|日目)|(?:バッチ|批次)\d+",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19[5-9]|20[0-4])\d")
_FROM = re.compile(r"(?:from|taken by|sent by|shot by)[ _-]+[^\W\d_]+", re.IGNORECASE)
_FROM_BEHIND = re.compile(r"(?:^|[\W_])(?:from|von)[\W_]+[^\W\d_]+$", re.IGNORECASE)
_FROM_IN_JAPANESE = re.compile(r"[^\W\d_]+(?:さん)?(?:から|より)|来自[^\W\d_]+")
_JAPANESE_OR_CHINESE = re.compile(
    "|".join(sorted((word for word in _IMAGES | _FURTHER if not word.isascii()), key=len, reverse=True))
)


def tells_no_class(name: str, names: Collection[str]) -> bool:
    """Whether a folder beside class folders says by its name when or from whom its images are, or only that they are.

    As ``more photos``, ``Fotos``, ``追加画像``, ``from Anna``, ``Batch 3`` and ``2024`` do. Numbered ones and years are
    classes where half of the other ``names`` or more are called so.

    Args:
        names: of all folders beside each other, and of this one.
    """
    if _says_images_alone(name) or _FROM.fullmatch(name) or _FROM_IN_JAPANESE.fullmatch(name):
        return True
    plain = without_accents(name)
    if _COUNTED.fullmatch(plain):
        counted = sum(_COUNTED.fullmatch(without_accents(other)) is not None for other in names)
        return 2 * (counted - 1) < len(names) - 1
    return _YEAR.fullmatch(name) is not None and not any(other.isdecimal() for other in names if other != name)


def are_further_images(name: str, known: Set[str]) -> bool:
    """Whether a folder holds further images of a class by its name: ``dog_google``, ``dog from Anna``.

    Args:
        known: names of the folders, casefolded.
    """
    starts = (mark.start() for mark in re.finditer(r"[\W_]", name))
    return any(name[:start].casefold() in known and _says_further(name[start:]) for start in starts)


def _says_further(rest: str) -> bool:
    """Whether the rest of a name says where further images of a class come from, or what is to do with them."""
    words = words_in(rest)
    telling = any(word in _TELLING for word in words)
    return bool(_FROM_BEHIND.search(rest)) or (telling and all(word in _TELLING or word in _FURTHER for word in words))


def _says_images_alone(name: str) -> bool:
    """Whether a name consists of words for images and further ones."""
    plain = without_accents(name).casefold()
    words = [part for word in words_in(re.sub(r"['\u2019]", "", name)) for part in _divided(word)]
    if re.sub(r"[\W\d_]+", "", plain) in _ALONE:
        return True
    return any(word in _IMAGES for word in words) and all(word in _IMAGES or word in _FURTHER for word in words)


def _divided(word: str) -> list[str]:
    """The words in a name without blanks: 追加画像 has two."""
    parts = _JAPANESE_OR_CHINESE.findall(word)
    return parts if parts and "".join(parts) == word else [word]
