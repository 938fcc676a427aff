"""Make the course's addresses on the web: every address is made from the one in pyproject.toml.

Notebooks are opened as they were at the release whose package they use, so links name its tag and no branch.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import kdcourse
from kdcourse.errors import LessonError

OPENED = "notebooks/open"  # the folder of what learners open, see `opened`
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
_ADDRESS = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")


@dataclass(frozen=True)
class Home:
    """The repository ``owner``/``name`` on GitHub, at the release ``tag``."""

    owner: str
    name: str
    tag: str

    @property
    def repository(self) -> str:
        """Its address, without a slash at the end."""
        return f"https://github.com/{self.owner}/{self.name}"

    @property
    def website(self) -> str:
        """Return the address of the site that the workflow `site` publishes, with a slash at the end."""
        return f"https://{self.owner.lower()}.github.io/{self.name}/"

    @property
    def package(self) -> str:
        """The package as pip takes it, from the repository at the tag."""
        return f"kdcourse @ git+{self.repository}@{self.tag}"

    def page(self, lesson: str) -> str:
        """A lesson on the website."""
        return f"{self.website}notebooks/{lesson}.html"

    def colab(self, lesson: str) -> str:
        """A lesson in Google Colab, without stored results."""
        where = f"{self.owner}/{self.name}/blob/{self.tag}/{OPENED}/{lesson}.ipynb"
        return f"https://colab.research.google.com/github/{where}"

    def binder(self, lesson: str = "00_start_here") -> str:
        """A lesson in JupyterLab on Binder, without stored results."""
        path = quote(f"lab/tree/{OPENED}/{lesson}.ipynb", safe="")
        return f"https://mybinder.org/v2/gh/{self.owner}/{self.name}/{self.tag}?urlpath={path}"

    def status(self, workflow: str) -> str:
        """The badge of one of the repository's workflows."""
        return f"{self.repository}/actions/workflows/{workflow}.yml/badge.svg"


def project(pyproject: Path = PYPROJECT) -> dict[str, object]:
    """The table ``project`` of pyproject.toml, which only a checkout has.

    Raises:
        LessonError: there is no such file.
    """
    try:
        table: dict[str, object] = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    except FileNotFoundError:
        raise LessonError(
            f"There is no {pyproject}: addresses are made in a checkout of the repository; clone it first."
        ) from None
    return table


def home(pyproject: Path = PYPROJECT) -> Home:
    """The course's home, from ``project.urls`` in pyproject.toml, at the tag of this package's version.

    Raises:
        LessonError: no ``Repository`` there, or one that isn't on GitHub, which Colab and Binder open from.
    """
    urls = project(pyproject).get("urls")
    address = str(urls.get("Repository", "")) if isinstance(urls, dict) else ""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise LessonError(
            f"{pyproject.name}: Repository below [project.urls] must be https://github.com/OWNER/NAME; "
            f"found {address!r}."
        )
    return Home(found[1], found[2], f"v{kdcourse.__version__}")
