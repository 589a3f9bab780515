"""Rounding with error feedback against the normal equations, and what it is worth beside plain rounding."""

import numpy as np
import pytest
import torch
from torch import nn

from variform.pages.explorer.rounding import measured, rounded

ROWS, COLUMNS = 5, 70  # more columns than are handed on together


def a_layer(rows=ROWS, columns=COLUMNS, seed=0):
    """Weights, and the covariance of inputs that go together: columns of few sources and a little of their own."""
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(rows, columns))
    sources = generator.normal(size=(columns, 6))
    own = np.diag(generator.uniform(0.05, 0.1, columns))
    return torch.from_numpy(weight), torch.from_numpy(sources @ sources.T + own)


def test_each_column_is_rounded_to_what_is_best_after_those_before_it():
    """Given the errors e of columns before, the best change of all later ones solves H_ll d = -H_le e."""
    weight, covariance = a_layer()
    steps = torch.linspace(0.1, 0.2, ROWS)[:, None]
    made = rounded(weight, covariance, steps)
    order = np.argsort(-covariance.diagonal().numpy(), kind="stable")
    h = covariance.numpy()[order][:, order]
    h = h + 1e-6 * np.diag(h).mean() * np.eye(COLUMNS)
    w, q = weight.numpy()[:, order], made.weight.double().numpy()[:, order]
    fine = steps.double().numpy()[:, 0]
    for k in range(COLUMNS):
        moved = np.linalg.solve(h[k:, k:], h[k:, :k] @ (w - q)[:, :k].T)
        np.testing.assert_array_equal(
            np.round(q[:, k] / fine), np.round((w[:, k] + moved[0]) / fine)
        )


def test_inputs_that_do_not_go_together_have_plain_rounding():
    weight, _ = a_layer()
    made = rounded(weight, torch.eye(COLUMNS), torch.full((ROWS, 1), 0.25))
    np.testing.assert_array_equal(made.whole.numpy(), np.round(weight.numpy() * 4))


def test_feedback_beats_plain_rounding_where_inputs_go_together():
    weight, covariance = a_layer(rows=200)
    steps = torch.full((200, 1), 0.25)
    plain = (weight * 4).round() / 4

    def error(other):
        return torch.einsum("ri,ij,rj->", weight - other, covariance, weight - other)

    assert error(rounded(weight, covariance, steps).weight.double()) < 0.2 * error(plain)


def test_what_does_not_fit_a_byte_is_cut_and_the_others_make_up_for_it():
    weight = torch.tensor([[500.0, 0.0]], dtype=torch.float64)
    made = rounded(weight, torch.tensor([[2.0, 1.9], [1.9, 2.0]]), torch.ones(1, 1))
    assert made.whole.tolist() == [[127, 127]]


def test_rows_stand_finest_first():
    steps = torch.tensor([[3.0], [1.0], [2.0], [1.0]])
    assert rounded(torch.zeros(4, 2), torch.eye(2), steps).order.tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("dead", [False, True])
def test_what_is_measured_of_a_layer(dead):
    """Behind it each output k is multiplied by g_k, so that g_k is how far it reaches."""
    gains = torch.tensor([0.0, 1.0, 3.0])
    layer = nn.Linear(2, 3)
    draws = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    draws = 0 * draws if dead else draws
    seen = measured(layer, lambda z: layer(z) * gains, draws, 40)
    np.testing.assert_allclose(seen.mean, draws.mean(0), atol=1e-6)
    np.testing.assert_allclose(seen.covariance, np.cov(draws.T.numpy(), bias=True), atol=1e-6)
    np.testing.assert_allclose(seen.reach, gains, rtol=1e-6)
    made, bias = seen.rounded(layer, 0.5)
    at_mean = draws.mean(0).double()
    exact = layer.weight.double() @ at_mean + layer.bias.double()
    np.testing.assert_allclose(
        (made.weight.double() @ at_mean + bias).numpy(), exact.detach().numpy(), atol=1e-6
    )


def test_a_function_without_derivatives_weighs_all_outputs_alike():
    layer = nn.Linear(2, 3)
    seen = measured(layer, lambda z: layer(z).detach(), torch.randn(10, 2), 10)
    assert seen.reach.tolist() == [1, 1, 1]
