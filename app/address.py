"""Where a request comes from: the peer, or what trusted proxies say of it. Pure; knows no server."""

import ipaddress
from collections.abc import Sequence


def client_address(peer: str, forwarded: Sequence[str], proxies: int) -> str:
    """The visitor's address, as limits count it.

    Every proxy appends whom it was asked by to X-Forwarded-For, so of `proxies` trusted ones the visitor is the entry at that place
    from the right; what stands further left was sent by the visitor and may be anything. Addresses of IPv6 are told by their network
    of 64 bits, which is what one household or server has.

    Args:
        peer: who opened the connection.
        forwarded: the values of the X-Forwarded-For headers, in their order.
        proxies: how many proxies the owner has in front of the page; 0 believes no header.

    Returns:
        An address or an IPv6 network; `peer` as it stands where it is neither.
    """
    told = [part.strip() for value in forwarded for part in value.split(",")]
    given = told[-proxies] if 0 < proxies <= len(told) else peer
    return _network(given) or _network(peer) or peer


def _network(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
