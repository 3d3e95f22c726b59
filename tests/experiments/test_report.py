"""The report is one whole HTML file that needs nothing else and shows every figure beside its baseline."""

import os
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib")

from fastkd.cli.outputs import check_output
from fastkd.experiments.report import html_report, write_report


class Page(HTMLParser):
    """Checks that tags are closed in order; collects ids, addresses and text."""

    VOID = frozenset(("meta", "br"))

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.said = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value)

    def handle_startendtag(self, tag, attributes):
        if tag not in self.VOID:
            self.handle_starttag(tag, attributes)
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


@pytest.fixture(scope="module")
def text(result):
    return html_report(result)


def test_page_is_well_formed_and_self_contained(text):
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith("#") for address in page.addresses)
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert not re.search(r"url\((?!#)|@import|<script|<link", text)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)


def test_every_figure_is_there(text, result):
    said = " ".join(Page(text).said).replace("\u00a0", " ")
    figures = result.full.distilled.evaluation
    for word in ("majority baseline", "balanced accuracy", "MCC", "log-loss", "calibration error", "as teacher"):
        assert word in said, word
    for value in (f"{100 * figures.accuracy:.1f} %", f"{figures.mcc:.3f}", "1.25 µs", "34,563", "99.0 %", "1/107"):
        assert value in said, value
    assert "keeps" in said


def test_page_works_on_a_phone_and_in_the_dark(text):
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") == 10
    assert "currentColor" in text
    assert "#0a0b0c" not in text


def test_steps_that_did_not_happen_are_left_out(result):
    text = html_report(replace(result, generations=None, distillation=None, condensed=None))
    Page(text)
    for word in ("Self-distillation", "Federation that shares", "FedMD", "Condensation"):
        assert word not in text


def test_hopeless_market_is_called_so(hopeless):
    text = html_report(hopeless)
    said = " ".join(Page(text).said)
    assert "no model has a measurable lead" in said
    assert "does not beat the majority" in said
    assert "Bayes" not in said
    assert "<b>BTC" not in text
    assert "<b>BTC & co</b>.csv" in said


def test_report_replaces_an_older_one_whole(tmp_path, result, monkeypatch):
    path = tmp_path / "report.html"
    write_report(result, path)
    first = path.read_text(encoding="utf-8")
    assert first.endswith("</html>\n")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(result, path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == first


def test_output_is_checked_before_the_work(tmp_path):
    check_output(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="is a folder"):
        check_output(tmp_path)
    with pytest.raises(OSError, match="no folder"):
        check_output(tmp_path / "missing" / "report.html")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_output_in_a_locked_folder(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OSError, match="Permission denied"):
            check_output(tmp_path / "report.html")
    finally:
        tmp_path.chmod(stat.S_IRWXU)
