"""Tensors of local files: every element type against the library that wrote it, and who owns the memory."""
import gc
import pathlib

import numpy as np
import pytest
from safetensors.numpy import save_file

import lode

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = ["bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32", "float64", "int64", "uint64"]


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes(tmp_path, name):
    truth = np.arange(24).reshape(2, 3, 4).astype(name)
    save_file({"t": truth}, tmp_path / "m.safetensors")
    tensor = lode.load(tmp_path / "m.safetensors")["t"]
    assert tensor.shape == (2, 3, 4) and tensor.nbytes == truth.nbytes
    assert tensor.numpy().dtype == truth.dtype and np.array_equal(tensor.numpy(), truth)


def raw_safetensors(path, dtype, shape, data):
    import json
    import struct
    head = json.dumps({"t": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


@pytest.mark.parametrize("dtype, numpy_name", [("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")])
def test_small_floats(tmp_path, dtype, numpy_name):
    truth = np.linspace(-3, 3, 12).reshape(3, 4).astype(getattr(ml_dtypes, numpy_name))
    raw_safetensors(tmp_path / "m.safetensors", dtype, [3, 4], truth.tobytes())
    got = lode.load(tmp_path / "m.safetensors")["t"].numpy()
    assert got.dtype == truth.dtype and got.tobytes() == truth.tobytes()


def test_npy_and_npz(tmp_path):
    c, f = np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.save(tmp_path / "c.npy", c)
    np.save(tmp_path / "f.npy", f)
    np.savez(tmp_path / "s.npz", x=c, y=f)
    np.savez_compressed(tmp_path / "z.npz", x=c, y=np.zeros(10000))
    for file in ("c.npy", "f.npy"):
        model = lode.load(tmp_path / file)
        assert np.array_equal(next(iter(model.values())).numpy(), c)
    for file in ("s.npz", "z.npz"):
        model, truth = lode.load(tmp_path / file), np.load(tmp_path / file)
        assert sorted(model) == sorted(truth.files)
        for name in truth.files:
            assert np.array_equal(model[name].numpy(), truth[name])


def test_scalars_and_empty(tmp_path):
    save_file({"s": np.array(2.5, np.float32), "e": np.zeros((0, 3), np.int32)}, tmp_path / "m.safetensors")
    model = lode.load(tmp_path / "m.safetensors")
    assert model["s"].numpy().shape == () and model["s"].numpy() == 2.5
    assert model["e"].numpy().shape == (0, 3)


def test_selection(tmp_path):
    save_file({f"layers.{i}.w": np.full((2,), i, np.float32) for i in range(12)}, tmp_path / "m.safetensors")
    model = lode.load(tmp_path / "m.safetensors", tensors=["layers.1*.w", "layers.3.w"])
    assert sorted(model) == ["layers.1.w", "layers.10.w", "layers.11.w", "layers.3.w"]


def test_arrays_outlive_the_model(tmp_path):
    truth = np.arange(100000, dtype=np.float32)
    save_file({"t": truth}, tmp_path / "m.safetensors")
    array = lode.load(tmp_path / "m.safetensors")["t"].numpy()
    gc.collect()
    assert np.array_equal(array, truth)


def test_no_copy(tmp_path):
    save_file({"t": np.arange(1000, dtype=np.float32)}, tmp_path / "m.safetensors")
    tensor = lode.load(tmp_path / "m.safetensors")["t"]
    assert tensor.numpy().__array_interface__["data"][0] == tensor.numpy().__array_interface__["data"][0]


def test_dlpack(tmp_path):
    truth = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_file({"t": truth}, tmp_path / "m.safetensors")
    tensor = lode.load(tmp_path / "m.safetensors")["t"]
    shared = np.from_dlpack(tensor)
    assert np.array_equal(shared, truth)
    assert shared.__array_interface__["data"][0] == tensor.numpy().__array_interface__["data"][0]


def test_writing_through_dlpack_never_reaches_the_file(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"t": np.arange(4096, dtype=np.float32)}, path)
    before = path.read_bytes()
    exported = lode.load(path)["t"]._exportable()
    exported[:] = 7
    assert path.read_bytes() == before


def test_torch(tmp_path):
    torch = pytest.importorskip("torch")
    truth = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_file({"t": truth, "e": np.zeros((0, 2), np.float32)}, tmp_path / "m.safetensors")
    state = lode.load(tmp_path / "m.safetensors").torch()
    assert isinstance(state["t"], torch.Tensor) and np.array_equal(state["t"].numpy(), truth)
    assert tuple(state["e"].shape) == (0, 2)
    raw_safetensors(tmp_path / "b.safetensors", "BF16", [2], np.array([1.5, -2], ml_dtypes.bfloat16).tobytes())
    assert lode.load(tmp_path / "b.safetensors")["t"].torch().float().tolist() == [1.5, -2.0]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:20], lambda b: b"\xff" * 8 + b[8:], lambda b: b + b"x"])
def test_damaged_files_are_refused(tmp_path, damage):
    path = tmp_path / "m.safetensors"
    save_file({"t": np.arange(8, dtype=np.float32)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(lode.LodeError, match="m.safetensors"):
        lode.load(path)


def test_a_pickle_is_never_read(tmp_path, root):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "exploded",))

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Bomb()))
    v = root.push(tmp_path / "m.pkl", "opaque")
    assert v["format"] == "opaque" and v["tensors"] == 0
    assert len(root.load("opaque")) == 0
    assert not (tmp_path / "exploded").exists()
