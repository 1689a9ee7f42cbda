"""Class folders that may be no classes are named in a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import save
from trainer.data.read import read_images


def warnings_of(root: Path, names: tuple[str, ...]) -> str:
    for number, name in enumerate(names):
        save(root / name / "1.png", number, 8)
        save(root / name / "2.png", 100 + number, 8)
    found = read_images(root, verify=False)
    assert set(found.class_names) == set(names)
    return "\n".join(found.warnings)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("2023-01-05", "2023-01-06", "2023-02-11 evening"), "dates"),
        (("20230105", "20230106"), "dates"),
        (("05.01.2023", "6.1.2023"), "dates"),
        (("2019", "2020", "2021"), "years"),
        (("gallery", "query"), "sides of data"),
        (("HR", "LR"), "sides of data"),
        (("100CANON", "101CANON"), "cameras"),
        (("cam1", "Camera 2"), "cameras"),
        (("Patient_001", "Patient_002"), "patients"),
    ],
)
def test_classes_that_may_be_places_or_times_of_the_recording(
    tmp_path: Path, names: tuple[str, ...], what: str
) -> None:
    warnings = warnings_of(tmp_path, names)
    assert what in warnings and repr(names[0]) in warnings and "labels.csv" in warnings


def test_numbered_folders_of_several_classes_may_be_parts_of_them(tmp_path: Path) -> None:
    warnings = warnings_of(tmp_path, ("cats_1", "cats_2", "dogs 1", "dogs 2", "birds"))
    assert "'cats_1', 'cats_2'" in warnings and "'dogs 1', 'dogs 2'" in warnings and "put their images" in warnings


@pytest.mark.parametrize("names", [("type_1", "type_2", "type_3"), ("cats_1", "dogs_1"), ("1", "2", "10", "20")])
def test_numbered_classes_are_not_doubted(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert "parts of one class" not in warnings_of(tmp_path, names)


@pytest.mark.parametrize("name", ["runs", "logs", "wandb", "lightning_logs", "checkpoints"])
def test_folders_of_other_programs(tmp_path: Path, name: str) -> None:
    assert f"the folder {name!r} is read as a class" in warnings_of(tmp_path, ("cat", "dog", name))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "cat - Copy",
            "cat (2)",
            "cat 2",
            "Copy of cat",
            "cat_old",
            "Cat - Kopie",
            "cat kopia",
            "cat - 副本",
            "cat.old",
            "cat~",
            "cat1",
            "cat_v2",
            "cat_02",
        ),
        *(
            "unsorted",
            "to_sort",
            "Nueva carpeta",
            "Новая папка",
            "tests",
            "extra_test",
            "unseen",
            "leaderboard",
            "sin clasificar 2",
            "zu prüfen",
            "à prédire",
            "ゴミ箱",
            "要確認",
            "Ergebnisse",
            "grayscale",
            "WhatsApp Images",
            "cat のコピー",
            "other",
            "all",
            "Validierung",
        ),
    ],
)
def test_copies_and_folders_put_aside(tmp_path: Path, name: str) -> None:
    warnings = warnings_of(tmp_path, ("cat", "dog", name))
    assert repr(name) in warnings and "move it out of the data" in warnings


@pytest.mark.parametrize(
    "name",
    [
        *(
            "single_prediction",
            "unlabeled images",
            "sample_images",
            "submission_images",
            "tst",
            "docs",
            "static",
            "src",
        ),
        *("old_cat", "cat_224", "rejected cat", "cat unsorted", "cat_train", "blurry", "too_dark", "low quality"),
        *("#recycle", "delete_me", "review", "maybe", "100CANON", "train", "copy"),
    ],
)
def test_one_folder_beside_classes_that_may_be_none(tmp_path: Path, name: str) -> None:
    warnings = warnings_of(tmp_path, ("cat", "dog", name))
    assert warnings == f"the folder {name!r} is read as a class; if it is none, move it out of the data"


@pytest.mark.parametrize(
    "name",
    [
        *("unbeschriftet", "ohne Label", "nicht klassifiziert", "fraglich", "schlechte Qualität", "sin etiqueta"),
        *("sin_etiquetar", "non étiqueté", "未标注", "未標記", "ラベルなし", "без метки", "неразмеченные", "غير مصنف"),
        *("pool", "inbox", "neu", "alt", "Originale", "predicciones", "random"),
    ],
)
def test_unlabelled_images_beside_classes_in_several_languages(tmp_path: Path, name: str) -> None:
    warnings = warnings_of(tmp_path, ("cat", "dog", name))
    assert warnings == f"the folder {name!r} is read as a class; if it is none, move it out of the data"


@pytest.mark.parametrize(
    "names",
    [("alt", "neu"), ("real", "GAN", "diffusion"), ("schlechte Qualität", "gute Qualität"), ("Rost", "Neuling")],
)
def test_classes_with_such_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert warnings_of(tmp_path, names) == ""


@pytest.mark.parametrize("name", ["my_test", "alien_test", "images to test", "field test", "realworldTest"])
def test_one_folder_whose_name_ends_with_a_test(tmp_path: Path, name: str) -> None:
    warnings = warnings_of(tmp_path, ("cat", "dog", name))
    assert f"{name!r} is read as a class" in warnings and "rename it to test if it holds the test images" in warnings
    (tmp_path / name).rename(tmp_path / "test")
    found = read_images(tmp_path, verify=False)
    assert (found.class_names, len(found.test_ids), found.warnings) == (("cat", "dog"), 2, ())


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog"),
        ("left", "right"),
        ("20", "2023", "10"),
        ("1990", "2000"),
        ("001.Albatross", "002.Gull"),
        ("camera", "phone 1"),
        ("old cat", "photocopy"),
        ("sunday", "day"),
        ("type 1", "type 2"),
        ("A", "A1", "B"),
        ("car", "carp", "carp3d"),
        ("12345678", "23456789"),
        ("ALL", "AML", "CLL"),
        ("example 1", "example 2"),
        ("yes", "no", "maybe"),
        ("sharp", "blurry", "too dark"),
        ("sharp", "blurry"),
        ("bus", "train", "bicycle", "person"),
        ("bullet train", "steam train", "cats"),
        ("test tubes", "pipette", "latest"),
        ("training shoes", "boots", "model"),
        ("model t", "old man", "old english sheepdog"),
        ("cat", "dog", "100_SONGS"),
        ("photograph", "picture frame", "imagery"),
    ],
)
def test_other_names_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert warnings_of(tmp_path, names) == ""


@pytest.mark.parametrize(
    "name",
    [
        *("more photos", "Further images", "Fotos", "Bilder", "neue Fotos", "weitere Bilder", "nouvelles photos"),
        *(
            "más imágenes",
            "nuevas fotos",
            "fotos novas",
            "mais imagens",
            "nuove immagini",
            "altre foto",
            "nieuwe foto's",
        ),
        *("新しい写真", "追加画像", "追加", "新增", "更多照片", "Nachschub", "from Anna", "Annaさんから"),
        *("2024", "Batch 3", "week1", "Woche 2", "第2回", "quiz", "nicht sicher", "no seguro", "不确定", "hard cases"),
        *("for_paper", "fertig", "kann weg", "cat_google", "cat_new_photos", "cat neue Fotos", "cat_from_anna"),
        *("cat_todo", "cat 写真", "May", "Mai 2023", "Freitag", "juillet", "Urlaub 2", "instagram", "Telegram", "web"),
        *("iPhone", "best", "hard", "exam", "batch_new", "new batch", "group A", "Part B", "Gruppe 2", "A", "b", "1"),
    ],
)
def test_further_images_of_no_class(tmp_path: Path, name: str) -> None:
    assert repr(name) in warnings_of(tmp_path, ("cat", "dog", "fox", name))


@pytest.mark.parametrize(
    "names",
    [
        ("week 1", "week 2", "week 3"),
        ("2008", "3008", "206"),
        ("1950", "1960", "1970"),
        ("spider", "spider web", "fox"),
        ("crystal", "crystal set", "flat"),
        ("google", "apple", "nike"),
        ("camera", "phone", "laptop"),
        ("red fox", "fox", "large fox tail"),
        ("new york", "paris", "more"),
        ("picture frame", "painting", "photograph album"),
        ("von Kossa", "PAS", "HE"),
        ("May", "June", "July"),
        ("Monday", "rest day", "Tuesday"),
        ("group A", "group B", "control"),
        ("group A", "control"),
        ("instagram", "facebook", "nike"),
        ("iPhone", "Nokia 3310", "Galaxy S9"),
        ("hard", "soft", "semi-soft"),
        ("easy", "medium", "hard"),
        ("best", "worst", "average"),
        ("A", "B", "space", "nothing"),
        ("0", "1", "other digits"),
        ("T", "B", "NK"),
        ("mayo", "ketchup", "mustard"),
        ("lota", "pike", "burbot"),
        ("May beetle", "June bug", "ladybug"),
    ],
)
def test_such_words_in_names_of_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert warnings_of(tmp_path, names) == ""


@pytest.mark.parametrize(("pairs", "warned"), [(3, True), (1, False)])
def test_images_of_one_name_in_two_formats_may_be_masks(tmp_path: Path, pairs: int, warned: bool) -> None:
    for number in range(3):
        for seed, name in enumerate(("cat", "dog")):
            save(tmp_path / name / f"{number}.png", 10 * number + seed, 8)
            if number < pairs:
                save(tmp_path / name / f"{number}.jpg", 100 + 10 * number + seed, 8)
    found = read_images(tmp_path, verify=False)
    assert len(found.y) == 6 + 2 * pairs
    assert ("stand for several files, such as 'cat/0.jpg', 'cat/0.png'" in "\n".join(found.warnings)) == warned
