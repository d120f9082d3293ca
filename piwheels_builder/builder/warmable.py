"""Which environments a warm parent may hold, and what it imports.

A parent is shared by every build of its environment, so it holds only distributions that are known: widely used build backends,
what they need, and nothing that a single project brings along. Each of these lets itself be imported without side effects, starts
no thread, and keeps no state of one build for the next. Any other environment gets a fresh interpreter for each build.
"""

from collections.abc import Collection

#: By distribution (normalized), what a build imports of it.
_MODULES: dict[str, tuple[str, ...]] = {
    "setuptools": (
        "setuptools.build_meta",
        "setuptools.command.bdist_wheel",
        "setuptools.command.build_ext",
        "setuptools.command.build_py",
        "setuptools.command.build_clib",
        "setuptools.command.dist_info",
        "setuptools.command.editable_wheel",
        "setuptools.command.egg_info",
        "setuptools.command.install",
        "setuptools.command.install_egg_info",
        "setuptools.command.install_lib",
        "setuptools.command.install_scripts",
        "setuptools.command.sdist",
        "distutils.command.build",
        "distutils.command.build_scripts",
        "distutils.command.install_data",
        "distutils.command.install_headers",
    ),
    "wheel": ("wheel.bdist_wheel", "wheel.wheelfile"),
    "flit-core": ("flit_core.buildapi", "flit_core.wheel"),
    "hatchling": ("hatchling.build", "hatchling.builders.wheel", "hatchling.metadata.core"),
    "poetry-core": ("poetry.core.masonry.api", "poetry.core.masonry.builders.wheel"),
    "pdm-backend": ("pdm.backend",),
    "setuptools-scm": ("setuptools_scm",),
    "vcs-versioning": (),
    "hatch-vcs": (),
    "hatch-fancy-pypi-readme": (),
    "packaging": (),
    "pathspec": (),
    "pluggy": (),
    "tomli": (),
    "trove-classifiers": (),
    "typing-extensions": (),
    "more-itertools": (),
    "cython": ("Cython.Build", "Cython.Compiler.Main"),
    "pybind11": (),
    "cffi": (),
    "pycparser": (),
    "pbr": (),
}


def modules_to_warm(names: Collection[str]) -> tuple[str, ...] | None:
    """What a parent of an environment with these distributions imports; None where it has one that isn't known."""
    if not names or not all(name in _MODULES for name in names):
        return None
    return tuple(module for name in sorted(names) for module in _MODULES[name])
