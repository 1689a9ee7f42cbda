"""AutoGluon-Multimodal's image classifier, in an environment of its own.

    python autogluon_by_hand.py COMPETITION WEIGHTS BACKBONE SECONDS SEED

The network takes the weights of WEIGHTS from a cache of the Hugging Face hub that this script lays out.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path


def lay_out_cache(home: Path, weights: Path, backbone: str) -> None:
    """Lay out a cache in which timm finds the weights without a network."""
    hub = home / "hub" / f"models--timm--{backbone}"
    snapshot = hub / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("0" * 40)
    shutil.copy(weights / f"{backbone}.safetensors", snapshot / "model.safetensors")


def main() -> None:
    """Write submission.csv."""
    competition, weights, backbone = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    seconds = float(sys.argv[4])
    home = Path("hf").absolute()
    lay_out_cache(home, weights, backbone)
    os.environ |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    import pandas
    from autogluon.multimodal import MultiModalPredictor

    train, test = sorted(competition.glob("train/*/*")), sorted(competition.glob("test/*"))
    rows = pandas.DataFrame({"image": [str(file) for file in train], "label": [file.parent.name for file in train]})
    predictor = MultiModalPredictor(label="label", problem_type="multiclass", eval_metric="accuracy")
    predictor.fit(
        rows,
        # Loading, the last validation and the predictions are not part of AutoGluon's limit.
        time_limit=0.8 * seconds,
        seed=int(sys.argv[5]),
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": backbone.partition(".")[0],
            "env.num_workers": 2,
        },
    )
    predicted = predictor.predict(pandas.DataFrame({"image": [str(file) for file in test]}))
    with Path("submission.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        writer.writerows([path.name, label] for path, label in zip(test, predicted, strict=True))


if __name__ == "__main__":
    main()
