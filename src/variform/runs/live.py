"""live.html of a run: how its training goes, while it goes; at the end it leads to the report."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variform.config.checks import checked
from variform.config.model import latents_name
from variform.config.run import RunConfig
from variform.pages.live import Live, State, render_live
from variform.runs.records import read_config, read_history
from variform.system.files import write_text
from variform.system.locks import HeldError, held, require_held
from variform.training.callbacks import Moment
from variform.training.history import HISTORY, resume_command

if TYPE_CHECKING:
    from variform.data.dataset import Dataset

LIVE = "live.html"
_SHARE = 0.01  # of the time of a training, which the page may take
_LEAST_PAUSE = 1.0  # seconds between two of them
_SILENCE = 60.0  # seconds without news that are nothing
_ROWS = 512  # of the validation rows, over which active units are counted


class Watch:
    """A callback of `on_epoch` that writes live.html: of short epochs now and then, within 1 % of the time.

    Args:
        folder: The run's folder, which this process holds.
        config: What is trained.
        valid: The rows over which active units are counted.
        steps: Steps of the whole training.
    """

    def __init__(self, folder: Path, config: RunConfig, valid: "Dataset", steps: int) -> None:
        import torch  # slow, and not needed to open a page

        self.folder, self.config, self.steps = folder, config, steps
        self.valid = valid.take(torch.arange(min(_ROWS, len(valid))))
        self.rows: list[dict[str, Any]] = []
        self.epochs = 0
        self.next_time = 0.0

    def begin(self) -> None:
        """Write the page of a training without an epoch, or with those of the checkpoint that it goes on from."""
        with suppress(OSError, ValueError):
            self.rows = list(read_history(self.folder / HISTORY))
        self._write("running")

    def __call__(self, moment: Moment) -> None:
        """Note an epoch, and show it if it is time."""
        self.epochs += 1
        row = dict(moment)
        is_time = time.monotonic() >= self.next_time
        started = time.process_time()
        if is_time:
            row |= self._active_units(moment)
        # What the training went back from comes again.
        self.rows = [*(old for old in self.rows if old["epoch"] < row["epoch"]), row]
        if is_time:
            self._write("running")
            pause = (time.process_time() - started) / _SHARE
            self.next_time = time.monotonic() + max(_LEAST_PAUSE, pause)

    def _active_units(self, moment: Moment) -> dict[str, int]:
        import torch

        from variform.evaluation.exploration import encode
        from variform.evaluation.latents import active_units

        if self.config.train.sharded or not len(self.valid):
            return {}
        means, _ = encode(moment.vae, self.valid)
        return {"active_units": active_units(torch.from_numpy(means))["count"]}

    def _write(self, state: State, said: str = "") -> None:
        write(self.folder, self.config, self.rows, state, said=said, steps=self.steps)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the model is trained; what ends that early stands on the page, but not what is refused at once."""
        path = self.folder / LIVE
        before = path.read_text(encoding="utf-8") if path.is_file() else None
        self.begin()
        try:
            yield
        except BaseException as error:
            if isinstance(error, ValueError) and not self.epochs:
                _restore(path, before)
                raise
            self._write("stopped", str(error) or type(error).__name__)
            raise


def _restore(path: Path, text: str | None) -> None:
    """A file as it was, or none."""
    if text is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, text)


@contextmanager
def finishing(folder: Path, config: RunConfig, rows: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Inside a trained model gets its numbers, pictures and report; afterwards live.html leads to the report."""
    write(folder, config, rows, "finishing")
    try:
        yield
    except BaseException as error:
        write(folder, config, rows, "stopped", said=str(error) or type(error).__name__)
        raise
    write(folder, config, (), "done")


_HEADLINES: dict[State, str] = {
    "finishing": "Trained; numbers, pictures and report are being made",
    "stopped": "Stopped",
    "died": "The training died",
    "done": "Done: the report is there",
}


@checked
def write(
    folder: Path,
    config: RunConfig,
    rows: Sequence[Mapping[str, Any]],
    state: State,
    *,
    said: str = "",
    steps: int = 0,
    when: float | None = None,
) -> None:
    """Write live.html; where it cannot be written, the training goes on without.

    Args:
        folder: The run's folder, which this process holds.
        config: What is trained.
        rows: As `History.rows`.
        state: How the training is.
        said: What ended it.
        steps: Steps of the whole training; 0 where they are not known.
        when: The time of the last news, in seconds since 1970; by default now.
    """
    news = datetime.fromtimestamp(time.time() if when is None else when, UTC)
    step = rows[-1]["step"] if rows else 0
    headline = _HEADLINES.get(
        state, f"Training: epoch {len(rows):,}" if rows else "Training begins"
    )
    has_report = (folder / "report.html").is_file()
    called = "Report" if state == "done" else "Report of before"
    links = [(called, "report.html")] if has_report else []
    page = Live(
        "running" if state == "finishing" else state,
        f"variform: {config.source}, {latents_name(config.model)}",
        headline,
        rows,
        step / steps if steps and state == "running" else None,
        _facts(rows, steps),
        said,
        links,
        0 if state == "done" else int(news.timestamp() * 1000),
        # A run that has ended is the same whenever it ends, and to its last bit.
        "" if state == "done" else f"{news.astimezone():%Y-%m-%d %H:%M:%S}",
        int(1000 * _patience(rows, state)),
    )
    with suppress(OSError):
        require_held(folder)
        write_text(folder / LIVE, render_live(page))


def _patience(rows: Sequence[Mapping[str, Any]], state: State) -> float:
    """Seconds without news that mean nothing: several epochs; numbers and pictures may take long."""
    if state == "finishing":
        return 60 * _SILENCE
    seconds = [row.get("seconds", 0.0) for row in rows[-2:]]
    return _SILENCE + 5 * (seconds[-1] - seconds[0] if len(seconds) > 1 else 10 * _SILENCE)


def _facts(rows: Sequence[Mapping[str, Any]], steps: int) -> list[tuple[str, str]]:
    """The numbers of the last epoch, and how long it all takes."""
    if not rows:
        return []
    last, best = rows[-1], [row for row in rows if row.get("best")]
    facts = [("Epoch", f"{last['epoch']:,}"), ("Step", f"{last['step']:,}")]
    if steps > last["step"]:
        facts[1] = ("Step", f"{last['step']:,} of {steps:,}")
        left = last["seconds"] / last["step"] * (steps - last["step"])
        facts.append(("Time left, at most", _duration(left)))
    facts.append(("Time so far", _duration(last["seconds"])))
    facts.append(("Validation loss", f"{last['valid_loss']:.5g}"))
    if best:
        facts.append(("Best", f"{best[-1]['valid_loss']:.5g} in epoch {best[-1]['epoch']:,}"))
    facts.append(("Examples a second", f"{last['examples_per_second']:,}"))
    counted_units = [row["active_units"] for row in rows if "active_units" in row]
    if counted_units:
        facts.append(("Active units", f"{counted_units[-1]}"))
    return facts


def _duration(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> _duration(9.4), _duration(99), _duration(7300), _duration(200_000)
        ('9 s', '1 min 39 s', '2 h 1 min', '2 d 7 h')
    """
    whole = round(seconds)
    for unit, name, smaller, below in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {below}"
    return f"{whole} s"


def state_of(folder: Path) -> State | None:
    """How live.html says that a training is; None where there is no such page, or none that was written here."""
    try:
        begin = (folder / LIVE).read_text(encoding="utf-8")[:300]
    except (OSError, UnicodeDecodeError):
        return None
    found: Any = re.search('data-state="(running|stopped|died|done)"', begin)
    return found and found[1]


def live_page(folder: Path) -> Path | None:
    """live.html where it has more to say than the report: of a training that runs, stopped early, or died.

    One that says that it runs, while no process holds the folder, died: that is written there first.

    Example:
        >>> import tempfile
        >>> live_page(Path(tempfile.mkdtemp())) is None
        True
    """
    state = state_of(folder)
    if state in (None, "done"):
        return None
    if state == "running":
        with suppress(HeldError), held(folder):
            if state_of(folder) == "running":
                _note_death(folder)
    return folder / LIVE


def _note_death(folder: Path) -> None:
    when = (folder / LIVE).stat().st_mtime
    with suppress(OSError, ValueError):
        rows: list[dict[str, Any]] = []
        if (folder / HISTORY).is_file():
            rows = read_history(folder / HISTORY)
            when = max(when, (folder / HISTORY).stat().st_mtime)
        said = f"The process that trained it is gone without a word. Go on with {resume_command(folder)}."
        write(folder, read_config(folder / "config.toml"), rows, "died", said=said, when=when)
