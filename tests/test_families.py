"""Rows that are nearly the same: families against scikit-learn, and splits that keep them together."""

import itertools

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from variform.config.data import DataConfig
from variform.data.dataset import PARTS
from variform.data.families import Neighbourhood
from variform.data.groups import near_rows
from variform.data.reading import _splits, read
from variform.data.sources.source import Source

NOISE = np.random.default_rng(0)


def relatives(families=120, width=30, spread=0.02):
    """Rows in families of 1 to 6: a base, and copies that are about `spread` from it."""
    bases = NOISE.normal(size=(families, width))
    of = NOISE.permutation(np.repeat(np.arange(families), 1 + np.arange(families) % 6))
    return bases[of] + spread * NOISE.normal(size=(len(of), width)), of


ROWS, BASES = relatives()
TOLERANCE = (
    0.06  # root mean square over the columns; two copies are about .028 apart, two bases 1.4
)


def together(labels):
    """Which pairs of rows have the same label, (N, N)."""
    return np.equal.outer(labels, labels)


def nearest(rows, others):
    """Root mean square difference of each row from the nearest of the others, by scikit-learn."""
    distances, _ = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others).kneighbors(rows)
    return distances[:, 0] / np.sqrt(rows.shape[1])


@pytest.mark.parametrize("width", [1, 2, 5, 30, 200])
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.3, 3.0])
def test_families_are_the_clusters_that_scikit_learn_finds(width, tolerance):
    rows = NOISE.normal(size=(150, width)) * NOISE.uniform(0.1, 3, width)
    rows = np.concatenate([rows, rows[:40] + 0.05 * NOISE.normal(size=(40, width)), rows[:9]])
    near = Neighbourhood(rows, tolerance)
    differences = rows[:, None] - rows
    distances = np.sqrt(np.square(differences).mean(2))
    clusters = DBSCAN(eps=tolerance + 1e-11, min_samples=1, metric="precomputed")
    known = clusters.fit(distances).labels_
    assert (together(near.families()) == together(known)).all()
    found = {tuple(pair) for pairs in near.pairs() for pair in pairs.tolist()}
    is_near = distances <= tolerance + 1e-11
    assert found == {
        (i, j) for i, j in itertools.combinations(range(len(rows)), 2) if is_near[i, j]
    }


def test_many_pairs_are_joined_in_parts_as_if_at_once(monkeypatch):
    whole = Neighbourhood(ROWS, TOLERANCE).families()
    monkeypatch.setattr("variform.data.families._PAIRS_AT_ONCE", 7)
    monkeypatch.setattr("variform.data.families._VALUES_AT_ONCE", 100)
    parts = Neighbourhood(ROWS, TOLERANCE)
    assert (parts.families() == whole).all() and (together(whole) == together(BASES)).all()
    assert sum(map(len, parts.pairs())) == (together(BASES).sum() - len(ROWS)) // 2


def parts_of(splits):
    """The part of each row of the source, (N,)."""
    rows = sum(len(getattr(splits, part)) for part in PARTS)
    parts = np.empty(rows, "<U5")
    for part in PARTS:
        parts[getattr(splits, part).index.numpy()] = part
    return parts


FAMILIES = DataConfig(group="families", tolerance=TOLERANCE)


def test_no_family_is_in_two_parts_and_the_shares_that_leak_are_true():
    apart, joined = read(ROWS), read(ROWS, config=FAMILIES)
    parts = parts_of(joined)
    assert all(len(set(parts[base == BASES])) == 1 for base in range(120))
    assert len(set(parts)) == 3 and apart.leaks == {}
    shares = []
    for splits in (apart, joined):
        test, train = (getattr(splits, part).raw.double().numpy() for part in ("test", "train"))
        shares.append(float((nearest(test, train) <= TOLERANCE).mean()))
    assert shares[0] > 0.5 and shares[1] == 0
    assert joined.leaks == dict(zip(("by_row", "by_group"), shares, strict=True))
    (note,) = [note for note in joined.notes if note.startswith("leak")]
    assert f"{shares[0]:.1%} of the test rows" in note and "0.0%" in note
    assert any("120 families" in note for note in joined.notes)
    told = read(ROWS, config=DataConfig(tolerance=TOLERANCE))  # the rows stay where they were
    assert told.leaks == joined.leaks and (parts_of(told) == parts_of(apart)).all()


def test_families_stay_where_they_are_when_rows_move_or_come():
    order = NOISE.permutation(len(ROWS))
    parts = parts_of(read(ROWS, config=FAMILIES))
    assert (parts_of(read(ROWS[order], config=FAMILIES)) == parts[order]).all()
    more = np.concatenate([ROWS, NOISE.normal(size=(50, 30))])
    assert (parts_of(read(more, config=FAMILIES))[: len(ROWS)] == parts).all()
    other = parts_of(
        read(ROWS, config=DataConfig(group="families", tolerance=TOLERANCE, split_seed=1))
    )
    assert (other != parts).any()


def test_without_a_tolerance_a_twentieth_of_the_spread_is_taken_and_said():
    """The spread that the model's scaling sees: columns of other units count alike."""
    units = 10.0 ** NOISE.uniform(-3, 3, 30)
    for rows in (ROWS, ROWS * units):
        splits = read(rows, config=DataConfig(group="families"))
        parts = parts_of(splits)
        assert all(len(set(parts[base == BASES])) == 1 for base in range(120))
        assert splits.leaks["by_group"] == 0 < splits.leaks["by_row"]
        (note,) = [note for note in splits.notes if note.startswith("leak")]
        assert "0.05 standard deviations" in note and "`tolerance`" in note
    curve = NOISE.normal(size=(200, 1)) * np.linspace(1, 2, 20)  # one scale, so in its own unit
    splits = read(curve, config=DataConfig(group="families"))
    spread = np.sqrt(np.mean(np.var(curve, axis=0)))
    assert splits.scaling == "common" and any(
        f"{spread / 20:.2g} of each other" in note for note in splits.notes
    )


def test_rows_whose_gaps_or_categories_differ_are_never_near():
    rows = np.repeat(NOISE.normal(size=(60, 4)), 2, axis=0)
    rows[1::4, 2] = np.nan  # every other pair
    splits = read(rows, config=DataConfig(cells="gaps"))
    near = near_rows(splits.train.raw, splits.schema, DataConfig(tolerance=0.5, cells="gaps"))
    values = splits.train.raw.numpy()
    missing = np.isnan(values)
    filled = np.nan_to_num(values)
    is_near = np.square(filled[:, None] - filled).mean(2) <= 0.25
    is_near &= (missing[:, None] == missing).all(2)
    known = (
        DBSCAN(eps=0.5, min_samples=1, metric="precomputed").fit(np.where(is_near, 0, 1)).labels_
    )
    assert (together(near.rows.families()) == together(known)).all()


def test_mixed_tables_have_families_too(tmp_path):
    lines = [f"{base},{'ab'[copy]}" for base in NOISE.normal(size=80) for copy in (0, 1, 1)]
    (tmp_path / "mixed.csv").write_text("one,two\n" + "\n".join(lines))
    splits = read(
        tmp_path / "mixed.csv", DataConfig(cells="mixed", group="families", tolerance=0.0)
    )
    assert splits.duplicates["within"] == 80 and any(
        "of 160 families" in note for note in splits.notes
    )


def test_no_group_of_a_column_is_in_two_parts():
    for groups in (BASES, np.array([f"maker {base}" for base in BASES])):
        splits = _splits(Source("cars.csv", ROWS, groups=groups), DataConfig(group="maker"))
        parts = parts_of(splits)
        assert (
            all(len(set(parts[base == BASES])) == 1 for base in range(120)) and len(set(parts)) == 3
        )
        assert any("of 120 values of 'maker'" in note for note in splits.notes)
        assert splits.leaks["by_group"] == 0 < splits.leaks["by_row"]
    nobody = np.array([None if base < 60 else base for base in BASES], object)
    parts = parts_of(_splits(Source("cars.csv", ROWS, groups=nobody), DataConfig(group="maker")))
    by_row = parts_of(read(ROWS))
    assert (parts[BASES < 60] == by_row[BASES < 60]).all()


def test_a_source_that_comes_split_keeps_its_split_and_its_leak_is_told():
    own = np.where(np.arange(len(ROWS)) % 5, "train", "test")
    splits = _splits(Source("own.npz", ROWS, own=own), FAMILIES)
    parts = parts_of(splits)
    assert ((parts == "test") == (own == "test")).all()
    test, train = (getattr(splits, part).raw.double().numpy() for part in ("test", "train"))
    assert splits.leaks["by_group"] == (nearest(test, train) <= TOLERANCE).mean() > 0.5


def test_few_different_rows_are_split_by_their_numbers_where_that_is_asked_for():
    rows = np.repeat(NOISE.normal(size=(3, 4)), 150, axis=0)
    with pytest.raises(ValueError, match=r"the 450 rows of array are 3 different ones") as refused:
        read(rows)
    assert "`group='rows'`" in str(refused.value) and "more rows" not in str(refused.value)
    splits = read(rows, config=DataConfig(group="rows"))
    assert min(len(splits.valid), len(splits.test)) > 20
    assert splits.leaks["by_group"] == 1


def test_a_group_that_is_not_there_is_refused_with_what_is():
    with pytest.raises(ValueError, match=r"array has no column 'maker'.*`group='families'`"):
        read(ROWS, config=DataConfig(group="maker"))
