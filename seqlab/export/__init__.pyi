from .arpa import export_arpa as export_arpa
from .arpa import import_arpa as import_arpa
from .convert import export_run as export_run
from .ctranslate2_engine import CTranslate2Engine as CTranslate2Engine
