"""Messages per second for a client that writes the end of a message separately from the rest and leaves Nagle's algorithm on, as many
do: its last write is sent only when the part before is acknowledged. Arguments: the port (posthaste: tests/bench/serve), the number of messages."""

import socket
import sys
import time

PORT, COUNT = int(sys.argv[1]), int(sys.argv[2])
BODY = b"From: <a@sender.test>\r\nTo: <b@example.test>\r\nSubject: x\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 100


def say(peer, *parts):
    for part in parts:
        peer.sendall(part)
    reply = peer.recv(4096)
    assert reply[:1] in b"23", reply


peer = socket.create_connection(("127.0.0.1", PORT))
peer.recv(4096)
say(peer, b"EHLO client.test\r\n")
began = time.monotonic()
for _ in range(COUNT):
    say(peer, b"MAIL FROM:<a@sender.test>\r\n")
    say(peer, b"RCPT TO:<b@example.test>\r\n")
    say(peer, b"DATA\r\n")
    say(peer, BODY, b".\r\n")
print(f"{COUNT / (time.monotonic() - began):.0f} messages/s")
