"""variform: variational autoencoders with honest numbers.

The names below are imported when they are first used, so that `variform --help` need not wait for torch.
"""

import importlib
import os
from typing import TYPE_CHECKING

from variform.version import __version__ as __version__

# Threads that wait for each other spin for half a millisecond, about the gap between two steps, and then sleep. GNU's
# OpenMP, which reads this as torch loads it, would have 15: on a busy machine that keeps a core from the thread that
# all wait for.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if TYPE_CHECKING:
    from variform.config.data import DataConfig
    from variform.config.model import ModelConfig
    from variform.config.run import EvaluationConfig, RunConfig
    from variform.config.training import TrainConfig
    from variform.data.dataset import Dataset, Splits
    from variform.data.reading import read
    from variform.data.schema import Schema
    from variform.estimator import VAEDetector, VAEImputer
    from variform.evaluation.imputation import impute
    from variform.evaluation.summary import evaluate
    from variform.export.model_file import save
    from variform.faces.model import Model, load
    from variform.faces.run import Run, open_run, train
    from variform.model.build import build_vae
    from variform.model.vae import VAE
    from variform.objectives import (
        DIPVAE,
        ELBO,
        HVAE,
        IWAE,
        PIWAE,
        RAE,
        WAE,
        Autoencoder,
        BetaTCVAE,
        FactorVAE,
        InfoVAE,
        SemiSupervised,
        Terms,
    )
    from variform.objectives.build import build_objective
    from variform.runs.explorer import explore
    from variform.training.callbacks import CallbackError, StopTraining
    from variform.training.fit import fit
    from variform.training.history import History

_HOMES = {
    "DataConfig": "config.data",
    "ModelConfig": "config.model",
    "EvaluationConfig": "config.run",
    "RunConfig": "config.run",
    "TrainConfig": "config.training",
    "Dataset": "data.dataset",
    "Schema": "data.schema",
    "Splits": "data.dataset",
    "read": "data.reading",
    "VAEDetector": "estimator",
    "VAEImputer": "estimator",
    "evaluate": "evaluation.summary",
    "impute": "evaluation.imputation",
    "save": "export.model_file",
    "Model": "faces.model",
    "load": "faces.model",
    "Run": "faces.run",
    "open_run": "faces.run",
    "train": "faces.run",
    "Autoencoder": "objectives",
    "BetaTCVAE": "objectives",
    "DIPVAE": "objectives",
    "ELBO": "objectives",
    "HVAE": "objectives",
    "FactorVAE": "objectives",
    "IWAE": "objectives",
    "InfoVAE": "objectives",
    "PIWAE": "objectives",
    "RAE": "objectives",
    "SemiSupervised": "objectives",
    "Terms": "objectives",
    "WAE": "objectives",
    "explore": "runs.explorer",
    "CallbackError": "training.callbacks",
    "StopTraining": "training.callbacks",
    "History": "training.history",
    "build_objective": "objectives.build",
    "fit": "training.fit",
    "VAE": "model.vae",
    "build_vae": "model.build",
}

__all__ = [
    "DIPVAE",
    "ELBO",
    "HVAE",
    "IWAE",
    "PIWAE",
    "RAE",
    "VAE",
    "WAE",
    "Autoencoder",
    "BetaTCVAE",
    "CallbackError",
    "DataConfig",
    "Dataset",
    "EvaluationConfig",
    "FactorVAE",
    "History",
    "InfoVAE",
    "Model",
    "ModelConfig",
    "Run",
    "RunConfig",
    "Schema",
    "SemiSupervised",
    "Splits",
    "StopTraining",
    "Terms",
    "TrainConfig",
    "VAEDetector",
    "VAEImputer",
    "build_objective",
    "build_vae",
    "evaluate",
    "explore",
    "fit",
    "impute",
    "load",
    "open_run",
    "read",
    "save",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'variform' has no attribute '{name}'")
    return getattr(importlib.import_module(f"variform.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
