"""What an access log says that users could not get: nginx's own lines, and what strangers write into them."""

import pytest

from piwheels_builder.queue import access_log
from piwheels_builder.queue.access_log import Asked, asked_in_vain

LINE = '{address} - - [22/Nov/2026:10:00:00 +0000] "{request}" {status} 0 "-" "pip/26.3 {{}}"\n'


def line(path: str, address: str = "2001:db8::1", status: int = 302, method: str = "GET") -> str:
    return LINE.format(address=address, request=f"{method} {path} HTTP/1.1", status=status)


def asked(*lines: str, most: int = 10) -> dict[str, int]:
    return {one.project: one.addresses for one in asked_in_vain(lines, most)}


def test_a_project_counts_once_for_each_address_that_was_redirected() -> None:
    log = [line("/simple/numpy/"), line("/simple/numpy/"), line("/simple/numpy/", "192.0.2.7"), line("/bookworm/simple/scipy/")]
    assert asked(*log) == {"numpy": 2, "scipy": 1}


@pytest.mark.parametrize(
    "said",
    [
        line("/simple/numpy/", status=200),
        line("/simple/NumPy/", status=301),
        line("/simple/numpy/", method="POST"),
        line("/", status=302),
        line("/simple/", status=302),
        line("/wheels/numpy/"),
        line("/simple/-numpy-/"),
        line("/simple/num%20py/"),
        line("/simple/" + "x" * 5000 + "/"),
        '" GET /simple/numpy/ HTTP/1.1" 302',
        "\x00\udcff\n",
        "",
    ],
)
def test_any_other_line_says_nothing(said: str) -> None:
    assert asked(said) == {}


def test_other_spellings_and_questions_are_the_same_project() -> None:
    assert asked(line("/simple/Foo.Bar"), line("/simple/foo_bar/?a=1", "192.0.2.7")) == {"foo-bar": 2}


def test_the_most_asked_come_first_and_no_more_than_wanted() -> None:
    log = [line("/simple/often/", f"192.0.2.{number}") for number in range(3)]
    assert asked_in_vain([line("/simple/a/"), line("/simple/b/"), *log], 2) == [Asked("often", 3), Asked("a", 1)]  # type: ignore[arg-type]


def test_a_flood_of_names_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MOST_PAIRS", 5)
    assert len(asked(*(line(f"/simple/p{number}/") for number in range(50)), most=100)) == 5
