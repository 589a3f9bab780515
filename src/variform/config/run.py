"""A whole run: its source, and one configuration for each part."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from variform.config.checks import Count, Natural, checked, require
from variform.config.data import DataConfig
from variform.config.in_depth import InDepth
from variform.config.model import ModelConfig
from variform.config.training import TrainConfig


@checked
@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(InDepth):
    """How a trained model is evaluated, and the sections that its report has, see `InDepth`.

    Args:
        refine: Score the rows once more with a q(z|x) of its own for each, this many steps on its own ELBO from what
            the encoder answers: for an NLL that a posterior too narrow leaves too high.
        nll_samples: Importance samples per example of the NLL of the test rows; more come closer to the truth.
    """

    refine: Natural = 0
    nll_samples: Count = 1000


@checked
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines a run: the source of its data, and four configurations, one TOML table each.

    Args:
        source: A table (.csv, .tsv, .xlsx, .ods, .parquet, .feather, .jsonl), an array (.npy, .npz, IDX, HDF5, .mat,
            .safetensors), packed or not (.gz, .bz2, .xz, .zst), a folder of images or of .npy
            files, a folder in the MNIST layout, or what is built in: `digits`,
            `brackets`, `sprites`, or `sprites:20000` for that many.
        data: How what is read becomes numbers.
        start: Begin with the weights of another model, whose laws, networks, scaling and columns these then are: the
            folder of a run, or a model file. Its codes are compared with those of the trained model, whose axes are
            turned onto its own.
        bookmarks: With `start`, points of its latent space to follow: a table with the columns z1, z2, ...
        model: The three laws and the networks.
        train: How the objective is optimised.
        evaluation: How the trained model is evaluated.
    """

    source: str = "digits"
    start: str | None = None
    bookmarks: str | None = None
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        require(
            self.bookmarks is None or self.start is not None,
            "`bookmarks` are points of the model that a training starts from",
            self.bookmarks,
            "Name it with `start`, or leave `bookmarks` out.",
        )
        require(
            self.train.freeze == "none" or self.start is not None,
            "`freeze` is for a training that starts from another model",
            self.train.freeze,
            "Name that with `start`, or leave `freeze` out.",
        )

        require(
            self.train.private_epsilon is None or self.start is None,
            "`start` must be left out with `private_epsilon`: what another model learned from the rows is not bounded",
            self.start,
            "Leave one of the two out.",
        )

    @property
    def parts(self) -> "tuple[DataConfig, ModelConfig, TrainConfig, EvaluationConfig]":
        """The four configurations, whose fields are the options of the command line."""
        return self.data, self.model, self.train, self.evaluation


_RUN_OF = {  # how a training runs, which does not change what is minimised
    *(
        "epochs",
        "steps",
        "batch_size",
        "accumulate",
        "optimizer",
        "weight_decay",
        "learning_rate",
        "schedule",
        "plateau_patience",
        "plateau_factor",
        "clip_norm",
        "freeze",
        "patience",
        "seed",
    ),
    *(
        "shuffle_block",
        "checkpoint_every",
        "compile",
        "products",
        "device",
        "precision",
        "tf32",
        "recompute",
        "sharded",
    ),
}


def objective_name(config: RunConfig) -> str:
    """What a training minimises, in words: the objective, and each of its options that is not at its default.

    Configurations that differ in an objective or in one of its options have different names.

    Example:
        >>> objective_name(RunConfig(train=TrainConfig(objective="iwae", samples=5, elbo_share=0.5)))
        'iwae (samples 5, elbo share 0.5)'
    """
    options = []
    for field in dataclasses.fields(TrainConfig):
        value, name = getattr(config.train, field.name), field.name.replace("_", " ")
        is_none = value == field.default or (field.name == "warmup" and not value)
        if field.name in _RUN_OF or field.name == "objective" or is_none:
            continue
        if isinstance(value, bool):
            options.append(name if value else f"not {name}")
        elif isinstance(value, tuple):
            options.append(f"{name} {'-'.join(map(str, value)) or 'linear'}")
        else:
            options.append(f"{name} {value}")
    if config.data.condition:
        options.append(f"given {' and '.join(config.data.condition)}")
    if config.data.labelled:
        options.append(f"labels kept {config.data.labelled}")
    return f"{config.train.objective} ({', '.join(options)})" if options else config.train.objective


def default_folder(source: str) -> Path:
    """The folder of a run of a source, where none is given.

    Example:
        >>> default_folder("data/my wine.csv").as_posix()
        'runs/my-wine'
    """
    name = Path(source).name.split(".")[0]
    return Path("runs") / (re.sub(r"[^\w-]+", "-", name) or "run")
