"""A search by hand: Optuna's TPE and MedianPruner fine-tune one network, folds one after another.

    python optuna_by_hand.py COMPETITION WEIGHTS BACKBONE SECONDS SEED

A finished trial that is the best so far predicts the test images by the average of its fold models.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import optuna
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

SIZE, EPOCHS, FOLDS, BATCH = 128, 6, 5, 16


class Files(Dataset):
    def __init__(self, files: list[Path], labels: np.ndarray, transform: transforms.Compose) -> None:
        self.files, self.labels, self.transform = files, labels, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.files[index]).convert("RGB")), int(self.labels[index])


def main() -> None:
    """Search until the time is over."""
    competition, weights, backbone = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    seconds, seed = float(sys.argv[4]), int(sys.argv[5])
    train, test = sorted(competition.glob("train/*/*")), sorted(competition.glob("test/*"))
    names = sorted({file.parent.name for file in train})
    y = np.array([names.index(file.parent.name) for file in train])
    state = load_file(weights / f"{backbone}.safetensors")
    config = timm.create_model(backbone, pretrained=False).pretrained_cfg
    normalise = transforms.Normalize(config["mean"], config["std"])
    plain = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.ToTensor(), normalise])
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y, y))
    torch.manual_seed(seed)

    def predict(model: torch.nn.Module, files: list[Path], labels: np.ndarray) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            batches = DataLoader(Files(files, labels, plain), batch_size=64)
            return np.concatenate([model(images).softmax(1).numpy() for images, _ in batches])

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1e-2, log=True)
        decay = trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
        smoothing = trial.suggest_float("label_smoothing", 0.0, 0.2)
        crop = trial.suggest_float("crop", 0.3, 1.0)
        colour = trial.suggest_float("colour", 0.0, 0.4)
        augment = transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE, scale=(crop, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(colour, colour, colour),
                transforms.ToTensor(),
                normalise,
            ]
        )
        scores, test_proba = [], np.zeros((len(test), len(names)))
        for fold, (fit, held_out) in enumerate(folds):
            model = timm.create_model(backbone, pretrained=False)
            model.load_state_dict(state)
            model.reset_classifier(len(names))
            optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
            batches = DataLoader(
                Files([train[i] for i in fit], y[fit], augment), batch_size=BATCH, shuffle=True, drop_last=True
            )
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=EPOCHS * len(batches))
            for _ in range(EPOCHS):
                model.train()
                for images, labels in batches:
                    loss = torch.nn.functional.cross_entropy(model(images), labels, label_smoothing=smoothing)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
            proba = predict(model, [train[i] for i in held_out], y[held_out])
            scores.append(float((proba.argmax(1) == y[held_out]).mean()))
            test_proba += predict(model, test, np.zeros(len(test), dtype=int)) / FOLDS
            trial.report(float(np.mean(scores)), fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        finished = [t.value for t in trial.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))]
        if np.mean(scores) > max(finished, default=0.0):
            with Path("submission.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["id", "label"])
                writer.writerows([f.name, names[label]] for f, label in zip(test, test_proba.argmax(1), strict=True))
        return float(np.mean(scores))

    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, timeout=seconds)


if __name__ == "__main__":
    main()
