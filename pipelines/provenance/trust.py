"""Trust anchors: the certificates to which a trusted signature goes back."""

import os
import re
import ssl
from pathlib import Path


VARIABLE = "TELLSIGN_TRUST_ANCHORS"
"""Environment variable that names a file of anchors."""
MAX_LIST_BYTES = 4 << 20
"""Longest list that is read; the official one has a fiftieth of that."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def official_list() -> Path:
    """Where `tellsign trust --update` keeps the official list."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "tellsign", "C2PA-TRUST-LIST.pem")


def certificates_in(text: str) -> list[str]:
    """The certificates of a PEM file.

    Raises:
        ValueError: If there is none, or one is damaged.
    """
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ValueError("holds no certificate, expected a PEM file")
    for certificate in found:
        ssl.PEM_cert_to_DER_cert(certificate)
    return found


def find_anchors(file: str | os.PathLike | None = None) -> Path | None:
    """The file of anchors that is in force: the one given, or that of the environment, or the official list, if it was
    fetched."""
    if file is None:
        file = os.environ.get(VARIABLE) or None
    if file is not None:
        return Path(file).expanduser()
    return official_list() if official_list().is_file() else None


def read_anchors(file: str | os.PathLike | None = None) -> str:
    """The anchors of [`find_anchors`] in PEM; empty if there are none.

    Raises:
        ValueError: If the file cannot be read, or holds something else. The message names it.
    """
    path = find_anchors(file)
    if path is None:
        return ""
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise ValueError(f"has {path.stat().st_size} bytes, {MAX_LIST_BYTES} are read at most")
        return "\n".join(certificates_in(path.read_text("ascii", "replace"))) + "\n"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"trust anchors {path}: {reason}") from error
