"""A Kubernetes API on loopback with one pod, whose containers are this machine.

What kubectl wants to be executed is executed here, over SPDY/3.1 as an API server does it: a stream each for the
error, stdin, stdout and stderr. Prints its port, then what is to be executed; ends with its standard input.
"""
import json
import os
import struct
import subprocess
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PODS = '/api/v1/namespaces/shop/pods/'
POD = {
    'kind': 'Pod', 'apiVersion': 'v1', 'metadata': {'name': 'web-0', 'namespace': 'shop'},
    'spec': {'containers': [{'name': 'proxy'}, {'name': 'app'}]}, 'status': {'phase': 'Running'},
}
ANSWERS = {
    '/version': {'major': '1', 'minor': '20', 'gitVersion': 'v1.20.2'},
    '/api': {'kind': 'APIVersions', 'versions': ['v1']},
    '/apis': {'kind': 'APIGroupList', 'apiVersion': 'v1', 'groups': []},
    '/api/v1': {'kind': 'APIResourceList', 'groupVersion': 'v1', 'resources': [
        {'name': 'pods', 'singularName': '', 'namespaced': True, 'kind': 'Pod', 'verbs': ['get']},
        {'name': 'pods/exec', 'singularName': '', 'namespaced': True, 'kind': 'PodExecOptions', 'verbs': ['create']},
    ]},
    '/api/v1/namespaces/shop': {'kind': 'Namespace', 'apiVersion': 'v1', 'metadata': {'name': 'shop'}},
    PODS + 'web-0': POD,
}
# kubectl makes them in this order. (What it calls them is in headers that only a dictionary could unpack.)
ERROR, STDIN, STDOUT, STDERR = 1, 3, 5, 7
SYN_STREAM, SYN_REPLY, PING, FIN = 1, 2, 6, 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        path = urlsplit(self.path).path
        answer = ANSWERS.get(path)
        if answer is None:
            name = path.rsplit('/', 1)[1]
            self.answer(404, status(
                'Failure', code=404, reason='NotFound', message='pods "%s" not found' % name,
                details={'name': name, 'kind': 'pods'}))
        else:
            self.answer(200, answer)

    def answer(self, code, what):
        body = json.dumps(what).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        url = urlsplit(self.path)
        words = parse_qs(url.query)
        print(json.dumps([url.path, sorted(words.items())]), flush=True)
        self.send_response(101)
        self.send_header('Connection', 'Upgrade')
        self.send_header('Upgrade', 'SPDY/3.1')
        self.send_header('X-Stream-Protocol-Version', 'v4.channel.k8s.io')
        self.end_headers()
        self.close_connection = True
        Execution(self.rfile, self.wfile).run(words['command'])

    def log_message(self, *_):
        pass


def status(word, **more):
    return dict({'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': word}, **more)


class Execution:
    def __init__(self, rfile, wfile):
        self.rfile, self.wfile = rfile, wfile
        self.lock = threading.Lock()
        self.compressor = zlib.compressobj()

    def run(self, command):
        while self.read()[0] != STDERR:
            pass
        try:
            child = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, bufsize=0)
        except OSError as error:
            return self.end(status('Failure', code=500, reason='InternalError', message=str(error)))
        feeder = threading.Thread(target=self.feed, args=(child.stdin,))
        pumps = [threading.Thread(target=self.pump, args=(stream, file))
                 for stream, file in ((STDOUT, child.stdout), (STDERR, child.stderr))]
        for thread in [feeder] + pumps:
            thread.start()
        for thread in pumps:
            thread.join()
        code = child.wait()
        if code:
            self.end(status(
                'Failure', reason='NonZeroExitCode', message='command terminated with exit code %d' % code,
                details={'causes': [{'reason': 'ExitCode', 'message': str(code)}]}))
        else:
            self.end(status('Success'))
        feeder.join()

    def end(self, result):
        self.send(ERROR, json.dumps(result).encode())
        self.send(ERROR, b'', FIN)

    def feed(self, stdin):
        """Passes on what arrives, until kubectl has gone."""
        try:
            while True:
                stream, flags, data = self.read()
                if stream == STDIN and not stdin.closed:
                    try:
                        stdin.write(data)
                    except BrokenPipeError:
                        pass
                    if flags & FIN:
                        stdin.close()
        except (EOFError, OSError):
            stdin.close()

    def pump(self, stream, file):
        with file:
            for data in iter(lambda: file.read(65536), b''):
                self.send(stream, data)
        self.send(stream, b'', FIN)

    def send(self, stream, data, flags=0):
        self.write(struct.pack('>II', stream, flags << 24 | len(data)) + data)

    def write(self, frame):
        with self.lock:
            try:
                self.wfile.write(frame)
            except OSError:
                pass  # It has gone, which `feed` hears, too.

    def read(self):
        """The next frame: its stream, flags and data; answers what has to be."""
        head, length = struct.unpack('>II', self.exactly(8))
        flags, data = length >> 24, self.exactly(length & 0xffffff)
        if not head >> 31:
            return head, flags, data
        if head & 0xffff == PING:
            self.write(struct.pack('>II', head, length) + data)
        elif head & 0xffff == SYN_STREAM:
            stream = struct.unpack('>I', data[:4])[0]
            # No headers.
            block = self.compressor.compress(bytes(4)) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
            self.write(struct.pack('>III', 0x80030000 | SYN_REPLY, 4 + len(block), stream) + block)
            return stream, 0, b''
        return None, 0, b''

    def exactly(self, count):
        data = self.rfile.read(count)
        if len(data) < count:
            raise EOFError
        return data


server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
