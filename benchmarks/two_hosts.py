"""Two hosts train one model, lose each other, and the run goes on: the hosts are network namespaces of this machine.

    sudo python benchmarks/two_hosts.py                   # all cases
    sudo python benchmarks/two_hosts.py link --limit 80   # some of: equal link killed folder

Needs Linux, root and iproute2. Each host has an end of a virtual cable, 10.77.0.1 and 10.77.0.2, and reaches nothing
else; torchrun runs on each with one process. The namespaces are taken away at the end, whatever happens.

- equal: the job ends with the losses of a training by one process.
- link: host 2's end of the cable is taken down in mid-training; the run is then resumed by one process on one host.
- killed: the process on host 2 gets SIGKILL in mid-training; resumed as above.
- folder: --out on host 2 is a folder of its own, which is not there: for a new run, and for --resume.

After each loss: the time until torchrun ended on each host, its exit code, and what it said that is not progress.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ADDRESSES = ("10.77.0.1", "10.77.0.2")
NAMES = tuple(f"variform-{os.getpid()}-{number}" for number in (1, 2))
CABLE = ("variform1", "variform2")
OPTIONS = [
    "digits",
    "--hidden",
    "16",
    "--dropout",
    "0.1",
    "--binarise",
    "dynamic",
    "--nll-samples",
    "2",
]
OPTIONS += ["--checkpoint-every", "40steps", "--epochs"]


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def hosts() -> Iterator[None]:
    """Two namespaces with a cable between them; taken away afterwards, with all processes in them."""
    try:
        for name in NAMES:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            CABLE[0],
            "netns",
            NAMES[0],
            "type",
            "veth",
            "peer",
            "name",
            CABLE[1],
            "netns",
            NAMES[1],
        )
        for name, end, address in zip(NAMES, CABLE, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", end, "up")
        yield
    finally:
        for name in NAMES:
            with contextlib.suppress(subprocess.CalledProcessError):
                end_all(name)
                ip("netns", "delete", name)


def end_all(name: str) -> None:
    """SIGKILL to the processes that are left in a namespace."""
    for process in ip("netns", "pids", name).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


class Job:
    """`variform train` on both hosts: `wanted` are its arguments on each."""

    def __init__(self, folder: Path, *wanted: Sequence[str | Path]) -> None:
        self.logs = [folder / f"host{number}.log" for number in (1, 2)]
        self.agents = []
        for number, arguments in enumerate(wanted):
            command = [
                "ip",
                "netns",
                "exec",
                NAMES[number],
                sys.executable,
                "-m",
                "torch.distributed.run",
            ]
            command += [
                "--nnodes",
                "2",
                "--nproc-per-node",
                "1",
                "--rdzv-id",
                folder.name,
                "--rdzv-backend",
                "c10d",
            ]
            command += [
                "--rdzv-endpoint",
                f"{ADDRESSES[0]}:29500",
                "--local-addr",
                ADDRESSES[number],
            ]
            # Without it torchrun asks whether the name of the machine means the endpoint; here both have one name.
            command += [
                "--rdzv-conf",
                f"is_host={number == 0}",
                "-m",
                "variform",
                "train",
                *map(str, arguments),
            ]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
            environment["GLOO_SOCKET_IFNAME"] = CABLE[number]
            with self.logs[number].open("w") as log:
                self.agents.append(
                    subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                )

    def wait_for(self, run: Path, epochs: int) -> None:
        """Wait until so many epochs are in the history of the run."""
        while rows(run) < epochs:
            if any(agent.poll() is not None for agent in self.agents):
                sys.exit("\n".join(log.read_text() for log in self.logs))
            time.sleep(0.05)

    def report(self, limit: float, *, speaks: bool = True) -> bool:
        """Wait for both hosts, print how and when they ended, and give whether both did well."""
        begun, ended = time.monotonic(), dict[int, float]()
        while len(ended) < 2 and time.monotonic() - begun < limit:
            for number, agent in enumerate(self.agents):
                if number not in ended and agent.poll() is not None:
                    ended[number] = time.monotonic() - begun
            time.sleep(0.05)
        for number, agent in enumerate(self.agents):
            how = (
                f"{ended[number]:.1f} s, exit code {agent.returncode}"
                if number in ended
                else f"NOT in {limit:.0f} s"
            )
            if agent.returncode or speaks:
                print(f"  host {number + 1} ended: {how}", flush=True)
            if number not in ended:
                end_all(NAMES[number])
                agent.wait()
            if agent.returncode:
                print(
                    "".join(f"    | {line[:250]}\n" for line in said(self.logs[number])),
                    end="",
                    flush=True,
                )
        return all(agent.returncode == 0 for agent in self.agents)


def said(log: Path) -> list[str]:
    """The lines of a log without progress, without stack frames and rulers, and without the lack of a name server."""
    facts = ("  rank ", "  exitcode ", "  traceback ")
    noise = (
        "epoch ",
        "frame #",
        "<omitting",
        "Exception raised",
        "Traceback",
        "=",
        "-",
        "[0]",
        "Failures",
        "Root",
        " ",
    )
    lines = [
        line for line in log.read_text().splitlines() if line and "cannot be retrieved" not in line
    ]
    return [line for line in lines if line.startswith(facts) or not line.startswith(noise)]


def rows(run: Path) -> int:
    return len(history(run)) if (run / "history.jsonl").is_file() else 0


def history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def alone(*arguments: str | Path) -> float:
    """Seconds that `variform train` takes with one process, outside of the namespaces."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "variform", "train", *map(str, arguments)]
    subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True
    )
    return time.monotonic() - begun


def apart(run: Path, other: Path) -> str:
    pairs = list(zip(history(run), history(other), strict=True))
    by = {
        key: max(abs(a[key] / b[key] - 1) for a, b in pairs)
        for key in ("train_loss", "valid_loss", "valid_kl")
    }
    return f"{len(pairs)} epochs; largest relative difference: " + ", ".join(
        f"{key} {by[key]:.1e}" for key in by
    )


def equal(folder: Path, limit: float) -> None:
    run, arguments = folder / "run", [*OPTIONS, "30", "--out"]
    begun = time.monotonic()
    if Job(folder, *[[*arguments, run]] * 2).report(limit, speaks=False):
        took = time.monotonic() - begun
        print(
            f"  two hosts {took:.1f} s, one process {alone(*arguments, folder / 'alone'):.1f} s, start and end included"
        )
        print(f"  {apart(run, folder / 'alone')}")


def lost(folder: Path, limit: float, how: str) -> None:
    """A job whose hosts lose each other, and the same run resumed by one process."""
    run = folder / "run"
    job = Job(folder, *[[*OPTIONS, "400", "--out", run]] * 2)
    job.wait_for(run, 10)
    print(f"  lost when {rows(run)} of 400 epochs were saved")
    if how == "link":
        ip("-n", NAMES[1], "link", "set", CABLE[1], "down")
    else:
        worker = (
            Path(f"/proc/{job.agents[1].pid}/task/{job.agents[1].pid}/children")
            .read_text()
            .split()[-1]
        )
        os.kill(int(worker), signal.SIGKILL)
    job.report(limit)
    reached = rows(run)
    print(
        f"  resumed by one process: {reached} epochs, after {alone('--resume', run):.1f} s {rows(run)}",
        flush=True,
    )


def own_folder(folder: Path, limit: float) -> None:
    run, other = folder / "run", folder / "host2" / "run"
    arguments = [*OPTIONS, "300", "--out"]
    job = Job(folder, [*arguments, run], [*arguments, other])
    job.wait_for(run, 10)
    for agent in job.agents:
        agent.send_signal(signal.SIGTERM)
    for agent in job.agents:
        agent.wait()
    print(
        f"  new run: interrupted after {rows(run)} of 300 epochs; host 2's folder exists: {other.exists()}",
        flush=True,
    )
    well = Job(folder, ["--resume", run], ["--resume", other]).report(limit)
    print(
        f"  --resume on both: {'done' if well else 'FAILED'}, {rows(run)} epochs; host 2's: {other.exists()}"
    )


CASES = {
    "equal": equal,
    "link": lambda folder, limit: lost(folder, limit, "link"),
    "killed": lambda folder, limit: lost(folder, limit, "killed"),
    "folder": own_folder,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="equal, link, killed, folder; all by default"
    )
    parser.add_argument(
        "--limit", type=float, default=120, help="seconds that a job may take to end"
    )
    options = parser.parse_args()
    if wrong := set(options.cases) - set(CASES):
        parser.error(f"a case must be one of {', '.join(CASES)}; got {', '.join(wrong)}")
    if os.geteuid() != 0 or shutil.which("ip") is None:
        missing = (
            "root may make network namespaces; run as root"
            if os.geteuid()
            else "there must be ip; install iproute2"
        )
        print(f"two_hosts.py: {missing}", file=sys.stderr)
        return 2
    for case in options.cases or CASES:
        print(f"{case}:", flush=True)
        with tempfile.TemporaryDirectory() as temporary, hosts():
            CASES[case](Path(temporary), options.limit)
    return 0


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # so that the namespaces are taken away then too
    sys.exit(main())
