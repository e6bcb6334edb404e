#!/usr/bin/env python3
"""The command line as a user meets it: every command, its exit status, -q and --json, its errors, interruption, and full or
read-only disks. What makes sense at both is run against an embedded root and through `lode serve`.

Standard library only. A test is a function that takes a World, a temporary directory with a root of its own.
"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import time
import traceback

LODE = shutil.which(os.environ.get("LODE_BIN", "lode")) or "lode"
TESTS = []
MB = 1 << 20


class Skip(Exception):
    """A part that cannot run here."""


def test(*kinds):
    def add(function):
        TESTS.extend((function, kind) for kind in kinds)
        return function
    return add


both = test("embedded", "server")
embedded = test("embedded")


def safetensors(values):
    head = json.dumps({"w": {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, 4 * len(values)]}}).encode()
    return struct.pack("<Q", len(head)) + head + struct.pack(f"<{len(values)}f", *values)


class World:
    def __init__(self, kind, base):
        self.dir = pathlib.Path(base)
        self.kind = kind
        self.root = self.dir / "root"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LODE_") and k != "NO_COLOR"}
        self.env.update(HOME=str(self.dir / "user"), XDG_CONFIG_HOME=str(self.dir / "config"), LODE_CACHE=str(self.dir / "cache"),
                        TERM="xterm", LC_ALL="C.UTF-8")
        (self.dir / "user").mkdir()
        model = self.dir / "model"
        model.mkdir()
        (model / "config.json").write_text("{}\n")
        (model / "w.safetensors").write_bytes(safetensors([1, 2, 3, 4]))
        self.url = str(self.root)
        self.server = None
        self.prefix = []

    def obey_modes(self):
        """From here on the mode of a file counts, for root too: without capabilities root is a user like others."""
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                raise Skip("root may read and write everywhere, and setpriv is not here")
            self.prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]

    def start(self):
        self.lode("init", str(self.root), url=None)
        if self.kind == "server":
            self.server = subprocess.Popen([LODE, "serve", "--url", str(self.root), "--listen", "127.0.0.1:0", "-q"],
                                           env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.url = self.server.stdout.readline().strip()
            same(self.url.startswith("http://127.0.0.1:"), True, "the server's first line")

    def stop(self):
        if self.server:
            self.server.terminate()
            status = self.server.wait(timeout=20)
            self.server.stdout.close()
            same(status, 0, "the server's exit status")

    def popen(self, *args, url="", **kwargs):
        env = dict(self.env)
        if url is not None:
            env["LODE_URL"] = url or self.url
        env.update(kwargs.pop("env", {}))
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([*self.prefix, LODE, *map(str, args)], cwd=self.dir, env=env, **kwargs)

    def lode(self, *args, rc=0, url="", text=None, env=None):
        """Runs it; checks the exit status; answers stdout, leaves stderr in .err."""
        stdin = {"stdin": subprocess.PIPE} if text is not None else {}
        process = self.popen(*args, url=url, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env or {}, **stdin)
        out, self.err = process.communicate(text, timeout=60)
        if process.returncode != rc:
            raise AssertionError(f"lode {' '.join(map(str, args))}: exit {process.returncode}, not {rc}\n{out}{self.err}")
        return out

    def json(self, *args, **kwargs):
        return json.loads(self.lode(*args, "--json", **kwargs))

    def fails(self, *args, says, rc=1, **kwargs):
        """It fails, prints no result, and its message holds every one of `says`."""
        out = self.lode(*args, rc=rc, **kwargs)
        same(out, "", f"stdout of lode {args}")
        for part in [says] if isinstance(says, str) else says:
            if part not in self.err:
                raise AssertionError(f"lode {' '.join(map(str, args))} does not say {part!r}:\n{self.err}")

    def push(self, version, path="model", name="rank", *more):
        return self.lode("push", name, path, "--version", version, *more)


def same(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, not {wanted!r}")


def holds(part, text):
    if part not in text:
        raise AssertionError(f"{part!r} is not in:\n{text}")


def until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.01)


# ---- the life of a model ----

@both
def life(w):
    holds("Published rank@v1: ", w.push("v1", "model", "rank", "--tag", "team=search", "--metric", "auc=0.9", "-m", "first"))
    holds("in 2 files, number 1", w.lode("push", "rank", "model", "--dry-run").replace("; nothing was written", ", number 1"))
    (w.dir / "one.bin").write_bytes(b"x")
    holds("1 B in 1 file, number 2", w.push("v2", "one.bin"))
    same(w.lode("push", "team/search", "one.bin", "--version", "a", "-q"), "a\n")
    same(w.lode("ls", "-q"), "rank\nteam/search\n")
    same(w.lode("ls", "rank", "-q"), "v2\nv1\n")
    same(w.lode("ls", "--namespace", "team", "-q"), "team/search\n")
    same(w.lode("ls", "--versions", "-q", "--filter", "metrics.auc > 0.5"), "rank@v1\n")
    same(w.lode("ls", "rank", "--sort", "seq", "-n", "1", "-q"), "v1\n")
    holds("NAME", w.lode("ls").splitlines()[0])
    show = w.lode("show", "rank@1", "--tensors")
    for part in ("model       rank", "number 1", "team = search", "auc = 0.9", "w.safetensors", "F32"):
        holds(part, show)
    same(w.lode("cat", "rank@v2/one.bin"), "x")
    holds("1 tensor, 16 B", w.lode("load", "rank@v1"))
    holds("1 tensor, 16 B", w.lode("load", "./model/w.safetensors"))
    same(w.lode("pull", "rank@v1", "out", "-q").strip(), str(w.dir / "out"))
    same((w.dir / "out/config.json").read_text(), "{}\n")
    w.lode("pull", "rank@v1", "some", "--exclude", "*.json")
    same(sorted(os.listdir(w.dir / "some")), ["w.safetensors"])
    same(w.lode("tag", "rank@v1", "a=b", "--remove", "team"), "rank@v1 has 1 tag\n")
    same(w.lode("metric", "rank@v1", "auc=0.8", "loss=1"), "rank@v1 has 2 metrics\n")
    same(w.json("show", "rank@v1")["version"]["metrics"], {"auc": 0.8, "loss": 1.0})


@both
def aliases(w):
    w.push("v1")
    w.push("v2")
    same(w.lode("promote", "rank@v1", "prod", "-m", "go"), "rank@prod: (none) -> v1\n")
    same(w.lode("alias", "set", "rank@v2", "prod"), "rank@prod: v1 -> v2\n")
    same(w.lode("promote", "rank@v2", "prod"), "rank@prod is at v2 already\n")
    same(w.lode("rollback", "rank", "prod", "-q"), "v1\n")
    same(w.lode("alias", "ls", "rank").splitlines(), ["latest               v2  (computed)", "prod                 v1"])
    same(w.lode("alias", "ls", "rank", "-q"), "prod\n")
    log = w.lode("alias", "log", "rank", "prod").splitlines()
    same(len(log), 3)
    holds("(none) -> v1", log[2])
    holds("-- go", log[2])
    moved = [e for e in w.json("log", "rank")["entries"] if e["change"] == "alias_set"]
    holds("v2 was @prod", w.lode("alias", "log", "rank", "prod", "--at", moved[1]["when"]))
    w.fails("alias", "log", "rank", "prod", "--at", "yesterday", says="yesterday")
    same(w.lode("alias", "rm", "rank", "prod"), "rank@prod: v1 -> (removed)\n")
    w.fails("alias", "rm", "rank", "prod", says="prod")
    w.fails("rollback", "rank", "never", says="never")
    same(len(w.lode("log", "-n", "2").splitlines()), 2)
    holds("There are more: --page", w.err)


@both
def remove_and_restore(w):
    w.push("v1", "model", "rank", "--alias", "prod")
    w.push("v2")
    w.fails("rm", "rank@v1", "--yes", says=["held by @prod", "move or remove"])
    holds("Would delete rank@v2 and free ", w.lode("rm", "rank@v2", "--dry-run"))
    w.fails("rm", "rank@v2", says=["Delete rank@v2", "no terminal", "--yes"])
    w.fails("rm", "rank@v2", says="no terminal", text="y\n")
    same(w.lode("ls", "rank", "-q"), "v2\nv1\n")
    holds("Deleted rank@v2; gc will free ", w.lode("rm", "rank@v2", "--yes", "-m", "bad"))
    w.fails("show", "rank@v2", says="rank")
    holds("Freed 0 B in 0 places", w.lode("gc"))
    same(w.lode("restore", "rank@v2"), "Restored rank@v2\n")
    w.lode("rm", "rank@v2", "--yes")
    holds("1 place\n", w.lode("gc", "--grace", "0s", "--dry-run"))
    w.fails("gc", "--grace", "soon", rc=2, says="soon")
    w.fails("push", "rank", "model", "--version", "v2", says="v2")
    same(w.lode("ls", "rank", "-q"), "v1\n")
    same(w.lode("ls", "rank", "-q", "--deleted").split(), ["v2", "v1"])


@both
def checks(w):
    w.push("v1")
    w.push("v2")
    (w.dir / "model/config.json").write_text("{1}\n")
    w.push("v3")
    same(w.lode("diff", "rank@1", "rank@2"), "the same\n")
    same(w.lode("diff", "rank@1", "rank@2", "--exit-code", "-q"), "")
    same(w.lode("diff", "rank@1", "rank@3"), "~ file config.json\n")
    same(w.lode("diff", "rank@1", "rank@3", "--exit-code", rc=1), "~ file config.json\n")
    w.fails("diff", "rank@1", "rank@9", "--exit-code", says="no version 9")
    holds("clean: 3 versions, 6 files", w.lode("verify", "--all"))
    holds("clean: 1 version, 2 files", w.lode("verify", "rank@1"))
    w.fails("verify", rc=2, says="say a REF or --all")
    w.fails("verify", "rank", "--all", rc=2, says="say a REF or --all")
    same(w.json("doctor")["ok"], True)
    path = next(w.root.rglob("v1/config.json"))
    path.chmod(0o600)
    path.write_text("[]\n")
    holds("NOT clean", w.lode("verify", "rank@1", rc=1))
    holds("config.json", w.err)
    w.fails("cat", "rank@1/config.json", says="config.json")


@both
def watching(w):
    w.push("v1")
    watch = w.popen("watch", "rank", "-n", "1", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while watch.poll() is None:            # from when it watches is not told: moves until it hears of one
        for version in ("v1", "v2"):
            w.lode("promote", "rank@v1", "prod") if version == "v1" else w.lode("alias", "rm", "rank", "prod")
    entry = json.loads(watch.communicate()[0])
    same(watch.returncode, 0)
    same((entry["name"], entry["alias"]), ("rank", "prod"))
    watch = w.popen("watch", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    holds("watching every model", watch.stderr.readline())
    watch.send_signal(signal.SIGINT)
    same(watch.wait(timeout=10), 0, "watch after Ctrl-C")
    watch.stderr.close()


@embedded
def facts_and_tokens(w):
    w.push("v1")
    same(w.lode("backup", "facts.db").strip(), str(w.dir / "facts.db"))
    w.push("v2")
    w.fails("recover", "facts.db", says=["Replace the facts", "--yes"])
    w.lode("recover", "facts.db", "--yes")
    same(w.lode("ls", "rank", "-q"), "v1\n")
    secret = w.lode("token", "add", "trainer", "--scope", "write", "--models", "rank*").strip()
    holds("shown this once", w.err)
    listed = w.lode("token", "ls")
    same(secret in listed, False, "a token is shown again")
    holds("rank*", listed)
    w.fails("token", "add", "x", "--scope", "god", rc=2, says="god")
    same(w.lode("token", "rm", "trainer", "-q"), "")
    w.fails("token", "rm", "trainer", says="trainer")


# ---- roots, contexts ----

@embedded
def roots(w):
    w.fails("init", w.root, says="is a root already")
    w.fails("ls", url=str(w.dir / "nowhere"), says=["nowhere", "lode init"])
    w.fails("ls", url="gopher://x", says="gopher")
    w.fails("ls", url="http://127.0.0.1:1", says="127.0.0.1:1")
    w.fails("ls", "--store", "file:///x", rc=2, says="go together", url=None)
    home = {"LODE_HOME": str(w.dir / "home")}
    same(w.lode("ls", "-q", url=None, env=home), "")
    w.lode("push", "m", "model", "--version", "v", url=None, env=home)
    same((w.dir / "home").is_dir(), True, "the default root is made when it is first used")
    same(w.lode("ls", "-q", "--url", w.dir / "home"), "m\n")
    other = w.dir / "other"
    w.lode("init", other)
    shutil.copy(other / "coord.db", w.root / "coord.db")
    for extra in ("coord.db-wal", "coord.db-shm"):
        (w.root / extra).unlink(missing_ok=True)
        if (other / extra).exists():
            shutil.copy(other / extra, w.root / extra)
    w.fails("ls", says="root")


@embedded
def a_newer_schema(w):
    w.push("v1")
    with contextlib.closing(sqlite3.connect(w.root / "coord.db")) as db:
        tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        changed = 0
        for table in tables:
            columns = [r[1] for r in db.execute(f'PRAGMA table_info("{table}")')]
            if {"key", "value"} <= set(columns):
                for rowid, value in db.execute(f'SELECT key, value FROM "{table}" WHERE key = ? OR key = ?',
                                               ("root", b"root")).fetchall():
                    text = value.decode() if isinstance(value, bytes) else value
                    newer = re.sub(r'"schema":\s*\d+', '"schema":99', text)
                    db.execute(f'UPDATE "{table}" SET value = ? WHERE key = ?',
                               (newer.encode() if isinstance(value, bytes) else newer, rowid))
                    changed += newer != text
        db.commit()
    same(changed > 0, True, "no root record was found")
    w.fails("ls", says=["99", "newer"])


@embedded
def contexts(w):
    w.fails("config", "set", "here", rc=2, says="--url", url=None)
    w.lode("config", "set", "here", "--url", w.root, url=None)
    w.lode("config", "set", "there", "--url", "http://127.0.0.1:1", "--token-stdin", text="secret\n", url=None)
    w.lode("config", "use", "here", url=None)
    w.lode("push", "m", "model", url=None)
    same(w.lode("ls", "-q"), "m\n")
    w.fails("ls", "--context", "there", url=None, says="127.0.0.1:1")
    w.fails("ls", "--context", "hree", url=None, says="hree")
    listed = w.lode("config", "ls")
    holds("* ", listed)
    same("secret" in listed, False, "a token is listed")
    same(w.json("config", "ls")["contexts"][1]["has_token"], True)
    path = pathlib.Path(w.json("config", "ls")["path"])
    same(stat.S_IMODE(path.stat().st_mode), 0o600, "the mode of the configuration")
    w.lode("config", "rm", "there")
    w.fails("config", "rm", "there", says="there")
    w.fails("config", "use", "there", says="there")


# ---- what is typed wrong ----

@embedded
def usage(w):
    w.lode(rc=2)
    holds("Usage: lode COMMAND", w.err)
    w.fails("lss", rc=2, says="did you mean 'lode ls'")
    w.fails("completely-else", rc=2, says="'lode help' lists them")
    w.fails("ls", "--jsno", rc=2, says=["unknown option '--jsno'", "--json", "Try 'lode ls --help'"])
    w.fails("ls", "-z", rc=2, says="-z")
    w.fails("ls", "--limit", rc=2, says="--limit needs a value")
    w.fails("ls", "--json=yes", rc=2, says="takes no value")
    w.fails("ls", "--limit", "0", rc=2, says="from 1 to 1000")
    w.fails("ls", "--limit", "many", rc=2, says="many")
    w.fails("ls", "a", "b", rc=2, says="unexpected argument 'b'")
    w.fails("push", "rank", rc=2, says="lode push NAME PATH...")
    w.fails("alias", rc=2, says="lode alias set REF ALIAS")
    w.fails("alias", "ste", rc=2, says="lode alias set REF ALIAS")
    w.fails("push", "m", "model", "--tag", "novalue", rc=2, says="KEY=VALUE")
    w.fails("push", "m", "model", "--metric", "a=b", rc=2, says="KEY=NUMBER")
    w.fails("tag", "m", rc=2, says="KEY=VALUE")
    holds("lode alias rm NAME ALIAS", w.lode("help", "alias"))
    w.fails("help", "nothing", rc=2, says="nothing")
    w.fails("help", "--completion", "tcsh", rc=2, says="tcsh")
    w.fails("ls", "--", "--json", says="--json")           # a name after --, not an option
    (w.dir / "-dash").write_text("x")
    w.lode("push", "dash", "--version", "v", "--", "-dash")
    same(w.lode("--url", w.root, "--json", "ls", "dash", url=None)[:1], "{")
    same(w.lode("ls", f"--url={w.root}", "-q", url=None), "dash\n")
    same(w.lode("version"), w.lode("--version"))
    same(w.json("version")["version"], w.lode("version", "-q").strip())


@embedded
def help_of_each(w):
    listing = w.lode("help")
    same(w.lode("--help"), listing)
    names = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?= |$)", listing.split("Commands:")[1].split("Options of")[0], re.M)
    same(len(names) >= 30, True, f"commands: {names}")
    for name in names:
        page = w.lode(*name.split(), "--help", url=None)
        same(w.err, "", f"stderr of {name} --help")
        holds(f"Usage: lode {name}", page)
        holds("Common options:", page)
        same(max(map(len, page.splitlines())) <= 120, True, f"{name} --help is too wide")
        same(w.lode("help", *name.split()), page)


@both
def refused(w):
    w.push("v1", "model", "rank", "--alias", "canary")
    w.push("v2")
    w.fails("show", "rank@3", says=["no version 3 of rank", "newest is 2 (v2)"])
    w.fails("show", "rank@cnary", says="did you mean canary?")
    w.fails("ls", "rnak", says="did you mean rank?")
    w.fails("log", "rnak", says="did you mean rank?")
    same(w.lode("ls", "rank", "--filter", "name = 'x'"), "")
    holds("No versions", w.err)
    same(w.lode("ls", "--filter", "name = 'x'"), "")
    holds("No model fits the filter", w.err)
    w.fails("show", "rnak", says=["no model rnak", "did you mean rank?"])
    w.fails("push", "rank", "model", "--version", "v1", says=["rank", "already", "v1"])
    w.fails("push", "rank", "model", "--version", "latest", says="latest")
    w.fails("push", "../x", "model", says="'../x'")
    w.fails("push", "a/b/c", "model", says="a/b/c")
    w.fails("ls", "--filter", "name = 5 AND", says=["filter", "byte"])
    w.fails("ls", "--page", "rubbish", says="page token")
    w.fails("ls", "--sort", "colour", says=["colour", "metrics.x"])
    w.fails("cat", "rank@v1/none", says=["none", "lode show"])
    w.fails("cat", "rank@v1", says=["rank", "names no file"])
    w.fails("cat", "rank@v1/../../coord.db", says="..")
    w.fails("pull", "rank@v9", "out", says="v9")
    (w.dir / "out").mkdir()
    (w.dir / "out/config.json").write_text("mine")
    w.fails("pull", "rank@v1", "out", says=["config.json", "--force"])
    same((w.dir / "out/config.json").read_text(), "mine")
    w.lode("pull", "rank@v1", "out", "--force")
    error = json.loads((w.lode("show", "nix", "--json", rc=1), w.err)[1])["error"]
    same(error["code"], "not_found")
    w.fails("load", "rank@v1", "--tensor", "zzz", says="zzz")


@both
def paths_refused(w):
    model = w.dir / "model"
    w.fails("push", "m", "none", says=["'none'", "No such file"])
    (w.dir / "empty").mkdir()
    w.fails("push", "m", "empty", says="no file")
    (model / "link").symlink_to("/etc/hostname")
    w.fails("push", "m", "model", says=["model/link", "/etc/hostname", "--follow-links"])
    w.lode("push", "m", "model", "--follow-links", "--version", "followed")
    same(w.lode("cat", "m@followed/link"), pathlib.Path("/etc/hostname").read_text())
    (model / "link").unlink()
    (model / "inside").symlink_to("config.json")
    w.lode("push", "m", "model", "--version", "inside")
    same(w.lode("cat", "m@inside/inside"), "{}\n")
    os.mkfifo(model / "pipe")
    w.fails("push", "m", "model", says=["pipe", "only files"])
    (model / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(model / "sock"))
        w.fails("push", "m", "model", says=["sock", "only files"])
    (model / "sock").unlink()
    w.fails("push", "m", "/dev/null", says=["/dev/null", "device"])
    (model / "w.safetensors").write_bytes(b"\xff" * 7)
    w.fails("push", "m", "model", says="w.safetensors")
    same(w.lode("ls", "m", "-q").split(), ["inside", "followed"])


# ---- outputs that end ----

@both
def closed_and_full_stdout(w):
    big = w.dir / "big"
    big.write_bytes(os.urandom(4 * MB))
    w.push("v1", "big")
    cat = w.popen("cat", "rank/big", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    same(cat.stdout.read(10), big.read_bytes()[:10])
    cat.stdout.close()
    same((cat.wait(timeout=20), cat.stderr.read()), (0, b""), "cat | head")
    cat.stderr.close()
    ours, theirs = os.pipe()
    os.close(ours)
    listing = w.popen("ls", stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    same((listing.communicate()[1], listing.returncode), (b"", 0), "ls to a reader that has gone")
    for command in (["ls"], ["ls", "--json"], ["show", "rank"], ["cat", "rank/big"], ["help"], ["version"]):
        with open("/dev/full", "wb") as full:
            process = w.popen(*command, stdout=full, stderr=subprocess.PIPE, text=True)
            err = process.communicate(timeout=20)[1]
        same(process.returncode, 1, f"{command} > /dev/full")
        holds("No space left", err)


@both
def bars_and_lines(w):
    big = w.dir / "big"
    big.write_bytes(os.urandom(8 * MB))
    w.push("v1", "big")
    same("\r" in w.err or "\x1b" in w.err, False, "control characters without a terminal")
    holds("upload: 8.0 MiB\n", w.err)
    w.lode("pull", "rank", "out1", "--json")
    same(w.err, "", "progress with --json")
    w.lode("pull", "rank", "out2", "-q")
    same(w.err, "", "progress with -q")
    ours, theirs = pty.openpty()
    process = w.popen("pull", "rank", "out3", stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):     # EIO: the other end is closed
        while select.select([ours], [], [], 30)[0] and (part := os.read(ours, 4096)):
            seen += part
    os.close(ours)
    same(process.wait(timeout=20), 0)
    same(bool(re.search(rb"\rdownload +100%  8\.0 MiB of 8\.0 MiB", seen)), True, f"a bar: {seen!r}")
    same(re.search(rb"\x1b\[\d*m", seen), None, "colours")


# ---- interrupted, full, read-only ----

@both
def interrupted_push(w):
    big = w.dir / "big"
    with open(big, "wb") as f:             # sparse, and too big to be through before the signal
        f.truncate(2 << 30)
    process = w.popen("push", "rank", "big", "--version", "v1", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    holds("upload", process.stderr.readline())
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    out, err = process.communicate(timeout=30)
    same(process.returncode, 1, f"after Ctrl-C: {out}{err}")
    same(time.monotonic() - begin < 10, True, "ends soon after Ctrl-C")
    same(out, "")
    w.fails("show", "rank@v1", says="rank")
    same(w.json("ls")["models"] == [] or w.json("ls", "rank")["versions"] == [], True, "something is visible")
    os.truncate(big, 3 * MB)               # another file by size and mtime: nothing of the old one may be taken
    w.push("v1", "big")
    same(w.json("show", "rank@v1")["version"]["size"], 3 * MB)
    w.lode("gc", "--grace", "0s")
    held = sum(f.stat().st_blocks * 512 for f in w.root.rglob("*") if f.is_file())
    same(held < 64 * MB, True, f"bytes that remain: {held}")
    holds("clean", w.lode("verify", "--all"))


@embedded
def modes_of_files(w):
    w.push("v1")
    out = w.dir / "out"
    out.mkdir()
    out.chmod(0o555)
    w.obey_modes()
    w.fails("pull", "rank", "out/sub", says=["out/sub", "Permission denied"])
    w.fails("backup", "out/facts", says=["out/facts", "Permission denied"])
    (w.dir / "model/config.json").chmod(0)
    w.fails("push", "rank", "model", says=["config.json", "Permission denied"])
    (w.dir / "model/config.json").chmod(0o644)
    store = w.root / "models"
    store.chmod(0o555)
    w.fails("push", "other", "model", says="Permission denied")
    store.chmod(0o755)
    w.lode("push", "other", "model")
    same(w.lode("ls", "-q"), "other\nrank\n")


@contextlib.contextmanager
def small_disk(w, megabytes):
    disk = w.dir / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", disk],
                                           stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("no tmpfs can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@embedded
def full_disk(w):
    with small_disk(w, 24) as disk:
        (w.dir / "big").write_bytes(os.urandom(10 * MB))
        (w.dir / "bigger").write_bytes(os.urandom(40 * MB))
        url = str(disk / "root")
        w.lode("init", url, url=None)
        w.lode("push", "m", "big", "--version", "a", url=url)
        w.fails("push", "m", "bigger", "--version", "b", url=url, says=["40.0 MiB", "free"])
        filler = disk / "filler"
        filler.write_bytes(b"x" * (9 * MB))
        w.fails("push", "m", "big", "--version", "c", url=url, says="10.0 MiB")
        same(w.lode("ls", "m", "-q", url=url), "a\n")
        w.fails("pull", "m@a", disk / "copy", url=url, says=["10.0 MiB", "free"])
        filler.unlink()
        w.lode("rm", "m@a", "--yes", url=url)
        before = shutil.disk_usage(disk).free
        w.lode("gc", "--grace", "0s", url=url)
        same(shutil.disk_usage(disk).free - before > 9 * MB, True, "gc brings the space back")
        w.lode("push", "m", "big", "--version", "d", url=url)
        holds("clean: 1 version", w.lode("verify", "--all", url=url))


@embedded
def read_only_root(w):
    with small_disk(w, 16) as disk:
        url = str(disk / "root")
        w.lode("init", url, url=None)
        w.lode("push", "m", "model", "--version", "a", url=url)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        w.fails("push", "m", "model", "--version", "b", url=url, says="read-only file system")
        w.fails("ls", url=url, says="read-only file system")
        w.push("v1")
        w.fails("pull", "rank", disk / "out", says="Read-only file system")
        w.fails("backup", disk / "facts", says="Read-only file system")


# ---- running ----

def run_one(function, kind):
    name = f"{function.__name__}[{kind}]"
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lode-cli-") as base:
        world = World(kind, base)
        try:
            world.start()
            try:
                function(world)
            finally:
                world.stop()
            outcome = "ok"
        except Skip as reason:
            outcome = f"skipped: {reason}"
        except Exception:                  # pylint: disable=broad-except; told below
            outcome = "FAILED\n" + traceback.format_exc()
    return f"{name} {time.monotonic() - begin:.1f} s {outcome}"


def main():
    wanted = sys.argv[1:]
    chosen = [(f, k) for f, k in TESTS if not wanted or f.__name__ in wanted]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        lines = list(pool.map(lambda one: run_one(*one), chosen))
    print("\n".join(lines))
    return any(" FAILED" in line for line in lines) or not lines


sys.exit(main())
