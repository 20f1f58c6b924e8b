"""AWS's client: models loaded, requests signed, an answer parsed from a server on loopback, and a clean error without one."""

import http.server
import threading
import urllib.parse

import boto3
import botocore.config
import botocore.exceptions

CREDENTIALS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
CONFIG = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=1, s3={"addressing_style": "path"})
LISTING = b"""<?xml version="1.0"?><ListBucketResult><Name>b</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>
<Contents><Key>a&amp;b</Key><Size>5</Size><LastModified>2026-01-31T12:00:00.000Z</LastModified></Contents></ListBucketResult>"""
seen = []


class S3(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen.append([self.path, self.headers["Authorization"].split("/")[0]])
        self.send_response(200)
        self.send_header("Content-Length", str(len(LISTING)))
        self.end_headers()
        self.wfile.write(LISTING)

    def log_message(self, *_):
        pass


def handler(event, context):
    del seen[:]
    with http.server.HTTPServer(("127.0.0.1", 0), S3) as server:
        threading.Thread(target=server.serve_forever).start()
        client = s3(f"http://127.0.0.1:{server.server_port}")
        listing = client.list_objects_v2(Bucket=event["bucket"])
        server.shutdown()
    url = urllib.parse.urlsplit(client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k k"}))
    return {
        "keys": [[entry["Key"], entry["Size"], entry["LastModified"].isoformat()] for entry in listing["Contents"]],
        "seen": seen,
        "presigned": [url.path, sorted(urllib.parse.parse_qs(url.query))],
        "services": len(boto3.Session(**CREDENTIALS).get_available_services()) > 300,
        "unreachable": error_of(s3("http://192.0.2.1")),
    }


def s3(endpoint):
    return boto3.client("s3", endpoint_url=endpoint, config=CONFIG, **CREDENTIALS)


def error_of(client):
    try:
        client.list_buckets()
    except (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ConnectTimeoutError):
        return "as expected"
