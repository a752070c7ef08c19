"""One contract for every engine: the real vLLM and the in-process engine keep it, by the same tests."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from config.env import ROOT
from generation.canary import MAX_PROBES, Canary, judge_canary, read_canary
from generation.engines.base import BadRequest, Deployer, Engine, SampleRequest, Sampling, UnknownModel
from generation.engines.local import LocalOptions, LocalServer
from generation.engines.vllm import Vllm, VllmServer, supervise
from tests.generation.real_adapter import write_adapter

pytestmark = [pytest.mark.vllm]
T = TypeVar("T")
STARTER = ROOT / "starter" / "model"
HELLO = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    options = LocalOptions(model=str(STARTER), home=tmp_path_factory.mktemp("local"), threads=1)
    with LocalServer(options) as server:
        yield server


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    write_adapter(STARTER, folder / "changed")
    write_adapter(STARTER, folder / "other", seed=2)
    write_adapter(STARTER, folder / "nothing", scale=0.0)
    write_adapter(STARTER, folder / "large", rank=64)
    return folder


@pytest.fixture(params=["vllm", "local"])
def server(request: pytest.FixtureRequest) -> VllmServer:
    name = "vllm_server" if request.param == "vllm" else "local_server"
    found: VllmServer = request.getfixturevalue(name)
    return found


@pytest.fixture
def ask(server: VllmServer) -> Callable[[Callable[[Vllm], Awaitable[Any]]], Any]:
    def ask(conversation: Callable[[Vllm], Awaitable[T]]) -> T:
        async def inner() -> T:
            async with Vllm(server.base_url, max_model_len=512) as engine:
                return await conversation(engine)

        return asyncio.run(inner())

    return ask


@pytest.fixture
def fresh(ask: Any) -> Iterator[Callable[[], str]]:
    """Names that no test used before; what was loaded under them is unloaded again."""
    names: list[str] = []

    def name() -> str:
        names.append(f"t-{time.monotonic_ns()}")
        return names[-1]

    yield name
    for each in names:
        ask(lambda engine, each=each: engine.unload(each))


def request_for(model: str = "base", seeds: Any = (1, 2, 3), **sampling: Any) -> SampleRequest:
    return SampleRequest(model, HELLO, tuple(seeds), Sampling(**{"max_tokens": 24, **sampling}))


def test_it_is_an_engine_and_a_deployer(server: VllmServer) -> None:
    engine = Vllm(server.base_url)
    assert isinstance(engine, Engine)
    assert isinstance(engine, Deployer)


def test_health_names_the_models_and_the_context(ask: Any) -> None:
    health = ask(lambda engine: engine.health())
    assert health.is_ready
    assert health.serves("base")
    assert health.max_model_len == 512
    assert health.version


def test_one_answer_for_each_seed_in_their_order(ask: Any) -> None:
    together = ask(lambda engine: engine.sample(request_for()))
    assert [sample.seed for sample in together] == [1, 2, 3]
    assert len({sample.text for sample in together}) > 1
    assert all(
        sample.model == "base" and sample.n_completion_tokens > 0 and sample.latency_seconds > 0 for sample in together
    )
    # An answer depends on its own seed, not on its place: the texts come back in the order asked for.
    backwards = ask(lambda engine: engine.sample(request_for(seeds=(3, 2, 1))))
    assert [sample.seed for sample in backwards] == [3, 2, 1]


def test_a_cold_answer_is_the_same_each_time(ask: Any) -> None:
    one = ask(lambda engine: engine.sample(request_for(seeds=[1], temperature=0)))
    two = ask(lambda engine: engine.sample(request_for(seeds=[2], temperature=0)))
    assert one[0].text == two[0].text


def test_the_same_seed_alone_gives_the_same_answer(ask: Any) -> None:
    texts = {ask(lambda engine: engine.sample(request_for(seeds=[5])))[0].text for _ in range(3)}
    assert len(texts) == 1


def test_an_answer_cut_at_its_limit_says_so(ask: Any) -> None:
    (sample,) = ask(lambda engine: engine.sample(request_for(seeds=[1], max_tokens=2)))
    assert (sample.finish_reason, sample.n_completion_tokens) == ("length", 2)


def test_an_answer_that_came_to_its_end_says_so(ask: Any) -> None:
    samples = ask(lambda engine: engine.sample(request_for(seeds=range(8), max_tokens=200)))
    assert any(sample.finish_reason == "stop" for sample in samples)
    assert not any("<|im_end|>" in sample.text for sample in samples)


def test_a_stop_text_is_not_part_of_the_answer(ask: Any) -> None:
    (whole,) = ask(lambda engine: engine.sample(request_for(seeds=[1], temperature=0)))
    stop = whole.text[3:6]
    (cut,) = ask(lambda engine: engine.sample(request_for(seeds=[1], temperature=0, stop=(stop,))))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


def test_a_model_that_is_not_served_is_said_to_be_unknown(ask: Any) -> None:
    with pytest.raises(UnknownModel):
        ask(lambda engine: engine.sample(request_for("nobody")))


def test_a_prompt_longer_than_the_context_is_a_bad_request(ask: Any) -> None:
    long = SampleRequest("base", [{"role": "user", "content": "capital " * 3000}], [1], Sampling(max_tokens=4))
    with pytest.raises(BadRequest, match="longer than the model's context"):
        ask(lambda engine: engine.sample(long))


def test_loading_twice_and_unloading_twice_is_no_error(ask: Any, fresh: Any, adapters: Path) -> None:
    name = fresh()

    async def conversation(engine: Vllm) -> None:
        await engine.load(name, str(adapters / "changed"))
        await engine.load(name, str(adapters / "changed"))
        assert any(model.name == name and model.root == str(adapters / "changed") for model in await engine.served())
        await engine.unload(name)
        await engine.unload(name)
        assert not any(model.name == name for model in await engine.served())

    ask(conversation)


def test_a_name_is_never_given_to_another_adapter(ask: Any, fresh: Any, adapters: Path) -> None:
    name = fresh()
    ask(lambda engine: engine.load(name, str(adapters / "changed")))
    with pytest.raises(BadRequest, match="taken by another"):
        ask(lambda engine: engine.load(name, str(adapters / "other")))


def test_an_adapter_that_is_not_there_is_a_bad_request(ask: Any, fresh: Any, adapters: Path) -> None:
    with pytest.raises(BadRequest, match="does not find"):
        ask(lambda engine: engine.load(fresh(), str(adapters / "none")))


def test_an_adapter_of_too_high_a_rank_says_what_to_type(ask: Any, fresh: Any, adapters: Path) -> None:
    with pytest.raises(BadRequest, match="--max-lora-rank 64"):
        ask(lambda engine: engine.load(fresh(), str(adapters / "large")))


def figures(ask: Any, name: str, canary: Canary) -> list[float]:
    found: list[float] = ask(lambda engine: engine.logprobs(name, canary.probes))
    return found


def test_the_canary_knows_the_adapter_from_its_parent_and_from_another(ask: Any, fresh: Any, adapters: Path) -> None:
    canary, name, other = read_canary(adapters / "changed"), fresh(), fresh()
    ask(lambda engine: engine.load(name, str(adapters / "changed")))
    ask(lambda engine: engine.load(other, str(adapters / "other")))
    right = judge_canary(canary, figures(ask, name, canary))
    print(
        f"canary: change {right.change:.4f}, server against trainer {right.disagreement:.4f} nats a token, share {right.share:.3f}"
    )
    assert right.passed, right
    assert right.disagreement is not None and right.disagreement < 0.02
    assert not judge_canary(canary, figures(ask, "base", canary)).passed
    assert not judge_canary(canary, figures(ask, other, canary)).passed


def test_an_adapter_of_zeros_is_found_to_change_nothing(ask: Any, fresh: Any, adapters: Path) -> None:
    canary, name = read_canary(adapters / "nothing"), fresh()
    ask(lambda engine: engine.load(name, str(adapters / "nothing")))
    finding = judge_canary(canary, figures(ask, name, canary))
    assert not finding.passed
    assert "changes nothing" in finding.sentence


def test_the_canary_does_not_disturb_traffic_through_the_same_adapter(ask: Any, fresh: Any, adapters: Path) -> None:
    """vLLM 0.32 dies of prompt_logprobs with an adapter while other requests run; one token at a time it must not."""
    canary, name = read_canary(adapters / "changed"), fresh()
    assert len(canary.probes) <= MAX_PROBES

    async def conversation(engine: Vllm) -> tuple[Any, Any]:
        await engine.load(name, str(adapters / "changed"))
        traffic = [engine.sample(request_for(model, range(16), max_tokens=64)) for model in (name, "base")]
        *answers, measured = await asyncio.gather(*traffic, engine.logprobs(name, canary.probes))
        return answers, measured

    answers, measured = ask(conversation)
    assert [len(samples) for samples in answers] == [16, 16]
    assert judge_canary(canary, measured).passed


# ---- a server of our own ---------------------------------------------------------------------------------------------


def group_of(server: VllmServer) -> list[int]:
    """Every process that descends from the server's nurse."""
    pending, found = [server._process.pid] if server._process else [], []
    while pending:
        pid = pending.pop()
        found.append(pid)
        for entry in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pending += [int(child) for child in entry.read_text().split()]
    return [pid for pid in found if pid]


def alive(pids: list[int]) -> list[int]:
    return [
        pid
        for pid in pids
        if Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["vllm", "local"])
def test_a_server_that_dies_is_started_again_with_its_adapters_and_leaves_nothing(
    kind: str, tmp_path: Path, adapters: Path
) -> None:
    from generation.engines.vllm import VllmOptions

    common: dict[str, Any] = {"model": str(STARTER), "home": tmp_path, "threads": 1}
    server = (
        VllmServer(VllmOptions(**common, kv_cache_gib=0.25)) if kind == "vllm" else LocalServer(LocalOptions(**common))
    )
    stop, states = threading.Event(), []
    thread = threading.Thread(
        target=supervise,
        args=(server,),
        kwargs={
            "stop": stop,
            "adapters": lambda: {"live": str(adapters / "changed")},
            "on_state": lambda *state: states.append(state),
        },
    )
    thread.start()
    seen: list[int] = []
    try:
        wait_for(lambda: ("ready", "") in states)
        address, seen = server.base_url, group_of(server)
        assert len(seen) > 1
        assert server._process is not None
        server._process.kill_server()
        wait_for(lambda: states.count(("ready", "")) == 2)
        assert server.base_url == address
        assert any(state == "down" and "started again" in message for state, message in states)
        # Which of its steps are seen depends on how quick it is; that it says what it does must not.
        assert any(message.startswith(f"Starting {server.options.title}") for _, message in states)
        assert not alive(seen)

        async def served() -> list[str]:
            async with Vllm(server.base_url) as engine:
                return [model.name for model in await engine.served()]

        assert asyncio.run(served()) == ["base", "live"]
        seen = group_of(server)
    finally:
        stop.set()
        thread.join(60)
    assert not alive(seen)
    assert states[-1] == ("down", "Stopped.")


def test_nothing_is_left_of_vllm_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys

    script = (
        "import sys, time; from pathlib import Path; from generation.engines.vllm import *\n"
        "s = VllmServer(VllmOptions(model=sys.argv[1], home=Path(sys.argv[2]), threads=1, kv_cache_gib=0.25)); s.start()\n"
        "s.wait_until_ready(); print(s._process.pid, flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(STARTER), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    nurse = int(child.stdout.readline())
    pids: list[int] = []
    pending = [nurse]
    while pending:
        pid = pending.pop()
        pids.append(pid)
        for entry in Path(f"/proc/{pid}/task").glob("*/children"):
            pending += [int(each) for each in entry.read_text().split()]
    assert len(alive(pids)) >= 4, "nurse, API server, engine core, worker"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    wait_for(lambda: not alive(pids), 60)


def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    from generation.engines.base import EngineDown
    from generation.engines.vllm import VllmOptions

    server = VllmServer(VllmOptions(model=str(tmp_path / "nowhere"), home=tmp_path, threads=1))
    server.start()
    try:
        with pytest.raises(EngineDown, match="not on this machine"):
            server.wait_until_ready()
    finally:
        server.stop()
