"""Every text that a person may read has an Estonian translation."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[4]


def _load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("translations_tool", ROOT / "ops" / "translations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _load_tool()
FOLDERS = [str(folder.relative_to(TOOL.SOURCE)) for folder in TOOL.catalogue_folders()]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_estonian_catalogue_is_complete(folder: str) -> None:
    problems = TOOL.problems_of(TOOL.SOURCE / folder)
    assert not problems, "run `make translations` and translate:\n" + "\n".join(problems)


def test_texts_are_found_in_python_wherever_people_read_them() -> None:
    code = (
        'A = N_("marked")\n'
        'B = _("called")\n'
        'C = ngettext("one", "%(num)s", n)\n'
        'raise Refused("x.y", "detail", public="plain")\n'
        'raise Refused("x.y", "detail", public="first" if a else "second")\n'
        'raise Refused("x.y", "detail", public=f"Wrong {name} of {x.y} for {MAX}")\n'
    )
    assert set(TOOL.texts_in_python(code)) == {
        "marked",
        "called",
        ("one", "%(num)s"),
        "plain",
        "first",
        "second",
        "Wrong {name} of {value_2} for {max}",
    }


def test_a_missing_and_an_empty_translation_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somewhere"
    (package / "web" / "locale").mkdir(parents=True)
    (package / "page.py").write_text('A = N_("here")\nB = N_("not %(x)s here")\n')
    platform = tmp_path / "platform" / "web" / "locale"
    platform.mkdir(parents=True)
    monkeypatch.setattr(TOOL, "SOURCE", tmp_path)
    monkeypatch.setattr(TOOL, "PLATFORM", platform)
    monkeypatch.setattr(TOOL.catalogue_folders, "__defaults__", (tmp_path,))
    folder = package / "web" / "locale"
    assert len(TOOL.problems_of(folder)) == 2
    (folder / "et.po").write_bytes(TOOL.to_bytes(TOOL.updated(folder)))
    assert [problem.split(":")[0] for problem in TOOL.problems_of(folder)] == ["not translated"] * 2
    text = (folder / "et.po").read_text()
    text = text.replace('msgid "here"\nmsgstr ""', 'msgid "here"\nmsgstr "siin"')
    (folder / "et.po").write_text(text.replace('here"\nmsgstr ""', 'here"\nmsgstr "%(y)s"'))
    assert [problem.split(":")[0] for problem in TOOL.problems_of(folder)] == [
        "a variable that the English text has not"
    ]
    kept = TOOL.updated(folder).get("here")
    assert kept is not None
    assert kept.string == "siin"
