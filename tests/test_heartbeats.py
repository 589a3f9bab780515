"""Processes that live are waited for, and those that are gone are not."""

import os
import socket
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from variform.system import heartbeats
from variform.system.heartbeats import Heartbeat


@pytest.fixture
def store(monkeypatch):
    """The server of a store, with beats of a hundredth of the usual distance and a silence of half a second."""
    monkeypatch.setattr(heartbeats, "INTERVAL", 0.01)
    monkeypatch.setattr(heartbeats, "SILENCE", 0.5)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return dist.TCPStore("localhost", port, is_master=True, wait_for_workers=False)


@pytest.fixture
def ended(monkeypatch):
    """The exit codes of watches that ended the process, which goes on here without any heartbeat."""
    codes = []

    def end(code):
        codes.append(code)
        for heartbeat in heartbeats._present:
            heartbeat._over.set()

    monkeypatch.setattr(os, "_exit", end)
    return codes


def begun(store, rank, count=2):
    def connect():
        wait = timedelta(seconds=5)
        return dist.TCPStore(
            "localhost", store.port, is_master=False, wait_for_workers=False, timeout=wait
        )

    heartbeat = Heartbeat(rank, count, connect, "test", lambda numbers: f"lost {sorted(numbers)}")
    heartbeat.start()
    return heartbeat


def beats(heartbeat, number):
    """Wait until it has heard another twice."""
    while heartbeat._patience[number] == heartbeats.START:
        time.sleep(0.01)


def test_a_process_that_is_silent_ends_the_others_with_a_sentence(store, ended, capsys):
    first, second, third = (begun(store, rank, 3) for rank in range(3))
    beats(first, 1)
    beats(first, 2)
    third._set = lambda: None  # as if it were stopped
    while not ended:
        time.sleep(0.01)
    assert ended[0] == 1
    assert set(capsys.readouterr().err.splitlines()) == {"error: lost [2]"}
    for heartbeat in (first, second, third):
        heartbeat.stop()


def test_a_process_that_leaves_or_said_that_it_is_busy_is_not_missed(store, ended):
    first, second, third = (begun(store, rank, 3) for rank in range(3))
    beats(first, 1)
    beats(first, 2)
    third.stop()
    second.allow(60)
    second._set = lambda: None
    time.sleep(2)
    assert ended == [] and first._silent[1] > 0.5 and 2 not in first._silent
    first.stop()
    second.stop()
    assert not [one for one in threading.enumerate() if one.name.startswith("variform")]


def test_what_an_earlier_process_left_in_the_store_is_no_beat(store, ended):
    store.set("test/1", "57 0.0")
    first = begun(store, 0)
    time.sleep(1)
    assert ended == [] and first._patience[1] == heartbeats.START
    first.stop()


def test_a_process_that_was_stopped_itself_has_missed_nothing(store, ended, monkeypatch):
    first, second = begun(store, 0), begun(store, 1)
    beats(first, 1)
    asleep = iter([1000.0])
    passed = 0.0

    def monotonic():
        nonlocal passed
        passed += next(asleep, 0.0)
        return time.monotonic() + passed

    monkeypatch.setattr(heartbeats, "time", SimpleNamespace(monotonic=monotonic))
    time.sleep(0.3)
    assert passed == 1000 and ended == []
    first.stop()
    second.stop()


def test_allowances_add_up_and_end(store, ended):
    heartbeat = begun(store, 0)
    with heartbeats.allow(10), heartbeats.copying(10**9):
        assert heartbeat.allowed == 30
    assert heartbeat.allowed == 0
    heartbeat.stop()
