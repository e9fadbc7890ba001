"""What the papers printed, to stand beside what was measured here."""

from __future__ import annotations

from typing import Final

_CNN1: Final = {
    "mean Jaccard": "0.87 (SD 0.06) without, 0.83 (SD 0.09) with fractures",
    "Jaccard above 0.5": "1.00; more than 0.99",
    "Jaccard above 0.7": "0.98; 0.93",
    "mean Jaccard, unfractured": "0.87",
    "SD of Jaccard, unfractured": "0.06",
    "Jaccard above 0.5, unfractured": "1.00",
    "Jaccard above 0.7, unfractured": "0.98",
    "mean Jaccard, fractured": "0.83",
    "SD of Jaccard, fractured": "0.09",
    "Jaccard above 0.5, fractured": "more than 0.99",
    "Jaccard above 0.7, fractured": "0.93",
}

PUBLISHED: Final[dict[str, dict[str, str]]] = {
    "murphy2022-cnn1": _CNN1,
    "murphy2022-cnn1-fractured": _CNN1,
    "murphy2022-cnn2": {
        "accuracy": "0.92",
        "kappa": "0.87 [0.84, 0.90]",
        "precision, no_fracture": "0.92 [0.89, 0.95]",
        "precision, trochanteric": "0.96 [0.92, 0.98]",
        "precision, intracapsular": "0.87 [0.82, 0.91]",
        "recall, no_fracture": "0.95 [0.92, 0.97]",
        "recall, trochanteric": "0.87 [0.81, 0.91]",
        "recall, intracapsular": "0.91 [0.87, 0.95]",
        "F1, no_fracture": "0.94",
        "F1, trochanteric": "0.91",
        "F1, intracapsular": "0.89",
        "AUC, no_fracture": "0.98 [0.98, 0.99]",
        "AUC, trochanteric": "0.99 [0.98, 0.99]",
        "AUC, intracapsular": "0.97 [0.95, 0.98]",
        "coverage at accuracy 0.95": "0.87",
        "accuracy, reader hospital": "0.775",
        "kappa, reader hospital": "0.63 [0.61, 0.66]",
        "kappa, readers 1 and 2": "0.55 [0.52, 0.58]; 0.49 [0.47, 0.52] by subclass",
        "p, the same as independent proportions, reader hospital": "less than 0.0001",
        "p, readers 1 and 2 agree or not and the model is right or not": "0.65",
    },
    "gale2017-cnn-frontal": {
        "precision": "more than 0.99",
        "recall": "more than 0.99",
        "accuracy": "more than 0.99",
    },
    "gale2017-cnn-bounding": {"adequate boxes": "0.97"},
    "gale2017-cnn-metal": {
        "precision": "more than 0.99",
        "recall": "1.0",
        "accuracy": "more than 0.99",
    },
    "gale2017-densenet172": {
        "AUC, positive": "0.994",
        "accuracy": "0.99 [0.99, 1.00]",
        "accuracy at doubtful_from, half fractured": "0.97",
        "precision at doubtful_from, half fractured": "0.99",
        "F1 at doubtful_from, half fractured": "0.97",
        "F1 at doubtful_from": "0.94 [0.92, 0.97]",
        "F1 at present_from": "0.95 [0.93, 0.97]",
        "accuracy, reader report": "0.99 [0.99, 1.00]",
        "precision, reader report": "0.93 [0.90, 0.95]",
        "recall, reader report": "0.97 [0.95, 0.99]",
        "F1, reader report": "0.95 [0.93, 0.97]",
        "recall at doubtful_from": "0.95 [0.92, 0.97]",
        "precision at doubtful_from": "0.92 [0.89, 0.94]",
        "recall at present_from": "0.92 [0.89, 0.95]",
        "precision at present_from": "0.97 [0.95, 0.99]",
    },
    "jang2022-vgg16": {
        "accuracy": "0.812; 0.718 in the external set",
        "recall": "0.911; 0.837 in the external set",
        "specificity": "0.689; 0.387 in the external set",
        "precision": "0.785; 0.791 in the external set",
        "npv": "0.861; 0.462 in the external set",
        "AUC, positive": "0.867; 0.700 in the external set",
    },
    "yamamoto2020-resnet18": {
        "accuracy": "0.7876",
        "precision": "0.8654",
        "recall": "0.7258",
        "specificity": "0.8627",
        "npv": "0.7213",
        "F1": "0.7895",
        "AUC, positive": "0.9089",
    },
    "yamamoto2020-resnet18-clinical": {
        "accuracy": "0.8407",
        "precision": "0.8667",
        "recall": "0.8387",
        "specificity": "0.8431",
        "npv": "0.8113",
        "F1": "0.8525",
        "AUC, positive": "0.9190",
    },
    "yamamoto2020-resnet34": {
        "accuracy": "0.8407",
        "precision": "0.8793",
        "recall": "0.8226",
        "specificity": "0.8627",
        "npv": "0.8000",
        "F1": "0.8500",
        "AUC, positive": "0.9203",
    },
    "yamamoto2020-resnet34-clinical": {
        "accuracy": "0.8673",
        "precision": "0.9273",
        "recall": "0.8226",
        "specificity": "0.9216",
        "npv": "0.8103",
        "F1": "0.8718",
        "AUC, positive": "0.9219",
    },
    "yamamoto2020-googlenet": {
        "accuracy": "0.8407",
        "precision": "0.8929",
        "recall": "0.8065",
        "specificity": "0.8824",
        "npv": "0.7895",
        "F1": "0.8475",
        "AUC, positive": "0.9064",
    },
    "yamamoto2020-googlenet-clinical": {
        "accuracy": "0.8584",
        "precision": "0.8966",
        "recall": "0.8387",
        "specificity": "0.8824",
        "npv": "0.8182",
        "F1": "0.8667",
        "AUC, positive": "0.9330",
    },
    "yamamoto2020-efficientnet-b3": {
        "accuracy": "0.8407",
        "precision": "0.8929",
        "recall": "0.8065",
        "specificity": "0.8824",
        "npv": "0.7895",
        "F1": "0.8475",
        "AUC, positive": "0.9089",
    },
    "yamamoto2020-efficientnet-b3-clinical": {
        "accuracy": "0.8850",
        "precision": "0.9016",
        "recall": "0.8871",
        "specificity": "0.8824",
        "npv": "0.8654",
        "F1": "0.8943",
        "AUC, positive": "0.9374",
    },
    "yamamoto2020-efficientnet-b4": {
        "accuracy": "0.8053",
        "precision": "0.8030",
        "recall": "0.8548",
        "specificity": "0.7451",
        "npv": "0.8085",
        "F1": "0.8281",
        "AUC, positive": "0.8786",
    },
    "yamamoto2020-efficientnet-b4-clinical": {
        "accuracy": "0.8584",
        "precision": "0.8594",
        "recall": "0.8871",
        "specificity": "0.8235",
        "npv": "0.8571",
        "F1": "0.8730",
        "AUC, positive": "0.9282",
    },
}
"""By recipe, the figure's name to the paper's text."""

_DXA: Final = """
clinical                        0.0 61.1 80.0 66.9  0.0 66.4 66.7 64.8
clinical-unbalanced             0.0 61.1 80.0 66.9  0.0 67.1 66.7 65.1
vgg16-imagenet                  0.0 62.3 80.0 69.4  0.0 62.9 66.7 64.9
vgg16-imagenet-unbalanced       0.0 69.1 80.0 66.1  0.0 72.1 66.7 69.1
vgg16-moco                      0.0 56.8 80.0 46.7  0.0 37.9 66.7 47.1
vgg16-moco-unbalanced           0.0 60.5 80.0 74.4  0.0 41.4 66.7 58.8
resnet50-moco                  25.0 66.7 79.2 69.4  0.0 80.0 66.7 72.0
resnet50-moco-unbalanced        0.0 56.2 77.8 68.0  0.0 57.9 63.6 60.7
resnet50-dino                   0.0 48.8 15.4 42.1 29.4 37.9 21.2 42.9
resnet50-dino-unbalanced        0.0 63.0  0.0 56.2 26.3 86.4 15.2 68.5
vit-s-moco                      0.0 71.6 80.0 58.7  0.0 52.9 66.7 61.0
vit-s-moco-unbalanced           0.0 67.9 80.0 62.8  0.0 57.1 66.7 62.6
vit-s-dino                     33.3 68.5 57.9 69.0 20.0 78.6 45.5 72.0
vit-s-dino-unbalanced          15.4 54.3 69.6 61.6 28.6 71.4 54.5 62.4
vit-s-dino-clinical            37.5 67.9 80.0 72.7  0.0 82.1 63.6 74.3
vit-s-dino-clinical-unbalanced 25.0 66.7 75.6 72.3  0.0 86.4 57.6 75.1
"""
"""DXA 2023, Table 1, in per cent: F1 and AUC of low, moderate, high and average; of 33 scans."""
_COLUMNS: Final = (
    "F1, low", "AUC, low", "F1, moderate", "AUC, moderate", "F1, high", "AUC, high",
    "F1, micro", "AUC, average",
)  # fmt: skip

for _name, *_cells in (line.split() for line in _DXA.strip().splitlines()):
    _shares = [f"{float(cell) / 100:.3f}" for cell in _cells]
    PUBLISHED[f"dxa2023-{_name}"] = dict(zip(_COLUMNS, _shares, strict=True))

FOLDS: Final = {
    "dxa2023-vit-s-dino-clinical": {"F1, micro": "0.626 (0.032)", "AUC, average": "0.742 (0.030)"}
}
"""DXA 2023, Results: means and standard deviations of ten folds."""
