"""Engines: what can answer a prompt, and what can be taught a new model while it runs.

``base`` holds the protocols and the three errors; each other module is one engine. Nothing here imports Django.
"""
