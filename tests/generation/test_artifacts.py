"""A model directory is refused by what it holds, before any loader sees it (reliability group F)."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from core.errors import DomainError
from generation.artifacts import check_template, inspect_model_dir, model_directory
from generation.models import ModelVersion
from tests.training.tiny import CHAT_TEMPLATE

TENSORS = {"model.embed_tokens.weight": (8, 4), "lm_head.weight": (8, 4)}


def write(path: Path, value: Any) -> None:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def make_full(path: Path, **config: Any) -> Path:
    path.mkdir(parents=True)
    rng = np.random.default_rng(0)
    save_file(
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in TENSORS.items()}, path / "model.safetensors"
    )
    basics = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128, "vocab_size": 8}
    write(path / "config.json", {**basics, **config})
    _make_tokenizer(path)
    return path


def make_adapter(path: Path, *, rank: int = 4, **config: Any) -> Path:
    path.mkdir(parents=True)
    tensors = {
        "base_model.model.q_proj.lora_A.weight": np.ones((rank, 4), np.float32),
        "base_model.model.q_proj.lora_B.weight": np.ones((4, rank), np.float32),
    }
    save_file(tensors, path / "adapter_model.safetensors")
    basics = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "target_modules": ["q_proj"],
        "modules_to_save": None,
    }
    write(path / "adapter_config.json", {**basics, **config})
    _make_tokenizer(path)
    return path


def _make_tokenizer(path: Path) -> None:
    write(path / "tokenizer.json", {"model": {"type": "BPE", "vocab": {}, "merges": []}})
    write(path / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    write(path / "chat_template.jinja", CHAT_TEMPLATE)


def test_the_facts_of_a_whole_model(tmp_path: Path) -> None:
    facts = inspect_model_dir(make_full(tmp_path / "m"))
    assert (facts.kind, facts.purpose, facts.n_parameters, facts.dtype) == ("full", "policy", 64, "F32")
    assert (facts.context_length, facts.vocab_size, facts.rank) == (128, 8, None)
    assert facts.takes_system
    assert facts.has_generation_markers
    json.dumps(facts.as_json())


def test_the_facts_of_an_adapter(tmp_path: Path) -> None:
    facts = inspect_model_dir(make_adapter(tmp_path / "a", rank=4))
    assert (facts.kind, facts.rank, facts.target_modules) == ("adapter", 4, ("q_proj",))


def test_a_reward_model_is_not_taken_for_a_policy(tmp_path: Path) -> None:
    path = make_full(tmp_path / "m", architectures=["LlamaForSequenceClassification"])
    assert inspect_model_dir(path, purpose="reward").purpose == "reward"
    with pytest.raises(DomainError, match="reward model, not a policy"):
        inspect_model_dir(path)


def test_the_starter_model_passes() -> None:
    starter = Path(__file__).parents[2] / "starter" / "model"
    assert inspect_model_dir(starter).n_parameters > 1_000_000


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "adapter_model.bin", "value_head.bin", "training_args.bin", "optimizer.pt", "rng_state.pth",
     "model.ckpt", "custom_checkpoint_0.pkl"],
)  # fmt: skip
def test_a_pickle_is_refused_and_never_read(tmp_path: Path, name: str) -> None:
    """T101"""
    path, canary = make_full(tmp_path / "m"), tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.mkdir, (canary,)

    (path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DomainError, match="pickle") as refusal:
        inspect_model_dir(path)
    assert "safe_serialization" in refusal.value.how
    assert not canary.exists()


def test_code_is_refused_wherever_it_is_asked_for(tmp_path: Path) -> None:
    """T102"""
    path = make_full(tmp_path / "m")
    (path / "modeling_mine.py").write_text("raise SystemExit")
    with pytest.raises(DomainError, match=r"modeling_mine\.py is code"):
        inspect_model_dir(path)
    mapped = make_full(tmp_path / "mapped", auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})
    with pytest.raises(DomainError, match="auto_map"):
        inspect_model_dir(mapped)
    tokenizer = make_full(tmp_path / "tokenizer")
    write(tokenizer / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.Y", None]}})
    with pytest.raises(DomainError, match="auto_map"):
        inspect_model_dir(tokenizer)
    adapter = make_adapter(tmp_path / "a", auto_mapping={"base_model_class": "X", "parent_library": "evil"})
    with pytest.raises(DomainError, match="auto_mapping"):
        inspect_model_dir(adapter)


def test_a_link_that_leads_out_is_refused_and_a_hub_cache_is_not(tmp_path: Path) -> None:
    """T108"""
    path = make_full(tmp_path / "m")
    (path / "notes.txt").symlink_to("/etc/passwd")
    with pytest.raises(DomainError, match="leads out"):
        inspect_model_dir(path)
    repository = tmp_path / "models--owner--name"
    snapshot = make_full(repository / "snapshots" / "abc123")
    (repository / "blobs").mkdir()
    (snapshot / "model.safetensors").rename(repository / "blobs" / "b1")
    (snapshot / "model.safetensors").symlink_to("../../blobs/b1")
    assert inspect_model_dir(snapshot).n_parameters == 64


def test_shards_outside_the_directory_are_refused(tmp_path: Path) -> None:
    path = make_full(tmp_path / "m")
    write(path / "model.safetensors.index.json", {"weight_map": {"a": "../other/model.safetensors"}})
    with pytest.raises(DomainError, match="not a file beside it"):
        inspect_model_dir(path)


def with_header(header: Any, data: bytes) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "giant header": struct.pack("<Q", 2**40) + b"{}",
    "no JSON": with_header(b"not json at all", b""),
    "overlap": with_header(
        {
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        },
        bytes(12),
    ),
    "gap": with_header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
    "cut short": with_header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)),
    "too long": with_header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
    "wrong shape": with_header({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}}, bytes(16)),
    "negative": with_header({"a": {"dtype": "F32", "shape": [-1, -4], "data_offsets": [0, 16]}}, bytes(16)),
    "unknown dtype": with_header({"a": {"dtype": "P1", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)),
    "a name twice": with_header(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        bytes(1),
    ),
    "a pickle by another name": pickle.dumps({"weights": [1, 2, 3]}),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """T104"""
    path = make_full(tmp_path / "m")
    (path / "model.safetensors").write_bytes(content)
    with pytest.raises(DomainError, match=r"model.safetensors (is damaged|holds no weights)"):
        inspect_model_dir(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    path = make_full(tmp_path / "m")
    save_file({"w": np.array([1.0, value], np.float32)}, path / "model.safetensors")
    with pytest.raises(DomainError, match="NaN or infinity"):
        inspect_model_dir(path)


def test_nan_in_bfloat16_is_seen_too(tmp_path: Path) -> None:
    path = make_full(tmp_path / "m")
    header = {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    (path / "model.safetensors").write_bytes(with_header(header, struct.pack("<HH", 0x3F80, 0x7FC0)))
    with pytest.raises(DomainError, match="NaN or infinity"):
        inspect_model_dir(path)


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    for name, sentence in {
        "model.safetensors": "only weights in safetensors",
        "tokenizer.json": "no tokenizer.json",
        "chat_template.jinja": "no chat template",
        "config.json": "no config.json",
    }.items():
        path = make_full(tmp_path / name)
        (path / name).unlink()
        with pytest.raises(DomainError, match=sentence) as refusal:
            inspect_model_dir(path)
        assert refusal.value.how
    with pytest.raises(DomainError, match="no model directory"):
        inspect_model_dir(tmp_path / "nowhere")


def test_an_adapter_that_a_server_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="modules_to_save"):
        inspect_model_dir(make_adapter(tmp_path / "a", modules_to_save=["lm_head"]))
    with pytest.raises(DomainError, match="rank 8"):
        inspect_model_dir(make_adapter(tmp_path / "b", rank=4, r=8))
    with pytest.raises(DomainError, match="only LoRA"):
        inspect_model_dir(make_adapter(tmp_path / "c", peft_type="PREFIX_TUNING"))


HOSTILE = {
    "asks for a gigabyte": "{{ 'a' * 10**10 }}",
    "reaches for the system": "{{ lipsum.__globals__['os'].popen('touch /tmp/x').read() }}",
    "reaches through attr": "{{ (messages|attr('__class__')).__mro__ }}",
    "includes a file": "{% include '/etc/passwd' %}",
    "calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "grows": "{% for a in range(9999) %}{% for b in range(9999) %}xxxxxxxxxx{% endfor %}{% endfor %}",
    "forgets the question": "Hello",
    "does not parse": "{% for m in messages %}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_or_useless_template_is_refused(template: str) -> None:
    """T106"""
    with pytest.raises(DomainError, match="chat template"):
        check_template(template)


@pytest.mark.slow
def test_a_template_that_never_ends_is_stopped() -> None:
    with pytest.raises(DomainError, match="does not end"):
        check_template("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")


def test_a_template_may_refuse_a_system_message() -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT_TEMPLATE
    assert check_template(template) is False
    assert check_template(CHAT_TEMPLATE) is True


def test_a_version_without_weights_has_no_directory(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="no weights here"):
        model_directory(ModelVersion(slug="other-lab", kind="outside"))
    with pytest.raises(DomainError, match="is gone"):
        model_directory(ModelVersion(slug="mine", kind="base", source=str(tmp_path / "gone")))
    assert model_directory(ModelVersion(slug="mine", kind="base", source=str(tmp_path))) == str(tmp_path)


def test_a_hub_is_not_asked_unless_it_may_be() -> None:
    with pytest.raises(DomainError, match="no hub may be asked") as refusal:
        model_directory(ModelVersion(slug="small", kind="base", source="owner/name-that-is-not-here"))
    assert "WHETSTONE_HUB_OFFLINE" in refusal.value.how
