"""Puts `spatialdata_builder.py` of the checkout into a wheel as the package's `__init__.py`.

An editable install reads the file in the checkout.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # pyright: ignore[reportMissingImports]


class PackageFile(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] = {
                "spatialdata_builder.py": "spatialdata_builder/__init__.py",
                "py.typed": "spatialdata_builder/py.typed",
            }
