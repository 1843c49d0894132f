"""Importing does nothing."""

import subprocess
import sys

from tests.laws.sources import ROOT, sources

WATCH = """
import importlib, os, sys, threading

writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
forbidden = {
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.fork",
    "os.posix_spawn", "os.exec", "os.mkdir", "os.remove", "os.rename", "os.putenv", "_thread.start_new_thread",
    "signal.pthread_kill", "sqlite3.connect",
}

def watch(event, args):
    if event in forbidden or (event == "open" and isinstance(args[2], int) and args[2] & writing):
        print(f"importing {module}: {event} {args[:2]}", file=sys.stderr)
        os._exit(1)

module = ""
sys.addaudithook(watch)
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def test_importing_any_module_has_no_effect() -> None:
    """No file is written, no socket, process or thread is made, whichever module is imported."""
    modules = [source.name for source in sources("gateway") if ".migrations" not in source.name]
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
