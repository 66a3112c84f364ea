"""What pyproject.toml cannot say: the pages and the server's settings lie beside the package, and belong into it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ("templates", "static", "docs", "gunicorn.conf.py")


class BuildWithPages(build_py):
    """Copies what lies beside the package into the built one, where app.config.beside() finds it."""

    def run(self) -> None:
        super().run()
        for name in BESIDE:
            target = Path(self.build_lib) / "app" / name
            if Path(name).is_dir():
                shutil.copytree(name, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.br", "__pycache__"))
            else:
                shutil.copy(name, target)


setup(cmdclass={"build_py": BuildWithPages})
