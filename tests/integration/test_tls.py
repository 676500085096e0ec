"""The certificate of the public port, with files as they go wrong: told by ``check`` and ``serve`` alike."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.api import tls
from adapter.settings import CannotRun, Server
from tests.integration.processes import PASSWORD, environment, free_ports, run

Break = Callable[[Path, Path], tuple[Path, Path, str]]
"""Damages certificate and key in some way: which files to name then, and a part of the sentence."""


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


def _absent(chain: Path, key: Path) -> tuple[Path, Path, str]:
    return (
        chain.with_name("absent.pem"),
        key,
        f"server.tls_certificate: cannot read {chain.parent}/absent.pem: No",
    )


def _no_pem(chain: Path, key: Path) -> tuple[Path, Path, str]:
    key.write_text("nonsense", encoding="utf-8")
    return chain, key, "server.tls_key: "


def _swapped(chain: Path, key: Path) -> tuple[Path, Path, str]:
    return key, chain, f"server.tls_certificate: {key} is no PEM file"


def _of_another(chain: Path, key: Path) -> tuple[Path, Path, str]:
    openssl("genrsa", "-out", str(key), "2048")
    return chain, key, f"server.tls_key: the key in {key} does not belong to the first certificate in {chain}"


def _of_another_kind(chain: Path, key: Path) -> tuple[Path, Path, str]:
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
    return chain, key, f"server.tls_key: the key in {key} does not belong to the first certificate in {chain}"


def _with_pass_phrase(chain: Path, key: Path) -> tuple[Path, Path, str]:
    new = key.with_name("locked.pem")
    openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:planted-phrase", "-out", str(new))
    return chain, new, f"server.tls_key: the key in {new} has a pass phrase"


def _with_an_old_pass_phrase(chain: Path, key: Path) -> tuple[Path, Path, str]:
    new = key.with_name("locked.pem")
    openssl(
        "rsa", "-in", str(key), "-aes256", "-traditional", "-passout", "pass:planted-phrase", "-out", str(new)
    )
    return chain, new, f"server.tls_key: the key in {new} has a pass phrase"


def _damaged(chain: Path, key: Path) -> tuple[Path, Path, str]:
    text = chain.read_text(encoding="utf-8")
    chain.write_text(text.replace("M", "N", 3), encoding="utf-8")
    return chain, key, "server.tls_certificate, server.tls_key: one of"


_BREAKS: list[Break] = [
    _absent, _no_pem, _swapped, _of_another, _of_another_kind, _with_pass_phrase, _with_an_old_pass_phrase,
    _damaged,
]  # fmt: skip


@pytest.fixture
def files(certificate: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and key of this test's own."""
    chain, key = (Path(shutil.copy(path, tmp_path)) for path in certificate)
    return chain, key


@pytest.mark.parametrize("spoil", _BREAKS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_files_that_cannot_be_used_are_told_in_a_sentence(spoil: Break, files: tuple[Path, Path]) -> None:
    chain, key, says = spoil(*files)
    with pytest.raises(CannotRun) as told:
        tls.context_of(Server(tls_certificate=chain, tls_key=key))
    assert str(told.value).startswith(says)
    reason, _, remedy = str(told.value).partition("; ")
    assert reason
    assert remedy
    assert "planted" not in str(told.value)


def test_serve_and_check_tell_it_without_asking_for_a_pass_phrase(
    files: tuple[Path, Path], tmp_path: Path, database: str
) -> None:
    chain, key, says = _with_pass_phrase(*files)
    (tmp_path / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{database}"\n[[cards.ranges]]\n'
        f"[management]\nenabled = false\n[server]\ntls_certificate = '{chain}'\ntls_key = '{key}'\n",
        encoding="utf-8",
    )
    serving = run("serve", "--port", str(*free_ports(1)), cwd=tmp_path)
    assert (serving.status, serving.out) == (1, "")
    assert serving.err.startswith(f"error: {says}")
    # On a terminal, where OpenSSL would ask.
    command = ["script", "-qec", f"{sys.executable} -m adapter check", "/dev/null"]
    if shutil.which("script") is not None:
        checked = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        assert b"Enter PEM pass phrase" not in checked.stdout
        assert f"FAIL  certificate    {says}".encode() in checked.stdout
    done = run("check", cwd=tmp_path)
    assert done.status == 1
    line, remedy = done.out.partition("FAIL  certificate")[2].splitlines()[:2]
    assert says in line
    assert f"-> take it off: openssl pkey -in {key}" in remedy


def test_a_good_certificate_is_shown_with_its_names_and_its_last_day(files: tuple[Path, Path]) -> None:
    chain, key = files
    found = tls.tried(Server(tls_certificate=chain, tls_key=key))
    assert found is not None
    assert found.names == ("127.0.0.1",)
    assert tls.tried(Server()) is None


def test_an_expired_certificate_is_told(files: tuple[Path, Path]) -> None:
    chain, key = files
    asked = chain.with_name("asked.csr")
    openssl("req", "-new", "-key", str(key), "-subj", "/CN=x", "-out", str(asked))
    signed = ("-req", "-in", str(asked), "-signkey", str(key), "-out", str(chain))
    openssl("x509", *signed, "-days", "-1")
    with pytest.raises(CannotRun, match=r"certificate has expired; renew it$"):
        tls.tried(Server(tls_certificate=chain, tls_key=key))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_that_may_not_be_read_says_who_may_not_and_what_to_do(files: tuple[Path, Path]) -> None:
    chain, key = files
    key.chmod(0)
    with pytest.raises(
        CannotRun, match=rf"^server.tls_key: {key} may not be read by the user .*; .*chmod 0400"
    ):
        tls.context_of(Server(tls_certificate=chain, tls_key=key))
