"""Lets distutils compile the sources of an extension side by side. Runs inside the sandbox, in the build's environment.

distutils compiles one file after the other, even where setuptools is told to build extensions in parallel; most projects have one
extension with many files.
"""

import contextlib
import importlib
import sys
from typing import Any, Callable, List  # noqa: UP035 - Python 3.8

_OWN = ("distutils.", "setuptools._distutils.")


def use_cores(jobs: int) -> None:
    """Have the compilers of setuptools' distutils, where the backend is made of it, compile so many files at once."""
    if "setuptools" in sys.modules:
        # An odd setuptools of a project's own compiles one by one.
        with contextlib.suppress(ImportError, AttributeError):
            compiler = importlib.import_module("distutils.ccompiler").CCompiler
            compiler.compile = _side_by_side(compiler.compile, jobs)


def _side_by_side(one_by_one: Callable[..., List[str]], jobs: int) -> Callable[..., List[str]]:  # noqa: UP006 - Python 3.8
    """``CCompiler.compile``, with each call of ``_compile`` in a thread of its own, all awaited before it returns."""

    def compile_all(self: Any, *arguments: Any, **options: Any) -> List[str]:  # noqa: UP006 - Python 3.8
        # Here, since most builds compile nothing.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        # A project that replaced it may switch compilers between files: leave that alone.
        if not _is_own(self):
            return one_by_one(self, *arguments, **options)
        compile_one = self._compile
        with ThreadPoolExecutor(jobs) as threads:
            started = []
            self._compile = lambda *its: started.append(threads.submit(compile_one, *its))
            try:
                objects = one_by_one(self, *arguments, **options)
            finally:
                del self._compile
            for compiled in started:
                compiled.result()
        return objects

    return compile_all


def _is_own(compiler: Any) -> bool:
    return "_compile" not in vars(compiler) and type(compiler)._compile.__module__.startswith(_OWN)
