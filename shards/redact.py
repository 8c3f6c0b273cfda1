"""Secrets out of what is written and printed: passwords and tokens in URLs, keys in headers, keys that we were given.

Invariant: a text without a secret stays what it is, to the byte. `redacted` follows from the value alone, so it may
enter a fingerprint; `redact` knows what this process was given, too.
"""

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote, unquote, urlsplit

HIDDEN: Final = "[hidden]"
"""What stands where a secret was."""
_LEAST: Final = 4
"""Characters of a secret that is looked for in texts: shorter ones would be found everywhere."""
_SURE: Final = 8
"""From this length on a secret is found within a word, too."""
_OF_THE_ENVIRONMENT: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "RAY_AUTH_TOKEN",
)
_USER_INFO: Final = (
    # user:password@, then the same with a slash in the password (which no URL may have, and people type), then
    # token@ of http; container@account of other stores is no secret.
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


def hide(secret: str) -> None:
    """Remember a key or a password, as it is and as it may come back: quoted, escaped."""
    for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
        if len(form) >= _LEAST:
            _known.add(form)


def hide_url(url: str) -> None:
    """Remember the password of a URL, and the header that it becomes. A URL that cannot be split holds none."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
    except ValueError:
        return
    if password:
        hide(password)
        hide(unquote(password))
    if user or password:
        pair = f"{unquote(user)}:{unquote(password)}"
        hide(pair)
        hide(base64.b64encode(pair.encode()).decode())


def without_known(text: str) -> str:
    """A text of a stranger's (a server's answer) without the secrets that were given to it: `hide`."""
    return _without(text, _known)


def redact(text: str) -> str:
    """A message without secrets: known ones, those of URLs, and what stands behind names such as Authorization."""
    own = {value for name in _OF_THE_ENVIRONMENT if len(value := os.environ.get(name, "")) >= _LEAST}
    text = _of_url(_without(text, _known | own))
    for pattern in (_HEADER, _NAMED):
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def redacted(value: Any) -> Any:
    """Plain JSON values without secrets: in URLs, and under keys whose names say that they hold one."""
    return _mapped(value, _of_url, by_name=True)


def shown(value: Any) -> Any:
    """Plain JSON values to be printed: each text of them as `redact` leaves it."""
    return _mapped(value, redact, by_name=False)


def _mapped(value: Any, change: Any, *, by_name: bool) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if by_name and part and isinstance(part, str) and _SECRET_KEY.fullmatch(str(key))
            else _mapped(part, change, by_name=by_name)
            for key, part in cast("Mapping[Any, Any]", value).items()
        }
    if isinstance(value, list | tuple):
        return [_mapped(part, change, by_name=by_name) for part in cast("Sequence[Any]", value)]
    return value


def _of_url(text: str) -> str:
    if "://" not in text:
        return text
    for pattern, instead in _USER_INFO:
        text = pattern.sub(instead, text)
    return _QUERY.sub(rf"\g<1>{HIDDEN}", text)


def _without(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=lambda secret: (-len(secret), secret)):
        if secret not in text:
            continue
        if len(secret) >= _SURE:
            text = text.replace(secret, HIDDEN)
        else:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", HIDDEN, text)
    return text
