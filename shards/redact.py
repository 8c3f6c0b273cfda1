"""Removes secrets from what is written and printed: passwords and tokens in URLs, keys in headers, registered keys.

Invariant: a text without a secret stays equal to the byte. `redacted` depends only on the value, so its result may
enter a fingerprint; `redact` also hides the secrets registered in this process.
"""

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote, unquote, urlsplit

HIDDEN: Final = "[hidden]"
"""Replaces a secret."""
_MIN_LENGTH: Final = 4
"""Shortest secret that is searched for in texts, in characters: shorter ones would match everywhere."""
_MIN_INSIDE_WORD: Final = 8
"""From this length on, a secret is also found inside a word."""
_ENVIRONMENT_VARIABLES: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "RAY_AUTH_TOKEN",
)
_USER_INFO: Final = (
    # user:password@; then the same with a slash in the password (invalid in a URL, but people type it); then token@
    # of http. container@account of other stores is not a secret.
    (re.compile(r"(?<=://)[^\s/?#\"'<>@:]{0,256}:[^\s/?#\"'<>]{0,512}@"), f"{HIDDEN}@"),
    (re.compile(r"(?<=://)[^\s/?#\"'<>@:]{0,256}:(?!\d{1,5}/)[^\s?#\"'<>@]{0,512}@"), f"{HIDDEN}@"),
    (re.compile(r"(?i)(?:(?<=http://)|(?<=https://))[^\s/?#\"'<>@:]{1,512}@"), f"{HIDDEN}@"),
)
_NAMES: Final = (
    r"(?:[a-z0-9]{1,20}[_-]){0,4}(?:password|passwd|secret|credentials?|(?:api|secret|access|private)[_-]?key"
    r"|(?:auth|access|api|hf|session|bearer|refresh|security)[_-]token|authorization)"
)
_SECRET_KEY: Final = re.compile(rf"(?i){_NAMES}|token")
_QUERY: Final = re.compile(
    rf"(?i)([?&;](?:{_NAMES}|token|key|sig|signature|auth|x-(?:amz|goog)-(?:signature|credential)|awsaccesskeyid"
    r"|googleaccessid)=)[^&;#\s\"'<>]+"
)
_HEADER: Final = re.compile(
    r"(?i)(\b(?:proxy-)?authorization\\?[\"']?\s*[:=]\s*\\?[\"']?(?:(?:basic|bearer|digest|token)\s+)?"
    r"|\b(?:bearer|basic)\s+(?=[a-z0-9._~+/=-]{16})"
    r"|\b(?:x-)?(?:goog-)?(?:api-key|auth-token)\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\[hidden\])[^\s\"'\\,;}\]]+"
)
_NAMED: Final = re.compile(rf"(?i)((?<![\w/.-]){_NAMES}\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\[hidden\])[^\s\"'\\,;&}}\]]+")
_known: set[str] = set()


def register_secret(secret: str) -> None:
    """Register a key or a password, as given and in the forms in which it may reappear: quoted, escaped."""
    for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
        if len(form) >= _MIN_LENGTH:
            _known.add(form)


def register_url(url: str) -> None:
    """Register the password of a URL and the header made from it. A URL that cannot be split has no password."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
    except ValueError:
        return
    if password:
        register_secret(password)
        register_secret(unquote(password))
    if user or password:
        pair = f"{unquote(user)}:{unquote(password)}"
        register_secret(pair)
        register_secret(base64.b64encode(pair.encode()).decode())


def redact_registered(text: str) -> str:
    """An external text (such as a server's response) without the secrets registered with `hide`."""
    return _hide_secrets(text, _known)


def redact(text: str) -> str:
    """A message without secrets: registered ones, those in URLs, and values after names such as Authorization."""
    own = {value for name in _ENVIRONMENT_VARIABLES if len(value := os.environ.get(name, "")) >= _MIN_LENGTH}
    text = _redact_urls(_hide_secrets(text, _known | own))
    for pattern in (_HEADER, _NAMED):
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def redact_values(value: Any) -> Any:
    """Plain JSON values without secrets: those in URLs, and those under keys with names such as `api_key`."""
    return _map_texts(value, _redact_urls, by_name=True)


def redact_texts(value: Any) -> Any:
    """Plain JSON values for printing: `redact` is applied to each text."""
    return _map_texts(value, redact, by_name=False)


def _map_texts(value: Any, change: Any, *, by_name: bool) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if by_name and part and isinstance(part, str) and _SECRET_KEY.fullmatch(str(key))
            else _map_texts(part, change, by_name=by_name)
            for key, part in cast("Mapping[Any, Any]", value).items()
        }
    if isinstance(value, list | tuple):
        return [_map_texts(part, change, by_name=by_name) for part in cast("Sequence[Any]", value)]
    return value


def _redact_urls(text: str) -> str:
    if "://" not in text:
        return text
    for pattern, replacement in _USER_INFO:
        text = pattern.sub(replacement, text)
    return _QUERY.sub(rf"\g<1>{HIDDEN}", text)


def _hide_secrets(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=lambda secret: (-len(secret), secret)):
        if secret not in text:
            continue
        if len(secret) >= _MIN_INSIDE_WORD:
            text = text.replace(secret, HIDDEN)
        else:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", HIDDEN, text)
    return text
