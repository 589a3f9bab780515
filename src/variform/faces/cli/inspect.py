"""The command that looks at data before anything is trained."""

import re
import shlex
from pathlib import Path
from typing import Annotated

from variform.config.data import DataConfig
from variform.config.run import RunConfig, default_folder
from variform.config.toml import to_command, to_option
from variform.faces.cli.options import DataOptions, Flag, Option
from variform.faces.cli.output import kept_in, print_json, print_table, say
from variform.system.files import require_empty


def inspect(
    source: str,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    rule: Annotated[tuple[str, ...], Option] = (),
    id_pattern: Annotated[str | None, Option] = None,
    json: Annotated[bool, Flag] = False,
    data: DataOptions = DataConfig(),
) -> None:
    """Look at your data: columns, spikes, equal and near rows, families, rules, outliers, and what to begin with.

    Writes inspect.html, inspect.json, columns.toml (what each column is, to be edited), clean.csv and removed.csv (rows
    that are equal to an earlier one, break a rule or hold nothing, each with the reason). Nothing is trained.

    Examples: `variform inspect designs.csv --tolerance 0.01`,
    `variform inspect frames.csv --rule "SS Thickness < SS OD/2" --response "Model Mass"`,
    `variform inspect foils.csv --id name --id-pattern "^[a-z]+"`

    Args:
        source: The data, as for `variform train`.
        out: A new folder; by default runs/ and the name of the source, with -inspect.
        rule: What every row must fulfil: a comparison of columns, with numbers, + - * / and brackets; `a .. b` stands
            for all columns from a to b, one by one. May be given several times.
        id_pattern: A regular expression: rows in whose names it finds the same are a family.
        json: Print what is found as JSON.
    """
    from variform.data.sources.formats import source_format

    source_format(source)
    folder = out or default_folder(source).with_name(f"{default_folder(source).name}-inspect")
    require_empty(folder)
    from variform.runs import inspections

    command = _command(source, rule, id_pattern, data)
    found, proposal = inspections.inspect(
        source, folder, data, rules=rule, id_pattern=id_pattern, command=command
    )
    with kept_in(folder):
        if json:
            print_json(inspections.to_dict(found, proposal))
            return
        for note in found.notes:
            say(f"Note: {note}")
        print_table(("what", "found"), inspections.facts(found), justify="left")
        say(inspections.summary(found))
        for reason in proposal.reasons:
            say(f"Proposed: {reason}.")
        say(f"Begin with: {proposal.command}")
        say(f"Page: {folder / 'inspect.html'}")


def _command(source: str, rules: tuple[str, ...], id_pattern: str | None, data: DataConfig) -> str:
    """What repeats this into the folder NEW."""
    words = to_command(RunConfig(source=source, data=data))
    words = re.sub("^variform train", "variform inspect", words).removesuffix(" --out NEW")
    parts = [words, *(f"--rule {shlex.quote(rule)}" for rule in rules)]
    if id_pattern is not None:
        parts.append(to_option("id_pattern", id_pattern))
    return " ".join([*parts, "--out NEW"])
