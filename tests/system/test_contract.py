#!/usr/bin/env python3
"""The server against its own OpenAPI document, by schemathesis: every operation but the event stream, all phases, with
stateful links, once with names of its own making and once with names that exist.

Fails on any answer that the document does not describe: another status, media type, header or field. LODE_TEST_LONG=1
takes ten times the examples.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("LODE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
LODE = os.environ.get("LODE_BIN", "lode")
EXAMPLES = 1000 if os.environ.get("LODE_TEST_LONG") == "1" else 100
SEED = "20261121"

# Texts whose meaning no schema can tell (filters, references, moments, page tokens), and uploads, whose steps have to
# fit each other: there a valid request may be refused.
FREE = ["listModels", "listVersions", "listAllVersions", "listJournal", "listModelJournal", "resolve", "diff", "getAliasAt",
        "stageVersion", "setAlias", "annotateVersion", "startJob", "uploadPart", "completeFile", "finishVersion", "getFile",
        "getParts", "dropParts", "getVersion", "removeVersion", "restoreVersion", "addToken", "listTokens", "getManifest"]
# A path of many parts is one parameter to the server, and an array to the tester.
PATHS = ["uploadPart", "completeFile", "getParts", "dropParts", "getFile"]

CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 411, 413, 415, 416, 429, 431]
[[operations]]
include-operation-id = {free}
[operations.checks]
positive_data_acceptance.enabled = false
[[operations]]
include-operation-id = {paths}
[operations.checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
"""
NAMES = """
[parameters]
"path.ns" = "_"
"path.name" = "m"
"path.rev" = "v1"
"""


def contract(place, url, token, config, examples):
    (place / "schemathesis.toml").write_text(config)
    tool = SOURCE / "build/venv/bin/schemathesis"
    done = subprocess.run([str(tool), "--config-file", str(place / "schemathesis.toml"), "run", f"{url}/v1/openapi.json",
                           "-H", f"Authorization: Bearer {token}", "--exclude-operation-id", "watch", "--no-color",
                           "--max-examples", str(examples), "--seed", SEED, "--continue-on-failure", "--warnings", "off"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=place)
    print(done.stdout[-12000:])
    return done.returncode


def main() -> int:
    if not (SOURCE / "build/venv/bin/schemathesis").exists():
        print("schemathesis is not in build/venv", file=sys.stderr)
        return 77
    place = pathlib.Path(tempfile.mkdtemp(prefix="lode-contract-"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("LODE_") or k == "LODE_PLANT"}
    env.update(LODE_URL=str(place / "root"), LODE_CACHE=str(place / "cache"), HOME=str(place))

    def lode(*args):
        return subprocess.run([LODE, *args], env=env, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    try:
        (place / "a.txt").write_text("hello")
        lode("init", "-q")
        for version in ("v1", "v2"):
            lode("push", "m", str(place / "a.txt"), "--version", version, "--tag", "k=v", "--metric", "auc=0.5", "-q")
        lode("promote", "m@v1", "prod", "-q")
        token = lode("token", "add", "--scope", "admin", "tester", "-q")
        server = subprocess.Popen([LODE, "serve", "-q", "--listen", "127.0.0.1:0"], env=env, text=True, stdout=subprocess.PIPE)
        try:
            url = server.stdout.readline().strip()
            config = CONFIG.format(free=FREE, paths=PATHS)
            failed = contract(place, url, token, config, EXAMPLES // 4)
            failed = contract(place, url, token, config + NAMES, EXAMPLES) or failed
        finally:
            server.terminate()
            status = server.wait(20)
        return failed or status
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
