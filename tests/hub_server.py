"""A stand-in for the Hub's HTTP interface: datasets, Spaces and models in memory, as far as huggingface_hub asks for them, with faults on demand.

Every commit keeps the whole content of all files, so that a test can look for a word in all that can still be read.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_owner"
Files = dict[str, bytes]
COMMIT = re.compile(r"[0-9a-f]{40}")
LARGE = (".safetensors", ".png")  # which the Hub takes only apart from commits


@dataclass
class Dataset:
    """All commits that can still be read, the oldest first."""

    private: bool
    commits: list[tuple[str, Files]]
    # Of a Space only.
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    hardware: str = ""

    @property
    def files(self) -> Files:
        """The newest content."""
        return self.commits[-1][1]

    def at(self, revision: str) -> Files | None:
        """The content of a commit; None where there is none of this name."""
        return self.files if revision == "main" else dict(self.commits).get(revision)


@dataclass
class HubServer:
    """A server on loopback, in a thread; a context.

    Attributes:
        fault: asked before every request with its method and path; a status is answered in its place, and None lets it through.
            It may also wait, or do something first.
        requests: method and path of all that came.
        large: what was uploaded apart from commits, by its SHA-256.
        breaks_off_after: so many bytes of a file are sent, and then the line is dead; None sends it whole.
    """

    datasets: dict[str, Dataset] = field(default_factory=dict)
    spaces: dict[str, Dataset] = field(default_factory=dict)
    models: dict[str, Dataset] = field(default_factory=dict)
    large: Files = field(default_factory=dict)
    breaks_off_after: int | None = None
    fault: Callable[[str, str], int | None] = lambda method, path: None
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def create(self, name: str, private: bool, kind: str = "datasets") -> bool:
        """Makes a dataset, a Space or a model; returns whether there was none."""
        repos = getattr(self, kind)
        if name in repos:
            return False
        repos[name] = Dataset(private, [(_sha(name.encode()), {".gitattributes": b""})])
        return True

    def commit(self, name: str, changes: dict[str, bytes | None], kind: str = "datasets") -> str:
        """Adds a commit; None takes a file away."""
        dataset = getattr(self, kind)[name]
        files = {**dataset.files, **changes}
        sha = _sha(f"{dataset.commits[-1][0]}{sorted(changes)}".encode())
        dataset.commits.append((sha, {path: content for path, content in files.items() if content is not None}))
        return sha

    def log(self, name: str) -> Files:
        """The newest files of the log."""
        return {path: content for path, content in self.datasets[name].files.items() if path.startswith("log/")}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Every line of the log."""
        return [json.loads(line) for content in self.log(name).values() for line in content.splitlines()]

    def can_read(self, name: str, word: str) -> bool:
        """Whether a word stands in any file of any commit."""
        return any(word.encode() in content for _, files in self.datasets[name].commits for content in files.values())


def _sha(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _blob(content: bytes) -> str:
    return _sha(b"blob %d\0" % len(content) + content)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def _refuse(self, status: int, message: str, **headers: str) -> None:
        self._answer(
            status,
            json.dumps({"error": message}).encode(),
            Content_Type="application/json",
            X_Error_Message=message,
            **headers,
        )

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        if (status := self.hub.fault(self.command, path)) is not None:
            return self._refuse(status, "on demand")
        if self.command == "PUT" and path.startswith("/storage/"):  # as a signed address, without a token
            self.hub.large[path.removeprefix("/storage/")] = body
            return self._answer(200, b"")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and not self._is_public(path):
            return self._refuse(401, "Invalid credentials in Authorization header")
        with self.hub.lock:
            return self._route(path, body)

    do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _is_public(self, path: str) -> bool:
        return any(
            f"/{name}/" in f"{path}/" and not model.private for name, model in self.hub.models.items()
        ) and self.command in ("GET", "HEAD")

    def _route(self, path: str, body: bytes) -> None:
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name, kind = f"{wanted['organization']}/{wanted['name']}", f"{wanted['type']}s"
            url = f"{self.hub.endpoint}/{kind}/{name}"
            if self.hub.create(name, wanted.get("visibility") == "private", kind):
                return self._json({"url": url})
            return self._json({"error": "You already created this repo", "url": url}, 409)
        if path == "/api/validate-yaml":
            card = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            whole = all(isinstance(card.get(key), str) for key in ("sdk", "sdk_version", "app_file"))
            return self._json({} if whole else {"errors": [{"message": "no sdk"}]}, 200 if whole else 400)
        if found := re.fullmatch(r"/spaces/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._large(json.loads(body)["objects"])
        if found := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)/(variables|secrets|hardware)", path):
            return self._space(self.hub.spaces[found[1]], found[2], json.loads(body))
        found = re.fullmatch(
            r"(?:/api)?(?:/(datasets|spaces|models))?/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)(?:/(.*))?)?", path
        )
        if found is None or found[2] not in getattr(self.hub, found[1] or "models"):
            return self._refuse(404, "Repository not found", X_Error_Code="RepoNotFound")
        kind, name, action, revision, rest = found[1] or "models", *found.groups()[1:]
        dataset = getattr(self.hub, kind)[name]
        files = dataset.at(revision or "main")
        if files is None:
            return self._refuse(404, "Revision not found", X_Error_Code="RevisionNotFound")
        if action in (None, "revision"):
            siblings = [{"rfilename": path} for path in files]
            return self._json(
                {"id": name, "sha": dataset.commits[-1][0], "private": dataset.private, "siblings": siblings}
            )
        if action == "tree":
            listed = [
                {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
                for path, content in files.items()
            ]
            return self._json(listed)
        if action == "resolve":
            if rest not in files:
                return self._refuse(404, "Entry not found", X_Error_Code="EntryNotFound")
            sha = revision if COMMIT.fullmatch(revision) else dataset.commits[-1][0]
            headers = {"ETag": f'"{_blob(files[rest])}"', "X_Repo_Commit": sha}
            if self.hub.breaks_off_after is not None and self.command == "GET":
                return self._break_off(files[rest], **headers)
            return self._answer(200, files[rest], **headers)
        if action == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            oids = {path: _blob(files[path]) for path in asked if path in files}
            modes = [
                {
                    "path": path,
                    "uploadMode": "lfs" if path.endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": oids.get(path),
                }
                for path in asked
            ]
            return self._json({"files": modes})
        if action == "commit":
            return self._commit(kind, name, [json.loads(line) for line in body.splitlines() if line])
        if action == "super-squash":
            dataset.commits[:] = [(_sha(dataset.commits[-1][0].encode()), dataset.files)]
            return self._json({})
        return self._refuse(404, f"{path} is nothing that the stand-in knows")

    def _break_off(self, content: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content[: self.hub.breaks_off_after])
        self.close_connection = True

    def _large(self, objects: list[dict[str, Any]]) -> None:
        address = {
            o["oid"]: f"{self.hub.endpoint}/storage/{o['oid']}" for o in objects if o["oid"] not in self.hub.large
        }
        told = [
            {**o, "actions": {"upload": {"href": address[o["oid"]]}}} if o["oid"] in address else o for o in objects
        ]
        return self._json({"transfer": "basic", "objects": told})

    def _space(self, space: Dataset, what: str, sent: dict[str, str]) -> None:
        if what == "hardware":
            space.hardware = sent["flavor"]
            return self._json({"stage": "BUILDING", "hardware": {"requested": space.hardware}})
        kept = getattr(space, what)
        kept[sent["key"]] = sent["value"]
        return self._json({key: {"value": value} for key, value in kept.items()} if what == "variables" else {})

    def _commit(self, kind: str, name: str, items: list[dict[str, Any]]) -> None:
        header, *operations = items
        repo = getattr(self.hub, kind)[name]
        parent = header["value"].get("parentCommit")
        if parent is not None and parent != repo.commits[-1][0]:
            return self._refuse(412, "A commit has happened since. Please refresh and try again.")
        changes: dict[str, bytes | None] = {}
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "lfsFile" and value["oid"] not in self.hub.large:
                return self._refuse(400, f"{value['path']} was not uploaded")
            changes[value["path"]] = {
                "file": lambda value: base64.b64decode(value["content"]),
                "lfsFile": lambda value: self.hub.large[value["oid"]],
                "deletedFile": lambda value: None,
            }[operation["key"]](value)
        sha = self.hub.commit(name, changes, kind)
        return self._json(
            {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.endpoint}/{kind}/{name}/commit/{sha}"}
        )
