"""A local server of a run's explorer page, for decoders that are too large to stand in it.

The page is the one that `variform explore` writes, but for its decoder, which asks this server. It has three
addresses: `GET /` is the page, `POST /decode` takes latent points and gives designs, and `POST /spread` their standard
deviations under p(x|z); `faces.http` puts those of the model beside them. Nothing else of the computer can be asked
for: no path of a request ever names a file.
"""

import asyncio
import ipaddress
import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11
import numpy as np
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from variform.evaluation import exploration
from variform.export.lowering import knows_spread
from variform.model.vae import VAE
from variform.pages.explorer.payload import most_codes

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_CLIENTS = 1024  # whose requests are counted one by one
_MOST_CONNECTIONS = 64  # at once; a further one takes the place of one whose client is idle
_SECONDS = (
    10.0  # in which the body of a request must have come; and how often a client must have moved on
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    started: Callable[[str], None],
) -> None:
    """Serve an application until it is interrupted (Ctrl-C or SIGTERM).

    Args:
        app: What `application` gives, here or in `faces.http`, for the name `host`.
        host: The address to listen at; who reaches it may use the page. By default only this computer.
        port: The port; 0 for any that is free.
        started: Called with the page's address as soon as it can be opened.

    Raises:
        OSError: when the port is taken, or the address is none of this computer's.
    """
    listener = _listen(host, port)
    with listener:
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            http=Connection,
            ws="none",
            limit_concurrency=_MOST_CONNECTIONS + 1,
            timeout_graceful_shutdown=3,
        )
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listener.getsockname()[1]}/")
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:  # it stopped in an orderly way, and then tells its caller
            return


def application(
    page: str,
    vae: VAE,
    *,
    names: tuple[str, ...] = (),
    rate: float = 100.0,
    clock: Callable[[], float] = time.monotonic,
) -> Starlette:
    """The addresses of the page, behind the checks.

    Args:
        page: The page, whole.
        vae: The model that decodes.
        names: By which names the server may be called, besides localhost and numeric addresses.
        rate: Requests a second that one client may go on sending, more than a screen has frames; twice as many at once.
        clock: Seconds that never go back.
    """
    guard = door(names=names, rate=rate, clock=clock)
    return Starlette(routes=routes(page, vae, threading.Lock()), middleware=[guard])


def routes(page: str, vae: VAE, busy: threading.Lock) -> list[Route]:
    """The addresses of the page.

    Args:
        page: The page, whole.
        vae: The model that decodes.
        busy: Held by who computes: torch shares the cores among the threads of one call already.
    """
    width = vae.latent_dim + vae.context_dim
    most_bytes = 4 * width * most_codes(vae)

    async def shown(request: Request) -> Response:
        # The rest of the policy is the page's own.
        return HTMLResponse(page, headers={"Content-Security-Policy": "frame-ancestors 'none'"})

    async def answered(request: Request, compute: Callable[..., Array]) -> Response:
        body = await _body(request, most_bytes)
        if isinstance(body, Response):
            return body
        if len(body) == 0 or len(body) % (4 * width):
            return _refusal(
                400, f"a request must hold {width} float32 a code; got {len(body)} bytes."
            )
        rows = np.frombuffer(body, "<f4").reshape(-1, width)
        if not np.isfinite(rows).all():
            return _refusal(400, "every number of a request must be finite; some are not.")
        answer = await run_in_threadpool(_computed, vae, rows, busy, compute)
        return Response(answer, media_type="application/octet-stream")

    async def decoded(request: Request) -> Response:
        return await answered(request, exploration.decode)

    async def spread(request: Request) -> Response:
        return await answered(request, exploration.deviations)

    addresses = [Route("/", shown), Route("/decode", decoded, methods=["POST"])]
    if knows_spread(vae):
        addresses.append(Route("/spread", spread, methods=["POST"]))
    return addresses


def _computed(vae: VAE, rows: Array, busy: threading.Lock, compute: Callable[..., Array]) -> bytes:
    z, context = rows[:, : vae.latent_dim], torch.from_numpy(rows[:, vae.latent_dim :].copy())
    with busy:
        answer = compute(vae, z.copy(), context=context if vae.context_dim else None)
    return answer.astype("<f4").tobytes()


async def _body(request: Request, most_bytes: int) -> bytes | Response:
    """The body of a request, or the answer to one that is too large, too slow or of another type."""
    # A page of another origin cannot send this type.
    if request.headers.get("content-type") != "application/octet-stream":
        return _refusal(415, "a request must have the type application/octet-stream.")
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    return _refusal(
                        413, f"a request must have at most {most_bytes} bytes; this one has more."
                    )
    except TimeoutError:
        return _refusal(408, f"a request must come within {_SECONDS:.0f} seconds.")
    except ClientDisconnect:
        return _refusal(400, "a request must come whole.")
    return bytes(body)


def _refusal(status: int, sentence: str, **headers: str) -> Response:
    """After which the connection is closed: the rest of a body that is not wanted must not be read as a request."""
    return PlainTextResponse(sentence + "\n", status, headers={"Connection": "close", **headers})


def door(
    *,
    names: tuple[str, ...] = (),
    rate: float = 100.0,
    clock: Callable[[], float] = time.monotonic,
    most_bytes: int | None = None,
    refuse: Callable[..., Response] = _refusal,
) -> Middleware:
    """The checks before an application.

    Args:
        names: By which names the server may be called, besides localhost and numeric addresses.
        rate: Requests a second that one client may go on sending; twice as many at once.
        clock: Seconds that never go back.
        most_bytes: That a request may say it has.
        refuse: Makes the answer to who is not let in: of a status, a sentence, and headers by name.
    """
    bucket = Bucket(rate, 2 * rate, clock)
    return Middleware(Door, names=names, bucket=bucket, most_bytes=most_bytes, refuse=refuse)


class Door:
    """Lets in who calls the server by its name, from its own page and not too often, and puts headers on all answers.

    A page of another site can have its own name point to this computer and then ask it anything (DNS rebinding), but
    its requests call the server by that name.

    Args:
        app: What is behind it.
        names: Host names that are let in, besides localhost and numeric addresses, which nobody can point elsewhere.
        bucket: How often.
        most_bytes, refuse: As of `door`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        names: tuple[str, ...],
        bucket: "Bucket",
        most_bytes: int | None,
        refuse: Callable[..., Response],
    ) -> None:
        self.app, self.names, self.bucket = app, {"localhost", *names}, bucket
        self.most_bytes, self.refuse = most_bytes, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", "default-src 'none'")
            await send(message)

        app = self._refused(scope) or self.app
        await app(scope, receive, send_with_headers)

    def _refused(self, scope: Scope) -> Response | None:
        headers, client = Headers(scope=scope), scope.get("client")
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_known(host):
            return self.refuse(
                403,
                "the server must be called by its address, such as 127.0.0.1; this request was not.",
            )
        if origin is not None and origin != f"http://{host}":
            return self.refuse(
                403, "only the server's own page may ask it; this request is of another."
            )
        length = headers.get("content-length", "")
        if self.most_bytes and length.isdecimal() and int(length) > self.most_bytes:
            return self.refuse(
                413,
                f"a request must have at most {self.most_bytes:,} bytes; this one has {int(length):,}. Send less.",
                Connection="close",
            )
        if wait := self.bucket.wait(client[0] if client else ""):
            return self.refuse(
                429, "too many requests; wait a moment.", **{"Retry-After": str(math.ceil(wait))}
            )
        return None

    def _is_known(self, host: str) -> bool:
        name = (
            host.partition("]")[0].removeprefix("[")
            if host.startswith("[")
            else host.partition(":")[0]
        )
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return name.lower() in self.names


class Connection(H11Protocol):
    """A connection that its client cannot hold for good, whatever it does not send or does not take.

    Clients that send nothing, or a request byte by byte, or do not read their answer, would otherwise keep everybody
    else out as soon as they are as many as are served at once. Every `_SECONDS` the server looks whether it still waits
    for the client as it did at the last look: for the rest of the same request, or for any of an answer to be taken.
    Then the client is dropped. And where all connections are taken, a further one takes the place of the one whose
    client has been silent for longest.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the connection, if need be instead of another."""
        super().connection_made(transport)
        self.heard, self.stage, self.unsent = self.loop.time(), (), 0
        self.next_look = self.loop.call_later(_SECONDS, self._look)
        others = [
            one for one in self.connections if isinstance(one, Connection) and one is not self
        ]
        idle = [one for one in others if one.waits and not one.transport.is_closing()]
        if len(self.connections) > _MOST_CONNECTIONS and idle:
            min(idle, key=lambda one: one.heard).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self.next_look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note that the client lives."""
        self.heard = self.loop.time()
        super().data_received(data)

    @property
    def waits(self) -> bool:
        """Whether the server waits for the client, to send the rest of a request or to take its answer."""
        return self.transport.get_write_buffer_size() > 0 or self.conn.their_state in (
            h11.IDLE,
            h11.SEND_BODY,
        )

    def _look(self) -> None:
        """Drop a client that keeps the server waiting as at the last look."""
        stage, unsent = (self.cycle, self.conn.their_state), self.transport.get_write_buffer_size()
        takes_some = unsent < self.unsent
        took_none_before = self.unsent == 0 < unsent
        if self.waits and stage == self.stage and not takes_some and not took_none_before:
            self.transport.abort()
            return
        self.stage, self.unsent = stage, unsent
        self.next_look = self.loop.call_later(_SECONDS, self._look)


@dataclass
class Bucket:
    """Tokens that come back with time: each request of a client takes one of its own.

    Args:
        rate: Tokens that come back in a second.
        most: Tokens that a client has at first, and at most.
        clock: Seconds that never go back.

    Example:
        >>> bucket = Bucket(rate=0.5, most=2, clock=lambda: 0.0)
        >>> [bucket.wait("a") for _ in range(3)], bucket.wait("b")
        ([0.0, 0.0, 2.0], 0.0)
    """

    rate: float
    most: float
    clock: Callable[[], float] = time.monotonic
    left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def wait(self, client: str) -> float:
        """0 and a token less, or if there is none the seconds until there is one."""
        now = self.clock()
        tokens, since = self.left.pop(client, (self.most, now))
        tokens = min(self.most, tokens + (now - since) * self.rate)
        if len(self.left) >= _MOST_CLIENTS:
            del self.left[next(iter(self.left))]  # who has not been heard of longest
        self.left[client] = (tokens - 1 if tokens >= 1 else tokens, now)
        return 0.0 if tokens >= 1 else (1 - tokens) / self.rate


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, made before anything slow, so that a port that is taken is found at once."""
    if not 0 <= port < 2**16:
        raise ValueError(f"a port must be from 0 to 65535; got {port}. Choose another `port`.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol is 0, the default.
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"the server must be able to listen at port {port} of {host}; {error.strerror or error}. Choose another "
            "`port`, or `host`."
        ) from error
    # Only of sockets that say they are TCP asyncio turns Nagle's algorithm off, which makes the body of an answer wait
    # until the client has acknowledged its head: 40 ms.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())
