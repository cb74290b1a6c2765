"""Where a camera's host really is, and whether cameras may be there.

The name is resolved once and FFmpeg is handed what was checked: asked a second time, a name may
have another answer.
"""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import replace

from pipeline.cameras import Network
from pipeline.errors import SourceElsewhere, SourceForbidden, SourceNotFound
from pipeline.source.address import Address

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def located(address: Address, networks: Sequence[Network] | None, *, keep_name: bool) -> Address:
    """The address with its host as numbers, if cameras may be there.

    ``keep_name`` leaves the host's name as it is: a certificate is for a name.

    Raises:
        SourceNotFound: there is no such host.
        SourceForbidden: it is in none of the networks; SourceElsewhere: by its name's answer.
    """
    if networks is None:
        return address
    found = _resolved(address)
    allowed = [host for host, ip in found.items() if any(ip in network for network in networks)]
    if not allowed or (keep_name and len(allowed) < len(found)):
        kind = SourceForbidden if _is_number(address.host) else SourceElsewhere
        raise kind(
            f"{address}: its host is at {next(iter(found))}, which is in none of the "
            f"allowed_networks: {', '.join(map(str, networks))}"
        )
    return address if keep_name else replace(address, host=allowed[0])


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(address: Address) -> dict[str, IPAddress]:
    """Its hosts, as numbers and as text: what is local to a link keeps its zone there."""
    try:
        answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceNotFound(f"{address}: no such host; check its name and the DNS") from None
    found: dict[str, IPAddress] = {}
    for *_, place in answers:
        ip = ipaddress.ip_address(str(place[0]).partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip  # IPv6's disguise of it: ::ffff:10.0.0.1
        zone = place[3] if len(place) == 4 else 0
        found[f"{ip}%{zone}" if zone else str(ip)] = ip
    return found
