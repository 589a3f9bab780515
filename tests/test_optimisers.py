"""Optimisers of designs, on functions whose optimum is known."""

import sys

import numpy as np
import pytest

from variform.design.optimisers import propose
from variform.design.told import Told, most_telling, non_dominated, penalised

cma = pytest.importorskip("cma")
pytest.importorskip("botorch")


class Box:
    """A space that is a box, drawn from evenly."""

    def __init__(self, low, high):
        self.box = np.asarray(low, float), np.asarray(high, float)
        self.dim = len(low)

    def sample(self, count, rng):
        return rng.uniform(*self.box, (count, self.dim))


class Pool(Box):
    """A space of so many points."""

    def __init__(self, points):
        super().__init__(points.min(0), points.max(0))
        self.points = points

    def sample(self, count, rng):
        return self.points[rng.permutation(len(self.points))[:count]]


SQUARE = Box([0, 0], [1, 1])
BRANIN = Box([-5, 0], [10, 15])


def branin(z):
    """Its least value is 0.397887."""
    x, y = z.T
    valley = y - 5.1 * x**2 / (4 * np.pi**2) + 5 * x / np.pi - 6
    return valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


def bnh(z):
    """Two objectives and two constraints of Binh and Korn."""
    x, y = z.T
    objectives = np.stack([4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2], 1)
    violations = np.stack([(x - 5) ** 2 + y**2 - 25, 7.7 - (x - 8) ** 2 - (y + 3) ** 2], 1)
    return objectives, violations


def spent(optimiser, space, answer, budget, *, first=None, batch=1, seed=0):
    """What is told once the budget is spent; `answer` gives a `Told` of points and their batch."""
    nothing = answer(np.empty((0, 2)), 0)
    told = answer(propose(optimiser, space, nothing, first or batch, seed=seed), 0)
    while len(told) < budget:
        count = min(batch, budget - len(told))
        z = propose(optimiser, space, told, count, seed=seed)
        told = told.joined(answer(z, told.batch.max() + 1))
    return told


def of_branin(z, batch):
    return Told.of(z, branin(z), batch=batch)


def best(told):
    return told.objectives[told.is_feasible, 0].min()


# --- known functions ----------------------------------------------------------------------------------------------


def test_gp_needs_a_tenth_of_the_evaluations_that_random_needs():
    """On the function of Branin, 30 beside 300: the medians over seeds, of which one or another is unlucky."""
    found = [
        best(spent("gp", BRANIN, of_branin, 30, first=6, batch=2, seed=seed)) for seed in range(3)
    ]
    drawn = BRANIN.sample(200 * 300, np.random.default_rng(0))
    by_random = branin(drawn).reshape(200, 300).min(1)
    assert np.median(found) < np.quantile(by_random, 0.25)


def test_cma_comes_within_two_percent_of_branin():
    assert best(spent("cma", BRANIN, of_branin, 200, batch=10)) < 0.397887 * 1.02


def test_cma_finds_an_optimum_that_lies_on_a_constraint():
    """The least distance of ten coordinates from 0 where their sum is at least 3: 3 / sqrt(10)."""

    def answer(z, batch):
        z = z.reshape(-1, 10)
        return Told.of(z, np.linalg.norm(z, axis=1), violations=3 - z.sum(1), batch=batch)

    told = spent("cma", Box([-2] * 10, [2] * 10), answer, 200, batch=10)
    assert best(told) < 1.1 * 3 / np.sqrt(10)


def test_cma_begins_where_the_best_of_what_was_known_lie():
    """The best tenth of 4,000 even points of a square, by their distance from a corner, is a quarter of a disc.

    A quarter of a disc with the radius r has its centre at 4 r / (3 pi) from both sides.
    """
    z = SQUARE.sample(4000, np.random.default_rng(0))
    known = Told.of(z, np.linalg.norm(z, axis=1), batch=-1)
    radius = np.sqrt(4 / np.pi * 0.1)
    proposed = propose("cma", SQUARE, known, 400, seed=0)
    np.testing.assert_allclose(proposed.mean(0), 4 * radius / (3 * np.pi), atol=0.02)
    later = known.joined(Told.of(proposed[:6], proposed[:6].sum(1), batch=0))
    assert propose("cma", SQUARE, later, 6, seed=0).shape == (6, 2)


def test_gp_proposes_better_points_where_constraints_and_validity_allow_them():
    """The least x + y outside of a circle around 0, where points with x > y fail: nearly, from 20 points."""
    found = []
    for seed in range(5):
        z = SQUARE.sample(20, np.random.default_rng(seed))
        told = Told.of(z, z.sum(1), violations=0.25 - (z**2).sum(1), valid=z[:, 0] <= z[:, 1])
        proposed = propose("gp", SQUARE, told, 2, seed=seed)
        assert (proposed.sum(1) < best(told)).all()
        found.append(proposed)
    x, y = np.concatenate(found).T
    assert (x < y + 0.1).all()
    assert np.median(x**2 + y**2) > 0.24


def test_gp_adds_more_to_the_pareto_set_than_random():
    """By the hypervolume."""
    from variform.design.bayesian import hypervolume

    def answer(z):
        objectives, violations = bnh(z)
        return Told.of(z, objectives, violations=violations)

    def volume(more):
        told = start.joined(answer(more))
        return hypervolume(told.objectives[told.is_feasible], reference)

    space, reference = Box([0, 0], [5, 3]), np.array([140.0, 50.0])
    start = answer(space.sample(20, np.random.default_rng(0)))
    proposed = propose("gp", space, start, 3, seed=0, reference=reference)
    random = [volume(propose("random", space, start, 3, seed=seed)) for seed in range(20)]
    assert volume(proposed) > max(random)


def test_the_hypervolume_of_the_whole_front_is_its_integral():
    from variform.design.bayesian import hypervolume

    t = np.linspace(0, 5, 501)
    objectives, violations = bnh(np.stack([t, t.clip(max=3)], 1))
    assert (violations <= 0).all() and non_dominated(objectives).all()
    exact = 2232 + 8608 / 3 + 184
    assert hypervolume(objectives, np.array([140.0, 50.0])) == pytest.approx(exact, rel=2e-3)
    assert hypervolume(objectives, np.array([-1.0, 50.0])) == 0


def test_pool_finds_the_best_of_known_points_and_proposes_none_twice():
    def bowl(z):
        return ((z - [0.3, 0.6]) ** 2).sum(1)

    pool = Pool(SQUARE.sample(300, np.random.default_rng(0)))
    told = spent(
        "pool", pool, lambda z, batch: Told.of(z, bowl(z), batch=batch), 20, first=8, batch=4
    )
    assert len({tuple(z) for z in told.z}) == len(told)
    assert {tuple(z) for z in told.z} <= {tuple(z) for z in pool.points}
    assert best(told) == bowl(pool.points).min()


def test_cma_goes_on_as_one_strategy_that_was_never_stopped():
    """pycma itself, told the same values as they come, draws the same points where its noise is the same."""
    from variform.design import evolution

    def sphere(z):
        return (z**2).sum(1)

    space = Box([-5, -5], [5, 5])
    told = spent("cma", space, lambda z, batch: Told.of(z, sphere(z), batch=batch), 60, batch=6)
    noise = evolution.Noise(np.random.default_rng(0))
    points = evolution.beginning(space, Told.nothing(2))
    strategy = evolution.strategy_in(space, points, noise)
    for batch in range(10):
        noise.rng = np.random.default_rng([0, 6 * batch])
        z = np.array(strategy.ask(6))
        np.testing.assert_allclose(z, told.z[told.batch == batch], atol=1e-8)
        strategy.tell(list(z), sphere(z).tolist())


# --- what is told may be anything ---------------------------------------------------------------------------------

NAN = np.nan
Z = np.random.default_rng(0).random((12, 2))
TOLD = {
    "nothing": Told.nothing(2),
    "one point": Told.of(Z[:1], [1.0]),
    "gaps": Told.of(Z, [NAN, 1, 2, NAN, 3, 4, 5, 6, np.inf, 8, 9, 1]),
    "all invalid": Told.of(Z, np.full(12, NAN), valid=False),
    "one valid": Told.of(Z, np.arange(12.0), valid=np.arange(12) == 3),
    "all equal": Told.of(Z, np.ones(12)),
    "the same point": Told.of(np.repeat(Z[:1], 12, 0), np.arange(12.0)),
    "never feasible": Told.of(Z, np.arange(12.0), violations=1 + Z),
    "huge": Told.of(Z, 1e200 * Z[:, 0] - 1e199),
    "tiny": Told.of(Z, 1e-200 * Z[:, 0]),
    "an outlier": Told.of(Z, [1e12, *np.arange(11.0)], violations=[*np.full(11, -1.0), 1e12]),
    "later batches": Told.of(Z, Z[:, 0], batch=np.arange(12) // 4),
    "known before, outside of the box": Told.of(3 * Z - 1, Z[:, 0], batch=-1),
}
SEVERAL = {
    "nothing": Told.nothing(2, 2, 1),
    "gaps": Told.of(Z, np.where(Z > 0.9, NAN, Z)),
    "all equal": Told.of(Z, np.ones((12, 2))),
    "never feasible": Told.of(Z, Z, violations=1 + Z),
    "one is best in both": Told.of(Z, np.stack([Z[:, 0], Z[:, 0]], 1)),
}


def require_points(z, count):
    assert z.shape == (count, 2) and z.dtype == float
    assert ((z >= 0) & (z <= 1)).all()


@pytest.mark.parametrize("optimiser", ["random", "pool", "cma", "gp"])
@pytest.mark.parametrize("case", TOLD)
def test_whatever_was_told_there_are_proposals(optimiser, case):
    require_points(propose(optimiser, SQUARE, TOLD[case], 2, seed=0), 2)


@pytest.mark.parametrize("optimiser", ["random", "pool", "gp"])
@pytest.mark.parametrize("case", SEVERAL)
def test_whatever_was_told_of_several_objectives_there_are_proposals(optimiser, case):
    require_points(propose(optimiser, SQUARE, SEVERAL[case], 2, seed=0), 2)


@pytest.mark.parametrize("optimiser", ["random", "pool", "cma", "gp"])
def test_the_same_answers_in_any_order_give_the_same_proposals(optimiser):
    told = Told.of(Z, Z[:, 0] ** 2, violations=Z[:, 1] - 0.5, batch=np.arange(12) // 4)
    first = propose(optimiser, SQUARE, told, 2, seed=3)
    np.random.default_rng().random(5), np.random.rand(5)
    later = propose(
        optimiser, SQUARE, told.take(np.random.default_rng(1).permutation(12)), 2, seed=3
    )
    assert first.tobytes() == later.tobytes()
    assert first.tobytes() != propose(optimiser, SQUARE, told, 2, seed=4).tobytes()


@pytest.mark.parametrize("optimiser", ["random", "pool", "cma", "gp"])
def test_points_that_are_pending_are_not_proposed_again(optimiser):
    told = Told.of(Z, Z[:, 0], batch=np.arange(12) // 4)
    pool = Pool(np.random.default_rng(1).random((8, 2)))
    space = pool if optimiser == "pool" else SQUARE
    first = propose(optimiser, space, told, 2, seed=0)
    second = propose(optimiser, space, told, 2, seed=0, pending=first)
    assert np.linalg.norm(first[:, None] - second, axis=2).min() > 1e-3


@pytest.mark.parametrize("optimiser", ["random", "pool", "gp"])
def test_a_pool_that_is_used_up_gives_what_is_left(optimiser):
    told = Told.of(Z, Z[:, 0])
    pool = Pool(np.concatenate([Z, Z[:2], np.full((1, 2), 0.5)]))
    np.testing.assert_array_equal(propose(optimiser, pool, told, 3, seed=0), [[0.5, 0.5]])
    assert propose(optimiser, pool, told, 3, seed=0, pending=pool.points).shape == (0, 2)


@pytest.mark.parametrize("optimiser", ["cma", "gp"])
def test_a_side_of_the_box_without_length_stays(optimiser):
    space = Box([0, 7, 0], [1, 7, 1])
    z = space.sample(12, np.random.default_rng(0))
    proposed = propose(optimiser, space, Told.of(z, z[:, 0], batch=np.arange(12) // 4), 2, seed=0)
    assert (proposed[:, 1] == 7).all() and np.ptp(proposed[:, [0, 2]], axis=0).max() > 0


def test_numpys_and_torchs_own_random_numbers_are_left_alone():
    import torch

    told = Told.of(Z, Z[:, 0])
    np.random.seed(0), torch.manual_seed(0)
    expected = np.random.rand(), torch.rand(()).item()
    np.random.seed(0), torch.manual_seed(0)
    for optimiser in ("random", "pool", "cma", "gp"):
        propose(optimiser, SQUARE, told, 1, seed=0)
    assert (np.random.rand(), torch.rand(()).item()) == expected


# --- rules --------------------------------------------------------------------------------------------------------


def test_penalties_count_objectives_and_violations_in_their_own_spreads():
    """By hand: the valid objectives have the interquartile range 4, the violations 2 and 20."""
    told = Told.of(
        np.arange(6)[:, None],
        [8.0, 4.0, 0.0, 2.0, 6.0, -99.0],
        violations=[[-2, -20], [1, 0], [-1, 10], [2, -10], [0, 20], [0, 0]],
        valid=[True, True, True, True, True, False],
    )
    values = penalised(told, told)
    assert values.tolist() == [2, 1 + 0.5, 0.5, 0.5 + 1, 1.5 + 1, 3.5]
    assert penalised(told.take(np.array([5, 2])), told).tolist() == [1.5, 0.5]


def test_before_a_feasible_point_violations_alone_count():
    told = Told.of(np.arange(3)[:, None], [9.0, -9.0, 0.0], violations=[[1.0], [3.0], [2.0]])
    assert penalised(told, told).tolist() == [1, 3, 2]


def test_of_many_rows_the_best_and_the_last_are_kept():
    told = Told.of(np.arange(100)[:, None], np.stack([np.arange(100), -np.arange(100)], 1))
    assert most_telling(told, 100) is told
    kept = most_telling(told, 8).z.ravel()
    assert {0, 1, 99, 98} <= set(kept) and len(kept) == 8 and (np.diff(kept) > 0).all()


def test_gp_takes_many_points_of_which_few_are_valid():
    z = SQUARE.sample(900, np.random.default_rng(0))
    told = Told.of(z, z[:, 0], valid=np.arange(900) < 2)
    require_points(propose("gp", SQUARE, told, 1, seed=0), 1)


def test_of_equal_rows_all_are_in_the_pareto_set():
    assert non_dominated(np.array([[1, 2], [1, 2], [2, 2]])).tolist() == [True, True, False]


@pytest.mark.parametrize(
    "optimiser, told, count, message",
    [
        ("gp", Told.nothing(2), 0, "`count` must be at least 1; got 0"),
        (
            "anneal",
            Told.nothing(2),
            1,
            "`optimiser` must be one of random, pool, cma, gp; got 'anneal'",
        ),
        ("cma", Told.nothing(2, 2), 1, "cma takes one objective, got 2; use gp"),
    ],
)
def test_mistakes_are_said(optimiser, told, count, message):
    with pytest.raises(ValueError, match=message):
        propose(optimiser, SQUARE, told, count, seed=0)


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one row a point"):
        Told(Z, Z, Z, np.ones(3, bool), np.ones(12, int))
    with pytest.raises(ValueError, match="`z` must be finite"):
        Told.of([[NAN]], [1.0])


@pytest.mark.parametrize(
    "optimiser, package, module",
    [("gp", "botorch.acquisition", "bayesian"), ("cma", "cma", "evolution")],
)
def test_a_missing_package_is_named_with_what_brings_it(optimiser, package, module, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"variform.design.{module}", raising=False)
    monkeypatch.delattr(f"variform.design.{module}", raising=False)
    missing = package.split(".")[0]
    with pytest.raises(
        ValueError, match=rf"{optimiser} needs .*; {missing} is .*pip install 'botorch"
    ):
        propose(optimiser, SQUARE, Told.nothing(2), 1, seed=0)
