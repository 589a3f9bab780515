"""How what is read becomes numbers."""

from dataclasses import dataclass
from typing import Literal

from variform.config.checks import Count, Natural, NotNegative, checked

FAMILIES, ROWS = "families", "rows"
"""What `group` can be beside the name of a column."""
Cells = Literal["auto", "numbers", "gaps", "mixed"]
"""What the cells of a table may hold."""
OF_MIXED = (
    *("categories", "counts", "reals", "positives"),
    *("bounds", "ordinals", "spikes", "active_if"),
)
"""Fields that declare something of the columns of a mixed table."""


@checked
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How what is read becomes numbers.

    Args:
        shape: Shape of one example, where it is not what the array says or seems to say: 28 28 reads rows of 784 as
            pictures, 784 reads arrays of 28 x 28 as a table.
        image_size: Height and width to which the images of a folder are resized.
        channels: `grey` or `rgb` for a folder of images; `auto` keeps grey images grey.
        frames: Of image files that hold several images (stacks, animations), whether `all` become rows or the `first`.
        background: What is behind transparent images, `white` or `black`; `ignore` takes their colours as they stand.
        about: A table about the images of a folder. Its column `file` has their names, relative to the folder, with or
            without the suffix; `condition`, `response`, `weight`, `label` and `group` name others of its columns.
        key: Name of the array to take from a file of several: .npz, .mat, .safetensors, HDF5 (its path, such as
            group/x).
        label: Name of the column of a table that holds labels.
        cells: What a cell may hold: `numbers`; `gaps`, a number or nothing (NaN, an empty cell, or a word for it:
            `na_values`); `mixed`, where every column of a table has a kind of its own: real or whole numbers,
            counts, 0 or 1, text categories, and any of them may be missing. `auto` is `mixed` for the likelihood
            `mixed` and `numbers` for others; `read` in Python, which knows no likelihood, takes what the cells of a
            table hold, and a kind that is declared makes it mixed.
        categories: Columns of a mixed table that are categories although they hold numbers.
        counts: Columns of a mixed table that are counts; by default those of non-negative whole numbers whose variance
            is at least their mean.
        reals: Columns of a mixed table that are real numbers, of a Gaussian law, although they would be taken for
            another kind.
        positives: Columns of a mixed table that hold numbers above 0, of a log-normal law.
        bounds: Columns of a mixed table that hold numbers between two bounds, of a logit-normal law, as
            "share=0..100".
        ordinals: Columns of a mixed table that hold ordered levels: whole numbers by name alone, text with its order,
            as "size=S<M<L".
        spikes: Values that many rows of a column of a mixed table hold exactly, as "stack=0.5656"; several for a column
            are several items, and "stack=none" says that it has none.
        active_if: When a column of a mixed table says anything, as "SSB OD=SSB_Include=1", of several values
            "1|2"; "SSB OD=always" says that it always does. Other cells are left out, and written as the file has them.
        units: Units of columns whose names do not end in one, as "mass=kg".
        stations: A .csv or .npy file with the place x of every column, or of the columns of one side where the first
            half of a row is one side of an outline and the second half the other; for tables of heights y alone.
        schema: A file that says of columns what they are: one TOML table a column with role, kind, unit, bounds, order,
            spike and active_if; see docs/data.md.
        header: Whether the first line of a table names its columns: `first`, `none`, or `auto`, by what stands below.
        sep: What stands between the cells of a line of text, such as `;`; found by default.
        decimal: The decimal mark of the numbers of a text table; `auto` by what only one of them can mean.
        thousands: What stands between groups of three digits of the numbers of a text table; `auto` finds commas and
            points.
        na_values: Texts that stand for a gap beside the empty cell; by default ?, and NA, N/A, NaN and null, which in a
            column of words are gaps only where a column of numbers has them too.
        encoding: Of a text table, such as `cp949`; found by default.
        sheet_name: Of a workbook (.xlsx, .xls, .ods); the first by default.
        skiprows: Lines, or rows of a sheet, before a table that are no part of it.
        columns: The columns of a table that are taken, all by default.
        id: The column that names the rows.
        response: Columns that are kept beside the rows and never enter them, such as the results of a simulation.
        weight: The column that says how much each row counts in the training: a row of weight 2 counts as two of weight
            1. It never enters a row.
        ignore: Columns that are left out.
        condition: What the model is conditioned on: `label`, and names of columns
            (numbers or text), which are then not part of the row.
        labelled: Keep the labels of this many training rows, as many of each class, and hide those of the others, to
            see what objective m2 makes of few labels.
        scaling: How raw values become the values the model sees: `unit` maps the range of all rows read to [0, 1]
            (the range of held-out rows is all that is looked at of them), `standard` gives each column mean 0 and
            standard deviation 1 in the training rows, `common` centres each column and divides all by one number, the
            root of their mean variance, `none` leaves them. `auto` maps pixels to [0, 1], leaves numbers that are in
            [0, 1] already, takes `common` for curves (8 columns or more without names, or with names that differ in
            numbers, whose neighbours are nearly alike), and standardises the rest; likelihoods of counts get `none`.
        binarise: `threshold` cuts at one half; `dynamic` draws 0 or 1 afresh at every presentation, with the grey
            value as probability.
        split_seed: Seed of the hash that assigns each row to train, validation or test.
        group: Rows that belong together and are never in two parts: those of one value in this column of a table; or
            `families`, rows that a chain of others within `tolerance` connects. By default only equal rows are kept
            together; `rows` splits even these, by their numbers, for data of few different rows.
        tolerance: Root mean square difference over the columns, in their unit, up to which two rows are nearly the
            same: the share of test rows that are so near to a training row is printed, with and without groups. By
            default, where there are groups, a twentieth of the standard deviation.
        memory_map: Whether the rows of .npy files stay on disk: `on`, `off`, or `auto`, from 1 GiB on.
    """

    shape: tuple[Count, ...] | None = None
    image_size: tuple[Count, Count] | None = None
    channels: Literal["auto", "grey", "rgb"] = "auto"
    frames: Literal["all", "first"] = "all"
    background: Literal["white", "black", "ignore"] = "white"
    about: str | None = None
    key: str | None = None
    label: str | None = None
    cells: Cells = "auto"
    categories: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    reals: tuple[str, ...] = ()
    positives: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    ordinals: tuple[str, ...] = ()
    spikes: tuple[str, ...] = ()
    active_if: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    stations: str | None = None
    schema: str | None = None
    header: Literal["auto", "first", "none"] = "auto"
    sep: str | None = None
    decimal: Literal["auto", ".", ","] = "auto"
    thousands: Literal["auto", "none", ",", ".", "'", "space"] = "auto"
    na_values: tuple[str, ...] | None = None
    encoding: str | None = None
    sheet_name: str | None = None
    skiprows: Natural = 0
    columns: tuple[str, ...] = ()
    id: str | None = None
    response: tuple[str, ...] = ()
    weight: str | None = None
    ignore: tuple[str, ...] = ()
    condition: tuple[str, ...] = ()
    labelled: Count | None = None
    scaling: Literal["auto", "none", "unit", "standard", "common"] = "auto"
    binarise: Literal["none", "threshold", "dynamic"] = "none"
    split_seed: int = 0
    group: str | None = None
    tolerance: NotNegative | None = None
    memory_map: Literal["auto", "on", "off"] = "auto"
