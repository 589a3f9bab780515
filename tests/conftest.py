"""Tests run in double precision, so that a tolerance speaks of the formula and not of rounding."""

import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

import torch


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
