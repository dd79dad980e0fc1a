#!/usr/bin/python3
"""Sends datagrams of a pinned source, or of that in $SOURCE, to two places, or counts what arrives there.

send OUT            to both places until SIGTERM; writes to OUT how many went to each
receive OUT         counts what arrives from the source until SIGTERM; writes that to OUT
"""
import json
import os
import signal
import socket
import sys
import threading
import time

SOURCE = (os.environ.get("SOURCE", "192.0.2.10"), 143)
PLACES = {"permitted": ("198.51.100.20", 40000), "forbidden": ("203.0.113.30", 40000)}

ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
counts = {place: 0 for place in PLACES}


def send():
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind(SOURCE)
    while not ended.is_set():
        for place, address in PLACES.items():
            try:
                out.sendto(b"a mail", address)
            except OSError:
                # A guard that drops it says so to who sends.
                pass
            counts[place] += 1
        time.sleep(0.01)


def receive(place, address):
    at = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    at.bind(address)
    at.settimeout(0.2)
    while not ended.is_set():
        try:
            at.recv(100)
            counts[place] += 1
        except socket.timeout:
            pass


if sys.argv[1] == "send":
    send()
else:
    threads = [threading.Thread(target=receive, args=it) for it in PLACES.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
with open(sys.argv[2], "w") as file:
    json.dump(counts, file)
