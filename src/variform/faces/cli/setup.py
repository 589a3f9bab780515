"""Commands that prepare others."""

import dataclasses
from pathlib import Path
from typing import Annotated

from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.faces.cli.options import (
    DataOptions,
    EvaluationOptions,
    ModelOptions,
    Option,
    TrainOptions,
    config_file,
)
from variform.faces.cli.output import say, write
from variform.system.files import write_text


def config(
    source: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    config: Annotated[Path | None, Option] = None,
    data: DataOptions = DataConfig(),
    model: ModelOptions = ModelConfig(),
    train: TrainOptions = TrainConfig(),
    evaluation: EvaluationOptions = None,
) -> None:
    """Write all options as a file that explains each: its meaning, its choices, its default.

    `variform train --config FILE` reads it.

    Examples: `variform config wine.csv --out wine.toml`,
    `variform config --config runs/wine/config.toml --latent-dim 3 --out wine3.toml`

    Args:
        source: The data, as for `variform train`; by default `digits`.
        out: A new .toml file; by default it is printed.
        config: Explain the options in this TOML file, such as a run's config.toml; options given here go first.
    """
    known = config_file(config) if config else RunConfig()
    whole = dataclasses.replace(
        known,
        source=source or known.source,
        data=data,
        model=model,
        train=train,
        evaluation=evaluation or EvaluationConfig(),
    )
    from variform.config.commented import to_commented

    text = to_commented(whole)
    if out is None:
        write(text.rstrip("\n"))
        return
    if out.suffix != ".toml":
        raise ValueError(f"the options must go to a .toml file; got {out}. Choose another `out`.")
    write_text(out, text, new=True)
    say(f"Options: {out}. Edit it, then: variform train --config {out}")
