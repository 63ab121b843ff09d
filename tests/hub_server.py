"""A Hub on loopback that answers huggingface_hub over HTTP, with real bytes, commits and permissions, in memory."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.card_rules import metadata_of, validate_card


PREFIXES = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
API = r"/api/(models|datasets|spaces)/([^/]+/[^/]+)"
PLAIN = r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)"
ROUTES = {
    "whoami": r"GET /api/whoami-v2",
    "create": r"POST /api/repos/create",
    "validate": r"POST /api/validate-yaml",
    "preupload": rf"POST {API}/preupload/([^/]+)",
    "commit": rf"POST {API}/commit/([^/]+)",
    "branch": rf"POST {API}/branch/([^/]+)",
    "tree": rf"GET {API}/tree/([^/]+)(?:/(.+))?",
    "info": rf"GET {API}(?:/revision/([^/]+))?",
    "lfs_batch": rf"POST {PLAIN}\.git/info/lfs/objects/batch",
    "lfs_upload": r"PUT /lfs/([0-9a-f]{64})",
    "lfs_download": r"GET /lfs/([0-9a-f]{64})",
    "resolve": rf"GET {PLAIN}/resolve/([^/]+)/(.+)",
}


class HubError(Exception):
    """An answer other than success: a status, what is wrong, headers, and more of the answer's content."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None, **content: Any):
        self.status, self.content = status, {"error": message} | content
        self.headers = {"X-Error-Message": message} | (headers or {})


@dataclass(frozen=True)
class File:
    content: bytes
    is_lfs: bool = False

    @property
    def etag(self) -> str:
        """Hash of the content in LFS, and otherwise of the Git blob."""
        if self.is_lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


class Commit(NamedTuple):
    message: str
    parent: str | None
    files: dict[str, File]


@dataclass
class Repo:
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, ref: str, commit: Commit) -> str:
        oid = self.refs[ref] = hashlib.sha1(f"{ref} {len(self.commits)}".encode()).hexdigest()
        self.commits[oid] = commit
        return oid

    def resolve(self, revision: str) -> str:
        """The commit that a branch, tag, pull request or commit names."""
        oid = self.refs.get(revision, revision)
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", {"X-Error-Code": "RevisionNotFound"})
        return oid

    def files(self, revision: str = "main") -> dict[str, File]:
        return self.commits[self.resolve(revision)].files

    def history(self) -> list[str]:
        """Messages of the commits, the latest first."""
        messages, oid = [], self.refs["main"]
        while oid is not None:
            message, oid, _ = self.commits[oid]
            messages.append(message)
        return messages


class Hub(ThreadingHTTPServer):
    """The server, with the user of each access token. As a context manager it runs in a thread."""

    def __init__(self, tokens: dict[str, str]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens, self.lock = tokens, threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"
        # Under another name, as large files lie elsewhere than the Hub: clients must not send tokens there.
        self.storage_url = f"http://localhost:{self.server_port}/lfs"
        self.repos: dict[tuple[str, str], Repo] = {}  # by kind and id, such as ("models", "user/name")
        self.lfs: dict[str, bytes] = {}  # contents by their hashes
        self.refused: set[str] = set()  # hashes of LFS files whose upload is refused
        self.names_commit_of_missing = True  # in the answer for a file that is not there, which caches keep

    def text(self, name: str, path: str = "README.md", kind: str = "models") -> str:
        """The content of a file on the main branch."""
        return self.repos[kind, name].files()[path].content.decode()

    def variables(self, home: Path, token: str | None) -> dict[str, str]:
        """Environment variables of a process whose client talks to this Hub."""
        variables = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
        return variables | ({"HF_TOKEN": token} if token else {})

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and content go at once, or each content would wait 40 ms for the receipt of its headers

    def log_message(self, *arguments) -> None: ...

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = f"{'GET' if self.command == 'HEAD' else self.command} {url.path}"
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.user = self.server.tokens.get(token)
        try:
            if token and self.user is None:
                raise HubError(401, "Invalid credentials in Authorization header")
            for name, pattern in ROUTES.items():
                if match := re.fullmatch(pattern, request):
                    with self.server.lock:
                        content = getattr(self, f"do_{name}")(*(group and unquote(group) for group in match.groups()))
                    return None if content is None else self._send(200, json.dumps(content).encode())
            raise HubError(404, f"No route for {request}")
        except HubError as error:
            self._send(error.status, json.dumps(error.content).encode(), error.headers)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """Sends an answer; of a file's content the bytes that are asked for, to the last one or to the end."""
        headers = headers or {}
        if status == 200 and "Range" in self.headers:
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"]).groups()
            end = min(int(last or len(content)) + 1, len(content))
            headers = headers | {"Content-Range": f"bytes {first}-{end - 1}/{len(content)}"}
            status, content = 206, content[int(first) : end]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _signed_in(self) -> str:
        if self.user:
            return self.user
        raise HubError(401, "Invalid username or password.")

    def _repo(self, kind: str | None, name: str, write: bool = False) -> Repo:
        """A repository, if this user may see it, and write to it if `write` is set."""
        repo, owner = self.server.repos.get((kind or "models", name)), name.split("/")[0]
        if repo is None or (repo.private and self.user != owner):
            raise HubError(404 if self.user else 401, "Repository not found", {"X-Error-Code": "RepoNotFound"})
        if write and self._signed_in() != owner and "create_pr" not in self.query:
            raise HubError(403, "You don't have the rights to write to this repository")
        return repo

    def do_whoami(self) -> Any:
        return {"type": "user", "name": self._signed_in(), "orgs": [], "auth": {"accessToken": {"role": "write"}}}

    def do_create(self) -> Any:
        wanted, user = json.loads(self.body), self._signed_in()
        if wanted.get("organization", user) not in (None, user):
            raise HubError(403, f"You don't have the rights to create a repository under {wanted['organization']}")
        name, kind = f"{user}/{wanted['name']}", wanted.get("type", "model") + "s"
        url = f"{self.server.url}/{PREFIXES[kind]}{name}"
        if (kind, name) in self.server.repos:
            raise HubError(409, "You already created this repo", url=url)
        files = {".gitattributes": File(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")}
        if kind == "spaces":
            files["README.md"] = File(f"---\ntitle: {wanted['name']}\nsdk: {wanted['sdk']}\n---\n".encode())
        repo = self.server.repos[kind, name] = Repo(private=wanted.get("visibility") == "private")
        repo.commit("main", Commit("initial commit", None, files))
        return {"url": url, "name": name, "id": name}

    def do_validate(self) -> Any:
        wanted = json.loads(self.body)
        if errors := validate_card(wanted["content"], wanted["repoType"]):
            raise HubError(400, "Invalid metadata", errors=[{"message": error} for error in errors], warnings=[])
        return {"errors": [], "warnings": []}

    def do_preupload(self, kind: str, name: str, revision: str) -> Any:
        files, answers = self._repo(kind, name, write=True).files(revision), []
        for wanted in json.loads(self.body)["files"]:
            is_lfs = b"\0" in base64.b64decode(wanted["sample"]) or wanted["size"] > 10_000_000
            answer = {"path": wanted["path"], "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
            answers.append(answer | {"oid": files[wanted["path"]].etag if wanted["path"] in files else None})
        return {"files": answers}

    def do_lfs_batch(self, kind: str | None, name: str) -> Any:
        self._repo(kind, name)
        objects = json.loads(self.body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.server.lfs:
                wanted["actions"] = {"upload": {"href": f"{self.server.storage_url}/{wanted['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    def do_lfs_upload(self, oid: str) -> Any:
        if oid in self.server.refused:
            raise HubError(403, "The upload was refused")
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, "The content does not have the hash that was announced")
        self.server.lfs[oid] = self.body
        return {}

    def do_lfs_download(self, oid: str) -> None:
        self._send(200, self.server.lfs[oid], {"ETag": f'"{oid}"'})

    def do_commit(self, kind: str, name: str, revision: str) -> Any:
        repo = self._repo(kind, name, write=True)
        parent = repo.resolve(revision)
        files, message = dict(repo.files(parent)), ""
        for line in self.body.splitlines():
            key, value = json.loads(line).values()
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit", parent) != parent:
                    raise HubError(412, "A commit has happened since")
            elif key == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if value["oid"] not in self.server.lfs:
                    raise HubError(400, f"{value['path']}: its content was not uploaded")
                files[value["path"]] = File(self.server.lfs[value["oid"]], is_lfs=True)
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise HubError(400, f"unknown operation {key}")
        number = 1 + sum(ref.startswith("refs/pr/") for ref in repo.refs)
        ref = f"refs/pr/{number}" if "create_pr" in self.query else revision
        oid = repo.commit(ref, Commit(message, parent, files))
        url = f"{self.server.url}/{PREFIXES[kind]}{name}"
        urls = {"commitUrl": f"{url}/commit/{oid}", "pullRequestUrl": f"{url}/discussions/{number}"}
        return {"success": True, "commitOid": oid} | urls

    def do_branch(self, kind: str, name: str, branch: str) -> Any:
        repo = self._repo(kind, name, write=True)
        if branch in repo.refs:
            raise HubError(409, "Reference already exists")
        repo.refs[branch] = repo.resolve(json.loads(self.body or b"{}").get("startingPoint", "main"))
        return {}

    def do_info(self, kind: str, name: str, revision: str | None) -> Any:
        repo = self._repo(kind, name)
        files = repo.files(oid := repo.resolve(revision or "main"))
        card = metadata_of(files["README.md"].content.decode()) if "README.md" in files else {}
        answer = {"id": name, "sha": oid, "private": repo.private, "lastModified": "2026-01-01T00:00:00.000Z"}
        answer |= {key: card[key] for key in ("tags", "pipeline_tag") if key in card}
        return answer | {"siblings": [{"rfilename": path} for path in sorted(files)]}

    def do_tree(self, kind: str, name: str, revision: str, folder: str | None) -> Any:
        prefix, entries = f"{folder}/" if folder else "", {}
        recursive = self.query.get("recursive", "").lower() in ("true", "1")
        for path, file in self._repo(kind, name).files(revision).items():
            if not path.startswith(prefix):
                continue
            first, *rest = path.removeprefix(prefix).split("/")
            if rest:
                entries[prefix + first] = {"type": "directory", "path": prefix + first, "oid": "0" * 40}
            if recursive or not rest:
                entries[path] = {"type": "file", "path": path, "oid": file.etag[:40], "size": len(file.content)}
                if file.is_lfs:
                    entries[path]["lfs"] = {"oid": file.etag, "size": len(file.content), "pointerSize": 134}
        if prefix and not entries:
            raise HubError(404, f"{folder} does not exist", {"X-Error-Code": "EntryNotFound"})
        return list(entries.values())

    def do_resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        repo = self._repo(kind, name)
        file, headers = repo.files(revision).get(path), {"X-Repo-Commit": repo.resolve(revision)}
        if file is None:
            headers = headers if self.server.names_commit_of_missing else {}
            raise HubError(404, "Entry not found", headers | {"X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{file.etag}"'
        if not file.is_lfs:
            return self._send(200, file.content, headers)
        headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(len(file.content))}
        self._send(302, b"", headers | {"Location": f"{self.server.storage_url}/{file.etag}"})
