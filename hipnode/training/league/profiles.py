"""How large a league is: images, sizes and steps, by profile.

The papers' systems are the rows; a profile says what differs from their recipes for all of them.
Only ``paper`` changes nothing, and needs the papers' machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

UNTRAINED: Final = "untrained"
"""What a row goes on from whose backbone has learned nothing, and is frozen all the same."""


@dataclass(frozen=True)
class System:
    """A row: its recipe, the recipe (or `UNTRAINED`) that it goes on from, and what is left out."""

    recipe: str
    start: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """What is asked, of which phantoms and view, and the rows by name.

    Rows that find boxes are judged by their Jaccard index, the others by the AUC. ``elsewhere`` are
    phantoms of another hospital, on which all rows are judged too.
    """

    name: str
    phantom: str
    systems: dict[str, System]
    of_scans: bool = False
    of: Literal["findings", "boxes", "gates"] = "findings"
    view: str = "one_hip"
    elsewhere: str = ""


_YAMAMOTO: Final = ("resnet18", "resnet34", "googlenet", "efficientnet-b3", "efficientnet-b4")
_PRETRAINED: Final = (
    ("vgg16", "moco"), ("resnet50", "moco"), ("resnet50", "dino"), ("vit-s", "moco"),
    ("vit-s", "dino"),
)  # fmt: skip
OSTEOPOROSIS: Final = Task(
    "osteoporosis",
    "hips",
    {
        f"yamamoto2020-{name}{more}": System(f"yamamoto2020-{name}{more}")
        for name in _YAMAMOTO
        for more in ("", "-clinical")
    }
    | {
        "jang2022-vgg16": System("jang2022-vgg16"),
        "jang2022-vgg16-without-non-local": System(
            "jang2022-vgg16", changes=("network.arguments.non_local=false",)
        ),
    },
    of_scans=True,
    elsewhere="hips-external",
)
_TWICE: Final = ("", "-unbalanced")  # each row of the DXA paper's Table 1 stands there twice
RISK: Final = Task(
    "risk",
    "falls",
    {f"dxa2023-{name}-from-scratch": System(f"dxa2023-{name}") for name in ("resnet50", "vit-s")}
    | {
        f"dxa2023-{name}-untrained": System(f"dxa2023-{name}-moco", UNTRAINED)
        for name in ("vgg16", "resnet50", "vit-s")
    }
    | {f"dxa2023-clinical{more}": System(f"dxa2023-clinical{more}") for more in _TWICE}
    | {
        f"dxa2023-{name}-{how}{more}": System(
            f"dxa2023-{name}-{how}{more}", f"dxa2023-{how}-{name}"
        )
        for name, how in _PRETRAINED
        for more in _TWICE
    }
    | {
        f"dxa2023-vit-s-dino-clinical{more}": System(
            f"dxa2023-vit-s-dino-clinical{more}", "dxa2023-dino-vit-s"
        )
        for more in _TWICE
    },
    of_scans=True,
)
_DENSENET: Final = "gale2017-densenet172"
_LEFT_OUT: Final = {
    "second-loss": "location_loss=0",
    "histograms": "augmentation.histogram=0",
    "translations": "augmentation.shift=0",
    "rotations": "augmentation.rotate_deg=0",
    "shears": "augmentation.shear=0",
}
FRACTURE: Final = Task(
    "fracture",
    "broken",
    {name: System(name) for name in (_DENSENET, "gale2017-fcn", "murphy2022-cnn2")}
    | {
        f"{_DENSENET}-without-{what}": System(_DENSENET, changes=(change,))
        for what, change in _LEFT_OUT.items()
    },
)
BOXES: Final = Task(
    "boxes",
    "pelves",
    {
        "murphy2022-cnn1": System("murphy2022-cnn1"),
        "murphy2022-cnn1-fractured": System(
            "murphy2022-cnn1-fractured", "murphy2022-cnn1-unfractured"
        ),
        "gale2017-cnn-bounding": System("gale2017-cnn-bounding"),
    },
    of="boxes",
    view="frontal",
)
VIEW: Final = Task(
    "view", "views", {"gale2017-cnn-frontal": System("gale2017-cnn-frontal")}, of="gates"
)
METAL: Final = Task(
    "metal", "implants", {"gale2017-cnn-metal": System("gale2017-cnn-metal")}, of="gates"
)
TASKS: Final = (OSTEOPOROSIS, RISK, FRACTURE, BOXES, VIEW, METAL)


@dataclass(frozen=True)
class Profile:
    """What a league takes: people of each split, and changes to every recipe, as for ``--set``.

    ``own`` are changes of a recipe whose name begins so, after all others. ``scans`` is how many
    times as many people have a scan, which costs a twentieth of a radiograph.
    """

    name: str
    people: dict[str, int]  # train, val, test
    changes: tuple[str, ...] = ()
    pretraining: tuple[str, ...] = ()
    own: tuple[tuple[str, tuple[str, ...]], ...] = ()
    bodies: dict[str, int] | None = None  # of each split; None: as many as the phantom has
    scans: int = 1

    def people_of(self, task: Task) -> dict[str, int]:
        """Return how many people of each split a task's phantoms are of."""
        times = self.scans if task.of_scans else 1
        return {split: count * times for split, count in self.people.items()}

    def for_recipe(self, recipe: str, *, labels: bool) -> list[str]:
        """Return the changes of one recipe; ``labels``: it is no pre-training."""
        own = [one for start, more in self.own if recipe.startswith(start) for one in more]
        return [*(self.changes if labels else self.pretraining), *own]


_SMALL: Final = (
    'plan.optimiser="adamw"', 'plan.schedule="cosine"', "plan.warmup=0.1", "plan.patience=0",
    "plan.ema=0.98", "plan.clip_norm=5", "plan.view=0.9", "plan.bf16=false",
    'preprocessing.region="hip"',
)  # fmt: skip
_CALM: Final = (
    "augmentation={rotate_deg=6, shift=0.03, scale=0.05, brightness=0.05, contrast=0.05}",
)
_GALE: Final = (
    "preprocessing.size_px=256",
    "augmentation={rotate_deg=6, shift=0.03, shear=0.06, histogram=0.5}",
)
_CNN1: Final = ("plan.view=1", "plan.learning_rate=3e-3", "augmentation.flip=0.5")
_BOUNDING: Final = (
    "plan.view=1", "preprocessing.size_px=128",
    "network.arguments={depth=5, width=128, head_px=4, outputs=4}",
)  # fmt: skip
_FRONTAL: Final = ("preprocessing.size_px=64", "plan.view=1")
_METAL: Final = ("preprocessing.size_px=128",)
_FCN: Final = ("network.arguments={depth=7, width=64, head_px=2, outputs=2}",)


def _often(images: int, epochs: int, rate: float) -> tuple[str, ...]:
    return (f"plan.epoch_images={images}", f"plan.epochs={epochs}", f"plan.learning_rate={rate}")


_SCANS: Final = _often(3000, 7, 3e-4)
_HEADS: Final = tuple(
    (start, (*_often(3000, 40, 1e-3), "augmentation={}", "plan.weight_decay=0.3"))
    for start in ("dxa2023-resnet50-", "dxa2023-vgg16-", "dxa2023-vit-s-moco", "dxa2023-vit-s-dino")
)
"""Over a frozen backbone: from images that nothing changes, which are seen by it once."""


_MOCO: Final = (
    'plan.optimiser="adamw"', "plan.learning_rate=1e-3", "plan.weight_decay=0.02",
)  # fmt: skip
"""By the release's plan, 150 steps tell no image from another."""


def _sized(px: int, images: int, epochs: int, rate: float, *more: str) -> tuple[str, ...]:
    steps = (f"preprocessing.size_px={px}", "plan.weight_decay=0.02", *_often(images, epochs, rate))
    return (*_SMALL, *_CALM, *steps, *more)


def _unlabelled(px: int, images: int, epochs: int, *more: str) -> tuple[str, ...]:
    return (
        f"preprocessing.size_px={px}", f"plan.epochs={epochs}", f"plan.epoch_images={images}",
        "plan.bf16=false", "settings.momentum=0.99", "settings.prototypes=1024",
        "settings.hidden=512", "settings.local_views=2", "settings.local_px=32", *more,
    )  # fmt: skip


def _vit(px: int, depth: int) -> tuple[str, ...]:
    return (f"network.arguments.size_px={px}", f"network.arguments.depth={depth}")


PROFILES: Final = {
    "smoke": Profile(
        "smoke",
        {"train": 48, "val": 16, "test": 24},
        _sized(32, 32, 2, 2e-3, "plan.batch=16"),
        _unlabelled(32, 32, 1, "plan.batch=16", "settings.queue=64"),
        (
            ("yamamoto2020-googlenet", ("network.arguments.width=0.125",)),
            ("yamamoto2020-resnet", ("network.arguments.width=0.125",)),
            ("dxa2023-vit-s", _vit(32, 1)),
            *((start, ("augmentation={}",)) for start, _ in _HEADS),
            ("dxa2023-dino-vit-s", _vit(32, 1)),
            ("dxa2023-moco-vit-s", _vit(32, 1)),
            ("murphy2022-cnn2", ("network.arguments.width=0.125",)),
            ("murphy2022-cnn1", _CNN1),
            ("gale2017-densenet172", _GALE),
            ("gale2017-fcn", (*_GALE, *_FCN)),
            ("gale2017-cnn-bounding", _BOUNDING),
            ("gale2017-cnn-frontal", _FRONTAL),
            ("gale2017-cnn-metal", _METAL),
        ),
        {"train": 2, "val": 1, "test": 1},
    ),
    "cpu": Profile(
        "cpu",
        {"train": 1000, "val": 150, "test": 600},
        _sized(64, 800, 6, 1.5e-3),
        _unlabelled(64, 800, 6),
        (
            ("yamamoto2020", _often(1600, 6, 1.5e-3)),
            ("yamamoto2020-efficientnet", ("plan.learning_rate=6e-4",)),
            ("yamamoto2020-googlenet", ("network.arguments.width=0.5",)),
            ("jang2022", ("plan.learning_rate=5e-4",)),
            ("dxa2023-clinical", _SCANS),
            ("dxa2023-resnet50", _SCANS),
            ("dxa2023-vit-s", (*_vit(64, 12), *_SCANS)),
            *_HEADS,
            ("dxa2023-dino-vit-s", _vit(64, 12)),
            ("dxa2023-moco", _MOCO),
            ("dxa2023-moco-vit-s", _vit(64, 12)),
            ("murphy2022-cnn2", ("preprocessing.size_px=128", "network.arguments.width=0.5")),
            ("murphy2022-cnn1", (*_CNN1, "preprocessing.size_px=128")),
            ("gale2017-densenet172", _GALE),
            ("gale2017-fcn", (*_GALE, *_FCN)),
            ("gale2017-cnn-bounding", _BOUNDING),
            ("gale2017-cnn-frontal", (*_FRONTAL, *_often(3000, 20, 1e-2))),
            ("gale2017-cnn-metal", (*_METAL, *_often(2000, 12, 5e-3))),
        ),
        scans=5,
    ),
    "gpu": Profile(
        "gpu", {"train": 3000, "val": 600, "test": 1000}, ("plan.patience=0",)
    ),
    "paper": Profile("paper", {"train": 3000, "val": 600, "test": 1000}),
}  # fmt: skip
"""By name: ``smoke`` shows that all of it works, ``cpu`` takes minutes a row on one core."""
