"""HTTP over loopback, client and server in one function; and what an outbound connection meets."""

import http.server
import json
import threading

import requests


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"path": self.path, "agent": self.headers["User-Agent"], "body": json.loads(body)}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def handler(event, context):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with requests.Session() as session:
            session.headers["User-Agent"] = "mayfly"
            answers = [session.post(url + "/a?b=1", json=event["body"], timeout=5) for _ in range(3)]
        server.shutdown()
    return {
        "answers": [[answer.status_code, answer.json()] for answer in answers],
        "closed_port": error_of(url, "NewConnectionError"),
        "outbound": error_of("http://192.0.2.1", "NewConnectionError", "ConnectTimeoutError"),
        "name": error_of("http://mayfly.invalid", "NameResolutionError", "NewConnectionError"),
    }


def error_of(url, *reasons):
    try:
        requests.get(url, timeout=1)
    except requests.exceptions.ConnectionError as error:
        reason = type(error.args[0].reason).__name__
        return "as expected" if reason in reasons else reason
