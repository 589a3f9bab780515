"""The local server decodes what torch decodes, and lets nobody else in."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import models
import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from variform import cli, exploration, serving
from variform.serving import application, most_codes

BINARY = {"Content-Type": "application/octet-stream"}
PAGE = "<!doctype html><title>page</title>"


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return models.model_of("conditional", models.data_of("conditional", tmp_path_factory.mktemp("data")))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(vae, clock):
    with TestClient(application(PAGE, vae, rate=30, clock=clock), base_url="http://127.0.0.1:8000") as opened:
        yield opened


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3 + 10)).astype("<f4")


def ask(client, body, **headers):
    return client.post("/decode", content=body, headers=BINARY | headers)


def test_it_decodes_rows_of_codes_and_contexts(client, vae):
    sent = rows(7)
    answer = ask(client, sent.tobytes())
    expected = exploration.decode(vae, sent[:, :3], context=torch.from_numpy(sent[:, 3:].copy()))
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    assert np.array_equal(np.frombuffer(answer.content, "<f4").reshape(7, 1, 8, 8), expected.astype("<f4"))


def test_it_shows_the_page_with_strict_headers(client):
    answer = client.get("/")
    assert answer.text == PAGE and answer.headers["content-type"].startswith("text/html")
    for found in (answer, client.get("/nothing"), client.get("/", headers={"Host": "evil.example"})):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["x-frame-options"] == "DENY"
        assert "content-security-policy" in found.headers and "access-control-allow-origin" not in found.headers


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/config.toml", "/config.toml", "//etc/passwd"],
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
    assert client.post("/decode", content=fine, headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/decode", json={"z": [1, 2]}).status_code == 415
    assert client.get("/decode").status_code == 405 and client.put("/", content=fine).status_code == 405
    assert ask(client, np.full((1, 13), 1e38, "<f4").tobytes()).status_code == 200  # absurd, but numbers


def test_too_many_codes_are_refused(client, vae):
    assert ask(client, rows(most_codes(vae)).tobytes()).status_code == 200
    answer = ask(client, rows(most_codes(vae) + 1).tobytes())
    assert answer.status_code == 413 and f"at most {most_codes(vae) * 4 * 13} bytes" in answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_name_that_points_here_is_not_the_server_s(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST", "192.168.1.7:80"])
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
from variform import serving
import models
from pathlib import Path
vae = models.model_of("bernoulli", models.data_of("bernoulli", Path()))
app = serving.application("page", vae)
serving.open_run = lambda path: type("Run", (), {"vae": vae, "data": lambda self: None, "evaluation": {}})()
serving.explorer_contents = lambda *_, **__: {"title": "a run"}
serving.serve("run", port=0, started=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.fixture
def server(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, os.path.dirname(__file__)])}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True) as process:
        yield process
        process.kill()


def test_a_real_server_answers_refuses_and_stops(server, tmp_path):
    url = server.stdout.readline().strip()
    assert "connect-src 'self'" in httpx.get(url).text.replace("&#39;", "'")
    body = np.zeros((2, 3), "<f4").tobytes()
    answer = httpx.post(url + "decode", content=body, headers=BINARY)
    assert len(answer.content) == 2 * 64 * 4 and "server" not in answer.headers
    port = int(url.rsplit(":", 1)[1].strip("/"))
    assert _raw(port, b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").startswith(b"HTTP/1.1 404")
    head = b"POST /decode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
    huge = head + b"Content-Length: 99999999999\r\n\r\n" + bytes(2**14)
    assert _raw(port, huge).startswith(b"HTTP/1.1 413")
    assert _raw(port, b"\x16\x03\x01 no HTTP at all\r\n\r\n").startswith(b"HTTP/1.1 400")
    with pytest.raises(OSError, match=rf"listen at port {port} of 127.0.0.1; Address already in use"):
        serving.serve(tmp_path, port=port, started=print)
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0 and server.stdout.read().strip() == "stopped"


def _raw(port, sent):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        return connection.recv(4096)


def test_mistakes_are_one_sentence(tmp_path, capsys, monkeypatch):
    assert cli.run(["serve", str(tmp_path), "--port", "70000"]) == 2
    assert "a port must be from 0 to 65535; got 70000" in " ".join(capsys.readouterr().err.split())
    assert cli.run(["serve", str(tmp_path), "--port", "0"]) == 2
    monkeypatch.setitem(sys.modules, "starlette", None)
    for name in [name for name in sys.modules if name.startswith(("starlette.", "variform.serving"))]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.run(["serve", str(tmp_path)]) == 2
    assert "pip install 'variform[serve]'" in " ".join(capsys.readouterr().err.split())
