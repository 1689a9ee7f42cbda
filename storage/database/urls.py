"""Database URLs: text to `sqlalchemy.URL` and back, and the masking of their secrets.

All text that becomes a URL, and all URLs that become text, pass through this module. It imports SQLAlchemy only in
`parse_url`, so that commands can check a URL before the slow imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote

from storage.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import URL

MASK = "***"

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    # Which driver postgresql:// means depends on the release of SQLAlchemy, so this table names it.
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

_VALID = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_ENCODED = "; write % as %25 and ? as %3F in the name of a file"
_SCHEME = re.compile(r"(?P<scheme>[\w+]+)://(?P<rest>.*)", re.DOTALL)
_SERVER = re.compile(
    r"""(?:\[(?P<ipv6>[^]/?]+)]|(?P<host>[^]:/?@[]*))
        (?::(?P<port>[0-9]*))?
        (?:/(?P<database>[^?@]*))?
        (?:\?(?P<query>[^=&]+=.*))?""",
    re.VERBOSE | re.DOTALL,
)
# What precedes USER:PASSWORD@. Users mistype it (`postgresql:://`), and a path has one slash of two (`postgresql:/`).
_BEFORE_USER = r"(?:\w:+[/\\]+|\bpostg[\w+]*[:/\\]+)"
# A URL without slashes, SCHEME:USER:PASSWORD@HOST. Lines and times (`main.py:12:30`) are none.
_SCHEMES = "postgres|mysql|mariadb|oracle|mssql|redis|mongodb|cockroach|amqp|https?|s?ftp|ssh"
_USER_OF_URL = r":(?![\d\\])[^:/\s'\"]+"
_WITHOUT_SLASHES = rf"(?<![\w+.-])(?:{_SCHEMES})[\w+.-]*{_USER_OF_URL}"
_OF_ANY_KIND = rf"(?<![\w+.-])[a-z][\w+.-]*{_USER_OF_URL}"
# The user's name may contain an @ (`ann@company`). A password reaches up to the last @ before a blank,
# or to the end of a URL that a message has cut off.
# PASSWORD stands for one in our own hints.
_SHOWN_PASSWORD = re.compile(rf"({_BEFORE_USER}[^:/\s]*:)(?!(?-i:PASSWORD)@)(?:\S+(?=@)|\S+(?=…))", re.IGNORECASE)
_SHOWN_WITHOUT_SLASHES, _SHOWN_OF_ANY_KIND = (
    re.compile(rf"({before}:)(?![/\\]|(?-i:PASSWORD)@)\S+(?=@)", re.IGNORECASE)
    for before in (_WITHOUT_SLASHES, _OF_ANY_KIND)
)
# USER:PASSWORD@HOST alone. A dot in front of the colon is that of a host or a file in running text.
_BARE_USER = r"(?<![\w+.@:-])(?<![^/\s]/)[a-z_][\w+-]*(?:@[\w.-]+)?"
_SHOWN_BARE = re.compile(rf"({_BARE_USER}:)(?![/\\]|\S*(?:(?-i:PASSWORD)|\*{{3}})@)\S+(?=@[\w\[])", re.IGNORECASE)
_GIVEN_BARE = re.compile(r"(?:[^\s=]*=)?(?:[/\\]*)[^\s:/\\=]*(:[^/\\\s].*@)[\w\[]", re.DOTALL)
_SHOWN_PARAMETER = re.compile(r"((?:[?&][^=&\s]*pass|\b\w*passw(?:or)?d)[^=&\s]*=)[^&\s]+", re.IGNORECASE)
_SHOWN = (_SHOWN_PASSWORD, _SHOWN_WITHOUT_SLASHES, _SHOWN_BARE, _SHOWN_OF_ANY_KIND, _SHOWN_PARAMETER)
_GIVEN_PASSWORD = re.compile(rf"(?:{_BEFORE_USER}[^:/]*|{_WITHOUT_SLASHES})(:.+@)", re.IGNORECASE | re.DOTALL)
_given: dict[str, str] = {}
"""Passwords of `remember_passwords` between ``:`` and ``@`` -> what replaces them."""


def parse_url(text: str) -> URL:
    """Check a database URL, and add the driver or make the path of a SQLite file absolute.

    Percent-encoded bytes are decoded. A password may also contain ``@``, ``:``, ``/``, blanks and ``%`` as they are.

    Raises:
        StorageError: not a URL, neither SQLite nor PostgreSQL, or a SQLite URL with parameters or of a database in
            memory, which processes cannot share.
    """
    from sqlalchemy import URL, make_url
    from sqlalchemy.exc import ArgumentError

    driver, rest = _split(text)
    if driver == "sqlite":
        return URL.create("sqlite", database=str(_sqlite_file(rest)))
    user, server = _split_user(rest)
    name, colon, password = user.partition(":") if user is not None else ("", "", "")
    port = server["port"]
    try:
        return URL.create(
            driver,
            username=_decoded(name) if user is not None else None,
            password=_decoded(password) if colon else None,
            host=server["ipv6"] or server["host"] or None,
            port=int(port) if port else None,
            database=None if server["database"] is None else _decoded(server["database"]),
            query=make_url(f"x://?{server['query'] or ''}").query,
        )
    except (ArgumentError, ValueError):
        # Neither the message nor the chain of causes may quote the URL, because it may contain a password.
        raise _unreadable() from None


def sqlite_file(text: str) -> Path | None:
    """The absolute path of the file that a SQLite URL names; None: a PostgreSQL URL.

    Raises:
        StorageError: as `parse_url`.
    """
    driver, rest = _split(text)
    if driver == "sqlite":
        return _sqlite_file(rest)
    _split_user(rest)
    return None


def url_text(url: URL) -> str:
    """``url`` as ASCII text with its secrets: for connecting and for the environment of a worker, never to be shown.

    `parse_url` returns the same URL.
    """
    if url.drivername == "sqlite":
        return "sqlite:///" + quote(str(url.database), errors="surrogateescape")
    return url.render_as_string(hide_password=False)


def shown_url(url: URL) -> str:
    """``url`` for messages and logs, with ``***`` in place of its secrets.

    `parse_url` returns the same URL if it has no secrets.
    """
    if url.drivername == "sqlite":
        # Letters of any script stay readable.
        return "sqlite:///" + "".join(
            c if c.isprintable() and c not in "%?" else quote(c, errors="surrogateescape") for c in str(url.database)
        )
    query = {key: MASK if "pass" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def without_secrets(text: str, url: URL) -> str:
    """``text``, such as a driver's message, with ``***`` in place of every secret of ``url``."""
    for secret in secrets_of(url):
        for form in (secret, quote(secret, safe=" +"), quote_plus(secret)):
            text = text.replace(form, MASK)
    return without_passwords(text)


def remember_passwords(arguments: Iterable[str]) -> None:
    """Let `without_passwords` recognise the passwords in these arguments, although they contain blanks.

    In running text alone, a blank ends a URL.
    """
    for argument in arguments:
        if match := _GIVEN_PASSWORD.search(argument) or _GIVEN_BARE.match(argument):
            for form in (match[1], repr(match[1])[1:-1], re.sub("/+", "/", match[1])):
                _given[form] = f":{MASK}@"


def without_passwords(text: str) -> str:
    """``text`` with ``***`` in place of the passwords in all URLs that it contains, mistyped ones as well."""
    for form, shown in _given.items():
        text = text.replace(form, shown)
    for password in _SHOWN:
        text = password.sub(rf"\1{MASK}", text)
    return text


def secrets_of(url: URL) -> tuple[str, ...]:
    """The secrets in ``url``: the password, and the values of parameters such as ``sslpassword``."""
    secrets = [str(url.password)] if url.password else []
    for key, value in url.query.items():
        if "pass" in key.lower():
            secrets += [value] if isinstance(value, str) else list(value)
    return tuple(filter(None, secrets))


def _split(text: str) -> tuple[str, str]:
    """The driver that a URL names, and what follows ``://``."""
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise _unreadable()
    if match["scheme"] not in _DRIVERS:
        raise StorageError(f"{match['scheme']} databases are not supported; {_VALID}")
    return _DRIVERS[match["scheme"]], match["rest"]


def _split_user(rest: str) -> tuple[str | None, re.Match[str]]:
    """``USER:PASSWORD`` of a URL, None without one, and the match of its other parts.

    Split at the first ``@`` that a valid address follows, since a password may contain an ``@``.
    """
    server = _SERVER.fullmatch(rest)
    if server is not None:
        return None, server
    for at in (place for place, character in enumerate(rest) if character == "@"):
        server = _SERVER.fullmatch(rest, at + 1)
        if server is not None and not re.search(r"[/?]", rest[:at].partition(":")[0]):
            return rest[:at], server
    raise _unreadable()


def _sqlite_file(rest: str) -> Path:
    """The file of a SQLite URL, absolute, so that a worker in another folder finds the same file."""
    host, slash, path = rest.partition("/")
    if host:
        raise StorageError(f"sqlite://{host}{slash} names a host; a SQLite URL has three slashes: sqlite:///FILE")
    path, parameters, _ = path.partition("?")
    if "\0" in unquote(path):
        raise _unreadable()
    if not path or path == ":memory:":
        raise StorageError(f"a SQLite database in memory cannot be shared by workers; {_VALID}")
    if parameters or path.startswith("file:"):
        raise StorageError(f"a SQLite URL takes no parameters; give sqlite:///FILE{_ENCODED}")
    return Path(unquote(path, errors="surrogateescape")).absolute()


def _decoded(text: str) -> str:
    """Percent-decoded text; as it is if that gives no UTF-8, because then the ``%`` is a character of its own."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _unreadable() -> StorageError:
    return StorageError(f"the database URL cannot be read; {_VALID}")
