"""Runs for other engines: converted, checked against the run, and translated with; and models of others as runs.

`export_run(run)` writes a folder that CTranslate2 loads; `load(run, engine="ctranslate2")` gives a `Run` that computes
with it. `export_arpa(run)` and `import_arpa(file, run_dir)` are for n-gram models. A name is imported when it is asked
for: what translates with CTranslate2 loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
