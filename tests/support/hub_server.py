"""A stand-in for the hub's HTTP API: what `huggingface_hub` asks to upload and download files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import pytest

TOKEN = "hf_of_the_stand_in"
LARGE = (".safetensors", ".mdb")


@attrs.define
class Repo:
    """A repository: its files by commit, the newest last."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = attrs.field(factory=lambda: {"0" * 40: {}})

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def files(self, revision: str) -> dict[str, bytes] | None:
        return self.commits.get(self.head if revision == "main" else revision)


@attrs.define
class Hub:
    """Repositories by `models/USER/NAME` or `datasets/USER/NAME`, and what was asked."""

    url: str = ""
    repos: dict[str, Repo] = attrs.field(factory=dict)
    large: dict[str, bytes] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    def files(self, name: str) -> dict[str, bytes]:
        repo = self.repos[name]
        return repo.commits[repo.head]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self._begin()
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            revision = found[3] or "main"
            if (repo := self._repo(found[1], found[2], revision)) is not None:
                files = repo.files(revision) or {}
                sha = repo.head if revision == "main" else revision
                names = [{"rfilename": name} for name in files]
                told = {"id": found[2], "sha": sha, "siblings": names, "tags": []}
                self._json({**told, "private": repo.private})
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)", path):
            if (repo := self._repo(found[1], found[2], found[3])) is not None:
                self._json(
                    [
                        {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
                        for name, body in (repo.files(found[3]) or {}).items()
                    ]
                )
        else:
            self._file(path)

    def do_HEAD(self) -> None:
        self._file(self._begin())

    def do_PUT(self) -> None:
        path = self._begin()
        body = self._body()
        oid = path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.large[oid] = body
        self._send(200)

    def do_POST(self) -> None:
        path, body = self._begin(), self._body()
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            kind = asked.get("type") or "model"
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            key = f"{kind}s/{name}"
            known = key in self.hub.repos
            self.hub.repos.setdefault(key, Repo(self._private(asked)))
            where = name if kind == "model" else f"{kind}s/{name}"
            self._json({"url": f"{self.hub.url}/{where}"}, 409 if known else 200)
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/preupload/main", path):
            self._json(
                {
                    "files": [
                        {
                            "path": one["path"],
                            "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                            "shouldIgnore": False,
                            "oid": None,
                        }
                        for one in json.loads(body)["files"]
                    ]
                }
            )
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{one['oid']}"}}
            self._json({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/commit/main", path):
            self._commit(self.hub.repos[f"{found[1]}/{found[2]}"], body)
        else:
            self._json({"error": f"the stand-in does not know {path}"}, 404)

    def _private(self, asked: dict[str, Any]) -> bool:
        return bool(asked.get("private")) or asked.get("visibility") == "private"

    def _commit(self, repo: Repo, body: bytes) -> None:
        files = dict(repo.commits[repo.head])
        for line in body.splitlines():
            entry = json.loads(line)
            value: dict[str, Any] = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        sha = hashlib.sha1(body).hexdigest()
        repo.commits[sha] = files
        self._json({"success": True, "commitUrl": f"{self.hub.url}/c/{sha}", "commitOid": sha})

    def _file(self, path: str) -> None:
        found = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found is None:
            self._json({"error": f"the stand-in does not know {path}"}, 404)
            return
        repo = self._repo("datasets" if found[1] else "models", found[2], found[3])
        if repo is None:
            return
        body = (repo.files(found[3]) or {}).get(found[4])
        if body is None:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        sha = repo.head if found[3] == "main" else found[3]
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        self._send(200, body, {"ETag": etag, "X-Repo-Commit": sha, "Accept-Ranges": "bytes"})

    def _repo(self, kind: str, name: str, revision: str) -> Repo | None:
        repo = self.hub.repos.get(f"{kind}/{name}")
        if repo is None or (
            repo.private and self.headers.get("authorization") != f"Bearer {TOKEN}"
        ):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return None
        if repo.files(revision) is None:
            told = {"X-Error-Code": "RevisionNotFound"}
            self._json({"error": "Invalid rev id"}, 404, told)
            return None
        return repo

    def _begin(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        if length := self.headers.get("content-length"):
            return self.rfile.read(int(length))
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        told = {"Content-Type": "application/json", **(headers or {})}
        self._send(status, json.dumps(value).encode(), told)

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers on this machine until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("OfHub", (Handler,), {"hub": hub}), bind_and_activate=True
    )
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in in place of the hub, with an empty cache."""
    from huggingface_hub import constants

    with serving() as served:
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name, value in {
            "ENDPOINT": served.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": served.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_CACHE": str(tmp_path / "hf" / "hub"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        yield served
