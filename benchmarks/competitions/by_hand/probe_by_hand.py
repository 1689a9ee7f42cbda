"""A linear probe by hand: frozen features, standardised, scikit-learn's logistic regression.

python probe_by_hand.py COMPETITION WEIGHTS BACKBONE SECONDS SEED
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    """Write submission.csv."""
    competition, weights, backbone = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    model = timm.create_model(backbone, pretrained=False)
    model.load_state_dict(load_file(weights / f"{backbone}.safetensors"))
    model.reset_classifier(0)
    model.eval()
    config = model.pretrained_cfg
    size = config["input_size"][-1]
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))

    def features(files: list[Path]) -> np.ndarray:
        found = []
        for begin in range(0, len(files), 32):
            images = [
                Image.open(file).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                for file in files[begin : begin + 32]
            ]
            pixels = torch.stack(
                [torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255 for image in images]
            )
            batch = (pixels - mean) / std
            with torch.inference_mode():
                found.append(((model(batch) + model(batch.flip(3))) / 2).numpy())
        return np.concatenate(found)

    train, test = sorted(competition.glob("train/*/*")), sorted(competition.glob("test/*"))
    y = [file.parent.name for file in train]
    classifier = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-5, 0, 6), cv=5, max_iter=500))
    classifier.fit(features(train), y)
    predicted = classifier.predict(features(test))
    with Path("submission.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        writer.writerows([path.name, label] for path, label in zip(test, predicted, strict=True))


if __name__ == "__main__":
    main()
