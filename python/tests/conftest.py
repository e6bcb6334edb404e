"""Every test gets a root of its own, embedded and, for those that ask for `client`, behind a server too."""
import os
import subprocess

import pytest

import lode

LODE = os.environ.get("LODE_BIN", "lode")


@pytest.fixture(autouse=True)
def own_environment(tmp_path, monkeypatch):
    for name in [n for n in os.environ if n.startswith("LODE_") and n not in ("LODE_BIN", "LODE_SOURCE", "LODE_LIBRARY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def root(tmp_path):
    """An embedded root."""
    with lode.Client(tmp_path / "root", create=True) as client:
        yield client


@pytest.fixture
def server(tmp_path):
    """The URL of a real `lode serve` over a root of its own."""
    process = subprocess.Popen([LODE, "serve", "--url", str(tmp_path / "served"), "--listen", "127.0.0.1:0", "-q"],
                               stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()
    assert url.startswith("http://"), f"lode serve did not start: {url!r}"
    yield url
    process.terminate()
    assert process.wait(timeout=10) == 0


@pytest.fixture(params=["embedded", "server"])
def client(request, tmp_path):
    """The same client API on both kinds of root."""
    if request.param == "embedded":
        with lode.Client(tmp_path / "root", create=True) as c:
            yield c
    else:
        with lode.Client(request.getfixturevalue("server")) as c:
            yield c
