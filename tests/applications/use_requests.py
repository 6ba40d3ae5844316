"""A request, and one whose certificates matter."""
import os
import ssl
import requests


def work(port):
    with requests.Session() as session:
        session.trust_env = False
        reply = session.get('http://127.0.0.1:%d/path' % port, params={'q': 'a b'})
        reply.raise_for_status()
        return '%d %s' % (reply.status_code, reply.json()['asked'])


def certificates(port):
    """What requests would trust, and how a request ends whose server hangs up in the handshake."""
    path = requests.certs.where()
    trusted = ssl.create_default_context(cafile=path).get_ca_certs()
    with requests.Session() as session:
        session.trust_env = False
        try:
            session.get('https://127.0.0.1:%d/' % port)
        except requests.exceptions.ConnectionError:  # an OSError if the file were not there
            return '%s %d' % (os.path.isfile(path), len(trusted))


def imported():
    return requests.__version__
