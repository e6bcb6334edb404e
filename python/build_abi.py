"""Makes lode/_abi.py, the cffi module (out-of-line, ABI mode), from Lode's public headers.

    build_abi.py COMPILER INCLUDE_DIR OUTPUT

The headers go through the preprocessor with empty system headers, so that macros and enums are exactly those of the C
library and nothing has to be written twice.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import cffi

SYSTEM_HEADERS = ("stdbool.h", "stddef.h", "stdint.h", "stdarg.h")


def preprocess(compiler: str, include: pathlib.Path) -> str:
    """The declarations of lode.h and all it includes, without any of the system's."""
    with tempfile.TemporaryDirectory() as empty:
        for name in SYSTEM_HEADERS:
            pathlib.Path(empty, name).touch()
        command = [compiler, "-E", "-P", "-nostdinc", "-x", "c", f"-I{empty}", f"-I{include}", "-Dbool=_Bool",
                   "-D__attribute__(x)=", str(include / "lode" / "lode.h")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    compiler, include, output = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    ffi = cffi.FFI()
    ffi.cdef(re.sub(r"\bextern\s+\"C\"\s*\{", "", preprocess(compiler, include)))
    ffi.set_source("_abi", None)
    output.parent.mkdir(parents=True, exist_ok=True)
    ffi.emit_python_code(str(output))


main()
