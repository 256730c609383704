"""A headless Chromium, driven over the DevTools protocol by a pipe."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--no-first-run", "--disable-extensions", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--remote-debugging-pipe"),
)
# The browser reads descriptor 3 and writes descriptor 4.
CONNECT = """
import os, sys
read, write = (os.dup(int(number)) for number in sys.argv[1:3])
for number, end in ((3, read), (4, write)):
    os.dup2(end, number)
    os.set_inheritable(number, True)  # also where they are the same
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One page of the browser; what it logs and requests is kept.

    Attributes:
      errors: exceptions and messages to the console that are errors.
      requests: addresses that it asked for.
    """

    def __init__(self, process, to_browser, from_browser):
        self.errors, self.requests, self._number = [], [], 0
        self._process, self._to, self._from = process, to_browser, from_browser
        self._session, self._buffer = None, b""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """The answer to a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._buffer:
            read = os.read(self._from, 1 << 20)
            assert read, "the browser has gone"
            self._buffer += read
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(parameters)
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        return message

    def open(self, path, width=1280, height=900, dark=False, mobile=False):
        """Shows a file in a window of this size."""
        self.resize(width, height, mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=pathlib.Path(path).resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        self.settle()

    def resize(self, width, height, mobile=False):
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.send("Emulation.setDeviceMetricsOverride", **size, mobile=mobile)

    def run(self, code):
        """The value of an expression; a promise is waited for."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", expression=code, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition, seconds=10):
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            time.sleep(0.02)

    def settle(self):
        """Until two frames have been drawn."""
        frame = "new Promise((done) => requestAnimationFrame(done))"
        self.run(f"{frame}.then(() => {frame}).then(() => 1)")

    def mouse(self, kind, x, y, **more):
        pressed = kind != "mouseMoved" or more.pop("pressed", False)
        button = {"button": "left", "clickCount": 1} if pressed else {}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button, **more)

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name)

    def screenshot(self, path, whole=True):
        """Writes what is seen as a PNG."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(answer["data"]))


@contextlib.contextmanager
def page():
    """A page in a new browser, which ends with it."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()

    shim = [sys.executable, "-c", CONNECT, str(to_read), str(from_write)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [*shim, PROGRAM, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(to_read, from_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        try:
            yield Page(process, to_write, from_read)
        finally:
            process.terminate()
            process.wait()
            os.close(to_write)
            os.close(from_read)
