"""Lode: publish, find and load trained models in the storage you already run.

    import lode
    lode.push("model.safetensors", "rank", metrics={"auc": 0.91}, aliases="canary")
    weights = lode.load("rank@canary")["layer.0.weight"].numpy()
    for change in lode.watch("rank"):
        print(change["alias"], change["to"])

The functions here use one shared client on the default root (``LODE_URL``, else ``~/.lode``); `Client` opens others.
"""
from __future__ import annotations

import functools
import os
import threading
from typing import Any, Tuple

from . import errors
from ._native import lib as _lib, text as _text
from .client import Client, Watch, is_path as _is_path, load_path as _load_path
from .errors import *  # noqa: F401,F403: the typed errors are part of the surface
from .errors import LodeError
from .model import Model, Tensor

__version__ = _text(_lib.lode_version_string())

_clients: dict = {}
_lock = threading.Lock()


def default_client() -> Client:
    """The client of the default root, as the environment says at the time of the call."""
    # A forked child opens its own: databases and threads do not cross a fork.
    key: Tuple[Any, ...] = (os.getpid(),) + tuple(os.environ.get(k) for k in ("LODE_URL", "LODE_STORE", "LODE_COORD", "LODE_TOKEN", "LODE_HOME", "LODE_CONTEXT"))
    with _lock:
        if key not in _clients:
            _clients[key] = Client(create="LODE_URL" not in os.environ)
        return _clients[key]


def _verb(name: str):
    method = getattr(Client, name)

    @functools.wraps(method)
    def call(*args, **kwargs):
        return getattr(default_client(), name)(*args, **kwargs)

    return call


def load(ref, **options) -> Model:
    """`Client.load` on the default root; a path (os.PathLike, or a string that begins with / ./ ../ ~) needs none."""
    return _load_path(ref, **options) if _is_path(ref) else default_client().load(ref, **options)


push, pull, cat, ls, models, show, resolve = map(_verb, ("push", "pull", "cat", "ls", "models", "show", "resolve"))
tag, metric, promote, rollback, alias_at, log = map(_verb, ("tag", "metric", "promote", "rollback", "alias_at", "log"))
rm, restore, watch, diff, verify, gc = map(_verb, ("rm", "restore", "watch", "diff", "verify", "gc"))

__all__ = ["Client", "LodeError", "Model", "Tensor", "Watch", "alias_at", "cat", "default_client", "diff", "errors", "gc", "load",
           "log", "ls", "metric", "models", "promote", "pull", "push", "resolve", "restore", "rm", "rollback", "show", "tag",
           "verify", "watch"]
