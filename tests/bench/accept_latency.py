"""Measures how long an unsigned message takes from the end of DATA to 250: alone, beside other unsigned mail, and beside mail whose
RSA-4096 signatures keep the signer threads fully busy. Argument: the relay's port. Used by tests/bench/signing."""

import smtplib
import sys
import threading
import time

PORT, PROBES, CLIENTS = int(sys.argv[1]), 400, 20
BODY = "From: <a@{}>\r\nTo: <b@example.test>\r\nSubject: x\r\n\r\n" + "0123456789abcdef0123456789abcdef0123456789abcdef\r\n" * 200


def submit(client, domain):
    client.sendmail(f"a@{domain}", ["b@example.test"], BODY.format(domain))


def crowd(domain, over, count):
    client = smtplib.SMTP("127.0.0.1", PORT)
    while not over.is_set():
        submit(client, domain)
        count.append(1)


def probe(name, domain):
    over, count = threading.Event(), []
    others = [threading.Thread(target=crowd, args=(domain, over, count)) for _ in range(CLIENTS if domain else 0)]
    for other in others:
        other.start()
    client = smtplib.SMTP("127.0.0.1", PORT)
    times, began = [], time.monotonic()
    for _ in range(PROBES):
        start = time.monotonic()
        submit(client, "plain.test")
        times.append(1000 * (time.monotonic() - start))
    took = time.monotonic() - began
    over.set()
    for other in others:
        other.join()
    times.sort()
    print(f"{name}: half within {times[PROBES // 2]:.1f} ms, 99 % within {times[PROBES * 99 // 100]:.1f} ms; the others {len(count) / took:.0f}/s")


probe("unsigned mail alone", None)
probe(f"beside {CLIENTS} clients with unsigned mail", "plain.test")
probe(f"beside {CLIENTS} clients with RSA-4096", "slow.test")
