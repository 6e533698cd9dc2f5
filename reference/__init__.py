"""The API's documents, and what writes them: ``make docs``.

    server/ (models, topology, handlers, errors) ──┐
                                                   ├──► asyncapi.json, openapi.json, api.md
    examples.py ──► a real server ──► examples.json ┘

It is a package beside ``server`` and ``labkit``: the server needs no documents to run, and labkit
may not see the handlers that the documents describe. Nothing but tests imports it.
"""
