"""Commands in processes that need not import anything: forks of one that has.

python -m tests.forked

Answers every line of JSON on stdin by one on stdout. A list names a module, its
arguments, the files that stdout and stderr go to, and more variables of the
environment: ``python -m`` of them is started, and the answer is its process. To null
the answer is how processes have ended since. jax computes in a fork because its parent
never has.

Pictures of reports are drawn without a layout, which is half of their time.

All forks of one have its seed of hashes: what may depend on the order of a set is to be
compared to a fork of another. A warning of an import is of none of them.
"""

import functools
import gc
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import warnings

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


class Forks:
    """Starts commands in an environment; a context, which ends with all of them."""

    def __init__(self, environment):
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self._started = []
        self.ended = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self._started:
            process.kill()
        self._server.communicate()
        self._folder.cleanup()

    def start(self, module, *arguments, **environment):
        """As ``python -m module arguments``, with more variables of the environment.

        Those of jax, JAX_..., it has read before.
        """
        place = pathlib.Path(self._folder.name, str(len(self._started)))
        files = [place.with_suffix(suffix) for suffix in (".out", ".err")]
        texts = [list(map(str, several)) for several in (arguments, files)]
        process = self._ask([module, *texts, environment])
        self._started.append(Fork(self, process, *files))
        return self._started[-1]

    def look(self):
        """Notes who has ended."""
        self.ended.update((int(pid), code) for pid, code in self._ask(None).items())

    def _ask(self, question):
        self._server.stdin.write(json.dumps(question) + "\n")
        return json.loads(self._server.stdout.readline())


class Fork:
    """A process, to be used as one of ``subprocess``."""

    def __init__(self, forks, pid, out, err):
        self._forks, self.pid = forks, pid
        self._out, self._err = out, err

    @property
    def out(self):
        """What it has written to stdout so far."""
        return self._out.read_text() if self._out.exists() else ""

    @property
    def err(self):
        """What it has written to stderr so far."""
        return self._err.read_text() if self._err.exists() else ""

    def poll(self):
        """The status, or None as long as it runs."""
        if self.pid not in self._forks.ended:
            self._forks.look()
        return self._forks.ended.get(self.pid)

    def wait(self, timeout=600.0):
        """Waits for the status."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < end, "the process does not end"
            time.sleep(0.02)
        return code

    def send_signal(self, number):
        """Sends a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Ends it at once, if it runs."""
        self.send_signal(signal.SIGKILL)


def _become(module, arguments, files, environment):
    """Is the command from here on."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _ended(running):
    """The statuses of those that have ended, which run no longer."""
    codes = {}
    for pid in running:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            codes[pid] = os.waitstatus_to_exitcode(status)
    running.difference_update(codes)
    return codes


def _soon_drawn(picture, figure):
    """The picture of a figure as it is, whatever overlaps."""
    figure.set_layout_engine("none")
    return picture(figure)


def main():
    """Answers until there are no questions any more."""
    # What experiments.main imports in time.
    import dgg_jax.methods
    import dgg_jax.reports.run
    import dgg_jax.runs.run  # noqa: F401
    from dgg_jax.reports import page

    page.picture = functools.partial(_soon_drawn, page.picture)
    gc.freeze()  # what is imported stays: no fork's garbage collector looks at it
    running = set()
    for line in iter(sys.stdin.readline, ""):
        command = json.loads(line)
        if command is None:
            answer = _ended(running)
        else:
            with warnings.catch_warnings(action="ignore"):
                answer = os.fork()
            if answer == 0:
                return _become(*command)
            running.add(answer)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
