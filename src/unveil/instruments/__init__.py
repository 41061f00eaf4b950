"""One folder an instrument: its section of the configuration, its operator, and a simulated example.

`registry.py` lists them, and each folder's `__init__.py` says what the library needs to know of it (`instrument.py`).
To add one copy the smallest folder, `inpainting`, and add its line to the registry: `init`, `check`, the configuration
and the tests read it.
"""
