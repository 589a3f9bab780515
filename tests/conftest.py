"""Tests run in double precision, so that a tolerance speaks of the formula and not of rounding."""

import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
# `make test` runs as many processes as there are processors: more threads than that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
