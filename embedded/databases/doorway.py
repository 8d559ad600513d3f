"""The endpoint of a database: a TLS port on loopback in front of a server's Unix socket.

The PostgreSQL programs at hand are built without OpenSSL, and RDS insists on TLS (`rds.force_ssl`). So the doorway
speaks the first bytes of PostgreSQL's protocol itself: it agrees to TLS, and turns away who does not ask for it.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ssl
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

ADDRESSES = tuple(f"127.0.0.{number}" for number in range(1, 17))
"""Where endpoints are: the first one, unless its port is taken by the database that another one is made from."""

_TLS_REQUEST = 80877103
_GSS_REQUEST = 80877104
_FIRST_PACKET = struct.Struct("!ii")
_CHUNK_BYTES = 1 << 16
_TLS_REQUIRED = b"no pg_hba.conf entry for host: this database accepts encrypted connections only, ask for TLS"


class Doorway:
    """A port that stays the same as long as the doorway stands, whatever happens to the server behind it."""

    def __init__(self, socket_path: Path, context: ssl.SSLContext, port: int | None = None) -> None:
        """On any free port of the first address, or on `port` of the first address on which it is free."""
        self._socket_path = socket_path
        self._context = context
        self._conversations: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server = self._listen(port or 0)
        self.address, self.port = self._listener.sockets[0].getsockname()[:2]

    def _listen(self, port: int) -> asyncio.Server:
        for address in ADDRESSES:
            try:
                return cast("asyncio.Server", _do(asyncio.start_server(self._welcome, address, port)))
            except OSError as taken:
                if taken.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, f"port {port} is taken on {ADDRESSES[0]} to {ADDRESSES[-1]}")

    def close(self) -> None:
        """Nobody listens on the port any more, and who was inside is disconnected."""
        _do(self._close())

    async def _close(self) -> None:
        self._listener.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = cast("asyncio.Task[None]", asyncio.current_task())
        self._conversations.add(conversation)
        try:
            if await self._agree_on_tls(reader, writer):
                await self._relay(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client left, the server behind is down, or the doorway closes: the connection just ends, as with RDS.
            pass
        finally:
            self._conversations.discard(conversation)
            writer.close()

    async def _agree_on_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            _, request = _FIRST_PACKET.unpack(await reader.readexactly(_FIRST_PACKET.size))
            if request == _GSS_REQUEST:
                writer.write(b"N")
                continue
            if request == _TLS_REQUEST:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._context)
                return True
            writer.write(_fatal(_TLS_REQUIRED))
            await writer.drain()
            return False

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._socket_path))
        try:
            directions = [
                asyncio.create_task(_pump(reader, server_writer)),
                asyncio.create_task(_pump(server_reader, writer)),
            ]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        finally:
            server_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


def _fatal(message: bytes) -> bytes:
    fields = b"SFATAL\0VFATAL\0C28000\0M" + message + b"\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One event loop, in a thread of its own, serves all doorways: the requests' threads come and go."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="embedded-doorways", daemon=True).start()
    return loop


def _do(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()
