"""What may be taken for a model: directories are refused by content, before any loader sees them.

Loaders' flags are no boundary (``trust_remote_code=False`` has been bypassed again and again), so a directory with a
pickle, with code, with a link to elsewhere or with weights that do not add up never gets as far as a loader. No torch
here: a safetensors header is JSON.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from django.conf import settings

from core.errors import DomainError, require
from core.ids import sha256_hex
from core.storage import artifact_path, read_manifest

if TYPE_CHECKING:
    from generation.models import ModelVersion

ARTIFACT_KIND = "models"
PICKLES = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz", ".h5", ".msgpack"}
)
CODE = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".pth", ".sh"})
HEADER_BYTES = 100 << 20  # what safetensors itself allows
FINITE_CHECK_BYTES = 512 << 20
JSON_BYTES = 256 << 20
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "BOOL": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1,
}  # fmt: skip
CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length", "max_sequence_length")
SANDBOX = Path(__file__).with_name("template_sandbox.py")
SANDBOX_SECONDS = 20  # wall clock; the sandbox itself stops after five seconds of computing

Purpose = Literal["policy", "reward"]


@dataclass(frozen=True)
class ModelFacts:
    """What the content check found. An adapter has no ``context_length`` and ``vocab_size``: they are its base's."""

    kind: Literal["full", "adapter"]
    purpose: Purpose
    architecture: str
    dtype: str
    n_parameters: int
    n_bytes: int
    context_length: int | None
    vocab_size: int | None
    rank: int | None
    target_modules: tuple[str, ...]
    chat_template_sha256: str
    takes_system: bool
    has_generation_markers: bool

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "target_modules": list(self.target_modules)}


def inspect_model_dir(path: Path, *, purpose: Purpose = "policy") -> ModelFacts:
    """What the directory holds. Raises DomainError with what is wrong and what to do, before anything is loaded.

    An adapter must bring its tokenizer and template too: servers and people find them beside the weights.
    """
    require(
        path.is_dir(),
        f"There is no model directory at {path}.",
        how="Check the path; it is one on the app's own machine.",
    )
    files = list(_safe_files(path))
    _refuse_remote_code(path)
    is_adapter = (path / "adapter_config.json").is_file()
    shards = _shards(path, "adapter_model" if is_adapter else "model")
    tensors = [tensor for shard in shards for tensor in read_header(shard)]
    _refuse_not_finite(tensors)
    template = chat_template_of(path)
    _check_tokenizer(path)
    takes_system = check_template(template, _special_tokens(path))
    config = _json(path / ("adapter_config.json" if is_adapter else "config.json"))
    found: Purpose = "reward" if _is_reward(config, is_adapter) else "policy"
    require(
        found == purpose,
        f"This is a {found} model, not a {purpose} model.",
        how="A reward model has one label and a score head; a policy is a causal language model.",
    )
    common = {
        "purpose": found,
        "dtype": max({t.dtype for t in tensors}, key=lambda d: sum(t.n_items for t in tensors if t.dtype == d)),
        "n_parameters": sum(tensor.n_items for tensor in tensors),
        "n_bytes": sum(file.stat().st_size for file in files),
        "chat_template_sha256": sha256_hex(template),
        "takes_system": takes_system,
        "has_generation_markers": "{% generation" in template or "{%- generation" in template,
    }
    if is_adapter:
        return _adapter_facts(config, tensors, common)
    return _full_facts(config, common)


def model_directory(version: ModelVersion) -> str:
    """Where a loader finds this version: its stored artifact, a directory, or (where a hub may be asked) a hub id.

    Raises DomainError when the artifact or the directory is gone.
    """
    if version.artifact_sha256:
        read_manifest(ARTIFACT_KIND, version.artifact_sha256)
        return str(artifact_path(ARTIFACT_KIND, version.artifact_sha256))
    require(version.source, f"{version.slug} has no weights here: its answers were imported from elsewhere.")
    path = Path(version.source)
    if path.is_absolute() or path.is_dir():
        require(
            path.is_dir(), f"The directory of {version.slug} is gone: {path}.", how="Put it back, or register it again."
        )
        return str(path.absolute())
    return fetch_from_hub(version.source)


def fetch_from_hub(source: str) -> str:
    """The local copy of ``owner/name`` or ``owner/name@revision``: safetensors and JSON, never a pickle or code."""
    name, _, revision = source.partition("@")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = [
        "*.safetensors",
        "*.safetensors.index.json",
        "config.json",
        "generation_config.json",
        "tokenizer*",
        "*.jinja",
    ]
    try:
        return str(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=[*wanted, "special_tokens_map.json", "added_tokens.json", "adapter_config.json"],
                ignore_patterns=["original/*", "*.bin", "*.py"],
                local_files_only=settings.WHETSTONE.hub_offline,
            )
        )
    except LocalEntryNotFoundError:
        raise DomainError(
            f"{name} is not on this machine, and no hub may be asked.",
            how="Set WHETSTONE_HUB_OFFLINE=false, or give the path of a directory.",
        ) from None
    except (RepositoryNotFoundError, HfHubHTTPError, OSError, ValueError) as problem:
        raise DomainError(
            f"{name} could not be fetched: {str(problem).splitlines()[0][:200]}",
            how="Check the name, or give the path of a directory.",
        ) from None


# --- files --------------------------------------------------------------------------------------------------------


def _safe_files(path: Path) -> Iterator[Path]:
    """Every file below ``path``; raises for a link that leads away, for pickles and for code."""
    root = path.resolve()
    # A hub's cache is made of links from snapshots/<revision>/ to blobs/ of the same model; those stay at home.
    home = root.parent.parent if root.parent.name == "snapshots" else root
    for folder, folders, names in os.walk(path, followlinks=False):
        for name in sorted(folders + names):
            entry = Path(folder) / name
            if entry.is_symlink():
                require(
                    entry.resolve().is_relative_to(home) and entry.exists(),
                    f"{name} is a link that leads out of the model's directory.",
                    how="Copy the file itself into the directory.",
                )
            if entry.is_dir():
                continue
            require(entry.is_file(), f"{name} is not a plain file.", how="Remove it from the model's directory.")
            suffix = Path(name).suffix.lower()
            require(
                suffix not in PICKLES,
                f"{name} may hold a pickle, which runs code when it is read.",
                how="Save the model with save_pretrained(..., safe_serialization=True) and leave this file out.",
            )
            require(
                suffix not in CODE,
                f"{name} is code. Models that bring code of their own are not loaded.",
                how="Use a model whose architecture the transformers library has.",
            )
            yield entry


def _refuse_remote_code(path: Path) -> None:
    for file in sorted(path.glob("*.json")):
        if file.name.endswith(".index.json") or file.name in ("tokenizer.json", "manifest.json"):
            continue
        if key := _key_of_code(_json(file)):
            raise DomainError(
                f"{file.name} asks for code of the model's own ({key}).",
                how="Use a model whose architecture the transformers library has, or remove an entry without need.",
            )


def _key_of_code(value: Any) -> str:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("auto_map", "custom_pipelines", "trust_remote_code") and inner:
                return str(key)
            # PEFT imports the library that an adapter names here.
            if key == "auto_mapping" and isinstance(inner, dict):
                library = str(inner.get("parent_library", "transformers"))
                if library.split(".")[0] != "transformers":
                    return "auto_mapping"
            if found := _key_of_code(inner):
                return found
    if isinstance(value, list):
        return next((found for item in value if (found := _key_of_code(item))), "")
    return ""


def _json(path: Path) -> Any:
    require(path.is_file(), f"There is no {path.name}.", how="Save the model and its tokenizer with save_pretrained.")
    require(path.stat().st_size <= JSON_BYTES, f"{path.name} is far too large.")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise DomainError(f"{path.name} is not JSON.", how="Save the model and its tokenizer again.") from None


# --- weights ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int  # in the file
    n_bytes: int

    @property
    def n_items(self) -> int:
        return math.prod(self.shape)


def _shards(path: Path, stem: str) -> list[Path]:
    """The safetensors files that make up the weights, as the index names them."""
    index = path / f"{stem}.safetensors.index.json"
    if index.is_file():
        names = sorted(set(dict(_json(index).get("weight_map") or {}).values()))
        for name in names:
            is_plain = isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
            require(
                is_plain and (path / str(name)).is_file(), f"The index names {name!r}, which is not a file beside it."
            )
        require(names, "The index of the weights is empty.")
        return [path / str(name) for name in names]
    whole = path / f"{stem}.safetensors"
    require(
        whole.is_file(),
        f"There is no {whole.name}: only weights in safetensors are read.",
        how="Save the model with save_pretrained(..., safe_serialization=True).",
    )
    return [whole]


def read_header(file: Path) -> list[Tensor]:
    """The tensors that a safetensors file says it holds, checked to fill the file exactly, without gap or overlap."""

    def refuse(what: str) -> DomainError:
        return DomainError(
            f"{file.name} is damaged: {what}.", how="Copy it again from where it came, or make it again."
        )

    size = file.stat().st_size
    with file.open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        if size < 8 or length > min(HEADER_BYTES, size - 8):
            raise refuse("its header is longer than the file")
        try:
            header = json.loads(source.read(length), object_pairs_hook=_no_name_twice)
        except (ValueError, RecursionError):
            raise refuse("its header cannot be read") from None
    if not isinstance(header, dict):
        raise refuse("its header is no table of tensors")
    header.pop("__metadata__", None)
    tensors = []
    for name, entry in header.items():
        try:
            start, end = entry["data_offsets"]
            tensor = Tensor(file, name, entry["dtype"], tuple(entry["shape"]), 8 + length + start, end - start)
            is_sound = all(isinstance(n, int) and n >= 0 for n in (start, *tensor.shape))
        except (KeyError, TypeError, ValueError):
            raise refuse(f"its entry for {name!r} cannot be read") from None
        if (
            not is_sound
            or tensor.dtype not in ITEM_BYTES
            or tensor.n_items * ITEM_BYTES[tensor.dtype] != tensor.n_bytes
        ):
            raise refuse(f"the shape of {name!r} does not fit its bytes")
        tensors.append(tensor)
    at = 8 + length
    for tensor in sorted(tensors, key=lambda t: (t.start, t.n_bytes)):
        if tensor.start != at:
            raise refuse(f"the bytes of {tensor.name!r} overlap others or leave a gap")
        at += tensor.n_bytes
    if at != size:
        raise refuse("it was cut short" if at > size else "it holds more bytes than its tensors")
    require(tensors, f"{file.name} holds no weights.")
    return tensors


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice")
    return table


def _refuse_not_finite(tensors: list[Tensor]) -> None:
    """Look for NaN and infinity: everywhere in a small model, in the head of each tensor of a large one."""
    share = min(1.0, FINITE_CHECK_BYTES / max(1, sum(tensor.n_bytes for tensor in tensors)))
    for tensor in tensors:
        if tensor.dtype not in ("F64", "F32", "F16", "BF16") or not tensor.n_items:
            continue
        n_items = max(1, int(tensor.n_items * share))
        kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[tensor.dtype]
        values = np.memmap(tensor.file, dtype=kind, mode="r", offset=tensor.start, shape=(n_items,))
        # bfloat16: all eight exponent bits set
        is_finite = ((values & 0x7F80) != 0x7F80).all() if tensor.dtype == "BF16" else np.isfinite(values).all()
        require(
            is_finite,
            f"The weights hold NaN or infinity (in {tensor.name}).",
            how="Training diverged: lower the learning rate and train again.",
        )


# --- config ---------------------------------------------------------------------------------------------------------


def _is_reward(config: dict[str, Any], is_adapter: bool) -> bool:
    if is_adapter:
        return config.get("task_type") == "SEQ_CLS"
    return str((config.get("architectures") or [""])[0]).endswith("ForSequenceClassification")


def _adapter_facts(config: dict[str, Any], tensors: list[Tensor], common: dict[str, Any]) -> ModelFacts:
    require(
        config.get("peft_type") == "LORA",
        f"This adapter is of the kind {config.get('peft_type')!r}; only LoRA adapters are served.",
        how="Train a LoRA adapter, or merge this one into its base.",
    )
    rank = config.get("r")
    ranks = {t.shape[0] for t in tensors if t.name.endswith(("lora_A.weight", "lora_embedding_A"))}
    require(ranks, "This adapter has no LoRA weights.")
    require(
        isinstance(rank, int) and (ranks == {rank} or bool(config.get("rank_pattern"))),
        f"The adapter's configuration says rank {rank}, its weights say {sorted(ranks)}.",
    )
    require(
        common["purpose"] == "reward" or not config.get("modules_to_save"),
        "This adapter brings whole layers (modules_to_save), which servers leave out without a word.",
        how="Train without modules_to_save, or merge the adapter into its base.",
    )
    modules = config.get("target_modules") or []
    return ModelFacts(
        kind="adapter",
        architecture="LoRA",
        context_length=None,
        vocab_size=None,
        rank=max([int(rank or 0), *ranks]),
        target_modules=tuple(sorted(modules)) if isinstance(modules, list) else (str(modules),),
        **common,
    )


def _full_facts(config: dict[str, Any], common: dict[str, Any]) -> ModelFacts:
    require(isinstance(config, dict), "config.json is not an object.")
    inner = config.get("text_config")
    text: dict[str, Any] = inner if isinstance(inner, dict) else config
    architecture = str((config.get("architectures") or [""])[0])
    require(
        architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForSequenceClassification")),
        f"{architecture or 'This'} is no causal language model.",
        how="Register a model whose config.json names an architecture that ends in ForCausalLM.",
    )
    context = next((text[name] for name in CONTEXT_NAMES if isinstance(text.get(name), int)), None)
    return ModelFacts(
        kind="full",
        architecture=architecture,
        context_length=context,
        vocab_size=text.get("vocab_size"),
        rank=None,
        target_modules=(),
        **common,
    )


# --- tokenizer and template -----------------------------------------------------------------------------------------


def _check_tokenizer(path: Path) -> None:
    require(
        (path / "tokenizer.json").is_file(),
        "There is no tokenizer.json, without which the server does not start.",
        how="Save the tokenizer there too: AutoTokenizer.from_pretrained(...).save_pretrained(directory).",
    )
    tokenizer = _json(path / "tokenizer.json")
    require(isinstance(tokenizer, dict) and isinstance(tokenizer.get("model"), dict), "tokenizer.json is no tokenizer.")


def chat_template_of(path: Path) -> str:
    """The chat template as its text. Raises DomainError where there is none."""
    if (path / "chat_template.jinja").is_file():
        try:
            return (path / "chat_template.jinja").read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise DomainError("chat_template.jinja is not text.") from None
    config = _json(path / "tokenizer_config.json") if (path / "tokenizer_config.json").is_file() else {}
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default")
    if not isinstance(template, str) or not template.strip():
        raise DomainError(
            "This model has no chat template, so there is no telling how to put a question to it.",
            how="Use an instruct model, or put a chat_template.jinja into its directory.",
        )
    return template


def _special_tokens(path: Path) -> dict[str, str]:
    config = _json(path / "tokenizer_config.json") if (path / "tokenizer_config.json").is_file() else {}
    found = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = config.get(name)
        found[name] = str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
    return found


def check_template(template: str, tokens: dict[str, str] | None = None) -> bool:
    """Render plain conversations in a bounded process; whether it takes a system message. Raises DomainError."""
    mark = "whetstone-7f3a"
    asked, said = {"role": "user", "content": f"Hello {mark}"}, {"role": "assistant", "content": "Hello."}
    system = {"role": "system", "content": f"Be brief. {mark}-system"}
    conversations = [
        {"messages": [asked], "options": {"add_generation_prompt": True}, "required": True},
        {"messages": [asked, said], "options": {"add_generation_prompt": False}, "required": True},
        {"messages": [asked, said, asked], "options": {"add_generation_prompt": True}, "required": True},
        {"messages": [system, asked], "options": {"add_generation_prompt": True}, "required": False},
    ]
    question = {"template": template, "conversations": conversations, "tokens": tokens or {}}
    how = "Repair chat_template.jinja, or take the template of a model of the same family."
    try:
        answer = subprocess.run(
            [sys.executable, "-I", str(SANDBOX)],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=SANDBOX_SECONDS,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            check=False,
        )
        result = json.loads(answer.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        # Killed by its limits, or said nothing that can be read: either way it did not end well.
        raise DomainError("The chat template does not end, or asks for more than it may have.", how=how) from None
    if "error" in result:
        raise DomainError(f"The chat template cannot be used: {result['error']}.", how=how)
    texts = result["texts"]
    require(mark in texts[0], "The chat template leaves out what the person said.", how=how)
    require(texts[0] != texts[1], "The chat template leaves out what the model said.", how=how)
    return bool(texts[3]) and f"{mark}-system" in texts[3]
