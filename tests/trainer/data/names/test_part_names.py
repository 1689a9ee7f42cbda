"""Which folders hold training or test images by their names."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pytest

from trainer.data.names.parts import folder_split, is_held_out


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("test", "test"),
        ("Testing", "test"),
        ("test1", "test"),
        ("test_images_512", "test"),
        ("testimages", "test"),
        ("TrainSet", "train"),
        ("stage_1_train", "train"),
        ("ISIC_2019_Test_Input", "test"),
        ("test tubes", None),
        ("test_tube", None),
        ("steam train", None),
        ("training shoes", None),
        ("trainers", None),
        ("contest", None),
        ("train_test", None),
        ("flowers_test", None),
    ],
)
def test_a_folder_holds_a_split_only_if_its_name_says_nothing_else(name: str, split: str | None) -> None:
    assert folder_split(name) == split


def test_a_twin_makes_a_split_of_a_folder() -> None:
    assert folder_split("flowers_test", ["flowers_train", "notes"]) == "test"
    assert folder_split("flowers_train", ["flowers_test"]) == "train"
    assert folder_split("test tubes", ["train"]) is None


PARTS = [
    ("学習", "評価"),
    ("訓練データ", "テストデータ"),
    ("学習用画像", "評価用画像"),
    ("入力_学習", "入力_評価"),
    ("训练集", "测试集"),
    ("학습", "시험"),
    ("обучение", "тест"),
    ("entrainement", "test"),
    ("entraînement", "test"),
    ("Trainingsdaten", "Testdaten"),
    ("Training", "Prüfung"),
    ("imagenes_entrenamiento", "imagenes_prueba"),
    ("treino", "teste"),
    ("addestramento", "prova"),
    ("jeu_de_test", "jeu_d_apprentissage"),
]


@pytest.mark.parametrize("names", PARTS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_parts_in_other_languages(names: tuple[str, str], form: Literal["NFC", "NFD"]) -> None:
    siblings = [unicodedata.normalize(form, name) for name in names]
    assert {folder_split(name, siblings) for name in siblings} == {"train", "test"}


def test_a_word_of_another_language_needs_another_part_beside_it() -> None:
    for names in (("prova", "prueba", "vino"), ("treino", "calcio"), ("学習",), ("uji", "uji 2")):
        assert [folder_split(name, names) for name in names] == [None] * len(names)
    assert folder_split("評価", ("学習", "評価", "テスト")) is None, "then it is for validation"
    assert is_held_out("検証") and is_held_out("Validierung") and not is_held_out("学習")


@pytest.mark.parametrize(("one", "other"), [("train_LbELtWX", "test_ScVgIM0"), ("train-aB3x9", "test-Zq71k")])
def test_random_ends_of_one_length_are_no_classes(one: str, other: str) -> None:
    assert (folder_split(one, [one, other]), folder_split(other, [one, other])) == ("train", "test")
    assert folder_split(one, [one]) is None
    assert folder_split(one, [one, "test_kitchen"]) is None
    assert folder_split("train_station", ["train_station", "test_kitchen"]) is None


def test_letters_that_count_parts_name_no_class() -> None:
    for one, other in (("a. Training Set", "b. Testing Set"), ("A_train", "B_test"), ("x train", "y test")):
        assert folder_split(one, (one, other)) == "train"
        assert folder_split(other, (one, other)) == "test"
    assert folder_split("a. Training Set", ("a. Training Set", "cat")) is None


@pytest.mark.parametrize("name", ["train_mini", "mini_train", "train-tiny", "train_subset_224"])
def test_an_excerpt_is_the_training_part_if_it_is_the_only_one(name: str) -> None:
    for others in (["val"], ["val", "public_test"], ["test", "images"]):
        assert folder_split(name, [name, *others]) == "train"
    for others in (["val", "train"], ["test", "training_images"], ["test", "car"], ["car", "bus"], []):
        assert folder_split(name, [name, *others]) is None
