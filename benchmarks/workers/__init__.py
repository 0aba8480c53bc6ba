"""What runs in processes of their own: `python -m benchmarks.workers NAME RESULT_FILE < JOB.json`.

A worker is a module with `run(job) -> result`, both JSON objects; it raises `Unavailable` where its system is missing.
"""
