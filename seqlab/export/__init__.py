"""Export runs to CTranslate2 and ARPA files, decode with CTranslate2, and import ARPA files.

`export_run(run)` writes a folder that CTranslate2 loads; `seqlab.load(run, engine="ctranslate2")` returns a translator
that computes with it. `export_arpa(run)` and `import_arpa(file, run_dir)` convert n-gram models. Names are imported at
their first use, so that translating with CTranslate2 does not import torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
