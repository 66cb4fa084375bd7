"""A stand-in for the Hub's HTTP interface: datasets in memory, as far as huggingface_hub asks for them, with faults on demand.

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

TOKEN = "hf_of_the_owner"
Files = dict[str, bytes]
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass
class Dataset:
    """All commits that can still be read, the oldest first."""

    private: bool
    commits: list[tuple[str, Files]]

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
    """

    datasets: dict[str, Dataset] = field(default_factory=dict)
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

    def create(self, name: str, private: bool) -> bool:
        """Makes a dataset; returns whether there was none."""
        if name in self.datasets:
            return False
        self.datasets[name] = Dataset(private, [(_sha(name.encode()), {".gitattributes": b""})])
        return True

    def commit(self, name: str, changes: dict[str, bytes | None]) -> str:
        """Adds a commit; None takes a file away."""
        dataset = self.datasets[name]
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
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "Invalid credentials in Authorization header")
        with self.hub.lock:
            return self._route(path, body)

    do_GET = do_POST = do_HEAD = _serve  # noqa: N815

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _route(self, path: str, body: bytes) -> None:
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            url = f"{self.hub.endpoint}/datasets/{name}"
            if self.hub.create(name, wanted.get("visibility") == "private"):
                return self._json({"url": url})
            return self._json({"error": "You already created this dataset repo", "url": url}, 409)
        found = re.fullmatch(r"(?:/api)?/datasets/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)(?:/(.*))?)?", path)
        if found is None or found[1] not in self.hub.datasets:
            return self._refuse(404, "Repository not found", X_Error_Code="RepoNotFound")
        name, action, revision, rest = found.groups()
        dataset = self.hub.datasets[name]
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
            return self._answer(200, files[rest], ETag=f'"{_blob(files[rest])}"', X_Repo_Commit=sha)
        if action == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            oids = {path: _blob(files[path]) for path in asked if path in files}
            modes = [
                {"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": oids.get(path)} for path in asked
            ]
            return self._json({"files": modes})
        if action == "commit":
            return self._commit(name, [json.loads(line) for line in body.splitlines() if line])
        if action == "super-squash":
            dataset.commits[:] = [(_sha(dataset.commits[-1][0].encode()), dataset.files)]
            return self._json({})
        return self._refuse(404, f"{path} is nothing that the stand-in knows")

    def _commit(self, name: str, items: list[dict[str, Any]]) -> None:
        header, *operations = items
        parent = header["value"].get("parentCommit")
        if parent is not None and parent != self.hub.datasets[name].commits[-1][0]:
            return self._refuse(412, "A commit has happened since. Please refresh and try again.")
        changes: dict[str, bytes | None] = {}
        for operation in operations:
            value = operation["value"]
            changes[value["path"]] = base64.b64decode(value["content"]) if operation["key"] == "file" else None
        sha = self.hub.commit(name, changes)
        return self._json(
            {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.endpoint}/datasets/{name}/commit/{sha}"}
        )
