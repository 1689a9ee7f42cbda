"""What Retable wrote itself is no data."""

from __future__ import annotations

from pathlib import Path

from trainer.data.names.own_files import is_data, is_own_table


def test_tables_of_our_own() -> None:
    assert is_own_table(["image_id", "label", "group", "fold"])
    assert is_own_table(["image_id", "y_pred", "p_cat", "p_dog"])
    assert is_own_table(["image_id", "fold", "seed", "y_true", "y_pred", "p_cat"])
    assert not is_own_table(["image_id", "label"])
    assert not is_own_table(["id", "p_cat"])


def test_folders_and_figures_of_our_own(tmp_path: Path) -> None:
    for name in ("home/.cache/identity", "export/submission.csv", "export/MODEL_CARD.md", "model/config.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "model" / "predict.py").write_text("x")
    (tmp_path / "first" / "nothing").mkdir(parents=True)
    (tmp_path / "provisional").mkdir()
    (tmp_path / "provisional" / "submission.csv").write_text("id,label\n")
    (tmp_path / "provisional" / "report.html").write_text("<!DOCTYPE html>")
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_data(path)] == ["first"]
    (tmp_path / "first" / "preview.png").write_bytes(b"\x89PNG tEXtSoftware Matplotlib")
    (tmp_path / "first" / "compare.png").write_bytes(b"\x89PNG")
    assert not is_data(tmp_path / "first" / "preview.png")
    assert is_data(tmp_path / "first" / "compare.png")
