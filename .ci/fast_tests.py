"""Runs the fast tests under this interpreter, and says so for results/platforms.txt.

PYTHON .ci/fast_tests.py
"""

import importlib.metadata
import platform
import re
import subprocess
import sys

PACKAGES = (
    "jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn",
    "pandas", "tensorflow-datasets",
)  # fmt: skip
COMMAND = ("-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "not slow")


def main() -> int:
    """Tests and tells."""
    done = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True)
    counts = re.findall(r"(\d+) (passed|failed|skipped|xfailed|errors?)", done.stdout)
    told = ", ".join(f"{number} {what}" for number, what in counts[-6:])
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    print(f"Python {platform.python_version()}: {told}; commit {revision}")
    print(f"  {', '.join(versions)}", flush=True)
    sys.stderr.write(done.stdout[-20_000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
