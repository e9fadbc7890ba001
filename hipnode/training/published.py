"""What the papers printed, to stand beside what was measured here."""

from __future__ import annotations

from typing import Final

PUBLISHED: Final[dict[str, dict[str, str]]] = {
    "murphy2022-cnn1": {
        "mean Jaccard": "0.87 (SD 0.06) without, 0.83 (SD 0.09) with fractures",
        "Jaccard above 0.5": "1.00; more than 0.99",
        "Jaccard above 0.7": "0.98; 0.93",
    },
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
    },
    "gale2017-cnn-frontal": {"accuracy": "more than 0.99"},
    "gale2017-cnn-metal": {"accuracy": "more than 0.99"},
    "gale2017-densenet172": {
        "AUC, positive": "0.994",
        "accuracy": "0.97 at a prevalence of one half; 0.99 in the whole test set",
        "recall at doubtful_from": "0.95 [0.92, 0.97]",
        "precision at doubtful_from": "0.92 [0.89, 0.94]",
        "recall at present_from": "0.92 [0.89, 0.95]",
        "precision at present_from": "0.97 [0.95, 0.99]",
    },
    "jang2022-vgg16": {
        "accuracy": "0.812; 0.718 in the external set",
        "AUC, positive": "0.867; 0.700 in the external set",
    },
}
"""By recipe, the figure's name to the paper's text."""
