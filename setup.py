"""What pyproject.toml cannot say: the one part that is compiled (where it cannot be, the rest is installed without it),
and the files at the checkout's root that go into the wheel, for ``etl/resources.py``."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

RESOURCES = ("sql", "dags", "plugins", "airflow.cfg", "docker/airflow")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


class BuildWithResources(build_py):
    """Copies them into ``etl/_resources``; an editable installation finds them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "etl" / "_resources"
        shutil.rmtree(target, ignore_errors=True)
        for name in RESOURCES:
            source, copy = Path(name), target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=LEFT_OUT)
            else:
                shutil.copyfile(source, copy)


COMPILED = {
    "_encode": ("_encode",),
    "_decode": ("_decode",),
    "_decimals": ("_decimals",),
    "_step": ("_step", "_check", "_follow"),
}
"""Modules of ``etl/express`` and the files that each is made of."""
EXACT = ["-ffp-contract=off"]
"""Two roundings stay two: numbers compare as Python's do."""

setup(
    ext_modules=[
        Extension(
            f"etl.express.{name}",
            [f"etl/express/{source}.c" for source in sources],
            depends=["etl/express/_express.h", "etl/express/_step.h"],
            extra_compile_args=EXACT,
            optional=True,
        )
        for name, sources in COMPILED.items()
    ],
    cmdclass={"build_py": BuildWithResources},
)
