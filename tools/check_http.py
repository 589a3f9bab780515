"""Ask servers of six kinds of models whatever their description allows and forbids: `make check-http`.

What no description says stays out of it: that conditions are one value or as many as there are rows, and that rows
must be near enough to the training rows for the model to compute with.
"""

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import models

from variform.faces.http import application
from variform.faces.model import Model
from variform.pages.explorer.serving import serve

KINDS = ["gaussian", "conditional", "gaps", "laws", "counts", "mixed conditional"]
ALLOWED = {"conditional", "laws", "mixed conditional"}  # where the above may be found


def address(name: str) -> str:
    """Where a new server of such a model listens."""
    data = models.data_of(name, Path(tempfile.mkdtemp()))
    app = application(Model(models.model_of(name, data).float()), rate=1000.0)
    found: list[str] = []
    ready = threading.Event()

    def started(url: str) -> None:
        found.append(url)
        ready.set()

    threading.Thread(
        target=serve, args=(app,), kwargs={"port": 0, "started": started}, daemon=True
    ).start()
    ready.wait()
    return found[0]


def main(program: str) -> int:
    """The number of models with findings."""
    torch.set_num_threads(1)
    failed = 0
    for name in KINDS:
        print(f"--- {name}", flush=True)
        command = [program, "run", f"{address(name)}openapi.json", "--checks", "all"]
        command += ["--wait-for-schema", "30", "--max-examples", "50", "--request-timeout", "60"]
        command += ["--max-response-time", "60"]
        if name in ALLOWED:
            command += ["--exclude-checks", "positive_data_acceptance"]
        failed += subprocess.run(command).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
