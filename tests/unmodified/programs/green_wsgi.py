"""The library's WSGI server, and urllib as its client in a greenlet.

python green_wsgi.py gevent|eventlet
"""

import sys


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [b"hello " + environ["PATH_INFO"].encode()]


if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
    from urllib.request import urlopen

    from gevent.pywsgi import WSGIServer

    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    with urlopen(f"http://127.0.0.1:{server.server_port}/there") as answer:
        print(answer.read().decode())
    server.stop()
else:
    import warnings

    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()
    from urllib.request import urlopen

    from eventlet import wsgi

    listener = eventlet.listen(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    running = eventlet.spawn(wsgi.server, listener, application, log_output=False)
    with urlopen(f"http://127.0.0.1:{port}/there") as answer:
        print(answer.read().decode())
    running.kill()
    listener.close()
