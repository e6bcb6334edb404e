"""The life of a model through the package, embedded and through a server."""
import asyncio
import datetime
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

import lode


@pytest.fixture
def weights(tmp_path):
    rng = np.random.default_rng(3)
    path = tmp_path / "model.safetensors"
    save_file({"a": rng.normal(size=(37, 5)).astype(np.float32), "b": rng.integers(0, 9, size=(4,)).astype(np.int64)}, path)
    return path


def other(path):
    save_file({"a": np.ones((2, 2), np.float32), "c": np.zeros((3,), np.float64)}, path)
    return path


def test_push_find_load(client, weights):
    v = client.push(weights, "rank", metrics={"auc": 0.9}, tags={"team": "search"}, aliases="prod", why="first")
    assert (v["seq"], v["tensors"], v["parameters"]) == (1, 2, 37 * 5 + 4)
    assert v["metrics"] == {"auc": 0.9} and v["tags"] == {"team": "search"}
    model = client.load("rank@prod")
    assert sorted(model) == ["a", "b"]
    from safetensors.numpy import load_file
    truth = load_file(weights)
    for name in truth:
        got = model[name].numpy()
        assert got.dtype == truth[name].dtype and np.array_equal(got, truth[name])
        assert not got.flags.writeable
    assert model.stats["verified"]
    assert model.version["version"] == v["version"]
    with pytest.raises(KeyError):
        model["nothing"]


def test_bytes_survive(client, weights, tmp_path):
    client.push(weights, "rank", version="v1")
    where = client.pull("rank@v1", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights.read_bytes()
    assert where == str(tmp_path / "out")
    assert client.cat("rank@v1/model.safetensors") == weights.read_bytes()
    assert client.cat("rank@v1/model.safetensors", 3, 10) == weights.read_bytes()[3:13]


def test_aliases_and_journal(client, weights):
    a = client.push(weights, "rank")
    b = client.push(other(weights), "rank", parent="rank@1")
    client.promote("rank@1", "prod", why="go")
    between = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(0.01)
    client.promote("rank@2", "prod")
    assert client.resolve("rank@prod")["version"] == b["version"]
    assert client.alias_at("rank", "prod", between)["to"] == a["version"]
    client.rollback("rank", "prod", why="oops")
    assert client.resolve("rank@prod")["version"] == a["version"]
    entries = client.log("rank")["entries"]
    assert [e["change"] for e in entries] == ["alias_set"] * 3 + ["commit"] * 2
    assert entries[0]["why"] == "oops" and entries[0]["from"] == b["version"]
    assert client.model("rank")["aliases"] == {"prod": a["version"]}


def test_search(client, weights):
    for i in range(5):
        client.push(weights, "rank", version=f"v{i}", metrics={"auc": i / 10})
    found = client.ls("rank", filter="metrics.auc >= 0.2 AND NOT version = 'v3'", sort="metrics.auc:desc")
    assert [v["version"] for v in found["versions"]] == ["v4", "v2"]
    assert [v["version"] for v in client.versions("rank", sort="seq", limit=2)] == [f"v{i}" for i in range(5)]
    with pytest.raises(lode.InvalidError, match="(?i)filter"):
        client.ls("rank", filter="metrics.auc >=")


def test_errors_are_typed(client, weights, tmp_path):
    with pytest.raises(lode.NotFoundError):
        client.resolve("nothing@prod")
    client.push(weights, "rank", version="v1")
    with pytest.raises(lode.ExistsError) as error:
        client.push(weights, "rank", version="v1")
    assert isinstance(error.value, FileExistsError) and error.value.code == "exists" and "v1" in str(error.value)
    with pytest.raises(lode.InvalidError):
        client.push(weights, "../etc")
    with pytest.raises(FileNotFoundError):
        client.push(tmp_path / "missing", "rank")
    client.promote("rank@v1", "prod")
    with pytest.raises(lode.HeldError):
        client.rm("rank@v1")


def test_remove_restore(client, weights):
    client.push(weights, "rank", version="v1")
    client.rm("rank@v1", why="old")
    with pytest.raises(lode.NotFoundError):
        client.load("rank@v1")
    client.restore("rank@v1")
    assert len(client.load("rank@v1")) == 2
    assert client.verify("rank@v1")["clean"]


def test_diff(client, weights):
    client.push(weights, "rank", version="v1")
    client.push(other(weights), "rank", version="v2")
    tensors = client.diff("rank@v1", "rank@v2")["tensors"]
    names = {k: [t if isinstance(t, str) else t["name"] for t in v] for k, v in tensors.items() if isinstance(v, list)}
    assert names["added"] == ["c"] and names["removed"] == ["b"] and names["changed"] == ["a"]


def test_watch_hears_moves_in_order(client, weights):
    client.push(weights, "rank", version="v1")
    with client.watch("rank", timeout=10) as watch:
        for alias in ("a", "b", "c"):
            client.promote("rank@v1", alias)
        events = [watch.next(5) for _ in range(3)]
        assert [e["alias"] for e in events] == ["a", "b", "c"]
        with pytest.raises(TimeoutError):
            watch.next(0.05)
    client.promote("rank@v1", "d")
    with client.watch("rank", from_event=events[1]["event"], timeout=5) as again:
        assert [again.next(5)["alias"] for _ in range(2)] == ["c", "d"]


def test_watch_async(client, weights):
    client.push(weights, "rank", version="v1")

    async def follow():
        seen = []
        async for e in client.watch("rank", timeout=10):
            seen.append(e["alias"])
            if len(seen) == 2:
                return seen

    def move():
        time.sleep(0.2)
        client.promote("rank@v1", "x")
        client.promote("rank@v1", "y")

    thread = threading.Thread(target=move)
    thread.start()
    assert asyncio.run(follow()) == ["x", "y"]
    thread.join()


def test_progress_and_its_exceptions(client, weights):
    stages = set()
    client.push(weights, "rank", progress=lambda stage, done, total: stages.add(stage))
    assert stages

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        client.push(weights, "rank", version="never", progress=stop)
    with pytest.raises(lode.NotFoundError):
        client.resolve("rank@never")


def test_the_gil_is_released(root, weights):
    """A watch that waits in one thread must not stop another."""
    root.push(weights, "rank")
    watch = root.watch("rank", timeout=1)
    thread = threading.Thread(target=lambda: list(watch))
    thread.start()
    began = time.monotonic()
    for _ in range(50):
        root.resolve("rank")
    assert time.monotonic() - began < 5
    thread.join()
    watch.close()


def test_module_functions_use_the_environment(weights, monkeypatch, tmp_path):
    monkeypatch.setenv("LODE_URL", str(tmp_path / "here"))
    lode.Client(tmp_path / "here", create=True).close()
    lode.push(weights, "rank")
    assert sorted(lode.load("rank")) == ["a", "b"]
    assert [m["name"] for m in lode.models()["models"]] == ["rank"]
