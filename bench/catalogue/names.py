"""Names of projects: number to name and back, so that a server needs no table of them."""

import re

_WORDS = tuple(
    """
    acme agent alpha amqp ansible api args array async atlas audio auth auto aws azure base batch bio bit block bot box cache
    calc cam chart chat check cli client cloud code config core crawl crypt csv data date db debug deep demo dict diff django
    dns doc docker dot draw easy edge email event excel face fast feed file filter flask flow font form fuzzy game geo git
    gpio graph grid hash home html http image index input json kafka key lab lang ldap lib light linear link list local lock
    log mail map mark math mesh meta micro mini model mongo mqtt music net neural node note numeric odoo open orm pack page
    parse path pdf pipe plot plugin
    """.split()  # noqa: SIM905 - a list of 121 quoted words is no easier to read
)
_NAME = re.compile(r"([a-z]+)-([a-z]+)([1-9][0-9]*)?")
_PLACES = {word: place for place, word in enumerate(_WORDS)}


def name_of(number: int) -> str:
    """The normalized name (PEP 503) of a project: two words and, from the second round on, a number."""
    rest, first = divmod(number, len(_WORDS))
    around, second = divmod(rest, len(_WORDS))
    return f"{_WORDS[first]}-{_WORDS[second]}{around or ''}"


def number_of(name: str) -> int | None:
    """The number of the project of this normalized name; None where no number gives it."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] not in _PLACES or found[2] not in _PLACES:
        return None
    return (int(found[3] or 0) * len(_WORDS) + _PLACES[found[2]]) * len(_WORDS) + _PLACES[found[1]]


def spelling_of(number: int) -> str:
    """The name as its maintainer spells it: three in eight in another way than the normalized one."""
    name = name_of(number)
    return {0: name.title().replace("-", "_"), 1: name.replace("-", "_"), 2: name.title().replace("-", ".")}.get(number % 8, name)
