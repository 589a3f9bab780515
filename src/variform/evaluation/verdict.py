"""What a reader must know before any number: the sentences that stand first wherever an evaluation is shown."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variform.config.training import TrainConfig
from variform.evaluation.illnesses import Case, Finding, diagnose
from variform.evaluation.illnesses.training import ITS_CONFIG, collapse

if TYPE_CHECKING:
    from variform.model.vae import VAE


def warnings(
    vae: "VAE",
    numbers: dict[str, Any],
    trained: TrainConfig | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """The sentences that stand first, the gravest first; none for a healthy model.

    Args:
        vae: The model.
        numbers: What `evaluation.summary` has found so far.
        trained: How it was trained, where that is known.
        history: How the training went, one mapping per epoch, where that is known.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> estimate = {"mean": 1.0, "se": 0.1, "n": 10}
        >>> numbers = {"active_units": {"count": 0, "of": 2}, "nll": estimate, "reconstruction_error": estimate}
        >>> for sentence in warnings(build_vae(ModelConfig(latent_dim=2), data.schema), numbers):
        ...     print(sentence[:42])
        No latent dimension is active (0 of 2): th
    """
    return said(diagnose(Case(numbers, vae, trained, history)))


def said(findings: Sequence[Finding]) -> list[str]:
    """The sentences on findings that are more than a hint."""
    return [finding.sentence for finding in findings if finding.severity != "hint"]


def placed(sentences: Sequence[str], folder: Path) -> list[str]:
    """Sentences on a run with its own folder in the commands that they suggest, where files have RUN.

    Example:
        >>> placed(["variform train --config RUN/config.toml --out NEW"], Path("runs/my beams"))
        ["variform train --config 'runs/my beams/config.toml' --out NEW"]
    """
    own = shlex.quote((folder / "config.toml").as_posix())
    return [sentence.replace(ITS_CONFIG, own) for sentence in sentences]


def collapsed(vae: "VAE", numbers: dict[str, Any], trained: TrainConfig | None = None) -> list[str]:
    """What is said of a collapsed model, with the command to try; nothing of any other.

    Args:
        vae: The model.
        numbers: Its evaluation.
        trained: How it was trained, where that is known.
    """
    return said(collapse(Case(numbers, vae, trained)))
