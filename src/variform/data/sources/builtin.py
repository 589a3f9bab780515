"""Data that come with variform."""

import importlib.util
from pathlib import Path

import numpy as np

from variform.config.data import DataConfig
from variform.data.sources import brackets, sprites
from variform.data.sources.source import Rendered, Source

BUILT_IN = ("digits", "brackets", "sprites")
_RENDERED_ONCE = 100_000  # sprites that are kept in memory, 410 MB


def is_digits(word: str) -> bool:
    """Whether a word is the name of the digits."""
    return word == "digits"


def is_brackets(word: str) -> bool:
    """Whether a word is the name of the brackets."""
    return word == "brackets"


def is_sprites(word: str) -> bool:
    """Whether a word is the name of the sprites, or of a part of them."""
    return word == "sprites" or word.startswith("sprites:")


def read_digits(path: Path, config: DataConfig) -> Source:
    """1,797 handwritten digits of scikit-learn, 8 x 8 pixels of 17 levels."""
    rows = _digits()
    return Source("digits", rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64), levels=17)


def _digits() -> np.ndarray:
    """Pixels and label of each digit, (N, 65) uint8, from the file of scikit-learn, which takes a second to import."""
    package = importlib.util.find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, np.uint8, delimiter=",")
    from sklearn.datasets import load_digits  # of a version that has its file elsewhere

    values, labels = load_digits(return_X_y=True)
    return np.column_stack([values, labels]).astype(np.uint8)


def read_brackets(path: Path, config: DataConfig) -> Source:
    """2,000 brackets, their labels being the kinds; beside them their measures and the number of their pixels."""
    kinds, sizes = brackets.measures()
    images = brackets.render(kinds, sizes)
    beside = dict(zip(brackets.MEASURES, sizes.T, strict=True))
    return Source(
        "brackets",
        images,
        np.array(brackets.KINDS)[kinds],
        levels=2,
        responses=beside | {"area": images.sum((1, 2), dtype=np.float64)},
    )


def read_sprites(path: Path, config: DataConfig) -> Source:
    """All sprites, or those of `sprites:N`, their labels being the shapes.

    Equal images differ in nothing but the orientation: the first is also the last, and neighbours may turn few pixels
    of a small square. All orientations of a sprite therefore share a split.
    """
    count = path.name.partition(":")[2]
    if path.name != "sprites" and not (count.isascii() and count.isdigit()):
        raise ValueError(
            f"sprites:N needs a whole number; got '{path.name}'. Use for example sprites:20000."
        )
    index = sprites.subset(int(count)) if count else np.arange(sprites.COUNT)
    classes = sprites.factors(index)
    orientation = classes[:, 2] % (sprites.FACTORS["orientation"] - 1)
    classes[:, 2] = 0
    rendered = Rendered(index, sprites.render)
    return Source(
        path.name,
        rendered if len(index) > _RENDERED_ONCE else np.asarray(rendered),
        np.array(sprites.SHAPES)[classes[:, 0]],
        levels=2,
        notes=("all orientations of a sprite of one shape, scale and position are in one split",),
        index=index,
        keys=np.stack([sprites.index_of(classes), orientation], 1),
    )
