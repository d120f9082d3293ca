# ruff: noqa: E501 - expressions and what programs print are as long as they are
"""Python itself and what builds bring along in Python: what is of Python 2, what is gone since, what is not there to import."""

from datetime import date

from piwheels_builder.states import Outcome
from piwheels_builder.triage.pattern import OWN_DAY, Pattern, Where

PYTHON2 = (
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
        r"SyntaxError: (leading zeros in decimal integer|invalid token)|SyntaxError: (Lambda expression|Function) parameters cannot be parenthesized",
        "SyntaxError: leading zeros in decimal integer literals are not permitted",
    ),
    # Any other SyntaxError says so only by the line it is about.
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"^(print\b\s*[^\s(=.]|print$|exec\s+[\w\"']|raise\s+[\w.]+\s*,|except\s+[^:]+,\s*\w+\s*:)[^\n]*\n\w*SyntaxError: ",
        'raise ValueError, "no version"\nSyntaxError: invalid syntax',
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"^[^\n]*(`[^`\n]+`|\s<>\s|\bur[\"']|\b0[xX]?[0-9a-fA-F]+L\b|\b\d+[lL]\b|\b0[0-7]+\b|lambda\s*\()[^\n]*\n\w*SyntaxError: ",
        "if sys.platform <> 'win32':\nSyntaxError: invalid syntax",
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
        r"ImportError: cannot import name '(izip|imap|ifilter|izip_longest|urlencode|quote|urlopen|maketrans)' from",
        "ImportError: cannot import name 'izip' from 'itertools' (unknown location)",
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"requires? python ?(2(\.\d)?|<= ?2|version 2)|(only|just) (supports|works with|runs on|for) python ?2|for python ?2(\.\d)? only|does not (support|work (with|on)) python ?3|python ?3(\.\d+)? is not (yet )?supported|not (be )?(compatible with|used (with|on)|supported (on|under)) python ?3",
        "This backport is for Python 2.7 only.",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.PYTHON2_ONLY,
        r"error: .*\b(PyString_\w+|PyInt_\w+|Py_InitModule\w*|PyCObject_\w+|PyFile_\w+|PyClass_\w+|cmpfunc|PyUnicode_(?:EncodeDecimal|DecodeUTF8Only))\b.*(undeclared|implicit declaration|not declared)",
        "error: 'PyString_FromString' undeclared (first use in this function); did you mean 'PyLong_FromString'?",
    ),
)

TOOLS_OF_TODAY = (
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"use_2to3 is invalid",
        "error in pkg setup command: use_2to3 is invalid.",
        # The last before setuptools 58.
        tools_until=date(2021, 8, 31),
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"ModuleNotFoundError: No module named '(?P<missing>pkg_resources)(\.\S+)?'",
        "ModuleNotFoundError: No module named 'pkg_resources'",
        tools_until=OWN_DAY,
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"ModuleNotFoundError: No module named '(?P<missing>distutils|imp|asyncore|asynchat|pipes|cgi|lib2to3|numpy\.distutils|setuptools\.(command\.\w+|_distutils\.\w+|extern|py3?\w*compat|lib2to3_ex|build_py)|smtpd|telnetlib|crypt|nntplib|imghdr)(\.\S+)?'",
        "ModuleNotFoundError: No module named 'imp'",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"AttributeError: module '(platform|inspect|collections|time|string|locale|configparser|pkgutil|setuptools[.\w]*|ast|types|asyncio|importlib|array|unittest|os|sys|gettext|base64|cgi|fractions|math|threading|distutils[.\w]*|numpy[.\w]*|pip[.\w]*|html\.parser)' has no attribute",
        "AttributeError: module 'platform' has no attribute 'linux_distribution'",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"ImportError: cannot import name '\S+' from '(collections|setuptools[.\w]*|distutils[.\w]*|pip[.\w]*|wheel[.\w]*|inspect|fractions|typing|importlib[.\w]*|Cython[.\w]*|pkg_resources[.\w]*)'",
        "ImportError: cannot import name 'Feature' from 'setuptools' (/env/lib/python3.11/site-packages/setuptools/__init__.py)",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"error: .*'(PyThreadState|struct _ts|PyTypeObject|PyCodeObject|PyFrameObject|PyLongObject|_PyErr_StackItem|struct _(typeobject|frame|is|err_stackitem|longobject)|_PyCFrame)'.* has no member named|has no member named '(tp_print|cr_\w+|exc_type|ob_shash|use_tracing|co_\w+)'|(invalid use of incomplete typedef|dereferencing pointer to incomplete type) '(PyFrameObject|PyThreadState|struct _frame)",
        "src/_yaml.c:17: error: 'PyTypeObject' {aka 'struct _typeobject'} has no member named 'tp_print'",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"fatal error: (Python/|internal/)?(?P<missing>(longintrepr|pystrhex|code|eval|pythread_old|parsetok|Python-ast|asdl|pyarena|pyctype|ucnhash|pyfpe|odictobject|classobject|cellobject|funcobject|genobject|picklebufobject|graminit|pgenheaders)\.h): No such file",
        "src/gmpy2.c:410:10: fatal error: longintrepr.h: No such file or directory",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"error: (implicit declaration of function '_?Py\w+|'_?Py[A-Z]\w+' (undeclared|was not declared)|lvalue required as left operand of assignment|too (few|many) arguments to function '_?Py\w+|unknown type name '_?Py\w+)",
        "error: implicit declaration of function 'PyUnicode_GET_SIZE'; did you mean 'PyUnicode_GET_LENGTH'?",
    ),
    # It compiled with the Cython of its day.
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"^[\w./-]+\.(pyx|pxd|pxi):\d+:\d+: (?!.*(deprecated|warning))",
        "_bspl.pyx:292:34: 'int_t' is not a type identifier",
        tools_until=OWN_DAY,
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"Cython\.Compiler\.Errors\.CompileError",
        "Cython.Compiler.Errors.CompileError: src/_mssql.pyx",
        where=Where.WHOLE_LOG,
        tools_until=OWN_DAY,
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"has no attribute 'cython_sources'|AttributeError: cython_sources",
        "AttributeError: 'build_ext' object has no attribute 'cython_sources'",
        tools_until=OWN_DAY,
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"AttributeError: '\w*(ConfigParser|install_layout|Distribution|build_py|SafeConfigParser|HTMLParser|CCompiler|Compiler)\w*' object has no attribute",
        "AttributeError: 'ConfigParser' object has no attribute 'readfp'. Did you mean: 'read'?",
    ),
    Pattern(Outcome.PYTHON_API_GONE, r"ValueError: invalid mode: 'r?b?U", "ValueError: invalid mode: 'rU'"),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"TypeError: (new_compiler|customize_compiler|run_setup|mkpath|copy_file|copy_tree|spawn)\(\) got an unexpected keyword argument",
        "TypeError: new_compiler() got an unexpected keyword argument 'dry_run'",
        where=Where.LAST_WORDS,
    ),
    # locals() no longer sees what exec() sets (PEP 667).
    Pattern(Outcome.PYTHON_API_GONE, r"^KeyError: '__?version__?'", "KeyError: '__version__'", where=Where.LAST_WORDS),
    # What setuptools and packaging took once, and take no longer.
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"Multiple top-level (packages|modules) discovered in a flat-layout",
        "error: Multiple top-level packages discovered in a flat-layout: ['pyfftw', 'include'].",
    ),
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"Invalid specifier: |InvalidSpecifier: |InvalidVersion: |InvalidRequirement: ",
        "packaging.requirements.InvalidRequirement: Expected semicolon (after name with no version specifier) or end",
        tools_until=OWN_DAY,
    ),
    # async and await became keywords.
    Pattern(
        Outcome.PYTHON_API_GONE,
        r"^[^\n]*(\b(async|await)\s*=|[.]async\b|[,(]\s*async\b|import async\b)[^\n]*\n\w*SyntaxError: ",
        "def submit(self, async=True):\nSyntaxError: invalid syntax",
    ),
)

#: After the modules whose absence says more.
IMPORTS = (
    Pattern(
        Outcome.IMPORT_ERROR,
        r"(ModuleNotFoundError|ImportError): No module named '?(?!pip\b)(?P<missing>\w+)",
        "ModuleNotFoundError: No module named 'numpy'",
    ),
    Pattern(
        Outcome.IMPORT_ERROR,
        r"ImportError: cannot import name \S+ from (partially initialized module )?'(?P<missing>\w+)",
        "ImportError: cannot import name 'setup' from 'mytools' (tools.py)",
    ),
    Pattern(
        Outcome.IMPORT_ERROR,
        r"\b(install|requires?|needs) (the )?['\"`]?(?P<missing>numpy|cython|scipy|pybind11|torch)\b",
        'ImportError: lap requires numpy, please "pip install numpy".',
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.IMPORT_ERROR,
        r"\b(?P<missing>numpy|cython|scipy|pybind11|torch)\b\S*( and \w+)? (is|are|must be) (required|needed|installed|not installed|missing)",
        "SystemExit: Cython>=0.22 and NumPy are required.",
        where=Where.LAST_WORDS,
    ),
    Pattern(Outcome.IMPORT_ERROR, r"\bImportError: ", "ImportError: /env/lib/x.so: undefined symbol: PyUnicode_New"),
    # Asked for after something else went wrong, as often as for itself.
    Pattern(
        Outcome.IMPORT_ERROR,
        r"(ModuleNotFoundError|ImportError): No module named '?(?P<missing>pip)\b",
        "ModuleNotFoundError: No module named 'pip'",
        where=Where.WHOLE_LOG,
    ),
)
