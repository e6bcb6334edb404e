#!/usr/bin/env python3
"""Model files as the real libraries write them, and what those libraries say is in them.

    real_files.py DIR    makes DIR/<case>/..., with DIR/<case>.expect beside it: a line a tensor,
                         name, dtype, shape, C or F, file, bytes in hex (- for none), divided by tabs;
                         and DIR/verdicts/<n>.safetensors with DIR/verdicts.expect: a line a file,
                         its name and whether the real safetensors accepts it.
Exits 77 where the libraries are missing.
"""
import json
import pathlib
import random
import struct
import sys

try:
    import ml_dtypes
    import numpy as np
    import safetensors
    import safetensors.numpy
except ImportError as missing:
    print(f"SKIPPED: {missing}", file=sys.stderr)
    sys.exit(77)

NUMPY_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16", "I32": "int32",
    "U32": "uint32", "F32": "float32", "F64": "float64", "I64": "int64", "U64": "uint64", "C64": "complex64",
}
# Types that NumPy alone lacks, as the serializer names them, with the bits of an element.
OTHER_TYPES = {
    "BF16": ("bfloat16", 16), "F8_E4M3": ("float8_e4m3fn", 8), "F8_E5M2": ("float8_e5m2", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8), "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F4": ("float4_e2m1fn_x2", 4), "F6_E2M3": ("float6_e2m3fn", 6), "F6_E3M2": ("float6_e3m2fn", 6),
}
SHAPES = [(), (1,), (3, 5), (2, 0, 4), (2, 3, 4, 5)]


def values(dtype, shape, seed):
    bits = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * np.dtype(dtype).itemsize, np.uint8)
    if dtype == "bool":
        bits &= 1
    return bits.view(dtype).reshape(shape)


def line(name, dtype, shape, order, file, data):
    return "\t".join([name, dtype, ",".join(map(str, shape)), order, file, data.hex() or "-"])


def save_expect(root, case, lines):
    (root / f"{case}.expect").write_text("".join(text + "\n" for text in sorted(lines)))


def safetensors_case(root):
    folder = root / "safetensors"
    folder.mkdir()
    tensors = {f"{code}.{i}": values(name, shape, i) for code, name in NUMPY_TYPES.items()
               for i, shape in enumerate(SHAPES)}
    safetensors.numpy.save_file(tensors, folder / "m.safetensors", metadata={"format": "np", "é": "\n\0\"ü"})
    with safetensors.safe_open(folder / "m.safetensors", "np") as f:
        lines = [line(k, k.split(".")[0], f.get_tensor(k).shape, "C", "m.safetensors", f.get_tensor(k).tobytes())
                 for k in f.keys()]
    save_expect(root, "safetensors", lines)


def other_types_case(root):
    """The types beyond NumPy: a type that this release of the library does not know yet is left out."""
    folder = root / "other_types"
    folder.mkdir()
    lines = []
    for code, (name, bits) in OTHER_TYPES.items():
        elements = 8
        data = bytes(range(elements * bits // 8))
        header = json.dumps({"t." + code: {"dtype": code, "shape": [2, 4], "data_offsets": [0, len(data)]}}).encode()
        raw = struct.pack("<Q", len(header)) + header + data
        try:
            (found, entry), = safetensors.deserialize(raw)
        except safetensors.SafetensorError as error:
            print(f"{code}: unknown to safetensors {safetensors.__version__}: {error}", file=sys.stderr)
            continue
        (folder / f"{code}.safetensors").write_bytes(raw)
        lines.append(line(found, entry["dtype"], entry["shape"], "C", f"{code}.safetensors", bytes(entry["data"])))
    save_expect(root, "other_types", lines)


def shards_case(root):
    folder = root / "shards"
    folder.mkdir()
    weight_map, lines = {}, []
    for shard in range(3):
        file = f"model-{shard + 1:05}-of-00003.safetensors"
        tensors = {f"layer.{shard}.{i}": values("float32", (i + 1, 2), i) for i in range(5)}
        safetensors.numpy.save_file(tensors, folder / file)
        weight_map.update(dict.fromkeys(tensors, file))
        lines += [line(k, "F32", v.shape, "C", file, v.tobytes()) for k, v in tensors.items()]
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    save_expect(root, "shards", lines)


def npy_case(root):
    folder = root / "npy"
    folder.mkdir()
    lines = []
    for code, name in {**NUMPY_TYPES, "C128": "complex128"}.items():
        for i, shape in enumerate(SHAPES):
            array = values(name, shape, i)
            file = f"{code}.{i}.npy"
            np.save(folder / file, array)
            lines.append(line(file[:-4], code, shape, "C", file, array.tobytes()))
    fortran = np.asfortranarray(values("float64", (4, 5), 1))
    np.save(folder / "fortran.npy", fortran)
    lines.append(line("fortran", "F64", (4, 5), "F", "fortran.npy", fortran.tobytes("F")))
    for version in ((1, 0), (2, 0), (3, 0)):
        file = f"version{version[0]}.npy"
        with open(folder / file, "wb") as f:
            np.lib.format.write_array(f, values("int16", (7,), 7), version=version)
        lines.append(line(file[:-4], "I16", (7,), "C", file, values("int16", (7,), 7).tobytes()))
    # Well-formed, but no tensors: kept opaque, nothing expected.
    np.save(folder / "text.npy", np.array(["a", "bc"]))
    np.save(folder / "record.npy", np.zeros(2, [("a", "f4"), ("b", "i8")]))
    np.save(folder / "big.npy", np.arange(3, dtype=">i4"))
    np.save(folder / "brain.npy", np.arange(3).astype(ml_dtypes.bfloat16))
    save_expect(root, "npy", lines)


def npz_case(root, case, save):
    folder = root / case
    folder.mkdir()
    arrays = {f"layer/{code}_{i}": values(name, shape, i) for code, name in NUMPY_TYPES.items()
              for i, shape in enumerate(SHAPES)}
    arrays["fortran"] = np.asfortranarray(values("float32", (30, 50), 2))
    save(folder / "w.npz", **arrays)
    lines = [line(k, k.split("/")[1].rsplit("_", 1)[0], v.shape, "C", "w.npz", v.tobytes())
             for k, v in arrays.items() if k != "fortran"]
    lines.append(line("fortran", "F32", (30, 50), "F", "w.npz", arrays["fortran"].tobytes("F")))
    save_expect(root, case, lines)


def object_case(root):
    folder = root / "object"
    folder.mkdir()
    np.save(folder / "o.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.savez(folder / "o.npz", a=np.zeros(2), o=np.array([{}], dtype=object))


def verdicts(root, n=1500):
    """Headers with a few random edits, and what the real library thinks of each."""
    folder = root / "verdicts"
    folder.mkdir()
    chance = random.Random(20261121)
    seed = safetensors.numpy.save({"t0": np.ones(2, "f4"), "t1": np.ones((2, 4), "u1"), "t2": np.array(1, "i8"),
                                   "t3": np.ones((4, 1), "f2")}, {"k": "v"})
    length = struct.unpack("<Q", seed[:8])[0]
    lines = []
    for i in range(n):
        header = bytearray(seed[8:8 + length])
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            at = chance.randrange(len(header))
            edit = chance.randrange(4)
            if edit == 0:
                header[at] = chance.choice(b"0123456789[]{},:\"\\- tfnU8.e")
            elif edit == 1:
                del header[at]
            elif edit == 2:
                header.insert(at, chance.choice(b"0123456789[]{},:\"\\- "))
            else:
                other = chance.randrange(len(header))
                header[at], header[other] = header[other], header[at]
        raw = struct.pack("<Q", len(header)) + bytes(header) + seed[8 + length:]
        if chance.randrange(8) == 0:
            raw = raw[:chance.randrange(len(raw))]
        try:
            safetensors.deserialize(raw)
            verdict = "good"
        except Exception:  # any refusal counts
            verdict = "bad"
        (folder / f"{i}.safetensors").write_bytes(raw)
        lines.append(f"{i}.safetensors\t{verdict}\n")
    (root / "verdicts.expect").write_text("".join(lines))


def main():
    root = pathlib.Path(sys.argv[1])
    safetensors_case(root)
    other_types_case(root)
    shards_case(root)
    npy_case(root)
    npz_case(root, "npz", np.savez)
    npz_case(root, "npz_compressed", np.savez_compressed)
    object_case(root)
    verdicts(root)


if __name__ == "__main__":
    main()
