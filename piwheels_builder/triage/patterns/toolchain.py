# ruff: noqa: E501 - expressions and what programs print are as long as they are
"""The toolchain: headers, libraries and programs that it lacks, and sources that it refuses."""

from piwheels_builder.states import Outcome
from piwheels_builder.triage.pattern import Pattern, Where

HEADERS = (
    Pattern(
        Outcome.MISSING_HEADER,
        r"fatal error: (?P<missing>[\w./+-]+\.(h|hh|hpp|hxx|H)|boost/\S+|Eigen/\S+): No such file",
        "src/a.c:3:10: fatal error: ffi.h: No such file or directory",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"fatal error: '(?P<missing>\S+)' file not found",
        "a.c:1:10: fatal error: 'zlib.h' file not found",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"ld: cannot find -l(?P<missing>[^\s:]+)",
        "/usr/bin/ld: cannot find -lbluetooth: No such file or directory",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"Package '?(?P<missing>[\w.+-]+)'? was not found in the pkg-config",
        "Package dbus-1 was not found in the pkg-config search path.",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"No package '(?P<missing>[^']+)' found",
        "No package 'libsystemd' found",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"Package '(?P<missing>[^']+)', required by '[^']+', not found",
        "Package 'cairo', required by 'virtual:world', not found",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"Could (NOT|not) find (?P<missing>\w+) \(missing: \S*(INCLUDE|LIBRAR)",
        "Could NOT find ZLIB (missing: ZLIB_LIBRARY ZLIB_INCLUDE_DIR)",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"(?P<missing>lib[\w+-]+)\.so[.\d]*: cannot open shared object file",
        "SystemExit: error: libhdf5.so: cannot open shared object file: No such file or directory",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"(could not find|couldn't find|did not find|unable to find|can't find|cannot find|cannot locate)( the| an?| local| any)* (?P<missing>[\w+.-]+( DB)?)( \w+){0,2} (headers?|includes?|librar(y|ies)|development|(software )?installation)",
        "RuntimeError: Could not find the libxml2 development files",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"you (need to|must|should) install (the )?(?P<missing>[\w+.-]+)( development)? (headers|libraries|development)",
        "You need to install libcap development headers to build this module",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"(?P<missing>[\w+.-]+) (headers|library|libraries|development files) (not found|(is|are) (missing|required|not installed))",
        "error: zlib headers not found",
        where=Where.LAST_WORDS,
    ),
)

PROGRAMS = (
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(?P<missing>[\w.-]+[-_]config\w*) (executable )?(was )?not found",
        "Error: pg_config executable not found.",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(unable to|could not|cannot|can't) (find|run|locate|execute) (the )?[\"'`]?(?P<missing>[\w.-]+[-_]config)",
        'SystemExit: Unable to run "sdl-config". Please make sure a development version of SDL is installed.',
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"error: command '(?P<missing>[^']+)' failed: No such file",
        "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(sh|make|bash|missing)(\[\d+\])?: (\d+: |line \d+: )?(?P<missing>[^\s:]+): (command )?not found",
        "/bin/sh: 1: pg_config: not found",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(FileNotFoundError|PermissionError|NotADirectoryError): \[Errno \d+\] [\w ]+: '(?P<missing>git|hg|svn|make|cmake|cargo|rustc|gcc|g\+\+|swig|pkg-config|java|javac|npm|node|go|nvcc|ninja|meson|gfortran|mpicc|[\w.-]+[-_]config|autoreconf|bison|flex|protoc|qmake|patch|wget|curl|sip|lsb_release)'",
        "FileNotFoundError: [Errno 2] No such file or directory: 'cmake'",
    ),
    Pattern(Outcome.MISSING_PROGRAM, r"can't find (?P<missing>Rust) compiler", "error: can't find Rust compiler"),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"do you have (?P<missing>cargo) in your PATH",
        "Caused by: Cargo metadata failed. Do you have cargo in your PATH?",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(?P<missing>CMake) must be installed to build",
        "RuntimeError: CMake must be installed to build the following extensions: x",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"unable to execute '?(?P<missing>[^\s':]+)'?: No such file",
        "unable to execute 'swig': No such file or directory",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(?P<missing>cargo|rustc|maturin|cmake|ninja|swig|gfortran|javac?|meson|mpicc|nvcc)\b.{0,60}(is not installed|not found|could not be found|not on PATH|is not (available|on PATH))",
        "Cargo, the Rust package manager, is not installed or is not on PATH.",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"no acceptable C compiler found|Unknown compiler\(s\)|No CMAKE_\S+ could be found|fortran compiler (not|cannot be) found",
        "configure: error: no acceptable C compiler found in $PATH",
    ),
)

#: Compilers give their reason long before the end, and what failed for another reason often compiled something too.
COMPILER = (
    Pattern(
        Outcome.COMPILE_ERROR,
        r"\.(c|cc|cpp|cxx|h|hpp|pyx|f90|rs|m|s|inc|i|tcc):\d+:(\d+:)? (fatal )?error: ",
        "src/x.c:12:5: error: expected ';' before 'return'",
        where=Where.WHOLE_LOG,
    ),
    Pattern(Outcome.COMPILE_ERROR, r"^error\[E\d{4}\]: ", "error[E0432]: unresolved import `std::x`", where=Where.WHOLE_LOG),
    Pattern(
        Outcome.COMPILE_ERROR,
        r"undefined reference to|ld returned \d+ exit status|multiple definition of",
        "collect2: error: ld returned 1 exit status",
        where=Where.WHOLE_LOG,
    ),
    Pattern(Outcome.COMPILE_ERROR, r"Error compiling Cython file", "Error compiling Cython file:", where=Where.WHOLE_LOG),
    Pattern(
        Outcome.COMPILE_ERROR,
        r"error: command '\S*(gcc|g\+\+|cc|c\+\+|clang|ld|rustc|cargo|gfortran|nvcc)\S*' failed|error: could not compile `|error: Command '\['\S*(gcc|g\+\+|cc|c\+\+|clang|ld|rustc|cargo|gfortran|nvcc)'",
        "error: command '/usr/bin/gcc' failed with exit code 1",
        where=Where.WHOLE_LOG,
    ),
)
