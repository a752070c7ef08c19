"""Create .venv and install what this machine can run. Quick when nothing has changed; standard library alone.

CPU: torch from PyTorch's CPU index where that answers, else from the configured index, then the compiled list without
resolving anything. NVIDIA GPU: the CUDA list. Where vLLM cannot be installed the in-process engine takes over.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
INDEX_TIMEOUT_SECONDS = 4.0


def say(sentence: str) -> None:
    print(sentence, flush=True)


def has_nvidia_gpu() -> bool:
    """Whether the driver's own tool lists a GPU."""
    if not shutil.which("nvidia-smi"):
        return False
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0 and "GPU" in listing.stdout


def answers(url: str, timeout_seconds: float = INDEX_TIMEOUT_SECONDS) -> bool:
    """Whether a package index serves torch, found out within a few seconds."""
    try:
        request = urllib.request.Request(f"{url}/torch/", method="HEAD")
        with urllib.request.urlopen(request, timeout=timeout_seconds) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def advice(missing_venv: bool, missing_compiler: bool) -> list[str]:
    """What to type for the system packages that are not there, worst first."""
    lines = []
    if missing_venv:
        lines.append(
            "Python cannot create environments here (its ensurepip module is missing). On Debian or Ubuntu type: "
            "apt-get install python3-venv"
        )
    if missing_compiler:
        lines.append(
            "Note: no C++ compiler (g++) was found. Everything works; vLLM runs without compiling its kernels, "
            "a little slower. For more speed type: apt-get install g++"
        )
    return lines


def digest(files: Sequence[Path], *facts: str) -> str:
    """One hash over the lists and facts that decide what is installed."""
    sha256 = hashlib.sha256("\0".join(facts).encode())
    for file in files:
        sha256.update(file.name.encode() + b"\0" + file.read_bytes())
    return sha256.hexdigest()


def lists_for(variant: str, *, dev: bool) -> list[Path]:
    """The compiled lists, in the order of installation."""
    names = [variant, *(["dev"] if dev else [])]
    return [ROOT / "requirements" / f"{name}.txt" for name in names]


class Setup:
    """One environment folder and the steps that fill it."""

    def __init__(self, folder: Path, variant: str, *, dev: bool) -> None:
        self.folder = folder
        self.variant = variant
        self.dev = dev
        self.python = folder / "bin" / "python"
        self.stamp = folder / f".whetstone-setup{'-dev' if dev else ''}"

    def wanted(self) -> str:
        files = [*lists_for(self.variant, dev=self.dev), Path(__file__), ROOT / "scripts" / "name_vllm.py"]
        return digest(files, TORCH, str(ROOT), platform.machine(), platform.python_version())

    def is_current(self) -> bool:
        """Whether an earlier run installed all of this; an environment for development holds the rest too."""
        if not self.dev and Setup(self.folder, self.variant, dev=True).is_current():
            return True
        return self.python.exists() and self.stamp.exists() and self.stamp.read_text().strip() == self.wanted()

    def run(self) -> None:
        if not self.python.exists():
            say(f"Creating {self.folder.name} with Python {platform.python_version()}.")
            subprocess.run([sys.executable, "-m", "venv", str(self.folder)], check=True)
        if self.variant == "cpu":
            self.install_torch()
        for path in lists_for(self.variant, dev=self.dev):
            self.install_list(path)
        self.check("scripts/name_vllm.py")
        self.add_project()
        self.stamp.write_text(f"{self.wanted()}\n")

    def install_torch(self) -> None:
        if self.has_torch():
            return
        if answers(TORCH_CPU_INDEX):
            say(f"Installing {TORCH} from PyTorch's CPU index.")
            index = ["--index-url", TORCH_CPU_INDEX]
            if self.pip("--no-deps", *index, TORCH):
                return
        say(f"Installing {TORCH} from the configured package index (PyTorch's own CPU index does not answer).")
        # With its needs: the build on PyPI brings the CUDA libraries, without which it cannot be imported.
        if not self.pip("--constraint", str(ROOT / "requirements" / "torch.txt"), TORCH):
            sys.exit(f"{TORCH} could not be installed; the lines above say why. Then type: make setup")

    def has_torch(self) -> bool:
        code = f"import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != {TORCH[7:]!r})"
        return subprocess.run([self.python, "-c", code], capture_output=True).returncode == 0

    def install_list(self, path: Path) -> None:
        say(f"Installing {path.relative_to(ROOT)}; the first time takes some minutes.")
        if self.pip("--no-deps", "--requirement", str(path)):
            return
        if path.stem not in {"cpu", "cuda"}:
            sys.exit(f"{path.relative_to(ROOT)} could not be installed; the lines above say why.")
        say("vLLM cannot be installed on this machine. Going on without it: the in-process engine takes over.")
        say(f"To try vLLM again later, delete {self.folder.name} and type: make setup")
        if self.variant == "cuda":
            self.install_torch()
        if not self.pip("--no-deps", "--requirement", str(ROOT / "requirements" / "train.txt")):
            sys.exit("The packages could not be installed; the lines above say why. Then type: make setup")

    def pip(self, *arguments: str) -> bool:
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
        return subprocess.run([*command, *arguments], cwd=ROOT).returncode == 0

    def check(self, script: str) -> None:
        subprocess.run([self.python, script], cwd=ROOT, check=True)

    def add_project(self) -> None:
        """Put this clone on the environment's path, so that recipes and tools start from any folder."""
        code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        site = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        (Path(site) / "whetstone.pth").write_text(f"{ROOT}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    parser.add_argument("--cpu", action="store_true", help="the CPU list, even beside an NVIDIA GPU")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment's folder (default: .venv)")
    given = parser.parse_args()

    missing_venv = importlib.util.find_spec("ensurepip") is None and not (given.venv / "bin" / "python").exists()
    missing_compiler = shutil.which(os.environ.get("CXX", "g++")) is None
    for line in advice(missing_venv, missing_compiler):
        say(line)
    if missing_venv:
        sys.exit(1)
    setup = Setup(given.venv.absolute(), "cuda" if has_nvidia_gpu() and not given.cpu else "cpu", dev=given.dev)
    if setup.is_current():
        say("The environment is up to date.")
        return
    setup.run()
    say(f"Ready. The environment is in {given.venv.name}.")


if __name__ == "__main__":
    main()
