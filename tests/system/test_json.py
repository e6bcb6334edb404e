#!/usr/bin/env python3
"""One schema a thing: what --json prints, what REST answers and what Python returns is held against the components of
docs/openapi/openapi.json, embedded and through a server. A planted renamed field must be found, so that the check is known
to see.

Needs jsonschema_rs (it comes with schemathesis in build/venv); without it, or without the lode package, it is skipped.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

SOURCE = pathlib.Path(os.environ.get("LODE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
LODE = shutil.which(os.environ.get("LODE_BIN", "lode")) or "lode"
try:
    import jsonschema_rs
except ImportError as error:
    print(f"no schema validator here: {error}", file=sys.stderr)
    sys.exit(77)

DOCUMENT = json.loads((SOURCE / "docs/openapi/openapi.json").read_text())
SEEN = set()
# Things of the upload protocol and of jobs, which only a server tells; its own tests hold them.
SERVER_ONLY = {"Attempt", "Stage", "Parts", "Unfinished", "Job", "Jobs"}


def validator(name):
    text = json.dumps({"$ref": f"#/$defs/{name}", "$defs": DOCUMENT["components"]["schemas"]})
    return jsonschema_rs.validator_for(json.loads(text.replace("#/components/schemas/", "#/$defs/")), validate_formats=True)


def see(name):
    """Marks a schema and all that it refers to as held against something."""
    if name not in SEEN:
        SEEN.add(name)
        text = json.dumps(DOCUMENT["components"]["schemas"][name])
        for part in text.split('"#/components/schemas/')[1:]:
            see(part.split('"')[0])


def check(name, thing, what):
    for error in validator(name).iter_errors(thing):
        raise AssertionError(f"{what} is no {name}: {error.message}\n{json.dumps(thing)[:2000]}")
    see(name)
    return thing


def has_teeth(name, thing):
    """Every key of the thing, renamed, must be refused, as must one more."""
    for key in thing:
        renamed = {("renamed" if k == key else k): v for k, v in thing.items()}
        if validator(name).is_valid(renamed):
            raise AssertionError(f"{name} takes {key!r} renamed")
    if validator(name).is_valid({**thing, "planted": 1}):
        raise AssertionError(f"{name} takes a planted key")


class Tool:
    def __init__(self, base, url):
        self.base, self.url = base, url
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LODE_")}
        self.env.update(HOME=str(base), XDG_CONFIG_HOME=str(base / "config"), LODE_CACHE=str(base / "cache"), LODE_URL=url)

    def run(self, *args, rc=0, text=""):
        done = subprocess.run([LODE, *map(str, args), "--json"], cwd=self.base, env=self.env, input=text, text=True,
                              capture_output=True, timeout=60, check=False)
        if done.returncode != rc:
            raise AssertionError(f"lode {args}: exit {done.returncode}, not {rc}\n{done.stdout}{done.stderr}")
        return done

    def check(self, schema, *args, rc=0, text=""):
        thing = json.loads(self.run(*args, rc=rc, text=text).stdout)
        return check(schema, thing, f"lode {' '.join(map(str, args))}")


def model_at(base):
    model = base / "model"
    model.mkdir()
    head = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"e":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}'
    (model / "w.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(8))
    (model / "config.json").write_text("{}")
    return model


def commands(tool, embedded):
    """Every command that prints a document."""
    for version in ("v1", "v2"):
        tool.check("Version", "push", "rank", "model", "--version", version, "--tag", "a=b", "--metric", "auc=0.5", "-m", "why")
        (tool.base / "model/config.json").write_text("{ }")
    version = tool.check("Version", "push", "team/x", "model", "--dry-run")
    has_teeth("Version", version)
    tool.check("Version", "push", "team/x", "model", "--parent", "rank@v1", "--alias", "prod")
    has_teeth("Models", tool.check("Models", "ls"))
    has_teeth("Versions", tool.check("Versions", "ls", "rank", "-n", "1"))
    tool.check("Versions", "ls", "--versions", "--deleted")
    has_teeth("Description", tool.check("Description", "show", "rank@v1", "--tensors"))
    tool.check("Description", "show", "team/x")
    tool.check("Version", "tag", "rank@v1", "x=y")
    tool.check("Version", "metric", "rank@v1", "loss=1")
    for command in (["promote", "rank@v1", "prod"], ["promote", "rank@v1", "prod"], ["alias", "set", "rank@v2", "prod"],
                    ["rollback", "rank", "prod"], ["alias", "log", "rank", "prod", "--at", "2999-01-01T00:00Z"]):
        has_teeth("JournalEntry", tool.check("JournalEntry", *command))
    has_teeth("Model", tool.check("Model", "alias", "ls", "rank"))
    has_teeth("Journal", tool.check("Journal", "log"))
    tool.check("Journal", "alias", "log", "rank", "prod", "-n", "1")
    tool.check("JournalEntry", "alias", "rm", "rank", "prod")
    watch = json.loads(tool.run("watch", "-n", "1", "--from", first_event(tool)).stdout)
    check("JournalEntry", watch, "lode watch")
    has_teeth("Diff", tool.check("Diff", "diff", "rank@v1", "rank@v2"))
    tool.check("Diff", "diff", "rank@v1", "rank@v2", "--exit-code", rc=1)
    has_teeth("PullReport", tool.check("PullReport", "pull", "rank@v1", "out"))
    has_teeth("LoadReport", tool.check("LoadReport", "load", "rank@v1"))
    tool.check("LoadReport", "load", "./model")
    has_teeth("DoctorReport", tool.check("DoctorReport", "doctor"))
    has_teeth("VerifyReport", tool.check("VerifyReport", "verify", "--all"))
    tool.check("Version", "rm", "rank@v2", "--dry-run")
    tool.check("Version", "rm", "rank@v2", "--yes")
    tool.check("Version", "restore", "rank@v2")
    tool.check("Version", "rm", "rank@v2", "--yes")
    has_teeth("ToolVersion", tool.check("ToolVersion", "version"))
    failed = tool.run("show", "none", rc=1)
    has_teeth("Error", check("Error", json.loads(failed.stderr), "an error"))
    if embedded:
        files_and_facts(tool)


def first_event(tool):
    """An event to go on from: that of a watch which hears of a change."""
    watch = subprocess.Popen([LODE, "watch", "-n", "1", "--json"], env=tool.env, cwd=tool.base, stdout=subprocess.PIPE, text=True)
    for number in range(1000):
        tool.run("tag", "rank@v1", f"n={number}")
        tool.run("promote", f"rank@v{1 + number % 2}", "moving")
        if watch.poll() is not None:
            break
    event = check("JournalEntry", json.loads(watch.communicate(timeout=20)[0]), "lode watch")["event"]
    tool.run("promote", "team/x", "moving")
    tool.run("alias", "rm", "rank", "moving")
    return event


def files_and_facts(tool):
    store = pathlib.Path(tool.url)
    spoiled = next(store.rglob("v1/w.safetensors"))
    spoiled.chmod(0o600)
    spoiled.write_bytes(spoiled.read_bytes()[:-1] + b"\1")
    stranger = store / "models/stranger"
    stranger.mkdir()
    (stranger / "file").write_text("x")
    report = tool.check("VerifyReport", "verify", "--all", rc=1)
    has_teeth("VerifyReport", report)
    assert report["faults"] and not report["clean"], report
    report = tool.check("GcReport", "gc", "--grace", "0s", "--dry-run")
    has_teeth("GcReport", report)
    assert report["freed"] and report["foreign"], report
    tool.check("GcReport", "gc", "--grace", "0s")
    has_teeth("BackupReport", tool.check("BackupReport", "backup", "facts.db"))
    has_teeth("RecoverReport", tool.check("RecoverReport", "recover", "facts.db", "--yes"))
    has_teeth("NewToken", tool.check("NewToken", "token", "add", "t", "--scope", "write", "--models", "r*"))
    has_teeth("Tokens", tool.check("Tokens", "token", "ls"))
    has_teeth("TokenRemoved", tool.check("TokenRemoved", "token", "rm", "t"))
    tool.check("ConfigChange", "config", "set", "here", "--url", tool.url)
    tool.check("ConfigChange", "config", "set", "pair", "--store", "file:///x", "--coord", "sqlite:///y", "--token-stdin", text="t\n")
    has_teeth("ConfigChange", tool.check("ConfigChange", "config", "use", "here"))
    has_teeth("Config", tool.check("Config", "config", "ls"))
    tool.check("ConfigChange", "config", "rm", "here")


def rest(url):
    """The replies of a server, raw."""
    def get(schema, path, status=200):
        try:
            with urllib.request.urlopen(url + path, timeout=20) as reply:
                code, body = reply.status, reply.read()
        except urllib.error.HTTPError as reply:
            code, body = reply.code, reply.read()
        assert code == status, (path, code, body)
        return check(schema, json.loads(body), f"GET {path}")
    has_teeth("Root", get("Root", "/v1/root"))
    get("Version", "/v1/resolve?ref=rank@v1")
    get("Models", "/v1/models")
    get("Versions", "/v1/versions")
    get("Model", "/v1/models/_/rank")
    get("Versions", "/v1/models/_/rank/versions")
    get("Version", "/v1/models/_/rank/versions/v1")
    get("Description", "/v1/models/_/rank/versions/v1/description")
    has_teeth("Aliases", get("Aliases", "/v1/models/_/rank/aliases"))
    get("Journal", "/v1/journal")
    get("Journal", "/v1/models/_/rank/journal")
    get("Diff", "/v1/diff?from=rank@v1&to=team/x")
    get("Tokens", "/v1/tokens")
    get("Jobs", "/v1/jobs")
    get("Error", "/v1/models/_/none", 404)


def python(url, base):
    """What the package returns."""
    import lode
    with lode.Client(url) as client:
        check("Version", client.push(base / "model", "py", version="a"), "push()")
        check("Versions", client.ls("py"), "ls()")
        check("Models", client.models(), "models()")
        check("Model", client.model("py"), "model()")
        check("Version", client.resolve("py"), "resolve()")
        check("Description", client.show("py@a", tensors=True), "show()")
        check("Version", client.tag("py@a", {"x": "y"}), "tag()")
        check("Version", client.metric("py@a", {"m": 1.0}), "metric()")
        check("JournalEntry", client.promote("py@a", "prod", why="x"), "promote()")
        check("JournalEntry", client.alias_remove("py", "prod"), "alias_remove()")
        check("Journal", client.log("py"), "log()")
        check("Diff", client.diff("py@a", "py@1"), "diff()")
        check("VerifyReport", client.verify("py@a"), "verify()")
        check("GcReport", client.gc(dry_run=True), "gc()")
        check("DoctorReport", client.doctor(), "doctor()")
        check("Version", client.rm("py@a"), "rm()")
        check("Version", client.restore("py@a"), "restore()")


def run(base, kind):
    base.mkdir()
    model_at(base)
    root = base / "root"
    tool = Tool(base, str(root))
    has_teeth("Root", tool.check("Root", "init", root) if kind == "embedded" else {**tool.check("Root", "init", root)})
    server = None
    try:
        if kind == "server":
            server = subprocess.Popen([LODE, "serve", "--url", root, "--listen", "127.0.0.1:0", "--json"], env=tool.env,
                                      stdout=subprocess.PIPE, text=True)
            tool.url = check("Serving", json.loads(server.stdout.readline()), "lode serve")["url"]
            tool.env["LODE_URL"] = tool.url
        commands(tool, kind == "embedded")
        if server:
            rest(tool.url)
        try:
            python(tool.url, base)
        except ImportError as error:
            print(f"the lode package is not here: {error}", file=sys.stderr)
            return 77
    finally:
        if server:
            server.terminate()
            server.wait(timeout=20)
    return 0


def closed_everywhere(where, schema):
    """Every object of the schema lists its keys and takes no other, or says the type of its values."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "additionalProperties" not in schema and where not in ("Job", "Error"):
            raise AssertionError(f"an object in {where} takes any key")
        for value in schema.values():
            closed_everywhere(where, value)
    elif isinstance(schema, list):
        for value in schema:
            closed_everywhere(where, value)


def main():
    for name, schema in DOCUMENT["components"]["schemas"].items():
        closed_everywhere(name, schema)
    with tempfile.TemporaryDirectory(prefix="lode-json-") as base:
        statuses = [run(pathlib.Path(base) / kind, kind) for kind in ("embedded", "server")]
    unseen = set(DOCUMENT["components"]["schemas"]) - SEEN - SERVER_ONLY
    if unseen:
        raise AssertionError(f"nothing was held against {sorted(unseen)}")
    print(f"{len(SEEN)} schemas hold")
    return max(statuses)


sys.exit(main())
