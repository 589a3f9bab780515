"""Two browsers without a network for tests of a page: Chromium by playwright, Firefox by its Marionette protocol."""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
READY = "variform.ready.then(() => true)"


class Chromium:
    """One window of Chromium, offline."""

    _driver, _open = (
        None,
        0,
    )  # playwright starts once in a process, and must end for other event loops to run

    def __init__(self, folder):
        from playwright.sync_api import sync_playwright

        Chromium._driver = Chromium._driver or sync_playwright().start()
        Chromium._open += 1
        self.errors = []
        self._browser = Chromium._driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        self._downloads, self._context = folder, None
        self.resize(1100, 760)

    def resize(self, width, height, **options):
        """A new window of another size."""
        if self._context:
            self._context.close()
        self._context = self._browser.new_context(
            viewport={"width": width, "height": height},
            offline=True,
            accept_downloads=True,
            **options,
        )
        self.page = self._context.new_page()
        self.page.on(
            "console", lambda message: message.type == "error" and self.errors.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, path, fragment="", ready=READY):
        """Load a page anew, as a first visitor does, and wait until it is ready."""
        self.page.goto("about:blank")
        self.page.goto(Path(path).as_uri() + fragment)
        return self.run(ready)

    def run(self, script):
        """The value of a JavaScript expression, awaited."""
        return self.page.evaluate(script)

    def download(self, script):
        """The file that an expression makes the page save."""
        with self.page.expect_download() as download:
            self.run(script)
        path = self._downloads / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def close(self):
        """End the browser."""
        self._browser.close()
        Chromium._open -= 1
        if not Chromium._open:
            Chromium._driver.stop()
            Chromium._driver = None


class Firefox:
    """One window of Firefox, whose proxy is a port where nobody listens."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        profile, self._downloads, self._number = folder / "profile", folder, 0
        profile.mkdir()
        preferences = {
            "marionette.port": port,
            "network.proxy.type": 1,
            "network.proxy.http": "127.0.0.1",
            "network.proxy.http_port": 9,
            "network.proxy.ssl": "127.0.0.1",
            "network.proxy.ssl_port": 9,
            "browser.download.folderList": 2,
            "browser.download.dir": str(folder),
            "browser.download.useDownloadDir": True,
            "datareporting.policy.dataSubmissionEnabled": False,
            "app.update.disabledForTesting": True,
        }
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});"
            for name, value in preferences.items()
        ]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        command = [
            FIREFOX,
            "--headless",
            "--no-remote",
            "--marionette",
            "--remote-allow-system-access",
        ]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([*command, "--profile", str(profile)], **quiet)
        self._socket = self._connected(port)
        self._answer()  # its greeting
        self.ask(
            "WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": True}}}
        )
        self.ask("WebDriver:SetTimeouts", {"script": 60_000, "pageLoad": 60_000})
        self.ask("WebDriver:SetWindowRect", {"width": 1100, "height": 860})

    def _connected(self, port):
        for _ in range(300):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=90)
            except OSError:
                time.sleep(0.1)
        self._process.kill()
        raise TimeoutError("Firefox did not start")

    def _answer(self):
        length = b""
        while not length.endswith(b":"):
            length += self._socket.recv(1)
        content, size = b"", int(length[:-1])
        while len(content) < size:
            content += self._socket.recv(size - len(content))
        return json.loads(content)

    def ask(self, command, values):
        """The answer to a command of the protocol."""
        self._number += 1
        message = json.dumps([0, self._number, command, values]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, value = self._answer()
        if error:
            raise RuntimeError(f"{error['error']}: {error['message']}")
        return value

    def open(self, path, fragment="", ready=READY):
        """Load a page anew, as a first visitor does, and wait until it is ready."""
        self.ask("WebDriver:Navigate", {"url": "about:blank"})
        self._in_chrome("Services.console.reset()")
        self.ask("WebDriver:Navigate", {"url": Path(path).as_uri() + fragment})
        return self.run(ready)

    def run(self, script):
        """The value of a JavaScript expression, awaited."""
        values = {
            "script": f"return (async () => await ({script}))()",
            "args": [],
            "sandbox": None,
            "newSandbox": False,
        }
        return self.ask("WebDriver:ExecuteScript", values)["value"]

    @property
    def errors(self):
        """What the console holds of the page."""
        return self._in_chrome(
            "Services.console.getMessageArray().filter((m) => m instanceof Ci.nsIScriptError && m.errorMessage"
            " && /^file:/.test(m.sourceName) && !(m.flags & 1)).map((m) => m.errorMessage)"
        )

    def _in_chrome(self, script):
        self.ask("Marionette:SetContext", {"value": "chrome"})
        try:
            return self.ask("WebDriver:ExecuteScript", {"script": f"return {script}", "args": []})[
                "value"
            ]
        finally:
            self.ask("Marionette:SetContext", {"value": "content"})

    def download(self, script):
        """The file that an expression makes the page save."""
        before = set(self._downloads.iterdir())
        self.run(script)
        for _ in range(200):
            new = [
                path for path in set(self._downloads.iterdir()) - before if path.suffix != ".part"
            ]
            if new and new[0].stat().st_size:
                return new[0]
            time.sleep(0.05)
        raise TimeoutError("nothing was saved")

    def close(self):
        """End the browser."""
        try:
            self.ask("Marionette:Quit", {"flags": ["eForceQuit"]})
        finally:
            self._socket.close()
            self._process.wait(timeout=20)


KINDS = {"Chromium": (CHROMIUM, Chromium), "Firefox": (FIREFOX, Firefox)}


def started(kind, folder):
    """A browser of some kind, with its files in a folder; where it is not installed the test is skipped."""
    is_there, make = KINDS[kind]
    if not is_there:
        pytest.skip(f"{kind} is not installed: make browsers")
    return make(folder)
