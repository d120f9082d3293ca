# ruff: noqa: E501, S108 - expressions and what programs print are as long as they are, and name their temporary files
"""What failing builds print, and what it means. One table; the example beside each expression is its test."""

import re
from dataclasses import dataclass

from piwheels_builder.states import Outcome


@dataclass(frozen=True)
class Pattern:
    """``expression`` is searched in one line at a time, without regard to case. ``example``: a line as really seen."""

    outcome: Outcome
    expression: str
    example: str

    @property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.expression, re.IGNORECASE)


#: Strongest first: the first that is found anywhere in the log decides, and of its finds the last is the error line.
PATTERNS = (
    # What is the machine's trouble and not the release's.
    Pattern(
        Outcome.DISK_FULL,
        r"No space left on device|\bENOSPC\b",
        "/tmp/ccX.s: fatal error: error writing to /tmp/ccX.s: No space left on device",
    ),
    Pattern(Outcome.DISK_FULL, r"Disk quota exceeded", "OSError: [Errno 122] Disk quota exceeded: 'build/lib'"),
    Pattern(
        Outcome.OUT_OF_MEMORY,
        r"fatal error: Killed signal terminated program",
        "g++: fatal error: Killed signal terminated program cc1plus",
    ),
    Pattern(
        Outcome.OUT_OF_MEMORY,
        r"virtual memory exhausted|out of memory allocating",
        "cc1plus: out of memory allocating 65536 bytes after a total of 8 bytes",
    ),
    Pattern(Outcome.OUT_OF_MEMORY, r"^MemoryError\b|std::bad_alloc", "MemoryError"),
    # What the toolchain lacks.
    Pattern(
        Outcome.MISSING_HEADER,
        r"fatal error: \S+\.(h|hh|hpp|hxx|H): No such file",
        "src/a.c:3:10: fatal error: ffi.h: No such file or directory",
    ),
    Pattern(Outcome.MISSING_HEADER, r"fatal error: '\S+' file not found", "a.c:1:10: fatal error: 'zlib.h' file not found"),
    Pattern(Outcome.MISSING_HEADER, r"ld: cannot find -l\S+", "/usr/bin/ld: cannot find -lbluetooth: No such file or directory"),
    Pattern(
        Outcome.MISSING_HEADER,
        r"No package '\S+' found|Package \S+ was not found in the pkg-config",
        "Package dbus-1 was not found in the pkg-config search path.",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"Could (NOT|not) find \S+ \(missing: \S*(INCLUDE|LIBRAR)",
        "Could NOT find ZLIB (missing: ZLIB_LIBRARY ZLIB_INCLUDE_DIR)",
    ),
    Pattern(
        Outcome.MISSING_HEADER,
        r"(could not find|unable to find|can't find|cannot find).{0,60}(header|include|library|development files)",
        "RuntimeError: Could not find the libxml2 development files",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"error: command '[^']+' failed: No such file",
        "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(sh|make|bash)(\[\d+\])?: (\d+: |line \d+: )?\S+: (command )?not found",
        "/bin/sh: 1: pg_config: not found",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"FileNotFoundError: \[Errno 2\] No such file or directory: '(git|hg|svn|make|cmake|cargo|rustc|gcc|g\+\+|swig|pkg-config|java|javac|npm|node|go|nvcc|ninja|meson|gfortran|\S+[-_]config|\./configure|autoreconf|bison|flex|protoc|qmake|patch|wget|curl)'",
        "FileNotFoundError: [Errno 2] No such file or directory: 'cmake'",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"pg_config executable not found|(mysql|pg|curl|sdl2?|llvm)[-_]config:? (executable )?not found",
        "Error: pg_config executable not found.",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"can't find Rust compiler|CMake must be installed to build|unable to execute '?\S+'?: No such file",
        "error: can't find Rust compiler",
    ),
    Pattern(
        Outcome.MISSING_PROGRAM,
        r"(no acceptable C compiler found|Unknown compiler\(s\)|No CMAKE_\S+ could be found|fortran compiler (not|cannot be) found)",
        "configure: error: no acceptable C compiler found in $PATH",
    ),
    # Python 2.
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"SyntaxError: Missing parentheses in call to '(print|exec)'",
        "SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?",
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"SyntaxError: multiple exception types must be parenthesized",
        "SyntaxError: multiple exception types must be parenthesized",
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"SyntaxError: leading zeros in decimal integer",
        "SyntaxError: leading zeros in decimal integer literals are not permitted",
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"NameError: name '(unicode|xrange|raw_input|execfile|basestring|reload|long|unichr|file)' is not defined",
        "NameError: name 'execfile' is not defined. Did you mean: 'exec'?",
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"ModuleNotFoundError: No module named '(ConfigParser|urllib2|urlparse|StringIO|cStringIO|Queue|httplib|__builtin__|commands|cPickle|HTMLParser|Tkinter|exceptions|sets|md5|SocketServer|itertools\.izip|xmlrpclib|copy_reg|thread)'",
        "ModuleNotFoundError: No module named 'ConfigParser'",
    ),
    Pattern(
        Outcome.PYTHON2_ONLY, r"TabError: inconsistent use of tabs", "TabError: inconsistent use of tabs and spaces in indentation"
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"AttributeError: 'dict' object has no attribute '(has_key|iteritems|itervalues|iterkeys)'",
        "AttributeError: 'dict' object has no attribute 'has_key'",
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"requires? python ?(2(\.\d)?|<= ?2|version 2)|only (supports|works with|runs on) python ?2|does not (support|work with) python ?3|python ?3 is not supported",
        "RuntimeError: this package requires Python 2.7",
    ),
    # The tools of today.
    Pattern(Outcome.PYTHON_API_GONE, r"use_2to3 is invalid", "error in pkg setup command: use_2to3 is invalid."),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"ModuleNotFoundError: No module named '(distutils|imp|asyncore|asynchat|pipes|cgi|lib2to3|pkg_resources|numpy\.distutils|setuptools\.(command\.test|_distutils\.msvccompiler|extern)|smtpd|telnetlib|crypt|nntplib|imghdr)(\.\S+)?'",
        "ModuleNotFoundError: No module named 'imp'",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"AttributeError: module '(platform|inspect|collections|time|string|locale|configparser|pkgutil|setuptools[.\w]*|ast|types|asyncio|importlib|array|unittest|os|sys|gettext|base64|cgi|fractions|math|threading)' has no attribute",
        "AttributeError: module 'platform' has no attribute 'linux_distribution'",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"ImportError: cannot import name '\S+' from '(collections|setuptools[.\w]*|distutils[.\w]*|pip[.\w]*|wheel[.\w]*|inspect|fractions|typing|importlib[.\w]*|Cython[.\w]*)'",
        "ImportError: cannot import name 'Feature' from 'setuptools' (/env/lib/python3.11/site-packages/setuptools/__init__.py)",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"error: .*('PyThreadState'|'struct _ts'|'PyTypeObject'|'PyCodeObject'|'PyFrameObject'|'struct _(typeobject|frame)').* has no member named|has no member named '(tp_print|cr_\w+|exc_type|ob_shash|use_tracing|co_\w+)'",
        "src/_yaml.c:17: error: 'PyTypeObject' {aka 'struct _typeobject'} has no member named 'tp_print'",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"(longintrepr\.h|pyexpat\.h|pythread_old\.h): No such file|implicit declaration of function '_?Py\w+'",
        "error: implicit declaration of function 'PyUnicode_GET_SIZE'",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"Cython\.Compiler\.Errors\.CompileError|AttributeError: cython_sources",
        "AttributeError: cython_sources",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"AttributeError: '\w*(ConfigParser|install_layout|Distribution|build_py|SafeConfigParser)\w*' object has no attribute",
        "AttributeError: 'ConfigParser' object has no attribute 'readfp'. Did you mean: 'read'?",
    ),
    # The network, and people who are not there.
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"Temporary failure in name resolution|Name or service not known|Could not resolve host|getaddrinfo (failed|ENOTFOUND|EAI_AGAIN)",
        "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
    ),
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"Network is unreachable|Failed to establish a new connection",
        "OSError: [Errno 101] Network is unreachable",
    ),
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"No matching distribution found for|Could not find a version that satisfies the requirement",
        "ERROR: No matching distribution found for cython>=0.29",
    ),
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"spurious network error|failed to download from `|unable to access 'https?://",
        "fatal: unable to access 'https://host.invalid/x.git/': Could not resolve proxy",
    ),
    Pattern(Outcome.PROMPTED, r"EOFError: EOF when reading a line", "EOFError: EOF when reading a line"),
    Pattern(
        Outcome.PROMPTED,
        r"could not read (Username|Password) for|terminal prompts disabled|termios\.error: .*Inappropriate ioctl|GetPassWarning",
        "fatal: could not read Username for 'https://host.invalid': terminal prompts disabled",
    ),
    # Those who say no.
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"(please|you must|you should) (do not )?(run|use|install).{0,80}instead|do not install this package|this package (is|has been) (deprecated|removed|renamed|a placeholder|moved)",
        "RuntimeError: This package has been renamed: pip install other",
    ),
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"sklearn' (pypi|package).{0,40}deprecated|(is|are) not supported on (this platform|linux|\S+ platform)|only (supports|supported on|works on|runs on) (windows|mac\s?os|osx|darwin)|requires (windows|mac\s?os|a raspberry)|(windows|mac ?os) only",
        "RuntimeError: This package only works on Windows",
    ),
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"(requires|needs) python ?(>=|version)? ?3\.\d+|unsupported python version|python version \S+ (is )?(not|un)supported|requires at least python",
        "RuntimeError: Unsupported Python version 3.11",
    ),
    # Imports: after the modules whose absence says more.
    Pattern(Outcome.IMPORT_ERROR, r"ModuleNotFoundError: No module named ", "ModuleNotFoundError: No module named 'numpy'"),
    Pattern(Outcome.IMPORT_ERROR, r"ImportError: ", "ImportError: cannot import name 'setup' from 'mytools'"),
    Pattern(
        Outcome.IMPORT_ERROR,
        r"(pip install|install) (numpy|cython) (first|before)|numpy (is required|must be installed)",
        "Please install numpy first",
    ),
    # The compiler and the linker.
    Pattern(
        Outcome.COMPILE_ERROR,
        r"\.(c|cc|cpp|cxx|h|hpp|pyx|f90|rs|m|s):\d+:(\d+:)? (fatal )?error: ",
        "src/x.c:12:5: error: expected ';' before 'return'",
    ),
    Pattern(
        Outcome.COMPILE_ERROR,
        r"undefined reference to|ld returned \d+ exit status|multiple definition of",
        "collect2: error: ld returned 1 exit status",
    ),
    Pattern(
        Outcome.COMPILE_ERROR,
        r"error: command '\S*(gcc|g\+\+|cc|c\+\+|clang|ld|rustc|cargo|gfortran|nvcc)\S*' failed|error: could not compile `",
        "error: command '/usr/bin/gcc' failed with exit code 1",
    ),
    Pattern(Outcome.COMPILE_ERROR, r"Error compiling Cython file", "Error compiling Cython file:"),
    Pattern(Outcome.PYTHON2_ONLY, r"^SyntaxError: invalid syntax", "SyntaxError: invalid syntax"),
)
