"""A real SMTP server on the loopback interface that keeps what it is sent."""

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from threading import Thread


@dataclass
class Sink:
    """What came, and how many messages are still refused for the moment."""

    url: str
    refusals: int = 0
    messages: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)


@contextmanager
def receiving(refusals: int = 0) -> Iterator[Sink]:
    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 sink")
            while line := self.rfile.readline():
                verb, _, rest = line.decode().strip().partition(" ")
                if verb.upper() == "MAIL" and sink.refusals:
                    sink.refusals -= 1
                    self.say("451 try again later")
                elif verb.upper() == "RCPT":
                    sink.recipients.append(rest.removeprefix("TO:").strip("<>"))
                    self.say("250 fine")
                elif verb.upper() == "DATA":
                    self.say("354 go on")
                    sink.messages.append(message_from_bytes(self.body()))
                    self.say("250 kept")
                elif verb.upper() == "QUIT":
                    self.say("221 bye")
                    break
                else:
                    self.say("250 fine")

        def body(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            return b"".join(lines)

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        sink = Sink(f"smtp://127.0.0.1:{server.server_address[1]}", refusals)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()
