"""A Hub on loopback that answers huggingface_hub over HTTP, with real bytes, commits and permissions.

It has the routes of repositories, commits, Git LFS uploads, downloads and metadata validation. All is stored in
memory. Clients need `HF_ENDPOINT` and `HF_HUB_DISABLE_XET=1`.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


DATE = "2026-01-01T00:00:00.000Z"
PREFIXES = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
SPACE_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


class HubError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Message": message} | headers
        if code:
            self.headers["X-Error-Code"] = code


@dataclass(frozen=True)
class File:
    """A file of a commit. Its hash is that of its content in LFS, and otherwise that of its Git blob."""

    content: bytes
    is_lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob_id(self) -> str:
        content = f"oid sha256:{self.sha256}".encode() if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.blob_id


@dataclass
class Commit:
    message: str
    parent: str | None
    files: dict[str, File]

    @property
    def oid(self) -> str:
        listing = [self.message, self.parent, sorted((path, file.etag) for path, file in self.files.items())]
        return hashlib.sha1(json.dumps(listing).encode()).hexdigest()


@dataclass
class Repo:
    id: str
    kind: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, ref: str, message: str, files: dict[str, File], parent: str | None) -> str:
        commit = Commit(message, parent, files)
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit.oid

    def resolve(self, revision: str) -> str:
        """The commit that a branch, tag, pull request or commit names."""
        oid = self.refs.get(revision, revision)
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid

    def files(self, revision: str = "main") -> dict[str, File]:
        return self.commits[self.resolve(revision)].files

    def history(self, revision: str = "main") -> list[str]:
        """Messages of the commits, the latest first."""
        messages, oid = [], self.refs.get(revision)
        while oid is not None:
            messages.append(self.commits[oid].message)
            oid = self.commits[oid].parent
        return messages


class Hub:
    """The server. As a context manager it runs in a thread.

    Args:
        tokens (`dict[str, str]`): User of each access token.

    Attributes:
        repos: Repositories by kind and id, such as `("models", "user/name")`.
        refused: Hashes of LFS files whose upload is refused.
        cut: Number of bytes after which the connection breaks, once, by the hash of the LFS file that is downloaded.
        requests: Method and path of every request, in order.
        names_commit_of_missing: Whether the answer for a file that is not there names the commit, which caches keep.
    """

    def __init__(self, tokens: dict[str, str]):
        self.tokens = tokens
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.refused: set[str] = set()
        self.cut: dict[str, int] = {}
        self.requests: list[str] = []
        self.names_commit_of_missing = True
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # Under another name, as large files lie elsewhere than the Hub: clients must not send tokens there.
        self.storage_url = f"http://localhost:{self.server.server_port}/lfs"

    def variables(self, home: Path, token: str | None) -> dict[str, str]:
        """Environment variables of a process whose client talks to this Hub."""
        variables = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
        return variables | ({"HF_TOKEN": token} if token else {})

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.server.shutdown()
        self.server.server_close()

    def repo(self, kind: str, name: str, user: str | None, write: bool = False) -> Repo:
        """A repository, if this user may see it, and write to it if `write` is set."""
        repo = self.repos.get((kind, name))
        owner = name.split("/")[0]
        if repo is None or (repo.private and user != owner):
            raise HubError(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and user != owner:
            raise HubError(403 if user else 401, "You don't have the rights to write to this repository")
        return repo


def validate_card(content: str, kind: str) -> list[str]:
    """Errors that the Hub finds in the metadata of a README.md."""
    match = re.match(r"---\n(.*?)\n?---\n", content, flags=re.DOTALL)
    if not match:
        return []
    try:
        data = yaml.safe_load(match[1]) or {}
    except yaml.YAMLError as error:
        return [f"YAML: {error}"]
    if not isinstance(data, dict):
        return ["metadata must be an object"]
    errors = []
    for key in ("tags", "datasets", "metrics", "models", "widget"):
        if not isinstance(data.get(key, []), list):
            errors.append(f'"{key}" must be an array')
    for key in ("tags", "datasets", "metrics", "models"):
        errors += [f'"{key}" must hold strings' for item in data.get(key) or [] if not isinstance(item, str)]
    for key in ("license", "library_name", "pipeline_tag", "title", "sdk", "app_file"):
        if not isinstance(data.get(key, ""), str):
            errors.append(f'"{key}" must be a string')
    for name in [*data.get("datasets", []), *data.get("models", [])]:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)):
            errors.append(f"{name!r} is not the id of a repository")
    for model in data.get("model-index", []):
        if not model.get("name"):
            errors.append('"model-index[].name" is required')
        for result in model.get("results", []):
            for part, keys in (("task", ["type"]), ("dataset", ["type", "name"])):
                errors += [
                    f'"model-index[].results[].{part}.{key}" is required'
                    for key in keys
                    if not result.get(part, {}).get(key)
                ]
            for metric in result.get("metrics", []):
                if not metric.get("type") or not isinstance(metric.get("value"), (int, float, str)):
                    errors.append('"model-index[].results[].metrics[]" needs a type and a value')
    emissions = data.get("co2_eq_emissions", {"emissions": 0})
    if not isinstance(emissions, (int, float)) and not isinstance(emissions.get("emissions"), (int, float)):
        errors.append('"co2_eq_emissions.emissions" must be a number of grams')
    if kind == "space":
        if data.get("sdk") not in ("gradio", "docker", "static"):
            errors.append('"sdk" must be one of gradio, docker, static')
        errors += [f'"{key}" must be a color' for key in ("colorFrom", "colorTo") if data.get(key) not in SPACE_COLORS]
        if len(data.get("short_description", "")) > 60:
            errors.append('"short_description" must have at most 60 characters')
    return errors


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each content would wait 40 ms for the receipt of its headers
    hub: Hub
    routes: list[tuple[str, str, str]] = [
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
        ("POST", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
        ("POST", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/branch/([^/]+)", "branch"),
        ("GET", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.+))?", "tree"),
        ("GET", r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/revision/([^/]+))?", "info"),
        ("POST", r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/([0-9a-f]{64})", "lfs_upload"),
        ("GET", r"/lfs/([0-9a-f]{64})", "lfs_download"),
        ("GET", r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
    ]

    def log_message(self, *arguments) -> None:
        pass

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.hub.requests.append(f"{self.command} {url.path}")
        body = self._read_body()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        method = "GET" if self.command == "HEAD" else self.command
        try:
            if token and token not in self.hub.tokens:
                raise HubError(401, "Invalid credentials in Authorization header")
            self.user = self.hub.tokens.get(token)
            for wanted, pattern, name in self.routes:
                match = re.fullmatch(pattern, url.path)
                if wanted == method and match:
                    with self.hub.lock:
                        groups = [unquote(group) if group else group for group in match.groups()]
                        content = getattr(self, f"do_{name}")(body, *groups)
                    if content is not None:
                        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})
                    return
            raise HubError(404, f"No route for {self.command} {url.path}")
        except HubError as error:
            content = json.dumps({"error": str(error)}).encode()
            self._send(error.status, content, {"Content-Type": "application/json"} | error.headers)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _signed_in(self) -> None:
        if self.user is None:
            raise HubError(401, "Invalid username or password.")

    def _repo_to_change(self, kind: str, name: str) -> Repo:
        """A repository that this user may write to, or, for a pull request, see."""
        self._signed_in()
        return self.hub.repo(kind, name, self.user, write="create_pr" not in self.query)

    def do_whoami(self, body: bytes) -> Any:
        self._signed_in()
        return {"type": "user", "name": self.user, "orgs": [], "auth": {"accessToken": {"role": "write"}}}

    def do_create(self, body: bytes) -> Any:
        self._signed_in()
        wanted = json.loads(body)
        owner = wanted.get("organization") or self.user
        if owner != self.user:
            raise HubError(403, f"You don't have the rights to create a repository under {owner}")
        name, kind = f"{owner}/{wanted['name']}", wanted.get("type", "model") + "s"
        url = f"{self.hub.url}/{PREFIXES[kind]}{name}"
        if (kind, name) in self.hub.repos:
            self._send(409, json.dumps({"error": "You already created this repo", "url": url}).encode(), {})
            return None
        repo = Repo(name, kind, private=wanted.get("visibility") == "private")
        files = {".gitattributes": File(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")}
        if kind == "spaces":
            files["README.md"] = File(f"---\ntitle: {wanted['name']}\nsdk: {wanted['sdk']}\n---\n".encode())
        repo.commit("main", "initial commit", files, None)
        self.hub.repos[kind, name] = repo
        return {"url": url, "name": name, "id": name}

    def do_validate(self, body: bytes) -> Any:
        wanted = json.loads(body)
        errors = validate_card(wanted["content"], wanted["repoType"])
        if errors:
            content = json.dumps({"errors": [{"message": message} for message in errors], "warnings": []})
            self._send(400, content.encode(), {"Content-Type": "application/json"})
            return None
        return {"errors": [], "warnings": []}

    def do_preupload(self, body: bytes, kind: str, name: str, revision: str) -> Any:
        files = self._repo_to_change(kind, name).files(revision)
        answers = []
        for wanted in json.loads(body)["files"]:
            sample = base64.b64decode(wanted["sample"])
            is_lfs = b"\0" in sample or wanted["size"] > 10_000_000
            there = files.get(wanted["path"])
            answers.append(
                {
                    "path": wanted["path"],
                    "uploadMode": "lfs" if is_lfs else "regular",
                    "shouldIgnore": False,
                    "oid": there.etag if there else None,
                }
            )
        return {"files": answers}

    def do_lfs_batch(self, body: bytes, kind: str | None, name: str) -> Any:
        self._signed_in()
        self.hub.repo(kind or "models", name, self.user)
        objects = []
        for wanted in json.loads(body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.lfs:
                answer["actions"] = {"upload": {"href": f"{self.hub.storage_url}/{wanted['oid']}"}}
            objects.append(answer)
        return {"transfer": "basic", "objects": objects}

    def do_lfs_upload(self, body: bytes, oid: str) -> Any:
        if oid in self.hub.refused:
            raise HubError(403, "The upload was refused")
        if hashlib.sha256(body).hexdigest() != oid:
            raise HubError(400, "The content does not have the hash that was announced")
        self.hub.lfs[oid] = body
        return {}

    def do_lfs_download(self, body: bytes, oid: str) -> None:
        content, headers = self.hub.lfs[oid], {"ETag": f'"{oid}"'}
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], headers)
        elif oid in self.hub.cut:
            self._send(200, content[: self.hub.cut.pop(oid)], headers | {"Content-Length": str(len(content))})
            self.close_connection = True
        else:
            self._send(200, content, headers)

    def do_commit(self, body: bytes, kind: str, name: str, revision: str) -> Any:
        repo = self._repo_to_change(kind, name)
        parent = repo.resolve(revision)
        files, message = dict(repo.commits[parent].files), ""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit", parent) != parent:
                    raise HubError(412, "A commit has happened since")
            elif entry["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]))
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    raise HubError(400, f"{value['path']}: its content was not uploaded")
                files[value["path"]] = File(self.hub.lfs[value["oid"]], is_lfs=True)
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise HubError(400, f"unknown operation {entry['key']}")
        number = 1 + sum(ref.startswith("refs/pr/") for ref in repo.refs)
        is_request = "create_pr" in self.query
        oid = repo.commit(f"refs/pr/{number}" if is_request else revision, message, files, parent)
        url = f"{self.hub.url}/{PREFIXES[kind]}{name}"
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}"}
        return answer | ({"pullRequestUrl": f"{url}/discussions/{number}"} if is_request else {})

    def do_branch(self, body: bytes, kind: str, name: str, branch: str) -> Any:
        repo = self.hub.repo(kind, name, self.user, write=True)
        if branch in repo.refs:
            raise HubError(409, "Reference already exists")
        repo.refs[branch] = repo.resolve(json.loads(body or b"{}").get("startingPoint", "main"))
        return {}

    def do_info(self, body: bytes, kind: str, name: str, revision: str | None) -> Any:
        repo = self.hub.repo(kind, name, self.user)
        oid = repo.resolve(revision or "main")
        files = repo.commits[oid].files
        card = (
            re.match(r"---\n(.*?)\n---\n", files["README.md"].content.decode(), re.DOTALL)
            if "README.md" in files
            else None
        )
        data = yaml.safe_load(card[1]) if card else {}
        return {
            "id": name,
            "author": name.split("/")[0],
            "sha": oid,
            "private": repo.private,
            "lastModified": DATE,
            "createdAt": DATE,
            "tags": data.get("tags", []),
            "pipeline_tag": data.get("pipeline_tag"),
            "siblings": [{"rfilename": path} for path in sorted(files)],
        }

    def do_tree(self, body: bytes, kind: str, name: str, revision: str, folder: str | None) -> Any:
        prefix = f"{folder}/" if folder else ""
        files = self.hub.repo(kind, name, self.user).files(revision)
        below = {path: file for path, file in files.items() if path.startswith(prefix)}
        if prefix and not below:
            raise HubError(404, f"{folder} does not exist", "EntryNotFound")
        recursive = self.query.get("recursive", "").lower() in ("true", "1")
        folders = {
            prefix + path.removeprefix(prefix).split("/")[0] for path in below if "/" in path.removeprefix(prefix)
        }
        entries: list[dict] = [{"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)]
        for path, file in below.items():
            if recursive or "/" not in path.removeprefix(prefix):
                entry: dict = {"type": "file", "path": path, "oid": file.blob_id, "size": len(file.content)}
                if file.is_lfs:
                    entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
                entries.append(entry)
        return entries

    def do_resolve(self, body: bytes, kind: str | None, name: str, revision: str, path: str) -> None:
        repo = self.hub.repo(kind or "models", name, self.user)
        oid = repo.resolve(revision)
        file = repo.commits[oid].files.get(path)
        if file is None:
            commit = {"X-Repo-Commit": oid} if self.hub.names_commit_of_missing else {}
            raise HubError(404, "Entry not found", "EntryNotFound", **commit)
        headers = {"X-Repo-Commit": oid, "ETag": f'"{file.etag}"'}
        if file.is_lfs:
            headers |= {
                "Location": f"{self.hub.storage_url}/{file.sha256}",
                "X-Linked-ETag": f'"{file.sha256}"',
                "X-Linked-Size": str(len(file.content)),
            }
            self._send(302, b"", headers)
        else:
            self._send(200, file.content, headers)
