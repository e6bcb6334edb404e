"""Lode's errors: one class for each code of <lode/err.h>, all of them LodeError.

Where Python has a class of the same meaning, ours is one of those too, so that ``except FileNotFoundError`` works.
"""
from __future__ import annotations


class LodeError(Exception):
    """What failed, on what, why, and what to do.

    Attributes:
        code: the error's name, such as ``"not_found"``; stable.
    """

    code = "internal"


class InvalidError(LodeError, ValueError):
    """The request itself is wrong."""
    code = "invalid"


class NotFoundError(LodeError, FileNotFoundError):
    """There is no such thing."""
    code = "not_found"


class ExistsError(LodeError, FileExistsError):
    """The name is taken."""
    code = "exists"


class ConflictError(LodeError):
    """Somebody else changed it first."""
    code = "conflict"


class DeniedError(LodeError, PermissionError):
    """Not allowed."""
    code = "denied"


class CorruptError(LodeError):
    """Bytes do not match their digest or their format."""
    code = "corrupt"


class UnavailableError(LodeError, ConnectionError):
    """Cannot be reached or is busy; worth a retry."""
    code = "unavailable"


class TimeoutError(LodeError, TimeoutError):
    """Took longer than its deadline."""
    code = "timeout"


class NoSpaceError(LodeError, OSError):
    """No room left."""
    code = "no_space"


class LimitError(LodeError):
    """Over a named limit."""
    code = "limit"


class IOFailure(LodeError, OSError):
    """The device or the network failed."""
    code = "io"


class NoMemoryError(LodeError, MemoryError):
    """Out of memory."""
    code = "no_memory"


class CancelledError(LodeError):
    """Stopped by the caller."""
    code = "cancelled"


class UnsupportedError(LodeError, NotImplementedError):
    """This back end or file cannot do that."""
    code = "unsupported"


class CompactedError(LodeError):
    """History that old is gone: list again."""
    code = "compacted"


class LostLeaseError(LodeError):
    """The lease was lost; nothing more may be written under it."""
    code = "lost_lease"


class MovedError(LodeError):
    """The root lives elsewhere now."""
    code = "moved"


class ChangedError(LodeError):
    """The source changed while it was read."""
    code = "changed"


class UnauthenticatedError(LodeError, PermissionError):
    """A valid token is needed."""
    code = "unauthenticated"


class BehindError(LodeError):
    """The server has not seen that revision yet."""
    code = "behind"


class HeldError(LodeError):
    """Something still refers to it."""
    code = "held"


class ReadOnlyError(LodeError, PermissionError):
    """Opened or mounted read-only."""
    code = "read_only"


class SchemaError(LodeError):
    """Written by another schema of Lode."""
    code = "schema"


class PreconditionError(LodeError):
    """A condition of the request does not hold."""
    code = "precondition"


_BY_CODE = {c.code: c for c in LodeError.__subclasses__()}


def error_of(code: str, text: str) -> LodeError:
    """The exception for a code's name and its message."""
    error = _BY_CODE.get(code, LodeError)(text)
    if type(error) is LodeError:
        error.code = code
    return error
