"""Which Pis of a Mythic Beasts account are the fleet's: those whose names begin with its prefix. All others are only counted."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from .mythic_beasts import NAME, Client, Server

#: Questions on the way at the same time: the API tells one Pi at a time.
_AT_ONCE = 8


def fleets_pis(client: Client, prefix: str, expected: Iterable[str] = ()) -> tuple[list[Server], int]:
    """The fleet's Pis by name, and how many others the account has. Raises ApiError.

    :param expected: names that are asked for even where the list lacks them, since what is concluded from an absence costs money
    """
    listed = client.servers()
    ours = {name for name in listed if name.startswith(prefix) and NAME.fullmatch(name)}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(client.find, sorted(ours.union(expected))))
    return [pi for pi in found if pi is not None], len(listed) - len(ours)
