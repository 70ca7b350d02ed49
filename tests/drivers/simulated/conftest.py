"""Lets the tests of the simulated laboratory import the models they share, as they are in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for _path in sorted(Path(__file__).parent.glob("*_model.py")):
    _name = f"tests.drivers.simulated.{_path.stem}"
    if _name not in sys.modules:
        _spec = importlib.util.spec_from_file_location(_name, _path)
        assert _spec is not None
        assert _spec.loader is not None
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _module
        _spec.loader.exec_module(_module)
