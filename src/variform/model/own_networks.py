"""Encoders and decoders of the user's own: where their code is, and the networks that it makes."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from variform.config.model import OWN_PARTS as PARTS
from variform.config.model import ModelConfig
from variform.model.vae import VAE
from variform.system.files import write_text
from variform.system.import_path import Code, find, imported, of_object, require_trusted

Factory = Callable[..., nn.Module]


def code_of(part: str, network: Factory | Code | str) -> tuple[Code, Factory]:
    """The code of a network and what it is: a class or function, or what an import path names.

    Raises:
        ValueError: for a network that is made already, what cannot be called, and as `import_path.imported`.
    """
    if isinstance(network, nn.Module):
        raise ValueError(
            f"`{part}` must be a class or a function that makes a network; got the network {type(network).__name__} "
            f"itself. Write for example {part}=lambda in_shape, out_shape: network."
        )
    if isinstance(network, str):
        network = find(network)
    if isinstance(network, Code):
        code, factory = network, imported(network)
    else:
        code, factory = of_object(network), network
    if not callable(factory):
        raise ValueError(
            f"`{part}` must be a class or a function; {code.path} is of type {type(factory).__name__}. Name another."
        )
    return code, factory


def make(
    part: str,
    code: Code,
    factory: Factory,
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    context_dim: int = 0,
) -> nn.Module:
    """The network that a factory makes: `factory(in_shape, out_shape)`, and `context_dim` by name where there is one.

    Raises:
        ValueError: where the factory fails, or makes something else.
    """
    options = {"context_dim": context_dim} if context_dim else {}
    words = [f"{tuple(in_shape)}", f"{tuple(out_shape)}"]
    words += [f"{name}={value}" for name, value in options.items()]
    call = f"{code.name}({', '.join(words)})"
    try:
        network = factory(tuple(in_shape), tuple(out_shape), **options)
    except Exception as error:
        raise ValueError(
            f"the {part} must be made by {call}; that stops with {type(error).__name__}: {error}. Mend {code.path}."
        ) from error
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"the {part} must be a torch.nn.Module; {call} gives a {type(network).__name__}. Mend {code.path}."
        )
    return network


def require_in_files(codes: Mapping[str, Code]) -> None:
    """Refuse networks that no file can name.

    Raises:
        ValueError: for a class or function that cannot be imported.
    """
    for part, code in codes.items():
        if code.file is None:
            raise ValueError(
                f"the {part} must be in a file to be saved; {code.path} lives in memory alone. Put it at the top level "
                f"of a file, such as nets.py, and import it from there, or give `{part}='nets.py:{part.title()}'`."
            )


def trusted_codes(
    config: ModelConfig, where: Path, was: Mapping[str, str], *, by: str
) -> dict[str, Code]:
    """The code that a configuration names, which came out of a file; of what nobody trusts none is run.

    Args:
        config: The configuration.
        where: The folder that it was found in, which may have a copy of the code.
        was: SHA-256 of each source when the model was trained, where it is known.
        by: What names the code, for messages.

    Raises:
        ValueError: for code that is not there, or not trusted.
    """
    codes: dict[str, Code] = {}
    for part in PARTS:
        path = getattr(config, part)
        if path is not None:
            beside = where / Path(path.rpartition(":")[0]).name
            code = find(path, copies=(where / f"{part}.py", beside), was=was.get(part, ""))
            require_trusted(code, by)
            codes[part] = code
    return codes


def sources_of(codes: Mapping[str, Code]) -> dict[str, str]:
    """The text of each network that is in a file of its own, by the name that its copy has."""
    return {
        f"{part}.py": code.file.read_bytes().decode()
        for part, code in codes.items()
        if code.is_in_file and code.file is not None
    }


def keep(sources: Mapping[str, str], folder: Path) -> None:
    """Write what `sources_of` gave into a folder, whose model then opens whatever becomes of the original."""
    for name, text in sources.items():
        write_text(folder / name, text)


def portable(vae: VAE) -> VAE:
    """The same model, whose code in files of its own is looked for beside it, as `keep` writes it."""
    codes = {
        part: replace(code, path=f"{part}.py:{code.name}") if code.is_in_file else code
        for part, code in vae.codes.items()
    }
    assert vae.config is not None  # as of every model that has codes
    paths: dict[str, Any] = {part: code.path for part, code in codes.items()}
    other = copy.copy(vae)
    other.config, other.codes = replace(vae.config, **paths), codes
    return other


def kept_codes(config: ModelConfig, folder: Path) -> dict[str, Code]:
    """As `trusted_codes`, of a run whose copies of the code go before the originals."""
    copies = {part: folder / f"{part}.py" for part in PARTS}
    was: dict[str, str] = {
        part: find(f"{copy.absolute()}:copy").sha256
        for part, copy in copies.items()
        if copy.is_file()
    }
    return trusted_codes(config, folder, was, by=str(folder))
