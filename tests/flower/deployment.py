"""A real Flower deployment on the loopback: SuperLink and SuperNodes with TLS and keys, each a process of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from fastkd.flower.certificates import make_certificates

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
BUNDLE = """[project]
name = "venues"
version = "1.0.0"
dependencies = []

[tool.flwr.app]
publisher = "fastkd"

[tool.flwr.app.components]
serverapp = "venue_apps:server"
clientapp = "venue_apps:client"

[tool.flwr.app.config]
mode = "fedmd"
rounds = 2
nodes = 4
quorum = 0
grace = 2.0
timeout = 120.0
rule = "trimmed_mean"
f = 1
wave = 0
die-after = -1
checkpoint = ""
out = ""
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Deployment:
    """Processes that end with the context; their logs lie in the folder."""

    def __init__(self, folder, keys):
        self.folder, self.port, self.processes = folder, free_port(), {}
        make_certificates(folder, keys)
        (folder / "flwr").mkdir()
        (folder / "app").mkdir()
        (folder / "app" / "pyproject.toml").write_text(BUNDLE)
        (folder / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{folder / "ca.crt"}"\n'
        )
        self.env = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "FLWR_HOME": str(folder / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "VENUES": str(folder),
        }

    def start(self, name, *command):
        with open(self.folder / f"{name}.log", "w") as log:
            self.processes[name] = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.folder
            )

    def kill(self, name, how=signal.SIGKILL):
        """End a process and its children: its session is its own."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.wait()

    def superlink(self):
        self.start(
            "superlink", str(BIN / "flower-superlink"), "--ssl-ca-certfile", "ca.crt", "--ssl-certfile", "server.pem",
            "--ssl-keyfile", "server.key", "--enable-supernode-auth", "--host", "127.0.0.1", "--port", str(self.port),
            "--disable-runtime-dependency-installation",
        )  # fmt: skip
        self.wait(lambda: self._listens(), "the SuperLink listens")

    def supernode(self, name, key=None):
        config = f'venue="{name}"'
        self.start(
            name, str(BIN / "flower-supernode"), "--root-certificates", "ca.crt", "--ssl-ca-certfile", "ca.crt",
            "--ssl-certfile", "server.pem", "--ssl-keyfile", "server.key", "--auth-supernode-private-key", key or name,
            "--superlink", f"127.0.0.1:{self.port}", "--host", "127.0.0.1", "--port", str(free_port()),
            "--max-retries", "5", "--node-config", config,
        )  # fmt: skip

    def register(self, name):
        done = self._flwr("supernode", "register", f"{name}.pub", "here", "--name", name)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, **config):
        """What the server app left in its file (None if it left nothing), and what was printed."""
        out = self.folder / f"out{time.time_ns()}.json"
        text = " ".join(f"{k.replace('_', '-')}={json.dumps(v)}" for k, v in {**config, "out": str(out)}.items())
        done = self._flwr("run", str(self.folder / "app"), "here", "--stream", "-c", text, timeout=400)
        return (json.loads(out.read_text()) if out.exists() else None), done.stdout + done.stderr

    def wait(self, ready, what, timeout=90.0):
        end = time.monotonic() + timeout
        while not ready():
            assert time.monotonic() < end, f"{what}: not within {timeout} s\n{self.logs()}"
            time.sleep(0.1)

    def logs(self):
        return "\n".join(f"--- {p.name}\n{p.read_text()[-1500:]}" for p in sorted(self.folder.glob("*.log")))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for name in list(self.processes):
            self.kill(name, signal.SIGTERM if name == "superlink" else signal.SIGKILL)

    def _listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def _flwr(self, *command, timeout=120.0):
        return subprocess.run(
            [str(BIN / "flwr"), *command],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.folder,
        )
