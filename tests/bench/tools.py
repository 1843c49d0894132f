"""The programs that a benchmark needs and Python cannot bring: wrk makes the load, nginx is upstream and yardstick."""

import os
import shutil
import subprocess
import sys

PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
SERVERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def find(name: str) -> str | None:
    """Return the path of a program; Debian keeps servers where only root looks."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SERVERS)))


def program(name: str) -> str:
    """Return the path of a program that `require` has made sure of."""
    found = find(name)
    if found is None:
        raise FileNotFoundError(name)
    return found


def require() -> None:
    """Make sure of every program: by apt where root may, else raise SystemExit naming what is missing."""
    missing = [package for name, package in PACKAGES.items() if find(name) is None]
    if not missing:
        return
    if os.geteuid() != 0 or find("apt-get") is None:
        raise SystemExit(f"The benchmark needs these packages; please install them: {' '.join(missing)}")
    sys.stderr.write(f"Installing for the benchmark: {' '.join(missing)}\n")
    # Debian's nginx package would start a server on port 80; nothing here wants it.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing]
    subprocess.run(install, check=True, env=quiet, stdout=subprocess.DEVNULL)
    if still := [name for name in PACKAGES if find(name) is None]:
        raise SystemExit(f"These programs are still missing: {' '.join(still)}")
