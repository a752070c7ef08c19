"""A page that a script writes: kept current, or (``--check``) only asked whether it is."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def keep(path: Path, text: str) -> int:
    """Write ``text``, or with ``--check`` say that the page says something else. The exit status."""
    if "--check" not in sys.argv[1:]:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{path.relative_to(ROOT)} is not current: make docs")
    return 1
