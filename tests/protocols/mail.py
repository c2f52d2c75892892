"""Sends a mail by `smtplib`, then breaks the order: DATA without a recipient."""

import smtplib
import socket
import threading

REPLIES = {b"EHLO": b"250-here\r\n250 SIZE 1000\r\n", b"QUIT": b"221 bye\r\n"}


def serve(connection: socket.socket) -> None:
    recipients = 0
    with connection, connection.makefile("rb") as lines:
        connection.sendall(b"220 ready\r\n")
        for line in lines:
            verb = line.split()[0].upper()
            recipients = recipients + 1 if verb == b"RCPT" else recipients * (verb == b"DATA")
            if verb == b"DATA" and not recipients:
                connection.sendall(b"503 RCPT first\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 go on\r\n")
                while next(lines) != b".\r\n":
                    pass
                connection.sendall(b"250 taken\r\n")
            else:
                connection.sendall(REPLIES.get(verb, b"250 ok\r\n"))


with socket.create_server(("127.0.0.1", 0)) as server:
    thread = threading.Thread(target=lambda: serve(server.accept()[0]))
    thread.start()
    with smtplib.SMTP(*server.getsockname()) as client:
        client.sendmail("a@example.org", ["b@example.org"], "Subject: hello\n\n.\nbye\n")
        client.docmd("MAIL", "FROM:<a@example.org>")
        assert client.docmd("DATA")[0] == 503
    thread.join()
