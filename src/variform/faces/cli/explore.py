"""Commands that make something to look at."""

from pathlib import Path
from typing import Annotated, Literal

from variform.config.choices import LanguageName
from variform.faces.cli.options import Flag, Option
from variform.faces.cli.output import open_page, opened_run, require_there, say, writing_into
from variform.system.extras import needing
from variform.system.files import require_new, write_text


def explore(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Option] = None,
    study: Annotated[Path | None, Option] = None,
    rows: Annotated[int | None, Option] = None,
    embedding: Annotated[Literal["tsne"] | None, Option] = None,
    language: Annotated[LanguageName, Option] = "auto",
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Write the explorer: one HTML page that opens without a server and decodes in the browser.

    A map of the latent space whose designs follow the pointer, sliders, ways between designs, grids, samples,
    reconstructions with the worst first, and the numbers of the run.

    Examples: `variform explore runs/demo`, `variform explore runs/wine --data new.csv --out new.html`,
    `variform explore runs/foils --study runs/drag --out drag.html`, `variform explore runs/sprites --rows 100000`,
    `variform explore model.safetensors`

    Args:
        run: Folder of a run, or a model file alone: then the map has draws of the model, where no data are named.
        data: Rows on the map instead of the run's own, in the same shape.
        study: Folder of a study that `variform design` wrote of the run's data: its designs on the map, and beside each
            other in a tab.
        rows: How many rows the map shows, up to 100000; by default as many as a small page has room for.
        embedding: A picture of neighbours beside the planes of the map, of up to 5000 rows: t-SNE, whose distances mean
            nothing.
        language: Of the page; auto is that of the browser, where there is one, else English.
        out: A new .html file; by default explorer.html in the run's folder, which is written anew; of a model file a
            new .html file beside it.
    """
    require_there(run)
    from variform.runs import explorer

    path = out or (run / "explorer.html" if run.is_dir() else run.with_suffix(".html"))
    is_new = out is not None or not run.is_dir()
    if out is not None and out.suffix != ".html":
        raise ValueError(f"the page must be a .html file; got {out}. Choose another --out.")
    if is_new:
        require_new(path)
    with writing_into(run, out):
        page = explorer.explore(
            opened_run(run),
            source=data,
            study=study,
            rows=rows,
            embedding=embedding,
            language=language,
            has_report=not is_new and (run / "report.html").is_file(),
        )
        write_text(path, page.html, new=is_new)
    say(f"Explorer, {len(page.html) / 1e6:.1f} MB: {path}")


def serve(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Option] = None,
    rows: Annotated[int | None, Option] = None,
    embedding: Annotated[Literal["tsne"] | None, Option] = None,
    language: Annotated[LanguageName, Option] = "auto",
    host: Annotated[str, Option] = "127.0.0.1",
    port: Annotated[int, Option] = 8000,
    most_rows: Annotated[int, Option] = 10_000,
    most_bytes: Annotated[int, Option] = 2**25,
) -> None:
    """Serve a model to programs, and its explorer page to people, which then asks for designs.

    Programs encode, decode, sample, score, reconstruct and impute by JSON or .npy at /v1/...; /docs shows how,
    /openapi.json describes it. The page is for decoders that no page can hold, too. Stop it with Ctrl-C.

    Examples: `variform serve runs/faces`, `variform serve model.safetensors --port 0`

    Args:
        run: Folder of a run, or a model file alone, as for `variform explore`.
        data: Rows on the map instead of the run's own, in the same shape.
        rows, embedding, language: As for `variform explore`.
        host: The address to listen at; who reaches it can use page and model. The default is this computer alone.
        port: The port to listen at; 0 takes any that is free.
        most_rows: Rows, points or importance samples of one request at /v1/...; what has more is refused.
        most_bytes: Of the body of one.
    """
    require_there(run)
    with needing("serve", "variform serve"):
        from variform.faces.http import application
        from variform.pages.explorer.serving import serve

    from variform.faces.model import Model
    from variform.runs.explorer import served_page

    def started(url: str) -> None:
        say(f"Explorer: {url}\nFor programs: {url}docs (stop with Ctrl-C)")

    opened = opened_run(run)
    page = served_page(opened, source=data, rows=rows, embedding=embedding, language=language)
    limits = {"most_rows": most_rows, "most_bytes": most_bytes}
    app = application(Model(opened.vae), page=page.html, names=(host,), **limits)
    serve(app, host=host, port=port, started=started)


def show(
    run: Path, /, *, page: Annotated[Literal["report", "explorer"], Option] = "report"
) -> None:
    """Open a page in the browser: the report of a run, its explorer, or what a study or a comparison wrote.

    While a run is trained it is the page of its curves, which follows the training and ends as the report.

    Without a display it says where the page lies.

    Examples: `variform open runs/demo`, `variform open runs/demo --page explorer`

    Args:
        run: Folder of a run, a study, a comparison or an inspection; or a .html file.
        page: The page of a run.
    """
    open_page(_page_in(run, page))


def _page_in(place: Path, page: str) -> Path:
    """The page that is meant by a folder or a file."""
    from variform.runs.live import live_page

    live = live_page(place) if page == "report" else None
    if live is not None:
        return live
    names = [f"{page}.html", "comparison.html", "inspect.html"]
    paths = [place / name for name in names] if place.is_dir() else [place]
    found = [path for path in paths if path.suffix == ".html" and path.is_file()]
    if found:
        return found[0]
    remedy = "Give the folder that a command wrote, or a .html file."
    if not place.exists():
        raise FileNotFoundError(f"there must be a page to open; {place} does not exist. {remedy}")
    if page == "explorer":
        remedy = f"Write it with variform explore {place}."
    raise FileNotFoundError(f"there must be a page to open; {place} has no {names[0]}. {remedy}")


def draw(
    run: Path,
    /,
    *,
    architecture: Annotated[bool, Flag] = False,
    film: Annotated[bool, Flag] = False,
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Draw a run's pictures again: reconstructions, samples, manifold, latent map, traversals, interpolation.

    With --architecture its networks instead, layer by layer with shapes and weights, from x to q(z|x), z, p(x|z) and x.
    With --film how its latent space came to be: a page to play and look through, and a GIF.

    Examples: `variform draw runs/demo`, `variform draw runs/demo --architecture`, `variform draw runs/digits --film`

    Args:
        run: Folder of a run, whose pictures go to its figures/; with --architecture also a model file alone.
        architecture: Draw the networks, as read from the model itself: a .svg file in the colours of who reads it.
        film: Draw the frames that `variform train --film` kept: film.html in the run's folder and film.gif in its
            figures/, which are written anew.
        out: A new .svg file for the networks; by default architecture.svg in the run's figures/, which is written anew,
            or a new one beside a model file.
    """
    require_there(run)
    if film and architecture:
        raise ValueError(
            "`film` must come without `architecture`; got both. Ask for one at a time."
        )
    if architecture:
        _draw_architecture(run, out)
        return
    if out is not None:
        raise ValueError(
            f"`out` goes with `architecture`; got {out} without it. Leave it out: the pictures go to the run's folder."
        )
    if film:
        _draw_film(run)
        return
    from variform.runs.pictures import draw_pictures
    from variform.runs.records import history

    with writing_into(run):
        opened = opened_run(run)
        for picture in draw_pictures(
            opened, opened.data(), opened.evaluation, history(opened.folder)
        ):
            say(f"{picture.title}: {picture.path}")


def _draw_architecture(run: Path, out: Path | None) -> None:
    """Write the drawing of a model's networks."""
    from variform.pages.architecture import plot_architecture
    from variform.runs.folder import open_run

    path = out or (
        run / "figures" / "architecture.svg" if run.is_dir() else run.with_suffix(".svg")
    )
    is_new = out is not None or not run.is_dir()
    if path.suffix != ".svg":
        raise ValueError(f"the drawing must be a .svg file; got {path}. Choose another --out.")
    if is_new:
        require_new(path)
    with writing_into(run, out):
        scheme = plot_architecture(open_run(run))
        if not is_new:
            path.parent.mkdir(exist_ok=True)
        scheme.save(path, new=is_new)
    say(f"The networks: {path}")


def _draw_film(run: Path) -> None:
    """Write the film of a run."""
    from variform.pages.film import write_film
    from variform.runs.film import film_of
    from variform.runs.folder import open_run, schema_of

    with writing_into(run):
        opened = open_run(run)
        paths = opened.folder / "figures" / "film.gif", opened.folder / "film.html"
        paths[0].parent.mkdir(exist_ok=True)
        film = film_of(opened.folder, opened.vae, schema_of(opened.vae).source)
        sizes = write_film(film, *paths)
    for path, size in zip(paths, sizes, strict=True):
        say(f"{len(film.epochs)} frames, {size / 1e6:.1f} MB: {path}")
