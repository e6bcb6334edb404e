"""The client: every verb of Lode on one root."""
from __future__ import annotations

import asyncio
import datetime
import os
import threading
import time
import weakref
from typing import Any, AsyncIterator, Dict, Iterator, List, Optional, Sequence, Union

from ._native import Call, Keep, Progress, check, ffi, json_call, json_of, lib, new_err, take
from .errors import TimeoutError
from .model import Model

PathLike = Union[str, "os.PathLike[str]"]
Paths = Union[PathLike, Sequence[PathLike]]
Json = Dict[str, Any]

_TICK_MS = 200   # how soon Ctrl-C is seen while a watch waits; events come at once


def _many(items: Optional[Union[str, Sequence[str]]]) -> List[str]:
    if items is None:
        return []
    return [items] if isinstance(items, str) else list(items)


def _paths(paths: Paths) -> List[str]:
    if isinstance(paths, (str, os.PathLike)):
        return [os.fspath(paths)]
    return [os.fspath(p) for p in paths]


class Client:
    """A root: a directory (embedded), or a server.

    Args:
        url: a directory, ``http(s)://server``, or None: ``LODE_URL``, the configured context, ``~/.lode``.
        store, coord: a pair instead of ``url``.
        token: for a server; None: ``LODE_TOKEN``.
        cacert: PEM file of the certificate authority for https.
        create: make an embedded root that is missing.

    A client may be used from several threads. It is a context manager.
    """

    def __init__(self, url: Optional[PathLike] = None, *, store: Optional[str] = None, coord: Optional[str] = None,
                 token: Optional[str] = None, cacert: Optional[str] = None, context: Optional[str] = None,
                 create: bool = False, read_only: bool = False, fresh: bool = False) -> None:
        keep, out, err = Keep(), ffi.new("struct lode **"), new_err()
        options = ffi.new("struct lode_open_options *")
        options.url = keep.str(os.fspath(url) if url is not None else None)
        options.store, options.coord = keep.str(store), keep.str(coord)
        options.token, options.cacert, options.context = keep.str(token), keep.str(cacert), keep.str(context)
        options.create, options.read_only, options.fresh = create, read_only, fresh
        check(lib.lode_open(options, out, err), err)
        self._lode = ffi.gc(out[0], lib.lode_close)
        self._watches: "weakref.WeakSet[Watch]" = weakref.WeakSet()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        """Closes the root and its watches; later calls fail. Models that were loaded stay valid. Not while another thread is
        inside a call of this client, but for `Watch.next`, which ends."""
        for watch in list(self._watches):
            watch.close()
        handle, self._lode = self._lode, None
        if handle is not None:
            ffi.release(handle)

    def _handle(self):
        if self._lode is None:
            raise ValueError("this lode.Client is closed")
        return self._lode

    @property
    def url(self) -> str:
        return ffi.string(lib.lode_url(self._handle())).decode()

    # ---- publish and get ----

    def push(self, paths: Paths, name: str, *, version: Optional[str] = None, aliases: Optional[Union[str, Sequence[str]]] = None,
             tags: Optional[Dict[str, str]] = None, metrics: Optional[Dict[str, float]] = None, parent: Optional[str] = None,
             replication: Optional[str] = None, follow_links: bool = False, dry_run: bool = False, why: Optional[str] = None,
             progress: Optional[Progress] = None) -> Json:
        """Publishes files or directories as a new version of ``name``; answers its facts.

        Durable, and visible whole, when this returns. Raises ExistsError for a taken version name, ChangedError when a
        file changed meanwhile, NoSpaceError, InvalidError for a malformed file.
        """
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_version *")
        call = Call(keep, why, progress)
        o = ffi.new("struct lode_push_options *")
        o.paths, o.n_paths = keep.strs(_paths(paths))
        o.version, o.parent, o.replication = keep.str(version), keep.str(parent), keep.str(replication)
        o.aliases, o.n_aliases = keep.strs(_many(aliases))
        o.tags, o.n_tags = keep.tags(tags)
        o.metrics, o.n_metrics = keep.metrics(metrics)
        o.follow_links, o.dry_run, o.call = follow_links, dry_run, call.struct
        call.check(lib.lode_push(self._handle(), keep.str(name), o, out, err), err)
        return json_of(lib.lode_version_json, out, lib.lode_version_release)

    def pull(self, ref: str, dest: Optional[PathLike] = None, *, include: Optional[Union[str, Sequence[str]]] = None,
             exclude: Optional[Union[str, Sequence[str]]] = None, force: bool = False, progress: Optional[Progress] = None) -> str:
        """Writes a version's files below ``dest`` and answers the directory. Resumes; every byte is checked."""
        keep, err, path = Keep(), new_err(), ffi.new("char **")
        call = Call(keep, None, progress)
        o = ffi.new("struct lode_pull_options *")
        o.include, o.n_include = keep.strs(_many(include))
        o.exclude, o.n_exclude = keep.strs(_many(exclude))
        o.force, o.call = force, call.struct
        where = keep.str(os.fspath(dest) if dest is not None else None)
        call.check(lib.lode_pull(self._handle(), keep.str(ref), where, o, path, ffi.NULL, err), err)
        return take(path[0])

    def cat(self, ref: str, offset: int = 0, length: int = 0) -> bytes:
        """The bytes of one file, ``"name@rev/path"``, checked; length 0: to its end."""
        keep, err, parts = Keep(), new_err(), []
        call = Call(keep)

        def sink(_arg, data, n):
            parts.append(bytes(ffi.buffer(data, n)))
            return 0

        # An exception in the sink, Ctrl-C above all, ends the verb: bytes with a hole are never handed out.
        c_sink = keep.keep(ffi.callback("int(void *, const void *, size_t)", sink, error=lib.LODE_CANCELLED, onerror=call._failed))
        call.check(lib.lode_cat(self._handle(), keep.str(ref), offset, length, c_sink, ffi.NULL, call.struct, err), err)
        return b"".join(parts)

    def load(self, ref: Union[str, "os.PathLike[str]"], *, tensors: Optional[Union[str, Sequence[str]]] = None,
             verify: bool = True, copy: bool = False, progress: Optional[Progress] = None) -> Model:
        """Brings tensors into memory. ``ref`` is a reference, or a path (an os.PathLike, or a string that begins with
        ``/``, ``./``, ``../`` or ``~``). ``tensors``: globs over names."""
        return _load(self._handle(), ref, tensors, verify, copy, progress)

    # ---- find ----

    def ls(self, name: Optional[str] = None, *, filter: Optional[str] = None, sort: Optional[str] = None, limit: int = 0,
           page: Optional[str] = None, deleted: bool = False) -> Json:
        """A page of versions (of one model, or of all): ``{"versions": [...], "next": token or None, "revision": n}``."""
        return self._list(lib.lode_ls_versions, name, "struct lode_versions *", lib.lode_versions_release, "versions",
                          lib.lode_version_json, filter, sort, limit, page, deleted)

    def models(self, namespace: Optional[str] = None, *, filter: Optional[str] = None, sort: Optional[str] = None, limit: int = 0,
               page: Optional[str] = None) -> Json:
        """A page of models: ``{"models": [...], "next": token or None, "revision": n}``."""
        return self._list(lib.lode_ls_models, namespace, "struct lode_models *", lib.lode_models_release, "models",
                          lib.lode_model_info_json, filter, sort, limit, page, False)

    def _list(self, function, what, kind, release, key, to_json, filter, sort, limit, page, deleted) -> Json:
        keep, err, out = Keep(), new_err(), ffi.new(kind)
        o = ffi.new("struct lode_list_options *")
        o.filter, o.sort, o.page = keep.str(filter), keep.str(sort), keep.str(page)
        o.limit, o.deleted = limit, deleted
        check(function(self._handle(), keep.str(what), o, out, err), err)
        return self._page(out, release, key, to_json)

    @staticmethod
    def _page(out, release, key, to_json) -> Json:
        import json
        try:
            items = [json.loads(take(to_json(out.items + i))) for i in range(out.n)]
            token = None if out.next == ffi.NULL else ffi.string(out.next).decode()
            return {key: items, "next": token, "revision": out.revision}
        finally:
            release(out)

    def versions(self, name: Optional[str] = None, **query: Any) -> Iterator[Json]:
        """Every version, page after page."""
        page: Optional[str] = None
        while True:
            answer = self.ls(name, page=page, **query)
            yield from answer["versions"]
            page = answer["next"]
            if page is None:
                return

    def show(self, ref: str, *, tensors: bool = False) -> Json:
        """``{"version": {...}, "files": [...]}``, with tensors ``"tensors": [...]`` too."""
        keep = Keep()
        return json_call(lib.lode_describe, self._handle(), keep.str(ref), tensors)

    def resolve(self, ref: str) -> Json:
        """The facts of the version that a reference means now."""
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_version *")
        check(lib.lode_show(self._handle(), keep.str(ref), out, err), err)
        return json_of(lib.lode_version_json, out, lib.lode_version_release)

    def model(self, name: str) -> Json:
        """A model's facts: latest, aliases, number of versions."""
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_model_info *")
        check(lib.lode_show_model(self._handle(), keep.str(name), out, err), err)
        return json_of(lib.lode_model_info_json, out, lib.lode_model_info_release)

    # ---- change ----

    def tag(self, ref: str, tags: Dict[str, Optional[str]], why: Optional[str] = None) -> Json:
        """Sets tags; a value of None removes. Answers the version."""
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_version *")
        array, n = keep.tags(tags)
        check(lib.lode_tag(self._handle(), keep.str(ref), array, n, Call(keep, why).struct, out, err), err)
        return json_of(lib.lode_version_json, out, lib.lode_version_release)

    def metric(self, ref: str, metrics: Dict[str, Optional[float]], why: Optional[str] = None) -> Json:
        """Sets evaluation results; a value of None removes. Answers the version."""
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_version *")
        array, n = keep.metrics(metrics)
        check(lib.lode_set_metrics(self._handle(), keep.str(ref), array, n, Call(keep, why).struct, out, err), err)
        return json_of(lib.lode_version_json, out, lib.lode_version_release)

    def promote(self, ref: str, alias: str, why: Optional[str] = None) -> Json:
        """Points an alias at a version; answers the journal entry."""
        return self._entry(lib.lode_alias_set, ref, alias, why)

    alias_set = promote

    def alias_remove(self, name: str, alias: str, why: Optional[str] = None) -> Json:
        """Removes an alias; answers the journal entry."""
        return self._entry(lib.lode_alias_remove, name, alias, why)

    def rollback(self, name: str, alias: str, why: Optional[str] = None) -> Json:
        """Points an alias back at what it was before; answers the journal entry."""
        return self._entry(lib.lode_rollback, name, alias, why)

    def _entry(self, function, first: str, second: str, why: Optional[str]) -> Json:
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_journal_entry *")
        check(function(self._handle(), keep.str(first), keep.str(second), Call(keep, why).struct, out, err), err)
        return json_of(lib.lode_journal_entry_json, out, lib.lode_journal_entry_release)

    def alias_at(self, name: str, alias: str, when: Union[float, "datetime.datetime"]) -> Json:
        """Which version an alias was at a moment (a datetime with a zone, or seconds since 1970 UTC)."""
        seconds = when if isinstance(when, (int, float)) else when.timestamp()
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_journal_entry *")
        check(lib.lode_alias_at(self._handle(), keep.str(name), keep.str(alias), int(seconds * 1000), out, err), err)
        return json_of(lib.lode_journal_entry_json, out, lib.lode_journal_entry_release)

    def log(self, name: Optional[str] = None, alias: Optional[str] = None, *, limit: int = 0, page: Optional[str] = None) -> Json:
        """A page of the journal, newest first: ``{"entries": [...], "next": token or None, "revision": n}``."""
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_journal *")
        check(lib.lode_log_entries(self._handle(), keep.str(name), keep.str(alias), limit, keep.str(page), out, err), err)
        return self._page(out, lib.lode_journal_release, "entries", lib.lode_journal_entry_json)

    def rm(self, ref: str, *, dry_run: bool = False, why: Optional[str] = None) -> Json:
        """Deletes a version (HeldError while an alias or a reader holds it); answers it."""
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_version *")
        check(lib.lode_remove(self._handle(), keep.str(ref), dry_run, Call(keep, why).struct, out, err), err)
        return json_of(lib.lode_version_json, out, lib.lode_version_release)

    def restore(self, ref: str, why: Optional[str] = None) -> Json:
        """Undoes rm within the grace period; answers the version."""
        keep, err, out = Keep(), new_err(), ffi.new("struct lode_version *")
        check(lib.lode_restore(self._handle(), keep.str(ref), Call(keep, why).struct, out, err), err)
        return json_of(lib.lode_version_json, out, lib.lode_version_release)

    # ---- watch ----

    def watch(self, name: Optional[str] = None, *, from_event: Optional[str] = None, timeout: Optional[float] = None) -> "Watch":
        """Every change from now on, or after ``from_event``, as an iterator and async iterator of journal entries.

        With ``timeout`` the iteration ends after so many seconds without a change."""
        watch = Watch(self._handle(), name, from_event, timeout)
        self._watches.add(watch)
        return watch

    # ---- keep in order ----

    def diff(self, a: str, b: str) -> Json:
        """Files and tensors of two versions: same, changed, added, removed."""
        keep = Keep()
        return json_call(lib.lode_diff, self._handle(), keep.str(a), keep.str(b))

    def verify(self, ref: Optional[str] = None) -> Json:
        """Reads every byte of a version, or of all; ``report["clean"]``."""
        keep = Keep()
        call = Call(keep)
        return json_call(lib.lode_verify, self._handle(), keep.str(ref), call.struct, call=call)

    def gc(self, *, grace_seconds: Optional[float] = None, dry_run: bool = False) -> Json:
        """Frees the bytes of deleted versions and abandoned pushes."""
        call = Call(Keep())
        o = ffi.new("struct lode_gc_options *")
        o.grace_ms = -1 if grace_seconds is None else int(grace_seconds * 1000)
        o.dry_run, o.call = dry_run, call.struct
        return json_call(lib.lode_gc, self._handle(), o, call=call)

    def doctor(self) -> Json:
        """Checks the root, the store, the coord and this machine."""
        return json_call(lib.lode_doctor, self._handle())


class Watch:
    """An iterator, and async iterator, over journal entries. Close it, or use it as a context manager."""

    def __init__(self, lode, name: Optional[str], from_event: Optional[str], timeout: Optional[float]) -> None:
        keep, out, err = Keep(), ffi.new("struct lode_watch **"), new_err()
        check(lib.lode_watch_open(lode, keep.str(name), keep.str(from_event), out, err), err)
        self._root = lode                # the coord beneath must outlive the watch
        self._watch = ffi.gc(out[0], lib.lode_watch_close)
        self._timeout = timeout
        self._lock = threading.Lock()    # held inside the C call: close waits until nobody is there
        self._closed = False
        self._kept: List[Json] = []      # events whose task was cancelled while they came

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        """Ends the watch, also one that waits in another thread. Twice is fine."""
        self._closed = True
        with self._lock:
            watch, self._watch = self._watch, None
            if watch is not None:
                ffi.release(watch)

    def _step(self, milliseconds: int) -> Optional[Json]:
        """One wait; None when there was no change. StopIteration is not raised here: it cannot cross a thread."""
        with self._lock:
            if self._closed:
                raise ValueError("this lode.Watch is closed")
            out, err = ffi.new("struct lode_journal_entry *"), new_err()
            r = lib.lode_watch_next(self._watch, milliseconds, out, err)
        if r == lib.LODE_TIMEOUT:
            return None
        check(r, err)
        return json_of(lib.lode_journal_entry_json, out, lib.lode_journal_entry_release)

    @staticmethod
    def _waits(timeout: Optional[float]) -> Iterator[int]:
        """Milliseconds of one wait after another, until the time is up."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _TICK_MS if until is None else max(0, int((until - time.monotonic()) * 1000) + 1)
            yield min(_TICK_MS, left)
            if until is not None and time.monotonic() >= until:
                return

    def next(self, timeout: Optional[float] = None) -> Json:
        """The next change; TimeoutError after ``timeout`` seconds without one (None: never)."""
        for wait in self._waits(timeout):
            entry = self._step(wait)
            if entry is not None:
                return entry
        raise TimeoutError(f"no change within {timeout} s")

    def __iter__(self) -> Iterator[Json]:
        return self

    def __next__(self) -> Json:
        try:
            return self.next(self._timeout)
        except TimeoutError:
            raise StopIteration from None

    def __aiter__(self) -> AsyncIterator[Json]:
        return self

    async def __anext__(self) -> Json:
        # Short steps: a cancelled task leaves no thread behind that waits for ever. An event that a step has taken when
        # the task is cancelled would be lost, so a step that runs is waited for and its event kept for the next call.
        if self._kept:
            return self._kept.pop(0)
        loop = asyncio.get_running_loop()
        for wait in self._waits(self._timeout):
            step = loop.run_in_executor(None, self._step, wait)
            try:
                entry = await asyncio.shield(step)
            except asyncio.CancelledError:
                step.add_done_callback(self._keep)
                raise
            if entry is not None:
                return entry
        raise StopAsyncIteration

    def _keep(self, step) -> None:
        if not step.cancelled() and step.exception() is None and step.result() is not None:
            self._kept.append(step.result())


def _load(lode, ref, tensors, verify, copy, progress) -> Model:
    keep, err, out = Keep(), new_err(), ffi.new("struct lode_model **")
    call = Call(keep, None, progress)
    o = ffi.new("struct lode_load_options *")
    o.tensors, o.n_tensors = keep.strs(_many(tensors))
    o.no_verify, o.copy, o.call = not verify, copy, call.struct
    what = os.path.abspath(os.fspath(ref)) if isinstance(ref, os.PathLike) else ref
    call.check(lib.lode_load(lode, keep.str(what), o, out, err), err)
    return Model(out[0])


def is_path(ref: Union[str, "os.PathLike[str]"]) -> bool:
    """True for what means a path and not a reference."""
    return isinstance(ref, os.PathLike) or ref in (".", "..") or ref.startswith(("/", "./", "../", "~"))


def load_path(path, tensors=None, verify=True, copy=False, progress=None) -> Model:
    """Loads a local file or directory: no root is needed."""
    return _load(ffi.NULL, path, tensors, verify, copy, progress)
