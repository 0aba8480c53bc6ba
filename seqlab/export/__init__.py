"""Runs for other engines: converted, checked against the run, and translated with; and models of others as runs.

`export_run(run)` writes a folder that CTranslate2 loads; `load(run, engine="ctranslate2")` gives a `Run` that computes
with it. `export_arpa(run)` and `import_arpa(file, run_dir)` are for n-gram models. A name is imported when it is asked
for: what translates with CTranslate2 loads no torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.export.arpa import export_arpa, import_arpa
    from seqlab.export.convert import export_run
    from seqlab.export.engine import CTranslate2Engine

__all__ = ["CTranslate2Engine", "export_arpa", "export_run", "import_arpa"]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__, {"CTranslate2Engine": "engine", "export_arpa": "arpa", "export_run": "convert", "import_arpa": "arpa"}
    )
