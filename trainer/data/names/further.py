"""Names of folders with further images of no class: ``more photos``, ``neue Fotos``, ``Batch 3``, ``from Anna``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Set

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
    "urlaub", "ferien", "ausflug", "exkursion", "wanderung", "spaziergang", "vacances", "vacaciones", "vacanze",
    "ferias", "vakantie", "fieldtrip",
))  # fmt: skip
"""Words for additions, and for trips on which people make them, that are no class without one for images, either."""
WORDS_FOR_IMAGES = _IMAGES - {"set", "sets", "data", "dataset", "file", "files", "input", "inputs"}
"""Those that mean nothing else, also behind the name of a class: a ``crystal set`` is no crystal."""
_SOURCES = frozenset((
    "google", "bing", "baidu", "internet", "online", "instagram", "insta", "flickr", "pinterest", "facebook",
    "twitter", "reddit", "telegram", "whatsapp", "kaggle", "wikipedia", "wikimedia", "inaturalist", "inat", "gbif",
    "youtube", "scraped", "crawled", "scraping", "crawl", "scrape", "iphone", "android", "smartphone", "webcam",
    "website", "webseite", "netz", "ネット", "网络", "網路",
))  # fmt: skip
"""Places where people find or make images. Alone they may be brands. A ``spider web`` is none."""
_SITES = frozenset((
    "google", "bing", "baidu", "web", "netz", "instagram", "insta", "flickr", "pinterest", "reddit", "telegram",
    "wikipedia", "wikimedia", "inaturalist", "inat", "gbif", "youtube", "iphone",
))  # fmt: skip
"""Those that are no class where no brand is beside."""
_BRANDS = _SOURCES | {
    "apple", "nike", "adidas", "puma", "amazon", "microsoft", "windows", "linux", "yahoo", "netflix", "spotify",
    "tiktok", "snapchat", "linkedin", "signal", "discord", "skype", "zoom", "ebay", "paypal", "visa", "starbucks",
    "samsung", "nokia", "huawei", "xiaomi", "sony", "motorola", "galaxy", "pixel", "blackberry", "phone", "ipad",
}  # fmt: skip
"""Names beside which a site is a brand or a device."""
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
_GROUP = re.compile(
    r"(?:batch|group|set|part|folder|album|gruppe|teil|ordner|grupo|groupe|gruppo|groep|partie|parte|deel|lot|lote)"
    r"(?:[\W_]*\d+|[\W_]+[a-h])",
    re.IGNORECASE,
)
_BATCHES = frozenset(("batch", "batches", "upload", "uploads", "delivery", "lieferung", "collection"))
_DAYS = frozenset((
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
    "januar", "februar", "marz", "maerz", "mai", "juni", "juli", "oktober", "dezember", "montag", "dienstag",
    "mittwoch", "donnerstag", "freitag", "samstag", "sonntag",
    "janvier", "fevrier", "avril", "juin", "juillet", "aout", "septembre", "octobre", "novembre", "decembre", "lundi",
    "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche",
    "enero", "febrero", "abril", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre",
    "lunes", "martes", "miercoles", "jueves", "viernes", "sabado", "domingo",
    "janeiro", "fevereiro", "maio", "junho", "julho", "setembro", "outubro", "dezembro",
    "gennaio", "febbraio", "aprile", "maggio", "giugno", "luglio", "settembre", "ottobre", "dicembre", "lunedi",
    "martedi", "mercoledi", "giovedi", "venerdi", "domenica",
    "januari", "februari", "maart", "augustus", "maandag", "dinsdag", "woensdag", "donderdag", "vrijdag",
    "zaterdag", "zondag",
))  # fmt: skip
"""Months and days of the week, without accents."""
_SHORT = re.compile(r"[A-Za-z]|\d{1,2}")
_WORD = re.compile(r"[^\W\d_]{3}|[^\x00-\x7f]")
_YEAR = re.compile(r"(?:19[5-9]|20[0-4])\d")
_FROM = re.compile(r"(?:from|taken by|sent by|shot by)[ _-]+[^\W\d_]+", re.IGNORECASE)
_FROM_BEHIND = re.compile(r"(?:^|[\W_])(?:from|von)[\W_]+[^\W\d_]+$", re.IGNORECASE)
_FROM_IN_JAPANESE = re.compile(r"[^\W\d_]+(?:さん)?(?:から|より)|来自[^\W\d_]+")
_JAPANESE_OR_CHINESE = re.compile(
    "|".join(sorted((word for word in _IMAGES | _FURTHER if not word.isascii()), key=len, reverse=True))
)


def tells_no_class(name: str, names: Collection[str]) -> bool:
    """Whether a folder beside class folders says by its name when or from whom its images are, or only that they are.

    As ``more photos``, ``Fotos``, ``追加画像``, ``from Anna``, ``Batch 3``, ``2024`` and ``May`` do. Numbered ones,
    months and years are classes where half of the other ``names`` or more are called so. A letter or a number (``A``,
    ``1``) and a site (``instagram``) say so beside two words or more.

    Args:
        names: of all folders beside each other, and of this one.
    """
    if _says_images_alone(name) or _FROM.fullmatch(name) or _FROM_IN_JAPANESE.fullmatch(name):
        return True
    plain = without_accents(name)
    if _COUNTED.fullmatch(plain):
        return _is_lone(name, names, _is_counted)
    if len(names) > 2 and (_is_lone(name, names, _is_group) or _is_lone(name, names, _is_day)):
        return True
    if len(names) > 2 and _SHORT.fullmatch(name):
        return all(_WORD.search(other) and not _is_group(other) for other in names if other != name)
    if len(names) > 2 and name.casefold() in _SITES:
        return _BRANDS.isdisjoint(word for other in names if other != name for word in words_in(other))
    return _YEAR.fullmatch(name) is not None and not any(other.isdecimal() for other in names if other != name)


def _is_lone(name: str, names: Collection[str], fits: Callable[[str], bool]) -> bool:
    """Whether ``fits`` holds for a name, and for less than half of the others."""
    return fits(name) and 2 * (sum(map(fits, names)) - 1) < len(names) - 1


def _is_counted(name: str) -> bool:
    return _COUNTED.fullmatch(without_accents(name)) is not None


def _is_group(name: str) -> bool:
    """Whether a folder holds a batch or group of images by its name: ``group A``, ``batch_new``."""
    plain = without_accents(name)
    words = words_in(name)
    others = [word for word in words if word not in _BATCHES]
    of_batch = len(others) < len(words) and others != [] and all(word in _FURTHER for word in others)
    return of_batch or _GROUP.fullmatch(plain) is not None


def _is_day(name: str) -> bool:
    """Whether a folder is called after a month or a day of the week: ``May``, ``Mai 2023``."""
    words = words_in(name)
    return len(words) == 1 and words[0] in _DAYS


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
