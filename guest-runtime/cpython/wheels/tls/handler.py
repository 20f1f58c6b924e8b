"""TLS: the host's certificates, a handshake in memory, one over loopback, and a certificate that is not trusted."""

import os
import socket
import ssl
import tempfile
import threading

# Of "localhost", for a hundred years. Nothing trusts it but this test.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUetqGzWhNeR0FHnnZ7R4gLcMv13AwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA3MjgwM1oYDzIxMjYxMDI4
MDcyODAzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARID4o3HCHiICQUBBFLPLIKzpWS86fbhLuhZdqMGoOZJKSFIHrJLm1R
UP32StR+HRFqSe5VCQ7mVePRek70s+Iao2kwZzAdBgNVHQ4EFgQU1UI40kzspaU9
qgKqzI6nol8FJd4wHwYDVR0jBBgwFoAU1UI40kzspaU9qgKqzI6nol8FJd4wDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIhAJ1816Y2RZS1Okn2ndDoP1dT91IoxnfTQIPsudq4YCDwAiAky3ja3PD+
ozcujOuS5obPozQvVJktxN3gwgrLznGo0Q==
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvv3W8+REF/WxasAh
kgSvUtrZ9h7Wj3QLEqLm53xLbj2hRANCAARID4o3HCHiICQUBBFLPLIKzpWS86fb
hLuhZdqMGoOZJKSFIHrJLm1RUP32StR+HRFqSe5VCQ7mVePRek70s+Ia
-----END PRIVATE KEY-----
"""


def handler(event, context):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pair.pem")
        with open(path, "w") as file:
            file.write(KEY + CERTIFICATE)
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(path)
    client = ssl.create_default_context(cadata=CERTIFICATE)
    return {
        "authorities": len(ssl.create_default_context().get_ca_certs()) > 50,
        "memory": in_memory(client, server),
        "loopback": over_loopback(client, server, event["text"]),
        "untrusted": untrusted(server),
        "random": len(ssl.RAND_bytes(16)),
    }


def in_memory(client_context, server_context):
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(one, other, server_hostname="localhost")
    server = server_context.wrap_bio(other, one, server_side=True)
    unfinished = [client, server]
    while unfinished:
        for side in list(unfinished):
            try:
                side.do_handshake()
                unfinished.remove(side)
            except ssl.SSLWantReadError:
                pass
    client.write(b"ping")
    return [client.version(), server.read().decode(), client.getpeercert()["subjectAltName"][0][1]]


def over_loopback(client_context, server_context, text):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with server_context.wrap_socket(connection, server_side=True) as tls:
                while data := tls.recv(65536):
                    tls.sendall(data.upper())
                tls.unwrap()

        thread = threading.Thread(target=serve)
        thread.start()
        with socket.create_connection(listener.getsockname()) as raw:
            with client_context.wrap_socket(raw, server_hostname="localhost") as tls:
                tls.sendall(text.encode())
                answer = tls.recv(65536).decode()
                tls.unwrap()
        thread.join()
    return answer


def untrusted(server_context):
    try:
        in_memory(ssl.create_default_context(), server_context)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
