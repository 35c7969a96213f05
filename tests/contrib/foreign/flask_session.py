"""What Flask-Session asks of its own Redis sessions: from test_session.py of Flask-Session 0.5.0.

Copyright 2014 Pallets Community Ecosystem. BSD-3-Clause: see LICENSE.flask-session beside this file. Changed for
Holdfast: only what is marked with "Holdfast:". Its tests of other stores have the same bodies, and its null
session has no counterpart here. Later releases come without their tests.
"""

# fmt: off
# mypy: ignore-errors

import flask


class FlaskSessionTestCase:  # Holdfast: a mixin; Session(app) is what the test gives it

    def test_redis_session(self):
        app = flask.Flask(__name__)
        app.config['SESSION_TYPE'] = 'redis'
        self.Session(app)
        @app.route('/set', methods=['POST'])
        def set():
            flask.session['value'] = flask.request.form['value']
            return 'value set'
        @app.route('/get')
        def get():
            return flask.session['value']
        @app.route('/delete', methods=['POST'])
        def delete():
            del flask.session['value']
            return 'value deleted'

        c = app.test_client()
        self.assertEqual(c.post('/set', data={'value': '42'}).data, b'value set')
        self.assertEqual(c.get('/get').data, b'42')
        c.post('/delete')

    def test_session_use_signer(self):
        app = flask.Flask(__name__)
        app.secret_key = 'test_secret_key'
        app.config['SESSION_TYPE'] = 'redis'
        app.config['SESSION_USE_SIGNER'] = True
        self.Session(app)
        @app.route('/set', methods=['POST'])
        def set():
            flask.session['value'] = flask.request.form['value']
            return 'value set'
        @app.route('/get')
        def get():
            return flask.session['value']

        c = app.test_client()
        self.assertEqual(c.post('/set', data={'value': '42'}).data, b'value set')
        self.assertEqual(c.get('/get').data, b'42')
