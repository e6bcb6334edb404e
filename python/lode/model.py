"""A loaded model: a mapping from tensor names to tensors that lie in the library's memory, not copied."""
from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np

from ._native import check, ffi, json, lib, new_err, take, text


def _numpy_dtype(name: str) -> np.dtype:
    try:
        return np.dtype(name)
    except TypeError:
        pass
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(f"NumPy has no type {name}; pip install ml_dtypes brings it") from None
    return np.dtype(getattr(ml_dtypes, name))


class Tensor:
    """One tensor. Its bytes belong to the model and live as long as any view of them does.

    Attributes:
        name: its name in the file.
        dtype: Lode's name of the element type: ``"F32"``, ``"BF16"``, ``"F8_E4M3"`` ...
        shape: lengths, outermost dimension first.
        nbytes: length in bytes.
        file: path of its file inside the version.
    """

    def __init__(self, owner: "Model", view) -> None:
        self._owner = owner
        self._data = view.data
        self._fortran = bool(view.fortran_order)
        self._dtype = view.dtype
        self.name: str = text(view.name) or ""
        self.dtype: str = text(lib.lode_dtype_name(view.dtype)) or ""
        self.shape: Tuple[int, ...] = tuple(view.shape[i] for i in range(view.rank))
        self.nbytes: int = view.len
        self.file: Optional[str] = text(view.file)

    def __repr__(self) -> str:
        return f"<lode.Tensor {self.name!r} {self.dtype} {list(self.shape)}>"

    def _buffer(self) -> memoryview:
        # The owner must outlive the buffer: keeping it as an attribute of the cdata's holder does that.
        return ffi.buffer(ffi.gc(ffi.cast("char *", self._data), lambda _p, _owner=self._owner: None), self.nbytes)

    def raw(self) -> memoryview:
        """The bytes as they lie in the file, read-only."""
        return memoryview(self._buffer() if self.nbytes else b"").toreadonly()

    def numpy(self) -> np.ndarray:
        """A read-only array over the same memory. bf16 and fp8 need ``ml_dtypes``."""
        name = text(lib.lode_dtype_numpy(self._dtype))
        bits = lib.lode_dtype_bits(self._dtype)
        if not name or bits % 8:
            raise TypeError(f"tensor {self.name}: NumPy has no type for {self.dtype}; raw() gives the bytes")
        flat = np.frombuffer(self._buffer() if self.nbytes else b"", dtype=_numpy_dtype(name))
        array = flat.reshape(self.shape, order="F" if self._fortran else "C")
        array.flags.writeable = False
        return array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **kwargs: Any):
        return self._exportable().__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._exportable().__dlpack_device__()

    def _exportable(self) -> np.ndarray:
        # Many consumers cannot say "read-only" in DLPack. The memory is private to this process (never the store's
        # file), so a consumer that writes spoils nothing but this model.
        array = np.frombuffer(self._buffer() if self.nbytes else bytearray(), dtype=self.numpy().dtype)
        return array.reshape(self.shape, order="F" if self._fortran else "C")

    def torch(self):
        """A torch.Tensor over the same memory, on the CPU; shares it with the model."""
        import torch

        kind = getattr(torch, _TORCH.get(self.dtype, ""), None)
        if kind is None:
            raise TypeError(f"tensor {self.name}: this torch has no type for {self.dtype}")
        if self.nbytes == 0:
            return torch.empty(self.shape, dtype=kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            flat = torch.frombuffer(self._buffer(), dtype=kind)
        if self._fortran:
            return flat.reshape(tuple(reversed(self.shape))).permute(*reversed(range(len(self.shape))))
        return flat.reshape(self.shape)


_TORCH: Dict[str, str] = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U16": "uint16",
    "U32": "uint32", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "C128": "complex128", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E4M3FNUZ": "float8_e4m3fnuz",
}


class Model(Mapping):
    """A loaded version, or local file or directory: ``model["layer.0.weight"].numpy()``.

    A mapping in the order of names. The memory is freed when the model and every array made from it are gone.
    """

    def __init__(self, handle) -> None:
        self._handle = ffi.gc(handle, lib.lode_model_free)

    def __len__(self) -> int:
        return lib.lode_model_count(self._handle)

    def __iter__(self) -> Iterator[str]:
        view, err = ffi.new("struct lode_tensor_view *"), new_err()
        for i in range(len(self)):
            check(lib.lode_model_at(self._handle, i, view, err), err)
            yield text(view.name) or ""

    def __getitem__(self, name: str) -> Tensor:
        view, err = ffi.new("struct lode_tensor_view *"), new_err()
        r = lib.lode_model_tensor(self._handle, name.encode(), view, err)
        if r == lib.LODE_NOT_FOUND:
            raise KeyError(name)
        check(r, err)
        return Tensor(self, view)

    @property
    def version(self) -> Optional[Dict[str, Any]]:
        """The version's facts, or None for a local path."""
        v = lib.lode_model_version(self._handle)
        return None if v == ffi.NULL else json.loads(take(lib.lode_version_json(v)))

    @property
    def stats(self) -> Dict[str, Any]:
        """bytes, read, seconds, verified, mapped."""
        s = ffi.new("struct lode_load_stats *")
        lib.lode_model_stats(self._handle, s)
        return {"bytes": s.bytes, "read": s.read, "seconds": s.seconds, "verified": bool(s.verified), "mapped": bool(s.mapped)}

    def numpy(self) -> Dict[str, np.ndarray]:
        """Every tensor as a read-only array."""
        return {name: tensor.numpy() for name, tensor in self.items()}

    def torch(self) -> Dict[str, Any]:
        """Every tensor as a torch.Tensor: a state dict."""
        return {name: tensor.torch() for name, tensor in self.items()}
