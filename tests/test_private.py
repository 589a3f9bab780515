"""Private training: clipping and noise by hand, the accountant against exact results, and what is refused."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from variform import DataConfig, ModelConfig, RunConfig, TrainConfig, build_vae, read
from variform.objectives.build import build_objective
from variform.runs.train import resume_run, train_run
from variform.system import draws
from variform.training import private
from variform.training.fit import fit
from variform.training.private import Budget, Private, budget_of, clipped_sum
from variform.training.step import Step

CONFIG = TrainConfig(private_epsilon=3.0, steps=20, batch_size=16)
BUDGET = Budget(epsilon=3.0, delta=1e-5, clip=0.5, noise=2.0, rate=0.25, steps=20)
RARE = 1e-8  # so seldom does a test of draws that nobody can repeat fail by chance


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of numbers, gaps, categories and counts."""
    path, random = tmp_path_factory.mktemp("private") / "table.csv", np.random.default_rng(0)
    lines = ["a,b,c,d"]
    for row in range(120):
        size = random.normal()
        gap = "" if row % 9 == 0 else f"{2 * size + random.normal():.3f}"
        lines.append(f"{size:.3f},{gap},{'xyw'[random.integers(3)]},{random.poisson(3)}")
    path.write_text("\n".join(lines))
    return path


def objective_of(source, **model):
    data = read(
        str(source), DataConfig(cells="mixed" if model.get("likelihood") == "mixed" else "auto")
    )
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), **model), data.schema)
    return build_objective(vae, TrainConfig()), data.train.batch(torch.arange(24))


@pytest.fixture(params=["gaussian-per-feature", "gaussian-shared", "mixed"])
def case(request, table, monkeypatch):
    """An objective, its parameters and rows; every draw from N(0, 1) is 0.3, alike with and without other rows."""
    likelihood = request.param
    alike = torch.tensor(0.3)
    monkeypatch.setattr(draws, "_drawn", lambda draw, shape, *_: alike.expand(tuple(shape)))
    objective, x = objective_of(table if likelihood == "mixed" else "digits", likelihood=likelihood)
    return objective, dict(objective.named_parameters()), x


def norm(gradients):
    return math.sqrt(sum(value.double().square().sum().item() for value in gradients.values()))


def test_without_clipping_it_is_the_gradient_of_the_sum(case):
    objective, parameters, x = case
    total, terms = clipped_sum(objective, parameters, x, None, 1e9)
    plain = objective(x)
    slopes = torch.autograd.grad(plain.loss.sum(), list(parameters.values()))
    for (name, value), slope in zip(total.items(), slopes, strict=True):
        scale = slope.abs().max().item()
        assert torch.allclose(value, slope, rtol=0, atol=1e-6 * max(scale, 1)), name
    for found, known in zip(terms, (plain.loss, plain.log_likelihood, plain.kl), strict=True):
        assert torch.allclose(found, known, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("clip", [0.01, 1.0, 30.0])
def test_a_row_adds_at_most_the_clip_with_all_parameters_together(case, clip):
    objective, parameters, x = case
    assert any("likelihood" in name for name in parameters)  # what no layer has
    total, _ = clipped_sum(objective, parameters, x, None, clip)
    assert norm(total) > 0
    for row in (0, 5, 23):
        alone, _ = clipped_sum(objective, parameters, x[row : row + 1], None, clip)
        rest = torch.cat([x[:row], x[row + 1 :]])
        without, _ = clipped_sum(objective, parameters, rest, None, clip)
        change = {name: total[name] - without[name] for name in total}
        assert norm(alone) <= clip * (1 + 1e-5)
        assert norm(change) <= clip * (1 + 1e-4)
        assert norm({name: change[name] - alone[name] for name in total}) <= 1e-4 * clip


def test_a_row_whose_gradient_is_not_finite_adds_nothing():
    objective, x = objective_of("digits", likelihood="gaussian-shared")
    parameters = dict(objective.named_parameters())
    x[3] = torch.inf
    total, _ = clipped_sum(objective, parameters, x[3:4], None, 1.0)
    assert norm(total) == 0


def test_noise_has_its_variance_and_the_rows_are_divided_by_their_expected_number():
    objective, x = objective_of("digits", likelihood="gaussian-shared")
    engine = Private(objective, list(objective.parameters()), BUDGET)
    gradients, terms = engine.gradients(x[:0], None, 16)
    assert terms.shape == (3, 0)
    values = torch.cat([value.flatten() for value in gradients]).double()
    chi2 = values.square().sum().item() / (BUDGET.noise * BUDGET.clip / 16) ** 2
    low, high = stats.chi2.ppf([RARE, 1 - RARE], len(values))
    assert low < chi2 < high
    again, _ = engine.gradients(x[:0], None, 16)
    assert not any(map(torch.equal, gradients, again))
    quiet = Private(objective, list(objective.parameters()), replace(BUDGET, noise=0.0))
    mean, _ = quiet.gradients(x[:3], None, 16)
    assert norm(dict(enumerate(mean))) <= 3 * BUDGET.clip / 16


def test_each_row_is_taken_with_the_rate_by_itself_and_no_seed_tells_which():
    objective, _ = objective_of("digits", likelihood="gaussian-shared")
    engine = Private(objective, list(objective.parameters()), BUDGET)
    torch.manual_seed(0)
    counts = np.array([len(engine.batch(400)) for _ in range(300)])
    low, high = stats.binom.ppf([RARE, 1 - RARE], 400 * 300, BUDGET.rate)
    assert low < counts.sum() < high
    spread = counts.var(ddof=1) * 299 / (400 * BUDGET.rate * (1 - BUDGET.rate))
    assert stats.chi2.ppf(RARE, 299) < spread < stats.chi2.ppf(1 - RARE, 299)
    torch.manual_seed(0)
    assert not torch.equal(engine.batch(400), engine.batch(400))


def exact_delta(epsilon, noise, rate):
    """Delta of one step that takes each row with a probability, of both directions the greater, by its integral."""
    without = stats.norm(0, noise).pdf

    def with_row(y):
        return (1 - rate) * without(y) + rate * stats.norm(1, noise).pdf(y)

    def beyond(first, second):
        def excess(y):
            return max(first(y) - math.exp(epsilon) * second(y), 0.0)

        return integrate.quad(excess, -30, 30, limit=500, points=[0, 1])[0]

    return max(beyond(with_row, without), beyond(without, with_row))


@pytest.mark.parametrize(("rows", "epsilon"), [(4000, 1.0), (60_000, 8.0), (1200, 3.0)])
def test_the_budget_is_that_of_opacus(rows, epsilon):
    accountants = pytest.importorskip("opacus.accountants")
    budget = budget_of(TrainConfig(private_epsilon=epsilon, private_delta=1e-6), rows)
    counted = accountants.RDPAccountant()
    counted.history = [(budget.noise, budget.rate, budget.steps)]
    assert 0.99 * epsilon <= counted.get_epsilon(delta=1e-6) <= epsilon


def test_the_noise_is_never_below_what_exact_results_ask_for():
    pytest.importorskip("opacus")
    for steps in (1, 100):  # all rows in each step: one Gaussian (Balle and Wang 2018, theorem 8)
        config = TrainConfig(private_epsilon=2.0, steps=steps, batch_size=500)
        budget = budget_of(config, 500)
        ratio = math.sqrt(steps) / budget.noise
        high, low = ratio / 2 - 2 / ratio, -ratio / 2 - 2 / ratio
        delta = stats.norm.cdf(high) - math.exp(2) * stats.norm.cdf(low)
        assert 1e-7 < delta <= 1e-5
    one = TrainConfig(private_epsilon=1.0, steps=1, batch_size=50)
    budget = budget_of(one, 500)
    assert budget.rate == 0.1
    assert exact_delta(1.0, budget.noise, 0.1) <= 1e-5 < exact_delta(1.0, budget.noise / 2, 0.1)


def test_more_privacy_and_more_steps_need_more_noise():
    pytest.importorskip("opacus")
    noises = [budget_of(replace(CONFIG, **options), 500).noise for options in (
        {}, {"private_epsilon": 1.0}, {"steps": 200}, {"private_delta": 1e-7}
    )]  # fmt: skip
    assert min(noises[1:]) > noises[0]


def test_without_opacus_a_sentence_names_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    with pytest.raises(
        ValueError, match=r"`private_epsilon` needs the packages of the extra privacy"
    ):
        budget_of(CONFIG, 500)


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "iwae"},
        {"objective": "beta-tc"},
        {"objective": "m2"},
        {"objective": "wae"},
        {"free_bits": 0.1},
        {"capacity": 2.0},
        {"accumulate": 2},
        {"precision": "bf16"},
        {"recompute": True},
        {"sharded": True},
        {"compile": "on"},
        {"patience": 3},
        {"shuffle_block": 8},
        {"noise": "masking", "noise_level": 0.1},
        {"freeze": "encoder"},
    ],
    ids=str,
)
def test_what_cannot_be_bounded_is_refused(options):
    with pytest.raises(ValueError, match="a training without `private_epsilon`"):
        TrainConfig(private_epsilon=1.0, **options)


def test_other_settings_are_refused_too():
    with pytest.raises(ValueError, match="`private_clip` needs `private_epsilon`"):
        TrainConfig(private_clip=2.0)
    with pytest.raises(ValueError, match="`start` must be left out with `private_epsilon`"):
        RunConfig(start="runs/other", train=CONFIG)
    with pytest.raises(ValueError, match=r"`private_delta` must be below 1 / 200000"):
        budget_of(CONFIG, 200_000)
    objective, _ = objective_of("digits", likelihood="gaussian-shared")
    with pytest.raises(ValueError, match="must be one of a whole training"):
        Step(objective, CONFIG, 10)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"prior": "vamp"}, "begins with rows"),
        ({"likelihood": "gaussian-optimal"}, "all rows of a batch"),
        ({"likelihood": "bernoulli"}, "finds none under BernoulliLikelihood"),
        ({"prior": "flow"}, "finds none under"),
    ],
    ids=str,
)
def test_models_without_a_gradient_of_each_row_are_refused(model, why):
    objective, _ = objective_of("digits", **{"likelihood": "gaussian-shared", **model})
    with pytest.raises(ValueError, match=why):
        Step(objective, CONFIG, 10, BUDGET)


def test_rows_with_weights_are_refused(table):
    data = read(str(table), DataConfig(cells="mixed", weight="d"))
    objective = build_objective(build_vae(ModelConfig(likelihood="mixed"), data.schema), CONFIG)
    with pytest.raises(ValueError, match="the rows have weights"):
        fit(objective, data.train, data.valid, CONFIG)


def test_bits_that_are_drawn_anew_are_refused():
    data = read("digits", DataConfig(binarise="dynamic"))
    model = ModelConfig(latent_dim=2, likelihood="continuous-bernoulli")
    objective = build_objective(build_vae(model, data.schema), CONFIG)
    with pytest.raises(ValueError, match="`binarise='dynamic'` draws the bits"):
        fit(objective, data.train, data.valid, CONFIG)


@pytest.fixture
def noise(monkeypatch):
    """The accountant's answer, for what does not ask about it."""
    monkeypatch.setattr(private, "_noise", lambda *_: 1.5)


def test_a_run_says_what_it_promises_and_what_not(table, tmp_path, noise):
    lines = []
    config = RunConfig(
        source=str(table), model=ModelConfig(latent_dim=2, hidden=(8,)), train=CONFIG
    )
    run = train_run(config, tmp_path / "run", tell=lines.append)
    assert any("(3, 1e-05)-differentially private for the gradient steps" in line for line in lines)
    numbers = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    promised = numbers["differential_privacy"]
    assert (promised["epsilon"], promised["delta"], promised["noise"]) == (3.0, 1e-5, 1.5)
    assert promised["steps"] == 20
    assert promised["note"] in numbers["notes"] and "Not covered: scaling" in promised["note"]
    assert promised["note"] in (tmp_path / "run" / "report.html").read_text()
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    ]
    assert all(row["best"] for row in rows)  # the last weights are kept, whatever other rows say
    again = train_run(replace(config, train=CONFIG), tmp_path / "again", pictures=False)
    first, second = (dict(one.vae.named_parameters()) for one in (run, again))
    assert not any(torch.equal(first[name], second[name]) for name in first)


def test_it_is_done_at_a_stretch(table, tmp_path, noise):
    folder = tmp_path / "run"

    def end(moment):
        if moment.step == 7:
            raise RuntimeError("enough")

    config = RunConfig(
        source=str(table), model=ModelConfig(latent_dim=2, hidden=(8,)), train=CONFIG
    )
    with pytest.raises(RuntimeError, match="mend it, then train anew"):
        train_run(config, folder, pictures=False, on_step=end)
    with pytest.raises(ValueError, match=r"at a stretch, .* at step 7 of 20"):
        resume_run(folder, pictures=False)
    train_run(config, folder, pictures=False, overwrite=True)
    resume_run(folder, pictures=False)  # all steps are done: only the evaluation is made anew


def test_more_epochs_of_a_finished_run_are_refused(table, tmp_path, noise):
    config = RunConfig(
        source=str(table),
        model=ModelConfig(latent_dim=2, hidden=(8,)),
        train=TrainConfig(private_epsilon=3.0, epochs=1),
    )
    train_run(config, tmp_path / "run", pictures=False)
    with pytest.raises(ValueError, match="must be done at a stretch"):
        resume_run(tmp_path / "run", epochs=2, pictures=False)


def test_contexts_belong_to_their_rows(tmp_path, noise):
    data = read("digits", DataConfig(condition=("label",)))
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), data.schema)
    history = fit(build_objective(vae, CONFIG), data.train, data.valid, CONFIG)
    assert history.rows[-1]["step"] == 20
