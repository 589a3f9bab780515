"""What an answer of `variform serve` takes, with Nagle's algorithm on (as accepted sockets had it) and off.

Two servers of one model in one process, asked in turns over connections that stay open:
python benchmarks/serving.py
"""

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import numpy as np
import uvicorn

from variform import ModelConfig, build_vae, read
from variform.pages.explorer.serving import Connection, _listen, application

ROUNDS, EACH = 10, 20
HEADERS = {"Content-Type": "application/octet-stream"}


@contextmanager
def serving(listener: socket.socket, app: object) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, ws="none", log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/decode"
    server.should_exit = True
    thread.join()


def main() -> None:
    app = application(
        "page",
        build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), read("digits").schema),
        rate=1e6,
    )
    body = np.zeros((1, 2), "<f4").tobytes()
    listeners = {
        "Nagle on": socket.create_server(("127.0.0.1", 0)),
        "Nagle off": _listen("127.0.0.1", 0),
    }
    seconds: dict[str, list[float]] = {name: [] for name in listeners}
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(serving(listener, app))
            for name, listener in listeners.items()
        }
        clients = {name: stack.enter_context(httpx.Client()) for name in urls}
        for _ in range(ROUNDS):
            for name, url in urls.items():
                for _ in range(EACH):
                    started = time.perf_counter()
                    clients[name].post(url, content=body, headers=HEADERS).raise_for_status()
                    seconds[name].append(time.perf_counter() - started)
    for name, values in seconds.items():
        print(
            f"{name}: {1e3 * statistics.median(values):.1f} ms per answer, median of {len(values)}"
        )


if __name__ == "__main__":
    main()
