"""What the names of columns say about labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

LABEL_NAMES = (
    "label", "labels", "class", "class_name", "classname", "label_name", "class_label", "class_id", "label_id",
    "category", "category_id", "category_name", "target", "y", "species", "breed", "diagnosis", "dx",
    "klasse", "klassenname", "kategorie", "diagnose", "clase", "classe", "klasa", "klass", "categoría", "categoria",
    "catégorie", "etiqueta", "étiquette", "etichetta", "etykieta", "diagnóstico", "diagnosi",
    "类别", "類別", "标签", "標籤", "ラベル", "クラス", "カテゴリ", "분류", "라벨", "클래스", "класс", "метка",
    "диагноз", "категория",
)  # fmt: skip
"""Usual names of label columns, in order of preference."""
_OTHER_ANSWERS = frozenset((
    "disease", "pathology", "finding", "findings", "outcome", "type", "kind", "gt", "ground_truth", "decision",
    "histology", "grade", "defect", "befund", "art", "typ", "sorte", "rasse", "baumart", "defekt", "fehler",
    "krankheit", "especie", "enfermedad", "tipo", "raza", "espèce", "maladie", "diagnostic", "espécie", "doença",
    "malattia", "soort", "gatunek", "疾患", "病名", "診断", "诊断", "种类", "種類", "品种", "진단", "종류", "вид",
    "тип", "заболевание",
))  # fmt: skip
"""Names of columns that hold labels in some tables, and describe the images in others."""
_ORDINALS = frozenset((
    "primary", "main", "first", "second", "secondary", "third", "fourth", "other", "others", "additional", "extra",
    "further", "more", "minor", "co", "next", "also", "a", "b", "c", "d", "e", "i", "ii", "iii", "iv",
))  # fmt: skip
"""Words that count the labels of an image."""
_SIDES = (("left", "right"), ("l", "r"), ("os", "od"), ("links", "rechts"))
METADATA = frozenset((
    "patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "study", "study_id", "series",
    "series_id", "scan", "scan_id", "session", "session_id", "visit", "visit_id", "lesion_id", "person", "person_id",
    "user", "user_id", "owner", "uploader", "annotator", "annotator_id", "rater", "rater_id", "reader", "reader_id",
    "labeler", "labeller", "photographer", "author", "creator", "date", "time", "datetime", "timestamp", "day", "month",
    "year", "hour", "camera", "camera_id", "camera_model", "device", "device_id", "scanner", "machine", "microscope",
    "lens", "iso", "exposure", "location", "location_id", "place", "site", "site_id", "hospital", "clinic", "center",
    "centre", "country", "city", "lat", "latitude", "lon", "lng", "longitude", "gps", "plot", "plot_id", "field_id",
    "tree", "tree_id", "plant_id", "batch", "batch_id", "group", "group_id", "source", "data_source", "origin",
    "license", "licence", "copyright", "credit", "url", "link", "confidence", "certainty", "score", "quality_score",
    "md5", "sha1", "sha256", "hash", "checksum", "size", "bytes", "filesize", "file_size", "format", "mode",
    "extension", "channels", "depth", "dpi", "resolution", "aspect_ratio", "orientation", "rotation", "comment",
    "comments", "remark", "remarks", "note", "notes", "age", "weight", "seed", "version", "frame", "frame_id",
    "video", "video_id", "slide", "slide_id", "page",
    "撮影日", "撮影日時", "撮影者", "撮影場所", "日付", "日時", "時刻", "カメラ", "場所", "地点", "患者", "患者id",
    "備考", "年齢", "解像度", "出典", "拍摄日期", "拍摄时间", "拍摄地点", "相机", "日期", "时间", "病人", "备注",
    "年龄", "来源",
    "datum", "aufnahmedatum", "uhrzeit", "zeit", "kamera", "ort", "gerät", "fotograf", "bemerkung", "alter", "fecha",
    "hora", "cámara", "lugar", "paciente", "heure", "appareil", "lieu", "remarque",
    "phone", "phone_model", "smartphone", "cellphone", "mobile", "telefon", "handy", "téléphone", "teléfono", "celular",
    "móvil", "telefone", "telefono", "cellulare", "telefoon", "手机", "スマホ", "携帯",
    "kb", "mb", "kilobytes", "dateigröße", "dateigroesse", "photographed_by", "taken_by", "annotated_by", "labeled_by",
    "labelled_by", "checked_by", "reviewed_by", "verified_by", "graded_by", "recorded_by", "collected_by",
    "uploaded_by", "observer", "collector", "fotografin", "fotografiert_von", "aufgenommen_von", "bearbeiter",
    "bearbeiterin", "beobachter", "beobachterin", "geprüft_von", "annotiert_von", "sammler", "sammlerin",
    "photographe", "observateur", "observatrice", "annotateur", "annotatrice", "fotógrafo", "fotógrafa", "anotador",
    "anotadora", "observador", "observadora", "fotografo", "fotografa", "annotatore", "fotograaf",
    "waarnemer", "アノテーター", "作業者", "担当者", "标注员", "标注者", "拍摄者", "摄影师",
))  # fmt: skip
"""Names of columns that say who, where, when or with what an image was made. They may be labels, but seldom are."""
NOT_LABELS = ("fold", "kfold", "split", "width", "height", "index")
"""Names of columns that say something else about an image."""
_ACROSS = re.compile(r"(?:b?box(?:es)?|rect|roi|crop|cent(?:er|re)|point|pos(?:ition)?|coord(?:inate)?s?)?[^a-z]*x")
"""Names of the column beside which ``y`` is a coordinate, such as NIH's ``Bbox [x``."""


def plain_name(name: str) -> str:
    """A column name in lower case, with _ for blanks, hyphens and the borders of words in camel case."""
    return re.sub(r"[\s\-_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).lower()


def _stem_of(name: str) -> str:
    """A column's name without a number or word that counts labels: ``label`` for ``secondary_labels``."""
    words = [re.sub(r"\d+$", "", word) for word in plain_name(name).split("_")]
    return "_".join(word.removesuffix("s") for word in words if word and word not in _ORDINALS)


def sides_of(names: Sequence[str]) -> list[str]:
    """The columns that differ in a word for the left and the right one, such as ``left_grade`` and ``right_grade``."""
    words = {name: plain_name(name).split("_") for name in names}
    for name, own in words.items():
        for left, right in _SIDES:
            other = [right if word == left else word for word in own]
            found = next((known for known, theirs in words.items() if theirs == other != own), None)
            if found is not None:
                return [name, found]
    return []


def one_stem(names: Sequence[str]) -> bool:
    """Whether all names are one word, counted."""
    return len({_stem_of(name) for name in names}) == 1 and _stem_of(names[0]) != ""


def is_usual_label(name: str) -> bool:
    """Whether a column has a usual name of label columns."""
    return plain_name(name) in LABEL_NAMES


def may_be_label(name: str) -> bool:
    """Whether a column may hold labels by its name, a usual one or another one, such as ``Befund``."""
    return is_usual_label(name) or plain_name(name) in _OTHER_ANSWERS


def any_usual_label(names: Sequence[str]) -> bool:
    """Whether one of a table's columns has a usual name of label columns. A ``y`` beside an ``x`` is a coordinate."""
    return any(is_usual_label(name) for name in names if name not in coordinates(names))


def coordinates(names: Sequence[str]) -> list[str]:
    """The columns of a point or a box, ``x`` and ``y``; empty without both."""
    across = [name for name in names if _ACROSS.fullmatch(plain_name(name))]
    down = [name for name in names if plain_name(name) == "y"]
    return [*across, *down] if across and down else []
