"""Builders for tests about serving: a project, an endpoint at a stub, a base and adapters with their canaries."""

import json
import tempfile
from pathlib import Path
from typing import Any

from accounts.models import Membership, Project, Role, User
from core.ids import new_key
from core.storage import store_directory
from generation.artifacts import ARTIFACT_KIND
from generation.models import Endpoint, ModelVersion

TEXTS = [[1, 5, 6, 7, 8], [1, 9, 10, 11]]


def make_project(slug: str = "lab") -> Project:
    return Project.objects.create(slug=slug, name=slug.title())


def make_member(project: Project, name: str, *roles: Role, **fields: Any) -> User:
    user = User.objects.create_user(username=name, password="correct horse battery", **fields)
    if roles:
        Membership.objects.create(project=project, user=user, **Membership.flags(set(roles)))
    return user


def make_endpoint(url: str, **fields: Any) -> Endpoint:
    values = {"name": "Stub", "engine": "vllm", "base_url": url, "base_model": "/base", "base_served_name": "base"}
    return Endpoint.objects.create(**values | {"state": "ready", "max_lora_rank": 16, "timeout_seconds": 5} | fields)


def make_base(project: Project, slug: str = "base", source: str = "/base") -> ModelVersion:
    return ModelVersion.objects.create(project=project, slug=slug, kind="base", source=source)


def canary(change: float = 0.5, seed: int = 0) -> dict[str, Any]:
    parent = [[-1.0 - 0.1 * i - 0.01 * seed for i in range(len(text) - 1)] for text in TEXTS]
    policy = [[value + (change if i % 2 else -change) for i, value in enumerate(row)] for row in parent]
    figures = {"policy": policy, "parent": parent}
    return {"version": 1, "token_ids": TEXTS, "logprobs": {"float32": figures, "bfloat16": figures}, "change": change}


def make_adapter(
    parent: ModelVersion, slug: str = "round-1", *, change: float = 0.5, rank: int = 8, **files: str
) -> ModelVersion:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "adapter_config.json").write_text(json.dumps({"r": rank, "slug": slug}))
        (directory / "adapter_model.safetensors").write_bytes(new_key().encode())  # tests share one store
        (directory / "canary.json").write_text(json.dumps(canary(change)))
        for name, text in files.items():
            (directory / name).write_text(text)
        sha256 = store_directory(ARTIFACT_KIND, directory)
    return ModelVersion.objects.create(
        project=parent.project, slug=slug, kind="adapter", parent=parent, artifact_sha256=sha256, facts={"rank": rank}
    )
