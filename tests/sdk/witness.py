"""A proxy before the sandbox that holds every answer against Seam's OpenAPI document.

    witness.py OPENAPI_JSON UPSTREAM_URL

Prints its own URL, then passes everything on. `GET /_witness` tells what was seen:
`{"checked": number, "paths": [...], "misfits": [{"path", "status", "where", "why"}]}`.
"""

import http.client
import json
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jsonschema import Draft7Validator, FormatChecker

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


def to_json_schema(node):
    """OpenAPI 3.0 says `nullable`; JSON Schema says it with a type."""
    if isinstance(node, list):
        return [to_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {key: to_json_schema(value) for key, value in node.items() if key not in ("nullable", "discriminator")}
    if node.get("nullable") is True:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


class Witness:
    def __init__(self, openapi):
        self.document = to_json_schema({"components": openapi["components"]})
        self.paths = openapi["paths"]
        self.lock = threading.Lock()
        self.validators = {}
        self.checked, self.seen, self.misfits = 0, set(), []

    def validator(self, path, method):
        operations = self.paths.get(path)
        if operations is None:
            return None
        operation = operations.get(method) or operations.get("post")
        content = operation["responses"]["200"].get("content", {})
        schema = to_json_schema(content.get("application/json", {}).get("schema", {}))
        return Draft7Validator({**self.document, **schema}, format_checker=FormatChecker())

    def look(self, path, method, status, body):
        with self.lock:
            if path.startswith("/_sandbox"):
                return
            if status != 200:
                self.look_at_refusal(path, status, body)
                return
            key = (path, method)
            if key not in self.validators:
                self.validators[key] = self.validator(path, method)
            validator = self.validators[key]
            if validator is None:
                return
            self.checked += 1
            self.seen.add(path)
            for error in validator.iter_errors(json.loads(body)):
                where = "/".join(str(part) for part in error.absolute_path)
                self.misfits.append({"path": path, "status": status, "where": where, "why": error.message[:300]})

    def look_at_refusal(self, path, status, body):
        try:
            error = json.loads(body)["error"]
            fits = isinstance(error["type"], str) and isinstance(error["message"], str)
        except (ValueError, KeyError, TypeError):
            fits = path not in self.paths
        if not fits:
            self.misfits.append({"path": path, "status": status, "where": "error", "why": "not Seam's envelope"})

    def report(self):
        with self.lock:
            return {"checked": self.checked, "paths": sorted(self.seen), "misfits": self.misfits}


def handler(witness, upstream):
    target = urllib.parse.urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self):
            if self.path == "/_witness":
                self.answer(200, {"content-type": "application/json"}, json.dumps(witness.report()).encode())
                return
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection = http.client.HTTPConnection(target.hostname, target.port)
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            answer = response.read()
            path = urllib.parse.urlsplit(self.path).path
            witness.look(path, self.command.lower(), response.status, answer)
            kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            self.answer(response.status, kept, answer)
            connection.close()

        def answer(self, status, headers, body):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, *_):
            pass

    return Handler


def main():
    openapi_path, upstream = sys.argv[1:]
    with open(openapi_path, encoding="utf-8") as file:
        witness = Witness(json.load(file))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(witness, upstream))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
