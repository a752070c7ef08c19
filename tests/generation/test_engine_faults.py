"""What an engine may do wrong, and that nothing wrong is ever kept. The faults come from a stub; see the contract test for the rest."""

import asyncio
from collections.abc import Iterator

import pytest

from generation.engines.base import (
    BadRequest,
    EngineBusy,
    EngineDown,
    EngineError,
    GarbledAnswer,
    SampleRequest,
    Sampling,
    UnknownModel,
)
from generation.engines.openai_compatible import OpenAICompatible
from generation.engines.vllm import Vllm
from tests.generation.stub_vllm import StubVllm

ASK = SampleRequest("base", [{"role": "user", "content": "Hello"}], [1])


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


def sample(stub: StubVllm, request: SampleRequest = ASK, kind: type[OpenAICompatible] = Vllm, **options):
    async def inner():
        async with kind(stub.url, **options) as engine:
            return await engine.sample(request)

    return asyncio.run(inner())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", EngineBusy),
        ("503", EngineBusy),
        ("500", EngineDown),
        ("502", EngineDown),
        ("408", EngineDown),
        ("400", BadRequest),
        ("401", BadRequest),
        ("422", BadRequest),
        ("404", UnknownModel),
        ("307", BadRequest),
        ("garbage", GarbledAnswer),
        ("empty", GarbledAnswer),
        ("wrong model", GarbledAnswer),
        ("two choices", GarbledAnswer),
        ("no choice", GarbledAnswer),
        ("half an answer", GarbledAnswer),
        ("no text", GarbledAnswer),
        ("cut", EngineDown),
    ],
)
def test_each_fault_becomes_one_of_the_three_errors(stub: StubVllm, fault: str, error: type[EngineError]) -> None:
    stub.fault = fault
    with pytest.raises(error) as caught:
        sample(stub)
    assert type(caught.value) is error
    assert isinstance(caught.value, (EngineBusy, EngineDown, BadRequest))


def test_an_error_says_nothing_of_what_the_server_wrote(stub: StubVllm) -> None:
    stub.fault = "500"
    with pytest.raises(EngineDown) as caught:
        sample(stub)
    assert "secret-internal-text" not in caught.value.sentence
    assert "secret-internal-text" not in str(caught.value)
    assert "secret-internal-text" in caught.value.detail


def test_a_busy_engine_says_how_long_to_wait(stub: StubVllm) -> None:
    stub.fault = "429"
    with pytest.raises(EngineBusy) as caught:
        sample(stub)
    assert caught.value.retry_after_seconds == 3


def test_a_slow_engine_counts_as_down(stub: StubVllm) -> None:
    stub.fault = "slow"
    with pytest.raises(EngineDown):
        sample(stub, timeout_seconds=0.3)


def test_nobody_at_the_address_counts_as_down() -> None:
    with StubVllm() as gone:
        pass
    with pytest.raises(EngineDown, match="cannot be reached"):
        sample(gone)


def test_one_failure_among_several_answers_gives_an_error_and_no_half_result(stub: StubVllm) -> None:
    stub.fault, stub.n_faults = "garbage", 1
    with pytest.raises(GarbledAnswer):
        sample(stub, SampleRequest("base", ASK.messages, [1, 2, 3, 4]))


def test_health_never_raises() -> None:
    with StubVllm() as gone:
        pass

    async def inner():
        async with Vllm(gone.url) as engine:
            return await engine.health()

    health = asyncio.run(inner())
    assert not health.is_ready
    assert health.message == "The engine cannot be reached."


def test_a_request_holds_the_typed_fields_and_nothing_else(stub: StubVllm) -> None:
    sampling = Sampling(
        temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.2, max_tokens=20, stop=("x",)
    )
    sample(stub, SampleRequest("base", ASK.messages, [7], sampling))
    (body,) = stub.bodies("/v1/chat/completions")
    assert body == {
        "model": "base",
        "messages": [{"role": "user", "content": "Hello"}],
        "seed": 7,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "max_tokens": 20,
        "stop": ["x"],
    }
    headers = {name.lower() for name in stub.requests[-1][2]}
    assert headers <= {"host", "accept", "accept-encoding", "user-agent", "content-type", "content-length"}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]},
        {"role": "user", "content": "x", "tool_calls": "[]"},
        {"role": "tool", "content": "x"},
        {"role": "user"},
    ],
)
def test_anything_but_plain_text_turns_is_refused(message: dict) -> None:
    with pytest.raises(ValueError):
        SampleRequest("base", [message], [1])


@pytest.mark.parametrize(
    "field",
    [
        {"chat_template": "{{ x }}"},
        {"chat_template_kwargs": {}},
        {"prompt_embeds": "x"},
        {"n": 1_000_000},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"stop": ["y" * 100_000]},
        {"stop": ["y"] * 100},
    ],
)
def test_sampling_takes_named_fields_within_their_ranges_only(field: dict) -> None:
    with pytest.raises(ValueError):
        Sampling.from_json(field)


def test_a_wish_for_more_than_the_context_is_clamped(stub: StubVllm) -> None:
    sample(stub, SampleRequest("base", ASK.messages, [1], Sampling(max_tokens=100_000)), max_model_len=512)
    assert stub.bodies("/v1/chat/completions")[0]["max_tokens"] == 512


def test_a_plain_openai_server_is_not_sent_what_it_does_not_know(stub: StubVllm) -> None:
    sample(stub, kind=OpenAICompatible)
    assert set(stub.bodies("/v1/chat/completions")[0]) == {
        "model",
        "messages",
        "seed",
        "temperature",
        "top_p",
        "max_tokens",
    }
    with pytest.raises(BadRequest, match="top_k"):
        sample(stub, SampleRequest("base", ASK.messages, [1], Sampling(top_k=5)), kind=OpenAICompatible)


def test_a_deployment_of_the_base_is_asked_by_the_bases_own_name(stub: StubVllm) -> None:
    (answer,) = sample(stub, SampleRequest("base::abc", ASK.messages, [1]))
    assert stub.bodies("/v1/chat/completions")[0]["model"] == "base"
    assert answer.model == "base::abc"


@pytest.mark.parametrize(
    "address", ["ftp://x", "http://", "http://user@host", "http://host/?q=1", "http://host/#f", "host:80"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError):
        OpenAICompatible(address)
