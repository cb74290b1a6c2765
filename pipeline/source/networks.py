"""Where a camera's host really is, and whether cameras may be there.

The name is resolved once and FFmpeg is handed what was checked: asked a second time, a name may
have another answer.
"""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import replace

from pipeline.cameras import Network
from pipeline.errors import SourceForbidden, SourceNotFound
from pipeline.source.address import Address

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def located(address: Address, networks: Sequence[Network] | None, *, keep_name: bool) -> Address:
    """The address with its host as numbers, if cameras may be there.

    ``keep_name`` leaves the host's name as it is: a certificate is for a name.

    Raises:
        SourceNotFound: there is no such host.
        SourceForbidden: it is in none of the networks.
    """
    if networks is None:
        return address
    found = _resolved(address)
    allowed = [ip for ip in found if any(ip in network for network in networks)]
    if not allowed or (keep_name and len(allowed) < len(found)):
        raise SourceForbidden(
            f"{address}: its host is at {found[0]}, which is in none of the allowed_networks: "
            + ", ".join(map(str, networks))
        )
    return address if keep_name else replace(address, host=str(allowed[0]))


def _resolved(address: Address) -> list[IPAddress]:
    try:
        answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceNotFound(f"{address}: no such host; check its name and the DNS") from None
    return list(dict.fromkeys(_plain(str(answer[4][0])) for answer in answers))


def _plain(text: str) -> IPAddress:
    """Without a zone, and without IPv6's disguise of an IPv4 address (``::ffff:10.0.0.1``)."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    return getattr(ip, "ipv4_mapped", None) or ip
