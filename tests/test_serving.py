"""The local server decodes what torch decodes, and lets nobody else in."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import types
from unittest import mock

import httpx2
import models
import numpy as np
import pytest
import torch
import uvicorn
from starlette.testclient import TestClient

from variform.evaluation import exploration
from variform.faces import cli
from variform.pages.explorer import serving
from variform.pages.explorer.payload import most_codes
from variform.pages.explorer.serving import application

BINARY = {"Content-Type": "application/octet-stream"}
PAGE = "<!doctype html><title>page</title>"


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return models.model_of(
        "conditional", models.data_of("conditional", tmp_path_factory.mktemp("data"))
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(vae, clock):
    with TestClient(
        application(PAGE, vae, rate=30, clock=clock), base_url="http://127.0.0.1:8000"
    ) as opened:
        yield opened


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3 + 10)).astype("<f4")


def ask(client, body, **headers):
    return client.post("/decode", content=body, headers=BINARY | headers)


def test_it_decodes_rows_of_codes_and_contexts(client, vae):
    sent = rows(7)
    answer = ask(client, sent.tobytes())
    expected = exploration.decode(vae, sent[:, :3], context=torch.from_numpy(sent[:, 3:].copy()))
    assert (
        answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    )
    assert np.array_equal(
        np.frombuffer(answer.content, "<f4").reshape(7, 1, 8, 8), expected.astype("<f4")
    )


def test_it_tells_the_deviations_of_the_law(client, vae):
    sent = rows(3)
    answer = client.post("/spread", content=sent.tobytes(), headers=BINARY)
    with torch.no_grad():
        z, context = torch.from_numpy(sent).double().split([3, 10], 1)
        law = vae.double().decode(z, context)
    expected = law.stddev * vae.schema.per_value(vae.schema.scale)
    found = np.frombuffer(answer.content, "<f4").reshape(3, 1, 8, 8)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)


def test_it_shows_the_page_with_strict_headers(client):
    answer = client.get("/")
    assert answer.text == PAGE and answer.headers["content-type"].startswith("text/html")
    for refusal in (
        answer,
        client.get("/nothing"),
        client.get("/", headers={"Host": "evil.example"}),
    ):
        assert refusal.headers["x-content-type-options"] == "nosniff"
        assert refusal.headers["referrer-policy"] == "no-referrer"
        assert refusal.headers["x-frame-options"] == "DENY"
        assert (
            "content-security-policy" in refusal.headers
            and "access-control-allow-origin" not in refusal.headers
        )


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/config.toml",
        "/config.toml",
        "//etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(client, path):
    assert client.get(path).status_code in (404, 405)


def test_bodies_of_the_wrong_size_type_and_content_are_refused(client, vae):
    fine = rows(2).tobytes()
    assert ask(client, fine[:-4]).status_code == 400
    assert ask(client, b"").status_code == 400
    assert ask(client, rows(2)[:, :12].tobytes()).status_code == 400
    bad = rows(2)
    for value in (np.nan, np.inf):
        bad[1, 1] = value
        answer = ask(client, bad.tobytes())
        assert answer.status_code == 400 and "must be finite" in answer.text
    assert (
        client.post("/decode", content=fine, headers={"Content-Type": "text/plain"}).status_code
        == 415
    )
    assert client.post("/decode", json={"z": [1, 2]}).status_code == 415
    assert (
        client.get("/decode").status_code == 405
        and client.put("/", content=fine).status_code == 405
    )
    assert (
        ask(client, np.full((1, 13), 1e38, "<f4").tobytes()).status_code == 200
    )  # absurd, but numbers


def test_too_many_codes_are_refused(client, vae):
    assert ask(client, rows(most_codes(vae)).tobytes()).status_code == 200
    answer = ask(client, rows(most_codes(vae) + 1).tobytes())
    assert answer.status_code == 413 and f"at most {most_codes(vae) * 4 * 13} bytes" in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost.evil"]
)
def test_a_name_that_points_here_is_not_the_server_s(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST", "192.168.1.7:80"]
)
def test_localhost_and_numeric_addresses_are(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_other_sites_may_not_ask(client):
    fine = rows(1).tobytes()
    assert ask(client, fine, Origin="http://evil.example").status_code == 403
    assert ask(client, fine, Origin="null").status_code == 403
    assert ask(client, fine, Origin="http://127.0.0.1:8000").status_code == 200


def test_who_asks_too_often_waits(client, clock):
    codes = [client.get("/").status_code for _ in range(61)]
    assert codes == [200] * 60 + [429]
    answer = client.get("/")
    assert answer.headers["retry-after"] == "1"
    clock.seconds = 0.1  # three tokens
    assert [client.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_a_flood_of_clients_does_not_fill_the_memory(clock):
    bucket = serving.Bucket(1.0, 2.0, clock)
    for number in range(5000):
        bucket.wait(str(number))
    assert len(bucket.left) == serving._MOST_CLIENTS


SERVER = """
import sys, time
from variform.pages.explorer import serving
from variform.pages.explorer.page import render
from variform.pages.explorer.payload import remote_payload
import models
from pathlib import Path
vae = models.model_of("bernoulli", models.data_of("bernoulli", Path()))
page = render({"title": "a run"}, remote_payload(vae, "decode"), connect="'self'").html
serving.serve(serving.application(page, vae), port=0, started=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.fixture
def server(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*sys.path, os.path.dirname(__file__)])
    }
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True
    ) as process:
        yield process
        process.kill()


def test_a_real_server_answers_refuses_and_stops(server, tmp_path):
    url = server.stdout.readline().strip()
    assert "connect-src 'self'" in httpx2.get(url).text.replace("&#39;", "'")
    body = np.zeros((2, 3), "<f4").tobytes()
    answer = httpx2.post(url + "decode", content=body, headers=BINARY)
    assert len(answer.content) == 2 * 64 * 4 and "server" not in answer.headers
    port = int(url.rsplit(":", 1)[1].strip("/"))
    assert _raw(port, b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").startswith(
        b"HTTP/1.1 404"
    )
    head = b"POST /decode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
    huge = head + b"Content-Length: 99999999999\r\n\r\n" + bytes(2**14)
    assert _raw(port, huge).startswith(b"HTTP/1.1 413")
    assert _raw(port, b"\x16\x03\x01 no HTTP at all\r\n\r\n").startswith(b"HTTP/1.1 400")
    with pytest.raises(
        OSError, match=rf"listen at port {port} of 127.0.0.1; Address already in use"
    ):
        serving.serve(None, port=port, started=print)
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0 and server.stdout.read().strip() == "stopped"


def _raw(port, sent):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        return connection.recv(4096)


def test_no_answer_waits_for_the_client_to_acknowledge_its_head():
    """Nagle's algorithm is off on connections that asyncio accepts, as uvicorn has it do."""
    options = []

    class Asked(asyncio.Protocol):
        def connection_made(self, transport):
            accepted = transport.get_extra_info("socket")
            options.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def accept():
        listener = serving._listen("127.0.0.1", 0)
        async with await asyncio.get_running_loop().create_server(Asked, sock=listener) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()

    asyncio.run(accept())
    assert options and all(options)


HALF = {  # what clients send that keep a server waiting
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow:",
    "a head without its body": b"POST /decode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 24\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n12345678",
    "a body that is not asked for": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999\r\n\r\nx",
}


def test_half_open_connections_keep_nobody_out(server):
    """Three times as many as are served at once; those that make room are closed, and the rest of the server lives."""
    url = server.stdout.readline().strip()
    port = int(url.rsplit(":", 1)[1].strip("/"))
    sent = list(HALF.values())
    with contextlib.ExitStack() as stack:
        held = []
        for number in range(3 * serving._MOST_CONNECTIONS):
            held.append(
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            )
            held[-1].sendall(sent[number % len(sent)])
        for _ in range(5):
            assert httpx2.get(url, timeout=60).status_code == 200
            body = np.zeros((1, 3), "<f4").tobytes()
            assert (
                httpx2.post(url + "decode", content=body, headers=BINARY, timeout=60).status_code
                == 200
            )
        for connection in held[: serving._MOST_CONNECTIONS]:
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(2**16):
                    pass


class Loop:
    """Stands in for asyncio's: time passes when a test says so."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def time(self):
        return self.now

    def call_later(self, delay, function):
        call = types.SimpleNamespace(
            at=self.now + delay, run=function, cancel=lambda: self.calls.remove(call)
        )
        self.calls.append(call)
        return call

    def create_task(self, coroutine, **_):
        coroutine.close()
        return mock.Mock()

    def pass_time(self, seconds):
        end = self.now + seconds
        while due := [call for call in self.calls if call.at <= end]:
            call = min(due, key=lambda call: call.at)
            self.now = call.at
            self.calls.remove(call)
            call.run()
        self.now = end


class Transport:
    """A client's end as the server sees it: how much of what was written it has not taken."""

    def __init__(self):
        self.unsent, self.aborted = 0, False

    def get_write_buffer_size(self):
        return self.unsent

    def abort(self):
        self.aborted = True

    def is_closing(self):
        return self.aborted

    def write(self, data):
        self.unsent += len(data)

    def get_extra_info(self, name):
        return None

    def resume_reading(self):
        pass

    pause_reading = close = resume_reading


@pytest.fixture
def connect():
    """Makes a connection to a server whose time stands still."""
    config = uvicorn.Config(
        lambda scope: None, http=serving.Connection, ws="none", log_level="critical"
    )
    state, loop = uvicorn.server.ServerState(), Loop()

    def connected():
        connection = serving.Connection(config, state, {}, _loop=loop)
        connection.connection_made(Transport())
        return connection

    return connected, loop


@pytest.mark.parametrize("sent", HALF.values(), ids=HALF)
def test_who_keeps_the_server_waiting_is_dropped(connect, sent):
    connected, loop = connect
    connection = connected()
    if sent:
        connection.data_received(sent)
    loop.pass_time(2 * serving._SECONDS)
    assert connection.transport.aborted


@pytest.mark.parametrize("sent", list(HALF.values())[1:], ids=list(HALF)[1:])
def test_a_byte_now_and_then_holds_no_connection(connect, sent):
    connected, loop = connect
    connection = connected()
    connection.data_received(sent)
    for _ in range(10):
        loop.pass_time(serving._SECONDS / 3)
        connection.data_received(b"x")
    assert connection.transport.aborted


def test_who_does_not_take_an_answer_is_dropped_and_who_takes_it_slowly_is_not(connect):
    connected, loop = connect
    stuck, slow = connected(), connected()
    for connection in (stuck, slow):
        connection.data_received(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        connection.transport.write(bytes(20))
    for left in reversed(range(20)):
        loop.pass_time(serving._SECONDS)
        slow.transport.unsent = left
    assert stuck.transport.aborted and not slow.transport.aborted


def test_a_request_that_is_worked_on_for_long_is_not_dropped(connect):
    connected, loop = connect
    connection = connected()
    for part in (
        b"GET / HTTP/1.1\r\n",
        b"Host: 127.0.0.1\r\n",
        b"\r\n",
    ):  # a slow client, but in time
        connection.data_received(part)
        loop.pass_time(0.4 * serving._SECONDS)
    loop.pass_time(20 * serving._SECONDS)
    assert not connection.transport.aborted


def test_a_connection_too_many_takes_the_place_of_the_client_that_was_silent_longest(connect):
    connected, loop = connect
    working = connected()
    working.data_received(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    idle = []
    for _ in range(serving._MOST_CONNECTIONS - 1):
        idle.append(connected())
        loop.now += 1e-3
    idle[0].data_received(b"GET")  # lives
    connected()
    assert [one.transport.aborted for one in idle] == [False, True, *[False] * (len(idle) - 2)]
    assert not working.transport.aborted


def test_mistakes_are_one_sentence(tmp_path, capsys, monkeypatch):
    with pytest.raises(ValueError, match="a port must be from 0 to 65535; got 70000"):
        serving.serve(None, port=70000, started=print)
    assert cli.run(["serve", str(tmp_path), "--port", "0"]) == 2
    assert "a run must be a folder with config.toml" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "starlette", None)
    for name in [
        name
        for name in sys.modules
        if name.startswith(("starlette.", "variform.pages.explorer.serving"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.run(["serve", str(tmp_path)]) == 2
    sentence = " ".join(capsys.readouterr().err.split())
    assert "starlette is missing. Use pip install" in sentence and "'starlette>=" in sentence
