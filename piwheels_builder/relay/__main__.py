"""`python -m piwheels_builder.relay`: serve builders until SIGTERM. The role index starts it where fleet_relay says so."""

import argparse
import logging
import signal
import sys
from pathlib import Path

from piwheels_builder.catalogue.commands import own_sdists
from piwheels_builder.catalogue.listed_files import ListedFiles
from piwheels_builder.catalogue.upstream import CONNECTIONS, UpstreamIndex
from piwheels_builder.errors import BadInput, FleetError
from piwheels_builder.relay.doorkeeper import Doorkeeper
from piwheels_builder.relay.offers import Offers
from piwheels_builder.relay.server import Relay, tls_context
from piwheels_builder.settings import load_fleet


def main() -> None:
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _serve(options)
    except FleetError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def _serve(options: argparse.Namespace) -> None:
    settings = load_fleet(options.settings)
    tls = tls_context(options.certificate, options.key, options.authority)
    with UpstreamIndex(settings.upstream, per_second=settings.upstream_requests_per_second or None) as upstream:
        offers = Offers(upstream, own_sdists(settings))
        doorkeeper = Doorkeeper(settings.conninfo("reader"))
        with Relay(_place(options.listen), tls, doorkeeper, offers, ListedFiles(upstream, CONNECTIONS)) as relay:
            relay.serve_forever()


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not (host and port.isdecimal()):
        raise BadInput(f"{listen!r} is no address and port to listen at: write [::]:8443")
    return host.strip("[]"), int(port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m piwheels_builder.relay", description=__doc__)
    parser.add_argument("--listen", default="[::]:8443", metavar="ADDRESS:PORT", help="where (default: %(default)s)")
    parser.add_argument("--settings", type=Path, help="fleet.yml (default: where provisioning puts it)")
    for name, what in (("certificate", "this server's"), ("key", "its key"), ("authority", "who signed those of the builders")):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FILE", help=f"{what} (PEM)")
    return parser


if __name__ == "__main__":
    main()
