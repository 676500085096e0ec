"""What a PostgreSQL URL says, and why no connection could be made: a reason and a remedy for each cause.

For the adapter's own database as for a CRM's. It may not know what is kept there. Of a server's own message
nothing is repeated, since it may quote values; host, port and database are named, user and password never.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

_ENCODED = "@ : / ? # % in a user name or password are written percent-encoded (@ as %40, # as %23, / as %2F)"


OWN_KEY = "database.url"
"""The setting of the adapter's own database; every other is a CRM's."""
_USER = "<user of the URL>"
_REFUSED_OPTION = re.compile(r"unsupported startup parameter(?: in options)?: ([\w.]+)")
_OTHER_NAME = (62, 64)
"""OpenSSL's codes (x509_vfy.h) for a certificate of another host, and of another address."""
_OUT_OF_DATE = 10
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OF_FILES = ("X509", "PEM", "ASN1")
"""OpenSSL's parts that read files."""
_REFUSED = int(errno.ECONNREFUSED)
"""Where a name has several addresses, one error tells of all of them and has no number of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads. What it does not say is empty."""

    host: str
    port: str
    database: str

    @property
    def server(self) -> str:
        if not self.host:
            return "this machine"
        if self.host.startswith("/"):
            return f"the socket in {self.host}"
        # The client takes the variable before its default.
        return f"{self.host}:{self.port or os.environ.get('PGPORT') or 5432}"

    def __str__(self) -> str:
        return f"the database {self.database or '(not named)'} on {self.server}"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why there is no connection."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def place_of(url: str) -> Place:
    """What the URL says. Raises ``ValueError`` where it cannot be read."""
    parts = urlsplit(url)
    query = _query(url)
    database = unquote(parts.path.removeprefix("/")) or query.get("dbname") or query.get("database") or ""
    hosts = parts.netloc.rpartition("@")[2]
    if "," in hosts:  # several; which of them answers is for the client to find out
        host, port = hosts, ""
    else:
        host, port = parts.hostname or query.get("host", ""), str(parts.port or query.get("port", ""))
    return Place(host, port, database)


def _query(url: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}


def same_database(one: str, other: str) -> bool:
    """Whether two URLs differ in user, password and options at most."""
    first, second = place_of(one), place_of(other)
    return (first.host, first.port, first.database) == (second.host, second.port, second.database)


def url_problem(url: str) -> str | None:
    """Why this cannot be the URL of a database, and what to write; ``None``: it can."""
    wanted = "write postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(url)
        place = place_of(url)
    except ValueError:
        return f"it cannot be read as a URL; {_ENCODED}"
    if parts.scheme not in ("postgresql", "postgres"):
        return f"it does not begin with postgresql://; {wanted}"
    if parts.fragment or any(character.isspace() for character in url):
        return f"it has a # or a blank in it; {_ENCODED}"
    if "@" in parts.path:  # what stands before is then no host, but a piece of the password
        return f"it has a / before an @; {_ENCODED}, and so is @ in the name of a database"
    if (mode := _query(url).get("sslmode")) is not None and mode.replace("_", "-") not in _SSL_MODES:
        return f"sslmode is not what it can be; write one of {', '.join(_SSL_MODES)}"
    if not place.database:
        return f"it names no database; {wanted}"
    return None


def cause_of(error: BaseException, url: str | None, key: str) -> Cause:
    """Why no connection was made.

    Args:
        error: what connecting raised.
        url: what was connected to, where it is known.
        key: the setting that holds the URL.
    """
    try:
        place, query = place_of(url or ""), _query(url or "")
    except ValueError:
        place, query = Place("", "", ""), {}
    state = str(getattr(error, "sqlstate", None) or "")
    if state and state[:2] != "08":  # the client's own, of a connection that broke
        return _refused_by_server(state, place, key)
    if state == "08P01" and (cause := _of_pooler(str(error), place, key)) is not None:
        return cause
    return _of_tls(error, place, key, query) or _not_reached(error, place, key)


def _refused_by_server(state: str, place: Place, key: str) -> Cause:
    database = place.database or "database"
    if state == "28P01":
        return Cause(
            f"{place.server} refuses the user or the password",
            f"correct user and password in {key}; {_ENCODED}",
        )
    if state[:2] == "28":
        return Cause(
            f"{place.server} does not let the user into {database} from here",
            "the user has to exist (CREATE ROLE with LOGIN and a PASSWORD), and pg_hba.conf on the server "
            "needs a line for it and this machine; "
            f"where that line says hostssl, end {key} with ?sslmode=require; where it says cert or "
            "clientcert, name a certificate made out to the user (sslcert=FILE&sslkey=FILE)",
        )
    if state == "3D000":
        return Cause(
            f"there is no database {database} on {place.server}",
            f"correct its name in {key}, or create it: CREATE DATABASE {_name(database)} OWNER {_USER}"
            if key == OWN_KEY
            else f"correct its name in {key}",
        )
    if state == "42501":
        return Cause(
            f"the user has not the right to use {place}",
            f"GRANT CONNECT{', CREATE' if key == OWN_KEY else ''} ON DATABASE {_name(database)} TO {_USER}",
        )
    if state == "53300":
        return Cause(
            f"{place.server} has no connection left",
            "raise max_connections there, or lower pool_size here (each process has its own pools)",
        )
    if state in ("57P03", "57P01", "57P02"):
        return Cause(f"{place.server} is starting up or shutting down", "wait until PostgreSQL is up there")
    return Cause(
        f"{place} cannot be used (SQLSTATE {state})", f"the server's log says more; check {key} otherwise"
    )


def _of_pooler(said: str, place: Place, key: str) -> Cause | None:
    """What pgbouncer turns down by itself; it tells by words alone. ``None``: something else."""
    if (option := _REFUSED_OPTION.search(said)) is not None:
        return Cause(
            f"the pooler on {place.server} does not take the option {option[1]} of {key}",
            f"leave it out of {key}, or name it in pgbouncer's ignore_startup_parameters, which drops it",
        )
    if "no such database" in said or "does not exist" in said:
        return Cause(
            f"the pooler on {place.server} knows no database {place.database}",
            f"correct its name in {key}, or name it in the section [databases] of pgbouncer",
        )
    if "no such user" in said or "authentication failed" in said:
        return Cause(
            f"the pooler on {place.server} refuses the user or the password",
            f"correct user and password in {key}, and name both in pgbouncer's auth_file or auth_query",
        )
    if "no more connections allowed" in said:
        return Cause(
            f"the pooler on {place.server} has no connection left",
            "raise max_client_conn of pgbouncer, or lower pool_size here (each process has its own pools)",
        )
    return None


def _of_tls(error: BaseException, place: Place, key: str, query: Mapping[str, str]) -> Cause | None:
    """Why TLS did not come about; ``None``: that is not the cause. ``query``: options of the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        told = f"the TLS certificate of {place.server} is not trusted: {error.verify_message}"
        if error.verify_code in _OTHER_NAME:
            return Cause(
                told, f"write the host in {key} as the certificate has it, or have one made for this name"
            )
        if error.verify_code == _OUT_OF_DATE:
            return Cause(told, "renew it on the server; a clock that is wrong here looks the same")
        return Cause(told, f"name the authority that signed it (sslrootcert=FILE in {key})")
    if isinstance(error, ssl.SSLError) and (error.library in _OF_FILES or "PEM lib" in str(error)):
        return Cause(
            f"a file for TLS that {key} names cannot be used: "
            f"{(error.reason or 'no PEM').replace('_', ' ').lower()}",
            "sslrootcert and sslcert hold certificates, sslkey the key that goes with sslcert, each as PEM",
        )
    if isinstance(error, ssl.SSLError) or "SSL upgrade" in str(error):
        return Cause(
            f"{place.server} speaks no TLS, or none that is understood here",
            f"switch it on there (ssl = on), or leave sslmode=require out of {key} where the line is safe",
        )
    if isinstance(error, FileNotFoundError) and not place.host.startswith("/"):
        return Cause(
            f"a file for TLS that {key} names is not there", "correct sslrootcert, sslcert or sslkey in it"
        )
    kind = type(error).__name__  # the client is not imported here: this is read whenever settings are
    if kind == "ClientConfigurationError" and query.get("sslmode", "").startswith("verify-"):
        return Cause(
            f"{key} asks for a certificate to be verified, and does not say by whose authority",
            f"end {key} with &sslrootcert=FILE of the authority that signed the server's certificate",
        )
    # With TLS 1.3 a server refuses a client's certificate after the client takes the connection for made.
    if "sslcert" in query and kind in ("ConnectionDoesNotExistError", "ConnectionResetError"):
        return Cause(
            f"{place.server} closed the connection, as it does where it does not trust a client's "
            "certificate",
            f"the certificate that {key} names (sslcert) has to be signed by an authority in the server's "
            "ssl_ca_file, and must not be out of date; the server's log says which it is",
        )
    return None


def _not_reached(error: BaseException, place: Place, key: str) -> Cause:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror):
        return Cause(
            f"the name {place.host} is not known on this machine",
            f"correct the host in {key}, or what this machine asks for names (DNS, /etc/hosts)",
        )
    if (isinstance(error, TimeoutError) and number is None) or number == errno.ETIMEDOUT:
        return Cause(
            f"{place.server} does not answer in time",
            f"correct host and port in {key}; a firewall between lets nothing through, or the server is busy",
        )
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)) or f"[Errno {_REFUSED}]" in str(error):
        return Cause(
            f"nothing listens on {place.server}",
            f"start PostgreSQL there, or correct host and port in {key}; for callers from other machines "
            "listen_addresses has to name an address of its own",
        )
    if isinstance(error, PermissionError):
        return Cause(
            f"this user may not open {place.server}", f"let it in, or name a host over the network in {key}"
        )
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Cause(
            f"there is no way from here to {place.server}",
            f"correct the host in {key}, or this machine's routes",
        )
    if isinstance(error, (OSError, EOFError)) or getattr(error, "sqlstate", None):
        return Cause(
            f"{place.server} closed the connection ({type(error).__name__})",
            f"see that PostgreSQL answers there and nothing else; correct host and port in {key}",
        )
    return Cause(
        f"{key} cannot be used to connect ({type(error).__name__})",
        f"write postgresql://user:password@host:5432/database; {_ENCODED}",
    )


def _name(text: str) -> str:
    """A name as SQL has it."""
    return text if text.isidentifier() and text == text.lower() else '"' + text.replace('"', '""') + '"'
