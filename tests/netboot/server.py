"""The rack's netboot server: a host in place 7, only where it is asked for, on a segment with the machines that it serves."""

from dataclasses import dataclass

from tests.netboot import image, segment
from tests.rack.addresses import Address, Kind
from tests.rack.hosts import Host

KIND = Kind("netboot", 7, "bookworm", "native")
#: Where it finds what it is to serve; as if somebody had unpacked an image there.
IMAGE = "/srv/image"


@dataclass(frozen=True)
class Server(Host):
    """The netboot server. Its cable is a port of the segment's bridge."""

    def start(self) -> None:
        """Switch it on, with its segment laid. Does not wait for it. Raises RackError."""
        if not self.is_running():
            super().start()
            segment.lay(self.address)

    def _nspawn(self) -> list[str]:
        # A file server finds files by their handles, which a container is else refused.
        handles = "--system-call-filter=open_by_handle_at"
        return [*super()._nspawn(), handles, f"--bind-ro={image.served().directory}:{IMAGE}"]

    def remove(self) -> None:
        """Stop it at once and remove everything of it, the segment too. Raises RackError."""
        super().remove()
        segment.take_away(self.address.number)


def server(number: int) -> Server:
    """The netboot server of a rack, whether it was made yet or not."""
    return Server(Address(number, KIND))
