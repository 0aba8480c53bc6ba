"""Workers, each in its own process: `python -m benchmarks.workers NAME RESULT_FILE < JOB.json`.

A worker is a module with `run(job) -> result`, both JSON objects; it raises `Unavailable` if its system is missing.
"""
