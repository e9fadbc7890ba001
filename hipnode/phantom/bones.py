"""Real bone shapes: the LLP26 shape model, evaluated as closed triangle meshes.

The package ``musculoskeletal-models`` holds Lagrange patches and a principal component model of
26 lower limbs. Coordinates are in mm: x to the patient's left, y to the back, z up.
"""

from __future__ import annotations

import json
import pickle
from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hipnode.errors import InputRefused

Array = NDArray[Any]  # of numbers in mm, mostly float64
Ints = NDArray[Any]

MODES: Final = 25
RESERVED_MODES: Final = (5, 8, 11)
"""Never drawn for training or validation; always far from zero in test anatomies."""
_PELVIS_NODES: Final = 1946
_FEMUR_NODES: Final = 634
_ELEMENTS: Final = {
    "quad44": (3, 3, False),
    "quad54": (4, 3, False),
    "quad55": (4, 4, False),
    "tri10": (3, 3, True),
    "tri15": (4, 4, True),
}
_SAFE: Final = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


@dataclass(frozen=True, slots=True)
class Surface:
    """A closed mesh whose vertices are a fixed linear map of the model's nodes."""

    weights: csr_matrix  # vertices x nodes
    triangles: Ints  # wound so that normals point outwards
    component: Ints  # of each vertex

    def vertices(self, nodes: Array) -> Array:
        """Return the vertices in mm for these nodes."""
        return np.asarray(self.weights @ nodes)


@dataclass(frozen=True, slots=True)
class Atlas:
    """Mean shape, modes and the two surfaces: pelvis with sacrum, and left femur."""

    mean: Array  # nodes x 3
    modes: Array  # nodes x 3 x modes, one standard deviation each
    pelvis: Surface
    femur: Surface

    def shape(self, coefficients: Array) -> tuple[Array, Array]:
        """Return the vertices of the pelvis and the left femur, in mm."""
        nodes = self.mean + self.modes[:, :, : len(coefficients)] @ coefficients
        femur = nodes[_PELVIS_NODES : _PELVIS_NODES + _FEMUR_NODES]
        return self.pelvis.vertices(nodes[:_PELVIS_NODES]), self.femur.vertices(femur)


class _NumpyOnly(pickle.Unpickler):
    """An unpickler that can build arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE:
            raise InputRefused(f"the shape model wants {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def models_folder() -> Path:
    """Return where the installed shape models lie."""
    spec = find_spec("musculoskeletal")
    if spec is None or not spec.submodule_search_locations:
        raise InputRefused("the package musculoskeletal-models is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "models"


@cache
def load_atlas() -> Atlas:
    """Return the shape model; the second call costs nothing."""
    folder = models_folder()
    with (folder / "shape_models" / "LLP26_rigid.pc").open("rb") as file:
        model = _NumpyOnly(file).load()
    mean = np.asarray(model["mean"], dtype=float).reshape(3, -1).T
    spread = np.sqrt(np.asarray(model["weights"], dtype=float)[:MODES])
    raw = np.asarray(model["modes"], dtype=float)[:, :MODES]
    modes = raw.reshape(3, -1, MODES).transpose(1, 0, 2) * spread
    femur_nodes = mean[_PELVIS_NODES : _PELVIS_NODES + _FEMUR_NODES]
    meshes = folder / "atlas_meshes"
    return Atlas(
        mean,
        modes,
        _surface(meshes / "pelvis_combined_cubic_flat.mesh", mean[:_PELVIS_NODES], 3),
        _surface(meshes / "femur_left_quartic_flat.mesh", femur_nodes, 3),
    )


def vertex_normals(vertices: Array, triangles: Ints) -> Array:
    """Return outward unit normals at the vertices."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normals, triangles[:, i], face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-9))


def _elements(path: Path) -> list[tuple[str, list[int]]]:
    """Return each element's kind and its node numbers, numbered as they first appear."""
    document = json.loads(path.read_text(encoding="utf-8"))
    links: dict[str, str] = document["connectivity"]
    number: dict[str, int] = {}
    count = 0
    elements = []
    for element in range(len(document["elements"])):
        kind = document["elements"][str(element)].split()[1]
        columns, rows, simplex = _ELEMENTS[kind]
        nodes = []
        for point in range(len(_lattice(columns, rows, simplex))):
            name = f"{element}_{point}"
            known = [number[other] for other in links[name].split() if other in number]
            number[name] = known[0] if known else count
            count += 0 if known else 1
            nodes.append(number[name])
        elements.append((kind, nodes))
    return elements


def _lattice(columns: int, rows: int, simplex: bool) -> Array:
    """Return the grid points of an element in its own coordinates, first axis fastest."""
    return np.array(
        [
            (i / columns, j / rows)
            for j in range(rows + 1)
            for i in range(columns + 1 - (j if simplex else 0))
        ]
    )


def _basis(points: Array, columns: int, rows: int, simplex: bool) -> Array:
    """Return the monomials at the points that the element's field is made of."""
    powers = [
        (a, b)
        for b in range(rows + 1)
        for a in range(columns + 1)
        if not simplex or a + b <= columns
    ]
    return np.stack([points[:, 0] ** a * points[:, 1] ** b for a, b in powers], axis=1)


@cache
def _tessellation(kind: str, times: int) -> tuple[Array, Ints]:
    """Return the interpolation matrix to a finer grid, and the triangles of that grid."""
    columns, rows, simplex = _ELEMENTS[kind]
    fine_c, fine_r = columns * times, rows * times
    coarse = _basis(_lattice(columns, rows, simplex), columns, rows, simplex)
    fine = _lattice(fine_c, fine_r, simplex)
    matrix = _basis(fine, columns, rows, simplex) @ np.linalg.inv(coarse)
    start = np.cumsum([0] + [fine_c + 1 - (j if simplex else 0) for j in range(fine_r)])
    triangles = []
    for j in range(fine_r):
        width = fine_c - (j if simplex else 0)
        for i in range(width):
            low, up = int(start[j]) + i, int(start[j + 1]) + i
            triangles.append((low, low + 1, up))
            if not simplex or i < width - 1:
                triangles.append((low + 1, up + 1, up))
    return matrix, np.array(triangles)


def _surface(path: Path, mean: Array, times: int) -> Surface:
    """Tessellate, weld and orient the mesh in this file."""
    rows, columns, values, triangles = [], [], [], []
    base = 0
    for kind, nodes in _elements(path):
        matrix, cells = _tessellation(kind, times)
        i, j = np.nonzero(np.abs(matrix) > 1e-9)
        rows.append(i + base)
        columns.append(np.asarray(nodes)[j])
        values.append(matrix[i, j])
        triangles.append(cells + base)
        base += matrix.shape[0]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    weights = csr_matrix(coo_matrix(entries, shape=(base, len(mean))))
    label, first = _weld(np.asarray(weights @ mean))
    cells = label[np.concatenate(triangles)]
    distinct = (cells[:, 0] != cells[:, 1]) & (cells[:, 1] != cells[:, 2])
    cells = cells[distinct & (cells[:, 0] != cells[:, 2])]
    cells, component = _orient(np.asarray(weights[first] @ mean), cells)
    return Surface(weights[first], cells, component)


def _weld(points: Array) -> tuple[Ints, Ints]:
    """Return each point's welded number, and one point for each number."""
    pairs = cKDTree(points).query_pairs(0.05, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=2 * (len(points),))
    _, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    return label.astype(np.int64), first


def _orient(vertices: Array, triangles: Ints) -> tuple[Ints, Ints]:
    """Wind all triangles alike, outwards, component by component."""
    edges: dict[tuple[int, int], list[int]] = {}
    for t, (a, b, c) in enumerate(triangles.tolist()):
        for u, v in ((a, b), (b, c), (c, a)):
            edges.setdefault((min(u, v), max(u, v)), []).append(t)
    cells = triangles.tolist()
    group = [-1] * len(cells)
    for seed in range(len(cells)):
        if group[seed] < 0:
            _flood(seed, cells, group, edges)
    wound, groups = np.array(cells), np.array(group)
    a, b, c = (vertices[wound[:, i]] for i in range(3))
    volume = np.bincount(groups, np.einsum("ij,ij->i", a, np.cross(b, c)))
    wound[volume[groups] < 0] = wound[volume[groups] < 0][:, ::-1]
    component = np.zeros(len(vertices), dtype=np.int64)
    component[wound.ravel()] = np.repeat(groups, 3)
    return wound, component


def _flood(
    seed: int, cells: list[list[int]], group: list[int], edges: dict[tuple[int, int], list[int]]
) -> None:
    """Wind everything that hangs together with the triangle ``seed`` as it is wound."""
    group[seed] = mine = max(group) + 1
    queue = deque([seed])
    while queue:
        t = queue.popleft()
        a, b, c = cells[t]
        for u, v in ((a, b), (b, c), (c, a)):
            for other in edges[(min(u, v), max(u, v))]:
                if group[other] >= 0:
                    continue
                x, y, z = cells[other]
                if (u, v) in ((x, y), (y, z), (z, x)):
                    cells[other] = [z, y, x]
                group[other] = mine
                queue.append(other)
