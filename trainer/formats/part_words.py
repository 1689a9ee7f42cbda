"""Words for the parts of a data set (train, val, test) in several languages."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Part = Literal["train", "val", "test"]

ENGLISH: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "hold-out", "hold_out"), "test"),
}
"""English words, which need no other word beside them."""
# fmt: off
_TRAIN = (
    "学習", "訓練", "教師", "トレーニング", "训练", "학습", "훈련", "trainings", "trainieren", "entrainement",
    "apprentissage", "entrenamiento", "treino", "treinamento", "addestramento", "allenamento", "обучение",
    "обучающая", "обучающии", "тренировка", "тренировочная", "trening", "treningowy", "treningowe", "uczenie",
    "lernen", "lern", "egitim", "traning", "pelatihan", "latih", "trenink", "تدريب", "التدريب", "آموزش", "אימון",
)
_VAL = (
    "検証", "バリデーション", "验证", "驗證", "검증", "validierung", "validierungs", "validacion", "validacao",
    "validazione", "validatie", "validacja", "walidacja", "валидация", "проверка", "dogrulama", "validasi",
    "evaluierung", "auswertung", "evaluacion", "avaliacao", "valutazione", "تحقق", "التحقق", "اعتبارسنجی",
)
_TEST = (
    "予測用", "推論用", "预测用", "推理用", "예측용", "추론용", "pruf", "pruef",
    "テスト", "評価", "試験", "测试", "測試", "评估", "테스트", "시험", "평가", "prufung", "pruefung", "prueba",
    "pruebas", "teste", "testes", "prova", "тест", "тестовая", "тестовыи", "тестирование", "testowy", "testowe",
    "testen", "testowanie", "pengujian", "uji", "اختبار", "الاختبار", "آزمون", "מבחן",
)
_FOREIGN: dict[str, Part] = {
    **dict.fromkeys(_TRAIN, "train"), **dict.fromkeys(_VAL, "val"), **dict.fromkeys(_TEST, "test"),
}
KIND_WORDS = frozenset((
    "daten", "bilder", "satz", "datensatz", "donnees", "jeu", "ensemble", "echantillon", "imagenes", "datos",
    "conjunto", "imagens", "dados", "immagini", "dati", "obrazy", "dane", "изображения", "данные", "выборка",
    "beelden", "gambar", "veri", "画像", "データ", "データセット", "入力", "图像", "图片", "圖像", "数据",
    "이미지", "데이터", "de", "des", "di", "d", "da", "do", "para", "pour", "per", "zum", "für", "fur", "l",
))
"""Words beside those of a part that name no class, without accents."""
# fmt: on
_JOINED = re.compile(
    r"(.+?)(?:s?(?:daten|bilder|bild|satz|datensatz|menge|set|sets)|用?(?:画像|データセット|データ|セット|集|图像|图片|圖像"
    r"|数据集|数据|資料)|用|용?(?:이미지|데이터셋|데이터|세트)|용)"
)
_TRAIN_AND_VAL = re.compile(
    r"(?<![^\W_])train(?:ing)?[\W_]*(?:(?:and|n|u|und|et|y)[\W_]+)?val(?:id(?:ation)?)?(?=[\W_\d]|no|$)", re.IGNORECASE
)
_ACCENT = re.compile("[\u0300-\u036f]")


def without_accents(text: str) -> str:
    """A text without the accents of Latin and Cyrillic letters: ``entraînement`` becomes ``entrainement``."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", text)))


def foreign_part(word: str) -> Part | None:
    """The part that a word of another language than English means, such as ``学習用`` or ``Trainingsdaten``."""
    plain = without_accents(word).casefold()
    if plain in ENGLISH:
        return None
    if plain in _FOREIGN:
        return _FOREIGN[plain]
    found = _JOINED.fullmatch(plain)
    if found is None:
        return None
    stem = found[1]
    return _FOREIGN.get(stem) or _FOREIGN.get(plain[: len(stem) + 1]) or ENGLISH.get(stem)


def with_joined_parts(name: str) -> str:
    """A name in which the training and validation images together are called ``trainval``: that of ``train_val_list``.

    Both are for training: folds are cut from them.
    """
    return _TRAIN_AND_VAL.sub("trainval", name)
