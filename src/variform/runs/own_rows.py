"""Rows in memory that a run keeps in its folder, so that it can be opened, evaluated and gone on with later."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.objects import held_in, labels_in, of_two_places
from variform.data.sources.text_tables import Frame
from variform.system.files import replacing

OWN = "run:"
"""Begins the source of such a run: what follows is a path in its folder."""

TABLE, ARRAY, LABELS = "rows/table.parquet", "rows/array.npy", "rows/labels.npy"
FILES = (TABLE, ARRAY, LABELS)
_NAMES = "name of the row"


def located(source: str, folder: Path) -> str:
    """Where the source of the run in `folder` is.

    Example:
        >>> located("run:rows/table.parquet", Path("runs/a")), located("wine.csv", Path("runs/a"))
        ('runs/a/rows/table.parquet', 'wine.csv')
    """
    return str(folder / source.removeprefix(OWN)) if source.startswith(OWN) else source


@dataclass(frozen=True)
class OwnRows:
    """Rows in memory in the form in which a run keeps them.

    Args:
        rows: An array, or a table of Arrow.
        labels: One a row of an array; None where there are none, or where they are a column of the table.
    """

    rows: np.ndarray | pa.Table
    labels: np.ndarray | None

    @property
    def source(self) -> str:
        """What `RunConfig.source` says of them."""
        if isinstance(self.rows, pa.Table):
            return OWN + TABLE
        return OWN + (ARRAY if self.labels is None else str(Path(ARRAY).parent))

    def write(self, folder: Path) -> None:
        """Write them into the folder of a run, each file whole or not at all."""
        (folder / TABLE).parent.mkdir(exist_ok=True)
        if isinstance(self.rows, pa.Table):
            import pyarrow.parquet as pq  # slow to import

            with replacing(folder / TABLE) as path:
                pq.write_table(self.rows, path)
            return
        arrays = (
            {ARRAY: self.rows} if self.labels is None else {ARRAY: self.rows, LABELS: self.labels}
        )
        for name, values in arrays.items():
            with replacing(folder / name) as path, path.open("wb") as file:
                np.save(file, values, allow_pickle=False)


def own_rows(rows: object, config: DataConfig, labels: object = None) -> tuple[OwnRows, DataConfig]:
    """Rows in memory as a run keeps them, and how they are read: names and labels of a table become columns.

    Args:
        rows: As `variform.data.reading.read` takes.
        config: How to read them.
        labels: One label a row, where no column holds them.

    Raises:
        TypeError, ValueError: as `read`; for labels from two places.

    Example:
        >>> kept, config = own_rows({"mass": [1.0, 2.0]}, DataConfig(), labels=["a", "b"])
        >>> kept.rows.column_names, config.label
        (['mass', 'label'], 'label')
    """
    held = held_in(rows)
    if not isinstance(held, Frame):
        return OwnRows(held, None if labels is None else labels_in(labels)), config
    table = _table_of(held)
    if held.names is not None and config.id is None:
        table = _with_column(table, _NAMES, held.names)
        config = dataclasses.replace(config, id=_NAMES)
    if labels is not None:
        if config.label is not None:
            raise of_two_places(config.label, held.name)
        table = _with_column(table, "label", labels_in(labels))
        config = dataclasses.replace(config, label="label")
    return OwnRows(table, None), config


def _table_of(frame: Frame) -> pa.Table:
    """The table that a frame was made of, columns with an order included."""
    cells = []
    for name, column in zip(frame.columns, frame.cells, strict=True):
        if order := frame.orders.get(name):
            levels = pa.array(order)
            numbers = pc.index_in(column, value_set=levels).combine_chunks()
            column = pa.DictionaryArray.from_arrays(numbers, levels, ordered=True)
        cells.append(column)
    return pa.table(cells, names=list(frame.columns))


def _with_column(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    if name in table.column_names:
        raise ValueError(
            f"the table must have no column {quoted(name)} beside names or labels of its own; it has one. Rename it."
        )
    return table.append_column(name, pa.array(values))
