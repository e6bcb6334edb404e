"""The C library: loading it, calling it, and turning its failures into exceptions.

Every call through cffi releases the GIL while the C code runs.
"""
from __future__ import annotations

import json
import os
import pathlib
import warnings
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence

from ._abi import ffi
from .errors import CancelledError, error_of


def _open_library():
    own = pathlib.Path(__file__).with_name("liblode.so")
    return ffi.dlopen(os.environ.get("LODE_LIBRARY") or str(own))


lib = _open_library()


def text(s) -> Optional[str]:
    """A C string as str; None for NULL."""
    return None if s == ffi.NULL else ffi.string(s).decode("utf-8", "replace")


def take(s) -> str:
    """A C string that is ours to free, as str."""
    try:
        return ffi.string(s).decode("utf-8")
    finally:
        lib.lode_string_free(s)


class Keep:
    """C memory of one call: strings and arrays live as long as this does."""

    def __init__(self) -> None:
        self._kept: List[Any] = []

    def keep(self, thing):
        self._kept.append(thing)
        return thing

    def str(self, s: Optional[str]):
        """NULL for None."""
        if s is None:
            return ffi.NULL
        raw = os.fsencode(s)
        if b"\0" in raw:
            raise ValueError("embedded NUL in a string for Lode")
        return self.keep(ffi.new("char[]", raw))

    def strs(self, items: Iterable[str]):
        """(array, length)"""
        pointers = [self.str(i) for i in items]
        return (self.keep(ffi.new("char *[]", pointers)) if pointers else ffi.NULL), len(pointers)

    def tags(self, tags: Optional[Dict[str, Optional[str]]]):
        array = self.keep(ffi.new("struct lode_tag[]", max(1, len(tags or {}))))
        for slot, (key, value) in zip(array, (tags or {}).items()):
            slot.key, slot.value = self.str(key), self.str(value)
        return array, len(tags or {})

    def metrics(self, metrics: Optional[Dict[str, Optional[float]]]):
        array = self.keep(ffi.new("struct lode_metric[]", max(1, len(metrics or {}))))
        for slot, (key, value) in zip(array, (metrics or {}).items()):
            slot.key, slot.value = self.str(key), float("nan") if value is None else float(value)
        return array, len(metrics or {})


Progress = Callable[[str, int, int], None]


class Call:
    """struct lode_call with Python callbacks. An exception in a callback, and Ctrl-C, stop the verb and are raised by
    `check`. The callbacks are always there: only while Python code runs can a signal's handler run."""

    def __init__(self, keep: Keep, why: Optional[str] = None, progress: Optional[Progress] = None) -> None:
        self.error: Optional[BaseException] = None
        self._user = progress
        self.struct = keep.keep(ffi.new("struct lode_call *"))
        self.struct.why = keep.str(why)
        self.struct.progress = keep.keep(ffi.callback("void(void *, const struct lode_progress *)", self._progress, onerror=self._failed))
        self.struct.cancelled = keep.keep(ffi.callback("int(void *)", self._cancelled, error=1, onerror=self._failed))

    def _failed(self, _kind, value, _traceback) -> None:
        self.error = self.error or value

    def _progress(self, _arg, p) -> None:
        if self._user and not self.error:
            self._user(text(p.stage), p.done, p.total)

    def _cancelled(self, _arg) -> int:
        return 1 if self.error else 0

    def check(self, r: int, err) -> None:
        """Raises what a callback raised if that stopped the verb. One that came too late, when all was done, is told as a
        warning: the result stands."""
        if self.error and r < 0:
            raise self.error
        if self.error:
            warnings.warn(f"the call was done before it could be stopped: {self.error!r}", RuntimeWarning, stacklevel=3)
        check(r, err)


def check(r: int, err) -> int:
    """Raises what a negative answer means."""
    if r < 0:
        raise error_of(text(lib.lode_code_name(r)), text(err.text) or text(lib.lode_code_text(r)))
    return r


def new_err():
    return ffi.new("struct lode_err *")


def json_of(function, structure, release) -> Dict[str, Any]:
    """The JSON of a result structure, which is then released."""
    try:
        return json.loads(take(function(structure)))
    finally:
        release(structure)


def json_call(function, *args, call: Optional[Call] = None) -> Any:
    """Calls a verb whose last arguments are (char **json, err) and answers the parsed report."""
    out, err = ffi.new("char **"), new_err()
    r = function(*args, out, err)
    (call.check if call else check)(r, err)
    return json.loads(take(out[0]))


__all__ = ["Call", "CancelledError", "Keep", "Progress", "Sequence", "check", "ffi", "json_call", "json_of", "lib",
           "new_err", "take", "text"]
