"""Templates that fail, write without end or loop without end."""

from __future__ import annotations

import pytest
from jinja2.exceptions import TemplateError

from sbr.errors import CheckpointError
from sbr.prompt import chat_template
from sbr.prompt.chat_template import check_template, render


@pytest.fixture(autouse=True)
def _little_time(monkeypatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 1)
    chat_template._problem.cache_clear()


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (ENDLESS, "does not end within 1 seconds of computing"),
        ("{% for i in range(99999) %}{{ messages }}{% endfor %}", "writes more than 100,000 characters"),
        ("{{ 'a' * 10**11 }}", "MemoryError"),
        ("{{ raise_exception('no system prompt') }}", "ValueError: no system prompt"),
        ("{{ ().__class__.__mro__ }}", "SecurityError"),
        ("{% include '/etc/passwd' %}", "Error"),
        ("{% for %}", "TemplateSyntaxError"),
    ],
)
def test_templates_that_cannot_be_used(template, message) -> None:
    with pytest.raises(CheckpointError, match=f"it: the chat template cannot be used: .*{message}"):
        check_template(template, {}, "it")


def test_templates_of_the_hub_are_taken(tiny_model_dir) -> None:
    check_template((tiny_model_dir / "chat_template.jinja").read_text(), {"eos_token": "<|im_end|>"}, "it")
    extensions = "{% generation %}{{ messages | tojson }}{{ eos_token }}{{ strftime_now('%Y') }}{% endgeneration %}"
    check_template(extensions + "{% for m in messages %}{% break %}{% endfor %}", {"eos_token": "</s>"}, "it")


def test_a_template_is_tried_once(monkeypatch) -> None:
    check_template("{{ messages }}", {}, "it")
    monkeypatch.setattr(chat_template.subprocess, "run", None)
    check_template("{{ messages }}", {}, "it")


def test_a_chat_that_the_template_does_not_take() -> None:
    class Processor:
        def apply_chat_template(self, *_, **__):
            raise TemplateError("roles must alternate")

    with pytest.raises(CheckpointError, match="does not take this chat: roles must alternate"):
        render(Processor(), [])
