"""Stands between clients and a tracker: `tap.py PORT TRACKER_PORT...`, on 127.0.0.1 and [::1].

Where there are several, each connection goes to the next of them, and so does each datagram.
Passes on what they say to each other, over TCP and UDP, and prints a line for each announce once the
tracker has answered it:

`granted|refused http|udp PASSKEY PEER_ID EVENT UPLOADED DOWNLOADED LEFT`

PEER_ID is hex; `-` stands for no event, and for no passkey. Ends when its standard input does.
"""

import asyncio
import itertools
import sys
import urllib.parse

HEAD_BYTES_MAX = 1 << 16
EVENTS = ["-", "completed", "started", "stopped"]

port, *tracker_ports = (int(argument) for argument in sys.argv[1:])
in_turn = itertools.cycle(tracker_ports)


def tell(answer, protocol, path, peer_id, event, *counts):
    passkey = path.strip("/").split("/")[0] if path.count("/") > 1 else "-"
    print(answer, protocol, passkey, peer_id.hex(), event, *counts, flush=True)


def tell_http(answer, head):
    path, _, query = head.split(b" ")[1].decode("latin-1").partition("?")
    if not path.endswith("/announce"):
        return
    values = urllib.parse.parse_qs(query, encoding="latin-1")
    value = lambda name, other: values.get(name, [other])[0]
    counts = (value(name, "0") for name in ("uploaded", "downloaded", "left"))
    tell(answer, "http", path, value("peer_id", "").encode("latin-1"), value("event", "-"), *counts)


async def pass_up(reader, writer, heads):
    rest = b""
    while data := await reader.read(1 << 16):
        *whole, rest = (rest + data).split(b"\r\n\r\n")
        heads.extend(whole)
        if len(rest) > HEAD_BYTES_MAX:
            break
        writer.write(data)
        await writer.drain()


async def pass_down(reader, writer, heads):
    while data := await reader.read(1 << 16):
        # A reply is one write, or begins with what tells.
        answer = "refused" if b"14:failure reason" in data else "granted"
        while heads:
            tell_http(answer, heads.pop(0))
        writer.write(data)
        await writer.drain()


async def connected(reader, writer):
    host = writer.get_extra_info("sockname")[0]
    ends = [writer]
    try:
        tracker_reader, tracker_writer = await asyncio.open_connection(host, next(in_turn))
        ends.append(tracker_writer)
        heads = []
        both = (pass_up(reader, tracker_writer, heads), pass_down(tracker_reader, writer, heads))
        # Whoever ends first ends both: no client here closes one half alone.
        tasks = [asyncio.ensure_future(one) for one in both]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    except OSError:
        # The tracker is down, or a client has gone.
        pass
    for end in ends:
        end.close()


def udp_path(options):
    """The path in the URL data of BEP 41."""
    path, at = b"", 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if options[at] == 2:
            path += options[at + 2:at + 2 + length]
        at += 2 + length
    return path.decode("latin-1").partition("?")[0]


def tell_udp(answer, packet):
    number = lambda at, bytes: int.from_bytes(packet[at:at + bytes], "big")
    event = EVENTS[number(80, 4)] if number(80, 4) < len(EVENTS) else "-"
    counts = (number(at, 8) for at in (72, 56, 64))
    tell(answer, "udp", udp_path(packet[98:]), packet[36:56], event, *counts)


class Upstream(asyncio.DatagramProtocol):
    """One client's datagrams as the tracker sees them."""

    def __init__(self, front, client):
        self.front, self.client, self.announces = front, client, {}

    def datagram_received(self, data, _):
        announce = self.announces.pop(data[4:8], None)
        if announce:
            # An action of 1 grants it; a 3 refuses.
            tell_udp("granted" if data[:4] == b"\0\0\0\1" else "refused", announce)
        self.front.sendto(data, self.client)

    def error_received(self, _):
        """The tracker is down."""


class Front(asyncio.DatagramProtocol):
    """Where clients send their datagrams."""

    def __init__(self, host):
        self.host, self.upstreams = host, {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        asyncio.ensure_future(self.pass_up(data, client))

    async def pass_up(self, data, client):
        to = (client, next(in_turn))
        if to not in self.upstreams:
            loop = asyncio.get_running_loop()
            self.upstreams[to] = loop.create_datagram_endpoint(
                lambda: Upstream(self.transport, client), remote_addr=(self.host, to[1]))
            self.upstreams[to] = asyncio.ensure_future(self.upstreams[to])
        transport, upstream = await self.upstreams[to]
        if len(data) >= 98 and data[8:12] == b"\0\0\0\1":
            upstream.announces[data[12:16]] = data
        transport.sendto(data)


async def main():
    loop = asyncio.get_running_loop()
    servers = []
    for host in ("127.0.0.1", "::1"):
        servers.append(await asyncio.start_server(connected, host, port))
        await loop.create_datagram_endpoint(lambda: Front(host), local_addr=(host, port))
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, lambda: sys.stdin.readline() or ended.set())
    print("ready", flush=True)
    await ended.wait()


asyncio.run(main())
