"""Commands that make something to look at."""

from pathlib import Path
from typing import Annotated

from variform.faces.cli.options import Option, needing
from variform.faces.cli.output import opened_run, require_there, say, writing_into
from variform.system.files import write_text


def explore(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Option] = None,
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Write the explorer: one HTML page that opens without a server and decodes in the browser.

    A map of the latent space whose designs follow the pointer, sliders, ways between designs, grids, samples,
    reconstructions with the worst first, and the numbers of the run.

    Examples: `variform explore runs/demo`, `variform explore runs/wine --data new.csv --out new.html`

    Args:
        run: Folder of a run.
        data: Rows on the map instead of the run's own, in the same shape.
        out: A new .html file; by default explorer.html in the run's folder, which is written anew.
    """
    require_there(run)
    from variform.runs import explorer

    path = out or run / "explorer.html"
    if out is not None and out.suffix != ".html":
        raise ValueError(f"the page must be a .html file; got {out}. Choose another --out.")
    if out is not None and out.exists():
        raise FileExistsError(f"the output must be a new file; {out} exists. Choose another --out.")
    with writing_into(run, out):
        page = explorer.explore(opened_run(run), source=data)
        write_text(path, page.html)
    say(f"Explorer, {len(page.html) / 1e6:.1f} MB: {path}")


def serve(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Option] = None,
    host: Annotated[str, Option] = "127.0.0.1",
    port: Annotated[int, Option] = 8000,
) -> None:
    """Serve the explorer page of a run, which then asks for designs: for decoders that no page can hold.

    Stop it with Ctrl-C.

    Examples: `variform serve runs/faces`, `variform serve runs/faces --port 0`

    Args:
        run: Folder of a run.
        data: Rows on the map instead of the run's own, in the same shape.
        host: The address to listen at; who reaches it can use the page. The default is this computer alone.
        port: The port to listen at; 0 takes any that is free.
    """
    require_there(run)
    with needing("serve"):
        from variform.pages.explorer.serving import serve

    from variform.runs.explorer import served_page

    def started(url: str) -> None:
        say(f"Explorer: {url} (stop with Ctrl-C)")

    opened = opened_run(run)
    page = served_page(opened, source=data)
    serve(page.html, opened.vae, host=host, port=port, started=started)


def draw(run: Path, /) -> None:
    """Draw a run's pictures again: reconstructions, samples, manifold, latent map, traversals, interpolation.

    Example: `variform draw runs/demo`

    Args:
        run: Folder of a run; the pictures go to its figures/.
    """
    require_there(run)
    from variform.runs.pictures import draw_pictures
    from variform.runs.records import history

    with writing_into(run):
        opened = opened_run(run)
        for picture in draw_pictures(
            opened, opened.data(), opened.evaluation, history(opened.folder)
        ):
            say(f"{picture.title}: {picture.path}")
