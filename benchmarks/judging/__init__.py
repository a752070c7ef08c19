"""The parts of ``benchmarks/annotation.py``: the world that is judged, the people, the servers, the browser."""
