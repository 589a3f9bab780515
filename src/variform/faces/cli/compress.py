"""Commands that compress rows with a model, and get them back."""

from pathlib import Path
from typing import Annotated

from variform.faces.cli.options import Flag, Option
from variform.faces.cli.output import print_json, print_table, require_there, say


def compress(
    run: Path,
    data: Path,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    beside: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Compress rows with a model, without loss: about as many bits as its ELBO says.

    Needs the packages of the extra compress, a model with probabilities (of zeros and ones, or of levels), and rows
    that hold only values that it knows. Only the same model gets the rows back.

    Example: `variform compress runs/demo images.npy --out images.vf`

    Args:
        run: Folder of a run, or a model file alone.
        data: A .npy file of rows, or a table as .csv, .tsv or .txt.
        out: The new file; by default the name of the data with .vf behind it.
        beside: Also compress the rows with gzip, bz2, xz, and images as PNG and WebP, and say how long these are.
        json: Print the numbers as JSON.
    """
    require_there(run)
    from variform.compression.files import compress_file
    from variform.runs.folder import open_run

    path = out or data.with_name(f"{data.name}.vf")
    opened = open_run(run)
    numbers = compress_file(opened, data, path, config=opened.config.data, beside=beside)
    if json:
        print_json(numbers)
        return
    rates = {
        "net, what each further row adds": numbers["net"],
        "total, the whole file": numbers["total"],
        **({"negative ELBO, one draw a row": numbers["elbo"]} if "elbo" in numbers else {}),
        **numbers.get("beside", {}),
    }
    rows = [
        [name, f"{rate:.4f}", f"{rate * numbers['values'] / 8:,.0f}"]
        for name, rate in rates.items()
    ]
    print_table(["", "bits a value", "bytes"], rows)
    say(f"{numbers['rows']:,} rows, {numbers['bytes']:,} bytes: {path}")


def decompress(
    run: Path,
    file: Path,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Get the rows of a compressed file back, with the model that compressed them.

    Example: `variform decompress runs/demo images.vf --out again.npy`

    Args:
        run: Folder of the run, or its model file alone.
        file: What `variform compress` wrote.
        out: A new file of the suffix that the data had; by default the name of the file without .vf.
    """
    require_there(run)
    from variform.compression.files import decompress_file
    from variform.runs.folder import open_run

    path = out or file.with_name(file.name.removesuffix(".vf"))
    rows = decompress_file(open_run(run), file, path)
    say(f"{rows:,} rows: {path}")
