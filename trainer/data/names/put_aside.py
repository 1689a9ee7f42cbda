"""Names of folders with images that people have put aside, changed, or not sorted yet, in several languages."""

from __future__ import annotations

import re
from collections.abc import Collection, Set

from trainer.data.names.words import IMAGE_WORDS, words_in
from trainer.formats.part_words import without_accents

_ASIDE = frozenset((
    # English
    "trash", "unsorted", "tosort", "backup", "backups", "bak", "duplicate", "duplicates", "dupes", "dups", "recyclebin",
    "delete", "deleted", "todelete", "removed", "discard", "discarded", "tmp", "temp", "old", "archive", "archived",
    "untitledfolder", "newfolder", "rejected", "reject", "rejects", "extra", "extras", "misc", "miscellaneous",
    "various", "sample", "samples", "example", "examples", "uncategorized", "uncategorised", "processed",
    "preprocessed", "grayscale", "greyscale", "lowres", "lowresolution", "downscaled", "upscaled", "compressed",
    "thumbnail", "thumbnails", "thumbs", "preview", "previews", "augmented", "augmentation", "aug", "synthetic",
    "generated", "plots", "plot", "figures", "figure", "screenshots", "screenshot", "submission", "submissions",
    "query", "gallery", "holdout", "heldout", "topredict", "external", "runs", "logs", "wandb", "mlruns",
    "lightninglogs", "checkpoints", "tensorboard", "tests", "testclean", "testcorrupted", "extratest", "valtest",
    "hiddentest", "testseta", "testsetb", "unlabeledtest", "unlabelledtest", "nolabels", "unseen", "hidden", "blind",
    "leaderboard", "submit", "forsubmission", "challenge", "scoring", "target", "excluded", "exclude", "ignore",
    "ignored", "notused", "unused", "dontuse", "donotuse", "tocheck", "tobechecked", "needscheck", "toreview",
    "needsreview", "toclassify", "tolabel", "unchecked", "unverified", "wrong", "mislabeled", "mislabelled", "crops",
    "originals", "edited", "export", "exports", "dcim", "cameraroll", "whatsapp", "whatsappimages", "whatsapppictures",
    "download", "downloads", "myphotos", "mypictures", "deleteme", "recycle", "recycler", "snapshot",
    "singleprediction", "static", "assets", "docs", "notebooks", "models", "src", "review", "copy", "copies", "demo",
    "selection", "favorites", "favourites", "hardcases", "difficultcases", "edgecases", "forpaper", "forthesis",
    "forpresentation", "forwebsite", "demos", "validate", "infer", "incoming", "spare", "spares", "additional", "inbox",
    # German
    "neuerordner", "unsortiert", "zusortieren", "nichtsortiert", "papierkorb", "ausschuss", "aussortiert", "verworfen",
    "ungultig", "duplikat", "duplikate", "dubletten", "doppelte", "sicherung", "sicherungen", "sicherungskopie",
    "sicherungskopien", "kopie", "kopien", "unklar", "unsicher", "zuprufen", "zupruefen", "ungepruft", "ungeprueft",
    "zuklaren", "zuklaeren", "zuklassifizieren", "vorherzusagen", "geloscht", "geloescht", "loschen", "loeschen",
    "zuloschen", "zuloeschen", "nichtverwenden", "nichtbenutzen", "unbenutzt", "ungenutzt", "ausgeschlossen",
    "kannweg", "ungeordnet", "auswahl", "favoriten", "schwierigefalle", "schwierigefaelle", "grenzfalle", "grenzfaelle",
    "verschiedenes", "beispiel", "beispiele", "vorschau", "vorschaubilder", "archiv", "verkleinert", "graustufen",
    "rohdaten", "bearbeitet", "unbearbeitet", "whatsappbilder", "probe", "originale", "vorhersage", "vorhersagen",
    # French
    "nouveaudossier", "corbeille", "doublon", "doublons", "essai", "essais", "apredire", "aclasser", "atrier",
    "averifier", "atraiter", "aetiqueter", "asupprimer", "supprimes", "nonclasse", "nonclasses", "nontrie", "nontries",
    "sauvegarde", "sauvegardes", "exclus", "exemple", "exemples", "apercus", "inutilise", "inutilises",
    # Spanish and Portuguese
    "nuevacarpeta", "novapasta", "sinclasificar", "porclasificar", "porrevisar", "pararevisar", "porpredecir",
    "apredecir", "parapredecir", "duplicado", "duplicados", "duplicadas", "papelera", "lixeira", "respaldo",
    "copiadeseguridad", "copiasdeseguridad", "descartado", "descartados", "descartadas", "excluidos", "excluidas",
    "ejemplo", "ejemplos", "exemplos", "naoclassificado", "naoclassificados", "semclassificacao", "aclassificar",
    "prediccion", "predicciones", "predicoes",
    "procesado", "procesados", "procesadas", "processados", "processadas", "prueba", "pruebas", "teste", "testes",
    # Italian, Dutch and Polish
    "nuovacartella", "daclassificare", "daverificare", "dacontrollare", "daordinare", "duplicati", "cestino",
    "scartati", "esempi", "nonclassificati", "duplicaten", "prullenbak", "ongesorteerd", "tecontroleren",
    "voorbeelden", "duplikaty", "dosprawdzenia", "nieposortowane", "nowyfolder", "przyklady",
    # Russian, without the marks of its letters
    "новаяпапка", "дубликаты", "неразобранное", "несортированное", "напроверку", "проверить", "удалить", "удаленные",
    "архив", "резервнаякопия", "бэкап", "примеры", "разобрать",
    # Japanese, Chinese and Korean
    "未分類", "未整理", "未確認", "未処理", "未使用", "未選別", "要確認", "要チェック", "確認待ち", "確認中", "保留",
    "重複", "除外", "削除", "削除予定", "不要", "ボツ", "ゴミ箱", "ごみ箱", "バックアップ", "一時", "サンプル", "例",
    "元画像", "加工済み", "処理済み", "前処理済み", "縮小", "グレースケール", "使わない", "提出用", "新しいフォルダー",
    "新規フォルダ", "评测", "提交用", "新建文件夹", "回收站", "垃圾箱", "重复", "待确认", "待分类", "待整理", "未分类",
    "备份", "废弃", "删除", "不用", "样例", "示例", "휴지통", "중복", "미분류", "확인필요", "백업", "새폴더", "삭제",
    "예시",
))  # fmt: skip
"""Without blanks, digits, punctuation and accents, in lower case."""
_VAGUE = frozenset((
    "rest", "remaining", "remainder", "mixed", "mix", "all", "everything", "other", "others", "junk", "check", "score",
    "cv", "pool", "random", "neu", "alt", "quiz", "stuff", "later", "internet", "website", "scraped", "labeled",
    "labelled", "done", "exam", "exams", "fertig", "erledigt", "webseite", "spater", "spaeter", "gelabelt",
    "beschriftet",
    "reste", "alle", "alles", "gemischt", "andere", "anderes", "sonstige", "sonstiges", "mull", "muell", "ablage",
    "autre", "autres", "divers", "tous", "toutes", "otro", "otros", "otras", "resto", "todos", "todas", "varios",
    "mezclado", "outro", "outros", "altro", "altri", "tutti", "misto", "vari", "overig", "overige", "inne",
    "wszystkie", "прочее", "другое", "разное", "все", "корзина",
    "その他", "他", "混在", "混合", "全部", "全て", "すべて", "ゴミ", "ごみ", "其他", "其它", "其余", "垃圾",
    "기타", "전체",
))  # fmt: skip
"""Words as in `_ASIDE` that are the names of classes as well."""
_CONTRAST = frozenset(("neu", "alt"))
_WITHOUT_LABELS = frozenset(map(without_accents, (
    "unbeschriftet", "nichtbeschriftet", "ohnelabel", "ohnelabels", "ohneklasse", "ungelabelt", "nichtgelabelt",
    "unannotiert", "nichtannotiert", "nichtklassifiziert", "unklassifiziert", "nichtzugeordnet", "fraglich",
    "zweifelhaft",
    "sinetiqueta", "sinetiquetas", "sinetiquetar", "noetiquetado", "noetiquetados", "noetiquetadas", "sinclase",
    "nonetiquete", "nonetiquetes", "nonetiquetees", "sansetiquette", "sansetiquettes", "sanslabel", "sansclasse",
    "semrotulo", "semrotulos", "semetiqueta", "naorotulado", "naorotulados", "naoetiquetado", "naoetiquetados",
    "nonetichettato", "nonetichettati", "nonetichettate", "senzaetichetta", "senzaetichette", "nietgelabeld",
    "ongelabeld", "zonderlabel", "bezetykiety", "nieoznaczone",
    "未标注", "未标记", "未標註", "未標注", "未標記", "无标签", "無標籤", "ラベルなし", "ラベル無し", "未ラベル",
    "未アノテーション",
    "라벨없음", "미라벨", "레이블없음", "безметки", "безметок", "безкласса", "неразмеченные", "неразмеченное",
    "неразмечено",
    "غيرمصنف", "غيرمصنفة", "بدونتصنيف",
)))  # fmt: skip
"""Words as in `_ASIDE` for images without a label."""
_UNLABELLED = frozenset(("unlabeled", "unlabelled", "nonlabeled", "nolabel", "withoutlabels"))
"""Words as in `_ASIDE` beside words for images. Alone they are labels, see `trainer.data.readers.doubts`."""
_FLAWED = frozenset((
    "blurry", "blurred", "blur", "toodark", "dark", "toobright", "overexposed", "underexposed", "lowquality",
    "bad", "badquality", "poorquality", "outoffocus", "unusable", "unscharf", "verwackelt", "zudunkel", "maybe",
    "schlechtequalitat", "schlechtequalitaet", "unbrauchbar", "malacalidad", "mauvaisequalite", "baixaqualidade",
))  # fmt: skip
"""Words as in `_ASIDE` for images that are no good, unless such words are the classes."""
_ANSWERS = frozenset((
    "yes", "no", "good", "ok", "okay", "fine", "average", "medium", "fair", "poor", "excellent", "neutral", "ugly",
))  # fmt: skip
"""Labels beside which such words are classes."""
_SELECTED = frozenset(("best", "hard", "difficult"))
_GRADES = _ANSWERS | {"bad", "better", "worse", "worst", "soft", "easy", "simple", "moderate"}
"""Labels beside which these words are classes."""
_COPIES = frozenset((
    "aug", "augmented", "augmentation", "augmentations", "flipped", "rotated", "thumb", "thumbs", "thumbnail",
    "thumbnails", "preview", "previews", "copies", "backup",
))  # fmt: skip
"""Words in the names of folders that hold changed copies of images in another folder."""


_UNSURE = frozenset((
    "unsure", "notsure", "uncertain", "doubtful", "dubious", "questionable", "ambiguous", "unclear",
    "nichtsicher", "unsicher", "unklar", "weissnicht", "weisnicht", "keineahnung", "fraglich", "zweifelhaft",
    "pascertain", "passur", "incertain", "incertains", "douteux", "jesaispas", "noseguro", "dudoso", "dudosos",
    "nolose", "naoseguro", "duvidoso", "duvidosos", "naosei", "incerto", "incerti", "dubbio", "dubbi", "nonsicuro",
    "nonso", "nietzeker", "onzeker", "twijfel", "twijfelachtig", "weetniet",
    "不確か", "自信なし", "わからない", "分からない", "不确定", "不確定", "不知道",
))  # fmt: skip
"""Words as in `_ASIDE` for images whose label is not known for sure."""


def is_unsure(name: str) -> bool:
    """Whether a label, or the name of a folder or a list, says that the labels of images are not known for sure."""
    return _folded(name) in _UNSURE


def is_aside(name: str) -> bool:
    """Whether the name of a folder says that its images were put aside, made or not sorted yet.

    As ``extra``, ``Backup 2023``, ``zu prüfen`` and ``sample_images`` do.
    """
    if _folded(name) in _ASIDE | _WITHOUT_LABELS:
        return True
    words = words_in(name)
    rest = "".join(word for word in words if word not in IMAGE_WORDS)
    return len(rest) < len("".join(words)) and rest in _ASIDE | _UNLABELLED


def flawed_among(names: Collection[str]) -> list[str]:
    """The one of the folders that holds bad images by its name, as ``blurry`` beside ``cat`` and ``dog``.

    There is none among ``sharp``, ``blurry`` and ``too_dark``, in ``sharp`` and ``blurry``, in yes, no and maybe, or in
    ``good``, ``average`` and ``bad``.
    """
    return _only_one(names, _FLAWED, _ANSWERS)


def selected_among(names: Collection[str]) -> list[str]:
    """The one of the folders that holds selected images by its name, as ``best`` beside ``cat`` and ``dog``.

    There is none among ``easy``, ``medium`` and ``hard``.
    """
    return _only_one(names, _SELECTED, _GRADES)


def _only_one(names: Collection[str], words: Collection[str], unless: Set[str]) -> list[str]:
    """The one of three folders or more whose name is one of ``words``, ``unless`` a name of these is beside."""
    found = [name for name in names if _folded(name) in words]
    return found if len(found) == 1 and len(names) > 2 and unless.isdisjoint(map(_folded, names)) else []


def is_vague(name: str, others: Collection[str] = ()) -> bool:
    """Whether a folder holds images without a class by its name, unless its class has that name: ``other``, ``all``.

    ``ALL`` in capitals is an abbreviation, as that of a leukaemia. ``neu`` beside ``alt`` is a class.
    """
    if _folded(name) in _CONTRAST and set(map(_folded, others)) >= _CONTRAST:
        return False
    return _folded(name) in _VAGUE and not (name.isascii() and name.isupper())


def holds_copies(name: str) -> bool:
    """Whether the name of a folder says that it holds changed copies: ``thumbs``, ``AugmentedDataset``."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return not _COPIES.isdisjoint(word.lower() for word in words)


def _folded(name: str) -> str:
    return re.sub(r"[\W\d_]+", "", without_accents(name)).casefold()
