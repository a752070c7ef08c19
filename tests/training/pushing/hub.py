"""A hub of our own: the endpoints that huggingface_hub's client calls to make a dataset's repository and commit files to it.

A fake, because the real hub cannot run here. The client is the real one: what it sends is checked as a hub would check it.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_secret_of_the_tests"
SMALL = 2_000  # bytes: what is longer goes through large-file storage


@dataclass
class Hub:
    """repos: name -> {"private", "commits": [tree]} where a tree is path -> bytes."""

    repos: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)  # large files by SHA-256, committed or not
    asked: list[str] = field(default_factory=list)  # "PUT /upload/..."
    owners: tuple[str, ...] = ("lab",)
    broken: dict[str, int] = field(default_factory=dict)  # part of an address -> the code that it is answered with
    url: str = ""
    before_upload: Any = None

    def tree(self, name: str) -> dict[str, bytes]:
        commits = self.repos[name]["commits"]
        return commits[-1] if commits else {}

    def write_to(self, name: str, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in self.tree(name).items():
            (directory / path).write_bytes(content)
        return directory


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, code: int, body: Any = None) -> None:
        data = json.dumps(body if body is not None else {}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        return found

    def _handle(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.asked.append(f"{self.command} {path}")
        body = self._body()
        broken = next((code for part, code in hub.broken.items() if part in path), 0)
        if broken:
            return self._answer(broken, {"error": "as the test wants it"})
        if path.startswith("/upload/"):
            return self._upload(path.removeprefix("/upload/"), body)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        found = re.fullmatch(r"(?:/api)?/datasets/([^/]+/[^/]+?)(?:\.git)?(/.*)?", path)
        if found is None or found[1] not in hub.repos:
            return self._answer(404, {"error": "Repository not found"})
        name, rest = found[1], found[2] or ""
        if rest == "" or rest.startswith("/revision/"):
            return self._info(name)
        if rest.startswith("/preupload/"):
            return self._preupload(name, json.loads(body))
        if rest == "/info/lfs/objects/batch":
            return self._batch(json.loads(body))
        if rest.startswith("/commit/"):
            return self._commit(name, [json.loads(line) for line in body.splitlines()])
        return self._answer(404, {"error": f"no such endpoint: {path}"})

    do_GET = do_POST = do_PUT = _handle

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self.hub.owners:
            return self._answer(403, {"error": "You don't have the rights to create a dataset under this namespace"})
        url = f"{self.hub.url}/datasets/{name}"
        if name in self.hub.repos:
            return self._answer(409, {"error": "You already created this dataset repo", "url": url})
        self.hub.repos[name] = {"private": asked.get("visibility") == "private", "commits": [{".gitattributes": b"x"}]}
        return self._answer(200, {"url": url})

    def _info(self, name: str) -> None:
        repo = self.hub.repos[name]
        siblings = [{"rfilename": path} for path in self.hub.tree(name)]
        sha = f"{len(repo['commits']):040x}"
        self._answer(200, {"id": name, "sha": sha, "private": repo["private"], "siblings": siblings, "tags": []})

    def _preupload(self, name: str, asked: dict[str, Any]) -> None:
        files = []
        for each in asked["files"]:
            there = self.hub.tree(name).get(each["path"])
            mode = "lfs" if each["size"] > SMALL else "regular"
            oid = None if there is None else hashlib.sha256(there).hexdigest() if mode == "lfs" else git_oid(there)
            files.append({"path": each["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._answer(200, {"files": files})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for each in asked["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.stored:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{each['oid']}", "header": {}}}
            objects.append(entry)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _upload(self, oid: str, body: bytes) -> None:
        if self.hub.before_upload:
            self.hub.before_upload(oid)
        if hashlib.sha256(body).hexdigest() != oid:
            return self._answer(400, {"error": "the content is not what was announced"})
        self.hub.stored[oid] = body
        return self._answer(200)

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        tree = dict(self.hub.tree(name))
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "file":
                    tree[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    if value["oid"] not in self.hub.stored:
                        return self._answer(400, {"error": f"{value['path']} was never uploaded"})
                    tree[value["path"]] = self.hub.stored[value["oid"]]
                case "deletedFile":
                    del tree[value["path"]]
        commits = self.hub.repos[name]["commits"]
        commits.append(tree)
        oid = f"{len(commits):040x}"
        return self._answer(200, {"commitUrl": f"{self.hub.url}/datasets/{name}/commit/{oid}", "commitOid": oid})


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
