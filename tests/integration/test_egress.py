"""URLs that users name: only the internet is called, at the address that was checked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
import trustme

from orchestrator.egress.addresses import is_allowed
from orchestrator.egress.guarded import Guarded, NotAllowed, Unreachable
from orchestrator.egress.urls import BadUrl, parse

REFUSED = {
    "this host": "0.0.0.0", "this network": "0.1.2.3", "loopback": "127.0.0.1", "all of loopback": "127.255.0.7",
    "private a": "10.0.0.1", "private b": "172.16.5.4", "end of private b": "172.31.255.255",
    "private c": "192.168.1.1", "shared": "100.64.0.1", "Alibaba's metadata": "100.100.100.200",
    "link-local": "169.254.1.1", "metadata": "169.254.169.254", "Azure's host": "168.63.129.16",
    "Oracle's metadata": "192.0.0.192", "documentation": "203.0.113.9", "benchmarks": "198.19.0.1",
    "6to4 relay": "192.88.99.1", "multicast": "224.0.0.1", "administered multicast": "239.1.1.1",
    "reserved": "240.0.0.1", "broadcast": "255.255.255.255",
    "loopback 6": "::1", "unspecified 6": "::", "compatible": "::127.0.0.1", "mapped": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1", "translated": "::ffff:0:127.0.0.1", "NAT64": "64:ff9b::7f00:1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe", "local NAT64": "64:ff9b:1::a00:1", "6to4": "2002:7f00:1::",
    "6to4 of a public one": "2002:808:808::", "Teredo": "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "ORCHID": "2001:20::1", "unique local": "fc00::1", "AWS's metadata": "fd00:ec2::254", "link-local 6": "fe80::1",
    "with a zone": "fe80::1%eth0", "site-local": "fec0::1", "multicast 6": "ff02::1", "global multicast": "ff0e::1",
    "documentation 6": "2001:db8::1", "new documentation": "3fff::1", "segments": "5f00::1", "discard": "100::1",
    "ISATAP of a private one": "2606:4700::5efe:a00:1", "6bone": "3ffe::1", }  # fmt: skip
PUBLIC = ("8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


class Names:
    """A name server's stub: each question for a name gets the next of its answers, and the last one for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers, self.asked = answers, 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        answers = self.answers[host.partition(".")[0]]
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def resolve(guarded: Guarded, url: str) -> str:
    return await guarded.resolved(guarded.check(url))


async def test_private_addresses_are_refused_whatever_name_leads_to_them() -> None:
    assert len(REFUSED) >= 30
    names = Names()
    async with Guarded(resolve=names) as guarded:
        for kind, address in REFUSED.items():
            for found in ([address], ["8.8.8.8", address], [address, "2606:4700::1111"]):
                names.answers["innocent"] = [found]
                try:
                    called = await resolve(guarded, "https://innocent.example/")
                except NotAllowed:
                    continue
                pytest.fail(f"{kind} is called: {called}")
        for address in PUBLIC:
            names.answers["innocent"] = [[address]]
            assert await resolve(guarded, "https://innocent.example/") == address


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "①②⑦.0.0.1", "127.0.0.1.", "LOCALHOST", "[::1]",
     "[::ffff:7f00:1]", "127。0。0。1", "[::ffff:169.254.169.254]", "0"],
)  # fmt: skip
async def test_odd_ways_to_write_this_machine_are_refused_by_the_system_s_own_resolver(host: str) -> None:
    async with Guarded() as guarded:
        with pytest.raises(NotAllowed):
            await resolve(guarded, f"http://{host}/")


def test_exceptions_are_the_operator_s() -> None:
    allowed = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::1"):
        assert is_allowed(address, allowed)
    for address in ("10.2.0.1", "127.0.0.1", "fe80::1"):
        assert not is_allowed(address, allowed)


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/", "file:///etc/passwd", "gopher://example.org", "//example.org", "example.org", "https://",
     "http://user@example.org/", "http://user:word@example.org/", "http://example.org:22/", "http://example.org:0/",
     "http://example.org:99999/", "http://exam ple.org/", "http://example.org\\@127.0.0.1/", "http://a\tb.org/",
     "http://example.org/\n", "http://[::1/", "http://[zz::]/", "http://exa%6dple.org/", "http://-a.example/",
     "http://example.org:80:80/", "http://" + "a" * 300 + ".org/", "https://example.org/" + "a" * 2048, "",
     "http://xn--a.example\u2100/", "https://example..org/", "http://.example.org/", "http://@example.org/"],
)  # fmt: skip
def test_urls_that_are_refused_unseen(url: str) -> None:
    with pytest.raises(BadUrl) as refused:
        parse(url, (80, 443))
    assert str(refused.value)


def test_urls_are_taken_apart_in_one_way() -> None:
    target = parse("HTTPS://BÜCHER.example:8443/a b%20ü?q=1 2#part".replace(" ", "%20"), (8443,))
    assert (target.scheme, target.host, target.port) == ("https", "xn--bcher-kva.example", 8443)
    assert target.path == "/a%20b%20%C3%BC?q=1%202"
    assert target.at("192.0.2.1") == "https://192.0.2.1:8443/a%20b%20%C3%BC?q=1%202"
    assert target.authority == "xn--bcher-kva.example:8443"
    assert parse("http://example.org", ()).authority == "example.org"
    assert parse("http://[2606:4700::1]:80", ()).at("2606:4700::1") == "http://[2606:4700::1]:80/"


class Server:
    """Counts connections, and answers every request with what came."""

    def __init__(self) -> None:
        self.port, self.connections = 0, 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = head.split(b"\r\n\r\n")[0]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()


@contextlib.asynccontextmanager
async def running(secured: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=secured)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


async def said(guarded: Guarded, url: str) -> str:
    async with guarded.call("GET", guarded.check(url), headers={}, seconds=10) as answer:
        return (await answer.aread()).decode()


async def test_the_checked_address_is_called_and_the_name_is_resolved_once() -> None:
    names = Names(rebinds=[["127.0.0.1"], ["127.0.0.2"]], later=[["8.8.8.8"], ["127.0.0.1"]])
    async with running() as server:
        async with Guarded(resolve=names, exceptions=[ip_network("127.0.0.1/32")]) as guarded:
            head = await said(guarded, f"http://rebinds.example:{server.port}/x?y=1")
            assert names.asked == 1
            assert head.startswith("GET /x?y=1 HTTP/1.1\r\n")
            assert f"Host: rebinds.example:{server.port}\r\n" in head
            with pytest.raises(NotAllowed):
                await said(guarded, f"http://rebinds.example:{server.port}/")
        async with Guarded(resolve=names) as guarded:
            assert await resolve(guarded, "http://later.example/") == "8.8.8.8", "as it is when it is checked"
            with pytest.raises(NotAllowed):
                await said(guarded, f"http://later.example:{server.port}/")
        assert server.connections == 1


async def test_certificates_are_checked_for_the_name() -> None:
    authority = trustme.CA()
    secured, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("good.example").configure_cert(secured)
    authority.configure_trust(trusting)
    names, here = Names(good=[["127.0.0.1"]], bad=[["127.0.0.1"]]), [ip_network("127.0.0.0/8")]
    async with (
        running(secured) as server,
        Guarded(resolve=names, exceptions=here, verify=trusting) as guarded,
        Guarded(resolve=names, exceptions=here) as distrusting,
    ):
        assert "Host: good.example" in await said(guarded, f"https://good.example:{server.port}/")
        # Not over the connection that was verified for the other name, either.
        with pytest.raises(Unreachable, match="certificate"):
            await said(guarded, f"https://bad.example:{server.port}/")
        with pytest.raises(Unreachable, match="certificate"):
            await said(distrusting, f"https://good.example:{server.port}/")


async def test_a_name_that_does_not_resolve() -> None:
    async def silent(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def nothing(host: str, port: int) -> list[str]:
        return []

    for answer in (silent, nothing):
        async with Guarded(resolve=answer) as guarded:
            with pytest.raises(Unreachable):
                await said(guarded, "http://nowhere.example/")
